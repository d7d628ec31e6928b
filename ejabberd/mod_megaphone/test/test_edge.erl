%%% An edge for tests: the dialling end of a link, byte by byte.
-module(test_edge).

-export([dial/1, dial_from/2, up/1, up/2, tls_up/1, socket/1, hello/1, send/2, control/2, request/3, recv/1]).
-export([recv_control/1, closed/1]).
-export([skip_to/2, close/1, proof/3, pid/1]).
-export([info/1, await/1, frame/2, poll/1]).

-record(edge, {socket, pid, buffer = <<>>}).

-define(PATIENCE, 30000).

%% A link process and an edge that has not said anything. Options are those of the listener.
dial(Options) -> dial_from({127, 0, 0, 1}, Options).

dial_from(Address, Options) ->
    {ok, Listener} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}, {nodelay, true}, {packet, 0},
                                        {send_timeout, 5000}, {send_timeout_close, true}]),
    {ok, Port} = inet:port(Listener),
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port,
                                   [binary, {active, false}, {nodelay, true}, {recbuf, 65536}, {ip, Address}]),
    {ok, Accepted} = gen_tcp:accept(Listener),
    gen_tcp:close(Listener),
    {ok, Pid} = mod_megaphone_link:start(gen_tcp, Accepted, Options),
    ok = gen_tcp:controlling_process(Accepted, Pid),
    mod_megaphone_link:accept(Pid),
    #edge{socket = Socket, pid = Pid}.

%% The same, and they have shaken hands.
up(Options) -> up(Options, <<>>).

%% The same over TLS.
tls_up(Options) ->
    #edge{socket = Socket} = Edge = dial(Options),
    {ok, Ssl} = ssl:connect(Socket, [{versions, ['tlsv1.3']}, {verify, verify_none}, {log_level, none}], ?PATIENCE),
    greet(Edge#edge{socket = {tls, Ssl}}, <<>>).

up(Options, HelloExtra) -> greet(dial(Options), HelloExtra).

greet(Dialled, HelloExtra) ->
    {<<"hello version=1 name=", _/binary>>, Edge} = recv_control(Dialled),
    Greeted = control(Edge, hello(HelloExtra)),
    {<<"welcome\n">>, Up} = recv_control(Greeted),
    Up.

%% The hello of edge-1, with more of its arguments or lines behind.
hello(Extra) ->
    [<<"hello version=1 name=edge-1 nonce=101112131415161718191a1b1c1d1e1f">>, Extra, $\n].

send(#edge{socket = Socket} = Edge, Bytes) ->
    ok = case Socket of {tls, Ssl} -> ssl:send(Ssl, Bytes); _ -> gen_tcp:send(Socket, Bytes) end,
    Edge.

frame(Id, Contents) -> iolist_to_binary(mod_megaphone_codec:frame(Id, Contents)).

control(Edge, Line) -> send(Edge, frame(0, Line)).

request(Edge, Id, Contents) -> send(Edge, frame(Id, Contents)).

%% The next frame: {Id, Contents, Edge}, or closed.
recv(#edge{socket = Socket, buffer = Buffer} = Edge) ->
    case mod_megaphone_codec:parse_frame(Buffer, 16777216) of
        {ok, Id, Contents, Rest} -> {Id, Contents, Edge#edge{buffer = Rest}};
        {more, _} ->
            case read(Socket, ?PATIENCE) of
                {ok, Bytes} -> recv(Edge#edge{buffer = <<Buffer/binary, Bytes/binary>>});
                {error, Reason} when Buffer =:= <<>>, Reason =/= timeout -> closed
            end
    end.

%% The next frame if it is here.
poll(#edge{socket = Socket, buffer = Buffer} = Edge) ->
    case mod_megaphone_codec:parse_frame(Buffer, 16777216) of
        {ok, Id, Contents, Rest} -> {Id, Contents, Edge#edge{buffer = Rest}};
        {more, _} ->
            case read(Socket, 0) of
                {ok, Bytes} -> poll(Edge#edge{buffer = <<Buffer/binary, Bytes/binary>>});
                {error, timeout} -> none
            end
    end.

read({tls, Ssl}, Patience) -> ssl:recv(Ssl, 0, Patience);
read(Socket, Patience) -> gen_tcp:recv(Socket, 0, Patience).

recv_control(Edge) ->
    {0, Line, Next} = recv(Edge),
    {Line, Next}.

%% Reads on until the control frame Line has come.
skip_to(Edge, Line) ->
    case recv(Edge) of
        {0, Line, Next} -> Next;
        {_, _, Next} -> skip_to(Next, Line)
    end.

%% The link says nothing more, and its process ends.
closed(#edge{pid = Pid} = Edge) ->
    closed = recv(Edge),
    close(Edge),
    await(fun() -> not is_process_alive(Pid) end).

close(#edge{socket = {tls, Ssl}}) -> ssl:close(Ssl);
close(#edge{socket = Socket}) -> gen_tcp:close(Socket).

socket(#edge{socket = Socket}) -> Socket.

info(#edge{pid = Pid}) ->
    {ok, Info} = mod_megaphone_link:info(Pid),
    Info.

%% Waits for what another process does.
await(Condition) -> await(Condition, ?PATIENCE).

await(Condition, Left) when Left > 0 ->
    case Condition() of
        true -> ok;
        false -> receive after 5 -> await(Condition, Left - 5) end
    end.

%% A proof as it stands at the end of a line.
proof(Secret, Role, Lines) ->
    <<" proof=", (string:lowercase(binary:encode_hex(mod_megaphone_codec:proof(Secret, Role, Lines))))/binary>>.

pid(#edge{pid = Pid}) -> Pid.
