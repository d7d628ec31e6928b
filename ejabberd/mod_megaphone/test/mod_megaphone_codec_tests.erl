%%% The codec against the vectors that all implementations of the link protocol share:
%%% codec/frame/testdata/frames.json.
-module(mod_megaphone_codec_tests).
-include_lib("eunit/include/eunit.hrl").

vectors() ->
    {ok, Text} = file:read_file(os:getenv("MEGAPHONE_VECTORS")),
    %% Newer ejabberds have no jiffy, and newer Erlangs have json.
    case code:ensure_loaded(json) of
        {module, json} -> json:decode(Text);
        {error, _} -> jiffy:decode(Text, [return_maps])
    end.

%% A test for each vector of a section, named after it.
section(Name, Least, Check) ->
    #{Name := Vectors} = vectors(),
    [?_assert(length(Vectors) >= Least) |
     [{unicode:characters_to_list([Name, ": ", maps:get(<<"name">>, V, <<>>)]), fun() -> Check(V) end}
      || V <- Vectors]].

frames_test_() ->
    section(<<"frames">>, 30, fun(#{<<"hex">> := Hex, <<"max">> := Max0} = V) ->
        Bytes = bytes(Hex),
        Max = case Max0 of 0 -> 16777216; _ -> Max0 end,
        case {V, mod_megaphone_codec:parse_frame(Bytes, Max)} of
            {#{<<"outcome">> := <<"frame">>, <<"id">> := Id, <<"contents">> := Contents, <<"bytes">> := N}, Got} ->
                <<Frame:N/binary, Rest/binary>> = Bytes,
                ?assertEqual({ok, id(Id), bytes(Contents), Rest}, Got),
                ?assertEqual(Frame, iolist_to_binary(mod_megaphone_codec:frame(id(Id), bytes(Contents)))),
                %% Every beginning of it is incomplete, and says how much more it takes: not more than there is.
                [begin
                     {more, Need} = mod_megaphone_codec:parse_frame(binary:part(Frame, 0, K), Max),
                     ?assert(Need > K andalso Need =< N)
                 end || K <- lists:seq(0, N - 1)];
            {#{<<"outcome">> := <<"incomplete">>, <<"need">> := Need}, Got} ->
                ?assertEqual({more, Need}, Got);
            {#{<<"outcome">> := <<"error">>, <<"error">> := Error}, Got} ->
                ?assertEqual({error, reason(Error)}, Got)
        end
    end).

requests_test_() ->
    section(<<"requests">>, 10, fun(#{<<"contents">> := Contents} = V) ->
        ?assertEqual(case V of
                         #{<<"error">> := Error} -> {error, reason(Error)};
                         #{<<"address">> := null, <<"body">> := Body} -> {ok, undefined, <<>>, bytes(Body)};
                         #{<<"address">> := Address, <<"body">> := Body} ->
                             {ok, Address, maps:get(<<"query">>, V, <<>>), bytes(Body)}
                     end,
                     mod_megaphone_codec:parse_request(bytes(Contents)))
    end).

%% This end only writes replies: those whose status may be left out are written without.
replies_test_() ->
    section(<<"replies">>, 10, fun
        (#{<<"status">> := Status, <<"body">> := Body, <<"contents">> := Contents}) ->
            {ok, 7, Wrote, <<>>} = mod_megaphone_codec:parse_frame(
                                     iolist_to_binary(mod_megaphone_codec:reply(7, Status, bytes(Body))), 16777216),
            ?assert(Wrote =:= bytes(Contents) orelse Status =:= 200 andalso Wrote =:= bytes(Body));
        (#{<<"error">> := _}) -> ok
    end).

a_reply_that_is_no_body_has_a_status_test() ->
    Frame = iolist_to_binary(mod_megaphone_codec:reply(1, 200, <<"hello">>)),
    ?assertEqual(<<"00000009|0000000000000001|200 hello">>, Frame).

lines_test_() ->
    section(<<"lines">>, 10, fun(#{<<"contents">> := Contents, <<"lines">> := Lines} = V) ->
        Want = [{Verb, case Args of null -> undefined; _ -> Args end}
                || #{<<"verb">> := Verb, <<"args">> := Args} <- Lines],
        End = case V of #{<<"error">> := Error} -> {error, reason(Error)}; _ -> none end,
        ?assertEqual({Want, End}, lines(bytes(Contents), []))
    end).

lines(Contents, Lines) ->
    case mod_megaphone_codec:next_line(Contents) of
        {ok, Verb, Args, Rest} -> lines(Rest, [{Verb, Args} | Lines]);
        End -> {lists:reverse(Lines), End}
    end.

ids_test_() ->
    section(<<"ids">>, 10, fun(#{<<"args">> := Args, <<"ids">> := Ids, <<"error">> := Error}) ->
        ?assertEqual({[id(Id) || Id <- Ids], Error}, ids(Args, []))
    end).

ids(Args, Ids) ->
    case mod_megaphone_codec:next_id(Args) of
        {ok, Id, Rest} -> ids(Rest, [Id | Ids]);
        none -> {lists:reverse(Ids), false};
        {error, id} -> {lists:reverse(Ids), true}
    end.

hellos_test_() ->
    section(<<"hellos">>, 30, fun
        (#{<<"args">> := Args, <<"error">> := true}) ->
            ?assertEqual({error, hello}, mod_megaphone_codec:parse_hello(Args));
        (#{<<"args">> := Args, <<"hello">> := Hello}) ->
            #{<<"version">> := Version, <<"name">> := Name, <<"max">> := Max} = Hello,
            #{<<"nonce">> := Nonce, <<"mac">> := Mac} = Hello,
            All = #{version => Version, name => Name, nonce => bytes(Nonce), mac => bytes(Mac), max => Max,
                    proof => bytes(maps:get(<<"proof">>, Hello, <<>>))},
            Want = maps:filter(fun(_, Value) -> Value =/= <<>> andalso Value =/= 0 end, All),
            ?assertEqual({ok, Want}, mod_megaphone_codec:parse_hello(Args))
    end).

a_hello_of_ours_can_be_read_test() ->
    Nonce = <<1:128>>,
    lists:foreach(fun(Instance) ->
        Line = mod_megaphone_codec:hello(<<"a.b">>, Nonce, 1024, Instance, none),
        {ok, <<"hello">>, Args, <<>>} = mod_megaphone_codec:next_line(<<Line/binary, $\n>>),
        ?assertEqual({ok, #{version => 1, name => <<"a.b">>, nonce => Nonce, max => 1024}},
                     mod_megaphone_codec:parse_hello(Args))
    end, [none, {<<2:128>>, 1}, {<<2:128>>, 1 bsl 60}]).

our_instance_is_in_our_hello_test() ->
    Hello = fun(Age) -> mod_megaphone_codec:hello(<<"a">>, <<1:128>>, 1024, {<<10:128>>, Age}, none) end,
    ?assertMatch({match, _}, re:run(Hello(1500), " take=query instance=0{31}a age=1500$")),
    ?assertMatch({match, _}, re:run(Hello(1 bsl 60), " age=999999999$")).

stream_hellos_test_() ->
    section(<<"stream_hellos">>, 14, fun
        (#{<<"args">> := Args, <<"error">> := true}) ->
            ?assertEqual({error, hello}, mod_megaphone_codec:parse_hello(Args));
        (#{<<"args">> := Args, <<"streams">> := Streams, <<"window">> := Window}) ->
            {ok, Hello} = mod_megaphone_codec:parse_hello(Args),
            ?assertEqual({Streams, Window}, {maps:get(streams, Hello, false), maps:get(window, Hello, 0)})
    end).

our_streams_are_in_our_hello_test() ->
    Line = mod_megaphone_codec:hello(<<"a">>, <<1:128>>, 1024, none, 65536),
    {ok, <<"hello">>, Args, <<>>} = mod_megaphone_codec:next_line(<<Line/binary, $\n>>),
    ?assertMatch({ok, #{streams := true, window := 65536}}, mod_megaphone_codec:parse_hello(Args)),
    Without = mod_megaphone_codec:hello(<<"a">>, <<1:128>>, 1024, none, none),
    ?assertEqual(nomatch, binary:match(Without, <<"stream">>)).

opens_test_() ->
    section(<<"opens">>, 26, fun
        (#{<<"contents">> := Contents, <<"error">> := <<"open">>}) ->
            ?assertEqual({error, open}, mod_megaphone_codec:parse_open(bytes(Contents)));
        (#{<<"contents">> := Contents, <<"address">> := Address} = V) ->
            Keys = maps:from_list([{Key, Value} || {Name, Key} <- [{<<"host">>, host}, {<<"path">>, path},
                                                                   {<<"origin">>, origin}],
                                                   {ok, Value} <- [maps:find(Name, V)]]),
            ?assertEqual({ok, Address, Keys}, mod_megaphone_codec:parse_open(bytes(Contents)))
    end).

ends_test_() ->
    section(<<"ends">>, 19, fun
        (#{<<"contents">> := Contents, <<"error">> := <<"end">>}) ->
            ?assertEqual({error, 'end'}, mod_megaphone_codec:parse_end(bytes(Contents)));
        (#{<<"contents">> := Contents, <<"code">> := Code, <<"text">> := Text}) ->
            ?assertEqual({ok, Code, Text}, mod_megaphone_codec:parse_end(bytes(Contents))),
            {ok, 7, Wrote, <<>>} = mod_megaphone_codec:parse_frame(
                                     iolist_to_binary(mod_megaphone_codec:stream_end(7, Code)), 16777216),
            ?assert(Text =/= <<>> orelse Wrote =:= bytes(Contents))
    end).

credits_test_() ->
    section(<<"credits">>, 15, fun(#{<<"args">> := Args, <<"credits">> := Credits, <<"error">> := Error}) ->
        Want = [{id(Id), Bytes} || #{<<"id">> := Id, <<"bytes">> := Bytes} <- Credits],
        ?assertEqual({Want, Error}, credits(mod_megaphone_codec:next_credit(Args), [])),
        Line = iolist_to_binary(mod_megaphone_codec:credits(Want)),
        ?assert(Error orelse Want =:= [] orelse <<"credit ", Args/binary, "\n">> =:= Line),
        Parsed = mod_megaphone_control:parse(<<"credit ", Args/binary, "\n">>),
        ?assertEqual(case Error orelse Want =:= [] of true -> {error, grammar}; false -> {ok, [{credit, Want}]} end,
                     Parsed)
    end).

credits({ok, Id, Bytes, Rest}, Credits) -> credits(mod_megaphone_codec:next_credit(Rest), [{Id, Bytes} | Credits]);
credits(none, Credits) -> {lists:reverse(Credits), false};
credits({error, credit}, Credits) -> {lists:reverse(Credits), true}.

%% The same while the Erlang node runs, whatever becomes of the module. None in a cluster.
instance_test() ->
    Me = node(),
    {Token, Age} = mod_megaphone_handshake:instance([], [Me]),
    true = code:delete(mod_megaphone_handshake),
    _ = code:purge(mod_megaphone_handshake),
    {Again, Older} = mod_megaphone_handshake:instance([], [Me]),
    ?assertEqual(Token, Again),
    {Uptime, _} = erlang:statistics(wall_clock),
    ?assert(Age > 0 andalso Age =< Older andalso Older =< Uptime + 1000 andalso Older + 1000 >= Uptime),
    ?assertEqual(none, mod_megaphone_handshake:instance(['b@host'], [Me])),
    ?assertEqual(none, mod_megaphone_handshake:instance([], ['b@host', Me])),
    ?assertEqual(none, mod_megaphone_handshake:instance([], [])).

hello_without_arguments_test() ->
    ?assertEqual({error, hello}, mod_megaphone_codec:parse_hello(undefined)).

%% This end writes two kinds of welcome, and reads none.
welcomes_test_() ->
    section(<<"welcomes">>, 5, fun
        (#{<<"name">> := <<"with a proof">>, <<"args">> := Args, <<"proof">> := Proof}) ->
            ?assertEqual(<<"welcome ", Args/binary>>, mod_megaphone_codec:welcome(bytes(Proof)));
        (#{<<"args">> := <<>>}) ->
            ?assertEqual(<<"welcome">>, mod_megaphone_codec:welcome(undefined));
        (_) -> ok
    end).

proofs_test_() ->
    section(<<"proofs">>, 7, fun(#{<<"secret">> := Secret, <<"role">> := Role, <<"lines">> := Lines,
                                   <<"proof">> := P}) ->
        Proof = mod_megaphone_codec:proof(bytes(Secret), Role, Lines),
        ?assertEqual(bytes(P), Proof),
        ?assert(mod_megaphone_codec:equal(Proof, bytes(P))),
        [?assertNot(mod_megaphone_codec:equal(Proof, crypto:exor(Proof, <<(1 bsl K):256>>))) || K <- lists:seq(0, 255)],
        Last = lists:last(Lines),
        ?assertEqual(Last, mod_megaphone_codec:unproved(Last)),
        ?assertEqual(Last, mod_megaphone_codec:unproved(<<Last/binary, " proof=", P/binary>>)),
        [?assertEqual(Other, mod_megaphone_codec:unproved(Other))
         || Other <- [<<Last/binary, " proof=", P/binary, "0">>, <<Last/binary, "proof=", P/binary>>,
                      <<"proof=", P/binary>>]]
    end).

reason(<<"too-large">>) -> too_large;
reason(Name) -> binary_to_atom(Name, latin1).

id(Digits) -> binary_to_integer(Digits, 16).

bytes(Hex) -> << <<(binary_to_integer(<<A, B>>, 16))>> || <<A, B>> <= Hex >>.
