%%% The file of a listener with TLS: a certificate, its chain and its key, in PEM.
-module(mod_megaphone_certificate).

-export([check/1]).

-define(KEYS, ['PrivateKeyInfo', 'ECPrivateKey', 'RSAPrivateKey']).
%% The seconds of the Gregorian calendar at 1970.
-define(EPOCH_S, 62167219200).

%% Checks that the file can serve, and returns the whole days until its first certificate expires.
-spec check(file:filename_all()) -> {ok, Days :: non_neg_integer()} | {error, Text :: string()}.
check(File) ->
    case file:read_file(File) of
        {ok, Text} ->
            try public_key:pem_decode(Text) of
                Entries -> entries(Entries)
            catch _:_ -> {error, "this is not PEM"}
            end;
        {error, Reason} ->
            {error, file:format_error(Reason)}
    end.

entries(Entries) ->
    case {lists:keyfind('Certificate', 1, Entries), [E || {Type, _, _} = E <- Entries, lists:member(Type, ?KEYS)]} of
        {false, _} -> {error, "there is no certificate in this file"};
        {_, []} -> {error, "there is no private key in this file: append it to the certificate"};
        {_, [{_, _, Cipher} | _]} when Cipher =/= not_encrypted -> {error, "the key has a password: store it without"};
        {{_, Der, _}, _} ->
            try expiry(Der) - erlang:system_time(second) of
                Left when Left =< 0 -> {error, "the certificate has expired"};
                Left -> {ok, Left div 86400}
            catch _:_ -> {error, "the certificate cannot be read"}
            end
    end.

expiry(Der) ->
    ToBeSigned = element(2, public_key:pkix_decode_cert(Der, plain)),
    {_, _, {Type, Text}} = lists:keyfind('Validity', 1, tuple_to_list(ToBeSigned)),
    seconds(Type, unicode:characters_to_list(Text)).

%% A year of two digits is of this century up to 49 (RFC 5280).
seconds(utcTime, [A, B | _] = Text) when [A, B] < "50" -> seconds(generalTime, "20" ++ Text);
seconds(utcTime, Text) -> seconds(generalTime, "19" ++ Text);
seconds(generalTime, Text) ->
    {ok, [Y, Mo, D, H, Mi, S], _} = io_lib:fread("~4d~2d~2d~2d~2d~2d", Text),
    calendar:datetime_to_gregorian_seconds({{Y, Mo, D}, {H, Mi, S}}) - ?EPOCH_S.
