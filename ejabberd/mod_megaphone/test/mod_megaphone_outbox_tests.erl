%%% The writer: the link, or its writer process.
-module(mod_megaphone_outbox_tests).
-include_lib("eunit/include/eunit.hrl").

-define(PATIENCE_MS, 30000).

who_writes_test_() ->
    [{Name, {spawn, fun() -> with_socket(fun(Socket, Other) -> writes(Messages, Bytes, Direct, Socket, Other) end) end}}
     || {Name, Messages, Bytes, Direct} <- [{"a small batch", 100, 65536, true},
                                            {"one that the socket may not take", 0, 65537, false}]].

writes(Messages, Bytes, Direct, Socket, Other) ->
    Before = mod_megaphone_outbox:append(binary:copy(<<"a">>, Bytes), mod_megaphone_outbox:new(Socket)),
    [self() ! {answer, N} || N <- lists:seq(1, Messages)],
    After = mod_megaphone_outbox:flush(Before),
    ?assertEqual(case Direct of true -> 0; false -> Bytes end, mod_megaphone_outbox:unsent(After)),
    {ok, Got} = gen_tcp:recv(Other, Bytes, ?PATIENCE_MS),
    ?assertEqual(binary:copy(<<"a">>, Bytes), Got),
    _ = Direct orelse receive {written, ok} -> ok after ?PATIENCE_MS -> error(not_written) end,
    [receive {answer, N} -> ok after 0 -> error({lost, N}) end || N <- lists:seq(1, Messages)].

with_socket(Test) ->
    {ok, Listener} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Listener),
    {ok, Other} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    {ok, Socket} = gen_tcp:accept(Listener),
    Test(Socket, Other),
    [gen_tcp:close(S) || S <- [Listener, Other, Socket]].
