%%% The bytes of the link protocol (PROTOCOL.md), the origin's half: frames, control lines, hello and welcome, and the
%%% proof of the secret. Pure functions; no process, no socket.
%%%
%%% A parser gives {ok, ...}, {more, Bytes} when there is too little yet, or {error, Reason}. It returns
%%% sub-binaries of its argument. A caller that keeps one for longer than a turn must copy it (binary:copy/1), because
%%% it keeps the whole read alive.
-module(mod_megaphone_codec).

-export([header_bytes/0, parse_frame/2, parse_request/1, next_line/1, next_id/1, parse_hello/1]).
-export([parse_open/1, parse_end/1, next_credit/1]).
-export([frame/2, reply/3, hello/5, welcome/1, accept/1, stream_end/2, credits/1]).
-export([proof/3, unproved/1, equal/2, valid_name/1]).

-export_type([id/0, hello/0, instance/0, code/0]).

%% A connection ID. 0 is the link itself.
-type id() :: 0..16#ffffffffffffffff.

%% What sessions live in, and for how long that has existed at least.
-type instance() :: {Token :: <<_:128>>, AgeMs :: pos_integer()} | none.

-type hello() :: #{version := pos_integer(),
                   name := binary(),
                   nonce := <<_:128>>,
                   mac => <<_:256>>,        % that of 0.1.0, which proves the nonces and the name only
                   max => pos_integer(),
                   streams => true,         % it takes streams
                   window => pos_integer(),
                   proof => <<_:256>>}.

%% Why a stream ends: a status code of RFC 6455, section 7.4.
-type code() :: 1000..4999.

%% The largest number in a line of control.
-define(MAX_NUMBER, 999999999).
%% length "|" id "|"
-define(HEADER_BYTES, (8 + 1 + 16 + 1)).
-define(MAX_CONTENTS, 16777216).
%% Six groups of an IPv6 address and an IPv4 address.
-define(MAX_ADDRESS_BYTES, 45).
-define(MAX_QUERY_BYTES, 65535).
-define(MAX_VERB_BYTES, 32).
-define(MAX_NAME_BYTES, 64).
%% Of an end: what fits into a WebSocket's close frame.
-define(MAX_TEXT_BYTES, 123).

-define(is_digit(C), (C >= $0 andalso C =< $9)).
-define(is_hex(C), (?is_digit(C) orelse (C >= $a andalso C =< $f))).
-define(is_address(C), (?is_hex(C) orelse (C >= $A andalso C =< $F) orelse C =:= $. orelse C =:= $:)).
-define(is_lower(C), (C >= $a andalso C =< $z)).
-define(is_upper(C), (C >= $A andalso C =< $Z)).

%%% Frames

-spec header_bytes() -> pos_integer().
header_bytes() -> ?HEADER_BYTES.

%% Takes the first frame off Bytes. Max is the largest contents that this end takes. {more, N}: N bytes at least,
%% counted from the start of Bytes, make more possible. A header is refused by its first wrong byte.
-spec parse_frame(binary(), pos_integer()) ->
          {ok, id(), binary(), Rest :: binary()} |
          {more, pos_integer()} |
          {error, length | too_large | separator | id}.
parse_frame(Bytes, Max) ->
    parse_length(Bytes, 8, 0, Bytes, Max).

parse_length(<<$|, Rest/binary>>, 0, Length, Bytes, Max) when Length =< Max ->
    parse_id(Rest, 16, 0, Length, Bytes);
parse_length(_, 0, Length, _, Max) when Length > Max ->
    {error, too_large};
parse_length(<<>>, _, _, _, _) ->
    {more, ?HEADER_BYTES};
parse_length(_, 0, _, _, _) ->
    {error, separator};
parse_length(<<C, Rest/binary>>, N, Length, Bytes, Max) when ?is_digit(C) ->
    parse_length(Rest, N - 1, Length * 10 + C - $0, Bytes, Max);
parse_length(_, _, _, _, _) ->
    {error, length}.

