%%% How an edge and this node come to trust each other: hello, hello, welcome (PROTOCOL.md, "The life of a link").
-module(mod_megaphone_handshake).

-export([nonce/0, hidden/1, meet/3]).

-export_type([secret/0]).

%% In a function, so that no crash report and no trace shows it. undefined: every edge is welcome.
-opaque secret() :: fun(() -> binary()) | undefined.

-spec nonce() -> <<_:128>>.
nonce() ->
    crypto:strong_rand_bytes(16).

-spec hidden(binary() | undefined) -> secret().
hidden(undefined) -> undefined;
hidden(Secret) -> fun() -> Secret end.

%% What the edge's hello is answered with. Nonce is ours.
-spec meet(mod_megaphone_codec:hello(), Nonce :: <<_:128>>, secret()) ->
          {ok, Welcome :: iolist()} | {fault, version | secret}.
meet(#{version := Version}, _, _) when Version =/= 1 ->
    {fault, version};
meet(_, _, undefined) ->
    {ok, mod_megaphone_codec:welcome(undefined)};
meet(#{name := Name, nonce := Theirs, mac := Mac}, Nonce, Hidden) ->
    Secret = Hidden(),
    case mod_megaphone_codec:equal(Mac, mod_megaphone_codec:mac(Secret, <<"edge">>, Nonce, Theirs, Name)) of
        true -> {ok, mod_megaphone_codec:welcome(mod_megaphone_codec:mac(Secret, <<"origin">>, Theirs, Nonce, Name))};
        false -> {fault, secret}
    end;
meet(_, _, _) ->
    {fault, secret}.
