%%% A link's socket: TCP, or TLS 1.3 on top of it. TLS is Erlang's own (ssl), in processes of its own.
%%%
%%%     accepted --secure--> {secured, Result} --> as TCP, its messages through message/2
%%%
%%% The handshake runs in a helper process, so that the link can answer or end meanwhile. ssl's processes end with the
%%% link, which owns them, and with the port below them, which close/1 closes at once.
-module(mod_megaphone_socket).

-export([secure/3, prepare/2, message/2, active_once/1, direct/1, unsent/1, send/2, shutdown_write/1, close/1]).

-export_type([socket/0]).

-type socket() :: gen_tcp:socket() | {tls, ssl:sslsocket(), gen_tcp:socket()}.

%% Begins TLS on a TCP socket of the caller, which gets {secured, {ok, socket()} | {error, Reason}} after Timeout ms at
%% the latest. The file has the certificate, its chain and its key. ssl reads it again when it has changed, within two
%% minutes.
-spec secure(gen_tcp:socket(), file:filename_all(), Timeout :: pos_integer()) -> ok.
secure(Port, File, Timeout) ->
    Link = self(),
    Helper = spawn_link(fun() -> receive go -> Link ! {secured, handshake(Port, File, Timeout, Link)} end end),
    case gen_tcp:controlling_process(Port, Helper) of
        ok -> Helper ! go;
        {error, _} = Error -> unlink(Helper), exit(Helper, kill), Link ! {secured, Error}
    end,
    ok.

handshake(Port, File, Timeout, Link) ->
    case ssl:handshake(Port, options(File), Timeout) of
        {ok, Ssl} ->
            case ssl:controlling_process(Ssl, Link) of
                ok -> {ok, {tls, Ssl, Port}};
                {error, _} = Error -> Error
            end;
        {error, _} = Error -> Error
    end.

%% Only version 1.3 can change keys, and a link lives for months. Strangers must not fill the log with ssl's reports.
options(File) ->
    [{certfile, File}, {keyfile, File}, {versions, ['tlsv1.3']}, {verify, verify_none}, {log_level, none},
     {active, false}, {mode, binary}].

%% Gives the socket the buffer of a link, and returns the address of the edge.
-spec prepare(socket(), pos_integer()) -> {ok, {inet:ip_address(), inet:port_number()} | tuple()} | {error, term()}.
prepare({tls, _, Port}, Bytes) -> prepare(Port, Bytes);
prepare(Port, Bytes) ->
    case inet:setopts(Port, [{buffer, Bytes}]) of
        ok -> inet:peername(Port);
        {error, _} = Error -> Error
    end.

%% What ssl says, as TCP says it.
-spec message(term(), socket()) -> term().
message({ssl, _, Bytes}, {tls, _, _} = Socket) -> {tcp, Socket, Bytes};
message({ssl_closed, _}, {tls, _, _} = Socket) -> {tcp_closed, Socket};
message({ssl_error, _, Reason}, {tls, _, _} = Socket) -> {tcp_error, Socket, Reason};
message(Message, _) -> Message.

-spec active_once(socket()) -> ok | {error, term()}.
active_once({tls, Ssl, _}) -> ssl:setopts(Ssl, [{active, once}]);
active_once(Port) -> inet:setopts(Port, [{active, once}]).

%% Whether the socket has nothing to send, so that its queue takes a small batch without blocking the caller. Only a
%% port has a queue and reports its size, not a socket of `inet_backend` socket.
-spec direct(socket()) -> boolean().
direct(Port) when is_port(Port) -> inet:getstat(Port, [send_pend]) =:= {ok, [{send_pend, 0}]};
direct(_) -> false.

%% Whether the kernel has not taken all that was sent.
-spec unsent(socket()) -> boolean().
unsent({tls, _, Port}) -> unsent(Port);
unsent(Port) ->
    case inet:getstat(Port, [send_pend]) of
        {ok, [{send_pend, N}]} -> N > 0;
        {error, _} -> false
    end.

-spec send(socket(), iodata()) -> ok | {error, term()}.
send({tls, Ssl, _}, Batch) -> ssl:send(Ssl, Batch);
send(Port, Batch) -> gen_tcp:send(Port, Batch).

-spec shutdown_write(socket()) -> ok | {error, term()}.
shutdown_write({tls, Ssl, _}) -> ssl:shutdown(Ssl, write);
shutdown_write(Port) -> gen_tcp:shutdown(Port, write).

%% Closes the socket without waiting for an edge that does not read. To close politely would wait 5 s for it.
-spec close(socket()) -> ok.
close({tls, _, Port}) -> close(Port);
close(Port) ->
    _ = unsent(Port) andalso inet:setopts(Port, [{linger, {true, 0}}]),
    gen_tcp:close(Port).
