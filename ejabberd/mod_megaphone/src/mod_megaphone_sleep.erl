%%% Has the c2s process of an idle session sleep: it hibernates, with its state packed (mod_megaphone_pack). Asleep it
%%% takes 1 KB instead of 8 to 30.
%%%
%%%     opened ──► awake ── sleep_after, and nothing to do ──► asleep ── a message ──► its turn (mod_megaphone_awake)
%%%                  ▲                                                                     │
%%%                  └─────────────────────────────────────────────────────────────────────┘
%%%
%%% The process stays ejabberd's own. It falls asleep in a callback of a hook, and waking it enters the loop of
%%% p1_server by enter_loop/3, as with any process that becomes a server. p1_server empties its mailbox into a queue of
%%% its own, which would be lost: a process sleeps only if the loop has noted that the queue is empty.
%%%
%%% A timer of each session that is awake tells it to sleep. Its message is one that ejabberd passes to the hook
%%% c2s_handle_cdata. So no message to a session costs anything more, and a timer that goes off when this module is
%%% gone does nothing. No client can send it, because what clients send there is text.
%%%
%%% Where the probe fails (mod_megaphone_probe), idle processes collect their garbage instead.
-module(mod_megaphone_sleep).

-export([start_node/0, stop_node/0, start/1, stop/1, options_changed/0, leave/0, urge/1, figures/0]).
%% Hooks of the node
-export([stopping/0]).
%% Hooks
-export([init_process/2, opened/1, event/2, terminated/2]).
%% What a process that is asleep does next
-export([thaw/2]).

-include("logger.hrl").

%% Reaches the hook c2s_handle_cdata of a session, and is ignored without it.
-define(EVENT(What), {'$gen_all_state_event', {xmlstreamcdata, {?MODULE, What}}}).

%% In the dictionary of a process that is awake: {Timer, Level}. Timer is none if the message is in the mailbox.
-define(TIMER, ?MODULE).
%% In the dictionary of a process whose listener has the option max_fsm_queue.
-define(MAX_QUEUE, mod_megaphone_max_queue).
%% In the dictionary of a process that has slept: the shape of its state.
-define(SHAPE, mod_megaphone_shape).
%% What '$initial_call' in the dictionary says while the process is asleep, and otherwise.
-define(ASLEEP, {?MODULE, asleep, 0}).
-define(AWAKE, {xmpp_stream_in, init, 1}).

%% A session is awake for sleep_after x 2^Level. One that sleeps for less than twice that time is woken often, and its
%% level rises. Where garbage is collected instead, it is done again at the pace of the levels.
-define(MAX_LEVEL, 5).
-define(MAX_COLLECT_LEVEL, 10).
-define(LEVEL_BITS, 4).

%% So many processes are told something at a time.
-define(CHUNK, 1000).
-define(CHUNK_PAUSE_MS, 20).
%% So long all may take to leave.
-define(LEAVE_MS, 120000).
%% So long ejabberd's stop waits for the sessions that are asleep to end.
-define(STOP_MS, 60000).

%%% The node

%% Decides what idle sessions do: sleep, or collect.
-spec start_node() -> ok.
start_node() ->
    Mode = case mod_megaphone_probe:run() of
               ok -> sleep;
               {error, Why} ->
                   ?WARNING_MSG("Megaphone: idle sessions cannot sleep reason=\"~ts\"", [Why]),
                   collect
           end,
    {_, Leaving} = persistent_term:get(?MODULE, {none, atomics:new(1, [])}),
    persistent_term:put(?MODULE, {Mode, Leaving}),
    atomics:put(Leaving, 1, 0),
    ejabberd_hooks:add(ejabberd_stopping, ?MODULE, stopping, 60),
    ejabberd_hooks:add(c2s_init, ?MODULE, init_process, 99).

-spec stop_node() -> ok.
stop_node() ->
    ejabberd_hooks:delete(ejabberd_stopping, ?MODULE, stopping, 60),
    ejabberd_hooks:delete(c2s_init, ?MODULE, init_process, 99).

%% How many sessions are asleep, and what idle ones do here. A session that was killed in its sleep is still counted.
-spec figures() -> #{asleep := integer(), mode := none | sleep | collect}.
figures() ->
    #{slept := Slept, woken := Woken} = maps:from_list(mod_megaphone_stats:all()),
    {Mode, _} = persistent_term:get(?MODULE, {none, none}),
    #{asleep => Slept - Woken, mode => Mode}.

