%%% How an edge and this node come to trust each other: hello, hello, welcome (PROTOCOL.md, "The life of a link").
-module(mod_megaphone_handshake).

-export([nonce/0, meet/3]).

-spec nonce() -> <<_:128>>.
nonce() ->
    crypto:strong_rand_bytes(16).

%% What the edge's hello is answered with. Nonce is ours; Secret is undefined where every edge is welcome.
-spec meet(mod_megaphone_codec:hello(), Nonce :: <<_:128>>, Secret :: binary() | undefined) ->
          {ok, Welcome :: iolist()} | {fault, version | secret}.
meet(#{version := Version}, _, _) when Version =/= 1 ->
    {fault, version};
meet(_, _, undefined) ->
    {ok, mod_megaphone_codec:welcome(undefined)};
meet(#{name := Name, nonce := Theirs, mac := Mac}, Nonce, Secret) ->
    case mod_megaphone_codec:equal(Mac, mod_megaphone_codec:mac(Secret, <<"edge">>, Nonce, Theirs, Name)) of
        true -> {ok, mod_megaphone_codec:welcome(mod_megaphone_codec:mac(Secret, <<"origin">>, Theirs, Nonce, Name))};
        false -> {fault, secret}
    end;
meet(_, _, _) ->
    {fault, secret}.
