%%% Replies of one session reach its client in the order of their rids, whatever order they are ready in, and whatever
%%% links they go over.
-module(mod_megaphone_follow_tests).
-include_lib("eunit/include/eunit.hrl").

-compile([export_all, nowarn_export_all]).

-define(PAYLOAD, <<"<body xmlns='x'><message/></body>">>).
-define(EMPTY, <<"<body xmlns='x'/>">>).

%% The process of each test is the engine, as with the tests of a link.
follow_test_() ->
    [{spawn, {timeout, 60, {atom_to_list(Name), fun() -> register(engine, self()), with_table(Name) end}}}
     || Name <- [on_one_link_the_later_waits, over_two_links_the_edge_says_when, an_empty_reply_may_be_overtaken,
                 one_that_left_before, a_link_that_ends, a_client_that_is_gone, an_edge_that_stands_still,
                 one_that_was_held_for_long, fences_are_shared, a_pong_that_is_lost, in_any_weather,
                 what_is_asked_for_again, a_link_that_is_closing]].

with_table(Test) ->
    {ok, Owner} = mod_megaphone_order:start_link(),
    try ?MODULE:Test()
    after gen_server:stop(Owner)
    end.

%% An edge that is not asked whether it is alive while a test runs.
up() -> test_edge:up([{ping_timeout, 600000}]).

on_one_link_the_later_waits() ->
    Edge = up(),
    {P1, P2} = pair(Edge, Edge),
    answer(P2, ?PAYLOAD),
    waiting(P2),
    answer(P1, ?PAYLOAD),
    {1, _, Next} = test_edge:recv(Edge),
    {2, _, Last} = test_edge:recv(Next),
    test_edge:close(Last).

over_two_links_the_edge_says_when() ->
    {A, B} = {up(), up()},
    {P1, P2} = pair(A, B),
    answer(P2, ?PAYLOAD),
    waiting(P2),
    answer(P1, ?PAYLOAD),
    {1, _, A1} = test_edge:recv(A),
    {0, <<"ping fence\n">>, A2} = test_edge:recv(A1),
    ?assert(is_process_alive(P2)),
    test_edge:control(A2, <<"pong alive\n">>),      % another's
    test_edge:control(A2, <<"pong fence\n">>),
    {2, _, _} = test_edge:recv(B),
    test_edge:close(A),
    test_edge:close(B).

an_empty_reply_may_be_overtaken() ->
    {A, B} = {up(), up()},
    {P1, P2} = pair(A, B),
    answer(P2, ?PAYLOAD),
    waiting(P2),
    answer(P1, ?EMPTY),
    {2, _, _} = test_edge:recv(B),
    {1, _, Next} = test_edge:recv(A),
    test_edge:control(Next, <<"ping x\n">>),
    {0, <<"pong x\n">>, _} = test_edge:recv(Next),  % and no fence before it
    test_edge:close(A),
    test_edge:close(B).

one_that_left_before() ->
    {A, B} = {up(), up()},
    {P1, P2} = pair(A, B),
    answer(P1, ?PAYLOAD),
    {1, _, Next} = test_edge:recv(A),
    answer(P2, ?PAYLOAD),
    {0, <<"ping fence\n">>, _} = test_edge:recv(Next),
    test_edge:control(Next, <<"pong fence\n">>),
    {2, _, _} = test_edge:recv(B),
    test_edge:close(A),
    test_edge:close(B).

a_link_that_ends() ->
    {A, B} = {up(), up()},
    {_, P2} = pair(A, B),
    answer(P2, ?PAYLOAD),
    waiting(P2),
    test_edge:close(A),
    {2, _, _} = test_edge:recv(B),
    test_edge:close(B).

a_client_that_is_gone() ->
    {A, B} = {up(), up()},
    {_, P2} = pair(A, B),
    answer(P2, ?PAYLOAD),
    waiting(P2),
    test_edge:control(A, <<"gone 0000000000000001\n">>),
    {2, _, _} = test_edge:recv(B),
    test_edge:close(A),
    test_edge:close(B).

an_edge_that_stands_still() ->
    Before = overtaken(),
    {A, B} = {up(), up()},
    {P1, P2} = pair(A, B),
    answer(P1, ?PAYLOAD),
    answer(P2, ?PAYLOAD),
    {2, _, _} = test_edge:recv(B),
    ?assertEqual(Before + 1, overtaken()),
    test_edge:close(A),
    test_edge:close(B).