%%% A host

-spec start(binary()) -> ok.
start(Host) ->
    hooks(add, Host).

%% Sessions that are asleep wake as before, and do not sleep again.
-spec stop(binary()) -> ok.
stop(Host) ->
    hooks(delete, Host).

%% The last one is before mod_stream_mgmt's, which lets no others see the end of a session that was resumed elsewhere.
hooks(Do, Host) ->
    lists:foreach(fun({Hook, Function, Place}) -> ejabberd_hooks:Do(Hook, Host, ?MODULE, Function, Place) end,
                  [{c2s_session_opened, opened, 99}, {c2s_session_resumed, opened, 99},
                   {c2s_handle_cdata, event, 1}, {c2s_terminated, terminated, 1}]).

%% Options hold for the sessions that are there as well.
-spec options_changed() -> ok.
options_changed() ->
    _ = spawn(fun() -> tell([Pid || Pid <- processes(), kind(Pid) =:= awake], arm) end),
    ok.

%% Moves all processes out of the code of this module before it is unloaded. Sleeping ones stay asleep, in code of
%% p1_server, with their states unpacked. error: that many did not.
-spec leave() -> ok | {error, pos_integer()}.
leave() ->
    case persistent_term:get(?MODULE, none) of
        none -> ok;
        {_, Leaving} ->
            atomics:put(Leaving, 1, 1),
            leave(erlang:monotonic_time(millisecond) + ?LEAVE_MS)
    end.

leave(Until) ->
    case [Pid || Pid <- processes(), is_here(Pid)] of
        [] -> ok;
        Pids ->
            tell([Pid || Pid <- Pids, kind(Pid) =:= asleep], leave),
            case erlang:monotonic_time(millisecond) < Until of
                true -> leave(Until);
                false -> {error, length(Pids)}
            end
    end.

is_here(Pid) ->
    kind(Pid) =:= asleep orelse
        case process_info(Pid, current_stacktrace) of
            {_, Stack} -> lists:keymember(?MODULE, 1, Stack) andalso kind(Pid) =/= other;
            undefined -> false
        end.

%% A process that has handled no message yet must not get this one: xmpp_stream_in would end.
kind(Pid) ->
    case process_info(Pid, dictionary) of
        {_, Dictionary} ->
            case lists:keyfind('$initial_call', 1, Dictionary) of
                {_, ?ASLEEP} -> asleep;
                {_, ?AWAKE} -> case lists:keymember('$internal_queue_len', 1, Dictionary) of
                                   true -> awake;
                                   false -> other
                               end;
                _ -> other
            end;
        undefined -> other
    end.

tell(Pids, What) when length(Pids) =< ?CHUNK ->
    lists:foreach(fun(Pid) -> Pid ! ?EVENT(What) end, Pids),
    receive after ?CHUNK_PAUSE_MS -> ok end;
tell(Pids, What) ->
    {Some, Others} = lists:split(?CHUNK, Pids),
    tell(Some, What),
    tell(Others, What).

%% ejabberd stops: the sessions that are asleep end, some at a time, while all that they need to end is still there.
%% ejabberd itself would wake them all at once, and stop without waiting for them. Those that have not ended by
%% ?STOP_MS have another minute when their module stops, and then end as they are.
-spec stopping() -> ok.
stopping() ->
    mod_megaphone_awake:node_stops(),
    Error = case ejabberd_cluster:get_nodes() of
                [_] -> xmpp:serr_system_shutdown();
                _ -> xmpp:serr_reset()
            end,
    stopping([Pid || Pid <- processes(), kind(Pid) =:= asleep], Error, erlang:monotonic_time(millisecond) + ?STOP_MS).

stopping([], _, _) ->
    ok;
stopping(Pids, Error, Until) ->
    {Some, Others} = lists:split(min(?CHUNK, length(Pids)), Pids),
    Refs = [begin
                ejabberd_c2s:send(Pid, Error),
                ejabberd_c2s:stop_async(Pid),
                erlang:monitor(process, Pid)
            end || Pid <- Some],
    case lists:all(fun(Ref) -> ended(Ref, Until) end, Refs) of
        true -> stopping(Others, Error, Until);
        false -> ok
    end.

