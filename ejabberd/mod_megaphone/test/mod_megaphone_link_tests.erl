%%% A link's life: the handshake, requests and replies, control lines, and every way to end it.
-module(mod_megaphone_link_tests).
-include_lib("eunit/include/eunit.hrl").
-include("ejabberd_http.hrl").

-define(SECRET, <<"a secret that edges share">>).

%% The process of each test is the engine: it answers what ejabberd_bosh is asked.
with_engine(Tests) ->
    [{spawn, {timeout, 60, {atom_to_list(Name), fun() -> register(engine, self()), ?MODULE:Name() end}}}
     || Name <- Tests].

-compile([export_all, nowarn_export_all]).

%% First, as nothing may have been logged of the class that it counts.
log_test_() ->
    with_engine([what_edges_do_wrong_is_logged_once]).

handshake_test_() ->
    with_engine([hello_in_pieces, hello_with_the_secret, hello_without_the_secret, hello_with_another_secret,
                 a_hello_that_was_changed_on_its_way, a_proof_that_is_not_the_last, hello_of_an_older_edge,
                 hello_of_another_version, hello_twice, nothing_before_hello, no_hello_at_all,
                 no_hello_in_three_seconds, http_in_place_of_hello, more_than_a_kilobyte_in_place_of_hello,
                 a_hello_of_a_kilobyte,
                 a_line_behind_hello, error_in_place_of_hello]).

requests_test_() ->
    with_engine([a_request_and_its_reply, replies_in_any_order, an_address_of_either_kind, no_address,
                 what_only_looks_like_an_address, hooks_see_the_query,
                 frames_in_pieces, many_frames_at_once, statuses, the_engine_fails,
                 a_request_process_is_killed, too_many_at_once, gone_requests_are_held_until_they_end,
                 a_reply_that_the_edge_does_not_take]).

control_test_() ->
    with_engine([gone_leaves_the_request_to_the_engine, an_id_used_again_after_gone, gone_that_crossed_the_reply,
                 release_leaves_requests_held, ping_gets_pong, unknown_verbs_are_ignored, drain_is_told]).

ends_test_() ->
    with_engine([bad_length, the_first_wrong_byte, contents_too_large, a_live_id_again,
                 a_request_without_a_body, lines_that_do_not_end, ping_without_token, gone_without_id,
                 an_edge_that_leaves, the_link_is_killed,
                 the_edge_says_error, silence, a_standstill_is_no_silence]).

%%% Handshake

