%%% The live ids of a link, and what holds their requests: a process of this module with ejabberd's own engine, a
%%% shard with mod_megaphone's. A process whose id is gone continues to its answer, which is dropped. It counts as held
%%% until it has ended, because it costs as much as before.
%%%
%%% A request that is still held a tick after it came is swept: its process is garbage-collected, once. Otherwise it
%%% would keep the garbage of reading the request, most of its memory, while it waits.
-module(mod_megaphone_live).

-export([new/0, size/1, held/1, is_live/2, add/3, take/3, has/3, find/2, gone/2, ended/2, kill_all/1, sweep/1]).
-export([ids/1, holder/2, of_shard/2]).

-export_type([live/0, holder/0]).

-type id() :: mod_megaphone_codec:id().

%% N is the link's own number for the request, for an id may be used again. A creation is with no shard yet.
-type holder() :: pid() | {N :: non_neg_integer(), mod_megaphone_shard:shard() | none, Sid :: binary()}.

-record(live,
        {pids = #{} :: #{id() => holder()},
         gone = #{} :: #{pid() => []},    % processes without an id that have not ended
         fresh = [] :: [id()],            % came since the last tick
         aging = [] :: [id()]}).          % came in the tick before

-opaque live() :: #live{}.

-spec new() -> live().
new() ->
    #live{}.

%% The number of live ids.
-spec size(live()) -> non_neg_integer().
size(#live{pids = Pids}) ->
    map_size(Pids).

%% The number of processes.
-spec held(live()) -> non_neg_integer().
held(#live{pids = Pids, gone = Gone}) ->
    map_size(Pids) + map_size(Gone).

-spec is_live(id(), live()) -> boolean().
is_live(Id, #live{pids = Pids}) ->
    is_map_key(Id, Pids).

-spec add(id(), holder(), live()) -> live().
add(Id, Pid, #live{pids = Pids, fresh = Fresh} = Live) when is_pid(Pid) ->
    Live#live{pids = Pids#{Id => Pid}, fresh = [Id | Fresh]};
add(Id, Holder, #live{pids = Pids} = Live) ->
    Live#live{pids = Pids#{Id => Holder}}.

%% Ends id Id, which process Pid or request N must have: an id may have been used again since it was another's.
-spec take(id(), pid() | non_neg_integer(), live()) -> {ok, live()} | error.
take(Id, Who, #live{pids = Pids} = Live) ->
    case Pids of
        #{Id := Who} -> {ok, Live#live{pids = maps:remove(Id, Pids)}};
        #{Id := {Who, _, _}} -> {ok, Live#live{pids = maps:remove(Id, Pids)}};
        _ -> error
    end.

%% All of them.
-spec ids(live()) -> [id()].
ids(#live{pids = Pids}) ->
    maps:keys(Pids).

%% What holds id Id.
-spec holder(id(), live()) -> holder() | none.
holder(Id, #live{pids = Pids}) ->
    maps:get(Id, Pids, none).

%% The ids that a shard holds, and their numbers. It looks at all of them: for accidents only.
-spec of_shard(mod_megaphone_shard:shard() | none, live()) -> [{id(), N :: non_neg_integer()}].
of_shard(Shard, #live{pids = Pids}) ->
    [{Id, N} || {Id, {N, S, _}} <- maps:to_list(Pids), S =:= Shard].

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

%% Ends id Id. Its process continues to its answer, which is dropped, because the client's message must reach its
%% session. A shard is told.
-spec gone(id(), live()) -> {ok, live()} | error.
gone(Id, #live{pids = Pids, gone = Gone} = Live) ->
    case maps:take(Id, Pids) of
        {Pid, Rest} when is_pid(Pid) -> {ok, Live#live{pids = Rest, gone = Gone#{Pid => []}}};
        {Holder, Rest} -> tell_gone(Id, Holder), {ok, Live#live{pids = Rest}};
        error -> error
    end.

tell_gone(Id, {N, none, _}) -> mod_megaphone_admission:gone({self(), Id, N});
tell_gone(Id, {N, Shard, Sid}) -> mod_megaphone_shard:gone(Shard, {self(), Id, N}, Sid).

%% Forgets Pid, whose id is gone: it has ended.
-spec ended(pid(), live()) -> live().
ended(Pid, #live{gone = Gone} = Live) ->
    Live#live{gone = maps:remove(Pid, Gone)}.

%% Those whose ids are gone continue.
-spec kill_all(live()) -> live().
kill_all(#live{pids = Pids, gone = Gone}) ->
    maps:foreach(fun kill/2, Pids),
    #live{gone = Gone}.

kill(_, Pid) when is_pid(Pid) ->
    unlink(Pid),
    exit(Pid, kill);
kill(Id, Holder) ->
    tell_gone(Id, Holder).

%% Must be called at each tick. {garbage_collect, swept, _} comes back for each process.
-spec sweep(live()) -> live().
sweep(#live{pids = Pids, fresh = Fresh, aging = Aging} = Live) ->
    _ = [erlang:garbage_collect(map_get(Id, Pids), [{async, swept}]) || Id <- Aging, is_pid(maps:get(Id, Pids, none))],
    Live#live{aging = Fresh, fresh = []}.
