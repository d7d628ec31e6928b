%%% One session as a value: what BOSH demands of it, row by row of BOSH.md, and in random order.
-module(mod_megaphone_session_tests).
-include_lib("eunit/include/eunit.hrl").

-compile([export_all, nowarn_export_all]).

-define(EMPTY, <<"<body xmlns='http://jabber.org/protocol/httpbind'/>">>).
-define(AGAIN, <<"<body xmlns='http://jabber.org/protocol/httpbind' type='error'/>">>).

%% A session with what surrounds it: the replies given, by id, and what its stream got, oldest first.
-record(world, {s, now = 10000, up, id = 0, replies = #{}, stream = [], asked = [], bounced = [], pauses = [],
                ended = false}).

%%% Payloads

the_creation_waits_for_the_features_test() ->
    W0 = created(),
    ?assertEqual(#{}, W0#world.replies),
    [{xmlstreamstart, _, Attributes}] = W0#world.stream,
    ?assertEqual(<<"example.org">>, proplists:get_value(<<"to">>, Attributes)),
    W1 = out({start, <<"s1">>, <<"1.0">>}, W0),
    ?assertEqual(#{}, W1#world.replies),
    W2 = out({features, <<"<stream:features/>">>}, W1),
    {200, Body} = map_get(1, W2#world.replies),
    [?assertNotEqual({nomatch, Part}, {binary:match(Body, Part), Part})
     || Part <- [<<"sid='x'">>, <<"authid='s1'">>, <<"xmpp:version='1.0'">>, <<"<stream:features/></body>">>]].

%% A client from before XMPP 1.0 gets no features, and so no wait for them.
an_old_stream_is_said_at_once_test() ->
    W = out({start, <<"s1">>, <<>>}, created()),
    ?assertMatch({200, _}, map_get(1, W#world.replies)).

payloads_reach_the_stream_in_the_order_of_rids_test() ->
    W0 = open(),
    W1 = request(3, <<"<b/>">>, W0),
    ?assertEqual([], sent(W1)),
    W2 = request(2, <<"<a/>">>, W1),
    ?assertEqual([<<"a">>, <<"b">>], sent(W2)),
    ?assertEqual([2, 3], ids(W2)),
    ?assertEqual({200, ?EMPTY}, reply(3, W2)).        % id 3 is rid 2: hold is 1

a_request_is_held_until_there_is_something_to_say_test() ->
    W1 = poll(2, open()),
    ?assertEqual(none, reply(2, W1)),
    W2 = stanza(<<"<m/>">>, W1),
    ?assertEqual({200, with(<<"<m/>">>)}, reply(2, W2)),
    W3 = stanza(<<"<o/>">>, stanza(<<"<n/>">>, W2)),  % none is held
    ?assertEqual({200, with(<<"<n/><o/>">>)}, reply(3, poll(3, W3))).

never_past_wait_test() ->
    W1 = poll(2, open()),
    ?assertEqual(none, reply(2, pass(59, W1))),
    ?assertEqual({200, ?EMPTY}, reply(2, pass(60, W1))).

a_new_request_releases_the_oldest_test() ->
    W = lists:foldl(fun poll/2, open(), [2, 3, 4]),
    ?assertEqual([{200, ?EMPTY}, {200, ?EMPTY}, none], [reply(Id, W) || Id <- [2, 3, 4]]).

at_most_max_concat_payloads_go_out_together_test() ->
    W0 = lists:foldl(fun stanza/2, open(#{max_concat => 2}), [<<"<a/>">>, <<"<b/>">>, <<"<c/>">>]),
    W1 = poll(2, W0),
    ?assertEqual({200, with(<<"<a/><b/>">>)}, reply(2, W1)),
    ?assertEqual({200, with(<<"<c/>">>)}, reply(3, poll(3, W1))).

%%% Windows and repeats

beyond_the_window_test() ->
    W = poll(5, poll(2, open())),
    ?assertEqual({200, terminal('item-not-found')}, reply(3, W)),
    ?assertEqual({200, terminal('other-request')}, reply(2, W)),
    ?assert(W#world.ended).

old_clients_get_statuses_test() ->
    W = poll(5, poll(2, open(#{legacy => true}))),
    ?assertEqual({404, <<>>}, reply(3, W)).

an_answered_request_gets_the_same_reply_test() ->
    W1 = stanza(<<"<m/>">>, poll(2, open())),
    W2 = poll(2, W1),
    ?assertEqual(reply(2, W1), reply(3, W2)),
    ?assertEqual([], sent(request(2, <<"<again/>">>, W2))),
    W3 = lists:foldl(fun(Rid, W) -> stanza(<<"<m/>">>, poll(Rid, W)) end, W2, [3, 4, 5]),
    ?assertEqual({200, terminal('item-not-found')}, reply(7, poll(2, W3))).

a_held_request_moves_to_the_newest_test() ->
    W1 = poll(2, poll(2, open())),
    ?assertEqual([{200, ?AGAIN}, none], [reply(Id, W1) || Id <- [2, 3]]),
    ?assertEqual({200, with(<<"<m/>">>)}, reply(3, stanza(<<"<m/>">>, W1))).

one_that_repeats_for_ever_test() ->
    W = lists:foldl(fun(_, W) -> poll(2, W) end, poll(2, open()), lists:seq(1, 101)),
    ?assert(W#world.ended).

%% The answer for a client that has hung up waits for it.
gone_test() ->
    W1 = stanza(<<"<m/>">>, gone(2, poll(2, open()))),
    ?assertEqual(none, reply(2, W1)),
    ?assertEqual({200, with(<<"<m/>">>)}, reply(3, poll(2, W1))).

%% A link that ends is as if all its clients had hung up.
a_link_that_ends_test() ->
    [A, B] = [link() || _ <- [1, 2]],
    W1 = down(A, poll(2, A, with_links([A, B], open()))),
    W2 = stanza(<<"<m/>">>, W1),
    ?assertEqual({200, with(<<"<m/>">>)}, reply(3, poll(2, B, W2))).

%% They have the same time to come back as after any other end of their connections. Until then the session is as ever.
the_clients_of_a_lost_link_have_time_test() ->
    [A, B] = [link() || _ <- [1, 2]],
    W1 = down(A, pass(50, poll(2, A, with_links([A, B], open())))),
    W2 = pass(29, stanza(<<"<m/>">>, W1)),
    ?assertNot(W2#world.ended),
    ?assertEqual({200, with(<<"<m/>">>)}, reply(3, poll(2, B, W2))),
    ?assertNot((pass(30, W1))#world.ended),
    [?assert((pass(Seconds, W))#world.ended) || {Seconds, W} <- [{1, W2}, {40, W1}]],
    Held = poll(3, B, poll(2, B, W2)),
    ?assertEqual({200, ?EMPTY}, reply(4, pass(60, Held))).

%% It is asked for again at its time, because the requests before it may never come.
an_early_request_of_one_that_does_not_wait_test() ->
    W = request(3, <<"<early/>">>, open(#{wait => 0})),
    ?assertEqual({200, ?AGAIN}, reply(2, pass_ticks(1, W))),
    ?assert((pass(30, gone(2, W)))#world.ended).

%% A link that does not say that it has passed, and a client that has gone meanwhile.
a_link_that_does_not_pass_test() ->
    [A, B] = [link() || _ <- [1, 2]],
    W1 = stanza(<<"<m/>">>, poll(2, A, with_links([A, B], open()))),
    W2 = gone(3, stanza(<<"<n/>">>, poll(3, B, W1))),
    ?assertMatch([{A, _}], W2#world.asked),
    ?assert((pass(30, W2))#world.ended),
    ?assertEqual({200, with(<<"<n/>">>)}, reply(4, poll(3, B, pass(6, W2)))).

%%% Inactivity and pause

inactivity_test() ->
    W1 = stanza(<<"<m/>">>, open()),
    ?assertNot((pass(29, W1))#world.ended),
    W2 = pass(30, W1),
    ?assert(W2#world.ended),
    ?assertEqual([<<"<m/>">>], W2#world.bounced),
    ?assertEqual(closed, lists:last(W2#world.stream)).

pause_test() ->
    W1 = request(3, <<"pause='100'">>, <<>>, poll(2, open())),
    ?assertEqual([{200, ?EMPTY}, {200, ?EMPTY}], [reply(Id, W1) || Id <- [2, 3]]),
    ?assertNot((pass(99, W1))#world.ended),
    ?assert((pass(100, W1))#world.ended),
    ?assert((pass(30, stanza(<<"<m/>">>, poll(4, W1))))#world.ended),      % the next request ends the pause
    Long = request(3, <<"pause='121'">>, <<>>, poll(2, open())),
    ?assertEqual({200, terminal('policy-violation')}, reply(3, Long)).

%%% Ends

the_client_ends_it_test() ->
    W = request(3, <<"type='terminate'">>, <<"<bye/>">>, poll(2, open())),
    ?assertEqual([<<"bye">>], sent(W)),
    ?assert(lists:member({xmlstreamend, <<"stream:stream">>}, W#world.stream)),
    ?assertEqual({200, <<"<body xmlns='http://jabber.org/protocol/httpbind' type='terminate'/>">>}, reply(2, W)),
    ?assertEqual({200, ?EMPTY}, reply(3, W)),
    ?assert(W#world.ended).

the_stream_ends_with_an_error_test() ->
    Error = <<"<stream:error><conflict/></stream:error>">>,
    W = out({error, Error}, poll(2, open())),
    {200, Body} = reply(2, W),
    [?assertNotEqual({nomatch, Part}, {binary:match(Body, Part), Part})
     || Part <- [<<"type='terminate'">>, <<"condition='remote-stream-error'">>, Error]],
    ?assert(W#world.ended).

%% A client that is between two requests learns of the end with the next one; its stanzas are routed again at once.
the_stream_ends_meanwhile_test() ->
    W1 = closed(out(stream_end, out({error, <<"<stream:error/>">>}, stanza(<<"<m/>">>, open())))),
    ?assertNot(W1#world.ended),
    ?assertEqual([<<"<m/>">>], W1#world.bounced),
    W2 = poll(2, W1),
    {200, Body} = reply(2, W2),
    ?assertNotEqual(nomatch, binary:match(Body, <<"<stream:error/></body>">>)),
    ?assertEqual(nomatch, binary:match(Body, <<"<m/>">>)),
    ?assert(W2#world.ended),
    ?assert((pass(30, W1))#world.ended).

%% One that has come too early as well.
the_stream_ends_under_an_early_request_test() ->
    W = poll(4, closed(request(3, <<"<early/>">>, open()))),
    {200, Body} = reply(2, W),
    ?assertNotEqual(nomatch, binary:match(Body, <<"type='terminate'">>)),
    ?assert(W#world.ended),
    ?assertEqual([], sent(W)).

%% The client of the request that is at fault has gone.
a_fault_that_nobody_hears_of_test() ->
    W = poll(2, gone(2, request(3, <<"pause='121'">>, <<>>, open()))),
    ?assert(W#world.ended),
    ?assertNot(is_map_key(2, W#world.replies)).

what_waits_is_bounded_test() ->
    W = many(20, pass(5, open())),
    ?assertEqual(20, length(W#world.bounced)),        % the stream continued before it heard of the end
    ?assertEqual(closed, lists:last(W#world.stream)),
    {200, Body} = reply(2, poll(2, W)),
    ?assertNotEqual(nomatch, binary:match(Body, <<"resource-constraint">>)).

%% A client that comes to fetch a lot gets it, in replies of a mebibyte.
a_burst_test() ->
    W1 = poll(4, poll(3, poll(2, many(20, pass(4, open()))))),
    ?assertEqual([], W1#world.bounced),
    ?assertEqual([10, 10, none], [case reply(Id, W1) of
                                      {200, Body} -> byte_size(Body) div 100000;
                                      none -> none
                                  end || Id <- [2, 3, 4]]),
    ?assertEqual([], (many(20, pass(20, W1)))#world.bounced),       % one is held
    W2 = many(200, open()),
    ?assertEqual(200, length(W2#world.bounced)),
    {200, Large} = reply(2, poll(2, stanza(binary:copy(<<"a">>, 3000000), open()))),
    ?assert(byte_size(Large) > 3000000).

many(N, W) ->
    Stanza = <<"<m>", (binary:copy(<<"a">>, 100000))/binary, "</m>">>,
    lists:foldl(fun(_, Acc) -> stanza(Stanza, Acc) end, W, lists:seq(1, N)).

%% Messages that return to the stream must find that it ends.
the_stream_hears_of_the_end_before_its_stanzas_come_back_test() ->
    W = open(),
    Env = env(W#world{now = W#world.now + 1000}),
    {Acts, _} = mod_megaphone_session:acts(
                  mod_megaphone_session:due((stanza(<<"<m/>">>, W))#world.s, Env)),
    ?assertMatch([{c2s, _, closed}, {bounce, _, [<<"<m/>">>]}, ended], Acts).

%% A stream's output after its end belongs to no client.
stanzas_after_the_end_test() ->
    W = stanza(<<"<n/>">>, out(stream_end, closed(open()))),
    ?assertEqual([<<"<n/>">>], W#world.bounced),
    {200, Body} = reply(2, poll(2, W)),
    ?assertEqual(nomatch, binary:match(Body, <<"<n/>">>)).

a_defect_ends_the_session_test() ->
    #world{s = S} = W = poll(2, open()),
    {Acts, _} = mod_megaphone_session:acts(mod_megaphone_session:broken({some_link(W), 9, 0}, S)),
    ?assertMatch([{answer, {_, 9, 0}, 200, _}, {answer, {_, 2, 0}, 200, _}, {c2s, _, closed}, ended], Acts).

a_new_stream_test() ->
    {ok, _} = application:ensure_all_started(stringprep),
    W = request(2, <<"xmpp:restart='true' to='other.example' xmlns:xmpp='urn:xmpp:xbosh'">>, <<"<not-sent/>">>, open()),
    {xmlstreamstart, _, Attributes} = lists:last(W#world.stream),
    ?assertEqual(<<"other.example">>, proplists:get_value(<<"to">>, Attributes)),
    ?assertEqual([], sent(W)).

%%% Keys, acks, polling

keys_test() ->
    [K1, K2, K3] = keys(3),
    W0 = open(#{}, ["newkey='", string:uppercase(K3), "'"]),
    W1 = request(2, ["key='", K2, "'"], <<>>, W0),
    ?assertEqual(none, reply(2, W1)),
    [N1, N2] = keys(2),
    W2 = request(3, ["key='", K1, "' newkey='", N2, "'"], <<>>, W1),
    ?assertEqual(none, reply(3, W2)),
    ?assertEqual(none, reply(4, request(4, ["key='", N1, "'"], <<>>, W2))),
    [?assertEqual({200, terminal('item-not-found')}, reply(4, request(4, Wrong, <<>>, W2)))
     || Wrong <- [<<>>, ["key='", N2, "'"], <<"key='x'">>]].

%% A request that comes again brings the key that it had, whether it is answered, held, or waits for its turn.
keys_of_repeats_test() ->
    [K1, K2, K3, K4] = keys(4),
    W0 = open(#{}, ["newkey='", K4, "'"]),
    Key = fun(K) -> ["key='", K, "'"] end,
    W1 = stanza(<<"<m/>">>, request(2, Key(K3), <<>>, W0)),
    W2 = request(4, Key(K1), <<>>, request(3, Key(K2), <<>>, W1)),
    ?assertEqual(reply(2, W1), reply(5, request(2, Key(string:uppercase(K3)), <<>>, W2))),
    ?assertEqual(none, reply(5, request(4, Key(K1), <<>>, W2))),
    Early = request(4, Key(K1), <<>>, W1),
    ?assertEqual(none, reply(4, request(4, Key(K1), <<>>, Early))),
    [?assertEqual({200, terminal('item-not-found')}, reply(Id, request(Rid, Wrong, <<>>, W)))
     || {Rid, Id, W} <- [{2, 5, W2}, {4, 5, W2}, {4, 4, Early}, {1, 3, W1}],
        Wrong <- [<<>>, Key(K4), Key(<<"x">>), ["newkey='", K1, "'"]]],
    Unkeyed = stanza(<<"<m/>">>, poll(2, open())),           % an unrequested key is ignored
    ?assertEqual(reply(2, Unkeyed), reply(3, request(2, Key(K1), <<>>, Unkeyed))).

acks_test() ->
    W0 = open(#{acks => true}),
    {200, Creation} = reply(1, W0),
    ?assertNotEqual(nomatch, binary:match(Creation, <<"ack='1'">>)),
    W1 = request(3, <<>>, stanza(<<"<m/>">>, poll(2, W0))),
    W2 = request(4, <<"ack='1'">>, <<>>, W1),        % it has missed the reply to 2
    {200, Report} = reply(3, W2),
    [?assertNotEqual({nomatch, Part}, {binary:match(Report, Part), Part})
     || Part <- [<<"report='2'">>, <<"time='">>, <<"ack='4'">>]].

polling_too_fast_test() ->
    W0 = open(#{hold => 0, wait => 0}),
    W1 = poll(2, pass(2, W0)),
    ?assertEqual({200, ?EMPTY}, reply(2, W1)),
    ?assertEqual({200, terminal('policy-violation')}, reply(3, poll(3, pass(1, W1)))),
    ?assertEqual({200, ?EMPTY}, reply(3, poll(3, pass(2, W1)))).

%% Those that say something are no polls, and one that got something may be followed at once.
polling_with_payload_test() ->
    [begin
         W1 = lists:foldl(fun(Rid, W) -> request(Rid, <<"<a/>">>, W) end, open(Options), [2, 3]),
         W2 = request(4, <<"xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'">>, <<>>, W1),
         ?assertEqual([{200, ?EMPTY}, {200, ?EMPTY}, {200, ?EMPTY}], [reply(Id, W2) || Id <- [2, 3, 4]]),
         W3 = poll(6, poll(5, stanza(<<"<m/>">>, W2))),
         ?assertEqual([{200, with(<<"<m/>">>)}, {200, ?EMPTY}], [reply(Id, W3) || Id <- [5, 6]]),
         ?assertEqual({200, terminal('policy-violation')}, reply(7, poll(7, W3)))
     end || Options <- [#{hold => 0}, #{wait => 0}]].

%% At most the time of other sessions.
a_polling_session_pauses_test() ->
    W = open(#{hold => 0, wait => 0}),
    Long = request(2, <<"pause='9999999999999999'">>, <<>>, W),
    ?assertEqual({200, terminal('policy-violation')}, reply(2, Long)),
    ?assert((pass(120, request(2, <<"pause='120'">>, <<>>, W)))#world.ended).

%% Requests beyond the rate wait, and continue in their order; polls do not count.
shaper_test() ->
    #world{s = S} = W0 = open(),
    W1 = W0#world{s = setelement(mod_megaphone_session:shaper_key(), S, p1_shaper:new(100))},
    W2 = sized(2, 5000, <<"<a/>">>, W1),
    [Pause] = W2#world.pauses,
    ?assert(Pause > 0),
    W3 = sized(3, 5000, <<"<b/>">>, W2),
    ?assertEqual([], sent(W3)),
    ?assertEqual([Pause], W3#world.pauses),
    W4 = unshaped(W3),
    ?assertEqual([<<"a">>, <<"b">>], sent(W4)),
    Idle = poll(3, poll(2, W1)),
    ?assertEqual([], Idle#world.pauses).

sized(Rid, Size, Payload, #world{s = S, id = Id} = W) ->
    {ok, Request} = mod_megaphone_wrapper:parse(
                      <<"<body rid='", (integer_to_binary(Rid))/binary, "'>", Payload/binary, "</body>">>),
    done(mod_megaphone_session:request(Request, Size, {some_link(W), Id + 1, 0}, S, env(W)), W#world{id = Id + 1}).

unshaped(#world{s = S} = W) -> done(mod_megaphone_session:unshaped(S, env(W)), W).

%%% Order between links

payload_waits_for_another_link_test() ->
    [A, B] = [link() || _ <- [1, 2]],
    W1 = stanza(<<"<m/>">>, poll(2, A, with_links([A, B], open()))),
    W2 = stanza(<<"<n/>">>, poll(3, B, W1)),
    ?assertEqual(none, reply(3, W2)),
    [{A, N}] = W2#world.asked,
    ?assertEqual({200, with(<<"<n/>">>)}, reply(3, passed(N, W2))),
    ?assertEqual({200, with(<<"<n/>">>)}, reply(3, stanza(<<"<n/>">>, poll(3, A, W1)))),     % the same link
    ?assertEqual({200, with(<<"<n/>">>)}, reply(3, pass(5, W2))),
    ?assertEqual({200, with(<<"<n/>">>)}, reply(3, passed(N, down(A, W2)))).

repeats_wait_as_well_test() ->
    [A, B, C] = [link() || _ <- [1, 2, 3]],
    W0 = with_links([A, B, C], open()),
    W1 = lists:foldl(fun(Rid, W) -> stanza(<<"<m/>">>, poll(Rid, C, W)) end, W0, [2, 3]),
    W2 = all_passed(poll(2, A, W1)),
    ?assertEqual({200, with(<<"<m/>">>)}, reply(4, W2)),
    W3 = poll(3, B, W2),
    ?assertEqual(none, reply(5, W3)),
    W4 = stanza(<<"<n/>">>, poll(4, B, W3)),
    ?assertEqual(none, reply(6, W4)),
    W5 = all_passed(W4),
    ?assertEqual([{200, with(<<"<m/>">>)}, {200, with(<<"<n/>">>)}], [reply(Id, W5) || Id <- [5, 6]]).

%% A client as Strophe.js is, over three links that take their time: what it gets comes in the order in which it was
%% sent, each once, whatever is lost on the way.
in_any_weather_test_() ->
    {timeout, 60,
     fun() ->
             Seed = erlang:phash2(make_ref()),
             rand:seed(exsss, Seed),
             lists:foreach(fun(_) -> ?assertEqual({Seed, ok}, {Seed, weather()}) end, lists:seq(1, 200))
     end}.

%%% Helpers

created() -> created(#{}, []).

created(Options, Attributes) ->
    Link = link(),
    Defaults = #{sid => <<"x">>, c2s => self(), host => <<"example.org">>, rid => 1, wait => 60, hold => 1,
                 inactivity => 30, max_pause => 120, max_concat => unlimited, legacy => false, acks => false,
                 creation => [{<<"sid">>, <<"x">>}], stream => {<<"1.0">>}},
    W = #world{up = #{Link => link}},
    S = mod_megaphone_session:new(maps:merge(Defaults, Options), env(W)),
    request(1, Attributes, <<>>, done(S, W)).

%% A session that is open, with its creation answered: rid 1 is id 1.
open() -> open(#{}).
open(Options) -> open(Options, []).
open(Options, Attributes) ->
    W = out({features, <<"<f/>">>}, out({start, <<"s">>, <<"1.0">>}, created(Options, Attributes))),
    W#world{stream = []}.

link() -> spawn(fun() -> receive stop -> ok end end).

env(#world{now = Now, up = Up}) -> #{now => Now, up => Up}.

request(Rid, Payload, W) -> request(Rid, [], Payload, W).
request(Rid, Attributes, Payload, W) -> request(Rid, Attributes, Payload, some_link(W), W).

request(Rid, Attributes, Payload, Link, #world{s = S, id = Id} = W) ->
    Body = iolist_to_binary(["<body rid='", integer_to_list(Rid), "' sid='x' ", Attributes,
                             " xmlns='http://jabber.org/protocol/httpbind'>", Payload, "</body>"]),
    {ok, Request} = mod_megaphone_wrapper:parse(Body),
    done(mod_megaphone_session:request(Request, 0, {Link, Id + 1, 0}, S, env(W)), W#world{id = Id + 1}).

poll(Rid, W) -> poll(Rid, some_link(W), W).
poll(Rid, Link, #world{s = S, id = Id} = W) ->
    done(mod_megaphone_session:poll(Rid, {Link, Id + 1, 0}, S, env(W)), W#world{id = Id + 1}).

some_link(#world{up = Up}) -> hd(maps:keys(Up)).

with_links(Links, W) -> W#world{up = maps:from_list([{L, link} || L <- Links])}.

down(Link, #world{up = Up} = W) -> W#world{up = maps:remove(Link, Up)}.

out(Item, W) -> out(Item, 1048576, W).
out(Item, Max, #world{s = S} = W) -> done(mod_megaphone_session:output(Item, Max, S, env(W)), W).
stanza(Stanza, W) -> out({stanza, Stanza}, W).
closed(#world{s = S} = W) -> done(mod_megaphone_session:closed(S, env(W)), W).

gone(Id, #world{s = S, up = Up} = W) ->
    lists:foldl(fun(Link, Acc) -> done(mod_megaphone_session:gone({Link, Id, 0}, Acc#world.s, env(Acc)), Acc) end,
                W#world{s = S}, maps:keys(Up)).

passed(N, #world{s = S} = W) -> done(mod_megaphone_session:passed(N, S, env(W)), W).

all_passed(#world{asked = Asked} = W) -> lists:foldl(fun({_, N}, Acc) -> passed(N, Acc) end, W, Asked).

released(Id, #world{s = S, up = Up} = W) ->
    lists:foldl(fun(Link, Acc) -> done(mod_megaphone_session:release({Link, Id, 0}, Acc#world.s, env(Acc)), Acc) end,
                W#world{s = S}, maps:keys(Up)).

is_over(#world{ended = Ended}) -> Ended.

all_ids(#world{id = Id}) -> lists:seq(1, Id).

unanswered(#world{replies = Replies} = W) -> [Id || Id <- all_ids(W), not is_map_key(Id, Replies)].

%% What the session keeps.
bytes(#world{s = S}) -> byte_size(term_to_binary(S)).

with_another_link(#world{up = Up} = W) when map_size(Up) < 4 -> W#world{up = Up#{link() => link}};
with_another_link(W) -> W.

%% One of the links ends. The ids are those of all requests so far: they may have come over it.
some_link_ends(#world{up = Up} = W) when map_size(Up) > 1 ->
    {all_ids(W), down(lists:nth(rand:uniform(map_size(Up)), maps:keys(Up)), W)};
some_link_ends(W) -> {[], W}.

%% Time passes, and the wheel turns.
pass(Seconds, W) -> pass_ticks(10 * Seconds, W).

pass_ticks(Ticks, #world{ended = true} = W) -> W#world{now = W#world.now + Ticks};
pass_ticks(Ticks, #world{s = S, now = Now} = W) ->
    case mod_megaphone_session:wake(S) of
        At when At =< Now + Ticks ->
            Later = W#world{now = At},
            Due = mod_megaphone_session:due(mod_megaphone_session:woken(S), env(Later)),
            pass_ticks(Now + Ticks - Later#world.now, done(Due, Later));
        _ -> W#world{now = Now + Ticks}
    end.

done(S0, W) ->
    {Acts, S} = mod_megaphone_session:acts(S0),
    Next = lists:foldl(fun act/2, W, Acts),
    {_, Armed} = mod_megaphone_session:armed(S, Next#world.now + 1, env(Next)),
    Next#world{s = Armed}.

act({answer, {_, Id, _}, Status, Body}, #world{replies = Replies} = W) ->
    ?assertNot(is_map_key(Id, Replies)),
    W#world{replies = Replies#{Id => {Status, case Body of empty -> ?EMPTY; _ -> Body end}}};
act({c2s, _, Event}, #world{stream = Stream} = W) -> W#world{stream = Stream ++ [Event]};
act({bounce, _, Stanzas}, #world{bounced = Bounced} = W) -> W#world{bounced = Bounced ++ Stanzas};
act({follow, Link, N}, #world{asked = Asked} = W) -> W#world{asked = Asked ++ [{Link, N}]};
act({unshape, Pause}, #world{pauses = Pauses} = W) -> W#world{pauses = [Pause | Pauses]};
act(ended, W) -> W#world{ended = true}.

reply(Id, #world{replies = Replies}) -> maps:get(Id, Replies, none).

ids(#world{id = Id}) -> lists:seq(2, Id).

sent(#world{stream = Stream}) -> [element(2, El) || {xmlstreamelement, El} <- Stream].

with(Payload) -> <<"<body xmlns='http://jabber.org/protocol/httpbind'>", Payload/binary, "</body>">>.

terminal(Condition) ->
    iolist_to_binary(["<body xmlns='http://jabber.org/protocol/httpbind' type='terminate' condition='",
                      atom_to_list(Condition), "'/>"]).

%% A sequence of keys, the first to be used last.
keys(N) ->
    lists:reverse(lists:foldl(fun(_, [Key | _] = Keys) -> [sha(Key) | Keys] end, [sha(<<"seed">>)], lists:seq(2, N))).

sha(Bytes) -> string:lowercase(binary:encode_hex(crypto:hash(sha, Bytes))).

%%% Weather

%% sent: messages so far. got: those that the client has, newest first. open: its requests, id => rid. links: what each
%% has on its way to the edge, oldest first.
weather() ->
    Links = [link() || _ <- [1, 2, 3]],
    W = with_links(Links, open()),
    OnTheirWay = maps:from_list([{L, []} || L <- Links]),
    weather(400, #{w => W, sent => 0, got => [], rid => 1, open => #{}, links => OnTheirWay}).

%% The client asked for a reply that is no longer kept: an empty one, which others have overtaken.
weather(_, #{w := #world{ended = true}, got := Got}) -> in_order(Got);
weather(0, C0) ->
    All = fun(_, Acc) -> lists:foldl(fun arrive/2, Acc, maps:keys(map_get(links, Acc))) end,
    C = lists:foldl(All, C0, lists:seq(1, 20)),
    #{got := Got} = C,
    ?assertNotEqual([], Got),
    in_order(Got);
weather(N, C) ->
    weather(N - 1, step(rand:uniform(12), C)).

in_order(Got) ->
    case lists:reverse(Got) =:= lists:seq(1, length(Got)) of
        true -> ok;
        false -> {disorder, lists:flatten(io_lib:format("~w", [lists:reverse(Got)]))}
    end.

step(X, #{w := W, sent := Sent} = C) when X =< 3 ->
    Stanza = iolist_to_binary(["<m>", integer_to_list(Sent + 1), "</m>"]),
    dispatch(stanza(Stanza, W), C#{sent := Sent + 1});
step(X, #{rid := Rid, open := Open} = C) when X =< 6, map_size(Open) < 2 ->
    ask(Rid + 1, C#{rid := Rid + 1});
step(7, #{w := W, open := Open} = C) ->         % both connections break
    case rand:uniform(4) of
        1 ->
            Gone = maps:fold(fun(Id, _, Acc) -> gone(Id, Acc) end, W, Open),
            lists:foldl(fun ask/2, dispatch(Gone, C#{open := #{}}), lists:sort(maps:values(Open)));
        _ -> C
    end;
step(8, #{w := W} = C) ->                       % far less than payload would wait for
    case rand:uniform(40) of
        1 -> dispatch(pass(1, W), C);
        _ -> C
    end;
step(_, #{links := Links} = C) ->
    arrive(lists:nth(rand:uniform(map_size(Links)), maps:keys(Links)), C).

ask(Rid, #{w := W, open := Open, links := Links} = C) ->
    Link = lists:nth(rand:uniform(map_size(Links)), maps:keys(Links)),
    Next = request(Rid, [], <<>>, Link, W),
    #world{id = Id} = Next,
    dispatch(Next, C#{open := Open#{Id => Rid}, where => (maps:get(where, C, #{}))#{Id => Link}}).

%% Puts what the session has said on the links.
dispatch(#world{replies = Replies, asked = Asked} = W, #{links := Links} = C) ->
    Where = maps:get(where, C, #{}),
    Said = maps:fold(fun(Id, {_, Body}, Acc) ->
                             case Where of
                                 #{Id := Link} -> Acc#{Link := map_get(Link, Acc) ++ [{reply, Id, Body}]};
                                 _ -> Acc
                             end
                     end, Links, Replies),
    All = lists:foldl(fun({Link, N}, Acc) -> Acc#{Link := map_get(Link, Acc) ++ [{ping, N}]} end, Said, Asked),
    C#{w := W#world{replies = #{}, asked = []}, links := All}.

%% The edge of a link takes one frame.
arrive(Link, #{links := Links, w := W, open := Open, got := Got} = C) ->
    case map_get(Link, Links) of
        [] -> C;
        [{ping, N} | Rest] -> dispatch(passed(N, W), C#{links := Links#{Link := Rest}});
        [{reply, Id, Body} | Rest] when is_map_key(Id, Open) ->
            {match, Numbers} = case re:run(Body, <<"<m>(\\d+)</m>">>, [global, {capture, [1], list}]) of
                                   nomatch -> {match, []};
                                   Match -> Match
                               end,
            C#{links := Links#{Link := Rest}, open := maps:remove(Id, Open),
               got := lists:reverse([list_to_integer(N) || [N] <- Numbers]) ++ Got};
        [_ | Rest] -> C#{links := Links#{Link := Rest}}
    end.
