%%% Requests of one session reach the engine in the order of their rids, whatever order and link they come in.
-module(mod_megaphone_order_tests).
-include_lib("eunit/include/eunit.hrl").

-compile([export_all, nowarn_export_all]).

%% The process of each test is the engine, as with the tests of a link.
order_test_() ->
    [{spawn, {timeout, 60, {atom_to_list(Name), fun() -> register(engine, self()), with_table(Name) end}}}
     || Name <- [the_second_waits_for_the_first, the_second_waits_until_the_first_is_handed_over,
                 of_many_pairs_none_turns, a_predecessor_that_never_comes, what_is_sent_again_waits_for_nothing,
                 an_early_one_is_not_handed_over_twice, an_early_one_waits_without_an_entry,
                 an_early_one_is_not_handed_over_without_a_table, an_older_copy_does_not_follow_a_newer_one,
                 the_first_pair_is_in_order, a_refused_creation_is_not_remembered, beyond_the_window_nothing_waits,
                 sessions_do_not_wait_for_each_other, an_end_is_forgotten, old_sessions_are_forgotten,
                 without_a_table_all_goes_on, what_it_costs]].

with_table(Test) ->
    {ok, Owner} = mod_megaphone_order:start_link(),
    try ?MODULE:Test()
    after is_process_alive(Owner) andalso gen_server:stop(Owner)
    end.

the_second_waits_for_the_first() ->
    {A, B} = {test_edge:up([]), test_edge:up([])},
    ask(A, 1, <<"s">>, 1),
    ?assertEqual(1, asked()),
    ask(B, 2, <<"s">>, 3),
    test_edge:await(fun() -> maps:get(live, test_edge:info(B)) =:= 1 end),
    ask(A, 3, <<"s">>, 2),
    ?assertEqual([2, 3], [asked() || _ <- [2, 3]]),
    test_edge:close(A),
    test_edge:close(B).

%% That a request has been seen does not mean that the engine has it: a long body takes its time.
the_second_waits_until_the_first_is_handed_over() ->
    Test = self(),
    go(<<"s">>, 1),
    First = spawn_link(fun() ->
                               _ = mod_megaphone_order:enter(body(<<"s">>, 2), {self(), 1}),
                               Test ! {entered, 2},
                               busy(),
                               receive never -> ok end
                       end),
    receive {entered, 2} -> ok end,
    spawn_link(fun() -> _ = mod_megaphone_order:enter(body(<<"s">>, 3), {self(), 1}), Test ! {entered, 3} end),
    receive {entered, 3} -> error(too_early) after 50 -> ok end,
    First ! rest,
    receive {entered, 3} -> ok end.

%% Something to do until the message rest comes, without waiting for it.
busy() ->
    receive rest -> ok after 0 -> busy() end.

of_many_pairs_none_turns() ->
    {A, B} = {test_edge:up([]), test_edge:up([])},
    go(<<"s">>, 0),
    [begin
         ask(B, 2 * N, <<"s">>, 2 * N),          % the second of a pair is sent first
         ask(A, 2 * N - 1, <<"s">>, 2 * N - 1),
         ?assertEqual({2 * N - 1, 2 * N}, {asked(), asked()})
     end || N <- lists:seq(1, 100)],
    test_edge:close(A),
    test_edge:close(B).

a_predecessor_that_never_comes() ->
    go(<<"s">>, 1),
    {Micros, _} = timer:tc(fun() -> go(<<"s">>, 3) end),
    ?assert(Micros > 4900000),
    {After, _} = timer:tc(fun() -> go(<<"s">>, 4) end),     % once is enough
    ?assert(After < 100000).

what_is_sent_again_waits_for_nothing() ->
    go(<<"s">>, 1),
    [{_, 1, {First, _, _}, _, _}] = ets:tab2list(mod_megaphone_order),
    go(<<"s">>, 1),
    ?assertMatch([{_, 1, {Second, _, _}, _, _}] when Second =/= First, ets:tab2list(mod_megaphone_order)),
    go(<<"s">>, 2),
    go(<<"s">>, 1),
    ?assertMatch([{_, 2, _, _, _}], ets:tab2list(mod_megaphone_order)).

