%%% The wrapper of BOSH, <body/>: what a request says (XEP-0124, XEP-0206), and how replies are written.
-module(mod_megaphone_wrapper).

-export([parse/1, poll/1]).
-export([rid/1, sid/1, payloads/1, keys/1, ack/1, restart/1, ends/1, is_last/1, is_empty/1, creation/1]).
-export([encode/1, body/2, terminal/2, recoverable/0, empty/0]).

-export_type([request/0, item/0]).

%% Debian's ejabberd comes without the headers of its XML library.
-record(xmlel, {name = <<>>, attrs = [], children = []}).

-define(NS_BIND, "http://jabber.org/protocol/httpbind").
-define(NS_CLIENT, <<"jabber:client">>).
-define(NS_STREAM, "http://etherx.jabber.org/streams").
-define(NS_XBOSH, "urn:xmpp:xbosh").
%% XEP-0124, section 14.1.
-define(MAX_RID, 9007199254740991).
%% Versions and keys, which have 40. Erlang reads a number of a million digits for 9 s, and sessions keep keys.
-define(MAX_SHORT_BYTES, 256).

-record(request,
        {rid :: non_neg_integer(),
         attributes = #{} :: #{binary() => binary()},
         payloads = [] :: [#xmlel{}]}).

-opaque request() :: #request{}.

-type item() :: {start, StreamId :: binary(), Version :: binary()} | {features | stanza | error, binary()} | stream_end.

%%% Requests

%% A whole request; error: it is not well-formed, or no <body/> of BOSH, or has no rid, or a number is none,
%% or an attribute is too long.
-spec parse(binary()) -> {ok, request()} | error.
parse(Body) ->
    case fxml_stream:parse_element(Body) of
        #xmlel{name = <<"body">>, attrs = Attributes, children = Children} ->
            Map = maps:from_list(Attributes),
            case {number(<<"rid">>, Map), is_valid(Map)} of
                {Rid, true} when is_integer(Rid), Rid =< ?MAX_RID ->
                    {ok, #request{rid = Rid, attributes = Map, payloads = [El || #xmlel{} = El <- Children]}};
                _ -> error
            end;
        _ -> error
    end.

is_valid(Map) ->
    lists:all(fun(Name) -> number(Name, Map) =/= error end, [<<"wait">>, <<"hold">>, <<"pause">>, <<"ack">>])
        andalso lists:all(fun(Name) -> byte_size(maps:get(Name, Map, <<>>)) =< ?MAX_SHORT_BYTES end,
                          [<<"key">>, <<"newkey">>, <<"ver">>, <<"xmpp:version">>])
        andalso maps:get(<<"xmlns">>, Map, <<?NS_BIND>>) =:= <<?NS_BIND>>.

%% A request that says nothing.
-spec poll(non_neg_integer()) -> request().
poll(Rid) -> #request{rid = Rid}.

rid(#request{rid = Rid}) -> Rid.

-spec sid(request()) -> binary() | none.
sid(Request) -> attribute(<<"sid">>, Request).

payloads(#request{payloads = Payloads}) -> Payloads.

%% The key and the new key (section 15).
-spec keys(request()) -> {binary() | none, binary() | none}.
keys(Request) -> {attribute(<<"key">>, Request), attribute(<<"newkey">>, Request)}.

-spec ack(request()) -> non_neg_integer() | none.
ack(#request{attributes = Map}) -> number(<<"ack">>, Map).

%% The host of a new stream, and its version (XEP-0206, section 5).
-spec restart(request()) -> none | {To :: binary() | none, Version :: binary()}.
restart(Request) ->
    case attribute(<<"xmpp:restart">>, Request) of
        True when True =:= <<"true">>; True =:= <<"1">> ->
            To = case attribute(<<"to">>, Request) of
                     none -> none;
                     Name -> case jid:nameprep(Name) of error -> none; Prepared -> Prepared end
                 end,
            {To, attribute(<<"xmpp:version">>, Request, <<"1.0">>)};
        _ -> none
    end.

%% How the client goes: for good, or for a while.
-spec ends(request()) -> none | terminate | {pause, Seconds :: non_neg_integer()}.
ends(#request{attributes = Map} = Request) ->
    case {attribute(<<"type">>, Request), number(<<"pause">>, Map)} of
        {<<"terminate">>, _} -> terminate;
        {_, none} -> none;
        {_, Seconds} -> {pause, Seconds}
    end.

%% Such a request may be one more than otherwise (section 11).
is_last(Request) -> ends(Request) =/= none.

%% Whether it only asks what there is for the client.
-spec is_empty(request()) -> boolean().
is_empty(#request{payloads = [_ | _]}) -> false;
is_empty(Request) -> not is_last(Request) andalso restart(Request) =:= none.

%% What a request that opens a session asks for.
-spec creation(request()) -> #{to := binary() | none, wait := non_neg_integer() | none,
                               hold := non_neg_integer() | none, ver := binary() | none, version := binary(),
                               acks := boolean()}.
creation(#request{attributes = Map} = Request) ->
    #{to => attribute(<<"to">>, Request), wait => number(<<"wait">>, Map), hold => number(<<"hold">>, Map),
      ver => attribute(<<"ver">>, Request), version => attribute(<<"xmpp:version">>, Request, <<>>),
      acks => attribute(<<"ack">>, Request) =:= <<"1">>}.

attribute(Name, Request) -> attribute(Name, Request, none).

attribute(Name, #request{attributes = Map}, Default) -> maps:get(Name, Map, Default).

number(Name, Map) ->
    case Map of
        #{Name := Value} when byte_size(Value) =< 16 ->
            try binary_to_integer(Value) of
                N when N >= 0 -> N;
                _ -> error
            catch error:badarg -> error
            end;
        #{Name := _} -> error;
        _ -> none
    end.

%%% Replies

%% What a stream says, in the form in which it waits for the client. Done in the process of the stream.
-spec encode(term()) -> item() | none.
encode({xmlstreamelement, #xmlel{name = <<"stream:features">>} = El}) -> {features, fxml:element_to_binary(El)};
encode({xmlstreamelement, #xmlel{name = <<"stream:error">>} = El}) -> {error, fxml:element_to_binary(El)};
encode({xmlstreamelement, #xmlel{name = Name, attrs = Attributes} = El})
  when Name =:= <<"message">>; Name =:= <<"presence">>; Name =:= <<"iq">> ->
    Namespaced = lists:keystore(<<"xmlns">>, 1, Attributes, {<<"xmlns">>, ?NS_CLIENT}),
    {stanza, fxml:element_to_binary(El#xmlel{attrs = Namespaced})};
encode({xmlstreamelement, El}) -> {stanza, fxml:element_to_binary(El)};
encode({xmlstreamraw, Raw}) -> {stanza, iolist_to_binary(Raw)};
encode({xmlstreamstart, _, Attributes}) ->
    {start, fxml:get_attr_s(<<"id">>, Attributes), fxml:get_attr_s(<<"version">>, Attributes)};
encode({xmlstreamend, _}) -> stream_end;
encode({xmlstreamerror, _}) -> stream_end;
encode(_) -> none.

%% A reply with attributes and items, and whether it is the last of its session.
-spec body([{binary(), binary()}], [item()]) -> {binary(), Ends :: boolean()}.
body(Attributes, Items) ->
    Ends = lists:any(fun(Item) -> Item =:= stream_end orelse element(1, Item) =:= error end, Items),
    All = Attributes ++ lists:append([said(Item) || Item <- Items])
        ++ [{<<"type">>, <<"terminate">>} || Ends] ++ [{<<"condition">>, <<"remote-stream-error">>} || Ends],
    Payloads = [Payload || {Kind, Payload} <- Items, Kind =/= start],
    Written = ["<body xmlns='" ?NS_BIND "'", [[$\s, Name, "='", escaped(Value), $'] || {Name, Value} <- unique(All)],
               case Payloads of [] -> "/>"; _ -> [$>, Payloads, "</body>"] end],
    {iolist_to_binary(Written), Ends}.

said({start, Id, Version}) ->
    [{<<"authid">>, Id} | [{<<"xmpp:version">>, Version} || Version =/= <<>>]]
        ++ [{<<"xmlns:xmpp">>, <<?NS_XBOSH>>} || Version =/= <<>>];
said({Kind, _}) when Kind =:= features; Kind =:= error -> [{<<"xmlns:stream">>, <<?NS_STREAM>>}];
said(_) -> [].

%% The first of each name.
unique(Attributes) ->
    lists:reverse(lists:foldl(fun({Name, _} = Attribute, Acc) ->
                                      case lists:keymember(Name, 1, Acc) of
                                          true -> Acc;
                                          false -> [Attribute | Acc]
                                      end
                              end, [], Attributes)).

%% As fxml:crypt/1, which builds each value anew. Nearly none has anything to escape.
escaped(Value) ->
    case is_plain(Value) of
        true -> Value;
        false -> fxml:crypt(Value)
    end.

is_plain(<<C, _/binary>>) when C =:= $&; C =:= $<; C =:= $>; C =:= $'; C =:= $" -> false;
is_plain(<<_, Rest/binary>>) -> is_plain(Rest);
is_plain(<<>>) -> true.

%% The reply that ends a session: a condition, or the status that stands for it with clients from before there were any
%% (section 17.1).
-spec terminal(atom(), Legacy :: boolean()) -> {Status :: 200..599, binary()}.
terminal('bad-request', true) -> {400, <<>>};
terminal('policy-violation', true) -> {403, <<>>};
terminal('item-not-found', true) -> {404, <<>>};
terminal(Condition, _) ->
    {Body, _} = body([{<<"type">>, <<"terminate">>}, {<<"condition">>, atom_to_binary(Condition)}], []),
    {200, Body}.

%% Asks a client to send all its unanswered requests again (section 17.3).
recoverable() -> <<"<body xmlns='" ?NS_BIND "' type='error'/>">>.

empty() -> <<"<body xmlns='" ?NS_BIND "'/>">>.
