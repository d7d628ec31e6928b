%%% Bounds: an edge that does not read, and what a held request costs.
-module(mod_megaphone_pressure_tests).
-include_lib("eunit/include/eunit.hrl").

-define(KB, 1024).
-define(MB, (1024 * ?KB)).

%% The edge asks for more than all buffers between take, and reads nothing. The link stops reading, and answers still
%% when it is asked how it is; when the edge reads at last, everything is there.
a_slow_edge_is_not_read_from_test_() ->
    {spawn, {timeout, 60, fun() ->
        N = 600, Size = 30 * ?KB, High = 256 * ?KB,
        %% The first request loads the modules that the others need; meanwhile none would be answered.
        {1, _, Edge} = test_edge:recv(test_edge:request(test_edge:up([{high_water, High}]), 1, <<"<echo/>">>)),
        Body = <<"<echo>", (binary:copy(<<"x">>, Size))/binary>>,
        Sender = spawn_monitor(fun() -> [test_edge:request(Edge, Id, Body) || Id <- lists:seq(1, N)] end),
        stalled(Edge, -1),
        #{unsent := Unsent, live := Live, frames_in := Frames} = test_edge:info(Edge),
        ?assert(Unsent > High div 2),            % below which it would read again
        ?assert(Unsent < High + 2 * ?MB),       % the requests of one read, and the bytes under way
        ?assert(Live < 100),
        ?assert(Frames < N),
        {Ids, Last} = lists:mapfoldl(fun(_, E) -> {Id, Body, Next} = test_edge:recv(E), {Id, Next} end,
                                     Edge, lists:seq(1, N)),
        ?assertEqual(lists:seq(1, N), lists:sort(Ids)),
        {SenderPid, Monitor} = Sender,
        receive {'DOWN', Monitor, process, SenderPid, normal} -> ok end,
        test_edge:await(fun() -> maps:get(unsent, test_edge:info(Last)) =:= 0 end),
        test_edge:close(Last)
    end}}.

%% Waits until the link has read nothing more for a while, while there is more to read.
stalled(Edge, Before) ->
    receive after 200 -> ok end,
    case test_edge:info(Edge) of
        #{bytes_in := Before, bytes_out := Out} when Out > 0 -> ok;
        #{bytes_in := Now} -> stalled(Edge, Now)
    end.

%% An edge that takes nothing for ping_timeout is left, and its requests end with the link.
an_edge_that_never_reads_is_left_test_() ->
    {spawn, {timeout, 60, fun() ->
        register(engine, self()),
        N = 200,
        Edge = test_edge:up([{high_water, 64 * ?KB}, {ping_timeout, 1000}]),
        Pids = held(N, Edge),
        Link = monitor(process, test_edge:pid(Edge)),
        Big = binary:copy(<<"<">>, 100 * ?KB),
        [Pid ! {answer, {200, [], Big}} || Pid <- tl(Pids)],
        receive {'DOWN', Link, process, _, Why} -> ?assertEqual({shutdown, overflow}, Why) end,
        test_edge:await(fun() -> not lists:any(fun is_process_alive/1, Pids) end),
        test_edge:close(Edge)
    end}}.

%% A stanza to a room, and one to all: more waits than the wire takes in several ping timeouts, and the edge says
%% nothing meanwhile. All of it arrives, and what waits is kept once.
a_link_that_makes_progress_is_kept_test_() ->
    [{spawn, {timeout, 120, fun() -> all_arrive(N, Size) end}} || {N, Size} <- [{600, 250 * ?KB}, {25000, 4 * ?KB}]].