%% ejabberd_bosh would crash. Its first copy has been handed over, as its predecessor did not come in time.
an_early_one_is_not_handed_over_twice() ->
    Session = session(<<"s">>, 1, [3]),
    lists:foreach(fun(Entry) ->
                          true = ets:delete_all_objects(mod_megaphone_order),
                          [go(<<"s">>, Rid) || Rid <- Entry],
                          Session ! {state, 1, [3]},
                          Copy = enter(<<"s">>, 3, self()),
                          receive {entered, Copy, _} -> error(too_early) after 100 -> ok end,
                          go(<<"s">>, 2),
                          Session ! {state, 3, [3]},
                          ?assert(is_map(entered(Copy)))
                  end, [[], [1]]),
    Session ! {state, 3, [5]},
    Endless = enter(<<"s">>, 5, self()),
    ?assertEqual(retry, entered(Endless)).

%% The session tells what its last one was.
an_early_one_waits_without_an_entry() ->
    Session = session(<<"s">>, 1, []),
    Early = enter(<<"s">>, 3, self()),
    receive {entered, Early, _} -> error(too_early) after 100 -> ok end,
    First = enter(<<"s">>, 2, self()),
    ?assert(is_map(entered(First))),
    Session ! {state, 2, [2]},
    ?assert(is_map(entered(Early))),
    Session ! {state, 10, []},
    [?assert(is_map(entered(enter(<<"s">>, Rid, self())))) || Rid <- [9, 10, 11, 14]].

an_early_one_is_not_handed_over_without_a_table() ->
    _ = session(<<"s">>, 1, [3]),
    gen_server:stop(mod_megaphone_order),
    ?assertEqual([none, retry, none], [entered(enter(<<"s">>, Rid, self())) || Rid <- [2, 3, 4]]).

%% The client reads the answer to the copy that it sent last.
an_older_copy_does_not_follow_a_newer_one() ->
    go(<<"s">>, 1),
    Old = enter(<<"s">>, 3, self()),
    receive {entered, Old, _} -> error(too_early) after 100 -> ok end,
    erlang:suspend_process(Old),
    go(<<"s">>, 2),
    New = enter(<<"s">>, 3, self()),
    ?assert(is_map(entered(New))),
    erlang:resume_process(Old),
    ?assertEqual(retry, entered(Old)).

%% The creation tells what the first rid is: of the first pair, too, the second waits.
the_first_pair_is_in_order() ->
    {A, B} = {test_edge:up([]), test_edge:up([])},
    test_edge:request(A, 1, <<"<body rid='10' to='localhost' xmlns='x'/>">>),
    receive {request, Pid, _, _} -> Pid ! {answer, {200, [], <<"<body sid='s' wait='60' xmlns='x'/>">>}} end,
    {1, _, Next} = test_edge:recv(A),
    ask(B, 1, <<"s">>, 12),
    test_edge:await(fun() -> maps:get(live, test_edge:info(B)) =:= 1 end),
    ask(Next, 2, <<"s">>, 11),
    ?assertEqual([11, 12], [asked() || _ <- [1, 2]]),
    test_edge:close(Next),
    test_edge:close(B).

%% A creation that was refused leaves nothing behind.
a_refused_creation_is_not_remembered() ->
    lists:foreach(
      fun(Answer) ->
              Edge = test_edge:request(test_edge:up([]), 1, <<"<body rid='10' to='localhost' xmlns='x'/>">>),
              receive {request, Pid, _, _} -> Pid ! {answer, Answer} end,
              {1, _, Next} = test_edge:recv(Edge),
              ?assertEqual({Answer, 0}, {Answer, ets:info(mod_megaphone_order, size)}),
              test_edge:close(Next)
      end, [{200, [], <<"<body type='terminate' condition='host-unknown' xmlns='x'/>">>}, {503, [], <<>>},
            {404, [], <<"<body sid='s'/>">>}]).

