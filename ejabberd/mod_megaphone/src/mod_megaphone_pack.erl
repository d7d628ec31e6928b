%%% The state of an idle c2s process as a binary, and back. unpack(pack(State)) is State for every state.
%%%
%%% Most of a state is the same in all sessions of a host: the template has it, once. The rest has a shape, the list of
%%% its keys; shapes are few as well. A packed state is the number of its shape and the values. Templates and
%%% shapes are persistent terms. They are never erased, because erasing one makes Erlang scan the heaps of all
%%% processes, so their number is bounded. A state without a shape is packed with all its keys.
%%%
%%% Some terms do not survive: an object of native code (TLS, an XML parser, an ETS table) goes with the last reference
%%% to it on a heap, and a fun goes with the code of its module. The process keeps values that contain one on its heap.
-module(mod_megaphone_pack).

-export([pack/1, pack/2, unpack/1, shape/1, survives/1, known/0, limits/0]).

-on_load(init/0).

-export_type([packed/0, shape/0]).

-type state() :: #{atom() => term()}.
%% A state without values that survive, or too large for a binary, stays as it is.
-type packed() :: binary() | {binary(), Kept :: state()} | state().
-type shape() :: none | 0..65535.

%% The first byte of a binary, so that a later version of this module can tell how it was made.
-define(SHAPED, 1).
-define(WHOLE, 2).

%% A template takes some 2 KB, and so does each of its shapes, which has a copy.
-define(MAX_TEMPLATES, 64).
-define(MAX_SHAPES, 2048).
-define(MAX_TEMPLATE_VALUE_BYTES, 1024).
%% Packing a larger state takes longer than the memory is worth.
-define(MAX_STATE_BYTES, 65536).

%% These are never part of a template: they differ from session to session.
-define(OWN, [owner, user, resource, jid, sid, socket, socket_monitor, ip, stream_id, pres_last, pres_timestamp]).

%% These are packed as one, see identity/1.
-define(IDENTITY, [owner, user, resource, sid, jid]).

%% Places in the array that bounds templates and shapes.
-define(LOCK, 1).
-define(TEMPLATES, 2).
-define(SHAPES, 3).

%% The bit in the second word of a reference to an object of native code; see marks/0.
-define(MAGIC, 16#20000).

init() ->
    case persistent_term:get({?MODULE, counts}, undefined) of
        undefined -> persistent_term:put({?MODULE, counts}, atomics:new(?SHAPES, []));
        _ -> ok                         % another version of this module was loaded: what it packed is still there
    end,
    persistent_term:put({?MODULE, marks}, marks()).

-spec limits() -> #{templates | shapes => pos_integer()}.
limits() ->
    #{templates => ?MAX_TEMPLATES, shapes => ?MAX_SHAPES}.

%% How many templates and shapes there are.
-spec known() -> #{templates | shapes => non_neg_integer()}.
known() ->
    Counts = persistent_term:get({?MODULE, counts}),
    #{templates => atomics:get(Counts, ?TEMPLATES), shapes => atomics:get(Counts, ?SHAPES)}.

-spec pack(state()) -> packed().
pack(State) -> pack(State, none).

%% Shape is the one that the state had when it was packed before. It most likely has it still, and to find that out
%% takes half of the time that it takes to find the shape.
-spec pack(state(), shape()) -> packed().
pack(State, Shape) ->
    case erlang:external_size(State) =< ?MAX_STATE_BYTES andalso pack_as(Shape, State) of
        false -> State;
        none -> pack_small(State);
        Packed -> Packed
    end.

%% The shape of a state that is packed.
-spec shape(packed()) -> shape().
shape(<<?SHAPED, Shape:16, _/binary>>) -> Shape;
shape(_) -> none.

pack_as(none, _) ->
    none;
pack_as(Shape, State) ->
    {Base, Keys} = persistent_term:get({?MODULE, shape, Shape}),
    Identity = identity(State),
    %% It has the keys of the shape and no others, and the values of the template.
    case Identity =/= none andalso Keys -- ?IDENTITY =:= Keys
        andalso map_size(State) =:= map_size(Base) + length(Keys) + length(?IDENTITY)
        andalso has_all(maps:next(maps:iterator(Base)), State) andalso values(Keys, State)
    of
        [_ | _] = Values -> shaped(Shape, Identity, Values);
        _ -> none
    end.

has_all(none, _) -> true;
has_all({Key, Value, Others}, State) ->
    case State of
        #{Key := Value} -> has_all(maps:next(Others), State);
        _ -> false
    end.

%% none: it lacks one, or one does not survive.
values(Keys, State) ->
    try [map_get(Key, State) || Key <- Keys] of
        Values -> case survives(Values) of true -> Values; false -> none end
    catch error:{badkey, _} -> none
    end.

shaped(Shape, Identity, Values) ->
    <<?SHAPED, Shape:16, (term_to_binary([Identity | Values], [{minor_version, 2}]))/binary>>.

pack_small(State) ->
    {_, Common} = Template = template(State),
    Own = maps:filter(fun(Key, Value) -> maps:find(Key, Common) =/= {ok, Value} end, State),
    case [Key || {Key, Value} <- maps:to_list(Own), not survives(Value)] of
        [] -> to_binary(State, Own, Template);
        Keys -> {to_binary(maps:without(Keys, State), maps:without(Keys, Own), Template), maps:with(Keys, State)}
    end.

-spec unpack(packed()) -> state().
unpack({Binary, Kept}) ->
    maps:merge(unpack(Binary), Kept);
unpack(<<?SHAPED, Shape:16, Binary/binary>>) ->
    {Base, Keys} = persistent_term:get({?MODULE, shape, Shape}),
    [Identity | Values] = binary_to_term(Binary),
    identify(Identity, maps:merge(Base, maps:from_list(lists:zip(Keys, Values))));
unpack(<<?WHOLE, Binary/binary>>) ->
    binary_to_term(Binary);
unpack(State) when is_map(State) ->
    State.

to_binary(State, Own, Template) ->
    Identity = identity(State),
    Rest = case Identity of none -> Own; _ -> maps:without(?IDENTITY, Own) end,
    {Keys, Values} = lists:unzip(lists:sort(maps:to_list(Rest))),
    case shape(Keys, State, Template) of
        none -> <<?WHOLE, (term_to_binary(State, [{minor_version, 2}]))/binary>>;
        Shape -> shaped(Shape, Identity, Values)
    end.

%%% Identity: owner, user, resource, sid and jid have the same few things in them.

identity(#{owner := Pid, user := U, server := S, lserver := LS, resource := R, sid := {Time, Pid},
           jid := {jid, U, S, R, LU, LS, LR}}) when Pid =:= self() ->
    {U, R, same(LU, U), same(LR, R), Time};