one_that_was_held_for_long() ->
    {A, B} = {up(), up()},
    {P1, P2} = pair(A, B),
    answer(P1, ?PAYLOAD),
    {1, _, Next} = test_edge:recv(A),
    receive after 5001 -> ok end,                   % the time that is meant
    answer(P2, ?PAYLOAD),
    {2, _, _} = test_edge:recv(B),
    test_edge:control(Next, <<"ping x\n">>),
    {0, <<"pong x\n">>, _} = test_edge:recv(Next),
    test_edge:close(A),
    test_edge:close(B).

%% Of many that wait for one link the first has a ping of its own, and all others share the next.
fences_are_shared() ->
    {A, B} = {up(), up()},
    N = 20,
    Seconds = [begin
                   {P1, P2} = pair(A, B, integer_to_binary(I), 2 * I + 1, 2 * I + 2),
                   answer(P1, ?PAYLOAD),
                   P2
               end || I <- lists:seq(1, N)],
    First = lists:foldl(fun(_, Edge) -> {_, _, Next} = test_edge:recv(Edge), Next end, A, lists:seq(1, N)),
    [begin answer(P2, ?PAYLOAD), waiting(P2) end || P2 <- Seconds],
    {0, <<"ping fence\n">>, Next1} = test_edge:recv(First),
    test_edge:control(Next1, <<"pong fence\n">>),
    {0, <<"ping fence\n">>, Next2} = test_edge:recv(Next1),
    test_edge:control(Next2, <<"pong fence\n">>),
    _ = lists:foldl(fun(_, Edge) -> {_, _, Next} = test_edge:recv(Edge), Next end, B, lists:seq(1, N)),
    test_edge:control(Next2, <<"ping x\n">>),
    {0, <<"pong x\n">>, _} = test_edge:recv(Next2),
    test_edge:close(A),
    test_edge:close(B).

%% An edge that answers one ping too late, or never, holds up those that wait for it and none that come later.
a_pong_that_is_lost() ->
    {A, B} = {up(), up()},
    {P1, P2} = pair(A, B),
    answer(P1, ?PAYLOAD),
    {1, _, A1} = test_edge:recv(A),
    answer(P2, ?PAYLOAD),
    {0, <<"ping fence\n">>, A2} = test_edge:recv(A1),
    {2, _, B1} = test_edge:recv(B),                 % after five seconds, which are not over for the ping
    receive after 200 -> ok end,
    {P3, P4} = pair(A2, B1, <<"t">>, 3, 4),
    answer(P3, ?PAYLOAD),
    {3, _, A3} = test_edge:recv(A2),
    answer(P4, ?PAYLOAD),
    {0, <<"ping fence-1\n">>, A4} = test_edge:recv(A3),
    test_edge:control(A4, <<"pong fence\n">>),      % of the first, late
    test_edge:control(A4, <<"ping x\n">>),
    {0, <<"pong x\n">>, A5} = test_edge:recv(A4),
    ?assert(is_process_alive(P4)),
    test_edge:control(A5, <<"pong fence-1\n">>),
    {4, _, _} = test_edge:recv(B1),
    test_edge:close(A),
    test_edge:close(B).

%% They have gone on. A shard remembers whom it asks until it is told, so it is told at last.
those_that_a_lost_pong_left_are_told_test() ->
    [First, Second] = [{self(), make_ref()} || _ <- [1, 2]],
    {ping, <<"fence">>, Fence} = mod_megaphone_fence:follow(First, true, 1, false, mod_megaphone_fence:new()),
    Later = setelement(5, Fence, erlang:monotonic_time(millisecond) - 5001),     % when the ping was sent
    {ping, <<"fence-1">>, _} = mod_megaphone_fence:follow(Second, true, 2, false, Later),
    Ref = element(2, First),
    receive {Told, passed} -> ?assertEqual(Ref, Told) after 0 -> error(forgotten) end,
    receive {_, passed} -> error(too_soon) after 0 -> ok end.

