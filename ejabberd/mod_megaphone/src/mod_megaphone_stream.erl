%%% A client over WebSocket (RFC 7395). Its stream is a single process, an ejabberd_c2s, which sees this module
%%% as its socket (behaviour xmpp_socket). The other end of the socket is an entry in its link (mod_megaphone_streams).
%%% So accounts, rosters, rooms, stream management, hooks and commands are as ever.
%%%
%%%     link ------ {tcp, _, [Event]}, {tcp_closed, _} -----> c2s
%%%     link <-- output, active, shaper, restart, close ----- c2s (this module, in its process)
%%%
%%% What the stream says is written as XML in the process of the stream, and what the client says is read in the link's.
%%% The stream takes one message at a time: it asks for the next one by setopts/2. It monitors the link. So a lost link
%%% is a closed socket to it, and with stream management (XEP-0198) it waits for a socket that resumes it, which may
%%% belong to any link of any node.
-module(mod_megaphone_stream).

-export([opened/3, read/2, closing/0]).
%% xmpp_socket
-export([send_xml/2, send/2, setopts/2, controlling_process/2, reset_stream/1, change_shaper/2, close/1, sockname/1,
         peername/1, get_transport/1, get_owner/1]).

-export_type([event/0, item/0]).

%% Debian's ejabberd comes without the headers of its XML library.
-record(xmlel, {name = <<>>, attrs = [], children = []}).

-define(NS_FRAMING, <<"urn:ietf:params:xml:ns:xmpp-framing">>).
-define(NS_CLIENT, <<"jabber:client">>).
-define(NS_STREAM, <<"http://etherx.jabber.org/streams">>).
-define(NS_MANAGEMENT, <<"urn:xmpp:sm:">>).
-define(POLICY, 1008).
-define(GOING_AWAY, 1001).

%% The link has the stream under an id and a number of its own, because an id may be used again.
-type socket() :: {?MODULE, Link :: pid(), mod_megaphone_codec:id(), N :: non_neg_integer(),
                   {inet:ip_address(), inet:port_number()}}.

%% What a client has said, as ejabberd's streams take it.
-type event() :: {xmlstreamstart, binary(), list()} | {xmlstreamend, binary()} |
                 {xmlstreamerror, binary() | {integer(), binary()}} | #xmlel{}.

%% A message for the client. stanza: it is routed again if it was not sent. {error, Code}: the WebSocket ends with that
%% code. last: nothing follows.
-type item() :: {stanza | other | last | {error, mod_megaphone_codec:code()}, binary()}.

%%% Opening

%% Starts the stream of a client, in a process of its own: it waits, and a link must not.
-spec opened(mod_megaphone_session:place(), Contents :: binary(), inet:ip_address()) -> ok.
opened({Link, Id, N}, Contents, Address) ->
    try ejabberd_c2s:start(?MODULE, {?MODULE, Link, Id, N, {Address, 0}}, options(Link, Contents)) of
        {ok, C2S} ->
            mod_megaphone_admission:joins(C2S),         % before it can log in
            Link ! {stream, Id, N, C2S},
            ejabberd_c2s:accept(C2S);
        _ ->
            Link ! {answer, Id, N, 503, <<>>},
            ok
    catch
        Class:Reason:Stack ->
            mod_megaphone_stats:add(crashed, 1),
            mod_megaphone_fault:log(crashed, "Megaphone: stream not opened error=~p:~p~n~p",
                                    [Class, Reason, mod_megaphone_fault:without_values(Stack)]),
            Link ! {answer, Id, N, 503, <<>>},
            ok
    end.

%% As ejabberd_http_ws: newer ejabberds show the headers to hooks.
options(Link, Contents) ->
    {ok, _, Request} = mod_megaphone_codec:parse_open(Contents),
    Headers = [{Name, map_get(Key, Request)} || {Key, Name} <- [{host, 'Host'}, {origin, <<"Origin">>}],
                                                is_map_key(Key, Request)],
    [{receiver, Link}, {http, [{headers, Headers}]} | ejabberd_c2s_config:get_c2s_limits()].

%%% Input, in the process of the link

%% Reads a message. It must be one XML element.
-spec read(binary(), MaxBytes :: pos_integer() | infinity) -> event().
read(Bytes, Max) when byte_size(Bytes) > Max ->
    {xmlstreamerror, <<"XML stanza is too big">>};
