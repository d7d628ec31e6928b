-module(mod_megaphone_pack_tests).
-include_lib("eunit/include/eunit.hrl").

-compile([export_all, nowarn_export_all]).

-define(STATES, 3000).

pack_test_() ->
    [{atom_to_list(Name), {timeout, 60, fun ?MODULE:Name/0}}
     || Name <- [a_session_is_small, who_is_who_is_rebuilt_only_where_it_fits, native_objects_stay_on_the_heap,
                 what_survives, a_large_state_stays_as_it_is, many_at_once_make_one_template, any_state_comes_back,
                 templates_and_shapes_are_bounded]].

any_state_comes_back() ->
    Seed = erlang:unique_integer([positive]) + erlang:system_time(),
    rand:seed(exsss, Seed),
    [begin
         State = random_state(),
         ?assertEqual({Seed, N, State}, {Seed, N, again(State)})
     end || N <- lists:seq(1, ?STATES)].

%% The contents of a template are not in the binary; a value of several keys is in it once.
a_session_is_small() ->
    Host = <<"small.example">>,
    _ = mod_megaphone_pack:pack(session(Host, <<"first">>)),
    State = session(Host, <<"someone-else">>),
    Packed = mod_megaphone_pack:pack(State),
    ?assert(is_binary(Packed)),
    ?assertEqual(nomatch, binary:match(Packed, [Host, <<"compression_none">>, <<"stream_timeout">>])),
    ?assert(byte_size(Packed) < 450),
    ?assertEqual(1, length(binary:matches(Packed, <<"someone-else">>))),
    ?assertEqual(State, mod_megaphone_pack:unpack(Packed)).

who_is_who_is_rebuilt_only_where_it_fits() ->
    #{jid := Jid, sid := {Time, _}} = State = session(<<"who.example">>, <<"Juliet">>),
    Other = spawn(fun() -> ok end),
    [?assertEqual(S, again(S))
     || S <- [State,
              State#{owner => Other}, State#{sid => {Time, Other}}, State#{sid => odd}, State#{user => <<"Romeo">>},
              State#{server => <<"other.example">>}, State#{jid => erlang:append_element(Jid, more)},
              State#{jid => setelement(5, Jid, <<"juliet">>)}, maps:remove(jid, State), maps:remove(server, State),
              maps:remove(lserver, State)]].

