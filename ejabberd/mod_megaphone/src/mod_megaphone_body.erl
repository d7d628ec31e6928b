%%% The attributes of the first tag of requests and replies that their order needs. The engine reads the rest, and
%%% reports its mistakes. A scan takes one step a byte and copies nothing.
-module(mod_megaphone_body).

-export([request/1, session/1, sid/1, is_terminate/1]).

%% Of 2^53 - 1 (XEP-0124 section 14.1).
-define(MAX_RID_DIGITS, 16).

-define(is_space(C), (C =:= $\s orelse C =:= $\n orelse C =:= $\t orelse C =:= $\r)).

%% A request of a session: a poll says nothing else than its session and its own number. none: it names no session, or
%% the tag is odd.
-spec request(binary()) -> {poll, Sid :: binary(), Rid :: non_neg_integer()} | {request, Sid :: binary()} | none.
request(Body) ->
    request(attributes(Body), none, none, bare).

%% May: bare, and namespaced after BOSH's namespace, if it may be a poll so far; other if not.
request(Rest, Sid, Rid, May) when is_binary(Sid), is_integer(Rid) ->
    case May =/= other andalso attribute(Rest) of
        {<<"xmlns">>, <<"http://jabber.org/protocol/httpbind">>, More} when May =:= bare ->
            request(More, Sid, Rid, namespaced);
        none ->
            case is_end(Rest) of
                true -> {poll, Sid, Rid};
                false -> {request, Sid}
            end;
        _ -> {request, Sid}
    end;
request(Rest, Sid, Rid, May) ->
    case attribute(Rest) of
        {<<"sid">>, Value, More} -> request(More, Value, Rid, once(Sid, May));
        {<<"rid">>, Value, More} when byte_size(Value) =< ?MAX_RID_DIGITS ->
            try binary_to_integer(Value) of
                N when N >= 0, N < 1 bsl 53 -> request(More, Sid, N, once(Rid, May));
                N -> request(More, Sid, N, other)
            catch error:badarg -> none
            end;
        {<<"xmlns">>, <<"http://jabber.org/protocol/httpbind">>, More} when May =:= bare ->
            request(More, Sid, Rid, namespaced);
        {_, _, More} -> request(More, Sid, Rid, other);
        none when is_binary(Sid) -> {request, Sid};
        none -> none
    end.

once(none, May) -> May;
once(_, _) -> other.

%% What the request says of its session: its id and its own number. none: it does not say, or the tag is odd.
-spec session(binary()) -> {Sid :: binary() | none, Rid :: non_neg_integer() | none}.
session(Body) ->
    session(attributes(Body), none, none).

session(_, Sid, Rid) when is_binary(Sid), is_integer(Rid) -> {Sid, Rid};
session(Rest, Sid, Rid) ->
    case attribute(Rest) of
        {<<"sid">>, Value, More} -> session(More, Value, Rid);
        {<<"rid">>, Value, More} when byte_size(Value) =< ?MAX_RID_DIGITS ->
            try session(More, Sid, binary_to_integer(Value))
            catch error:badarg -> {none, none}
            end;
        {_, _, More} -> session(More, Sid, Rid);
        none -> {Sid, Rid}
    end.

is_end(<<C, Rest/binary>>) when ?is_space(C) -> is_end(Rest);
is_end(<<"/>", Rest/binary>>) -> is_blank(Rest);
is_end(<<"></body>", Rest/binary>>) -> is_blank(Rest);
is_end(_) -> false.

is_blank(<<C, Rest/binary>>) when ?is_space(C) -> is_blank(Rest);
is_blank(Rest) -> Rest =:= <<>>.

%% The id of the session that a reply has opened.
-spec sid(binary()) -> binary() | none.
sid(Body) ->
    {Sid, _} = session(Body),
    Sid.

%% Whether a reply ends its session.
-spec is_terminate(binary()) -> boolean().
is_terminate(Body) ->
    terminates(attributes(Body)).

terminates(Rest) ->
    case attribute(Rest) of
        {<<"type">>, Value, _} -> Value =:= <<"terminate">>;
        {_, _, More} -> terminates(More);
        none -> false
    end.

%% What follows the tag's name. A body may begin with white space or a declaration; those of clients do not.
attributes(<<"<body", Rest/binary>>) -> Rest;
attributes(_) -> <<>>.

%% The next attribute, which white space sets off, and what follows it.
attribute(<<C, Rest/binary>>) when ?is_space(C) -> attribute_after_space(Rest);
attribute(_) -> none.

attribute_after_space(<<C, Rest/binary>>) when ?is_space(C) -> attribute_after_space(Rest);
attribute_after_space(Tag) ->
    case name(Tag, 0) of
        none -> none;
        N ->
            <<Name:N/binary, $=, Quote, Rest/binary>> = Tag,
            case value(Rest, Quote, 0) of
                none -> none;
                Size ->
                    <<Value:Size/binary, Quote, More/binary>> = Rest,
                    {Name, Value, More}
            end
    end.

%% The length of the name that Tag begins with.
name(<<$=, Quote, _/binary>>, N) when Quote =:= $'; Quote =:= $" -> N;
name(<<C, Rest/binary>>, N) when C =/= $>, C =/= $/, C =/= $=, C =/= $\s -> name(Rest, N + 1);
name(_, _) -> none.

%% The number of bytes before the quote.
value(<<Quote, _/binary>>, Quote, N) -> N;
value(<<_, Rest/binary>>, Quote, N) -> value(Rest, Quote, N + 1);
value(<<>>, _, _) -> none.
