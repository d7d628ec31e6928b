-module(mod_megaphone_awake_tests).
-include_lib("eunit/include/eunit.hrl").

-compile([export_all, nowarn_export_all]).

-define(MAX, 4).
-define(PATIENCE_MS, 30000).

awake_test_() ->
    [{atom_to_list(Name), {timeout, 60, fun() -> with_owner(fun ?MODULE:Name/0) end}}
     || Name <- [there_is_room, the_rest_waits_in_order, the_dead_make_room, the_dead_do_not_wait,
                 without_an_owner_all_go_on, when_none_sleeps_some_go_on, the_most_are_kept,
                 at_the_end_all_have_their_turn, as_the_node_stops_those_left_end, those_awake_are_urged]].

with_owner(Test) ->
    {ok, Owner} = mod_megaphone_awake:start_link(?MAX, 3600000),       % ticks are the tests' alone
    try Test()
    after
        unlink(Owner),
        Ref = erlang:monitor(process, Owner),
        exit(Owner, kill),
        receive {'DOWN', Ref, _, _, _} -> ok end
    end.

%% Up to half of the room no session hurries.
there_is_room() ->
    ?assertEqual([ease, ease, haste, haste], [How || _ <- lists:seq(1, ?MAX), {_, How} <- [entered(session())]]),
    ?assertEqual({?MAX, 0}, mod_megaphone_awake:count()).

the_rest_waits_in_order() ->
    First = [entered(session()) || _ <- lists:seq(1, ?MAX)],
    Later = [waiting(session(), N) || N <- lists:seq(1, 3 * ?MAX)],
    lists:foldl(fun(Next, [Leaving | Others]) ->
                        Leaving ! sleep,
                        %% No other than the one that has waited longest.
                        ?assertEqual({Next, haste}, entered(any)),
                        {Awake, _} = mod_megaphone_awake:count(),
                        ?assert(Awake =< ?MAX),
                        Others ++ [Next]
                end, [Pid || {Pid, _} <- First], Later),
    ?assertEqual({?MAX, 0}, mod_megaphone_awake:count()).

%% They are struck off at a tick.
the_dead_make_room() ->
    First = [entered(session()) || _ <- lists:seq(1, ?MAX)],
    Next = waiting(session(), 1),
    {Pid, _} = hd(First),
    killed(Pid),
    mod_megaphone_awake ! tick,
    ?assertEqual({Next, haste}, entered(any)).

the_dead_do_not_wait() ->
    [{First, _} | _] = [entered(session()) || _ <- lists:seq(1, ?MAX)],
    Dead = waiting(session(), 1),
    Next = waiting(session(), 2),
    killed(Dead),
    First ! sleep,
    ?assertEqual({Next, haste}, entered(any)),
    ?assertEqual({?MAX, 0}, mod_megaphone_awake:count()).

without_an_owner_all_go_on() ->
    _ = [entered(session()) || _ <- lists:seq(1, ?MAX)],
    Waiting = [waiting(session(), N) || N <- lists:seq(1, ?MAX)],
    Owner = whereis(mod_megaphone_awake),
    unlink(Owner),
    killed(Owner),
    ?assertEqual(lists:sort(Waiting), lists:sort([Pid || _ <- Waiting, {Pid, haste} <- [entered(any)]])),
    ?assertEqual({0, 0}, mod_megaphone_awake:count()),
    ?assertMatch({_, ease}, entered(session())),
    {ok, Again} = mod_megaphone_awake:start_link(?MAX),
    ?assertMatch({_, ease}, entered(session())),
    unlink(Again),
    killed(Again).

%% Those that are awake may wait for one that is asleep. So that one has its turn in any case, after two seconds.
when_none_sleeps_some_go_on() ->
    First = [entered(session()) || _ <- lists:seq(1, ?MAX)],
    [Next, Other] = [waiting(session(), N) || N <- [1, 2]],
    ticks(3),
    ?assertEqual({?MAX, 2}, mod_megaphone_awake:count()),
    ticks(1),
    ?assertEqual({Next, haste}, entered(any)),
    ?assertEqual({?MAX + 1, 1}, mod_megaphone_awake:count()),
    %% It is not one more for each that sleeps.
    {Pid, _} = hd(First),
    Pid ! sleep,
    ticks(0),
    ?assertEqual({?MAX, 1}, await_awake(?MAX)),
    ticks(1),
    ?assertEqual({Other, haste}, entered(any)),
    ?assertEqual({?MAX + 1, 0}, mod_megaphone_awake:count()).

