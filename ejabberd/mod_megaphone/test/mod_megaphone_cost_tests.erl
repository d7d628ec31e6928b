%%% What log-ins, polls and messages cost, in reductions: they count the work, however busy the machine is.
-module(mod_megaphone_cost_tests).
-include_lib("eunit/include/eunit.hrl").

-define(NS, "http://jabber.org/protocol/httpbind").
-define(FEW, 2000).
-define(MANY, 20000).
-define(SAMPLE, 500).

%%% A shard

%% A session that is opened, and polls, costs a shard that has many as much as one that has few.
many_sessions_test_() ->
    on_a_shard(fun(Shard) ->
                       Few = cost(Shard, 1, ?FEW, fun log_in/2),
                       Many = cost(Shard, ?FEW + 1, ?MANY, fun log_in/2),
                       ?assertMatch(#{sessions := ?MANY}, mod_megaphone_shard:info(Shard)),
                       ?assert(5 * Many =< 6 * Few, {Few, Many})
               end).

%% The events of a log-in, in their order, and those that follow.
events_test_() ->
    on_a_shard(fun(Shard) ->
                       [?assert(Cost =< Most, {Event, Cost})
                        || {Event, Do, Most} <- events(),
                           Cost <- [cost(Shard, 1, ?SAMPLE, Do)]]
               end).

events() ->
    [{creation, fun open/2, 830},
     {authentication, fun(Shard, N) -> ask(Shard, N, 2, <<>>, <<"<auth xmlns='urn:x'>AA==</auth>">>),
                                       say(Shard, N, [{stanza, <<"<success/>">>}]),
                                       answered(N, 2)
                      end, 465},
     {restart, fun(Shard, N) -> ask(Shard, N, 3, <<"xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'">>, <<>>),
                                say(Shard, N, greeting()),
                                answered(N, 3)
               end, 680},
     {bind, fun(Shard, N) -> ask(Shard, N, 4, <<>>, <<"<iq type='set' id='1'><bind xmlns='urn:y'/></iq>">>),
                             say(Shard, N, [{stanza, <<"<iq type='result' id='1'/>">>}]),
                             answered(N, 4)
            end, 470},
     {poll, fun(Shard, N) -> mod_megaphone_shard:poll(Shard, place(5, N), sid(N), 5) end, 65},
     {message, fun(Shard, N) -> say(Shard, N, [{stanza, <<"<message/>">>}]), answered(N, 5) end, 195},
     {poll, fun(Shard, N) -> mod_megaphone_shard:poll(Shard, place(6, N), sid(N), 6) end, 65},
     {expiry, fun(Shard, N) -> mod_megaphone_shard:release(Shard, place(6, N), sid(N)), answered(N, 6) end, 130}].

%% A shard gives up the processor when it has nothing to do, or when its share of time is over: never for an event.
turns_test_() ->
    on_a_shard(fun(Shard) ->
                       erlang:trace(Shard, true, [running]),
                       lists:foreach(fun({_, Do, _}) -> cost(Shard, 1, ?SAMPLE, Do) end, events()),
                       erlang:trace(Shard, false, [running]),
                       ok = delivered(Shard),
                       Turns = stops([]),
                       ?assert(length(Turns) < ?SAMPLE, lists:usort(Turns))
               end).

%% Shards and links have heaps for the garbage of many events.
collections_test_() ->
    on_a_shard(fun(Shard) ->
                       erlang:trace(Shard, true, [garbage_collection]),
                       lists:foreach(fun({_, Do, _}) -> cost(Shard, 1, ?SAMPLE, Do) end, events()),
                       erlang:trace(Shard, false, [garbage_collection]),
                       ok = delivered(Shard),
                       Collections = collections(0),
                       ?assert(8 * Collections < 3 * ?SAMPLE, Collections)
               end).

collections(N) ->
    receive
        {trace, _, Event, _} when Event =:= gc_minor_end; Event =:= gc_major_end -> collections(N + 1);
        {trace, _, _, _} -> collections(N)
    after 0 -> N
    end.

delivered(Pid) ->
    Ref = erlang:trace_delivered(Pid),
    receive {trace_delivered, Pid, Ref} -> ok end.

%% The functions in which it stopped although there was more to do.
stops(Turns) ->
    receive
        {trace, _, out, {gen_server, loop, _}} -> stops(Turns);
        {trace, _, out, Function} -> stops([Function | Turns]);
        {trace, _, _, _} -> stops(Turns)
    after 0 -> Turns
    end.

on_a_shard(Test) ->
    {timeout, 60, fun() ->
                          {ok, Shard} = mod_megaphone_shard:start_link(mod_megaphone_shard:name(0)),
                          try Test(Shard)
                          after gen_server:stop(Shard)
                          end
                  end}.

%% What it costs a shard that Do is done for each number.
cost(Shard, First, Last, Do) ->
    _ = mod_megaphone_shard:info(Shard),            % all that came before is done
    {_, Before} = process_info(Shard, reductions),
    lists:foreach(fun(N) -> Do(Shard, N) end, lists:seq(First, Last)),
    _ = mod_megaphone_shard:info(Shard),
    {_, After} = process_info(Shard, reductions),
    (After - Before) div (Last - First + 1).

log_in(Shard, N) ->
    open(Shard, N),
    mod_megaphone_shard:poll(Shard, place(2, N), sid(N), 2).

open(Shard, N) ->
    Sid = sid(N),
    {ok, Request} = mod_megaphone_wrapper:parse(<<"<body rid='1' xmlns='" ?NS "'/>">>),
    Session = mod_megaphone_session:new(
                #{sid => Sid, c2s => stream(), host => <<"one.example">>, rid => 1, wait => 60, hold => 1,
                  inactivity => 30, max_pause => 120, max_concat => unlimited, acks => false, legacy => false,
                  creation => creation(Sid), stream => {<<"1.0">>}},
                #{now => mod_megaphone_shard:now(), up => #{}}),
    mod_megaphone_shard:create(Shard, Session, Request, 50, place(1, N)),
    say(Shard, N, greeting()),
    ?assertNotEqual(nomatch, binary:match(answered(N, 1), Sid)).

%% A stream that listens and says nothing. It ends with the test.
stream() ->
    case get(stream) of
        undefined -> put(stream, spawn_link(fun sink/0)), get(stream);
        Pid -> Pid
    end.

sink() -> receive _ -> sink() end.

ask(Shard, N, Rid, Attributes, Payload) ->
    Body = iolist_to_binary(["<body rid='", integer_to_list(Rid), "' xmlns='" ?NS "' sid='", sid(N), "' ", Attributes,
                             $>, Payload, "</body>"]),
    mod_megaphone_shard:request(Shard, place(Rid, N), sid(N), Body, infinity).

say(Shard, N, Items) -> lists:foreach(fun(Item) -> mod_megaphone_shard:output(Shard, sid(N), Item) end, Items).

answered(N, Rid) -> receive {answer, Rid, N, 200, Body} -> Body end.

place(Rid, N) -> {self(), Rid, N}.

sid(N) -> <<"AAAAAaaaaaaaaaaaaa", (integer_to_binary(1000000 + N))/binary>>.

creation(Sid) ->
    [{<<"sid">>, Sid}, {<<"wait">>, <<"60">>}, {<<"ver">>, <<"1.11">>}, {<<"polling">>, <<"2">>},
     {<<"inactivity">>, <<"30">>}, {<<"hold">>, <<"1">>}, {<<"xmpp:restartlogic">>, <<"true">>},
     {<<"requests">>, <<"2">>}, {<<"secure">>, <<"true">>}, {<<"maxpause">>, <<"120">>},
     {<<"xmlns:xmpp">>, <<"urn:xmpp:xbosh">>}, {<<"xmlns:stream">>, <<"http://etherx.jabber.org/streams">>},
     {<<"from">>, <<"one.example">>}].

greeting() -> [{start, <<"14475996158778817030">>, <<"1.0">>}, {features, <<"<stream:features/>">>}].

%%% A link

%% The process of a link reads a request, hands it over, and writes the answer. Everything else is for its stream.
link_events_test_() ->
    {timeout, 60, fun() ->
                          with_link(fun(Edge) ->
                                            [?assert(Cost =< Most, {Event, Cost})
                                             || {Event, Body, Most} <- link_events(),
                                                Cost <- [link_cost(Edge, Body)]]
                                    end)
                  end}.

link_events() ->
    [{poll, fun(N) -> ["<body rid='", integer_to_list(N), "' xmlns='" ?NS "' sid='", here(), "'/>"] end, 690},
     {request, fun(N) -> ["<body rid='", integer_to_list(N), "' xmlns='" ?NS "' sid='", here(), "'>",
                          "<message to='someone@one.example' type='chat'><body>hello</body></message></body>"]
               end, 690}].

%% This process is the shard. It has the id of a session as the engine makes them.
with_link(Test) ->
    Shard = mod_megaphone_shard:name(0),
    register(Shard, self()),
    Terms = [{{mod_megaphone_engine, shards}, {Shard}}, {{mod_megaphone_engine, here}, <<"here">>}],
    [persistent_term:put(Key, Value) || {Key, Value} <- Terms],
    {ok, Lobby} = mod_megaphone_lobby:start_link(),
    try Test(test_edge:up([{engine, megaphone}]))
    after
        gen_server:stop(Lobby),
        [persistent_term:erase(Key) || {Key, _} <- Terms],
        unregister(Shard)
    end.

here() -> <<"AherebbbbbbbbbbbbbbbbbbbB">>.

link_cost(Edge, Body) ->
    Link = test_edge:pid(Edge),
    _ = test_edge:info(Edge),
    {_, Before} = process_info(Link, reductions),
    lists:foreach(fun(N) ->
                          test_edge:request(Edge, N, ["127.0.0.1 ", Body(N)]),
                          Link ! {answer, N, numbered(), 200, <<"<body xmlns='" ?NS "'/>">>},
                          {N, _, _} = test_edge:recv(Edge)
                  end, lists:seq(1, ?SAMPLE)),
    _ = test_edge:info(Edge),
    {_, After} = process_info(Link, reductions),
    (After - Before) div ?SAMPLE.

%% The link's number of the request that has come.
numbered() ->
    receive
        {poll, {_, _, Number}, _, _} -> Number;
        {request, {_, _, Number}, _, _, _} -> Number
    end.

%% The reply to a creation has some 300 bytes of attributes: they are not each built anew.
a_reply_is_written_in_few_reductions_test() ->
    Attributes = creation(<<"DSt10GJlb7n070BnpVtsC5Cub">>),
    Self = self(),
    spawn_link(fun() ->
                       mod_megaphone_wrapper:body(Attributes, greeting()),     % the code is loaded
                       {_, Before} = process_info(self(), reductions),
                       lists:foreach(fun(_) -> mod_megaphone_wrapper:body(Attributes, greeting()) end,
                                     lists:seq(1, ?SAMPLE)),
                       {_, After} = process_info(self(), reductions),
                       Self ! {cost, (After - Before) div ?SAMPLE}
               end),
    Cost = receive {cost, N} -> N end,
    ?assert(Cost =< 450, Cost).

%% Values are escaped as by ejabberd's XML library, and names are written once.
attributes_test() ->
    [?assertEqual(iolist_to_binary(["<body xmlns='" ?NS "' a='", fxml:crypt(<<"x", C, "y">>), "'/>"]),
                  element(1, mod_megaphone_wrapper:body([{<<"a">>, <<"x", C, "y">>}], [])), C)
     || C <- lists:seq(1, 127)],
    ?assertEqual({<<"<body xmlns='" ?NS "' a='1' b='2'/>">>, false},
                 mod_megaphone_wrapper:body([{<<"a">>, <<"1">>}, {<<"b">>, <<"2">>}, {<<"a">>, <<"3">>}], [])).
