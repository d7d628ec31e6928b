%%% Addresses of clients and of edges.
-module(mod_megaphone_address).

-export([of_socket/1, of_peer/1, client/2, text/1]).

%% A unix socket has none.
-define(LOCAL, {127, 0, 0, 1}).

%% The address at the other end of a socket, which may be closed there already.
-spec of_socket(gen_tcp:socket()) -> inet:ip_address().
of_socket(Socket) ->
    case inet:peername(Socket) of
        {ok, Peer} -> of_peer(Peer);
        {error, _} -> ?LOCAL
    end.

%% The address in what inet:peername/1 gives.
-spec of_peer({inet:ip_address(), inet:port_number()} | tuple()) -> inet:ip_address().
of_peer({Address, Port}) when tuple_size(Address) >= 4, is_integer(Port) -> Address;
of_peer(_) -> ?LOCAL.

%% The client's address as a frame has it, or the edge's when the frame has none or something that only looks like
%% one.
-spec client(binary() | undefined, Edge :: inet:ip_address()) -> inet:ip_address().
client(undefined, Edge) ->
    Edge;
client(Text, Edge) ->
    case inet:parse_strict_address(binary_to_list(Text)) of
        {ok, Address} -> Address;
        {error, _} -> Edge
    end.

%% The other end of a socket for people.
-spec text({inet:ip_address(), inet:port_number()} | tuple()) -> binary().
text({Address, Port}) when tuple_size(Address) =:= 8, is_integer(Port) ->
    iolist_to_binary([$[, inet:ntoa(Address), "]:", integer_to_list(Port)]);
text({Address, Port}) when tuple_size(Address) =:= 4, is_integer(Port) ->
    iolist_to_binary([inet:ntoa(Address), $:, integer_to_list(Port)]);
text(_) ->
    <<"a unix socket">>.