the_most_are_kept() ->
    First = [Pid || _ <- lists:seq(1, ?MAX), {Pid, _} <- [entered(session())]],
    Later = [waiting(session(), N) || N <- [1, 2]],
    [Pid ! sleep || Pid <- First],
    [?assertEqual({Pid, haste}, entered(any)) || Pid <- Later],
    [Pid ! sleep || Pid <- Later],
    ?assertEqual({0, 0}, await_awake(0)),
    ?assertEqual({?MAX, 2}, mod_megaphone_awake:most()).

%% The owner ends when all that wait have had their turn.
at_the_end_all_have_their_turn() ->
    First = [entered(session()) || _ <- lists:seq(1, ?MAX)],
    Waiting = [waiting(session(), N) || N <- lists:seq(1, 2 * ?MAX)],
    Owner = whereis(mod_megaphone_awake),
    unlink(Owner),
    Ref = erlang:monitor(process, Owner),
    exit(Owner, shutdown),
    _ = lists:foldl(fun(Next, [Leaving | Others]) ->
                            Leaving ! sleep,
                            ?assertEqual({Next, haste}, entered(any)),
                            Others ++ [Next]
                    end, [Pid || {Pid, _} <- First], Waiting),
    receive {'DOWN', Ref, _, _, _} -> ok after ?PATIENCE_MS -> error(the_owner_does_not_end) end.

%% They do not wake all at once.
as_the_node_stops_those_left_end() ->
    _ = [entered(session()) || _ <- lists:seq(1, ?MAX)],
    process_flag(trap_exit, true),
    Waiting = [waiting(session(), N) || N <- [1, 2]],
    mod_megaphone_awake:node_stops(),
    Owner = whereis(mod_megaphone_awake),
    unlink(Owner),
    killed(Owner),
    [receive {'EXIT', Pid, Why} -> ?assertEqual(shutdown, Why) end || Pid <- [session() | Waiting]],
    process_flag(trap_exit, false),
    receive {entered, _, _} -> error(one_wakes) after 0 -> ok end,
    %% ejabberd may start again within the same Erlang node.
    {ok, Again} = mod_megaphone_awake:start_link(?MAX),
    ?assertMatch({_, ease}, entered(session())),
    unlink(Again),
    killed(Again).

those_awake_are_urged() ->
    [{Pid, _} | _] = [entered(session()) || _ <- lists:seq(1, ?MAX)],
    _ = waiting(session(), 1),
    Pid ! {tell, self()},
    mod_megaphone_awake ! tick,
    receive {urged, Pid} -> ok after ?PATIENCE_MS -> error(not_urged) end.

%%% Helpers

%% The owner has taken N ticks, and the messages before them.
ticks(N) ->
    [mod_megaphone_awake ! tick || _ <- lists:seq(1, N)],
    ok = gen_server:call(mod_megaphone_awake, any).

await_awake(N) ->
    case mod_megaphone_awake:count() of
        {N, _} = Count -> Count;
        _ -> receive after 1 -> ok end, await_awake(N)
    end.

%%% Sessions

session() ->
    Test = self(),
    spawn_link(fun() ->
                       Test ! {entered, self(), mod_megaphone_awake:enter()},
                       awake()
               end).

awake() ->
    receive
        sleep -> mod_megaphone_awake:leave();
        {tell, Test} ->
            receive {'$gen_all_state_event', {xmlstreamcdata, {mod_megaphone_sleep, now}}} -> ok end,
            Test ! {urged, self()},
            awake()
    end.

%% The session any, or this one, is awake.
entered(any) ->
    receive {entered, Pid, How} -> {Pid, How} after ?PATIENCE_MS -> error(none_wakes) end;
entered(Pid) ->
    receive {entered, Pid, How} -> {Pid, How} after ?PATIENCE_MS -> error(does_not_wake) end.

%% The session waits, and with it N in all.
waiting(Pid, N) ->
    case mod_megaphone_awake:count() of
        {_, N} -> Pid;
        _ -> receive after 1 -> ok end, waiting(Pid, N)
    end.

killed(Pid) ->
    unlink(Pid),
    Ref = erlang:monitor(process, Pid),
    exit(Pid, kill),
    receive {'DOWN', Ref, _, _, _} -> ok end.
