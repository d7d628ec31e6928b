%%% Bounds how many sessions are awake at once. A session that sleeps takes 1 KB, one that is awake up to 17: a
%%% broadcast to a million sleepers would take 13 GB for a moment.
%%%
%%% A table has the sessions that are awake. While it has fewer than `max_awake`, sessions wake as they please. Beyond
%%% it they queue, still packed, with their messages in their mailboxes. The owner of the table wakes one for each that
%%% falls asleep, in the order of their arrival. All that are awake then sleep as soon as they have nothing to do.
%%% Without a table, sessions wake as they please, unless the node stops.
-module(mod_megaphone_awake).
-behaviour(gen_server).

-export([start_link/1, start_link/2, set_max/1, enter/0, add/0, leave/0, count/0, most/0, node_stops/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-record(state,
        {tick_ms :: pos_integer(),
         queue = queue:new() :: queue:queue({pid(), reference()}),
         still = 0 :: non_neg_integer(),                % ticks since one was let go
         tick = undefined :: undefined | reference()}).

%% Places in the array that other processes read.
-define(MAX, 1).
-define(WAITING, 2).
-define(MOST, 3).
-define(MOST_WAITING, 4).
-define(STOPS, 5).

%% How often those that are awake are told to sleep while others wait, and the dead are struck off.
-define(TICK_MS, 500).
%% When none has been let go for so many ticks, those that are awake may wait for one that is asleep, or cannot sleep.
%% Then a part of `max_awake` more are let go with each tick.
-define(STILL_TICKS, 4).
-define(STILL_PART, 16).
%% So long the sessions that wait may take when ejabberd stops, for their last words.
-define(STOP_MS, 60000).

%% max: how many may be awake.
-spec start_link(Max :: pos_integer()) -> {ok, pid()} | {error, term()}.
start_link(Max) -> start_link(Max, ?TICK_MS).

-spec start_link(pos_integer(), TickMs :: pos_integer()) -> {ok, pid()} | {error, term()}.
start_link(Max, TickMs) ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, {Max, TickMs}, []).

-spec set_max(pos_integer()) -> ok.
set_max(Max) ->
    atomics:put(numbers(), ?MAX, Max).

%% The caller wakes, when it is its turn. haste: it is to sleep again as soon as it has nothing to do.
-spec enter() -> ease | haste.
enter() ->
    try ets:info(?MODULE, size) of
        undefined -> without_owner();
        Size ->
            Max = atomics:get(numbers(), ?MAX),
            case Size >= Max orelse atomics:get(numbers(), ?WAITING) > 0 of
                true -> wait(), haste;
                false -> add()
            end
    catch error:badarg -> without_owner()
    end.

wait() ->
    Ref = erlang:monitor(process, ?MODULE),
    gen_server:cast(?MODULE, {turn, self(), Ref}),
    receive
        {Ref, go} -> erlang:demonitor(Ref, [flush]), ok;
        {'DOWN', Ref, process, _, _} -> without_owner(), ok
    end.

%% All that are left would wake at once.
without_owner() ->
    case atomics:get(numbers(), ?STOPS) of
        0 -> ease;
        1 -> exit(shutdown)
    end.

%% From now on a session that has had no turn when the table goes ends without one: its node ends as well.
-spec node_stops() -> ok.
node_stops() ->
    atomics:put(numbers(), ?STOPS, 1).

%% The caller is awake, without having waited.
-spec add() -> ease | haste.
add() ->
    try
        ets:insert(?MODULE, {self()}),
        Size = ets:info(?MODULE, size),
        at_least(?MOST, Size),
        case 2 * Size > atomics:get(numbers(), ?MAX) of
            true -> haste;
            false -> ease
        end
    catch error:badarg -> ease
    end.

%% The caller is no longer awake.
-spec leave() -> ok.
leave() ->
    try ets:delete(?MODULE, self()) of
        true ->
            case atomics:get(numbers(), ?WAITING) of
                0 -> ok;
                _ -> gen_server:cast(?MODULE, left)
            end
    catch error:badarg -> ok
    end.

%% How many are awake, and how many wait for their turn.
-spec count() -> {Awake :: non_neg_integer(), Waiting :: non_neg_integer()}.
count() ->
    case ets:info(?MODULE, size) of
        undefined -> {0, 0};
        Size -> {Size, atomics:get(numbers(), ?WAITING)}
    end.

%% The largest numbers of both since there is a table.
-spec most() -> {Awake :: non_neg_integer(), Waiting :: non_neg_integer()}.
most() ->
    case ets:info(?MODULE, size) of
        undefined -> {0, 0};
        _ -> {atomics:get(numbers(), ?MOST), atomics:get(numbers(), ?MOST_WAITING)}
    end.

numbers() ->
    persistent_term:get(?MODULE).

at_least(Place, N) ->
    Ref = numbers(),
    case atomics:get(Ref, Place) of
        Most when Most < N -> _ = atomics:compare_exchange(Ref, Place, Most, N) =/= ok andalso at_least(Place, N), ok;
        _ -> ok
    end.

%%% gen_server

init({Max, TickMs}) ->
    process_flag(trap_exit, true),
    Numbers = persistent_term:get(?MODULE, undefined),
    _ = Numbers =/= undefined andalso map_get(size, atomics:info(Numbers)) =:= ?STOPS
        orelse persistent_term:put(?MODULE, atomics:new(?STOPS, [])),
    set_max(Max),
    lists:foreach(fun(Place) -> atomics:put(numbers(), Place, 0) end, [?WAITING, ?MOST, ?MOST_WAITING, ?STOPS]),
    ets:new(?MODULE, [named_table, public, {write_concurrency, true}]),
    {ok, #state{tick_ms = TickMs}}.

handle_call(_, _, State) ->
    {reply, ok, State}.

handle_cast({turn, Pid, Ref}, #state{queue = Queue} = State) ->
    at_least(?MOST_WAITING, atomics:add_get(numbers(), ?WAITING, 1)),
    {noreply, ticking(let_go(State#state{queue = queue:in({Pid, Ref}, Queue)}))};
handle_cast(left, State) ->
    {noreply, let_go(State)};
handle_cast(_, State) ->
    {noreply, State}.

handle_info(tick, #state{queue = Queue} = State) ->
    case queue:is_empty(Queue) of
        true -> {noreply, State#state{tick = undefined, still = 0}};
        false ->
            ets:foldl(fun({Pid}, _) -> urge(Pid) end, ok, ?MODULE),
            {noreply, ticking(unblock(let_go(State#state{tick = undefined, still = State#state.still + 1})))}
    end;
handle_info(_, State) ->
    {noreply, State}.

%% Waits for those that wait: they have been told to end.
terminate(_, #state{queue = Queue} = State) ->
    case queue:is_empty(Queue) of
        true -> ok;
        false -> last_turns(State, erlang:monotonic_time(millisecond) + ?STOP_MS)
    end.

last_turns(#state{queue = Queue} = State, Until) ->
    Left = Until - erlang:monotonic_time(millisecond),
    case queue:is_empty(Queue) orelse Left =< 0 of
        true -> ok;
        false ->
            receive
                {'$gen_cast', Cast} ->
                    {noreply, Next} = handle_cast(Cast, State),
                    last_turns(Next, Until);
                tick ->
                    {noreply, Next} = handle_info(tick, State),
                    last_turns(Next, Until)
            after Left -> ok
            end
    end.

%% Lets as many go as there is room for.
let_go(State) ->
    case atomics:get(numbers(), ?MAX) > ets:info(?MODULE, size) andalso let_one_go(State) of
        #state{} = Next -> let_go(Next);
        _ -> State
    end.

let_one_go(#state{queue = Queue} = State) ->
    case queue:out(Queue) of
        {{value, {Pid, Ref}}, Rest} ->
            atomics:sub(numbers(), ?WAITING, 1),
            _ = is_process_alive(Pid) andalso ets:insert(?MODULE, {Pid}),
            at_least(?MOST, ets:info(?MODULE, size)),
            Pid ! {Ref, go},
            State#state{queue = Rest, still = 0};
        {empty, _} -> none
    end.

unblock(#state{still = Still} = State) when Still < ?STILL_TICKS -> State;
unblock(State) -> (unblock(1 + atomics:get(numbers(), ?MAX) div ?STILL_PART, State))#state{still = ?STILL_TICKS}.

unblock(0, State) -> State;
unblock(N, State) ->
    case let_one_go(State) of
        #state{} = Next -> unblock(N - 1, Next);
        none -> State
    end.

ticking(#state{tick = undefined, tick_ms = TickMs, queue = Queue} = State) ->
    case queue:is_empty(Queue) of
        true -> State;
        false -> State#state{tick = erlang:send_after(TickMs, self(), tick)}
    end;
ticking(State) ->
    State.

urge(Pid) ->
    case is_process_alive(Pid) of
        true -> mod_megaphone_sleep:urge(Pid);
        false -> ets:delete(?MODULE, Pid)
    end.
