%%% Writes what a link has to say, so that an edge that does not read blocks this process and nothing else.
%%%
%%% The link gives it one batch at a time and gathers the next ones while this one is on its way. It is linked to the
%%% link, which it tells how the write went.
-module(mod_megaphone_writer).

-export([start_link/1, secure/2, write/2, finish/1]).
-export([loop/2]).

%% A write is cut into pieces, so that progress is seen, and so that the socket's send_timeout is a piece's.
-define(PIECE_BYTES, 65536).

-spec start_link(mod_megaphone_socket:socket()) -> pid().
start_link(Socket) ->
    spawn_link(?MODULE, loop, [self(), Socket]).

%% From now on it writes to another socket: the same one with TLS.
-spec secure(pid(), mod_megaphone_socket:socket()) -> ok.
secure(Writer, Socket) ->
    Writer ! {secure, Socket},
    ok.

%% Writes a batch. {wrote, Bytes} comes back for each piece, and {written, ok | {error, Reason}} at the end.
-spec write(pid(), iodata()) -> ok.
write(Writer, Batch) ->
    Writer ! {write, Batch},
    ok.

%% Ends the writer; what it was given before is written first.
-spec finish(pid()) -> ok.
finish(Writer) ->
    Writer ! finish,
    ok.

%% @private
loop(Link, Socket) ->
    receive
        {write, Batch} ->
            Link ! {written, write_pieces(Link, Socket, iolist_to_binary(Batch))},
            loop(Link, Socket);
        {secure, Secured} ->
            loop(Link, Secured);
        finish ->
            mod_megaphone_socket:shutdown_write(Socket)
    end.

write_pieces(_, _, <<>>) ->
    ok;
write_pieces(Link, Socket, Bytes) ->
    N = min(byte_size(Bytes), ?PIECE_BYTES),
    <<Piece:N/binary, Rest/binary>> = Bytes,
    case mod_megaphone_socket:send(Socket, Piece) of
        ok ->
            Link ! {wrote, N},
            write_pieces(Link, Socket, Rest);
        {error, _} = Error ->
            Error
    end.