hello_in_pieces() ->
    {_, Edge} = test_edge:recv_control(test_edge:dial([{name, <<"node-1">>}])),
    Hello = test_edge:frame(0, <<"hello version=1 name=edge-1 nonce=101112131415161718191a1b1c1d1e1f max=5000\n">>),
    [test_edge:send(Edge, <<C>>) || <<C>> <= Hello],
    {<<"welcome\n">>, Up} = test_edge:recv_control(Edge),
    ?assertMatch(#{stage := up, edge := <<"edge-1">>, live := 0, frames_in := 1, frames_out := 2}, test_edge:info(Up)),
    test_edge:close(Up).

%% The edge's proof, and this end's in return.
hello_with_the_secret() ->
    {Hello, Edge} = test_edge:recv_control(
                      test_edge:dial([{secret, ?SECRET}, {name, <<"node-1">>}, {max_contents, 2000}])),
    {ok, [Ours]} = re(Hello, <<"^(hello version=1 name=node-1 nonce=[0-9a-f]{32} max=2000 take=query",
                               "(?: instance=[0-9a-f]{32} age=[0-9]+)? stream=1 window=65536)\n$">>),
    Theirs = <<"hello version=1 name=edge-1 nonce=101112131415161718191a1b1c1d1e1f max=100 later=key">>,
    test_edge:control(Edge, [Theirs, test_edge:proof(?SECRET, <<"edge-hello">>, [Ours, Theirs]), $\n]),
    {Welcome, Up} = test_edge:recv_control(Edge),
    Proof = test_edge:proof(?SECRET, <<"origin-welcome">>, [Ours, Theirs, <<"welcome">>]),
    ?assertEqual(<<"welcome", Proof/binary, "\n">>, Welcome),
    test_edge:close(Up).

%% Every part of either hello is proved: its keys, their order, and the proof's own digits.
a_hello_that_was_changed_on_its_way() ->
    Theirs = <<"hello version=1 name=edge-1 nonce=101112131415161718191a1b1c1d1e1f max=100">>,
    [begin
         {Hello, Edge} = test_edge:recv_control(test_edge:dial([{secret, ?SECRET}])),
         Ours = binary:part(Hello, 0, byte_size(Hello) - 1),
         Proved = [Theirs, test_edge:proof(?SECRET, <<"edge-hello">>, [OursSeen(Ours), Theirs]), $\n],
         test_edge:control(Edge, TheirsSent(iolist_to_binary(Proved))),
         told(Edge, <<"proof in hello">>, secret)
     end || {OursSeen, TheirsSent} <- [{replaced(<<"max=1048576">>, <<"max=1">>), fun same/1},
                                       {replaced(<<" take=query">>, <<>>), fun same/1},
                                       {replaced(<<"take=query">>, <<"take=query,x">>), fun same/1},
                                       {fun same/1, replaced(<<"max=100">>, <<"max=1">>)},
                                       {fun same/1, replaced(<<"edge-1">>, <<"edge-2">>)},
                                       {fun same/1, replaced(<<" max=100">>, <<>>)},
                                       {fun same/1, replaced(<<" proof=">>, <<" later=key proof=">>)}]].

same(Line) -> Line.

replaced(What, With) -> fun(Line) -> binary:replace(Line, What, With) end.

hello_without_the_secret() ->
    refused([{secret, ?SECRET}], test_edge:hello([]), <<"proof in hello">>, secret).

hello_with_another_secret() ->
    Proof = test_edge:proof(<<"another">>, <<"edge-hello">>, []),
    refused([{secret, ?SECRET}], test_edge:hello(Proof), <<"proof in hello">>, secret).

a_proof_that_is_not_the_last() ->
    Proof = test_edge:proof(?SECRET, <<"edge-hello">>, []),
    refused([{secret, ?SECRET}], test_edge:hello([Proof, <<" max=5">>]), <<"bad frame">>, grammar).

%% It has a mac only. No flag in the line could keep someone in between from taking the newer proof away.
hello_of_an_older_edge() ->
    Mac = binary:copy(<<"0">>, 64),
    refused([{secret, ?SECRET}], test_edge:hello([<<" mac=">>, Mac]), <<"upgrade edges before origins">>, old_proof).

hello_of_another_version() ->
    refused([], <<"hello version=2 name=edge-1 nonce=101112131415161718191a1b1c1d1e1f\n">>, <<"version 1 only">>,
            version).

hello_twice() ->
    told(test_edge:control(test_edge:up([]), test_edge:hello([])), <<"bad frame">>, grammar).

nothing_before_hello() ->
    Before = count(requests),
    {_, Edge} = test_edge:recv_control(test_edge:dial([])),
    told(test_edge:request(Edge, 1, <<"<echo/>">>), <<"nothing but hello">>, early),
    ?assertEqual(Before, count(requests)).

no_hello_at_all() ->
    {_, Edge} = test_edge:recv_control(test_edge:dial([{ping_timeout, 60}])),
    told(Edge, <<"nothing was heard">>, timeout).

%% Whatever the ping timeout.
no_hello_in_three_seconds() ->
    Began = erlang:monotonic_time(millisecond),
    {_, Edge} = test_edge:recv_control(test_edge:dial([{ping_timeout, 600000}])),
    told(Edge, <<"nothing was heard">>, timeout),
    ?assert(erlang:monotonic_time(millisecond) - Began >= 3000).

more_than_a_kilobyte_in_place_of_hello() ->
    {_, Edge} = test_edge:recv_control(test_edge:dial([])),
    told(test_edge:send(Edge, <<"00001025|0000000000000000|">>), <<"bad frame">>, grammar).

a_hello_of_a_kilobyte() ->
    {_, Edge} = test_edge:recv_control(test_edge:dial([])),
    Line = iolist_to_binary(test_edge:hello(<<" later=">>)),
    Hello = test_edge:hello([<<" later=">>, binary:copy(<<"x">>, 1024 - byte_size(Line))]),
    ?assertEqual(1024, iolist_size(Hello)),
    {<<"welcome\n">>, Up} = test_edge:recv_control(test_edge:control(Edge, Hello)),
    test_edge:close(Up).

http_in_place_of_hello() ->
    {_, Edge} = test_edge:recv_control(test_edge:dial([])),
    told(test_edge:send(Edge, <<"POST /http-bind HTTP/1.1\r\nHost: a\r\n\r\n">>), <<"bad frame">>, grammar).

a_line_behind_hello() ->
    refused([], test_edge:hello(<<"\nping a">>), <<"nothing but hello">>, early).

error_in_place_of_hello() ->
    {_, Edge} = test_edge:recv_control(test_edge:dial([])),
    Before = count({ended, peer}),
    test_edge:closed(test_edge:control(Edge, <<"error you have no mac\n">>)),
    ?assertEqual(Before + 1, count({ended, peer})).

refused(Options, Hello, Why, Fault) ->
    {_, Edge} = test_edge:recv_control(test_edge:dial(Options)),
    told(test_edge:control(Edge, Hello), Why, Fault).

%%% Requests

a_request_and_its_reply() ->
    Edge = test_edge:request(test_edge:up([]), 16#3000012f4, <<"192.0.2.1 <body rid='1'/>">>),
    Pid = asked(<<"<body rid='1'/>">>, {{192, 0, 2, 1}, 0}),
    ?assertMatch(#{live := 1}, test_edge:info(Edge)),
    Pid ! {answer, {200, <<"OK">>, [{<<"Content-Type">>, <<"text/xml">>}],
                    [<<"<body">>, [$\s, "a='", $b, $'], <<"/>">>]}},
    {16#3000012f4, <<"<body a='b'/>">>, Next} = test_edge:recv(Edge),
    ?assertMatch(#{live := 0}, test_edge:info(Next)),
    test_edge:close(Next).

replies_in_any_order() ->
    Edge = lists:foldl(fun(Id, E) -> test_edge:request(E, Id, [<<"<b i='">>, integer_to_list(Id), <<"'/>">>]) end,
                       test_edge:up([]), [1, 2, 3]),
    Pids = [asked() || _ <- [1, 2, 3]],
    [begin Pid ! {answer, {200, [], Body}}, receive after 0 -> ok end end || {Pid, Body, _} <- lists:reverse(Pids)],
    {Replies, Next} = replies(3, Edge),
    ?assertEqual([{1, <<"<b i='1'/>">>}, {2, <<"<b i='2'/>">>}, {3, <<"<b i='3'/>">>}], lists:sort(Replies)),
    test_edge:close(Next).

an_address_of_either_kind() ->
    Edge = test_edge:up([]),
    test_edge:request(Edge, 1, <<"2001:db8::1 <b/>">>),
    asked(<<"<b/>">>, {{16#2001, 16#db8, 0, 0, 0, 0, 0, 1}, 0}),
    test_edge:request(Edge, 2, <<"10.1.2.3 <b/>">>),
    asked(<<"<b/>">>, {{10, 1, 2, 3}, 0}),
    test_edge:close(Edge).

no_address() ->
    Edge = test_edge:request(test_edge:up([]), 1, <<"<b/>">>),
    asked(<<"<b/>">>, {{127, 0, 0, 1}, 0}),
    test_edge:close(Edge).

what_only_looks_like_an_address() ->
    Edge = test_edge:request(test_edge:up([]), 1, <<"1.2.3.4.5 <b/>">>),
    asked(<<"<b/>">>, {{127, 0, 0, 1}, 0}),
    test_edge:close(Edge).

%% As ejabberd's own web server shows it; a query that no form would send is shown as it is.
hooks_see_the_query() ->
    Edge = test_edge:request(test_edge:up([]), 1, <<"10.1.2.3?room=a%20b&token&c=d <b/>">>),
    asked(<<"<b/>">>, {{10, 1, 2, 3}, 0}),
    #request{method = 'POST', raw_path = <<"?room=a%20b&token&c=d">>, ip = {{10, 1, 2, 3}, 0}, data = <<"<b/>">>,
             q = [{<<"room">>, <<"a b">>}, {<<"token">>, <<>>}, {<<"c">>, <<"d">>}]} = shown(),
    test_edge:request(Edge, 2, <<"10.1.2.3?a=%zz <b/>">>),
    #request{raw_path = <<"?a=%zz">>, q = []} = shown(),
    asked(),
    test_edge:request(Edge, 3, <<"10.1.2.3 <b/>">>),
    asked(),
    receive {hook, _, _} -> error(shown_without_a_query) after 0 -> test_edge:close(Edge) end.

shown() -> receive {hook, http_request_debug, [{[], Request}]} -> Request after 5000 -> error(not_shown) end.

frames_in_pieces() ->
    Frame = test_edge:frame(9, <<"192.0.2.1 <echo>", (binary:copy(<<"x">>, 100))/binary, "</echo>">>),
    Last = lists:foldl(fun(K, Edge) ->
                               <<Head:K/binary, Tail/binary>> = Frame,
                               #{reads := Reads} = test_edge:info(Edge),
                               test_edge:send(Edge, Head),
                               test_edge:await(fun() -> maps:get(reads, test_edge:info(Edge)) > Reads end),
                               {9, <<"<echo>", _/binary>>, Next} = test_edge:recv(test_edge:send(Edge, Tail)),
                               Next
                       end, test_edge:up([]), lists:seq(1, byte_size(Frame) - 1)),
    ?assertMatch(#{live := 0, stage := up}, test_edge:info(Last)),
    test_edge:close(Last).

many_frames_at_once() ->
    N = 2000,
    Edge = test_edge:send(test_edge:up([]), [test_edge:frame(Id, <<"<echo/>">>) || Id <- lists:seq(1, N)]),
    {Replies, Next} = replies(N, Edge),
    ?assertEqual(lists:seq(1, N), lists:sort([Id || {Id, <<"<echo/>">>} <- Replies])),
    #{reads := Reads, writes := Writes} = test_edge:info(Next),
    ?assert(Reads < N div 10),
    ?assert(Writes < N div 10),
    test_edge:close(Next).

statuses() ->
    Edge = test_edge:up([]),
    lists:foldl(fun({Answer, Contents}, E) ->
                        Asked = test_edge:request(E, 5, <<"<b/>">>),
                        {Pid, _, _} = asked(),
                        Pid ! {answer, Answer},
                        {5, Contents, Next} = test_edge:recv(Asked),
                        Next
                end, Edge,
                [{{200, <<"Odd">>, [], <<"<body/>">>}, <<"<body/>">>}, {{200, [], <<"<body/>">>}, <<"<body/>">>},
                 {{400, <<"Bad">>, [], <<>>}, <<"400 ">>}, {{404, [], "<body/>"}, <<"404 <body/>">>},
                 {{200, [], <<>>}, <<>>}, {{200, [], <<"text">>}, <<"200 text">>}]),
    test_edge:close(Edge).

the_engine_fails() ->
    Before = count(crashed),
    Edge = test_edge:request(test_edge:up([]), 5, <<"<b/>">>),
    {Pid, _, _} = asked(),
    Pid ! {fail, for_a_test},
    {5, <<"500 ">>, Next} = test_edge:recv(Edge),
    ?assertEqual(Before + 1, count(crashed)),
    test_edge:close(Next).

a_request_process_is_killed() ->
    Edge = test_edge:request(test_edge:request(test_edge:up([]), 5, <<"<b/>">>), 6, <<"<c/>">>),
    {Pid, _, _} = asked(),
    {_, _, _} = asked(),
    exit(Pid, kill),
    {_, <<"500 ">>, Next} = test_edge:recv(Edge),
    ?assertMatch(#{live := 1, stage := up}, test_edge:info(Next)),
    test_edge:close(Next).

too_many_at_once() ->
    Edge = lists:foldl(fun(Id, E) -> test_edge:request(E, Id, <<"<b/>">>) end,
                       test_edge:up([{max_held, 2}]), [1, 2, 3]),
    {3, <<"503 ">>, Next} = test_edge:recv(Edge),
    {Pid, _, _} = asked(),
    Pid ! {answer, {200, [], <<"<b/>">>}},
    {_, <<"<b/>">>, Room} = test_edge:recv(Next),
    {4, <<"<echo/>">>, Done} = test_edge:recv(test_edge:request(Room, 4, <<"<echo/>">>)),
    test_edge:close(Done).

%% A request costs as much after its client has gone.
gone_requests_are_held_until_they_end() ->
    Full = lists:foldl(fun(Id, E) -> test_edge:request(E, Id, <<"<b/>">>) end,
                       test_edge:up([{max_held, 2}]), [1, 2]),
    Pids = [element(1, asked()) || _ <- [1, 2]],
    test_edge:control(Full, <<"gone 0000000000000001 0000000000000002\n">>),
    {3, <<"503 ">>, Refused} = test_edge:recv(test_edge:request(Full, 3, <<"<echo/>">>)),
    ?assertMatch(#{live := 0}, test_edge:info(Refused)),
    [Answers, Dies] = Pids,
    Stale = count(stale_replies),
    Answers ! {answer, {200, [], <<"<b/>">>}},
    test_edge:await(fun() -> count(stale_replies) =:= Stale + 1 end),
    {4, <<"<echo/>">>, One} = test_edge:recv(test_edge:request(Refused, 4, <<"<echo/>">>)),
    test_edge:request(test_edge:request(One, 5, <<"<b/>">>), 6, <<"<b/>">>),
    {6, <<"503 ">>, Again} = test_edge:recv(One),
    {Held, _, _} = asked(),
    exit(Dies, kill),
    test_edge:await(fun() -> not is_process_alive(Dies) end),
    {7, <<"<echo/>">>, Last} = test_edge:recv(test_edge:request(Again, 7, <<"<echo/>">>)),
    Held ! {answer, {200, [], <<"<b/>">>}},
    {5, <<"<b/>">>, Done} = test_edge:recv(Last),
    test_edge:close(Done).

a_reply_that_the_edge_does_not_take() ->
    Edge = test_edge:request(test_edge:up([], <<" max=100">>), 1, <<"<b/>">>),
    {Pid, _, _} = asked(),
    Pid ! {answer, {200, [], <<"<", (binary:copy(<<"x">>, 96))/binary>>}},
    {1, <<"500 ">>, Next} = test_edge:recv(Edge),
    {1, <<"<", _:95/binary>>, Next2} = begin
        E = test_edge:request(Next, 1, <<"<b/>">>),
        {Pid2, _, _} = asked(),
        Pid2 ! {answer, {200, [], <<"<", (binary:copy(<<"x">>, 95))/binary>>}},
        test_edge:recv(E)
    end,
    test_edge:close(Next2).

%%% Control lines

gone_leaves_the_request_to_the_engine() ->
    Before = count(stale_replies),
    Edge = test_edge:up([]),
    test_edge:send(Edge, [test_edge:frame(16#a, <<"<last-words/>">>),
                          test_edge:frame(0, <<"gone 000000000000000a\nping a\n">>)]),
    {<<"pong a\n">>, Next} = test_edge:recv_control(Edge),
    ?assertMatch(#{live := 0, stage := up}, test_edge:info(Next)),
    {Pid, <<"<last-words/>">>, _} = asked(),
    Pid ! {answer, {200, [], <<"<too-late/>">>}},
    test_edge:await(fun() -> count(stale_replies) =:= Before + 1 end),
    {1, <<"<echo/>">>, Last} = test_edge:recv(test_edge:request(Next, 1, <<"<echo/>">>)),
    test_edge:close(Last).

%% The reply of the one before, if it still came, would be another client's.
an_id_used_again_after_gone() ->
    Edge = test_edge:request(test_edge:up([]), 16#a, <<"<old/>">>),
    {Old, <<"<old/>">>, _} = asked(),
    sys:suspend(test_edge:pid(Edge)),
    Old ! {answer, {200, [], <<"<for-the-old/>">>}},
    test_edge:await(fun() -> not is_process_alive(Old) end),
    test_edge:control(Edge, <<"gone 000000000000000a\n">>),
    test_edge:request(Edge, 16#a, <<"<new/>">>),
    sys:resume(test_edge:pid(Edge)),
    {First, Next} = case test_edge:recv(Edge) of
                        {16#a, C, N} -> {C, N}
                    end,
    %% Its reply was there first, so it left; then the id is another's.
    ?assertEqual(<<"<for-the-old/>">>, First),
    {New, <<"<new/>">>, _} = asked(),
    test_edge:pid(Next) ! {'EXIT', Old, {reply, 16#a, 200, <<"<stale/>">>}},
    New ! {answer, {200, [], <<"<for-the-new/>">>}},
    {16#a, <<"<for-the-new/>">>, Last} = test_edge:recv(Next),
    test_edge:close(Last).

gone_that_crossed_the_reply() ->
    Before = count(stale_ids),
    Edge = test_edge:control(test_edge:up([]), <<"gone 0000000000000001 0000000000000002\nping a\n">>),
    {<<"pong a\n">>, Next} = test_edge:recv_control(Edge),
    ?assertEqual(Before + 2, count(stale_ids)),
    test_edge:close(Next).

release_leaves_requests_held() ->
    Edge = test_edge:request(test_edge:up([]), 1, <<"<b/>">>),
    {Pid, _, _} = asked(),
    test_edge:control(Edge, <<"release 0000000000000001\nrelease all\nping a\n">>),
    {<<"pong a\n">>, Next} = test_edge:recv_control(Edge),
    Pid ! {answer, {200, [], <<"<b/>">>}},
    {1, <<"<b/>">>, Last} = test_edge:recv(Next),
    test_edge:close(Last).

ping_gets_pong() ->
    Asked = test_edge:control(test_edge:up([]), <<"pong x\nping a b c\n">>),
    {<<"pong a b c\n">>, Edge} = test_edge:recv_control(Asked),
    test_edge:close(Edge).

unknown_verbs_are_ignored() ->
    Before = count(unknown_verbs),
    Said = test_edge:control(test_edge:up([]), <<"colour blue\nx\ndrain\nping a\n">>),
    {<<"pong a\n">>, Edge} = test_edge:recv_control(Said),
    ?assertEqual(Before + 2, count(unknown_verbs)),
    test_edge:close(Edge).

drain_is_told() ->
    Edge = test_edge:up([]),
    mod_megaphone_link:drain(test_edge:pid(Edge)),
    {<<"drain\n">>, Next} = test_edge:recv_control(Edge),
    test_edge:close(Next).

%%% Ends

bad_length() -> told(test_edge:send(test_edge:up([]), <<"0000001x|0000000000000001|<b/>">>), <<"bad frame">>, grammar).

%% Without waiting for the rest of a header.
the_first_wrong_byte() -> told(test_edge:send(test_edge:up([]), <<"x">>), <<"bad frame">>, grammar).

contents_too_large() ->
    Edge = test_edge:up([{max_contents, 2000}]),
    told(test_edge:send(Edge, <<"00002001|0000000000000001|">>), <<"bad frame">>, grammar).

a_live_id_again() ->
    Edge = test_edge:request(test_edge:up([]), 7, <<"<b/>">>),
    {Pid, _, _} = asked(),
    Monitor = monitor(process, Pid),
    told(test_edge:request(Edge, 7, <<"<b/>">>), <<"this id is live">>, duplicate),
    receive {'DOWN', Monitor, process, Pid, _} -> ok end.

a_request_without_a_body() -> told(test_edge:request(test_edge:up([]), 7, <<"hello">>), <<"bad frame">>, grammar).
lines_that_do_not_end() -> told(test_edge:control(test_edge:up([]), <<"ping a">>), <<"bad frame">>, grammar).
ping_without_token() -> told(test_edge:control(test_edge:up([]), <<"ping\n">>), <<"bad frame">>, grammar).
gone_without_id() -> told(test_edge:control(test_edge:up([]), <<"gone\n">>), <<"bad frame">>, grammar).

an_edge_that_leaves() ->
    Edge = test_edge:request(test_edge:up([]), 7, <<"<b/>">>),
    {Pid, _, _} = asked(),
    Monitor = monitor(process, Pid),
    Before = count({ended, none}),
    test_edge:close(Edge),
    receive {'DOWN', Monitor, process, Pid, _} -> ok end,
    test_edge:await(fun() -> count({ended, none}) =:= Before + 1 end).

the_link_is_killed() ->
    Edge = test_edge:request(test_edge:up([]), 7, <<"<b/>">>),
    {Pid, _, _} = asked(),
    Monitor = monitor(process, Pid),
    exit(test_edge:pid(Edge), kill),
    receive {'DOWN', Monitor, process, Pid, _} -> ok end,
    test_edge:closed(Edge).

the_edge_says_error() ->
    Before = count({ended, peer}),
    test_edge:closed(test_edge:control(test_edge:up([]), <<"error something is wrong with you\n">>)),
    ?assertEqual(Before + 1, count({ended, peer})).

%% A ping after a third of the time, and the end after all of it; a sign of life puts it off.
silence() ->
    Edge = test_edge:up([{ping_timeout, 300}]),
    Answered = lists:foldl(fun(_, E) ->
                                   test_edge:control(test_edge:skip_to(E, <<"ping alive\n">>), <<"pong alive\n">>)
                           end, Edge, lists:seq(1, 4)),
    told(test_edge:skip_to(Answered, <<"ping alive\n">>), <<"nothing was heard">>, timeout).

%% A ping of this end: the edge is asked before it counts as dead.
a_standstill_is_no_silence() ->
    Edge = test_edge:up([{ping_timeout, 900}]),
    sys:suspend(test_edge:pid(Edge)),
    receive after 2000 -> ok end,
    sys:resume(test_edge:pid(Edge)),
    Asked = test_edge:skip_to(Edge, <<"ping alive\n">>),
    {<<"pong here\n">>, Last} = test_edge:recv_control(test_edge:control(Asked, <<"pong alive\nping here\n">>)),
    test_edge:close(Last).

%%% The log

what_edges_do_wrong_is_logged_once() ->
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => self()}),
    [a_live_id_again() || _ <- lists:seq(1, 5)],
    logger:remove_handler(?MODULE),
    ?assertEqual(1, logged(0)).

log(#{msg := {Format, Args}}, #{config := Test}) ->
    case re:run(io_lib:format(Format, Args), "this id is live") of
        {match, _} -> Test ! logged;
        nomatch -> ok
    end;
log(_, _) -> ok.

logged(N) ->
    receive logged -> logged(N + 1)
    after 0 -> N
    end.

%%% Helpers

%% The edge is told why its link ends, which is counted, and the link ends.
told(Edge, Why, Fault) ->
    Before = count({ended, Fault}),
    {Line, Next} = test_edge:recv_control(Edge),
    ?assertMatch({ok, _}, re(Line, <<"^error .*", Why/binary>>)),
    test_edge:closed(Next),
    ?assertEqual(Before + 1, count({ended, Fault})).

asked() ->
    receive {request, Pid, Body, Address} -> {Pid, Body, Address}
    after 10000 -> error(not_asked)
    end.

asked(Body, Address) ->
    {Pid, Got, From} = asked(),
    ?assertEqual({Body, Address}, {Got, From}),
    Pid.

replies(N, Edge) ->
    lists:mapfoldl(fun(_, E) ->
                           {Id, Contents, Next} = test_edge:recv(E),
                           {{Id, Contents}, Next}
                   end, Edge, lists:seq(1, N)).

count(Counter) -> proplists:get_value(Counter, mod_megaphone_stats:all()).

re(Subject, Pattern) ->
    case re:run(Subject, Pattern, [{capture, all_but_first, binary}]) of
        {match, Groups} -> {ok, Groups};
        nomatch -> {nomatch, Subject}
    end.
