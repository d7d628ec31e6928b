%%% How an edge and this node come to trust each other: hello, hello, welcome (PROTOCOL.md, "The life of a link").
-module(mod_megaphone_handshake).

-export([nonce/0, instance/0, instance/2, hidden/1, meet/4]).

-export_type([secret/0]).

%% In a function, so that no crash report and no trace shows it. undefined: every edge is welcome.
-opaque secret() :: fun(() -> binary()) | undefined.

-spec nonce() -> <<_:128>>.
nonce() ->
    crypto:strong_rand_bytes(16).

%% What this node's sessions live in: the Erlang node. Those of ejabberd's own engine outlive this module, and links of
%% either engine reach them. A node of a cluster says nothing: one address may lead to any of them, and each reaches the
%% sessions of all.
-spec instance() -> mod_megaphone_codec:instance().
instance() ->
    instance(nodes(), known()).

-spec instance(Connected :: [node()], Known :: [node()]) -> mod_megaphone_codec:instance().
instance([], [Node]) when Node =:= node() -> {token(), age_ms()};
instance(_, _) -> none.

%% All nodes of the cluster, those that are down included.
known() ->
    try mnesia:system_info(db_nodes) catch exit:_ -> [] end.

%% Should two links make one at once, edges take it for two instances of the same age. That ends no session.
token() ->
    case persistent_term:get(?MODULE, none) of
        none ->
            Token = crypto:strong_rand_bytes(16),
            persistent_term:put(?MODULE, Token),
            Token;
        Token -> Token
    end.

%% Rounded up: sessions must not look older than what they live in.
age_ms() ->
    Age = erlang:monotonic_time() - erlang:system_info(start_time),
    erlang:convert_time_unit(Age, native, millisecond) + 1.

-spec hidden(binary() | undefined) -> secret().
hidden(undefined) -> undefined;
hidden(Secret) -> fun() -> Secret end.

%% The line that answers the edge's hello, given that hello and the hello that it answers, as lines.
-spec meet(mod_megaphone_codec:hello(), Theirs :: binary(), Ours :: binary(), secret()) ->
          {ok, Welcome :: binary()} | {fault, version | secret | old_proof}.
meet(#{version := Version}, _, _, _) when Version =/= 1 ->
    {fault, version};
meet(_, _, _, undefined) ->
    {ok, mod_megaphone_codec:welcome(undefined)};
meet(#{proof := Proof}, Theirs, Ours, Hidden) ->
    Secret = Hidden(),
    Lines = [Ours, mod_megaphone_codec:unproved(Theirs)],
    case mod_megaphone_codec:equal(Proof, mod_megaphone_codec:proof(Secret, <<"edge-hello">>, Lines)) of
        true ->
            Welcome = mod_megaphone_codec:welcome(undefined),
            {ok, mod_megaphone_codec:welcome(
                   mod_megaphone_codec:proof(Secret, <<"origin-welcome">>, Lines ++ [Welcome]))};
        false ->
            {fault, secret}
    end;
meet(#{mac := _}, _, _, _) ->
    {fault, old_proof};
meet(_, _, _, _) ->
    {fault, secret}.
