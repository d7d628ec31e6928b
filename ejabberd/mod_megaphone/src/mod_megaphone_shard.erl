%%% A part of the sessions of mod_megaphone's own engine: the rows of a table that one process owns. Each is a
%%% mod_megaphone_session; the process hands it what happens, and does what it asks for.
%%%
%%% A shard waits for nothing: no call to another process, no transaction, no log that may hold it up. What may wait is
%%% done by a process of its own. A shard that dies ends its sessions: their streams monitor it, and links tell their
%%% clients.
%%%
%%% A stream that ends takes leave of contacts, rooms and tables, up to a millisecond of a processor. When many sessions
%%% end at once, because an edge was lost or everybody leaves, their streams end a few at a time: with 100,000 processes
%%% ready to run, a shard or a link would have a turn once in a minute.
%%%
%%% The wheel: a table with {tick, sid}. A session has one entry, for its next deadline or before. Most requests move
%%% the deadline later; the entry stays, and is renewed when its tick comes.
-module(mod_megaphone_shard).
-behaviour(gen_server).

-export([start_link/1, name/1, info/1, now/0]).
-compile({no_auto_import, [now/0]}).
-export([poll/4, request/5, create/5, gone/3, release/3, output/3, closed/2, shaper/3]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-export_type([shard/0]).

-type shard() :: atom() | {atom(), node()}.
-type sid() :: binary().

-record(state,
        {table :: ets:tid(),
         wheel :: ets:tid(),
         ticked :: integer(),                       % the wheel is done up to this one
         up = #{} :: #{pid() => reference()},       % links
         asked = #{} :: #{pid() => #{sid() => N :: non_neg_integer()}},     % to pass, by sessions
         to_end = queue:new() :: queue:queue({C2S :: pid(), Events :: [term()]}),
         ending = #{} :: #{reference() => Tick :: integer()}}).         % streams that have been told

%% What may wait for a client that is away.
-define(MAX_QUEUED_BYTES, 1048576).
-define(TICK_MS, 100).
%% So many streams of a shard end at once. ejabberd_c2s waits 100 ms for late messages as it ends, so these are 640 a
%% second. One that takes longer than so many ticks, because of a slow table or server, holds up no other.
-define(ENDING, 64).
-define(ENDING_TICKS, 10).
%% 128 KB: what some 60 events leave behind. With Erlang's 233 words, every third event collected garbage.
-define(HEAP_WORDS, 16384).

-spec name(non_neg_integer()) -> atom().
name(N) -> list_to_atom("mod_megaphone_shard_" ++ integer_to_list(N)).

-spec start_link(atom()) -> {ok, pid()}.
start_link(Name) ->
    Options = [{fullsweep_after, 20}, {min_heap_size, ?HEAP_WORDS}],
    gen_server:start_link({local, Name}, ?MODULE, [], [{spawn_opt, Options}]).

%% Sessions, streams of former sessions that have not been told to end, and bytes of the tables.
-spec info(atom()) -> #{atom() => non_neg_integer()}.
info(Name) -> gen_server:call(Name, info).

%%% For links

-spec poll(shard(), mod_megaphone_session:place(), sid(), Rid :: non_neg_integer()) -> ok.
poll(Shard, Place, Sid, Rid) -> send(Shard, {poll, Place, Sid, Rid}).

%% Body is the whole request.
-spec request(shard(), mod_megaphone_session:place(), sid(), binary(), MaxBytes :: pos_integer() | infinity) -> ok.
request(Shard, Place, Sid, Body, MaxBytes) -> send(Shard, {request, Place, Sid, Body, MaxBytes}).

-spec gone(shard(), mod_megaphone_session:place(), sid()) -> ok.
gone(Shard, Place, Sid) -> send(Shard, {gone, Place, Sid}).

-spec release(shard(), mod_megaphone_session:place(), sid()) -> ok.
release(Shard, Place, Sid) -> send(Shard, {release, Place, Sid}).

%%% For the engine and for streams

-spec create(shard(), mod_megaphone_session:session(), mod_megaphone_wrapper:request(), Size :: non_neg_integer(),
             mod_megaphone_session:place()) -> ok.
create(Shard, Session, Request, Size, Place) -> send(Shard, {create, Session, Request, Size, Place}).

-spec output(shard(), sid(), mod_megaphone_wrapper:item()) -> ok.
output(Shard, Sid, Item) ->
    try Shard ! {output, self(), Sid, Item}, ok
    catch error:badarg -> not_taken(Item)       % the shard has ended, and the stream is about to
    end.

not_taken({stanza, Stanza}) -> mod_megaphone_returns:route(self(), [Stanza]);
not_taken(_) -> ok.

-spec closed(shard(), sid()) -> ok.
closed(Shard, Sid) -> send(Shard, {closed, Sid}).

-spec shaper(shard(), sid(), term()) -> ok.
shaper(Shard, Sid, Shaper) -> send(Shard, {shaper, Sid, Shaper}).

send(Shard, Message) ->
    try Shard ! Message, ok
    catch error:badarg -> ok        % it is being started again: its sessions are gone
    end.

%%% gen_server

init([]) ->
    process_flag(trap_exit, true),
    tick_later(),
    {ok, #state{table = ets:new(?MODULE, [{keypos, mod_megaphone_session:row_key()}]),
                wheel = ets:new(?MODULE, [duplicate_bag]), ticked = now()}}.

handle_call(info, _, #state{table = Table, wheel = Wheel, to_end = ToEnd} = State) ->
    Word = erlang:system_info(wordsize),
    {reply, #{sessions => ets:info(Table, size), to_end => queue:len(ToEnd), bytes => ets:info(Table, memory) * Word,
              wheel_bytes => ets:info(Wheel, memory) * Word}, State};
handle_call(_, _, State) -> {noreply, State}.

handle_cast(_, State) -> {noreply, State}.

handle_info(Message, State) -> {noreply, take(Message, State)}.

take({poll, Place, Sid, Rid}, State) ->
    with_session(Sid, Place, fun(S, Env) -> mod_megaphone_session:poll(Rid, Place, S, Env) end, met(Place, State));
take({request, Place, Sid, Body, Max}, State) ->
    request_of(Sid, Body, Max, Place, met(Place, State));
take({create, Session, Request, Size, Place}, State0) ->
    State = met(Place, State0),
    happens(fun(S, Env) -> mod_megaphone_session:request(Request, Size, Place, S, Env) end, Place, Session, State);
take({output, C2S, Sid, Item}, #state{table = Table} = State) ->
    case {Item, ets:member(Table, Sid)} of
        {{stanza, Stanza}, false} -> act({bounce, C2S, [Stanza]}, Sid, State);   % said as the session ended
        _ -> with_session(Sid, fun(S, Env) -> mod_megaphone_session:output(Item, ?MAX_QUEUED_BYTES, S, Env) end, State)
    end;
take({gone, Place, Sid}, State) ->
    with_session(Sid, fun(S, Env) -> mod_megaphone_session:gone(Place, S, Env) end, State);
take({release, Place, Sid}, State) ->
    with_session(Sid, fun(S, Env) -> mod_megaphone_session:release(Place, S, Env) end, State);
take({closed, Sid}, State) ->
    with_session(Sid, fun mod_megaphone_session:closed/2, State);
take({shaper, Sid, Shaper}, State) ->
    _ = ets:update_element(State#state.table, Sid, {mod_megaphone_session:shaper_key(), Shaper}),
    State;
take({unshaped, Sid}, State) ->
    with_session(Sid, fun mod_megaphone_session:unshaped/2, State);
take({{Link, Sid, N}, passed}, #state{asked = Asked} = State) ->
    passed(Sid, N, State#state{asked = forget(Link, Sid, N, Asked)});
take(tick, State) ->
    tick_later(),
    turn(now(), end_late(now(), State));
take({'DOWN', Ref, process, _, _}, #state{ending = Ending} = State) when is_map_key(Ref, Ending) ->
    end_streams(State#state{ending = maps:remove(Ref, Ending)});
take({'DOWN', _, process, Link, _}, #state{up = Up, asked = Asked} = State) ->
    Waiting = maps:get(Link, Asked, #{}),
    maps:fold(fun passed/3, State#state{up = maps:remove(Link, Up), asked = maps:remove(Link, Asked)}, Waiting);
take(_, State) -> State.

%% The node stops, or the module: clients are told, and what they have not had is routed again, while there is a router.
terminate(_, #state{table = Table, to_end = ToEnd} = State) ->
    lists:foreach(fun tell/1, queue:to_list(ToEnd)),
    %% What streams still say goes back from now on.
    _ = [unregister(Name) || {registered_name, Name} <- [process_info(self(), registered_name)]],
    ets:foldl(fun(S, _) ->
                      {Acts, _} = mod_megaphone_session:acts(mod_megaphone_session:shutdown(S)),
                      lists:foreach(fun(Act) -> act(Act, none, State) end, Acts)
              end, ok, Table),
    under_way().

%% The rest of the mailbox no longer has a meaning.
under_way() ->
    receive
        {output, C2S, _, {stanza, Stanza}} -> mod_megaphone_returns:route(C2S, [Stanza]), under_way();
        _ -> under_way()
    after 0 -> ok
    end.

%% What cannot be read is nothing that the session did. ejabberd's own engine has the same statuses.
request_of(_, Body, Max, Place, State) when byte_size(Body) > Max ->
    answer(Place, {403, <<>>}),
    State;
request_of(Sid, Body, _, Place, State) ->
    try mod_megaphone_wrapper:parse(Body) of
        {ok, Request} ->
            with_session(Sid, Place, fun(S, Env) ->
                                             mod_megaphone_session:request(Request, byte_size(Body), Place, S, Env)
                                     end, State);
        error ->
            answer(Place, {400, <<>>}),
            State
    catch
        Class:Reason:Stack ->
            crashed(Class, Reason, Stack),
            answer(Place, {500, <<>>}),
            State
    end.

with_session(Sid, Place, Event, #state{table = Table} = State) ->
    case ets:lookup(Table, Sid) of
        [S] -> happens(Event, Place, S, State);
        [] -> answer(Place, mod_megaphone_wrapper:terminal('item-not-found', false)), State
    end.

with_session(Sid, Event, #state{table = Table} = State) ->
    case ets:lookup(Table, Sid) of
        [S] -> happens(Event, none, S, State);
        [] -> State
    end.

%% A defect ends the session that it shows in, and no other.
happens(Event, Place, S, #state{up = Up} = State) ->
    Env = #{now => now(), up => Up},
    Next = try Event(S, Env)
           catch
               Class:Reason:Stack ->
                   crashed(Class, Reason, Stack),
                   mod_megaphone_session:broken(Place, S)
           end,
    commit(Next, Env, State).

crashed(Class, Reason, Stack) ->
    mod_megaphone_stats:add(crashed, 1),
    mod_megaphone_fault:log(crashed, "Megaphone: session failed error=~p:~P~n~p",
                            [Class, Reason, 8, mod_megaphone_fault:without_values(Stack)]).

%% Does what the session asks for, and puts its row where it is.
commit(S0, Env, #state{table = Table, wheel = Wheel} = State) ->
    {Acts, S} = mod_megaphone_session:acts(S0),
    Sid = mod_megaphone_session:sid(S),
    case mod_megaphone_session:is_ended(S0) of
        true ->
            ets:delete(Table, Sid),
            {Last, Others} = lists:partition(fun is_event/1, Acts),
            act_all(Others, Sid, end_stream([{Pid, Event} || {c2s, Pid, Event} <- Last], State));
        false ->
            %% An entry for a tick that is over would stay forever, and so would its session.
            {Tick, Armed} = mod_megaphone_session:armed(S, State#state.ticked + 1, Env),
            _ = Tick =:= none orelse ets:insert(Wheel, {Tick, Sid}),
            ets:insert(Table, Armed),
            act_all(Acts, Sid, State)
    end.

is_event({c2s, _, _}) -> true;
is_event(_) -> false.

act_all([Act | Rest], Sid, State) -> act_all(Rest, Sid, act(Act, Sid, State));
act_all([], _, State) -> State.

act({answer, Place, Status, Body}, _, State) ->
    answer(Place, {Status, Body}),
    State;
act({c2s, Pid, Event}, _, State) ->
    tell({Pid, [Event]}),
    State;
act({bounce, C2S, Stanzas}, _, State) ->
    mod_megaphone_returns:route(C2S, Stanzas),
    State;
act({follow, Link, N}, Sid, #state{asked = Asked} = State) ->
    Link ! {follow, none, none, {self(), {Link, Sid, N}}, true},
    State#state{asked = Asked#{Link => (maps:get(Link, Asked, #{}))#{Sid => N}}};
act({unshape, Milliseconds}, Sid, State) ->
    erlang:send_after(Milliseconds, self(), {unshaped, Sid}),
    State;
act(ended, _, State) -> State.

tell({C2S, Events}) -> lists:foreach(fun(Event) -> C2S ! {'$gen_event', Event} end, Events).

%% The last events for the stream of a session that has ended.
end_stream([], State) -> State;
end_stream([{C2S, _} | _] = Last, #state{to_end = ToEnd} = State) ->
    end_streams(State#state{to_end = queue:in({C2S, [Event || {_, Event} <- Last]}, ToEnd)}).

end_streams(#state{to_end = ToEnd, ending = Ending} = State) when map_size(Ending) < ?ENDING ->
    case queue:out(ToEnd) of
        {{value, {C2S, _} = Last}, Rest} ->
            tell(Last),
            end_streams(State#state{to_end = Rest, ending = Ending#{monitor(process, C2S) => now()}});
        {empty, _} -> State
    end;
end_streams(State) -> State.

%% Forgets streams that have had their time.
end_late(Now, #state{ending = Ending} = State) ->
    InTime = maps:filter(fun(Ref, Since) -> Now - Since < ?ENDING_TICKS orelse not demonitor(Ref, [flush]) end, Ending),
    end_streams(State#state{ending = InTime}).

answer({Link, Id, N}, {Status, empty}) -> Link ! {answer, Id, N, Status, mod_megaphone_wrapper:empty()};
answer({Link, Id, N}, {Status, Body}) -> Link ! {answer, Id, N, Status, Body}.

%% A link that is not known yet.
met({Link, _, _}, #state{up = Up} = State) when is_map_key(Link, Up) -> State;
met({Link, _, _}, #state{up = Up} = State) -> State#state{up = Up#{Link => monitor(process, Link)}}.

passed(Sid, N, State) ->
    with_session(Sid, fun(S, Env) -> mod_megaphone_session:passed(N, S, Env) end, State).

%% It may have been asked once more since then.
forget(Link, Sid, N, Asked) ->
    case Asked of
        #{Link := #{Sid := N} = Sids} when map_size(Sids) =:= 1 -> maps:remove(Link, Asked);
        #{Link := #{Sid := N} = Sids} -> Asked#{Link := maps:remove(Sid, Sids)};
        _ -> Asked
    end.

%%% Time

%% In ticks.
-spec now() -> integer().
now() ->
    %% Not monotonic_time(10): a unit that is no atom gives up the processor with each call.
    Ms = erlang:monotonic_time(millisecond),
    case Ms rem ?TICK_MS of
        R when R < 0 -> Ms div ?TICK_MS - 1;
        _ -> Ms div ?TICK_MS
    end.

%% All shards turn at the same moment, the beginning of a tick: the node wakes once for all of them, and a link writes
%% the answers of all at once.
tick_later() -> erlang:send_after((now() + 1) * ?TICK_MS, self(), tick, [{abs, true}]).

turn(Now, #state{ticked = Tick} = State) when Tick >= Now -> State;
turn(Now, #state{ticked = Tick, wheel = Wheel} = State) ->
    Due = ets:take(Wheel, Tick + 1),
    turn(Now, lists:foldl(fun({At, Sid}, Acc) -> due(At, Sid, Acc) end, State#state{ticked = Tick + 1}, Due)).

due(At, Sid, #state{table = Table} = State) ->
    case ets:lookup(Table, Sid) of
        [S] ->
            case mod_megaphone_session:wake(S) of
                At -> happens(fun wake/2, none, mod_megaphone_session:woken(S), State);
                _ -> State
            end;
        [] -> State
    end.

%% A stream that was killed has said nothing.
wake(S, Env) ->
    case mod_megaphone_session:c2s(S) of
        Pid when is_pid(Pid) ->
            case is_process_alive(Pid) of
                true -> mod_megaphone_session:due(S, Env);
                false -> mod_megaphone_session:closed(S, Env)
            end;
        none -> mod_megaphone_session:due(S, Env)
    end.