%% The engine refuses requests beyond the window, at once.
beyond_the_window_nothing_waits() ->
    go(<<"s">>, 1),
    {Micros, _} = timer:tc(fun() -> go(<<"s">>, 4) end),
    ?assert(Micros < 100000).

%% A request far ahead is the engine's to refuse, and tells nothing of others.
sessions_do_not_wait_for_each_other() ->
    {Micros, _} = timer:tc(fun() -> go(<<"s">>, 1), go(<<"t">>, 3), go(<<"s">>, 9), go(<<"t">>, 4) end),
    ?assert(Micros < 100000),
    ?assertEqual(2, ets:info(mod_megaphone_order, size)).

%% Also that of a session that never existed: clients cannot fill the table with those.
an_end_is_forgotten() ->
    lists:foreach(
      fun({Answer, Left}) ->
              Edge = test_edge:request(test_edge:up([]), 1, body(<<"s">>, 7)),
              receive {request, Pid, _, _} -> Pid ! {answer, Answer} end,
              {1, _, Next} = test_edge:recv(Edge),
              ?assertEqual({Answer, Left}, {Answer, ets:info(mod_megaphone_order, size)}),
              test_edge:close(Next)
      end, [{{200, [], <<"<body xmlns='x' type=\"terminate\" condition='item-not-found'/>">>}, 0},
            {{200, [], <<"<body xmlns='x'><message type='terminate'/></body>">>}, 1},
            {{404, [], <<>>}, 0},
            {{200, [], <<"<body/>">>}, 1}]).

old_sessions_are_forgotten() ->
    go(<<"s">>, 1),
    [{_, _, _, _, Minute}] = ets:tab2list(mod_megaphone_order),
    ?assertEqual(0, mod_megaphone_order:sweep(Minute)),
    ?assertEqual(1, mod_megaphone_order:sweep(Minute + 1)),
    mod_megaphone_order ! tick,
    _ = sys:get_state(mod_megaphone_order),
    ?assertEqual(0, ets:info(mod_megaphone_order, size)).

without_a_table_all_goes_on() ->
    gen_server:stop(mod_megaphone_order),
    Edge = test_edge:request(test_edge:up([]), 1, <<"<body sid='s' rid='1'/>">>),
    receive {request, Pid, _, _} -> Pid ! {answer, {200, [], <<"<body type='terminate'/>">>}} end,
    {1, _, Next} = test_edge:recv(Edge),
    test_edge:close(Next).

what_it_costs() ->
    N = 20000,
    Bodies = [body(integer_to_binary(1000000000000000000000 + I), 1573741820) || I <- lists:seq(1, N)],
    Before = ets:info(mod_megaphone_order, memory),
    Test = self(),
    spawn_link(fun() ->
                       Test ! {entered, [mod_megaphone_order:enter(Body, {self(), 1}) || Body <- Bodies]},
                       receive never -> ok end
               end),
    Turns = receive {entered, All} -> All end,
    Next = [body(integer_to_binary(1000000000000000000000 + I), 1573741821) || I <- lists:seq(1, N)],
    {Micros, _} = timer:tc(fun() -> [mod_megaphone_order:enter(Body, {self(), 1}) || Body <- Next] end),
    Bytes = (ets:info(mod_megaphone_order, memory) - Before) * erlang:system_info(wordsize) / N,
    {Leave, _} = timer:tc(fun() -> [mod_megaphone_order:leave(K, {200, <<"<body xmlns='x'/>">>}) || K <- Turns] end),
    {Sweep, N} = timer:tc(fun() -> mod_megaphone_order:sweep(1 bsl 50) end),
    io:format(user, "~norder: ~.1f bytes a session; ~.2f us a request, ~.2f us a reply; ~.2f us a session swept~n",
              [Bytes, Micros / N, Leave / N, Sweep / N]),
    ?assert(Bytes =< 220).