ended(Ref, Until) ->
    receive {'DOWN', Ref, process, _, _} -> true
    after max(0, Until - erlang:monotonic_time(millisecond)) -> false
    end.

%% A session that is awake is to sleep at once, if it can.
-spec urge(pid()) -> ok.
urge(Pid) ->
    Pid ! ?EVENT(now),
    ok.

%%% Hooks, in the session's process

%% The state does not have the listener's options.
-spec init_process(Result, list()) -> Result.
init_process(Result, Opts) ->
    case lists:keyfind(max_fsm_queue, 1, Opts) of
        {_, Max} when is_integer(Max) -> put(?MAX_QUEUE, Max);
        _ -> ok
    end,
    Result.

-spec opened(ejabberd_c2s:state()) -> ejabberd_c2s:state().
opened(State) ->
    case delay(State) of
        infinity -> ok;
        Delay ->
            case mod_megaphone_awake:add() of
                ease -> arm(Delay, 0);
                haste -> arm_at_once(0)
            end
    end,
    State.

-spec event(ejabberd_c2s:state(), term()) -> ejabberd_c2s:state() | {stop, ejabberd_c2s:state()}.
event(State, {?MODULE, What}) ->
    handle(What, get(?TIMER), State),
    {stop, State};
event(State, _) ->
    State.

-spec terminated(ejabberd_c2s:state(), term()) -> ejabberd_c2s:state().
terminated(State, _) ->
    mod_megaphone_awake:leave(),
    State.

handle(idle, {none, Level}, State) ->
    settle(delay(State), Level, State);
handle(idle, {Timer, Level}, State) ->
    %% A message of an earlier timer may have been under way when the process fell asleep.
    erlang:read_timer(Timer) =:= false andalso settle(delay(State), Level, State);
handle(now, {Timer, Level}, State) ->
    can_sleep(State) andalso begin cancel(Timer), settle(delay(State), Level, State) end;
handle(arm, Armed, State) ->
    %% The message of its timer may have come while the hook was not there.
    case Armed of
        {Timer, _} -> cancel(Timer);
        undefined -> ok
    end,
    erase(?TIMER),
    opened(State);
handle(_, _, _) ->
    ok.

cancel(none) -> ok;
cancel(Timer) -> erlang:cancel_timer(Timer).

arm(Delay, Level) ->
    put(?TIMER, {erlang:send_after(Delay bsl Level, self(), ?EVENT(idle)), Level}).

%% After the current contents of the mailbox.
arm_at_once(Level) ->
    self() ! ?EVENT(idle),
    put(?TIMER, {none, Level}).

