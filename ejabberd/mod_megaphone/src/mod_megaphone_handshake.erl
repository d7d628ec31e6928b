%%% How an edge and this node come to trust each other: hello, hello, welcome (PROTOCOL.md, "The life of a link").
-module(mod_megaphone_handshake).

-export([nonce/0, hidden/1, meet/4]).

-export_type([secret/0]).

%% In a function, so that no crash report and no trace shows it. undefined: every edge is welcome.
-opaque secret() :: fun(() -> binary()) | undefined.

-spec nonce() -> <<_:128>>.
nonce() ->
    crypto:strong_rand_bytes(16).

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