parse_id(<<$|, Rest/binary>>, 0, Id, Length, Bytes) ->
    case Rest of
        <<Contents:Length/binary, Next/binary>> ->
            {ok, Id, Contents, Next};
        _ when byte_size(Bytes) >= ?HEADER_BYTES ->
            {more, ?HEADER_BYTES + Length}
    end;
parse_id(<<>>, _, _, _, _) ->
    {more, ?HEADER_BYTES};
parse_id(_, 0, _, _, _) ->
    {error, separator};
parse_id(<<C, Rest/binary>>, N, Id, Length, Bytes) when ?is_digit(C) ->
    parse_id(Rest, N - 1, Id * 16 + C - $0, Length, Bytes);
parse_id(<<C, Rest/binary>>, N, Id, Length, Bytes) when C >= $a, C =< $f ->
    parse_id(Rest, N - 1, Id * 16 + C - $a + 10, Length, Bytes);
parse_id(_, _, _, _, _) ->
    {error, id}.

-spec frame(id(), iodata()) -> iolist().
frame(Id, Contents) ->
    [header(Id, iolist_size(Contents)) | Contents].

header(Id, Length) ->
    <<(decimal(Length))/binary, $|, (hex(<<Id:64>>))/binary, $|>>.

decimal(N) ->
    << <<($0 + N div P rem 10)>> || P <- [10000000, 1000000, 100000, 10000, 1000, 100, 10, 1] >>.

%%% Requests and replies

%% The contents of a frame with an ID: the client's address, undefined where the edge gave none, and what it posted.
%% Whether the address is one, and not only made of the same characters, is for the caller to find.
-spec parse_request(binary()) ->
          {ok, Address :: binary() | undefined, Query :: binary(), Body :: binary()} | {error, address | query}.
parse_request(<<$<, _/binary>> = Body) ->
    {ok, undefined, <<>>, Body};
parse_request(Contents) ->
    parse_address(Contents, 0, Contents).

parse_address(<<$\s, Body/binary>>, N, Contents) when N >= 2, N =< ?MAX_ADDRESS_BYTES ->
    {ok, binary:part(Contents, 0, N), <<>>, Body};
parse_address(<<$?, Rest/binary>>, N, Contents) when N >= 2, N =< ?MAX_ADDRESS_BYTES ->
    parse_query(Rest, 0, Rest, binary:part(Contents, 0, N));
parse_address(<<C, Rest/binary>>, N, Contents) when ?is_address(C) ->
    parse_address(Rest, N + 1, Contents);
parse_address(_, _, _) ->
    {error, address}.

%% What a URL may have: visible ASCII but for the mark of a fragment.
parse_query(<<$\s, Body/binary>>, N, Text, Address) when N > 0, N =< ?MAX_QUERY_BYTES ->
    {ok, Address, binary:part(Text, 0, N), Body};
parse_query(<<C, Rest/binary>>, N, Text, Address) when C > $\s, C < 16#7f, C =/= $# ->
    parse_query(Rest, N + 1, Text, Address);
parse_query(_, _, _, _) ->
    {error, query}.

%% The status is left out where that leaves no doubt.
-spec reply(id(), 200..599, binary()) -> iolist().
reply(Id, 200, <<>>) -> frame(Id, <<>>);
reply(Id, 200, <<$<, _/binary>> = Body) -> frame(Id, Body);
reply(Id, Status, Body) when Status >= 200, Status =< 599 ->
    frame(Id, [integer_to_binary(Status), $\s, Body]).

%%% Streams (PROTOCOL.md, "Streams")

