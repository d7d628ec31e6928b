%%% What the lines of a control frame say (PROTOCOL.md, "Control"), as data.
-module(mod_megaphone_control).

-export([parse/1]).

-export_type([line/0]).

-type id() :: mod_megaphone_codec:id().

-type line() :: {hello, mod_megaphone_codec:hello(), Line :: binary()} | welcome |
                {gone, [id()]} | {release, [id()] | all} | {credit, [{id(), Bytes :: pos_integer()}]} |
                {ping, Token :: binary()} |
                {pong, Token :: binary() | undefined} | drain | {error, Text :: binary()} | {unknown, Verb :: binary()}.

-define(MAX_TOKEN_BYTES, 64).

%% All lines of a frame's contents, which they borrow.
-spec parse(binary()) -> {ok, [line()]} | {error, grammar}.
parse(Contents) ->
    parse(Contents, []).

parse(Contents, Lines) ->
    case mod_megaphone_codec:next_line(Contents) of
        none ->
            {ok, lists:reverse(Lines)};
        {error, _} ->
            {error, grammar};
        {ok, Verb, Args, Rest} ->
            case line(Verb, Args) of
                error -> {error, grammar};
                Line -> parse(Rest, [Line | Lines])
            end
    end.

line(<<"hello">>, Args) ->
    case mod_megaphone_codec:parse_hello(Args) of
        {ok, Hello} -> {hello, Hello, <<"hello ", Args/binary>>};
        {error, _} -> error
    end;
line(<<"gone">>, Args) -> ids(gone, Args, []);
line(<<"release">>, <<"all">>) -> {release, all};
line(<<"release">>, Args) -> ids(release, Args, []);
line(<<"credit">>, Args) -> credits(mod_megaphone_codec:next_credit(Args), []);
line(<<"ping">>, Token) when is_binary(Token), byte_size(Token) =< ?MAX_TOKEN_BYTES -> {ping, Token};
line(<<"ping">>, _) -> error;
line(<<"pong">>, Token) -> {pong, Token};
line(<<"drain">>, _) -> drain;
line(<<"welcome">>, _) -> welcome;
line(<<"error">>, undefined) -> {error, <<"(no reason given)">>};
line(<<"error">>, Text) -> {error, Text};
line(Verb, _) -> {unknown, Verb}.

%% One at least.
ids(_, undefined, _) ->
    error;
ids(Name, Args, Ids) ->
    case mod_megaphone_codec:next_id(Args) of
        {ok, Id, <<>>} -> {Name, lists:reverse([Id | Ids])};
        {ok, Id, Rest} -> ids(Name, Rest, [Id | Ids]);
        _ -> error
    end.

%% One at least.
credits({ok, Id, Bytes, Rest}, Credits) -> credits(mod_megaphone_codec:next_credit(Rest), [{Id, Bytes} | Credits]);
credits(none, [_ | _] = Credits) -> {credit, lists:reverse(Credits)};
credits(_, _) -> error.
