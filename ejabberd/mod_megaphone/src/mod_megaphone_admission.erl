%%% Admits new sessions of mod_megaphone's engine, and those over WebSocket: the process that has the log-ins of this
%%% node (mod_megaphone_logins) and does what they ask for. It waits for nothing: each session is opened by a process of
%%% its own.
%%%
%%%     link --ask, gone--> admission --spawns--> opener (opened/3 of mod_megaphone_engine or mod_megaphone_stream)
%%%                             ▲ joins, 'DOWN' ------┘
%%%                             ▲ logged_in, 'DOWN' -- ejabberd's stream of the session
-module(mod_megaphone_admission).
-behaviour(gen_server).

-export([start_link/0, max/1, ask/4, gone/1, joins/1, info/0, start_hooks/0, stop_hooks/0]).
%% Hooks
-export([logged_in/1, host_up/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-record(state,
        {logins :: mod_megaphone_logins:logins(),
         openers = #{} :: #{reference() => mod_megaphone_session:place()},
         streams = #{} :: #{pid() => reference()},
         ticks = false :: boolean()}).

%% How often those that wait are looked at although nothing happens.
-define(TICK_MS, 100).
%% Each takes some 30 KB while its client has not logged in.
-define(DEFAULT_MAX, 5000).
-define(HOOKS, [c2s_session_opened, c2s_session_resumed]).
%% The modules that are the sockets of streams.
-define(SOCKETS, [mod_megaphone_engine, mod_megaphone_stream]).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% How many sessions may be there whose clients have not logged in.
-spec max(pos_integer()) -> ok.
max(Max) ->
    persistent_term:put({?MODULE, max}, Max),
    gen_server:cast(?MODULE, {max, Max}).

%% A request that opens a session, by opened/3 of the given module. It is answered in any case, unless this returns
%% error.
-spec ask(mod_megaphone_session:place(), module(), Body :: binary(), inet:ip_address()) -> ok | error.
ask(Place, Opener, Body, Address) ->
    case whereis(?MODULE) of
        undefined -> error;
        Pid -> gen_server:cast(Pid, {ask, Place, {Opener, Body, Address}})
    end.

%% The client of such a request has hung up.
-spec gone(mod_megaphone_session:place()) -> ok.
gone(Place) -> gen_server:cast(?MODULE, {gone, Place}).

%% The caller has started a stream that has not logged in yet.
-spec joins(pid()) -> ok.
joins(C2S) -> gen_server:cast(?MODULE, {joins, C2S}).

-spec info() -> #{waiting | opening | joining => non_neg_integer()}.
info() ->
    try gen_server:call(?MODULE, info)
    catch exit:_ -> #{waiting => 0, opening => 0, joining => 0}
    end.

%%% Hooks, of all hosts: a listener serves also those that do not have the module.

-spec start_hooks() -> ok.
start_hooks() ->
    ejabberd_hooks:add(host_up, ?MODULE, host_up, 50),
    lists:foreach(fun host_up/1, ejabberd_option:hosts()).

-spec stop_hooks() -> ok.
stop_hooks() ->
    ejabberd_hooks:delete(host_up, ?MODULE, host_up, 50),
    lists:foreach(fun(Host) -> hooks(delete, Host) end, ejabberd_option:hosts()).

-spec host_up(binary()) -> ok.
host_up(Host) -> hooks(add, Host).

hooks(Do, Host) ->
    lists:foreach(fun(Hook) -> ejabberd_hooks:Do(Hook, Host, ?MODULE, logged_in, 98) end, ?HOOKS).

%% In the process of any stream.
-spec logged_in(State) -> State when State :: #{socket := tuple(), _ => _}.
logged_in(#{socket := Socket} = State) ->
    _ = lists:member(element(2, Socket), ?SOCKETS) andalso gen_server:cast(?MODULE, {logged_in, self()}),
    State.

%%% gen_server

init([]) ->
    {ok, #state{logins = mod_megaphone_logins:new(persistent_term:get({?MODULE, max}, ?DEFAULT_MAX))}}.

handle_call(info, _, #state{logins = Logins} = State) -> {reply, mod_megaphone_logins:counts(Logins), State};
handle_call(_, _, State) -> {noreply, State}.

handle_cast({ask, Place, Creation}, #state{logins = Logins} = State) ->
    case mod_megaphone_logins:ask(Place, Creation, now_ms(), Logins) of
        {ok, Next} -> {noreply, turns(State#state{logins = Next})};
        error -> {noreply, act({refuse, Place}, State)}
    end;
handle_cast({gone, Place}, #state{logins = Logins} = State) ->
    {noreply, State#state{logins = mod_megaphone_logins:gone(Place, Logins)}};
handle_cast({joins, C2S}, #state{logins = Logins, streams = Streams} = State) ->
    {noreply, State#state{logins = mod_megaphone_logins:joins(C2S, now_ms(), Logins),
                          streams = Streams#{C2S => monitor(process, C2S)}}};
handle_cast({logged_in, C2S}, #state{streams = Streams} = State) ->
    case maps:take(C2S, Streams) of
        {Monitor, Rest} ->
            demonitor(Monitor, [flush]),
            mod_megaphone_stats:add(logged_in, 1),
            {noreply, left(C2S, State#state{streams = Rest})};
        error -> {noreply, State}
    end;
handle_cast({max, Max}, #state{logins = Logins} = State) ->
    {noreply, turns(State#state{logins = mod_megaphone_logins:max(Max, Logins)})};
handle_cast(_, State) -> {noreply, State}.

handle_info({'DOWN', Monitor, process, Pid, Why}, #state{openers = Openers, streams = Streams} = State) ->
    case {maps:take(Monitor, Openers), Streams} of
        {{Place, Rest}, _} ->
            _ = Why =:= normal orelse answer(Place, 500),
            {noreply, opened(State#state{openers = Rest})};
        {_, #{Pid := Monitor}} -> {noreply, left(Pid, State#state{streams = maps:remove(Pid, Streams)})};
        _ -> {noreply, State}
    end;
handle_info(tick, State) ->
    {noreply, turns(State#state{ticks = false})};
handle_info(_, State) -> {noreply, State}.

opened(#state{logins = Logins} = State) -> turns(State#state{logins = mod_megaphone_logins:opened(Logins)}).

left(C2S, #state{logins = Logins} = State) -> turns(State#state{logins = mod_megaphone_logins:left(C2S, Logins)}).

turns(#state{logins = Logins} = State) ->
    {Acts, Next} = mod_megaphone_logins:turns(now_ms(), Logins),
    ticking(lists:foldl(fun act/2, State#state{logins = Next}, Acts)).

ticking(#state{ticks = false, logins = Logins} = State) ->
    case mod_megaphone_logins:counts(Logins) of
        #{waiting := 0} -> State;
        _ ->
            erlang:send_after(?TICK_MS, self(), tick),
            State#state{ticks = true}
    end;
ticking(State) -> State.

act({open, {Link, _, _} = Place, {Opener, Body, Address}}, #state{openers = Openers} = State) ->
    try is_process_alive(Link) andalso spawn_monitor(Opener, opened, [Place, Body, Address]) of
        {_, Monitor} -> State#state{openers = Openers#{Monitor => Place}};
        false -> opened(State)
    catch error:system_limit -> opened(act({refuse, Place}, State))
    end;
act({refuse, Place}, #state{logins = Logins} = State) ->
    answer(Place, 503),
    mod_megaphone_stats:add(refused, 1),
    #{waiting := Waiting, joining := Joining} = mod_megaphone_logins:counts(Logins),
    mod_megaphone_fault:log(refused, "Megaphone: creation refused waiting=~B logging_in=~B", [Waiting, Joining]),
    State;
act({cut, C2S}, State) ->
    mod_megaphone_stats:add(cut, 1),
    ejabberd_c2s:send(C2S, xmpp:serr_resource_constraint()),
    ejabberd_c2s:stop_async(C2S),
    State.

answer({Link, Id, N}, Status) -> Link ! {answer, Id, N, Status, <<>>}.

now_ms() -> erlang:monotonic_time(millisecond).
