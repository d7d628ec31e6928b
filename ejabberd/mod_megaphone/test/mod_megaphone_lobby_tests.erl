%%% Strangers at the port: their number, which goes first, and their log records.
-module(mod_megaphone_lobby_tests).
-include_lib("eunit/include/eunit.hrl").

-export([log/2]).

%% As many as the node takes.
-define(ROOM, 64).

with_lobby(Test) ->
    {spawn, {timeout, 60, fun() ->
        {ok, Lobby} = mod_megaphone_lobby:start_link(),
        try Test()
        after gen_server:stop(Lobby)
        end
    end}}.

%% The oldest go; those that came later stay, and an edge gets its link and keeps it, whatever else comes.
the_oldest_stranger_goes_test_() ->
    with_lobby(fun() ->
        Before = count({ended, crowded}),
        First = strangers(3),
        Others = strangers(?ROOM),
        [test_edge:closed(E) || E <- First],
        ?assertEqual(Before + 3, count({ended, crowded})),
        [?assertMatch(#{stage := greeting}, test_edge:info(E)) || E <- Others],
        Edge = test_edge:up([]),
        test_edge:closed(hd(Others)),                           % it has made room for the edge
        More = strangers(?ROOM),
        [test_edge:closed(E) || E <- tl(Others)],
        ?assertEqual(Before + 3 + ?ROOM, count({ended, crowded})),
        ?assertMatch(#{stage := up}, test_edge:info(Edge)),
        [?assertMatch(#{stage := greeting}, test_edge:info(E)) || E <- More],
        [test_edge:close(E) || E <- [Edge | More]]
    end).

%% However many come from one address, those of another stay.
the_oldest_of_the_address_with_most_places_goes_test_() ->
    with_lobby(fun() ->
        Elsewhere = strangers_from({127, 0, 0, 2}, 20),
        Flood = strangers(3 * ?ROOM),
        {Gone, Here} = lists:split(2 * ?ROOM + 20, Flood),
        [test_edge:closed(E) || E <- Gone],
        [?assertMatch(#{stage := greeting}, test_edge:info(E)) || E <- Elsewhere ++ Here],
        [test_edge:close(E) || E <- Elsewhere ++ Here]
    end).

%% A place is free again however its stranger ended: by itself, by an error, killed.
places_come_free_test_() ->
    with_lobby(fun() ->
        [Left, Wrong, Killed | Others] = strangers(?ROOM),
        test_edge:close(Left),
        test_edge:send(Wrong, <<"GET / HTTP/1.1\r\n\r\n">>),
        exit(test_edge:pid(Killed), kill),
        [test_edge:await(fun() -> not is_process_alive(test_edge:pid(E)) end) || E <- [Left, Wrong, Killed]],
        More = strangers(3),
        [?assertMatch(#{stage := greeting}, test_edge:info(E)) || E <- Others ++ More],
        [test_edge:close(E) || E <- [Wrong, Killed | Others ++ More]]
    end).

%% 300 strangers of four kinds are one record, and do not keep that of an edge from the log.
strangers_are_one_class_test_() ->
    with_lobby(fun() ->
        #{logged := Times} = persistent_term:get(mod_megaphone_stats),
        #{size := N} = atomics:info(Times),
        [atomics:put(Times, K, 0) || K <- lists:seq(1, N)],     % as if nothing had been logged yet
        ok = logger:add_handler(?MODULE, ?MODULE, #{config => self()}),
        lists:foreach(fun(Said) ->
                              [test_edge:close(drained(test_edge:send(E, Said))) || E <- strangers(30)]
                      end, [<<"GET / HTTP/1.1\r\n\r\n">>, test_edge:frame(1, <<"<body/>">>),
                            test_edge:frame(0, <<"error buy our shoes\n">>)]),
        [test_edge:close(E) || E <- strangers(210)],
        Edge = test_edge:send(test_edge:up([]), <<"GET / HTTP/1.1\r\n\r\n">>),
        test_edge:closed(drained(Edge)),
        logger:remove_handler(?MODULE),
        Texts = texts(),
        Records = fun(Pattern) -> [T || T <- Texts, re:run(T, ["Megaphone: ", Pattern]) =/= nomatch] end,
        ?assertMatch([_], Records("no hello from edge address=127.0.0.1:[0-9]+ ")),
        ?assertMatch([_], Records("link ended edge=edge-1 address=.* reason=.*bad frame"))
    end).

log(#{msg := {Format, Args}}, #{config := Test}) when is_list(Format) ->
    Test ! {logged, unicode:characters_to_binary(io_lib:format(Format, Args))};
log(_, _) ->
    ok.

texts() ->
    receive {logged, Text} -> [Text | texts()]
    after 0 -> []
    end.

%% Reads until there is nothing more.
drained(Edge) ->
    case test_edge:recv(Edge) of
        {_, _, Next} -> drained(Next);
        closed -> Edge
    end.

%% Connections that have been greeted and have said nothing. The oldest is the first.
strangers(N) -> strangers_from({127, 0, 0, 1}, N).

strangers_from(Address, N) ->
    [begin
         {<<"hello ", _/binary>>, Edge} = test_edge:recv_control(test_edge:dial_from(Address, [])),
         Edge
     end || _ <- lists:seq(1, N)].

count(Counter) -> proplists:get_value(Counter, mod_megaphone_stats:all()).
