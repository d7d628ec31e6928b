%%% WebSocket streams from edge to ejabberd's streams: links, sockets, and every way in which one of them ends.
-module(mod_megaphone_stream_tests).
-include_lib("eunit/include/eunit.hrl").

-compile([export_all, nowarn_export_all]).

-record(xmlel, {name = <<>>, attrs = [], children = []}).

-define(OPEN, <<"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='one.example' version='1.0'/>">>).
-define(ID, 16#3000012f4).

%%% A socket by itself: what it reads and writes

read_test_() ->
    [{binary_to_list(Text), ?_assertEqual(Event, mod_megaphone_stream:read(Text, 100))}
     || {Text, Event} <- [{<<"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='a'/>">>,
                           {xmlstreamstart, <<"stream:stream">>,
                            [{<<"xmlns:stream">>, <<"http://etherx.jabber.org/streams">>},
                             {<<"xmlns">>, <<"jabber:client">>}, {<<"to">>, <<"a">>}]}},
                          {<<"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>">>,
                           {xmlstreamend, <<"stream:stream">>}},
                          {<<"<iq id='1'/>">>, #xmlel{name = <<"iq">>, attrs = [{<<"id">>, <<"1">>}]}},
                          {<<"hello">>, {xmlstreamerror, {4, <<"not well-formed">>}}},
                          {<<"<a>", (binary:copy(<<"x">>, 94))/binary, "</a>">>,
                           {xmlstreamerror, <<"XML stanza is too big">>}}]].

write_test_() ->
    [{spawn, fun() -> ?assertEqual({El, Item}, {El, written(El)}) end}
     || {El, Item} <-
            [{{xmlstreamstart, <<"stream:stream">>,
               [{<<"xmlns">>, <<"jabber:client">>}, {<<"xmlns:stream">>, <<"x">>}, {<<"id">>, <<"1">>}]},
              {other, <<"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' id='1'/>">>}},
             {{xmlstreamend, <<"stream:stream">>}, {last, <<"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>">>}},
             {el(<<"message">>, []), {stanza, <<"<message xmlns='jabber:client'/>">>}},
             {el(<<"message">>, [{<<"xmlns">>, <<"x">>}]), {stanza, <<"<message xmlns='x'/>">>}},
             {el(<<"success">>, [{<<"xmlns">>, <<"urn:ietf:params:xml:ns:xmpp-sasl">>}]),
              {other, <<"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>">>}},
             {el(<<"stream:features">>, []),
              {other, <<"<stream:features xmlns:stream='http://etherx.jabber.org/streams'/>">>}},
             {error_of(<<"conflict">>),
              {{error, 1008}, <<"<stream:error xmlns:stream='http://etherx.jabber.org/streams'><conflict/>"
                                "</stream:error>">>}},
             {error_of(<<"system-shutdown">>),
              {{error, 1001}, <<"<stream:error xmlns:stream='http://etherx.jabber.org/streams'><system-shutdown/>"
                                "</stream:error>">>}},
             {{xmlstreamraw, <<"\r\n\r\n">>}, none}]].

%% With stream management a stanza is not routed again: the stream has it.
managed_test_() ->
    [{spawn, fun() ->
                     {stanza, _} = written(el(<<"iq">>, [])),
                     {other, _} = written(El),
                     ?assertMatch({El, {other, _}}, {El, written(el(<<"iq">>, []))})
             end} || El <- [el(<<"enabled">>, [{<<"xmlns">>, <<"urn:xmpp:sm:3">>}]),
                            el(<<"resumed">>, [{<<"xmlns">>, <<"urn:xmpp:sm:2">>}]),
                            {xmlstreamelement,
                             #xmlel{name = <<"success">>, attrs = [{<<"xmlns">>, <<"urn:xmpp:sasl:2">>}],
                                    children = [#xmlel{name = <<"enabled">>,
                                                       attrs = [{<<"xmlns">>, <<"urn:xmpp:sm:3">>}]}]}}]].

