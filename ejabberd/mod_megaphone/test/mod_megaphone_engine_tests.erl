%%% The module's own engine from edge to stream: links, shards, and every way in which one of them ends.
-module(mod_megaphone_engine_tests).
-include_lib("eunit/include/eunit.hrl").

-compile([export_all, nowarn_export_all]).

-define(NS, "http://jabber.org/protocol/httpbind").
-define(EMPTY, <<"<body xmlns='" ?NS "'/>">>).

%% The process of each test is where streams tell of what happens, and the supervisor's parent.
engine_test_() ->
    [{spawn, {timeout, 60, {atom_to_list(Name), fun() -> with_shards(Name) end}}}
     || Name <- [a_session_over_a_link, a_domain_that_is_not_ours, what_cannot_be_read, a_shard_dies,
                 a_shard_dies_while_a_session_opens, a_link_dies, a_client_that_goes, one_that_goes_as_it_comes,
                 release, release_all, payload_waits_for_another_link, a_late_pass, sessions_of_others, a_defect,
                 too_many_at_once, one_that_goes_as_it_waits, a_link_dies_while_some_wait,
                 admission_ends_while_some_wait, one_that_never_logs_in, a_client_that_does_not_fetch,
                 a_stream_ends, a_stream_that_was_killed, streams_end_a_few_at_a_time, a_stream_that_takes_its_time,
                 the_module_stops_while_streams_wait_to_end, an_early_request_and_no_more, written_in_another_way,
                 the_module_stops, a_creation_when_it_has_stopped, nothing_is_left]].

with_shards(Test) ->
    register(engine, self()),
    {ok, _} = application:ensure_all_started(stringprep),
    {ok, _} = application:ensure_all_started(p1_utils),
    process_flag(trap_exit, true),
    {ok, Supervisor} = supervisor:start_link({local, ejabberd_gen_mod_sup}, ?MODULE, []),
    mod_megaphone_engine:start(),
    mod_megaphone_admission:max(1000),
    try case Test of {Module, Name} -> Module:Name(); Name -> ?MODULE:Name() end
    after
        mod_megaphone_engine:stop(),
        exit(Supervisor, shutdown),
        receive {'EXIT', Supervisor, _} -> ok end
    end.

