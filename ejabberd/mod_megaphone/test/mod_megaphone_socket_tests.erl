%%% Links over TLS: what edges and strangers get, and the files of a listener.
-module(mod_megaphone_socket_tests).
-include_lib("eunit/include/eunit.hrl").

-define(PATIENCE_MS, 30000).
-define(BIG, 3000000).

with_file(Test) ->
    {spawn, {timeout, 120, fun() ->
        {ok, _} = application:ensure_all_started(ssl),
        {ok, Lobby} = mod_megaphone_lobby:start_link(),
        Dir = string:trim(os:cmd("mktemp -d")),
        try Test(Dir, make_file(Dir, "good.pem", ""))
        after gen_server:stop(Lobby), os:cmd("rm -r " ++ Dir)
        end
    end}}.

%% A file with a certificate for localhost and its key.
make_file(Dir, Name, Options) ->
    File = filename:join(Dir, Name),
    os:cmd("cd " ++ Dir ++ " && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k -out c"
           " -subj /CN=localhost -addext subjectAltName=DNS:localhost " ++ Options ++ " 2>&1 && cat c k >" ++ File),
    list_to_binary(File).

options(File) -> [{tls, true}, {certfile, File}].

%% Requests and replies as without TLS, and one that is larger than records, buffers and high_water.
requests_and_replies_test_() ->
    with_file(fun(_, File) ->
        register(engine, self()),
        Edge = test_edge:tls_up(options(File)),
        Replied = lists:foldl(
            fun(Id, E) ->
                Asked = test_edge:request(E, Id, <<"<body rid='", (integer_to_binary(Id))/binary, "'/>">>),
                receive {request, Pid, _, _} -> Pid ! {answer, {200, [], binary:copy(<<"x">>, Id * 1000)}} end,
                Size = Id * 1000,
                {Id, <<"200 ", Body/binary>>, Next} = test_edge:recv(Asked),
                ?assertEqual(Size, byte_size(Body)),
                Next
            end, Edge, lists:seq(1, 50)),
        Asked = test_edge:request(Replied, 51, <<"<body/>">>),
        receive {request, Pid, _, _} -> Pid ! {answer, {200, [], binary:copy(<<"y">>, ?BIG)}} end,
        {51, <<"200 ", Big/binary>>, Last} = test_edge:recv(Asked),
        ?assertEqual(binary:copy(<<"y">>, ?BIG), Big),
        #{unsent := 0, bytes_out := Out} = test_edge:info(Last),
        ?assert(Out > ?BIG),
        test_edge:close(Last),
        test_edge:await(fun() -> not is_process_alive(test_edge:pid(Last)) end)
    end).

%% Wrong input gets its error and the end of TLS, not a broken connection.
last_words_test_() ->
    with_file(fun(_, File) ->
        Edge = test_edge:send(test_edge:tls_up(options(File)), <<"GET / HTTP/1.1\r\n\r\n">>),
        {<<"error protocol error: bad frame\n">>, Next} = test_edge:recv_control(Edge),
        test_edge:closed(Next)
    end).

%% An edge that reads nothing ends its link and holds up no other process; nothing of it is left.
an_edge_that_does_not_read_test_() ->
    with_file(fun(_, File) ->
        register(engine, self()),
        Before = length(processes()),
        Edge = test_edge:tls_up([{ping_timeout, 500} | options(File)]),
        test_edge:request(Edge, 1, <<"<body/>">>),
        receive {request, Pid, _, _} -> Pid ! {answer, {200, [], binary:copy(<<"y">>, 5 * ?BIG)}} end,
        test_edge:await(fun() -> not is_process_alive(test_edge:pid(Edge)) end),
        test_edge:close(Edge),
        test_edge:await(fun() -> length(processes()) =< Before end)
    end).

