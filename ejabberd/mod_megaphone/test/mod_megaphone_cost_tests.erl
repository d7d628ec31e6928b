%%% What log-ins cost, in reductions: they count the work, however busy the machine is.
-module(mod_megaphone_cost_tests).
-include_lib("eunit/include/eunit.hrl").

-define(NS, "http://jabber.org/protocol/httpbind").
-define(FEW, 2000).
-define(MANY, 20000).
-define(SAMPLE, 500).

%% A session that is opened, and polls, costs a shard that has many as much as one that has few.
many_sessions_test_() ->
    {timeout, 60, fun() ->
                          {ok, Shard} = mod_megaphone_shard:start_link(mod_megaphone_shard:name(0)),
                          Stream = spawn_link(fun sink/0),
                          log_in(Shard, Stream, 1, ?FEW),
                          Few = cost(Shard, Stream, ?FEW + 1),
                          log_in(Shard, Stream, ?FEW + ?SAMPLE + 1, ?MANY),
                          Many = cost(Shard, Stream, ?MANY + 1),
                          #{sessions := Sessions} = mod_megaphone_shard:info(Shard),
                          unlink(Stream),
                          exit(Stream, kill),
                          gen_server:stop(Shard),
                          ?assertEqual(?MANY + ?SAMPLE, Sessions),
                          ?assert(5 * Many =< 6 * Few, {Few, Many})
                  end}.

sink() -> receive _ -> sink() end.

cost(Shard, Stream, First) ->
    _ = mod_megaphone_shard:info(Shard),            % all that came before is done
    {_, Before} = process_info(Shard, reductions),
    log_in(Shard, Stream, First, First + ?SAMPLE - 1),
    _ = mod_megaphone_shard:info(Shard),
    {_, After} = process_info(Shard, reductions),
    (After - Before) div ?SAMPLE.

log_in(Shard, Stream, First, Last) ->
    lists:foreach(fun(N) -> log_in(Shard, Stream, N) end, lists:seq(First, Last)).

log_in(Shard, Stream, N) ->
    Sid = integer_to_binary(N),
    {ok, Request} = mod_megaphone_wrapper:parse(<<"<body rid='1' xmlns='" ?NS "'/>">>),
    Session = mod_megaphone_session:new(
                #{sid => Sid, c2s => Stream, host => <<"one.example">>, rid => 1, wait => 60, hold => 1,
                  inactivity => 30, max_pause => 120, max_concat => unlimited, acks => false, legacy => false,
                  creation => creation(Sid), stream => {<<"1.0">>}},
                #{now => mod_megaphone_shard:now(), up => #{}}),
    mod_megaphone_shard:create(Shard, Session, Request, 50, {self(), 1, N}),
    [mod_megaphone_shard:output(Shard, Sid, Item) || Item <- greeting()],
    receive {answer, 1, N, 200, Body} -> ?assertNotEqual(nomatch, binary:match(Body, Sid)) end,
    mod_megaphone_shard:poll(Shard, {self(), 2, N}, Sid, 2).

creation(Sid) ->
    [{<<"sid">>, Sid}, {<<"wait">>, <<"60">>}, {<<"ver">>, <<"1.11">>}, {<<"polling">>, <<"2">>},
     {<<"inactivity">>, <<"30">>}, {<<"hold">>, <<"1">>}, {<<"xmpp:restartlogic">>, <<"true">>},
     {<<"requests">>, <<"2">>}, {<<"secure">>, <<"true">>}, {<<"maxpause">>, <<"120">>},
     {<<"xmlns:xmpp">>, <<"urn:xmpp:xbosh">>}, {<<"xmlns:stream">>, <<"http://etherx.jabber.org/streams">>},
     {<<"from">>, <<"one.example">>}].

greeting() -> [{start, <<"14475996158778817030">>, <<"1.0">>}, {features, <<"<stream:features/>">>}].

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
