%%% What clients can make up: bodies of any bytes, and requests in any order at any time. Each run has a seed of its
%%% own, which a failure names; MEGAPHONE_SEED plays it again.
-module(mod_megaphone_fuzz_tests).
-include_lib("eunit/include/eunit.hrl").

-compile([export_all, nowarn_export_all]).

-define(RUNS, 20000).
-define(NS, "http://jabber.org/protocol/httpbind").

bodies_test_() -> seeded(fun body/0, ?RUNS).
sequences_test_() -> seeded(fun sequence/0, ?RUNS div 20).

seeded(Test, Runs) ->
    {timeout, 120,
     fun() ->
             Seed = case os:getenv("MEGAPHONE_SEED") of
                        false -> erlang:phash2(make_ref());
                        Text -> list_to_integer(Text)
                    end,
             rand:seed(exsss, Seed),
             [try Test() catch Class:Reason:Stack -> erlang:raise(Class, {seed, Seed, run, N, Reason}, Stack) end
              || N <- lists:seq(1, Runs)]
     end}.

%%% Bodies

%% What the scan takes for a poll is one to the XML parser too, and the other way round where nothing is odd. Neither
%% parser fails in another way than by saying so.
body() ->
    Body = mutated(rand:uniform(3) - 1, body_of(rand:uniform(6) - 1)),
    _ = mod_megaphone_body:session(Body),
    _ = mod_megaphone_body:is_terminate(Body),
    case {mod_megaphone_body:request(Body), mod_megaphone_wrapper:parse(Body)} of
        {{poll, Sid, Rid}, {ok, Request}} ->
            ?assertEqual({Body, Rid}, {Body, mod_megaphone_wrapper:rid(Request)}),
            is_plain(Sid) andalso ?assertEqual({Body, Sid}, {Body, mod_megaphone_wrapper:sid(Request)}),
            ?assertEqual({Body, true}, {Body, is_poll(Request)});
        {{poll, Sid, _}, error} -> ?assertNot(is_plain(Sid));   % no client has such a session
        {_, {ok, Request}} ->
            _ = [mod_megaphone_wrapper:creation(Request), mod_megaphone_wrapper:keys(Request),
                 mod_megaphone_wrapper:ack(Request)],
            ok;
        {_, error} -> ok
    end,
    same_session(mod_megaphone_body:request(Body), mod_megaphone_body:session(Body)).

%% Both scans find the same session.
same_session({poll, Sid, Rid}, Session) -> ?assertEqual({Sid, Rid}, Session);
same_session({request, Sid}, Session) -> ?assertEqual(Sid, element(1, Session));
same_session(none, Session) -> ?assertEqual(none, element(1, Session)).

is_plain(Sid) -> lists:all(fun(C) -> C > $\s andalso C < 127 andalso not lists:member(C, "&<'\"") end,
                           binary_to_list(Sid)).

is_poll(Request) ->
    mod_megaphone_wrapper:payloads(Request) =:= [] andalso mod_megaphone_wrapper:ends(Request) =:= none
        andalso mod_megaphone_wrapper:restart(Request) =:= none andalso mod_megaphone_wrapper:ack(Request) =:= none
        andalso mod_megaphone_wrapper:keys(Request) =:= {none, none}.

body_of(Attributes) ->
    iolist_to_binary(["<body", [[some([" ", "  ", "\n", "\t\r", ""]), attribute()] || _ <- lists:seq(1, Attributes)],
                      some(["", " ", "\n"]), some(["/>", "></body>", "><a/></body>", ">x</body>", ">", "/> ", "/>x"])]).

attribute() ->
    Quote = some(["'", "\""]),
    [some(["sid", "rid", "rid", "sid", "xmlns", "key", "ack", "pause", "type", "wait", "to", "xmpp:restart",
           "xml:lang"]), "=", Quote,
     some(["x", "1", "17", "9007199254740991", "9007199254740992", "99999999999999999", "-1", "+1", "", " 1", ?NS,
           "a&amp;b", "a<b", "terminate", "true", <<"ä"/utf8>>, <<255>>]), Quote].

