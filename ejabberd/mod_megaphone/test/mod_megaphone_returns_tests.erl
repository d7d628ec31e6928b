%%% What goes back when streams end: in order, by few processes, whatever ends meanwhile.
-module(mod_megaphone_returns_tests).
-include_lib("eunit/include/eunit.hrl").

-compile([export_all, nowarn_export_all]).

-define(ROUTERS, 100).

returns_test_() ->
    [{spawn, {timeout, 60, {atom_to_list(Name), fun() -> with_returns(Name) end}}}
     || Name <- [after_the_stream, many_at_once, it_stops_while_routers_route, it_stops_before_a_stream_ends,
                 nothing_is_left]].

%% A router reports its stanzas, and waits for permission to continue.
with_returns(Test) ->
    Self = self(),
    process_flag(trap_exit, true),
    {ok, Pid} = mod_megaphone_returns:start_link(
                  fun(Stanzas) -> Self ! {routes, self(), Stanzas}, receive go_on -> ok end end),
    try ?MODULE:Test()
    after exit(Pid, kill), receive {'EXIT', Pid, _} -> ok end
    end.

%% All that it had, in its order, and not before.
after_the_stream() ->
    [S, Other] = [stream() || _ <- [1, 2]],
    mod_megaphone_returns:route(S, [<<"1">>, <<"2">>]),
    mod_megaphone_returns:route(Other, [<<"other">>]),
    mod_megaphone_returns:route(S, [<<"3">>]),
    ?assertEqual(#{streams => 2, ready => 0, routers => 0}, mod_megaphone_returns:info()),
    ends(S),
    ?assertEqual([<<"1">>, <<"2">>, <<"3">>], routed()),
    mod_megaphone_returns:route(S, [<<"later">>]),
    ?assertEqual([<<"later">>], routed()),
    ends(Other),
    ?assertEqual([<<"other">>], routed()).

many_at_once() ->
    N = 1000,
    Streams = [stream() || _ <- lists:seq(1, N)],
    [mod_megaphone_returns:route(S, [integer_to_binary(I)]) || {I, S} <- lists:enumerate(Streams)],
    Before = erlang:system_info(process_count),
    lists:foreach(fun ends/1, Streams),
    test_edge:await(fun() -> map_get(streams, mod_megaphone_returns:info()) =:= 0 end),
    ?assertEqual(#{streams => 0, ready => N - ?ROUTERS, routers => ?ROUTERS}, mod_megaphone_returns:info()),
    ?assert(erlang:system_info(process_count) < Before),
    ?assertEqual([integer_to_binary(I) || I <- lists:seq(1, N)],
                 lists:sort(fun(A, B) -> binary_to_integer(A) =< binary_to_integer(B) end,
                            [hd(routed()) || _ <- Streams])).

%% They finish, and all that waits is routed before the supervisor continues.
it_stops_while_routers_route() ->
    Streams = [stream() || _ <- lists:seq(1, 2 * ?ROUTERS)],
    [mod_megaphone_returns:route(S, [<<"m">>]) || S <- Streams],
    lists:foreach(fun ends/1, Streams),
    Stopped = stops(),
    [?assertEqual([<<"m">>], routed()) || _ <- Streams],
    receive Stopped -> ok end.

%% A stream that takes longer than a supervisor waits loses nothing.
it_stops_before_a_stream_ends() ->
    S = stream(),
    mod_megaphone_returns:route(S, [<<"m">>]),
    Stopped = stops(),
    receive Stopped -> ok end,
    ends(S),
    ?assertEqual([<<"m">>], routed()).

nothing_is_left() ->
    Streams = [stream() || _ <- lists:seq(1, 20)],
    [mod_megaphone_returns:route(S, [<<"m">>]) || S <- Streams],
    lists:foreach(fun ends/1, Streams),
    [routed() || _ <- Streams],
    test_edge:await(fun() -> mod_megaphone_returns:info() =:= #{streams => 0, ready => 0, routers => 0} end).

%%% Helpers

stream() -> spawn(fun() -> receive stop -> ok end end).

ends(S) -> S ! stop, ok.

routed() -> receive {routes, Pid, Stanzas} -> Pid ! go_on, Stanzas end.

%% Stops it as its supervisor does, and returns the messages that come after that.
stops() ->
    Self = self(),
    Ref = make_ref(),
    Pid = whereis(mod_megaphone_returns),
    spawn(fun() ->
                  Monitor = monitor(process, Pid),
                  Self ! {Ref, monitors},
                  receive {'DOWN', Monitor, process, _, _} -> Self ! {Ref, stopped} end
          end),
    receive {Ref, monitors} -> ok end,
    exit(Pid, shutdown),
    {Ref, stopped}.
