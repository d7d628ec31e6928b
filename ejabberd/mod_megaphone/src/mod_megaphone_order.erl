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
                  #{key := 0..16#ffffffff, own := place(), since := integer(), before := none | {pid(), place()}}.

%% A predecessor that is on its way comes in a few milliseconds; on a starved machine it takes seconds. The engine would
%% have to wait for it as well. The pauses between two looks grow from the first to the last.
-define(PATIENCE_MS, 5000).
-define(FIRST_PAUSE_MS, 1).
-define(LAST_PAUSE_MS, 64).
%% How long a reply waits for the one before to leave: an edge that takes longer to answer a ping stands still.
-define(FOLLOW_MS, 5000).
%% The longest that ejabberd_bosh lets a session be without a request is `wait`, 300 s at most, and then the inactivity
%% or the pause, 120 s unless configured.
-define(MAX_AGE_MINUTES, 10).
-define(TICK_MS, 60000).

%% An entry: {Key, the last rid, the request with it, the request before it, minute}. A request is none or {its process,
%% its place}.
-define(BEFORE, 4).

%% The owner of the table: where there is none, requests go as they come.
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% Returns when it is the request's turn. The caller is the process that hands it over: it waits for nothing before it
%% has done so.
-spec enter(Body :: binary(), place()) -> turn().
enter(Body, Own) ->
    case mod_megaphone_body:session(Body) of
        {none, none} -> none;
        {none, Rid} -> {creation, Rid};
        {_, none} -> none;
        {Sid, Rid} ->
            Key = key(Sid),
            try enter(Key, Rid, Own, now_ms() + ?PATIENCE_MS, ?FIRST_PAUSE_MS) of
                Before -> #{key => Key, own => Own, before => Before, since => now_ms()}
            catch error:badarg -> none      % no table
            end
    end.

key(Sid) -> erlang:phash2(Sid, 16#100000000).

now_ms() -> erlang:monotonic_time(millisecond).

enter(Key, Rid, Own, Until, Pause) ->
    case ets:lookup(?MODULE, Key) of
        [{_, Last, _, _, _}] when Rid =:= Last + 2 ->
            again(Key, Rid, Own, none, Until, Pause);
        [{_, Last, none, _, _}] when Rid =:= Last + 1 ->
            go(Key, Rid, Own, none);         % the first after a creation, which has been answered
        [{_, Last, {Pid, _} = Newest, _, _}] when Rid =:= Last + 1 ->
            case handed_over(Pid) of
                true -> go(Key, Rid, Own, Newest);
                false -> again(Key, Rid, Own, Newest, Until, Pause)
            end;
        [{_, Last, _, Before, _}] when Rid =:= Last ->
            go(Key, Rid, Own, Before);       % sent again
        [{_, Last, _, _, _}] when Rid =:= Last - 1 ->
            %% Sent again, and its successor is here, which may be sent again as well.
            _ = ets:update_element(?MODULE, Key, {?BEFORE, {self(), Own}}),
            none;
        _ -> go(Key, Rid, Own, none)
    end.

again(Key, Rid, Own, Before, Until, Pause) ->
    case now_ms() < Until of
        true -> receive after Pause -> enter(Key, Rid, Own, Until, min(2 * Pause, ?LAST_PAUSE_MS)) end;
        false -> go(Key, Rid, Own, Before)
    end.

go(Key, Rid, Own, Before) ->
    true = ets:insert(?MODULE, {Key, Rid, {self(), Own}, Before, minute()}),
    Before.

minute() -> erlang:monotonic_time(second) div 60.

%% A process that has handed its request over waits for the answer, or has had it.
handed_over(Pid) ->
    case process_info(Pid, status) of
        undefined -> true;
        {status, Status} -> Status =:= waiting
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
        true -> mod_megaphone_link:follow(Before, Own, ?FOLLOW_MS);
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
