%%% Log-ins in times that the tests choose.
-module(mod_megaphone_logins_tests).
-include_lib("eunit/include/eunit.hrl").

-compile([export_all, nowarn_export_all]).

-define(OPENINGS, 100).
-define(MAX_WAITING, 10000).
-define(PATIENCE_MS, 5000).
-define(LOGIN_MS, 10000).
-define(ADDRESS, {127, 0, 0, 1}).

turns_are_in_order_test() ->
    L0 = asked(lists:seq(1, 300), 0, new(1000)),
    {Acts, L1} = mod_megaphone_logins:turns(0, L0),
    ?assertEqual(lists:seq(1, ?OPENINGS), opens(Acts)),
    L2 = mod_megaphone_logins:opened(mod_megaphone_logins:opened(L1)),
    {More, L3} = mod_megaphone_logins:turns(1, L2),
    ?assertEqual([101, 102], opens(More)),
    ?assertEqual(#{waiting => 198, opening => ?OPENINGS, joining => 0}, mod_megaphone_logins:counts(L3)).

%% Sessions that are being opened will join.
no_more_join_than_may_test() ->
    {Acts, L} = mod_megaphone_logins:turns(0, asked(lists:seq(1, 20), 0, new(7))),
    ?assertEqual(lists:seq(1, 7), opens(Acts)),
    [P1 | _] = Pids = pids(7),
    Joined = lists:foldl(fun(Pid, Acc) -> mod_megaphone_logins:opened(mod_megaphone_logins:joins(Pid, 1, Acc)) end, L,
                         Pids),
    ?assertMatch({[], _}, mod_megaphone_logins:turns(2, Joined)),
    {[{open, {_, 8, _}, _}], Full} = mod_megaphone_logins:turns(3, mod_megaphone_logins:left(P1, Joined)),
    %% It has left already.
    ?assertMatch({[], _}, mod_megaphone_logins:turns(4, mod_megaphone_logins:left(P1, Full))),
    {Now, _} = mod_megaphone_logins:turns(5, mod_megaphone_logins:max(9, Full)),
    ?assertEqual([9, 10], opens(Now)).

those_that_wait_too_long_are_refused_test() ->
    {[_], L0} = mod_megaphone_logins:turns(0, asked([1], 0, new(1))),
    L1 = asked([3], 10, asked([2], 0, L0)),
    ?assertMatch({[], _}, mod_megaphone_logins:turns(?PATIENCE_MS - 1, L1)),
    {[{refuse, {_, 2, _}}], L2} = mod_megaphone_logins:turns(?PATIENCE_MS, L1),
    {[{refuse, {_, 3, _}}], L3} = mod_megaphone_logins:turns(?PATIENCE_MS + 10, L2),
    ?assertEqual(#{waiting => 0, opening => 1, joining => 0}, mod_megaphone_logins:counts(L3)).

%% One whose client has gone is neither opened nor answered, and makes room.
those_that_go_are_forgotten_test() ->
    {[_], L0} = mod_megaphone_logins:turns(0, asked([1], 0, new(1))),
    Full = asked(lists:seq(2, ?MAX_WAITING + 1), 0, L0),
    ?assertEqual(error, mod_megaphone_logins:ask(place(0), creation(10), 0, Full)),
    {ok, L1} = mod_megaphone_logins:ask(place(0), creation(10), 0, mod_megaphone_logins:gone(place(2), Full)),
    {[{open, {_, 3, _}, _}], L2} = mod_megaphone_logins:turns(1, mod_megaphone_logins:opened(L1)),
    %% Its turn has come, or there was none such.
    ?assertEqual(L2, mod_megaphone_logins:gone(place(3), mod_megaphone_logins:gone(place(-1), L2))).

%% A large request has its turn at once or not at all.
what_waits_is_small_test() ->
    {ok, L0} = mod_megaphone_logins:ask(place(1), creation(1000000), 0, new(1)),
    {[{open, _, _}], L1} = mod_megaphone_logins:turns(0, L0),
    ?assertEqual(error, mod_megaphone_logins:ask(place(2), creation(4097), 0, L1)),
    {ok, _} = mod_megaphone_logins:ask(place(2), creation(4096), 0, L1).

%% Those that have joined for longest end, no more than others wait for their places, and none that has just come.
those_that_do_not_log_in_are_cut_test() ->
    [P1, P2, P3] = pids(3),
    L0 = lists:foldl(fun({Pid, At}, Acc) -> mod_megaphone_logins:joins(Pid, At, Acc) end, new(3),
                     [{P1, 0}, {P3, 2}, {P2, 1}]),
    ?assertMatch({[], _}, mod_megaphone_logins:turns(?LOGIN_MS + 2, L0)),
    L1 = asked([1], ?LOGIN_MS - 2, L0),
    ?assertMatch({[], _}, mod_megaphone_logins:turns(?LOGIN_MS - 1, L1)),
    {[{cut, P1}], L2} = mod_megaphone_logins:turns(?LOGIN_MS + 2, L1),
    %% Its end is on its way.
    ?assertMatch({[], _}, mod_megaphone_logins:turns(?LOGIN_MS + 3, L2)),
    {[{cut, P2}], L3} = mod_megaphone_logins:turns(?LOGIN_MS + 4, asked([2], ?LOGIN_MS + 4, L2)),
    {[{open, {_, 1, _}, _}], L4} = mod_megaphone_logins:turns(?LOGIN_MS + 5, mod_megaphone_logins:left(P1, L3)),
    {[{open, {_, 2, _}, _}], L5} = mod_megaphone_logins:turns(?LOGIN_MS + 5, mod_megaphone_logins:left(P2, L4)),
    ?assertEqual(#{waiting => 0, opening => 2, joining => 1}, mod_megaphone_logins:counts(L5)).

%%% Whatever arrives: bounds hold, each request has one outcome, in time, and turns are in the order in which they came.

-define(STEPS, 20000).

any_order_test_() ->
    [{timeout, 60, fun() -> any_order(Seed) end} || Seed <- [erlang:phash2(make_ref()) | lists:seq(1, 4)]].

%% Asked: those without an outcome, with the times when they came. Opening: how many. Joining: streams.
-record(world, {now = 0, max, next = 1, asked = #{}, last = 0, opening = 0, joining = [], cut = [], outcomes = 0}).

any_order(Seed) ->
    ?debugFmt("seed ~B", [Seed]),
    Random = rand:seed_s(exsss, Seed),
    {Max, R} = uniform(150, Random),
    {W, L} = steps(?STEPS, #world{max = Max}, new(Max), R),
    ?assert(W#world.outcomes > ?STEPS div 10),
    %% In the end all have theirs.
    {Acts, _} = mod_megaphone_logins:turns(W#world.now + ?PATIENCE_MS, L),
    ?assertEqual(map_size(W#world.asked), length([refused || {refuse, _} <- Acts])).

steps(0, W, L, _) -> {W, L};
steps(N, #world{now = Now0} = W0, L0, R0) ->
    {Passed, R1} = uniform(20, R0),
    W1 = W0#world{now = Now0 + Passed - 1},
    {What, R2} = uniform(10, R1),
    {W2, L2, R3} = step(What, W1, L0, R2),
    {Acts, L3} = mod_megaphone_logins:turns(W2#world.now, L2),
    W3 = lists:foldl(fun acted/2, W2, Acts),
    check(W3, L3),
    steps(N - 1, W3, L3, R3).

step(What, #world{now = Now, next = N, asked = Asked} = W, L, R) when What =< 4 ->
    {ok, Next} = mod_megaphone_logins:ask(place(N), creation(300), Now, L),
    {W#world{next = N + 1, asked = Asked#{N => Now}}, Next, R};
step(5, #world{asked = Asked, next = N, outcomes = Outcomes} = W, L, R0) ->
    {Some, R} = uniform(N, R0),
    Gone = length([Some || is_map_key(Some, Asked)]),
    Next = mod_megaphone_logins:gone(place(Some), L),
    {W#world{asked = maps:remove(Some, Asked), outcomes = Outcomes + Gone}, Next, R};
step(What, #world{opening = Opening, joining = Joining, now = Now} = W, L, R) when What =< 8, Opening > 0 ->
    %% One in three opens no session.
    case What of
        8 -> {W#world{opening = Opening - 1}, mod_megaphone_logins:opened(L), R};
        _ ->
            [Pid] = pids(1),
            {W#world{opening = Opening - 1, joining = [Pid | Joining]},
             mod_megaphone_logins:opened(mod_megaphone_logins:joins(Pid, Now, L)), R}
    end;
step(_, #world{joining = [_ | _] = Joining, cut = Cut} = W, L, R0) ->
    {I, R} = uniform(length(Joining), R0),
    Pid = lists:nth(I, Joining),
    {W#world{joining = lists:delete(Pid, Joining), cut = lists:delete(Pid, Cut)}, mod_megaphone_logins:left(Pid, L), R};
step(_, W, L, R) -> {W, L, R}.

acted({open, {_, N, _}, _}, #world{asked = Asked, last = Last, opening = Opening, outcomes = Outcomes} = W) ->
    ?assert(is_map_key(N, Asked)),
    ?assert(N > Last),
    W#world{asked = maps:remove(N, Asked), last = N, opening = Opening + 1, outcomes = Outcomes + 1};
acted({refuse, {_, N, _}}, #world{now = Now, asked = Asked, outcomes = Outcomes} = W) ->
    ?assert(map_get(N, Asked) + ?PATIENCE_MS =< Now),
    W#world{asked = maps:remove(N, Asked), outcomes = Outcomes + 1};
acted({cut, Pid}, #world{joining = Joining, cut = Cut} = W) ->
    ?assert(lists:member(Pid, Joining)),
    ?assertNot(lists:member(Pid, Cut)),
    W#world{cut = [Pid | Cut]}.

check(#world{now = Now, max = Max, asked = Asked, opening = Opening, joining = Joining}, L) ->
    ?assert(Opening =< ?OPENINGS),
    ?assert(Opening + length(Joining) =< Max),
    ?assert(lists:all(fun(At) -> Now < At + ?PATIENCE_MS end, maps:values(Asked))),
    ?assert(map_size(Asked) =:= 0 orelse Opening =:= ?OPENINGS orelse Opening + length(Joining) =:= Max),
    ?assertEqual(#{waiting => map_size(Asked), opening => Opening, joining => length(Joining)},
                 mod_megaphone_logins:counts(L)).

%%% Helpers

new(Max) -> mod_megaphone_logins:new(Max).

place(N) -> {link, N, N}.

creation(Bytes) -> {mod_megaphone_engine, binary:copy(<<"a">>, Bytes), ?ADDRESS}.

asked(Ns, Now, L) ->
    lists:foldl(fun(N, Acc) ->
                        {ok, Next} = mod_megaphone_logins:ask(place(N), creation(300), Now, Acc),
                        Next
                end, L, Ns).

opens(Acts) -> [N || {open, {_, N, _}, _} <- Acts].

pids(N) -> [spawn(fun() -> ok end) || _ <- lists:seq(1, N)].

uniform(N, R) -> rand:uniform_s(N, R).