all_arrive(N, Size) ->
    register(engine, self()),
    Timeout = 3000,
    Edge = test_edge:up([{ping_timeout, Timeout}]),
    Pids = held(N, Edge),
    erlang:garbage_collect(),
    test_edge:control(Edge, <<"gone ffffffffffffffff\n">>),     % the last sign of life
    Before = erlang:memory(binary),
    spawn_link(fun() -> [P ! {answer, {200, [], [$<, binary:copy(<<"x">>, Size - 1)]}} || P <- Pids] end),
    Until = erlang:monotonic_time(millisecond) + 3 * Timeout,
    {Left, Slow} = read_slowly(N, Size, Until, Edge),
    [erlang:garbage_collect(P) || P <- [self(), test_edge:pid(Edge)]],
    #{unsent := Unsent, live := 0, stage := up} = test_edge:info(Slow),
    ?assert(Unsent > N * Size div 4),
    io:format(user, "~n~B replies of ~B bytes: ~B MB wait in ~B MB~n",
              [N, Size, Unsent div ?MB, (erlang:memory(binary) - Before) div ?MB]),
    ?assert(erlang:memory(binary) - Before < Unsent * 5 div 4 + 16 * ?MB),
    Last = read_replies(Left, Size, Slow),
    test_edge:await(fun() -> maps:get(unsent, test_edge:info(Last)) =:= 0 end),
    test_edge:close(Last).

%% Reads 256 KiB in 40 ms, some 6 MB/s, until it is late.
read_slowly(Left, Size, Until, Edge) ->
    Few = max(1, 256 * ?KB div Size),
    Read = read_replies(Few, Size, Edge),
    receive after 40 -> ok end,
    case erlang:monotonic_time(millisecond) < Until of
        true -> read_slowly(Left - Few, Size, Until, Read);
        false -> {Left - Few, Read}
    end.

read_replies(0, _, Edge) ->
    Edge;
read_replies(N, Size, Edge) ->
    case test_edge:recv(Edge) of
        {0, _, Next} -> read_replies(N, Size, Next);
        {_, Body, Next} when byte_size(Body) =:= Size -> read_replies(N - 1, Size, Next);
        closed -> error({closed, N, [C || {{ended, _}, V} = C <- mod_megaphone_stats:all(), V > 0]})
    end.

held(N, Edge) ->
    _ = spawn_link(fun() -> [test_edge:request(Edge, Id, <<"<b/>">>) || Id <- lists:seq(1, N)] end),
    [receive {request, Pid, _, _} -> Pid end || _ <- lists:seq(1, N)].

%% A held request is a process of the smallest heap, and keeps nothing of its input.
a_held_request_costs_little_test_() ->
    {spawn, {timeout, 60, fun() ->
        register(engine, self()),
        N = 2000,
        Edge = test_edge:up([]),
        Request = <<"192.0.2.1 <body rid='573741820' sid='0123456789012345678901234567890123456789' "
                    "xmlns='http://jabber.org/protocol/httpbind'/>">>,
        _ = sys:get_state(test_edge:pid(Edge)),
        erlang:garbage_collect(test_edge:pid(Edge)),
        LinkBefore = memory(test_edge:pid(Edge)),
        test_edge:send(Edge, [test_edge:frame(Id, Request) || Id <- lists:seq(1, N)]),
        Pids = [receive {request, Pid, _, _} -> Pid end || _ <- lists:seq(1, N)],
        %% The sweep comes at the second tick.
        test_edge:await(fun() -> lists:all(fun(P) -> process_info(P, binary) =:= {binary, []} end, Pids) end),
        Bytes = lists:max([memory(P) || P <- Pids]),
        erlang:garbage_collect(test_edge:pid(Edge)),
        Link = (memory(test_edge:pid(Edge)) - LinkBefore) / N,
        io:format(user, "~na held request: ~B bytes in its process, ~.1f in its link~n", [Bytes, Link]),
        ?assert(Bytes =< 2800),
        ?assert(Link =< 200),
        [exit(P, kill) || P <- Pids],
        test_edge:close(Edge)
    end}}.

%% What waits leaves before each read: with an edge that always has more to say, there is never no message.
a_reply_leaves_while_the_edge_talks_test_() ->
    {spawn, {timeout, 60, fun() ->
        register(engine, self()),
        Edge = test_edge:request(test_edge:up([]), 1, <<"<b/>">>),
        Pid = receive {request, P, _, _} -> P end,
        #{reads := Reads} = test_edge:info(Edge),
        Talk = binary:copy(test_edge:frame(0, <<"gone 0000000000000002\n">>), 1300),
        Sender = spawn_link(fun() -> talk(Edge, Talk) end),
        test_edge:await(fun() -> maps:get(reads, test_edge:info(Edge)) > Reads + 10 end),
        Pid ! {answer, {200, [], <<"<x/>">>}},
        {1, <<"<x/>">>, _} = test_edge:recv(Edge),
        unlink(Sender),
        exit(Sender, kill),
        test_edge:close(Edge)
    end}}.