%%% Bodies that are read, and those that are not

sessions_test() ->
    [?assertEqual({Body, Want}, {Body, mod_megaphone_body:session(Body)})
     || {Body, Want} <- [{<<"<body rid='12' sid='ab' xmlns='x'/>">>, {<<"ab">>, 12}},
                         {<<"<body\n\tsid=\"a'b\"  to='c'\r\nrid=\"9007199254740991\">">>,
                          {<<"a'b">>, 9007199254740991}},
                         {<<"<body xsid='1' rid='1' sidx='2' sid='3'/>">>, {<<"3">>, 1}},
                         {<<"<body x='sid=' y=\" rid='1'\" sid='2' rid='3'/>">>, {<<"2">>, 3}},
                         {<<"<body rid='1' to='a'/>">>, {none, 1}},
                         {<<"<body sid='1'/>">>, {<<"1">>, none}},
                         {<<"<body sid='1'><a rid='2'/></body>">>, {<<"1">>, none}},
                         {<<"<body sid='1' rid='x'/>">>, {none, none}},
                         {<<"<body sid='1' rid='10000000000000000'/>">>, {<<"1">>, none}},
                         {<<"<body sid='1' rid='2">>, {<<"1">>, none}},
                         {<<"<body sid">>, {none, none}}, {<<"<body">>, {none, none}},
                         {<<"<bod">>, {none, none}}, {<<>>, {none, none}}]].

%%% Helpers

body(Sid, Rid) ->
    <<"<body rid='", (integer_to_binary(Rid))/binary, "' sid='", Sid/binary, "' xmlns='x'/>">>.

ask(Edge, Id, Sid, Rid) -> test_edge:request(Edge, Id, body(Sid, Rid)).

%% The rid of the next request that the engine is asked.
asked() ->
    receive {request, _, Body, _} -> {_, Rid} = mod_megaphone_body:session(Body), Rid
    after 10000 -> error(not_asked)
    end.

%% A session of ejabberd's own engine with the last rid that it took and those that it keeps. It shows its state as
%% p1_fsm does. The one of the test before ends after its test: its name is free only then.
session(Sid, Last, Kept) ->
    Test = self(),
    test_edge:await(fun() -> whereis(binary_to_atom(Sid)) =:= undefined end),
    Session = spawn_link(fun() -> monitor(process, Test), session_loop(Sid, Last, Kept) end),
    register(binary_to_atom(Sid), Session),
    Session.

session_loop(Sid, Last, Kept) ->
    receive
        {'DOWN', _, process, _, _} -> ok;
        {state, NewLast, NewKept} -> session_loop(Sid, NewLast, NewKept);
        {system, From, Request} ->
            Receivers = gb_trees:from_orddict([{Rid, {from, body}} || Rid <- Kept]),
            State = setelement(18, setelement(13, setelement(3, erlang:make_tuple(21, x, [{1, state}]), Sid), Last),
                               Receivers),
            sys:handle_system_msg(Request, From, self(), ?MODULE, [], [self(), active, State, ejabberd_bosh, infinity])
    end.

%% sys: the session continues.
system_continue(_, _, [_, _, State | _]) ->
    session_loop(element(3, State), element(13, State), gb_trees:keys(element(18, State))).

%% A request of its own process, which tells when it is its turn and stays as if it were held.
enter(Sid, Rid, Test) ->
    spawn_link(fun() ->
                       Turn = mod_megaphone_order:enter(body(Sid, Rid), {self(), 1}),
                       Test ! {entered, self(), Turn},
                       receive never -> ok end
               end).

entered(Pid) ->
    receive {entered, Pid, Turn} -> Turn after 20000 -> error({not_entered, Pid}) end.

%% A request that is handed over and answered at once.
go(Sid, Rid) ->
    {Pid, Monitor} = spawn_monitor(fun() -> mod_megaphone_order:enter(body(Sid, Rid), {self(), 1}) end),
    receive {'DOWN', Monitor, process, Pid, normal} -> ok end.