el(Name, Attributes) -> {xmlstreamelement, #xmlel{name = Name, attrs = Attributes}}.

error_of(Name) -> {xmlstreamelement, #xmlel{name = <<"stream:error">>, children = [#xmlel{name = Name}]}}.

written(El) ->
    mod_megaphone_stream:send_xml({mod_megaphone_stream, self(), ?ID, 7, {{127, 0, 0, 1}, 0}}, El),
    Me = self(),
    receive {output, ?ID, 7, Me, Item} -> Item after 0 -> none end.

socket_test_() -> {spawn, fun socket/0}.

socket() ->
    Socket = {mod_megaphone_stream, self(), ?ID, 7, {{192, 0, 2, 1}, 0}},
    ?assertEqual({ok, {{192, 0, 2, 1}, 0}}, mod_megaphone_stream:peername(Socket)),
    ?assertEqual(self(), mod_megaphone_stream:get_owner(Socket)),
    ?assertEqual(websocket, mod_megaphone_stream:get_transport(Socket)),
    ok = mod_megaphone_stream:setopts(Socket, [{active, once}]),
    ok = mod_megaphone_stream:setopts(Socket, [{nodelay, true}]),
    ok = mod_megaphone_stream:change_shaper(Socket, none),
    Socket = mod_megaphone_stream:reset_stream(Socket),
    ok = mod_megaphone_stream:close(Socket),
    ?assertEqual([{active, ?ID, 7}, {shaper, ?ID, 7, none}, {restart, ?ID, 7}, {close, ?ID, 7}], mailbox()).

mailbox() -> receive Message -> [Message | mailbox()] after 0 -> [] end.

%%% Links

streams_test_() ->
    [{spawn, {timeout, 60, {atom_to_list(Name),
                            fun() -> mod_megaphone_engine_tests:with_shards({?MODULE, Name}) end}}}
     || Name <- [a_stream_over_a_link, beside_requests, neither_end_alone, messages_in_pieces, a_message_that_is_none,
                 the_client_goes, the_client_goes_as_it_opens, the_stream_ends, the_stream_crashes, the_link_is_killed,
                 the_edge_leaves, the_link_is_closed, window_towards_the_stream, window_towards_the_client,
                 credits_share_lines, a_client_that_does_not_read, a_full_link, no_room, admission_ends, waits_its_turn,
                 bad_frames, stale_frames, an_id_again, drained, drops_are_counted]].

a_stream_over_a_link() ->
    {Edge, Stream} = opened(),
    test_edge:request(Edge, ?ID, ?OPEN),
    {?ID, <<"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' id='s' version='1.0'/>">>, E1} = test_edge:recv(Edge),
    {?ID, <<"<stream:features", _/binary>>, E2} = test_edge:recv(E1),
    {?ID, <<"<echo xmlns='jabber:client'/>">>, E3} = test_edge:recv(test_edge:request(E2, ?ID, <<"<echo/>">>)),
    ejabberd_c2s:say(Stream, <<"hello">>),
    {?ID, <<"<m xmlns='jabber:client'>hello</m>">>, E4} = test_edge:recv(E3),
    ?assertMatch(#{live := 1, streams := 1}, test_edge:info(E4)),
    ejabberd_c2s:log_in(Stream),
    test_edge:await(fun() -> map_get(joining, mod_megaphone_admission:info()) =:= 0 end),
    test_edge:close(E4).

%% One id space: a message is no request, and a request has its address.
beside_requests() ->
    {Edge, _} = opened(),
    test_edge:request(Edge, 5, <<"192.0.2.1 <echo/>">>),
    {5, <<"<echo/>">>, E1} = test_edge:recv(Edge),
    Before = count(stale_streams),
    {<<"pong a\n">>, E2} = test_edge:recv_control(test_edge:control(test_edge:request(E1, 5, <<"<echo/>">>),
                                                                    <<"ping a\n">>)),
    ?assertEqual(Before + 1, count(stale_streams)),
    told(test_edge:request(E2, ?ID, <<"192.0.2.1 <echo/>">>), <<"this id is live">>, duplicate).

neither_end_alone() ->
    told(test_edge:request(test_edge:up([]), ?ID, <<"+::1 ws">>), <<"bad frame">>, grammar),
    Edge = test_edge:up([{websocket, false}], <<" stream=1">>),
    told(test_edge:request(Edge, ?ID, <<"+::1 ws">>), <<"bad frame">>, grammar),
    {Hello, Dialled} = test_edge:recv_control(test_edge:dial([{websocket, false}])),
    ?assertEqual(nomatch, binary:match(Hello, <<"stream">>)),
    test_edge:close(Dialled).

messages_in_pieces() ->
    {Edge, _} = opened(),
    Frame = test_edge:frame(?ID, <<"<echo>", (binary:copy(<<"x">>, 300))/binary, "</echo>">>),
    [test_edge:send(Edge, <<C>>) || <<C>> <= Frame],
    {?ID, <<"<echo xmlns='jabber:client'>xxx", _/binary>>, Next} = test_edge:recv(Edge),
    test_edge:close(Next).

a_message_that_is_none() ->
    {Edge, Stream} = opened(),
    test_edge:request(Edge, ?ID, <<"<a></b>">>),
    event(Stream, {xmlstreamerror, {4, <<"not well-formed">>}}),
    test_edge:close(Edge).

the_client_goes() ->
    {Edge, Stream} = opened(),
    test_edge:request(Edge, ?ID, <<"-1006">>),
    ended(Stream, closed),
    ?assertMatch(#{live := 0, streams := 0}, test_edge:info(Edge)),
    test_edge:close(Edge).

the_client_goes_as_it_opens() ->
    mod_megaphone_admission:max(1),
    {Edge, Stream} = opened(),
    test_edge:request(Edge, 2, <<"+::1 ws">>),
    test_edge:await(fun() -> map_get(waiting, mod_megaphone_admission:info()) =:= 1 end),
    test_edge:request(Edge, 2, <<"-1006">>),
    test_edge:await(fun() -> map_get(waiting, mod_megaphone_admission:info()) =:= 0 end),
    test_edge:request(Edge, ?ID, <<"-1000">>),
    ended(Stream, closed),
    ?assertMatch(#{live := 0}, test_edge:info(Edge)),
    test_edge:close(Edge).

the_stream_ends() ->
    {Edge, Stream} = opened(),
    ejabberd_c2s:finish(Stream),
    {?ID, <<"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>">>, E1} = test_edge:recv(Edge),
    {?ID, <<"-1000">>, E2} = test_edge:recv(E1),
    test_edge:close(E2).

the_stream_crashes() ->
    {Edge, Stream} = opened(),
    exit(Stream, kill),
    {?ID, <<"-1011">>, Next} = test_edge:recv(Edge),
    ?assertMatch(#{live := 0}, test_edge:info(Next)),
    test_edge:close(Next).

%% The stream monitors it.
the_link_is_killed() ->
    {Edge, Stream} = opened(),
    exit(test_edge:pid(Edge), kill),
    ended(Stream, shard),
    test_edge:closed(Edge).

the_edge_leaves() ->
    {Edge, Stream} = opened(),
    test_edge:close(Edge),
    ended(Stream, closed).

%% A protocol error ends the link: its streams need not wait until the edge has heard of it.
the_link_is_closed() ->
    {Edge, Stream} = opened(),
    test_edge:send(Edge, <<"x">>),
    ended(Stream, closed),
    {<<"error ", _/binary>>, Next} = test_edge:recv_control(Edge),
    test_edge:closed(Next).

%% Half of the window is acknowledged when the stream has taken it, and not before.
window_towards_the_stream() ->
    {Edge, Stream} = opened(),
    test_edge:request(Edge, ?ID, <<"<hold/>">>),
    Large = <<"<a>", (binary:copy(<<"x">>, 20000 - 7))/binary, "</a>">>,
    [test_edge:request(Edge, ?ID, Large) || _ <- [1, 2, 3]],
    test_edge:request(Edge, ?ID, <<"<echo/>">>),
    {<<"pong a\n">>, E1} = test_edge:recv_control(test_edge:control(Edge, <<"ping a\n">>)),
    ejabberd_c2s:go_on(Stream),
    Credit = <<"credit 00000003000012f4 40007\n">>,
    {Credit, E2} = test_edge:recv_control(E1),
    {?ID, <<"<echo xmlns='jabber:client'/>">>, E3} = test_edge:recv(E2),
    %% 20,014 bytes are taken; an edge that sends more than the rest of the window is wrong.
    test_edge:request(E3, ?ID, <<"<hold/>">>),
    [test_edge:request(E3, ?ID, Large) || _ <- [1, 2, 3]],
    told(test_edge:request(E3, ?ID, Large), <<"a message beyond the window">>, window),
    ejabberd_c2s:go_on(Stream).

window_towards_the_client() ->
    {Edge, Stream} = opened(<<" stream=1 window=50">>),
    [ejabberd_c2s:say(Stream, binary:copy(<<"x">>, 20)) || _ <- [1, 2, 3]],      % 49 bytes
    {?ID, Message, E1} = test_edge:recv(Edge),
    ?assertEqual(49, byte_size(Message)),
    {?ID, Message, E2} = test_edge:recv(E1),
    {<<"pong a\n">>, E3} = test_edge:recv_control(test_edge:control(E2, <<"ping a\n">>)),
    test_edge:control(E3, <<"credit 00000003000012f4 49\n">>),
    {?ID, Message, E4} = test_edge:recv(E3),
    told(test_edge:control(E4, <<"credit 00000003000012f4 999\n">>), <<"bad frame">>, grammar).

%% A turn of the link has one line for all.
credits_share_lines() ->
    Edge = test_edge:up([], <<" stream=1">>),
    Ids = lists:seq(1, 70),
    {Streams, Up} = lists:mapfoldl(fun(Id, E) -> open(Id, E) end, Edge, Ids),
    sys:suspend(test_edge:pid(Up)),
    Large = <<"<a>", (binary:copy(<<"x">>, 40000))/binary, "</a>">>,
    test_edge:send(Up, [test_edge:frame(Id, Large) || Id <- Ids]),
    sys:resume(test_edge:pid(Up)),
    {Credited, Next} = credited(length(Ids), Up, []),
    ?assertEqual([{Id, 40007} || Id <- Ids], lists:sort(Credited)),
    ?assertEqual(length(Streams), length(lists:usort(Streams))),
    test_edge:close(Next).

credited(Left, Edge, Credits) when Left =< 0 -> {Credits, Edge};
credited(Left, Edge, Credits) ->
    {Line, Next} = test_edge:recv_control(Edge),
    ?assert(byte_size(Line) =< 1024),
    {ok, [{credit, Some}]} = mod_megaphone_control:parse(Line),
    credited(Left - length(Some), Next, Some ++ Credits).

a_client_that_does_not_read() ->
    Before = count(overrun),
    {Edge, Stream} = opened(<<" stream=1 window=50">>),
    Large = binary:copy(<<"x">>, 1048576),
    [ejabberd_c2s:say(Stream, Large) || _ <- lists:seq(1, 18)],
    ended(Stream, closed),
    {?ID, <<"<m", _/binary>>, E1} = test_edge:recv(Edge),
    {?ID, <<"-1008">>, E2} = test_edge:recv(E1),
    ?assertEqual(Before + 1, count(overrun)),
    test_edge:close(E2).

%% Other streams of a link that has no room keep their messages, and lose none.
a_full_link() ->
    Edge = test_edge:up([{high_water, 1024}], <<" stream=1 window=999999999">>),
    {A, E1} = open(1, Edge),
    {B, E2} = open(2, E1),
    Large = binary:copy(<<"x">>, 100000),
    [begin ejabberd_c2s:say(A, Large), ejabberd_c2s:say(B, integer_to_binary(N)) end || N <- lists:seq(1, 100)],
    {Got, E3} = lists:mapfoldl(fun(_, E) -> {Id, Message, Next} = test_edge:recv(E), {{Id, Message}, Next} end, E2,
                               lists:seq(1, 200)),
    ?assertEqual([<<"<m xmlns='jabber:client'>", (integer_to_binary(N))/binary, "</m>">> || N <- lists:seq(1, 100)],
                 [Message || {2, Message} <- Got]),
    ?assertEqual(100, length([1 || {1, _} <- Got])),
    test_edge:await(fun() -> map_get(unsent, test_edge:info(E3)) =:= 0 end),
    {2, <<"<echo xmlns='jabber:client'/>">>, E4} = test_edge:recv(test_edge:request(E3, 2, <<"<echo/>">>)),
    test_edge:close(E4).

no_room() ->
    {_, Edge} = open(1, test_edge:up([{max_held, 1}], <<" stream=1">>)),
    {2, <<"-1013">>, E1} = test_edge:recv(test_edge:request(Edge, 2, <<"+::1 ws">>)),
    {3, <<"503 ">>, E2} = test_edge:recv(test_edge:request(E1, 3, <<"::1 <echo/>">>)),
    test_edge:close(E2).

%% Those that wait would wait forever.
admission_ends() ->
    mod_megaphone_admission:max(1),
    {Edge, _} = opened(),
    test_edge:request(Edge, 2, <<"+::1 ws">>),
    test_edge:await(fun() -> map_get(waiting, mod_megaphone_admission:info()) =:= 1 end),
    exit(whereis(mod_megaphone_admission), kill),
    {2, <<"-1013">>, Next} = test_edge:recv(Edge),
    ?assertMatch(#{streams := 1}, test_edge:info(Next)),
    test_edge:close(Next).

%% As requests that open sessions do.
waits_its_turn() ->
    mod_megaphone_admission:max(1),
    {Edge, Stream} = opened(),
    test_edge:request(Edge, 2, <<"+::1 ws">>),
    test_edge:await(fun() -> map_get(waiting, mod_megaphone_admission:info()) =:= 1 end),
    ejabberd_c2s:log_in(Stream),
    {2, <<"+">>, Next} = test_edge:recv(Edge),
    {_, 2} = started(),
    test_edge:close(Next).

bad_frames() ->
    [told(test_edge:request(test_edge:up([], <<" stream=1">>), ?ID, Contents), <<"bad frame">>, grammar)
     || Contents <- [<<"+">>, <<"+::1">>, <<"+::1 quic">>, <<"+::1 ws host=">>, <<"-1">>, <<"-0999">>]],
    Edge = test_edge:up([], <<" stream=1">>),
    mod_megaphone_admission:max(1),
    {_, Up} = open(1, Edge),
    %% It has not been accepted yet.
    told(test_edge:request(test_edge:request(Up, 2, <<"+::1 ws">>), 2, <<"<a/>">>), <<"bad frame">>, grammar),
    told(test_edge:control(test_edge:up([], <<" stream=1">>), <<"credit 1 1\n">>), <<"bad frame">>, grammar).

%% Ends cross.
stale_frames() ->
    Before = count(stale_streams),
    Edge = test_edge:up([], <<" stream=1">>),
    test_edge:request(test_edge:request(Edge, 9, <<"<a/>">>), 9, <<"-1000">>),
    {<<"pong a\n">>, Next} = test_edge:recv_control(test_edge:control(Edge, <<"credit 0000000000000009 5\nping a\n">>)),
    ?assertEqual(Before + 3, count(stale_streams)),
    test_edge:close(Next).

an_id_again() ->
    {Edge, First} = opened(),
    test_edge:request(Edge, ?ID, <<"-1000">>),
    {Second, Up} = open(?ID, Edge),
    ended(First, closed),
    %% What the first one still does is nothing to the second.
    test_edge:pid(Up) ! {close, ?ID, 1},
    {?ID, <<"<echo xmlns='jabber:client'/>">>, Next} = test_edge:recv(test_edge:request(Up, ?ID, <<"<echo/>">>)),
    told(test_edge:request(Next, ?ID, <<"+::1 ws">>), <<"this id is live">>, duplicate),
    ended(Second, closed).

drained() ->
    {Edge, _} = opened(),
    test_edge:control(Edge, <<"drain\nrelease all\n">>),
    {?ID, <<"<echo xmlns='jabber:client'/>">>, Next} = test_edge:recv(test_edge:request(Edge, ?ID, <<"<echo/>">>)),
    test_edge:close(Next).

drops_are_counted() ->
    Before = [count(C) || C <- [streams_opened, messages_in, messages_out]],
    {Edge, _} = opened(),
    {?ID, _, Next} = test_edge:recv(test_edge:request(Edge, ?ID, <<"<echo/>">>)),
    ?assertEqual([1, 1, 1], [count(C) - B || {C, B} <- lists:zip([streams_opened, messages_in, messages_out], Before)]),
    test_edge:close(Next).

%%% Helpers

opened() -> opened(<<" stream=1">>).
opened(Extra) ->
    {Stream, Edge} = open(?ID, test_edge:up([], Extra)),
    {Edge, Stream}.

open(Id, Edge) ->
    test_edge:request(Edge, Id, <<"+192.0.2.1 ws host=one.example path=/xmpp-websocket origin=https://one.example">>),
    {Id, <<"+">>, Up} = test_edge:recv(Edge),
    {Stream, Id} = started(),
    {Stream, Up}.

started() -> receive {stream, Stream, Id, _} -> {Stream, Id} after 10000 -> error(not_started) end.

ended(Stream, Why) -> receive {ended, Stream, Why} -> ok after 10000 -> error({alive, Stream}) end.

event(Stream, Event) -> receive {event, Stream, Event} -> ok after 10000 -> error({no_event, Event}) end.

told(Edge, Why, Fault) -> mod_megaphone_link_tests:told(Edge, Why, Fault).

count(Counter) -> mod_megaphone_link_tests:count(Counter).