read(Bytes, _) ->
    case fxml_stream:parse_element(Bytes) of
        #xmlel{name = <<"open">>, attrs = Attributes} ->
            {xmlstreamstart, <<"stream:stream">>,
             [{<<"xmlns:stream">>, ?NS_STREAM}, {<<"xmlns">>, ?NS_CLIENT}
              | without([<<"xmlns">>, <<"xmlns:stream">>], Attributes)]};
        #xmlel{name = <<"close">>} -> {xmlstreamend, <<"stream:stream">>};
        #xmlel{} = El -> El;
        _ -> {xmlstreamerror, {4, <<"not well-formed">>}}
    end.

without(Names, Attributes) -> [Attribute || {Name, _} = Attribute <- Attributes, not lists:member(Name, Names)].

%%% xmpp_socket, in the process of the stream

-spec send_xml(socket(), term()) -> ok.
send_xml({_, Link, Id, N, _}, El) ->
    case write(El) of
        none -> ok;
        Item -> Link ! {output, Id, N, self(), Item}, ok
    end.

send(Socket, El) -> send_xml(Socket, El).

-spec write(term()) -> item() | none.
write({xmlstreamelement, #xmlel{name = <<"stream:error">>} = El}) -> {{error, code(El)}, written(with_stream(El))};
write({xmlstreamelement, #xmlel{name = <<"stream:", _/binary>>} = El}) -> {other, written(with_stream(El))};
write({xmlstreamelement, #xmlel{name = Name} = El}) -> kept(Name, written(with_namespace(El)));
write({xmlstreamstart, _, Attributes}) ->
    Rest = without([<<"xmlns">>, <<"xmlns:stream">>], Attributes),
    {other, written(#xmlel{name = <<"open">>, attrs = [{<<"xmlns">>, ?NS_FRAMING} | Rest]})};
write({xmlstreamend, _}) -> {last, closing()};
write(_) -> none.       % {xmlstreamraw, _} is white space that keeps TCP connections alive

%% The last message of a session.
-spec closing() -> binary().
closing() -> <<"<close xmlns='", ?NS_FRAMING/binary, "'/>">>.

written(El) -> fxml:element_to_binary(El).

with_stream(#xmlel{attrs = Attributes} = El) ->
    El#xmlel{attrs = [{<<"xmlns:stream">>, ?NS_STREAM} | without([<<"xmlns:stream">>], Attributes)]}.

with_namespace(#xmlel{attrs = Attributes} = El) ->
    case lists:keymember(<<"xmlns">>, 1, Attributes) of
        true -> El;
        false -> El#xmlel{attrs = [{<<"xmlns">>, ?NS_CLIENT} | Attributes]}
    end.

%% With stream management the stream itself has what its client has not acknowledged. Without, only the link knows what
%% was not sent.
kept(Name, Bytes) when Name =:= <<"message">>; Name =:= <<"presence">>; Name =:= <<"iq">> ->
    case get(?MODULE) of
        managed -> {other, Bytes};
        undefined -> {stanza, Bytes}
    end;
kept(Name, Bytes) when Name =:= <<"enabled">>; Name =:= <<"resumed">>; Name =:= <<"success">> ->
    %% SASL 2 has the first two in its success.
    _ = binary:match(Bytes, ?NS_MANAGEMENT) =/= nomatch andalso put(?MODULE, managed),
    {other, Bytes};
kept(_, Bytes) -> {other, Bytes}.

%% Clients of a node that stops should go elsewhere.
code(#xmlel{children = Children}) ->
    case [Name || #xmlel{name = Name} <- Children, Name =:= <<"system-shutdown">> orelse Name =:= <<"reset">>] of
        [] -> ?POLICY;
        _ -> ?GOING_AWAY
    end.

-spec setopts(socket(), list()) -> ok.
setopts({_, Link, Id, N, _}, Options) ->
    _ = lists:member({active, once}, Options) andalso (Link ! {active, Id, N}),
    ok.

controlling_process(_, _) -> ok.

%% The client has logged in, and opens its stream again.
-spec reset_stream(socket()) -> socket().
reset_stream({_, Link, Id, N, _} = Socket) ->
    Link ! {restart, Id, N},
    Socket.

change_shaper({_, Link, Id, N, _}, Shaper) ->
    Link ! {shaper, Id, N, Shaper},
    ok.

close({_, Link, Id, N, _}) ->
    Link ! {close, Id, N},
    ok.

sockname(_) -> {ok, {{0, 0, 0, 0}, 0}}.

peername({_, _, _, _, Peer}) -> {ok, Peer}.

get_transport(_) -> websocket.

%% The stream monitors it. It must not be the stream's own process, which would read XML then.
get_owner({_, Link, _, _, _}) -> Link.