mutated(0, Body) -> Body;
mutated(N, <<>>) -> mutated(N - 1, <<"<">>);
mutated(N, Body) ->
    At = rand:uniform(byte_size(Body)) - 1,
    <<Before:At/binary, C, After/binary>> = Body,
    mutated(N - 1, some([<<Before/binary, After/binary>>, <<Before/binary, (rand:uniform(256) - 1), After/binary>>,
                         <<Before/binary, C, C, After/binary>>, Before,
                         <<Before/binary, (some([$<, $>, $/, $', $&, $\s, $=])), C, After/binary>>])).

some(List) -> lists:nth(rand:uniform(length(List)), List).

%%% Sequences, in the world of mod_megaphone_session_tests, which refuses two replies to one place.

-define(MAX_QUEUED, 300).
-define(MAX_BYTES, 40000).

%% Whatever happens: the session ends when its client stays away; each request is answered once, unless its client or
%% its link has gone; and what the session keeps is bounded.
sequence() ->
    Keys = mod_megaphone_session_tests:keys(200),
    Keyed = rand:uniform(4) =:= 1,
    Options = #{acks => some([true, false]), legacy => some([true, false]), hold => some([0, 1]),
                wait => some([0, 5, 60]), max_concat => some([1, 2, unlimited])},
    W = mod_megaphone_session_tests:created(Options, [["newkey='", lists:last(Keys), "'"] || Keyed]),
    Unused = case Keyed of true -> tl(lists:reverse(Keys)); false -> [] end,
    steps(rand:uniform(80), #{w => W, rid => 1, keys => Unused, quiet => #{}}).

%% quiet: the places that need no answer.
steps(0, #{w := W} = C) ->
    Over = mod_megaphone_session_tests:pass(2000, W),
    ?assert(mod_megaphone_session_tests:is_over(Over)),
    all_answered(C#{w := Over});
steps(N, #{w := W} = C) ->
    case mod_megaphone_session_tests:is_over(W) of
        true -> all_answered(C);
        false ->
            #{w := Next} = Stepped = step(rand:uniform(12), C),
            ?assert(mod_megaphone_session_tests:bytes(Next) < ?MAX_BYTES),
            steps(N - 1, Stepped)
    end.

all_answered(#{w := W, quiet := Quiet}) ->
    ?assertEqual([], mod_megaphone_session_tests:unanswered(W) -- maps:keys(Quiet)).

step(X, #{w := W} = C) when X =< 2 ->
    Text = binary:copy(<<"a">>, rand:uniform(100)),
    C#{w := mod_megaphone_session_tests:out(
              some([{stanza, Text}, {stanza, Text}, {features, <<"<f/>">>}, {start, <<"s">>, <<"1.0">>},
                    {start, <<"s">>, <<>>} | [some([stream_end, {error, <<"<e/>">>}]) || rand:uniform(9) =:= 1]]),
              ?MAX_QUEUED, W)};
step(3, #{w := W} = C) -> C#{w := mod_megaphone_session_tests:pass_ticks(some([1, 10, 50, 200, 700]), W)};
step(4, C) -> gone(C);
step(5, #{w := W} = C) -> C#{w := mod_megaphone_session_tests:all_passed(W)};
step(6, #{w := W} = C) ->
    case rand:uniform(5) of
        1 -> C#{w := mod_megaphone_session_tests:closed(W)};
        2 -> C#{w := mod_megaphone_session_tests:released(some(mod_megaphone_session_tests:all_ids(W)), W)};
        3 -> C#{w := mod_megaphone_session_tests:with_another_link(W)};
        4 -> link_ends(C);
        5 -> C#{w := mod_megaphone_session_tests:poll(near(C), W)}
    end;
step(_, #{w := W, keys := Keys} = C) ->
    Rid = near(C),
    Key = case {Rid =:= map_get(rid, C) + 1, Keys} of
              {true, [K | _]} -> ["key='", K, "' "];
              _ -> some([[], ["key='", lists:duplicate(40, $a), "' "]])
          end,
    Attributes = [Key | some([[], [], [], "ack='1'", "ack='5'", "pause='3'", "pause='999'", "type='terminate'",
                              "xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'", "newkey='x'", "xmlns:x='y'"])],
    Next = mod_megaphone_session_tests:request(Rid, Attributes, some([<<>>, <<"<a/>">>, <<"<a/><b/>">>]), W),
    case Rid =:= map_get(rid, C) + 1 of
        true -> C#{w := Next, rid := Rid, keys := case Keys of [] -> []; _ -> tl(Keys) end};
        false -> C#{w := Next}
    end.

%% Usually the next one.
near(#{rid := Rid}) -> max(0, Rid + some([1, 1, 1, 1, 1, 1, 2, 2, 0, 0, -1, -2, 3, 4])).

gone(#{w := W, quiet := Quiet} = C) ->
    Id = some(mod_megaphone_session_tests:all_ids(W)),
    C#{w := mod_megaphone_session_tests:gone(Id, W), quiet := Quiet#{Id => []}}.

link_ends(#{w := W, quiet := Quiet} = C) ->
    {Ids, Next} = mod_megaphone_session_tests:some_link_ends(W),
    C#{w := Next, quiet := maps:merge(Quiet, maps:from_keys(Ids, []))}.
