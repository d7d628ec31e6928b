%%% Keeps the order of a session's requests, and of the replies to them.
%%%
%%% Requests: a client with two sockets may send rid r+1 on one and r+2 on the other at the same moment. They may come
%%% over two links, and each has a process of its own, so that r+2 may be first. ejabberd_bosh keeps it then, but
%%% forgets it when r+1 has nothing to answer: the session stalls until there is another stanza for it. A table has,
%%% for each session, the last rid that was handed over, and the process that did it. A request whose predecessor is
%%% missing there waits for it, for some time only: it may never come. The first entry is that of the session's
%%% creation, so the first pair is kept in order as well. Two sessions whose keys are the same, one pair in 2^32, cost
%%% each other that time now and then, and nothing else.
%%%
%%% A request that is handed over without its predecessor is kept by ejabberd_bosh, which crashes if it is handed over
%%% again. So one that may have been handed over before waits while the session keeps it, and then gets 503: the client
%%% sends it again. The table cannot tell, as it ends with the module; the session's state does. And of two copies of a
%%% request, ejabberd_bosh answers that which came last: an older copy that has waited gets 503 as well.
%%%
%%% Replies: the client reads them as they arrive, on whichever socket. So a reply follows that to the request before:
%%% it waits until the link of that one has sent it and, where that is another link, until the edge has handled it
%%% (mod_megaphone_link:follow/3). A request that was held for longer than that wait may last follows nothing: its
%%% predecessor was answered when it came, because ejabberd holds one request a session. A request that is sent again
%%% follows its predecessor too, where that was answered the last time: so an entry has the last two.
%%%
%%% An entry ends with its session: with the reply that says so, or when nothing came for longer than any session lives.
-module(mod_megaphone_order).
-behaviour(gen_server).