%% Plaintext, half a hello, TLS 1.2, a client that goes: the link ends, is counted, and leaves no process.
strangers_test_() ->
    with_file(fun(_, File) ->
        _ = test_edge:close(test_edge:tls_up(options(File))),
        Before = length(processes()),
        Ended = count({ended, tls}),
        Strangers = [test_edge:dial([{ping_timeout, 300} | options(File)]) || _ <- lists:seq(1, 5)],
        [Plain, Half, Old, Gone, Silent] = Strangers,
        test_edge:send(Plain, <<"GET / HTTP/1.1\r\n\r\n">>),
        test_edge:send(Half, <<22, 3, 1, 2, 0, 1, 0, 1, 252>>),
        ?assertMatch({error, {tls_alert, {protocol_version, _}}},
                     ssl:connect(test_edge:socket(Old), [{versions, ['tlsv1.2']}, {verify, verify_none},
                                                         {log_level, none}], ?PATIENCE_MS)),
        test_edge:close(Gone),
        ?assertMatch(#{stage := securing}, test_edge:info(Silent)),     % it can be asked meanwhile
        [test_edge:await(fun() -> not is_process_alive(test_edge:pid(E)) end) || E <- Strangers],
        ?assertEqual(Ended + 5, count({ended, tls})),
        [test_edge:close(E) || E <- [Plain, Half, Silent]],
        test_edge:await(fun() -> length(processes()) =< Before end)
    end).

%% Those that are slow with their hello make room as others do.
crowded_test_() ->
    with_file(fun(_, File) ->
        Before = count({ended, crowded}),
        All = [test_edge:dial(options(File)) || _ <- lists:seq(1, 66)],
        [test_edge:await(fun() -> not is_process_alive(test_edge:pid(E)) end) || E <- lists:sublist(All, 2)],
        ?assertEqual(Before + 2, count({ended, crowded})),
        Up = test_edge:tls_up(options(File)),
        ?assertMatch(#{stage := up}, test_edge:info(Up)),
        [test_edge:close(E) || E <- [Up | All]],
        [test_edge:await(fun() -> not is_process_alive(test_edge:pid(E)) end) || E <- [Up | All]]
    end).

%% Without a file, or with one that is gone, no link comes up, and never one in plaintext.
no_file_test_() ->
    with_file(fun(Dir, _) ->
        [begin
             Edge = test_edge:dial([{tls, true}, {certfile, File}]),
             test_edge:closed(Edge)
         end || File <- [undefined, list_to_binary(filename:join(Dir, "none.pem"))]]
    end).

files_test_() ->
    with_file(fun(Dir, File) ->
        ?assertMatch({ok, D} when D =:= 29; D =:= 30, mod_megaphone_certificate:check(File)),
        ?assertMatch({ok, D} when D =:= 9999; D =:= 10000,
                     mod_megaphone_certificate:check(make_file(Dir, "long.pem", "-days 10000"))),
        [?assertEqual({error, Text}, mod_megaphone_certificate:check(filename:join(Dir, Name)))
         || {Name, Command, Text} <-
                [{"none", "true", "no such file or directory"},
                 {"empty", "touch empty", "there is no certificate in this file"},
                 {"key", "cp k key", "there is no certificate in this file"},
                 {"cert", "cp c cert", "there is no private key in this file: append it to the certificate"},
                 {"locked", "(cat c; openssl ec -aes128 -passout pass:secret -in k 2>/dev/null) >locked",
                  "the key has a password: store it without"},
                 {"cut", "(echo -----BEGIN CERTIFICATE-----; echo MIIB; echo -----END CERTIFICATE-----; cat k) >cut",
                  "the certificate cannot be read"},
                 {"old", "(openssl x509 -in c -signkey k -days -1 -out o || openssl x509 -in c -signkey k"  % until 3.3
                  " -not_before 20200101000000Z -not_after 20200102000000Z -out o) 2>/dev/null && cat o k >old",
                  "the certificate has expired"}],
            "" =:= os:cmd("cd " ++ Dir ++ " && " ++ Command)]
    end).

count(Counter) -> proplists:get_value(Counter, mod_megaphone_stats:all()).
