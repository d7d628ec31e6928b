%%% Stanzas that go back because their client has not had them: they are routed as if they had just come, so that they
%%% are kept for later, or their senders learn of it.
%%%
%%%     shard, stream --route/2--> returns ── the stream has ended, or END_MS ──► router (a process for one stream's)
%%%
%%% They wait until their stream has ended, because a stream that is ending may lose what it receives. When an edge is
%%% lost, all its sessions end in the same minute: a process for each would be a second million of processes, and as
%%% many at once in the database. So those that wait are entries here, and at most ?ROUTERS route. What one stream has
%%% left is routed in its order.
-module(mod_megaphone_returns).
-behaviour(gen_server).

-export([start_link/1, route/2, info/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-type stanzas() :: [binary()].
%% What a router does.
-type routing() :: fun((stanzas()) -> term()).

-record(state,
        {routing :: routing(),
         streams = #{} :: #{pid() => {reference(), [stanzas()]}},           % that have not ended; newest first
         due = queue:new() :: queue:queue({Due :: integer(), pid(), reference()}),
         ready = queue:new() :: queue:queue(stanzas()),
         routers = #{} :: #{reference() => pid()},
         ticks = false :: boolean()}).

-define(ROUTERS, 100).
%% How long a stream may take to end. One that is asleep may have to wait for its turn.
-define(END_MS, 60000).
-define(TICK_MS, 500).
%% Less than a supervisor waits.
-define(LAST_WORDS_MS, 4000).

-spec start_link(routing()) -> {ok, pid()} | {error, term()}.
start_link(Routing) ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, Routing, []).

%% Of what the client of a stream has not had.
-spec route(pid(), stanzas()) -> ok.
route(C2S, Stanzas) ->
    try ?MODULE ! {route, C2S, Stanzas}, ok
    catch error:badarg -> alone(C2S, Stanzas)
    end.

%% The module stops, and a stream had still something to say.
alone(C2S, Stanzas) ->
    try spawn(fun() ->
                      Monitor = monitor(process, C2S),
                      receive {'DOWN', Monitor, process, C2S, _} -> ok after ?END_MS -> ok end,
                      mod_megaphone_engine:route_again(Stanzas)
              end),
         ok
    catch error:system_limit -> mod_megaphone_stats:add(crashed, 1)
    end.

%% Streams that have not ended, those whose stanzas wait for a router, and routers.
-spec info() -> #{streams | ready | routers => non_neg_integer()}.
info() -> gen_server:call(?MODULE, info).

%%% gen_server

init(Routing) ->
    process_flag(trap_exit, true),
    {ok, #state{routing = Routing}}.

handle_call(info, _, #state{streams = Streams, ready = Ready, routers = Routers} = State) ->
    {reply, #{streams => map_size(Streams), ready => queue:len(Ready), routers => map_size(Routers)}, State};
handle_call(_, _, State) -> {noreply, State}.

handle_cast(_, State) -> {noreply, State}.

handle_info(Message, State) -> {noreply, ticking(take(Message, State))}.

take({route, C2S, Stanzas}, #state{streams = Streams, due = Due} = State) ->
    case Streams of
        #{C2S := {Monitor, More}} -> State#state{streams = Streams#{C2S := {Monitor, [Stanzas | More]}}};
        _ ->
            Monitor = monitor(process, C2S),
            State#state{streams = Streams#{C2S => {Monitor, [Stanzas]}},
                        due = queue:in({now_ms() + ?END_MS, C2S, Monitor}, Due)}
    end;
take({'DOWN', Monitor, process, Pid, _}, #state{streams = Streams, routers = Routers} = State) ->
    case {Routers, Streams} of
        {#{Monitor := _}, _} -> go_on(State#state{routers = maps:remove(Monitor, Routers)});
        {_, #{Pid := {Monitor, _}}} -> go_on(ready(Pid, State));
        _ -> State
    end;
take(tick, State) -> go_on(late(now_ms(), State#state{ticks = false}));
take(_, State) -> State.

%% Messages that have come are taken before it stops. Another process takes the others, because that may last longer
%% than a supervisor waits.
terminate(_, State) ->
    _ = [unregister(Name) || {registered_name, Name} <- [process_info(self(), registered_name)]],
    Left = lists:foldl(fun take/2, State, said([])),
    {_, Heir} = spawn_monitor(fun() -> to_the_end(ticking(inherited(Left))) end),
    receive {'DOWN', Heir, process, _, _} -> ok after ?LAST_WORDS_MS -> ok end,
    lists:foreach(fun({route, C2S, Stanzas}) -> alone(C2S, Stanzas) end, said([])).

said(Said) ->
    receive {route, _, _} = More -> said([More | Said])
    after 0 -> lists:reverse(Said)
    end.

inherited(#state{streams = Streams, routers = Routers} = State) ->
    Taken = maps:map(fun(C2S, {_, Stanzas}) -> {monitor(process, C2S), Stanzas} end, Streams),
    Due = now_ms() + ?END_MS,
    State#state{streams = Taken, due = queue:from_list([{Due, C2S, M} || {C2S, {M, _}} <- maps:to_list(Taken)]),
                routers = maps:from_list([{monitor(process, Pid), Pid} || Pid <- maps:values(Routers)]), ticks = false}.

to_the_end(#state{streams = Streams, ready = Ready, routers = Routers} = State) ->
    case map_size(Streams) + map_size(Routers) =:= 0 andalso queue:is_empty(Ready) of
        true -> ok;
        false -> receive Message -> to_the_end(ticking(take(Message, State))) end
    end.

%%% Streams

ready(C2S, #state{streams = Streams, ready = Ready} = State) ->
    {{_, Stanzas}, Rest} = maps:take(C2S, Streams),
    State#state{streams = Rest, ready = queue:in(lists:append(lists:reverse(Stanzas)), Ready)}.

%% Those that take too long to end.
late(Now, #state{streams = Streams, due = Due} = State) ->
    case queue:out(Due) of
        {empty, _} -> State;
        {{value, {At, C2S, Monitor}}, Rest} ->
            case Streams of
                #{C2S := {Monitor, _}} when At > Now -> State;
                #{C2S := {Monitor, _}} ->
                    demonitor(Monitor, [flush]),
                    late(Now, ready(C2S, State#state{due = Rest}));
                _ -> late(Now, State#state{due = Rest})
            end
    end.

ticking(#state{ticks = false, due = Due, ready = Ready} = State) ->
    case queue:is_empty(Due) andalso queue:is_empty(Ready) of
        true -> State;
        false -> erlang:send_after(?TICK_MS, self(), tick), State#state{ticks = true}
    end;
ticking(State) -> State.

now_ms() -> erlang:monotonic_time(millisecond).

%%% Routers

go_on(#state{routers = Routers} = State) when map_size(Routers) >= ?ROUTERS -> State;
go_on(#state{routing = Routing, ready = Ready, routers = Routers} = State) ->
    case queue:out(Ready) of
        {{value, Stanzas}, Rest} ->
            try spawn_monitor(fun() -> Routing(Stanzas) end) of
                {Pid, Monitor} -> go_on(State#state{ready = Rest, routers = Routers#{Monitor => Pid}})
            catch error:system_limit -> State       % with the next tick
            end;
        {empty, _} -> State
    end.