-export([start_link/0, enter/2, leave/2, sweep/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-export_type([place/0, turn/0]).

%% Where a request is answered. Its id is live on that link.
-type place() :: {Link :: pid(), mod_megaphone_codec:id()}.

%% What a request process takes from enter to leave.
-opaque turn() :: none | {creation, Rid :: non_neg_integer()} |
                  #{key := 0..16#ffffffff, own := place(), since := integer(), before := none | request()}.

%% A request's process and place, and when it came.
-type request() :: {pid(), place(), Came :: integer()}.

%% A predecessor that is on its way comes in a few milliseconds; on a starved machine it takes seconds. The engine would
%% have to wait for it as well. The pauses between two looks grow from the first to the last.
-define(PATIENCE_MS, 5000).
-define(FIRST_PAUSE_MS, 1).
-define(LAST_PAUSE_MS, 64).
%% How long a session may take to show its state, and the elements of that: see #state in ejabberd_bosh.erl.
-define(LOOK_MS, 1000).
-define(SID, 3).
-define(LAST_RID, 13).
-define(RECEIVERS, 18).
%% How long a reply waits for the one before to leave: an edge that takes longer to answer a ping stands still.
-define(FOLLOW_MS, 5000).
%% The longest that ejabberd_bosh lets a session be without a request is `wait`, 300 s at most, and then the inactivity
%% or the pause, 120 s unless configured.
-define(MAX_AGE_MINUTES, 10).
-define(TICK_MS, 60000).

%% An entry: {Key, the last rid, the request with it or none, the request before it or none, minute}.
-define(BEFORE, 4).

%% The owner of the table: where there is none, requests go as they come.
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% Returns when it is the request's turn, or retry: the client is to send it again. The caller is the process that hands
%% it over: it waits for nothing before it has done so.
-spec enter(Body :: binary(), place()) -> turn() | retry.
enter(Body, Own) ->
    case mod_megaphone_body:session(Body) of
        {none, none} -> none;
        {none, Rid} -> {creation, Rid};
        {_, none} -> none;
        {Sid, Rid} -> enter(Sid, Rid, {self(), Own, erlang:monotonic_time()}, now_ms() + ?PATIENCE_MS, ?FIRST_PAUSE_MS)
    end.

key(Sid) -> erlang:phash2(Sid, 16#100000000).

now_ms() -> erlang:monotonic_time(millisecond).

enter(Sid, Rid, Request, Until, Pause) ->
    Key = key(Sid),
    Waits = now_ms() < Until,
    try look(Rid, Request, ets:lookup(?MODULE, Key)) of
        {go, Before} -> go(Key, Rid, Request, Before);
        {wait, _} when Waits -> again(Sid, Rid, Request, Until, Pause);
        {_, Before} ->
            case seen(Sid, Rid) of
                Seen when Waits, Seen =/= no -> again(Sid, Rid, Request, Until, Pause);
                kept -> retry;
                _ -> go(Key, Rid, Request, Before)
            end;
        before_last ->
            _ = ets:update_element(?MODULE, Key, {?BEFORE, Request}),
            turn(Key, Request, none);
        superseded -> retry
    catch error:badarg -> case seen(Sid, Rid) of kept -> retry; _ -> none end       % no table
    end.

%% Whether it is the turn of a session's request, and the request that it follows. Unsure: it is, unless the request has
%% been handed over too early before. Superseded: a copy that came later has been handed over.
look(Rid, _, [{_, Last, _, _, _}]) when Rid =:= Last + 2 -> {wait, none};
look(Rid, _, [{_, Last, none, _, _}]) when Rid =:= Last + 1 -> {go, none};     % the first after a creation, answered
look(Rid, _, [{_, Last, {Pid, _, _} = Newest, _, _}]) when Rid =:= Last + 1 ->
    {case handed_over(Pid) of true -> go; false -> wait end, Newest};
look(Rid, {_, _, Came}, [{_, Rid, {_, _, Later}, _, _}]) when Later > Came -> superseded;
look(Rid, _, [{_, Rid, _, Before, _}]) -> {unsure, Before};
look(Rid, {_, _, Came}, [{_, Last, _, {_, _, Later}, _}]) when Rid =:= Last - 1, Later > Came -> superseded;
look(Rid, _, [{_, Last, _, _, _}]) when Rid =:= Last - 1 -> before_last;
look(_, _, _) -> {unsure, none}.

again(Sid, Rid, Request, Until, Pause) ->
    receive after Pause -> enter(Sid, Rid, Request, Until, min(2 * Pause, ?LAST_PAUSE_MS)) end.

go(Key, Rid, Request, Before) ->
    true = ets:insert(?MODULE, {Key, Rid, Request, Before, minute()}),
    turn(Key, Request, Before).

turn(Key, {_, Own, _}, Before) ->
    #{key => Key, own => Own, before => Before, since => now_ms()}.

minute() -> erlang:monotonic_time(second) div 60.

%% A process that has handed its request over waits for the answer, or has had it.
handed_over(Pid) ->
    case process_info(Pid, status) of
        undefined -> true;
        {status, Status} -> Status =:= waiting
    end.

%% What the session of ejabberd's own engine knows of request Rid, whose predecessor it may not have: kept, for after
%% its predecessor; early, if it would be; no otherwise. A state of another shape than that of ejabberd 17.04 to 26.07
%% tells nothing.
seen(Sid, Rid) ->
    try
        {ok, Pid} = mod_bosh:find_session(Sid),
        State = lists:keyfind(state, 1, [T || T <- sys:get_state(Pid, ?LOOK_MS), is_tuple(T)]),
        Sid = element(?SID, State),
        case {gb_trees:is_defined(Rid, element(?RECEIVERS, State)), Rid - element(?LAST_RID, State)} of
            {true, Ahead} when Ahead > 1 -> kept;
            {false, 2} -> early;
            _ -> no
        end
    catch _:_ -> no
    end.

%% The request has been answered with Reply, which may be its session's first or last. Returns when the reply may leave.
-spec leave(turn(), Reply :: {Status :: 200..599, Body :: binary()}) -> ok.
leave(none, _) ->
    ok;
leave({creation, Rid}, {Status, Body}) ->
    case Status =:= 200 andalso mod_megaphone_body:sid(Body) of
        Sid when is_binary(Sid) ->
            try ets:insert_new(?MODULE, {key(Sid), Rid, none, none, minute()}), ok
            catch error:badarg -> ok            % no table
            end;
        _ -> ok
    end;
leave(#{key := Key, own := Own, before := Before, since := Since}, {Status, Body}) ->
    _ = (Status =/= 200 orelse mod_megaphone_body:is_terminate(Body)) andalso forget(Key),
    case Before =/= none andalso now_ms() - Since < ?FOLLOW_MS of
        true ->
            {Pid, Place, _} = Before,
            mod_megaphone_link:follow({Pid, Place}, Own, ?FOLLOW_MS);
        false -> ok
    end.

forget(Key) ->
    try ets:delete(?MODULE, Key)
    catch error:badarg -> true                  % no table
    end.

%%% gen_server

init([]) ->
    ?MODULE = ets:new(?MODULE, [named_table, public, {write_concurrency, true}]),
    tick_later(),
    {ok, undefined}.

handle_call(_, _, State) -> {noreply, State}.

handle_cast(_, State) -> {noreply, State}.

handle_info(tick, State) ->
    tick_later(),
    _ = sweep(erlang:monotonic_time(second) div 60 - ?MAX_AGE_MINUTES),
    {noreply, State, hibernate};
handle_info(_, State) ->
    {noreply, State}.

tick_later() ->
    erlang:send_after(?TICK_MS, self(), tick).

%% Forgets sessions without a request since before Minute, and says how many.
-spec sweep(integer()) -> non_neg_integer().
sweep(Minute) ->
    ets:select_delete(?MODULE, [{{'_', '_', '_', '_', '$1'}, [{'<', '$1', Minute}], [true]}]).