%% An object of native code is freed with the last reference on a heap: packing it would lose it.
native_objects_stay_on_the_heap() ->
    Self = self(),
    Pid = spawn_link(fun() ->
                             Count = atomics:new(1, []),
                             atomics:put(Count, 1, 42),
                             State = (session(<<"native.example">>, <<"a">>))#{socket => {tls, #{deep => [Count]}}},
                             erlang:hibernate(?MODULE, awake, [Self, mod_megaphone_pack:pack(State)])
                     end),
    Pid ! wake,
    receive {Pid, Packed, Value} ->
            ?assertMatch({<<_/binary>>, #{socket := _}}, Packed),
            ?assertEqual(42, Value)
    end.

awake(Parent, Packed) ->
    receive wake -> ok end,
    erlang:garbage_collect(),
    #{socket := {tls, #{deep := [Count]}}} = mod_megaphone_pack:unpack(Packed),
    Parent ! {self(), Packed, atomics:get(Count, 1)}.

what_survives() ->
    [?assertEqual({Survives, Term}, {mod_megaphone_pack:survives(Term), Term})
     || {Survives, Term} <- [{true, make_ref()}, {true, erlang:monitor(process, self())}, {true, erlang:alias()},
                             {true, erlang:send_after(1, self(), late)}, {true, self()}, {true, hd(erlang:ports())},
                             {true, fun lists:map/2}, {true, [a | b]}, {true, #{{1.5, <<1:3>>} => "text"}},
                             {false, atomics:new(1, [])}, {false, ets:new(some, [])}, {false, fun() -> ok end},
                             {false, [a | atomics:new(1, [])]}, {false, {1, {2, [#{x => counters:new(1, [])}]}}},
                             {false, #{atomics:new(1, []) => 1}}, {false, crypto:hash_init(sha256)}]].

a_large_state_stays_as_it_is() ->
    State = (session(<<"large.example">>, <<"a">>))#{queue => [{N, <<"stanza">>} || N <- lists:seq(1, 10000)]},
    ?assertEqual(State, mod_megaphone_pack:pack(State)),
    ?assertEqual(State, again(State)).

%% Of processes that are the first of a host at the same time, one makes the template; a second one would cost a scan of
%% all heaps.
many_at_once_make_one_template() ->
    Host = <<"many.example">>,
    #{templates := Before} = mod_megaphone_pack:known(),
    Monitors = [spawn_monitor(fun() ->
                                      State = session(Host, integer_to_binary(N)),
                                      [State = again(State) || _ <- lists:seq(1, 20)]
                              end) || N <- lists:seq(1, 100)],
    [receive {'DOWN', Ref, process, Pid, Reason} -> ?assertEqual(normal, Reason) end || {Pid, Ref} <- Monitors],
    ?assertEqual(Before + 1, maps:get(templates, mod_megaphone_pack:known())).

%% It is the last test: afterwards there is no room for another template.
templates_and_shapes_are_bounded() ->
    #{templates := Templates, shapes := Shapes} = mod_megaphone_pack:limits(),
    State = session(<<"shapes.example">>, <<"a">>),
    _ = again(State),
    [begin
         S = State#{list_to_atom("key" ++ integer_to_list(N)) => N},
         ?assertEqual(S, again(S))
     end || N <- lists:seq(1, Shapes + 10)],
    ?assertEqual(Shapes, maps:get(shapes, mod_megaphone_pack:known())),
    [begin
         S = session(<<"host", (integer_to_binary(N))/binary>>, <<"a">>),
         ?assertEqual(S, again(S))
     end || N <- lists:seq(1, Templates + 10)],
    ?assertEqual(Templates, maps:get(templates, mod_megaphone_pack:known())).

%%% States

%% Packed anew with the shape that it has, and with one that it may not have, it is the same.
again(State) ->
    Packed = mod_megaphone_pack:pack(State),
    Shape = mod_megaphone_pack:shape(Packed),
    ?assert(Shape =:= none orelse mod_megaphone_pack:pack(State, Shape) =:= Packed),
    Same = mod_megaphone_pack:unpack(Packed),
    Some = rand:uniform(max(1, maps:get(shapes, mod_megaphone_pack:known()))),
    ?assertEqual(Same, mod_megaphone_pack:unpack(mod_megaphone_pack:pack(State, some_shape(Some)))),
    Same.

%% A number is a shape once its persistent term is there.
some_shape(N) ->
    case persistent_term:get({mod_megaphone_pack, shape, N}, none) of
        none -> none;
        _ -> N
    end.

%% As ejabberd 23.01 has it once a client has logged in over BOSH.
session(Host, User) ->
    Time = {1700, 1, 2},
    Bosh = list_to_pid("<0.1.0>"),
    #{access => all, auth_module => ejabberd_auth_anonymous, codec_options => [ignore_els], conn => http_bind,
      ip => {{192, 0, 2, 1}, 0}, jid => {jid, User, Host, <<"tab">>, User, Host, <<"tab">>}, lang => <<"en">>,
      lserver => Host, mod => ejabberd_c2s, owner => self(), pres_a => {0, nil}, resource => <<"tab">>,
      server => Host, shaper => none, sid => {Time, self()},
      socket => {socket_state, ejabberd_bosh, {http_bind, Bosh, {{192, 0, 2, 1}, 0}}, infinity, undefined, none, none},
      socket_monitor => make_ref(), stream_authenticated => true, stream_compressed => false,
      stream_direction => in, stream_encrypted => false, stream_header_sent => true,
      stream_id => integer_to_binary(erlang:unique_integer([positive])), stream_restarted => true,
      stream_state => established, stream_timeout => infinity, stream_version => {1, 0}, tls_enabled => false,
      tls_options => [compression_none], tls_required => false, tls_verify => false, user => User,
      xmlns => <<"jabber:client">>, zlib => false}.

%% A session with some of its keys missing or of another value, and some of other modules.
random_state() ->
    Session = session(one_of([<<"a.example">>, <<"b.example">>]), one_of([<<>>, <<"A">>, <<"a">>, <<"zoë"/utf8>>])),
    Session1 = case rand:uniform(4) of
                   1 -> maps:without(some_of(maps:keys(Session)), Session);
                   _ -> Session
               end,
    lists:foldl(fun(Key, State) -> State#{Key => random_term(4)} end, Session1,
                some_of([pres_last, pres_timestamp, lang, access, csi_state, mgmt_state, caps_resources, tls_options,
                         stop_reason, ip, socket])).

random_term(0) ->
    one_of([a, undefined, [], {}, <<>>, #{}, 0, -1, 1 bsl 70, 0.0, -0.0, 1.5, true, infinity, <<"text">>, <<5:3>>,
            binary:copy(<<"x">>, 100), self(), make_ref(), {1700, 1, 2}, fun lists:map/2, atomics:new(1, []),
            hd(erlang:ports()), fun() -> ok end, [improper | list]]);
random_term(Depth) ->
    Parts = [random_term(rand:uniform(Depth) - 1) || _ <- lists:seq(1, rand:uniform(4))],
    case rand:uniform(5) of
        1 -> Parts;
        2 -> list_to_tuple([presence | Parts]);
        3 -> maps:from_list([{Part, random_term(0)} || Part <- Parts]);
        4 -> gb_sets:from_list(Parts);
        5 -> random_term(0)
    end.

one_of(Terms) -> lists:nth(rand:uniform(length(Terms)), Terms).

some_of(Terms) -> [Term || Term <- Terms, rand:uniform(4) =:= 1].