talk(Edge, Talk) -> talk(test_edge:send(Edge, Talk), Talk).

%% A batch above high_water that the socket takes completely is no reason to stop reading permanently.
a_small_high_water_test_() ->
    {spawn, {timeout, 60, fun() ->
        N = 200,
        Edge = test_edge:up([{high_water, 8 * ?KB}]),
        Ping = test_edge:frame(0, [<<"ping ">>, binary:copy(<<"t">>, 64), $\n]),
        test_edge:send(Edge, binary:copy(Ping, N)),
        Answered = lists:foldl(fun(_, E) -> element(2, test_edge:recv_control(E)) end, Edge, lists:seq(1, N)),
        {<<"pong b\n">>, Last} = test_edge:recv_control(test_edge:control(Answered, <<"ping b\n">>)),
        test_edge:close(Last)
    end}}.

%% An edge that reads slowly, and for longer than the ping timeout, could not be heard meanwhile. It is asked whether it
%% is alive before it counts as dead.
a_pause_is_no_silence_test_() ->
    {spawn, {timeout, 60, fun() ->
        register(engine, self()),
        N = 300, Timeout = 2000,
        Edge = test_edge:up([{ping_timeout, Timeout}, {high_water, 64 * ?KB}]),
        test_edge:send(Edge, [test_edge:frame(Id, <<"<b/>">>) || Id <- lists:seq(1, N)]),
        Pids = [receive {request, Pid, _, _} -> Pid end || _ <- lists:seq(1, N)],
        [Pid ! {answer, {200, [], binary:copy(<<"<">>, 60 * ?KB)}} || Pid <- Pids],
        test_edge:await(fun() -> maps:get(unsent, test_edge:info(Edge)) > ?MB end),
        #{reads := Reads} = test_edge:info(Edge),
        test_edge:control(Edge, <<"gone 00000000000000ff\n">>),      % the last read for a while
        test_edge:await(fun() -> maps:get(reads, test_edge:info(Edge)) > Reads end),
        Began = erlang:monotonic_time(millisecond),
        Slow = lists:foldl(fun(_, E) -> receive after 11 -> next_reply(E) end end, Edge, lists:seq(1, 200)),
        ?assert(erlang:monotonic_time(millisecond) - Began > Timeout),
        %% The last third may be in the socket's own queue, with a ping behind it that must not wait.
        Read = lists:foldl(fun(_, E) -> next_reply(E) end, Slow, lists:seq(201, N)),
        Alive = test_edge:control(test_edge:skip_to(Read, <<"ping alive\n">>), <<"pong alive\nping b\n">>),
        test_edge:close(test_edge:skip_to(Alive, <<"pong b\n">>))
    end}}.

next_reply(Edge) ->
    case test_edge:recv(Edge) of
        {0, _, Next} -> next_reply(Next);
        {_, _, Next} -> Next
    end.

%% Bytes are no sign of life before hello: it has one ping timeout in all.
hello_is_not_waited_for_longer_because_it_trickles_test_() ->
    {spawn, {timeout, 60, fun() ->
        {_, Edge} = test_edge:recv_control(test_edge:dial([{ping_timeout, 300}])),
        Hello = test_edge:frame(0, [<<"hello version=1 name=">>, binary:copy(<<"x">>, 900), $\n]),
        Sender = spawn(fun() -> [receive after 30 -> test_edge:send(Edge, <<C>>) end || <<C>> <= Hello] end),
        {<<"error nothing was heard", _/binary>>, Told} = test_edge:recv_control(Edge),
        exit(Sender, kill),
        test_edge:close(Told)
    end}}.

memory(Pid) -> element(2, process_info(Pid, memory)).