%% The contents that open a stream: the client's address, and parts of its request as far as they are stated. Unknown
%% keys are for later versions.
-spec parse_open(binary()) -> {ok, Address :: binary(), #{host | path | origin => binary()}} | {error, open}.
parse_open(<<$+, Rest/binary>>) -> open_address(Rest, 0, Rest);
parse_open(_) -> {error, open}.

open_address(<<C, Rest/binary>>, N, Text) when ?is_address(C) -> open_address(Rest, N + 1, Text);
open_address(<<" ws", Rest/binary>>, N, Text) when N >= 2, N =< ?MAX_ADDRESS_BYTES ->
    case Rest of
        <<>> -> {ok, binary:part(Text, 0, N), #{}};
        <<$\s, Args/binary>> -> open_keys(binary:split(Args, <<$\s>>, [global]), binary:part(Text, 0, N), #{});
        _ -> {error, open}
    end;
open_address(_, _, _) -> {error, open}.

open_keys([], Address, Keys) -> {ok, Address, Keys};
open_keys([Pair | Pairs], Address, Keys) ->
    N = verb_bytes(Pair, 0),
    case Pair of
        <<Name:N/binary, $=, Text/binary>> when N > 0, Text =/= <<>> ->
            case {open_key(Name), unescaped(Text, <<>>)} of
                {_, error} -> {error, open};
                {unknown, _} -> open_keys(Pairs, Address, Keys);
                {Key, _} when is_map_key(Key, Keys) -> {error, open};
                {Key, Value} -> open_keys(Pairs, Address, Keys#{Key => Value})
            end;
        _ -> {error, open}
    end.

open_key(<<"host">>) -> host;
open_key(<<"path">>) -> path;
open_key(<<"origin">>) -> origin;
open_key(_) -> unknown.

unescaped(<<$%, A, B, Rest/binary>>, Value) ->
    case {hex_digit(A), hex_digit(B)} of
        {High, Low} when is_integer(High), is_integer(Low) -> unescaped(Rest, <<Value/binary, (16 * High + Low)>>);
        _ -> error
    end;
unescaped(<<C, Rest/binary>>, Value) when C > $\s, C =< $~, C =/= $% -> unescaped(Rest, <<Value/binary, C>>);
unescaped(<<>>, Value) -> Value;
unescaped(_, _) -> error.

hex_digit(C) when C >= $A, C =< $F -> C - $A + 10;
hex_digit(C) when ?is_hex(C) -> undigit(C);
hex_digit(_) -> error.

%% The contents that end a stream.
-spec parse_end(binary()) -> {ok, code(), Text :: binary()} | {error, 'end'}.
parse_end(<<$-, A, B, C, D, Rest/binary>>) when A >= $1, A =< $4, ?is_digit(B), ?is_digit(C), ?is_digit(D) ->
    case Rest of
        <<>> -> {ok, binary_to_integer(<<A, B, C, D>>), <<>>};
        <<$\s, Text/binary>> when Text =/= <<>>, byte_size(Text) =< ?MAX_TEXT_BYTES ->
            case is_utf8(Text) of
                true -> {ok, binary_to_integer(<<A, B, C, D>>), Text};
                false -> {error, 'end'}
            end;
        _ -> {error, 'end'}
    end;
parse_end(_) -> {error, 'end'}.

is_utf8(<<_/utf8, Rest/binary>>) -> is_utf8(Rest);
is_utf8(Rest) -> Rest =:= <<>>.

%% Accepts a stream.
-spec accept(id()) -> iolist().
accept(Id) -> frame(Id, <<$+>>).

-spec stream_end(id(), code()) -> iolist().
stream_end(Id, Code) when Code >= 1000, Code =< 4999 -> frame(Id, [$- | integer_to_binary(Code)]).

%% Takes the first credit off the arguments of "credit": Bytes more may be sent to stream Id.
-spec next_credit(binary() | undefined) -> none | {ok, id(), Bytes :: pos_integer(), Rest :: binary()} |
                                           {error, credit}.
next_credit(Args) ->
    case next_id(Args) of
        {ok, Id, Rest} ->
            {Number, More} = case binary:split(Rest, <<$\s>>) of
                                 [Text, Next] when Next =/= <<>> -> {number(Text), Next};
                                 [Text] -> {number(Text), <<>>};
                                 _ -> {error, <<>>}
                             end,
            case Number of
                {ok, Bytes} -> {ok, Id, Bytes, More};
                error -> {error, credit}
            end;
        none -> none;
        {error, id} -> {error, credit}
    end.

%% The line that acknowledges so many bytes of these streams.
-spec credits([{id(), Bytes :: pos_integer()}]) -> iolist().
credits(Credits) ->
    [<<"credit">>, [[$\s, hex(<<Id:64>>), $\s, integer_to_binary(Bytes)] || {Id, Bytes} <- Credits], $\n].

%%% Control lines

%% Takes the first line off the contents of a control frame.
-spec next_line(binary()) ->
          none | {ok, Verb :: binary(), Args :: binary() | undefined, Rest :: binary()} | {error, line | verb | args}.
next_line(<<>>) ->
    none;
next_line(Contents) ->
    case binary:split(Contents, <<$\n>>) of
        [_] -> {error, line};
        [Line, Rest] -> parse_line(Line, verb_bytes(Line, 0), Rest)
    end.

parse_line(Line, N, Rest) when N > 0, N =< ?MAX_VERB_BYTES ->
    case Line of
        <<Verb:N/binary>> -> {ok, Verb, undefined, Rest};
        <<Verb:N/binary, $\s, Args/binary>> ->
            case Args =/= <<>> andalso is_value(Args) of
                true -> {ok, Verb, Args, Rest};
                false -> {error, args}
            end;
        _ -> {error, verb}
    end;
parse_line(_, _, _) ->
    {error, verb}.

%% Lower-case letters, digits and "-": verbs and keys.
verb_bytes(<<C, Rest/binary>>, N) when ?is_lower(C); ?is_digit(C); C =:= $- -> verb_bytes(Rest, N + 1);
verb_bytes(_, N) -> N.

%% Anything but control characters, the tab aside.
is_value(<<C, Rest/binary>>) when C >= 16#20, C =/= 16#7f; C =:= $\t -> is_value(Rest);
is_value(Rest) -> Rest =:= <<>>.

%% Takes the first ID off the arguments of "gone" or "release".
-spec next_id(binary()) -> none | {ok, id(), Rest :: binary()} | {error, id}.
next_id(<<>>) ->
    none;
next_id(<<Digits:16/binary, Rest/binary>>) ->
    case {unhex(Digits), Rest} of
        {{ok, <<0:64>>}, _} -> {error, id};
        {{ok, <<Id:64>>}, <<>>} -> {ok, Id, <<>>};
        {{ok, <<Id:64>>}, <<$\s, Next/binary>>} when Next =/= <<>> -> {ok, Id, Next};
        _ -> {error, id}
    end;
next_id(_) ->
    {error, id}.

%%% Hello and welcome

%% The arguments of the edge's hello. Unknown keys are for later versions; none may be there twice.
-spec parse_hello(binary() | undefined) -> {ok, hello()} | {error, hello}.
parse_hello(undefined) ->
    {error, hello};
parse_hello(Args) ->
    case parse_pairs(binary:split(Args, <<$\s>>, [global]), #{}) of
        {ok, #{version := _, name := _, nonce := _} = Hello} -> {ok, without_unknown_streams(Hello)};
        _ -> {error, hello}
    end.

%% Streams of other versions are none.
without_unknown_streams(#{streams := false} = Hello) -> maps:remove(streams, Hello);
without_unknown_streams(Hello) -> Hello.

parse_pairs([], Hello) ->
    {ok, Hello};
parse_pairs([Pair | Pairs], Hello) ->
    N = verb_bytes(Pair, 0),
    case Pair of
        <<"proof=", _/binary>> when Pairs =/= [] ->
            error;          % the part behind it would not be proved
        <<Name:N/binary, $=, Text/binary>> when N > 0, Text =/= <<>> ->
            case parse_value(Name, Text) of
                unknown -> parse_pairs(Pairs, Hello);
                {Key, {ok, Value}} when not is_map_key(Key, Hello) -> parse_pairs(Pairs, Hello#{Key => Value});
                _ -> error
            end;
        _ ->
            error
    end.

parse_value(<<"version">>, Text) -> {version, number(Text)};
parse_value(<<"name">>, Text) -> {name, name(Text)};
parse_value(<<"nonce">>, Text) when byte_size(Text) =:= 32 -> {nonce, unhex(Text)};
parse_value(<<"nonce">>, _) -> {nonce, error};
parse_value(<<"mac">>, Text) -> {mac, digest(Text)};
parse_value(<<"proof">>, Text) -> {proof, digest(Text)};
parse_value(<<"max">>, Text) ->
    case number(Text) of
        {ok, Max} when Max =< ?MAX_CONTENTS -> {max, {ok, Max}};
        _ -> {max, error}
    end;
parse_value(<<"stream">>, Text) -> {streams, {ok, Text =:= <<"1">>}};
parse_value(<<"window">>, Text) -> {window, number(Text)};
parse_value(_, _) -> unknown.

digest(Text) when byte_size(Text) =:= 64 -> unhex(Text);
digest(_) -> error.

%% A number from 1 to 999,999,999 without leading zeros.
number(<<C, _/binary>> = Text) when C >= $1, C =< $9, byte_size(Text) =< 9 ->
    try {ok, binary_to_integer(Text)}
    catch error:badarg -> error
    end;
number(_) ->
    error.

name(Text) ->
    case valid_name(Text) of
        true -> {ok, binary:copy(Text)};
        false -> error
    end.

%% 1 to 64 of A-Z a-z 0-9 . _ -
-spec valid_name(binary()) -> boolean().
valid_name(Text) ->
    Text =/= <<>> andalso byte_size(Text) =< ?MAX_NAME_BYTES andalso is_name(Text).

is_name(<<C, Rest/binary>>) when
      ?is_lower(C); ?is_upper(C); ?is_digit(C); C =:= $.; C =:= $_; C =:= $- -> is_name(Rest);
is_name(Rest) -> Rest =:= <<>>.

%% Our hello: the line without its LF. Window is that of streams; none: they are not taken.
-spec hello(Name :: binary(), Nonce :: <<_:128>>, Max :: pos_integer(), instance(), Window :: pos_integer() | none) ->
          binary().
hello(Name, Nonce, Max, Instance, Window) ->
    <<"hello version=1 name=", Name/binary, " nonce=", (hex(Nonce))/binary, " max=", (integer_to_binary(Max))/binary,
      " take=query", (instance(Instance))/binary, (streams(Window))/binary>>.

streams(none) -> <<>>;
streams(Window) -> <<" stream=1 window=", (integer_to_binary(Window))/binary>>.

instance(none) -> <<>>;
instance({Token, AgeMs}) ->
    <<" instance=", (hex(Token))/binary, " age=", (integer_to_binary(min(AgeMs, ?MAX_NUMBER)))/binary>>.

%% Our welcome: the line without its LF.
-spec welcome(Proof :: <<_:256>> | undefined) -> binary().
welcome(undefined) -> <<"welcome">>;
welcome(Proof) -> <<"welcome proof=", (hex(Proof))/binary>>.

%%% The secret

%% HMAC-SHA256(Secret, Role NUL Line NUL Line ...). Lines have no LF, and the one that carries the proof is without it.
-spec proof(Secret :: binary(), Role :: binary(), Lines :: [binary()]) -> <<_:256>>.
proof(Secret, Role, Lines) ->
    crypto:mac(hmac, sha256, Secret, [Role | [[0, Line] || Line <- Lines]]).

%% What the proof at the end of a line covers: all of it where there is none.
-spec unproved(Line :: binary()) -> binary().
unproved(Line) ->
    N = byte_size(Line) - byte_size(<<" proof=">>) - 64,
    case Line of
        <<Covered:N/binary, " proof=", _/binary>> when N >= 0 -> Covered;
        _ -> Line
    end.

%% Compares two proofs in a time that does not depend on where they differ.
-spec equal(<<_:256>>, <<_:256>>) -> boolean().
equal(A, B) ->
    crypto:hash_equals(A, B).

%%% Hexadecimal digits, lower-case

hex(Bytes) ->
    << <<(digit(N))>> || <<N:4>> <= Bytes >>.

digit(N) when N < 10 -> $0 + N;
digit(N) -> $a + N - 10.

unhex(Digits) ->
    case [0 || <<C>> <= Digits, not ?is_hex(C)] of
        [] -> {ok, << <<(undigit(C)):4>> || <<C>> <= Digits >>};
        _ -> error
    end.

undigit(C) when C =< $9 -> C - $0;
undigit(C) -> C - $a + 10.