%% How long a session like this is awake; infinity: it does not sleep. The port of a session that came over a link is
%% not known, and 0.
delay(#{lserver := Host} = State) ->
    try {gen_mod:get_module_opt(Host, mod_megaphone, sleep_after),
         gen_mod:get_module_opt(Host, mod_megaphone, sleep_sessions), State} of
        {After, all, _} -> After;
        {After, megaphone, #{ip := {_, 0}}} -> After;
        _ -> infinity
    catch error:_ -> infinity           % the module is no longer loaded for this host
    end.

settle(infinity, _, _) ->
    erase(?TIMER),
    mod_megaphone_awake:leave();
settle(Delay, Level, State) ->
    Settled = is_settled(State),
    case can_sleep(State) of
        true ->
            case mode() of
                sleep -> sleep(Level, State);
                collect -> collect(Delay, Level)
            end;
        false ->
            case get(?TIMER) of
                %% Only messages are in the way.
                {none, _} when Settled -> arm_at_once(Level);
                _ -> arm(Delay, Level)
            end
    end.

%% The length of p1_server's queue is not there if the process is not p1_server's.
can_sleep(State) ->
    is_settled(State) andalso get('$internal_queue_len') =:= 0
        andalso process_info(self(), message_queue_len) =:= {message_queue_len, 0}.

is_settled(State) ->
    get('$initial_call') =:= ?AWAKE andalso is_integer(get('$internal_queue_len'))
        andalso case State of
                    #{stream_state := established, stream_timeout := infinity} -> true;
                    %% It waits for a socket that resumes it (XEP-0198).
                    #{stream_state := disconnected, stream_timeout := infinity, mgmt_state := pending} -> true;
                    _ -> false
                end.

mode() ->
    {Mode, _} = persistent_term:get(?MODULE),
    Mode.

is_leaving() ->
    {_, Leaving} = persistent_term:get(?MODULE),
    atomics:get(Leaving, 1) =:= 1.

collect(Delay, Level) ->
    erlang:garbage_collect(),
    mod_megaphone_stats:add(collected, 1),
    mod_megaphone_awake:leave(),
    arm(Delay, min(Level + 1, ?MAX_COLLECT_LEVEL)).

%%% Asleep

-spec sleep(non_neg_integer(), ejabberd_c2s:state()) -> no_return().
sleep(Level, State) ->
    collect_bosh(State),
    Packed = mod_megaphone_pack:pack(State, case erase(?SHAPE) of undefined -> none; Shape -> Shape end),
    is_binary(Packed) orelse mod_megaphone_stats:add(slept_with_more, 1),
    mod_megaphone_stats:add(slept, 1),
    %% What every process has in its dictionary is put where it costs nothing.
    erase(?TIMER),
    erase(rand_seed),
    put('$ancestors', [parent()]),
    put('$initial_call', ?ASLEEP),
    mod_megaphone_awake:leave(),
    proc_lib:hibernate(?MODULE, thaw, [(now_ms() bsl ?LEVEL_BITS) bor Level, Packed]).

%% ejabberd's BOSH engine has a process for each session, with the garbage of its log-in.
collect_bosh(#{socket := Socket}) when element(2, Socket) =:= ejabberd_bosh ->
    {http_bind, Pid, _} = element(3, Socket),
    erlang:garbage_collect(Pid);
collect_bosh(_) ->
    ok.

%% As enter_loop/3 wants it: the supervisor, or the process itself where there is none.
parent() ->
    [Ancestor | _] = get('$ancestors'),
    Pid = case is_pid(Ancestor) of true -> Ancestor; false -> whereis(Ancestor) end,
    {links, Links} = process_info(self(), links),
    case lists:member(Pid, Links) of true -> Pid; false -> self() end.

%% A message has come.
-spec thaw(non_neg_integer(), mod_megaphone_pack:packed()) -> no_return().
thaw(Since, Packed) ->
    case is_leaving() of
        true -> leave_asleep(Packed);
        false -> wake(Since, Packed, mod_megaphone_awake:enter())
    end.

wake(Since, Packed, Haste) ->
    mod_megaphone_stats:add(woken, 1),
    State = mod_megaphone_pack:unpack(Packed),
    put(?SHAPE, mod_megaphone_pack:shape(Packed)),
    put('$initial_call', ?AWAKE),
    case delay(State) of
        infinity -> mod_megaphone_awake:leave();
        _ when Haste =:= haste -> arm_at_once(0);
        Delay -> arm(Delay, next_level(Since, Delay))
    end,
    p1_server:enter_loop(xmpp_stream_in, limits(), State).

next_level(Since, Delay) ->
    Level = Since band (1 bsl ?LEVEL_BITS - 1),
    case now_ms() - (Since bsr ?LEVEL_BITS) < (2 * Delay) bsl Level of
        true -> min(Level + 1, ?MAX_LEVEL);
        false -> 0
    end.

%% Stays asleep without this module. The message that woke it is dropped if it was only for that.
leave_asleep(Packed) ->
    mod_megaphone_stats:add(woken, 1),
    State = mod_megaphone_pack:unpack(Packed),
    receive ?EVENT(leave) -> ok after 0 -> ok end,
    put('$initial_call', ?AWAKE),
    proc_lib:hibernate(p1_server, enter_loop, [xmpp_stream_in, limits(), State]).

limits() ->
    ejabberd_config:fsm_limit_opts(case get(?MAX_QUEUE) of
                                       undefined -> [];
                                       Max -> [{max_fsm_queue, Max}]
                                   end).

%% Milliseconds since the node began: they fit into a word with the level.
now_ms() ->
    erlang:monotonic_time(millisecond) - erlang:convert_time_unit(erlang:system_info(start_time), native, millisecond).
