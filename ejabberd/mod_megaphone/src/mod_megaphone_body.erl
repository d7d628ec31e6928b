%%% The attributes of the first tag of requests and replies that their order needs. The engine reads the rest, and
%%% reports its mistakes.
-module(mod_megaphone_body).

-export([session/1, sid/1, poll/1, is_terminate/1]).

%% Of 2^53 - 1 (XEP-0124 section 14.1).
-define(MAX_RID_DIGITS, 16).

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

%% Session and rid of a request that says nothing else; none: it does, or the tag is odd.
-spec poll(binary()) -> {Sid :: binary(), Rid :: non_neg_integer()} | none.
poll(Body) ->
    poll(attributes(Body), none, none, none).

poll(Rest, Sid, Rid, Namespace) ->
    case attribute(Rest) of
        {<<"sid">>, Value, More} when Sid =:= none -> poll(More, Value, Rid, Namespace);
        {<<"rid">>, Value, More} when Rid =:= none, byte_size(Value) =< ?MAX_RID_DIGITS ->
            try binary_to_integer(Value) of
                N when N >= 0, N < 1 bsl 53 -> poll(More, Sid, N, Namespace);
                _ -> none
            catch error:badarg -> none
            end;
        {<<"xmlns">>, <<"http://jabber.org/protocol/httpbind">> = Value, More} when Namespace =:= none ->
            poll(More, Sid, Rid, Value);
        none when is_binary(Sid), is_integer(Rid) ->
            case is_end(Rest) of
                true -> {Sid, Rid};
                false -> none
            end;
        _ -> none
    end.

is_end(<<C, Rest/binary>>) when C =:= $\s; C =:= $\n; C =:= $\t; C =:= $\r -> is_end(Rest);
is_end(<<"/>", Rest/binary>>) -> is_blank(Rest);
is_end(<<"></body>", Rest/binary>>) -> is_blank(Rest);
is_end(_) -> false.

is_blank(<<C, Rest/binary>>) when C =:= $\s; C =:= $\n; C =:= $\t; C =:= $\r -> is_blank(Rest);
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
attribute(<<C, Rest/binary>>) when C =:= $\s; C =:= $\n; C =:= $\t; C =:= $\r ->
    case Rest of
        <<Next, _/binary>> when Next =:= $\s; Next =:= $\n; Next =:= $\t; Next =:= $\r -> attribute(Rest);
        _ -> name(Rest, 0)
    end;
attribute(_) -> none.

name(Tag, N) ->
    case Tag of
        <<Name:N/binary, $=, Quote, Rest/binary>> when Quote =:= $'; Quote =:= $" -> value(Name, Quote, Rest, 0);
        <<_:N/binary, C, _/binary>> when C =/= $>, C =/= $/, C =/= $=, C =/= $\s -> name(Tag, N + 1);
        _ -> none
    end.

value(Name, Quote, Rest, N) ->
    case Rest of
        <<Value:N/binary, Quote, More/binary>> -> {Name, Value, More};
        <<_:N/binary, _, _/binary>> -> value(Name, Quote, Rest, N + 1);
        _ -> none
    end.