%% A client that lost both connections asks again for two replies, over two links: the second waits until the edge of
%% the first has handled it.
what_is_asked_for_again() ->
    {Lost, A, B} = {up(), up(), up()},
    {P1, P2} = pair(Lost, Lost),
    answer(P1, ?PAYLOAD),
    answer(P2, ?PAYLOAD),
    {1, _, Lost1} = test_edge:recv(Lost),
    {2, _, _} = test_edge:recv(Lost1),
    {P3, P4} = pair(A, B, <<"s">>, 3, 4),
    answer(P3, ?PAYLOAD),
    answer(P4, ?PAYLOAD),
    {3, _, A1} = test_edge:recv(A),
    {0, <<"ping fence\n">>, A2} = test_edge:recv(A1),
    waiting(P4),
    test_edge:control(A2, <<"pong fence\n">>),
    {4, _, _} = test_edge:recv(B),
    [test_edge:close(Edge) || Edge <- [Lost, A, B]].

%% Nothing leaves over a link that is closing, so nothing waits for it, although its process lives on for a second.
a_link_that_is_closing() ->
    {A, B} = {up(), up()},
    {P1, P2} = pair(A, B),
    answer(P1, ?PAYLOAD),
    {1, _, A1} = test_edge:recv(A),
    _ = test_edge:control(A1, <<"welcome\n">>),
    test_edge:await(fun() -> maps:get(stage, test_edge:info(A)) =:= closing end),
    answer(P2, ?PAYLOAD),
    {2, _, _} = test_edge:recv(B),
    ?assertEqual(closing, maps:get(stage, test_edge:info(A))),
    test_edge:close(A),
    test_edge:close(B).

%% One session, two requests at a time over three links, an engine that answers in order, and edges that read at their
%% own pace.
in_any_weather() ->
    Seed = erlang:phash2(make_ref()),
    rand:seed(exsss, Seed),
    Edges = maps:from_list([{I, up()} || I <- [1, 2, 3]]),
    Got = weather(Edges, 1, []),
    ?assertEqual({Seed, lists:seq(1, 200)}, {Seed, lists:reverse(Got)}),
    [test_edge:close(Edge) || Edge <- maps:values(Edges)].

%% Rid is that of the next request, Got the rids whose replies have been taken, newest first.
weather(_, _, Got) when length(Got) =:= 200 -> Got;
weather(Edges, Rid, Got) ->
    I = rand:uniform(3),
    Edge = maps:get(I, Edges),
    case Rid =< 200 andalso Rid - length(Got) =< 2 andalso rand:uniform(2) =:= 1 of
        true ->
            test_edge:request(Edge, Rid, body(<<"w">>, Rid)),
            answer(asked(), ?PAYLOAD),
            weather(Edges, Rid + 1, Got);
        false ->
            {Next, Taken} = take(Edge),
            weather(Edges#{I := Next}, Rid, Taken ++ Got)
    end.

%% Takes one frame, if there is one, as an edge does.
take(Edge) ->
    case test_edge:poll(Edge) of
        {0, <<"ping fence\n">>, Next} -> {test_edge:control(Next, <<"pong fence\n">>), []};
        {Id, _, Next} -> {Next, [Id]};
        none -> erlang:yield(), {Edge, []}
    end.

%%% Helpers

pair(A, B) -> pair(A, B, <<"s">>, 1, 2).

%% Two requests of a session, which the engine has, and their processes.
pair(A, B, Sid, Id1, Id2) ->
    test_edge:request(A, Id1, body(Sid, 1)),
    P1 = asked(),
    test_edge:request(B, Id2, body(Sid, 2)),
    {P1, asked()}.

body(Sid, Rid) ->
    <<"<body rid='", (integer_to_binary(Rid))/binary, "' sid='", Sid/binary, "' xmlns='x'/>">>.

asked() -> receive {request, Pid, _, _} -> Pid after 10000 -> error(not_asked) end.

answer(Pid, Body) -> Pid ! {answer, {200, [], Body}}.

%% The process has its answer and waits in mod_megaphone_link:follow.
waiting(Pid) ->
    test_edge:await(fun() -> process_info(Pid, current_function) =:=
                                 {current_function, {mod_megaphone_link, follow, 3}} end).

overtaken() -> proplists:get_value(overtaken, mod_megaphone_stats:all()).
