%%% The live ids of a link, and the processes that hold their requests. A process whose id is gone goes on to its
%%% answer, which nobody takes.
%%%
%%% A request that is still held a tick after it came is swept: its process is garbage-collected, once. What it needed
%%% to read the request is most of what it would otherwise keep for all the time that it waits.
-module(mod_megaphone_live).

-export([new/0, size/1, is_live/2, add/3, take/3, has/3, find/2, gone/2, kill_all/1, sweep/1]).

-export_type([live/0]).

-type id() :: mod_megaphone_codec:id().

-record(live,
        {pids = #{} :: #{id() => pid()},
         fresh = [] :: [id()],            % came since the last tick
         aging = [] :: [id()]}).          % came in the tick before

-opaque live() :: #live{}.

-spec new() -> live().
new() ->
    #live{}.

-spec size(live()) -> non_neg_integer().
size(#live{pids = Pids}) ->
    map_size(Pids).

-spec is_live(id(), live()) -> boolean().
is_live(Id, #live{pids = Pids}) ->
    is_map_key(Id, Pids).

-spec add(id(), pid(), live()) -> live().
add(Id, Pid, #live{pids = Pids, fresh = Fresh} = Live) ->
    Live#live{pids = Pids#{Id => Pid}, fresh = [Id | Fresh]}.

%% Ends id Id, which Pid must have: an id may have been used again since it was another process's.
-spec take(id(), pid(), live()) -> {ok, live()} | error.
take(Id, Pid, #live{pids = Pids} = Live) ->
    case Pids of
        #{Id := Pid} -> {ok, Live#live{pids = maps:remove(Id, Pids)}};
        _ -> error
    end.

%% Whether id Id is Pid's.
-spec has(id(), pid(), live()) -> boolean().
has(Id, Pid, #live{pids = Pids}) ->
    case Pids of
        #{Id := Pid} -> true;
        _ -> false
    end.

%% The id that Pid has. It looks at all of them: for accidents only.
-spec find(pid(), live()) -> {ok, id()} | error.
find(Pid, #live{pids = Pids}) ->
    case [Id || {Id, P} <- maps:to_list(Pids), P =:= Pid] of
        [Id] -> {ok, Id};
        [] -> error
    end.

%% Ends id Id. Its process goes on to its answer, which nobody takes: what the client sent is to reach its session.
-spec gone(id(), live()) -> {ok, live()} | error.
gone(Id, #live{pids = Pids} = Live) ->
    case maps:take(Id, Pids) of
        {_, Rest} -> {ok, Live#live{pids = Rest}};
        error -> error
    end.

-spec kill_all(live()) -> live().
kill_all(#live{pids = Pids}) ->
    lists:foreach(fun kill/1, maps:values(Pids)),
    new().

kill(Pid) ->
    unlink(Pid),
    exit(Pid, kill).

%% Is to be called at each tick. {garbage_collect, swept, _} comes back for each process.
-spec sweep(live()) -> live().
sweep(#live{pids = Pids, fresh = Fresh, aging = Aging} = Live) ->
    _ = [erlang:garbage_collect(maps:get(Id, Pids), [{async, swept}]) || Id <- Aging, is_map_key(Id, Pids)],
    Live#live{aging = Fresh, fresh = []}.
