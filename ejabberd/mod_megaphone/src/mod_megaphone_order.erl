%%% Hands the requests of a session to the engine in the order of their rids.
%%%
%%% A client with two sockets may send rid r+1 on one and r+2 on the other at the same moment. They may come over two
%%% links, and each has a process of its own, so that r+2 may be first. ejabberd_bosh keeps it then, but forgets it when
%%% r+1 has nothing to answer: the session stalls until somebody else has a stanza for it.
%%%
%%% A table has, for each session, the last rid that was handed over, and the process that did it. A request whose
%%% predecessor is missing there waits for it, for a short time only: it may never come. Nothing else ever waits. Two
%%% sessions whose keys are the same, one pair in 2^32, cost each other that time now and then, and nothing else.
%%%
%%% An entry ends with its session: with the reply that says so, or when nothing came for longer than any session lives.
-module(mod_megaphone_order).
-behaviour(gen_server).

-export([start_link/0, enter/1, leave/2, sweep/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-export_type([key/0]).

-opaque key() :: 0..16#ffffffff | none.

%% A predecessor that is on its way comes in a few milliseconds; on a busy machine it takes tens.
-define(PATIENCE_MS, 200).
-define(PAUSE_MS, 1).
%% The longest that ejabberd_bosh lets a session be without a request is `wait`, 300 s at most, and then the inactivity
%% or the pause, 120 s unless configured.
-define(MAX_AGE_MINUTES, 10).
-define(TICK_MS, 60000).

%% The owner of the table: where there is none, requests go as they come.
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% Returns when it is the request's turn. The caller is the process that hands it over: it waits for nothing before it
%% has done so.
-spec enter(Body :: binary()) -> key().
enter(Body) ->
    case mod_megaphone_body:session(Body) of
        {Sid, Rid} ->
            Key = erlang:phash2(Sid, 16#100000000),
            try enter(Key, Rid, ?PATIENCE_MS)
            catch error:badarg -> none      % no table
            end;
        none -> none
    end.

enter(Key, Rid, Left) ->
    case ets:lookup(?MODULE, Key) of
        [{_, Last, _, _}] when Rid =:= Last + 2, Left > 0 -> again(Key, Rid, Left);
        [{_, Last, Pid, _}] when Rid =:= Last + 1, Left > 0 ->
            case handed_over(Pid) of
                true -> go(Key, Rid);
                false -> again(Key, Rid, Left)
            end;
        [{_, Last, _, _}] when Rid =< Last, Last - Rid < 2 -> Key;     % sent again
        _ -> go(Key, Rid)
    end.

again(Key, Rid, Left) ->
    receive after ?PAUSE_MS -> enter(Key, Rid, Left - ?PAUSE_MS) end.

go(Key, Rid) ->
    true = ets:insert(?MODULE, {Key, Rid, self(), erlang:monotonic_time(second) div 60}),
    Key.

%% A process that has handed its request over waits for the answer, or has had it.
handed_over(Pid) ->
    case process_info(Pid, status) of
        undefined -> true;
        {status, Status} -> Status =:= waiting
    end.

%% The request has been answered with Reply: that may have been its session's last.
-spec leave(key(), Reply :: {Status :: 200..599, Body :: binary()}) -> ok.
leave(none, _) ->
    ok;
leave(Key, {Status, Body}) ->
    _ = (Status =/= 200 orelse mod_megaphone_body:is_terminate(Body)) andalso (catch ets:delete(?MODULE, Key)),
    ok.

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
    ets:select_delete(?MODULE, [{{'_', '_', '_', '$1'}, [{'<', '$1', Minute}], [true]}]).