identity(_) ->
    none.

identify(none, State) ->
    State;
identify({U, R, LU, LR, Time}, #{server := S, lserver := LS} = State) ->
    State#{owner => self(), user => U, resource => R, sid => {Time, self()},
           jid => {jid, U, S, R, other(LU, U), LS, other(LR, R)}}.

same(A, A) -> same;
same(A, _) -> A.

other(same, A) -> A;
other(A, _) -> A.

%%% Templates and shapes

%% That of the state's host and kind of connection, taken from the first such state. {0, #{}}: there is none.
template(State) ->
    Key = {?MODULE, template, maps:get(lserver, State, none), maps:get(conn, State, none)},
    case persistent_term:get(Key, none) of
        none -> added(Key, ?TEMPLATES, ?MAX_TEMPLATES, fun(N) -> {N, common(State)} end, {0, #{}});
        Template -> Template
    end.

common(State) ->
    maps:filter(fun(_, Value) -> survives(Value) andalso erlang:external_size(Value) =< ?MAX_TEMPLATE_VALUE_BYTES end,
                maps:without(?OWN, State)).

%% The number of the shape that has these keys of its own.
shape(_, _, {0, _}) ->
    none;
shape(Keys, State, {Number, Common}) ->
    Missing = [Key || Key <- maps:keys(Common), not is_map_key(Key, State)],
    Form = {?MODULE, form, Number, Keys, Missing},
    case persistent_term:get(Form, none) of
        none ->
            added(Form, ?SHAPES, ?MAX_SHAPES,
                  fun(N) ->
                          persistent_term:put({?MODULE, shape, N}, {maps:without(Keys ++ Missing, Common), Keys}),
                          N
                  end, none);
        N -> N
    end.

%% Makes and puts a persistent term. One process at a time does it: putting one twice would be as bad as erasing it.
%% The others go without, once.
added(Key, Place, Max, Make, Without) ->
    Counts = persistent_term:get({?MODULE, counts}),
    case atomics:get(Counts, Place) < Max andalso atomics:compare_exchange(Counts, ?LOCK, 0, 1) of
        ok ->
            try added(Key, Counts, Place, Max, Make, Without)
            after atomics:put(Counts, ?LOCK, 0)
            end;
        _ -> Without
    end.

added(Key, Counts, Place, Max, Make, Without) ->
    case persistent_term:get(Key, none) of
        none ->
            case atomics:get(Counts, Place) < Max of
                true ->
                    Value = Make(atomics:add_get(Counts, Place, 1)),
                    persistent_term:put(Key, Value),
                    Value;
                false -> Without
            end;
        Value -> Value
    end.

%%% What survives

-spec survives(term()) -> boolean().
survives(Term) when is_reference(Term) -> not is_magic(Term);
survives(Term) when is_function(Term) -> erlang:fun_info(Term, type) =:= {type, external};
survives([Head | Tail]) -> survives(Head) andalso survives(Tail);
survives(Term) when is_tuple(Term) -> survives(Term, tuple_size(Term));
survives(Term) when is_map(Term) -> survives(maps:to_list(Term));
survives(_) -> true.

%% The first N elements of a tuple.
survives(_, 0) -> true;
survives(Tuple, N) -> survives(element(N, Tuple)) andalso survives(Tuple, N - 1).

is_magic(Reference) ->
    not persistent_term:get({?MODULE, marks}) orelse has_mark(Reference).

%% Whether references to objects of native code have the mark in this Erlang, and others do not. If not, no reference
%% is packed.
marks() ->
    not has_mark(make_ref()) andalso not has_mark(erlang:monitor(process, self()))
        andalso has_mark(atomics:new(1, [])) andalso has_mark(ets:whereis(ac_tab)).

%% External format: 131, 90, number of words, node, creation, words.
has_mark(Reference) ->
    <<131, 90, Words:16, Rest/binary>> = term_to_binary(Reference),
    <<_:32, Second:32, _/binary>> = binary:part(Rest, byte_size(Rest), -4 * Words),
    Second band ?MAGIC =/= 0.