%% supervisor: shards that die are started again, however often.
init([]) -> {ok, {#{intensity => 100}, []}}.

a_session_over_a_link() ->
    Edge = edge(),
    S = open(Edge),
    ask(Edge, 2, S, 2, <<>>),
    ejabberd_c2s:say(stream(S), <<"hello">>),
    ?assertEqual({200, with(<<"<m>hello</m>">>)}, reply(Edge, 2)),
    ask(Edge, 3, S, 3, <<"<echo/>">>),
    ?assertEqual({200, with(<<"<echo/>">>)}, reply(Edge, 3)),
    ask(Edge, 4, S, 4, <<"type='terminate'">>, <<>>),
    {200, Bye} = reply(Edge, 4),
    ?assertNotEqual(nomatch, binary:match(Bye, <<"type='terminate'">>)),
    ended(S, closed).

a_domain_that_is_not_ours() ->
    [begin
         Edge = edge(),
         test_edge:request(Edge, 1, creation(To)),
         ?assertEqual({200, terminal(Condition)}, reply(Edge, 1))
     end || {To, Condition} <- [{<<"to='elsewhere.org'">>, <<"host-unknown">>}, {<<>>, <<"improper-addressing">>}]].

%% It is nothing that the session did.
what_cannot_be_read() ->
    Edge = edge(),
    S = open(Edge),
    [begin
         test_edge:request(Edge, 1, iolist_to_binary(["<body rid='2' sid='", sid(S), "'>", Rest])),
         ?assertEqual({Status, <<>>}, reply(Edge, 1))
     end || {Rest, Status} <- [{<<"<a></b></body>">>, 400}, {<<>>, 400}, {<<"<a>&#0;</a></body>">>, 400},
                               {[binary:copy(<<"<a/>">>, 65536), <<"</body>">>], 403}]],
    test_edge:request(Edge, 1, <<"<body rid='x' to='one.example' xmlns='http://jabber.org/protocol/httpbind'/>">>),
    ?assertEqual({400, <<>>}, reply(Edge, 1)),
    [begin
         Body = ["<body rid='1' to='one.example' ", Name, "='", binary:copy(<<"9">>, Size), "' "
                 "xmlns:xmpp='urn:xmpp:xbosh' xmlns='" ?NS "'/>"],
         test_edge:request(Edge, 1, iolist_to_binary(Body)),
         ?assertEqual(Status, element(1, reply(Edge, 1)))
     end || Name <- ["key", "newkey", "ver", "xmpp:version"], {Size, Status} <- [{257, 400}, {256, 200}]],
    serves(Edge, S).

%% Its sessions end, and their clients are told; others continue.
a_shard_dies() ->
    Edge = edge(),
    {S, Other} = on_two_shards(Edge),
    ask(Edge, 2, S, 2, <<>>),
    synced(Edge),
    exit(whereis(shard(S)), kill),
    ?assertEqual({200, terminal(<<"item-not-found">>)}, reply(Edge, 2)),
    ended(S, shard),
    serves(Edge, Other),
    test_edge:await(fun() -> whereis(shard(S)) =/= undefined end),
    ask(Edge, 3, S, 3, <<>>),
    ?assertEqual({200, terminal(<<"item-not-found">>)}, reply(Edge, 3)),
    serves(Edge, open(Edge)).

a_shard_dies_while_a_session_opens() ->
    Edge = edge(),
    test_edge:request(Edge, 1, creation(<<"to='mute.example'">>)),
    {Sid, Stream, Shard} = started(),
    test_edge:await(fun() -> sessions(Shard) =:= 1 end),
    exit(whereis(Shard), kill),
    ?assertEqual({200, terminal(<<"item-not-found">>)}, reply(Edge, 1)),
    ended({Sid, Stream, Shard}, shard).

%% As if all its clients had hung up: they send again, over another.
a_link_dies() ->
    [A, B] = [edge(), edge()],
    S = open(A),
    ask(A, 2, S, 2, <<>>),
    synced(A),
    test_edge:close(A),
    test_edge:await(fun() -> not is_process_alive(test_edge:pid(A)) end),
    ejabberd_c2s:say(stream(S), <<"kept">>),
    ask(B, 1, S, 2, <<>>),
    ?assertEqual({200, with(<<"<m>kept</m>">>)}, reply(B, 1)).

a_client_that_goes() ->
    Edge = edge(),
    S = open(Edge),
    ask(Edge, 2, S, 2, <<>>),
    test_edge:control(Edge, <<"gone 0000000000000002\n">>),
    synced(Edge),
    ejabberd_c2s:say(stream(S), <<"kept">>),
    ask(Edge, 3, S, 2, <<>>),
    ?assertEqual({200, with(<<"<m>kept</m>">>)}, reply(Edge, 3)),
    ?assertMatch(#{live := 0}, test_edge:info(Edge)).

%% The session does not take it for answered.
one_that_goes_as_it_comes() ->
    Edge = edge(),
    test_edge:send(Edge, [test_edge:frame(1, creation(<<"to='one.example'">>)),
                          test_edge:frame(0, <<"gone 0000000000000001\n">>)]),
    {_, _, Shard} = S = started(),
    test_edge:await(fun() -> sessions(Shard) =:= 1 end),
    ask(Edge, 2, S, 1, <<>>),
    {200, Body} = reply(Edge, 2),
    ?assertNotEqual(nomatch, binary:match(Body, <<"<stream:features/>">>)),
    serves(Edge, S).

release() ->
    Edge = edge(),
    S = open(Edge),
    ask(Edge, 2, S, 2, <<>>),
    test_edge:control(Edge, <<"release 0000000000000002\n">>),
    ?assertEqual({200, ?EMPTY}, reply(Edge, 2)),
    ask(Edge, 3, S, 3, <<"<echo/>">>),
    ?assertEqual({200, with(<<"<echo/>">>)}, reply(Edge, 3)).

release_all() ->
    Edge = edge(),
    Sessions = [open(Edge) || _ <- lists:seq(1, 5)],
    [ask(Edge, Id, S, 2, <<>>) || {Id, S} <- lists:enumerate(11, Sessions)],
    test_edge:control(Edge, <<"release all\n">>),
    Left = lists:foldl(fun(_, {E, Ids}) ->
                               {Id, Contents, Next} = test_edge:recv(E),
                               ?assertEqual(?EMPTY, Contents),
                               {Next, [Id | Ids]}
                       end, {Edge, []}, Sessions),
    ?assertEqual(lists:seq(11, 15), lists:sort(element(2, Left))).

%% A session with a payload sent over A, and the next one about to follow over B.
payload_of_two_links() ->
    [A0, B] = [edge(), edge()],
    S = open(A0),
    ask(A0, 2, S, 2, <<>>),
    ejabberd_c2s:say(stream(S), <<"1">>),
    {2, _, A} = test_edge:recv(A0),
    ask(B, 1, S, 3, <<>>),
    ejabberd_c2s:say(stream(S), <<"2">>),
    {A, B, S}.

%% The client's connection over A has the first payload before B's link sends the next.
payload_waits_for_another_link() ->
    {A, B, _} = payload_of_two_links(),
    {<<"ping ", Token/binary>>, _} = test_edge:recv_control(A),
    ?assertEqual(none, test_edge:poll(B)),
    test_edge:control(A, [<<"pong ">>, Token]),
    ?assertEqual({200, with(<<"<m>2</m>">>)}, reply(B, 1)).

%% It is the answer to an earlier question. The later one stays, for the end of the link to answer.
a_late_pass() ->
    {A, B, S} = payload_of_two_links(),
    {<<"ping ", _/binary>>, _} = test_edge:recv_control(A),
    Link = test_edge:pid(A),
    Asked = fun() -> element(6, sys:get_state(shard(S))) end,
    ?assertMatch(#{Link := _}, Asked()),
    shard(S) ! {{Link, sid(S), 0}, passed},
    ?assertMatch(#{Link := _}, Asked()),
    test_edge:close(A),
    ?assertEqual({200, with(<<"<m>2</m>">>)}, reply(B, 1)),
    ?assertEqual(#{}, Asked()).

%% Ids of another form are of ejabberd's own engine, and those of nodes that are not there are unknown to it.
sessions_of_others() ->
    Edge = edge(),
    {<<C, Tag:4/binary, Rest/binary>>, Stream, Shard} = open(Edge),
    [begin
         ask(Edge, 1, {Sid, Stream, Shard}, 2, <<>>),
         receive {request, Pid, _, _} -> Pid ! {answer, {404, <<"Not found">>, [], <<>>}} end,
         ?assertEqual({404, <<>>}, reply(Edge, 1))
     end || Sid <- [<<"1234">>, <<C, "____", Rest/binary>>, <<"!", Tag/binary, Rest/binary>>]],
    ask(Edge, 1, {<<C, Tag/binary, "aaaaaaaaaaaaaaaaaaaa">>, Stream, Shard}, 2, <<>>),
    ?assertEqual({200, terminal(<<"item-not-found">>)}, reply(Edge, 1)),
    ?assertEqual(none, mod_megaphone_engine:find(<<>>)).

%% An error in the code ends the session in which it shows.
a_defect() ->
    Edge = edge(),
    {Sid, Stream, Shard} = S = open(Edge),
    Others = [open(Edge) || _ <- lists:seq(1, 20)],
    Before = proplists:get_value(crashed, mod_megaphone_stats:all()),
    Pid = whereis(Shard),
    Shard ! {poll, {self(), 1, 1}, Sid, not_a_rid},
    receive {answer, 1, 1, 200, Body} -> ?assertEqual(terminal(<<"internal-server-error">>), Body) end,
    ended({Sid, Stream, Shard}, closed),
    ?assertEqual(Before + 1, proplists:get_value(crashed, mod_megaphone_stats:all())),
    ?assertEqual(Pid, whereis(Shard)),
    [serves(Edge, Other) || Other <- Others],
    ask(Edge, 3, S, 3, <<>>),
    ?assertEqual({200, terminal(<<"item-not-found">>)}, reply(Edge, 3)).

%% Those beyond the bound wait until others have logged in, or ended, in the order in which they came.
too_many_at_once() ->
    Edge = edge(),
    mod_megaphone_admission:max(2),
    [S1, S2] = [open(Edge), open(Edge)],
    [waits(Edge, Id, Id) || Id <- [1, 2]],
    ejabberd_c2s:log_in(stream(S1)),
    S3 = started(),
    {200, _} = reply(Edge, 1),
    counted(#{waiting => 1, opening => 0, joining => 2}),
    exit(stream(S2), kill),
    S4 = started(),
    {200, _} = reply(Edge, 2),
    counted(#{waiting => 0, opening => 0, joining => 2}),
    [serves(Edge, S) || S <- [S1, S3, S4]],
    %% A large one has its turn at once, or not at all.
    Large = creation([<<"to='one.example' large='">>, binary:copy(<<"a">>, 5000), $']),
    test_edge:request(Edge, 1, Large),
    ?assertEqual({503, <<>>}, reply(Edge, 1)),
    ejabberd_c2s:log_in(stream(S3)),
    counted(#{waiting => 0, opening => 0, joining => 1}),
    test_edge:request(Edge, 1, Large),
    S5 = started(),
    {200, _} = reply(Edge, 1),
    serves(Edge, S5),
    %% The bound holds for those that are there as well.
    waits(Edge, 1, 1),
    mod_megaphone_admission:max(3),
    S6 = started(),
    {200, _} = reply(Edge, 1),
    serves(Edge, S6).

%% There is no session that it would have.
one_that_goes_as_it_waits() ->
    Edge = edge(),
    mod_megaphone_admission:max(1),
    S = open(Edge),
    [waits(Edge, Id, Id) || Id <- [1, 2]],
    test_edge:control(Edge, <<"gone 0000000000000001\n">>),
    counted(#{waiting => 1, opening => 0, joining => 1}),
    ejabberd_c2s:log_in(stream(S)),
    Other = started(),
    {200, _} = reply(Edge, 2),
    serves(Edge, Other),
    ejabberd_c2s:log_in(stream(Other)),
    counted(#{waiting => 0, opening => 0, joining => 0}).

a_link_dies_while_some_wait() ->
    [Edge, Other] = [edge(), edge()],
    mod_megaphone_admission:max(1),
    S = open(Edge),
    [waits(Other, N, N) || N <- [1, 2]],
    waits(Edge, 1, 3),
    test_edge:close(Other),
    test_edge:await(fun() -> not is_process_alive(test_edge:pid(Other)) end),
    ejabberd_c2s:log_in(stream(S)),
    %% The only one that is opened.
    serves(Edge, begin Next = started(), {200, _} = reply(Edge, 1), Next end),
    counted(#{waiting => 0, opening => 0, joining => 1}).

%% Their clients are told, and come again.
admission_ends_while_some_wait() ->
    Edge = edge(),
    mod_megaphone_admission:max(1),
    [begin
         S = open(Edge),
         waits(Edge, 2, 1),
         End(),
         ?assertEqual({503, <<>>}, reply(Edge, 2)),
         ?assertMatch(#{live := 0}, test_edge:info(Edge)),
         exit(stream(S), kill),
         test_edge:await(fun() -> whereis(mod_megaphone_admission) =/= undefined end)
     end || End <- [fun() -> exit(whereis(mod_megaphone_admission), kill) end,
                    fun() -> mod_megaphone_engine:stop(), mod_megaphone_engine:start() end]],
    serves(Edge, open(Edge)).

%% It ends when another client needs its place, and its own client is told why.
one_that_never_logs_in() ->
    Edge = edge(),
    mod_megaphone_admission:max(2),
    S = open(Edge),
    %% As if it had been there for a minute.
    Now = erlang:monotonic_time(millisecond),
    sys:replace_state(mod_megaphone_admission,
                      fun(State) ->
                              Left = mod_megaphone_logins:left(stream(S), element(2, State)),
                              setelement(2, State, mod_megaphone_logins:joins(stream(S), Now - 60000, Left))
                      end),
    Young = open(Edge),
    test_edge:request(Edge, 1, creation(<<"to='one.example'">>)),
    receive {told, Pid, Why} -> ?assertEqual({stream(S), 'resource-constraint'}, {Pid, Why}) end,
    ended(S, closed),
    Other = started(),
    {200, _} = reply(Edge, 1),
    [serves(Edge, Session) || Session <- [Young, Other]],
    ?assertEqual(1, proplists:get_value(cut, mod_megaphone_stats:all())).

%% Sixteen mebibytes wait for it, then it has lost its session.
a_client_that_does_not_fetch() ->
    Edge = edge(),
    S = open(Edge),
    [ejabberd_c2s:say(stream(S), binary:copy(<<"a">>, 1000000)) || _ <- lists:seq(1, 16)],
    serves(Edge, open(Edge)),
    ?assert(is_process_alive(stream(S))),
    ejabberd_c2s:say(stream(S), binary:copy(<<"a">>, 1000000)),
    ended(S, closed),
    ask(Edge, 2, S, 2, <<>>),
    {200, Body} = reply(Edge, 2),
    ?assertNotEqual(nomatch, binary:match(Body, <<"resource-constraint">>)).

a_stream_ends() ->
    Edge = edge(),
    S = open(Edge),
    ask(Edge, 2, S, 2, <<>>),
    mod_megaphone_engine:close({mod_megaphone, shard(S), sid(S), {{127, 0, 0, 1}, 0}}),
    {200, Body} = reply(Edge, 2),
    ?assertNotEqual(nomatch, binary:match(Body, <<"type='terminate'">>)),
    ?assertEqual(0, map_get(sessions, mod_megaphone_engine:info())).

%% Its client is away, so that only the wheel finds it.
a_stream_that_was_killed() ->
    Edge = edge(),
    exit(stream(open(Edge, <<"to='brief.example'">>)), kill),
    without_sessions().

%% Their clients are answered at once.
streams_end_a_few_at_a_time() ->
    Edge = edge(),
    Streams = end_together(Edge, 70),
    ?assertMatch(#{sessions := 0, to_end := 6}, mod_megaphone_shard:info(shard(hd(Streams)))),
    {Told, Waiting} = lists:partition(fun is_told/1, Streams),
    ?assertEqual({64, 6}, {length(Told), length(Waiting)}),
    [Next | Others] = Waiting,
    erlang:resume_process(stream(hd(Told))),
    ended(hd(Told), closed),
    test_edge:await(fun() -> is_told(Next) end),
    ?assertEqual([], lists:filter(fun is_told/1, Others)),
    [exit(stream(S), kill) || S <- tl(Told)],       % they have nothing more to say
    [begin erlang:resume_process(stream(S)), ended(S, closed) end || S <- Waiting],
    ?assertMatch(#{to_end := 0}, mod_megaphone_engine:info()).

%% The others do not wait for it.
a_stream_that_takes_its_time() ->
    Streams = end_together(edge(), 70),
    test_edge:await(fun() -> lists:all(fun is_told/1, Streams) end).

the_module_stops_while_streams_wait_to_end() ->
    Streams = end_together(edge(), 70),
    mod_megaphone_engine:stop(),
    ?assert(lists:all(fun is_told/1, Streams)).

%% Sessions of one shard whose clients leave at once. Their streams do not run.
end_together(Edge, N) ->
    Streams = of_one_shard(Edge, N, #{}),
    [erlang:suspend_process(stream(S)) || S <- Streams],
    [ask(Edge, Id, S, 2, <<"type='terminate'">>, <<>>) || {Id, S} <- lists:enumerate(Streams)],
    lists:foldl(fun(Id, E) -> {Id, <<"<body", _/binary>>, Next} = test_edge:recv(E), Next end, Edge, lists:seq(1, N)),
    Streams.

of_one_shard(Edge, N, Opened) ->
    S = open(Edge),
    case [S | maps:get(shard(S), Opened, [])] of
        Enough when length(Enough) =:= N -> Enough;
        Some -> of_one_shard(Edge, N, Opened#{shard(S) => Some})
    end.

is_told(S) -> process_info(stream(S), message_queue_len) > {message_queue_len, 0}.

%% Its predecessor does not come, and no session waits for it without end.
an_early_request_and_no_more() ->
    Edge = edge(),
    test_edge:request(Edge, 1, creation(<<"to='brief.example'">>, 0)),
    S = started(),
    {200, _} = reply(Edge, 1),
    ask(Edge, 2, S, 3, <<>>),
    test_edge:control(Edge, <<"gone 0000000000000002\n">>),
    without_sessions(),
    ended(S, closed).

%% XML that other clients write: the session is found when it has been read.
written_in_another_way() ->
    Edge = edge(),
    {Sid, _, _} = S = open(Edge),
    Odd = fun(Id) -> ["<body rid = '2' sid = '", Id, "'\nxmlns = '", ?NS, "'><echo/></body>"] end,
    test_edge:request(Edge, 2, iolist_to_binary(Odd(Sid))),
    ?assertEqual({200, with(<<"<echo/>">>)}, reply(Edge, 2)),
    [begin
         test_edge:request(Edge, 3, iolist_to_binary(Odd(Id))),
         ?assertEqual({200, terminal(<<"item-not-found">>)}, reply(Edge, 3))
     end || Id <- [<<"x">>, <<(binary:part(Sid, 0, 24))/binary, "?">>]],
    serves(Edge, S, 3).

%% It was on its way through a process of its own. Its client tries again, and meets the module that has started again.
a_creation_when_it_has_stopped() ->
    Before = proplists:get_value(crashed, mod_megaphone_stats:all()),
    mod_megaphone_engine:stop(),
    mod_megaphone_engine:opened({self(), 7, 1}, creation(<<"to='one.example'">>), {127, 0, 0, 1}),
    receive {answer, 7, 1, Status, Body} -> ?assertEqual({503, <<>>}, {Status, Body}) end,
    ?assertEqual(Before, proplists:get_value(crashed, mod_megaphone_stats:all())),
    mod_megaphone_engine:start().

the_module_stops() ->
    Edge = edge(),
    [S, Between] = [open(Edge), open(Edge)],
    ask(Edge, 2, S, 2, <<>>),
    synced(Edge),
    mod_megaphone_engine:stop(),
    ?assertEqual({200, terminal(<<"system-shutdown">>)}, reply(Edge, 2)),
    [ended(Session, closed) || Session <- [S, Between]],
    test_edge:request(Edge, 3, creation(<<"to='one.example'">>)),
    ?assertEqual({503, <<>>}, reply(Edge, 3)),
    mod_megaphone_engine:start(),
    serves(Edge, open(Edge)).

nothing_is_left() ->
    Edge = edge(),
    Sessions = [open(Edge) || _ <- lists:seq(1, 50)],
    ?assertEqual(50, map_get(sessions, mod_megaphone_engine:info())),
    [begin ask(Edge, 2, S, 2, <<"type='terminate'">>, <<>>), {200, _} = reply(Edge, 2) end || S <- Sessions],
    ?assertEqual(0, map_get(sessions, mod_megaphone_engine:info())),
    [ended(S, closed) || S <- Sessions],
    counted(#{waiting => 0, opening => 0, joining => 0}).

%%% Helpers. A session is {Sid, Stream, Shard}.

edge() -> test_edge:up([{engine, megaphone}]).

creation(To) -> creation(To, 60).
creation(To, Wait) ->
    iolist_to_binary(["<body rid='1' ", To, " ver='1.11' wait='", integer_to_list(Wait), "' hold='1' "
                      "xmpp:version='1.0' xmlns:xmpp='urn:xmpp:xbosh' xmlns='http://jabber.org/protocol/httpbind'/>"]).

%% A creation that has not its turn; N wait.
waits(Edge, Id, N) ->
    test_edge:request(Edge, Id, creation(<<"to='one.example'">>)),
    test_edge:await(fun() -> map_get(waiting, mod_megaphone_admission:info()) =:= N end).

counted(Counts) -> test_edge:await(fun() -> mod_megaphone_admission:info() =:= Counts end).

open(Edge) -> open(Edge, <<"to='one.example'">>).
open(Edge, To) ->
    test_edge:request(Edge, 1, creation(To)),
    {Sid, _, _} = S = started(),
    {200, Body} = reply(Edge, 1),
    ?assertEqual(Sid, mod_megaphone_body:sid(Body)),
    S.

started() -> receive {stream, Pid, Sid, Shard} -> {Sid, Pid, Shard} end.

on_two_shards(Edge) -> on_two_shards(Edge, open(Edge)).
on_two_shards(Edge, S) ->
    Other = open(Edge),
    case shard(Other) =:= shard(S) of
        true -> on_two_shards(Edge, S);
        false -> {S, Other}
    end.

sid({Sid, _, _}) -> Sid.
stream({_, Pid, _}) -> Pid.
shard({_, _, Shard}) -> Shard.

sessions(Shard) -> map_get(sessions, mod_megaphone_shard:info(Shard)).

ask(Edge, Id, S, Rid, Payload) -> ask(Edge, Id, S, Rid, <<>>, Payload).
ask(Edge, Id, S, Rid, Attributes, Payload) ->
    test_edge:request(Edge, Id, iolist_to_binary(
                                  ["<body rid='", integer_to_list(Rid), "' sid='", sid(S), "' ", Attributes,
                                   " xmlns='http://jabber.org/protocol/httpbind'>", Payload, "</body>"])).

%% The reply to Id, which is the next frame.
reply(Edge, Id) ->
    case test_edge:recv(Edge) of
        {Id, <<$<, _/binary>> = Body, _} -> {200, Body};
        {Id, <<Status:3/binary, _, Body/binary>>, _} -> {binary_to_integer(Status), Body}
    end.

without_sessions() -> test_edge:await(fun() -> map_get(sessions, mod_megaphone_engine:info()) =:= 0 end).

%% The session answers an echo with rid 2.
serves(Edge, S) -> serves(Edge, S, 2).
serves(Edge, S, Rid) ->
    ask(Edge, 99, S, Rid, <<"<echo/>">>),
    ?assertEqual({200, with(<<"<echo/>">>)}, reply(Edge, 99)).

%% The link and the shards have taken the messages before this.
synced(Edge) ->
    test_edge:info(Edge),
    test_edge:control(Edge, <<"ping here\n">>),
    {<<"pong here\n">>, _} = test_edge:recv_control(Edge),
    mod_megaphone_engine:info().

ended({_, Pid, _}, Why) -> receive {ended, Pid, Why} -> ok after 10000 -> error({alive, Pid}) end.

with(Payload) -> <<"<body xmlns='http://jabber.org/protocol/httpbind'>", Payload/binary, "</body>">>.

terminal(Condition) ->
    <<"<body xmlns='http://jabber.org/protocol/httpbind' type='terminate' condition='", Condition/binary, "'/>">>.
