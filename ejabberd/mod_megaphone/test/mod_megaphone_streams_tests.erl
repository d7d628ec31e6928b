%%% The streams of a link as a value: windows, turns and ends; and what edges and streams can make up between them, in
%%% any order. Each run has a seed of its own, which a failure names; MEGAPHONE_SEED plays it again.
-module(mod_megaphone_streams_tests).
-include_lib("eunit/include/eunit.hrl").

-record(xmlel, {name = <<>>, attrs = [], children = []}).

-define(WINDOW, 100).
-define(EDGE, #{window => 200, max => 1000}).
-define(ID, 16#3000012f4).
-define(MIB, 1048576).

%%% Opening

a_stream_opens_test() ->
    S = mod_megaphone_streams:open(?ID, 7, new()),
    ?assert(mod_megaphone_streams:is_live(?ID, S)),
    {Acts, _} = acts(mod_megaphone_streams:opened(?ID, 7, self(), S)),
    ?assertEqual([{accept, ?ID}, {watch, ?ID, 7, self()}], Acts).

refused_test() ->
    S = mod_megaphone_streams:open(?ID, 7, new()),
    {Acts, Without} = acts(mod_megaphone_streams:refused(?ID, 7, S)),
    ?assertEqual([{'end', ?ID, 1013}], Acts),
    ?assertEqual(0, mod_megaphone_streams:size(Without)),
    {[], _} = acts(mod_megaphone_streams:refused(?ID, 7, opened())),
    {[{'end', ?ID, 1013}], None} = acts(mod_megaphone_streams:refuse_opening(S)),
    ?assertEqual(0, mod_megaphone_streams:size(None)).

the_client_leaves_while_it_opens_test() ->
    {Acts, S} = acts(mod_megaphone_streams:ended(?ID, mod_megaphone_streams:open(?ID, 7, new()))),
    ?assertEqual([{gone, ?ID, 7}], Acts),
    %% Its process has been started meanwhile, and the id may be used again.
    Again = mod_megaphone_streams:open(?ID, 8, S),
    {Late, _} = acts(mod_megaphone_streams:opened(?ID, 7, self(), Again)),
    ?assertEqual([{tell, self(), {tcp_closed, stream}}], Late).

nothing_before_it_is_accepted_test() ->
    S = mod_megaphone_streams:open(?ID, 7, new()),
    ?assertEqual({fault, grammar}, mod_megaphone_streams:message(?ID, <<"<a/>">>, infinity, S)).

%%% Input

one_message_at_a_time_test() ->
    S0 = opened(),
    {[], S1} = acts(said(<<"<a/>">>, S0)),
    {[Told], S2} = acts(active(S1)),
    ?assertMatch({tell, _, {tcp, stream, [#xmlel{name = <<"a">>}]}}, Told),
    {[], S3} = acts(said(<<"<b/>">>, said(<<"<c/>">>, S2))),
    {[{tell, _, {tcp, stream, [#xmlel{name = <<"c">>}]}}], S4} = acts(active(S3)),
    {[{tell, _, {tcp, stream, [#xmlel{name = <<"b">>}]}}], S5} = acts(active(S4)),
    {[], S6} = acts(active(S5)),
    {[{tell, _, {tcp, stream, [#xmlel{name = <<"d">>}]}}], _} = acts(said(<<"<d/>">>, S6)).

%% Nothing is acknowledged before half of the window, and only what the process has dealt with.
credit_is_for_half_a_window_test() ->
    {_, S0} = acts(active(opened())),
    {[{tell, _, _}], S1} = acts(said(sized(49), S0)),
    {[], S2} = acts(active(S1)),
    {[{tell, _, _}], S3} = acts(said(sized(10), S2)),
    {[{credit, ?ID, 59}], S4} = acts(active(S3)),
    {[{tell, _, _}], S5} = acts(said(sized(5000), S4)),     % larger than the window
    {[{credit, ?ID, 5000}], _} = acts(active(S5)).

an_edge_that_exceeds_the_window_test() ->
    S = said(sized(99), opened()),
    {ok, Full} = mod_megaphone_streams:message(?ID, sized(5), infinity, S),
    ?assertEqual({fault, window}, mod_megaphone_streams:message(?ID, sized(5), infinity, Full)).

what_is_no_element_test() ->
    [begin
         {_, S} = acts(active(opened())),
         {[{tell, _, {tcp, stream, [Event]}}], _} = acts(said(Text, S)),
         ?assertMatch({Text, {xmlstreamerror, {4, _}}}, {Text, Event})
     end || Text <- [<<"<">>, <<"<a>">>, <<"<a/><b/>">>, <<"<a/>x">>, <<"<a></b>">>, <<"<?xml version='1.0'?>">>,
                     <<"<a b='1' b='2'/>">>, <<"<a>&x;</a>">>, <<"<a:b/>x">>, <<"<", 0, "/>">>]].

an_element_too_large_ends_with_1009_test() ->
    {_, S0} = acts(active(opened())),
    {ok, S1} = mod_megaphone_streams:message(?ID, sized(21), 20, S0),
    {[{tell, _, {tcp, stream, [{xmlstreamerror, <<"XML stanza is too big">>}]}}], S2} = acts(S1),
    S3 = out({error, 1008}, <<"<e/>">>, S2),
    {Acts, _} = acts(mod_megaphone_streams:close(?ID, 7, out(last, <<"<c/>">>, S3))),
    ?assertEqual([{message, ?ID, <<"<e/>">>}, {message, ?ID, <<"<c/>">>}, {'end', ?ID, 1009}], Acts).

%% A second <open/> is for after the log-in. ejabberd would write a line of its log for any other.
an_open_that_is_not_due_test() ->
    {_, S0} = acts(active(opened())),
    {[{tell, _, {tcp, stream, [{xmlstreamstart, _, _}]}}], S1} = acts(said(<<"<open/>">>, S0)),
    {[], S2} = acts(said(<<"<open/>">>, active(S1))),
    {[], S3} = acts(said(<<"<open/>">>, S2)),
    {[{tell, _, {tcp, stream, [#xmlel{name = <<"a">>}]}}], S4} = acts(said(<<"<a/>">>, S3)),
    Restarted = mod_megaphone_streams:restart(?ID, 7, S4),
    {[{tell, _, {tcp, stream, [{xmlstreamstart, _, _}]}}], _} = acts(said(<<"<open/>">>, active(Restarted))).

many_of_them_are_acknowledged_test() ->
    {_, S0} = acts(active(said(<<"<open/>">>, opened()))),
    S1 = lists:foldl(fun(_, S) -> said(<<"<open/>">>, S) end, S0, lists:seq(1, 6)),     % 7 x 7 bytes are taken
    {[], S2} = acts(active(S1)),
    {[{credit, ?ID, 56}], _} = acts(said(<<"<open/>">>, S2)).

a_shaper_holds_messages_up_test() ->
    Shaper = p1_shaper:new(100),
    S0 = mod_megaphone_streams:shaper(?ID, 7, Shaper, opened()),
    {_, S1} = acts(active(S0)),
    {Acts, S2} = acts(said(sized(400), S1)),
    ?assertMatch([{tell, _, _}, {later, Ms, ?ID, 7}] when Ms > 0, Acts),
    {[{credit, ?ID, 400}], S3} = acts(active(S2)),
    {[], S4} = acts(said(<<"<b/>">>, S3)),
    {[{tell, _, {tcp, stream, [#xmlel{name = <<"b">>}]}} | _], _} =
        acts(mod_megaphone_streams:unshaped(?ID, 7, infinity, S4)).

%%% Output

output_leaves_at_once_within_the_window_test() ->
    {Acts, S1} = acts(out(stanza, sized(150), opened())),
    ?assertEqual([{message, ?ID, sized(150)}], Acts),
    {[{message, ?ID, _}], S2} = acts(out(stanza, sized(500), S1)),     % the window may be exceeded by one
    {[], S3} = acts(out(stanza, sized(10), S2)),
    {ok, S4} = credit(450, S3),
    {[], S5} = acts(S4),
    {ok, S6} = credit(1, S5),
    ?assertEqual({[{message, ?ID, sized(10)}], 1}, begin {A, S} = acts(S6), {A, mod_megaphone_streams:size(S)} end).

credit_for_what_was_not_sent_test() ->
    {_, S} = acts(out(stanza, sized(10), opened())),
    ?assertEqual(fault, credit(11, S)),
    ?assertMatch({ok, _}, credit(10, S)).

a_message_that_the_edge_does_not_take_test() ->
    {Acts, S} = acts(out(stanza, sized(1001), opened())),
    ?assertEqual([{'end', ?ID, 1009}, {tell, self(), {tcp_closed, stream}}], Acts),
    ?assertEqual(0, mod_megaphone_streams:size(S)).

a_burst_waits_test() ->
    S = lists:foldl(fun(_, Acc) -> out(stanza, sized(1000), Acc) end, opened(), lists:seq(1, 16000)),
    ?assertEqual(1, mod_megaphone_streams:size(S)),
    {Acts, Over} = acts(lists:foldl(fun(_, Acc) -> out(other, sized(1000), Acc) end, S, lists:seq(1, 1000))),
    ?assertEqual(0, mod_megaphone_streams:size(Over)),
    [{return, _, Returned}, {tell, _, {tcp_closed, stream}}, {'end', ?ID, 1008} | Sent] = lists:reverse(Acts),
    ?assertEqual(1, length(Sent)),
    ?assertEqual(15999, length(Returned)).

%% One that reads nothing for five seconds has a MiB, and a minute.
a_client_that_does_not_read_test() ->
    Blocked = out(stanza, sized(10), out(stanza, sized(200), opened())),
    Late = lists:foldl(fun(_, Acc) -> out(stanza, sized(1000), 5000, Acc) end, Blocked, lists:seq(1, ?MIB div 1000)),
    ?assertEqual(1, mod_megaphone_streams:size(Late)),
    ?assertEqual(0, mod_megaphone_streams:size(out(stanza, sized(1000), 5000, Late))),
    ?assertEqual(1, mod_megaphone_streams:size(out(stanza, sized(1000), 4999, Late))),
    ?assertEqual(1, mod_megaphone_streams:size(mod_megaphone_streams:stalled(59999, Blocked))),
    {Acts, Ended} = acts(mod_megaphone_streams:stalled(60000, Blocked)),
    ?assertEqual(0, mod_megaphone_streams:size(Ended)),
    ?assertMatch([_, {'end', ?ID, 1008}, {tell, _, {tcp_closed, stream}}, {return, _, [_]}], Acts),
    {ok, Moved} = mod_megaphone_streams:credit(?ID, 1, false, 50000, Blocked),
    ?assertEqual(1, mod_megaphone_streams:size(mod_megaphone_streams:stalled(60000, Moved))).

%% While the link has no room all wait, and then each has its turn.
the_link_is_full_test() ->
    S0 = lists:foldl(fun(Id, Acc) ->
                             {_, Opened} = acts(mod_megaphone_streams:opened(Id, Id, self(),
                                                                             mod_megaphone_streams:open(Id, Id, Acc))),
                             Opened
                     end, new(), [1, 2, 3]),
    S1 = lists:foldl(fun(Id, Acc) ->
                             mod_megaphone_streams:output(Id, Id, self(), {stanza, <<"<a/>">>}, true, 0, Acc)
                     end, S0, [1, 2, 3, 1]),
    {[], S2} = acts(S1),
    {ok, S3} = mod_megaphone_streams:credit(1, 0, true, 0, S2),
    {[], _} = acts(S3),
    {more, S4} = mod_megaphone_streams:flush(S3),
    {[{message, 1, _}, {message, 1, _}], S5} = acts(S4),
    {more, S6} = mod_megaphone_streams:flush(S5),
    {[{message, 2, _}], S7} = acts(S6),
    %% One whose turn is over comes behind the others.
    S8 = mod_megaphone_streams:output(1, 1, self(), {stanza, <<"<a/>">>}, true, 0, S7),
    {more, S9} = mod_megaphone_streams:flush(S8),
    {[{message, 3, _}], S10} = acts(S9),
    {done, S11} = mod_megaphone_streams:flush(S10),
    {[{message, 1, _}], S12} = acts(S11),
    {done, _} = mod_megaphone_streams:flush(S12),
    %% A client that does not read is no reason to end because the link is slow.
    ?assertEqual(3, mod_megaphone_streams:size(mod_megaphone_streams:stalled(99999, S2))).

%%% Ends

the_process_ends_its_stream_test() ->
    [begin
         {Acts, S} = acts(End(opened())),
         ?assertEqual(Code, element(3, lists:last(Acts))),
         ?assertEqual(0, mod_megaphone_streams:size(S))
     end || {Code, End} <- [{1000, fun(S) -> close(out(last, <<"<close/>">>, S)) end},
                            {1001, fun(S) -> close(out(last, <<"<close/>">>, out({error, 1001}, <<"<e/>">>, S))) end},
                            {1008, fun(S) -> close(out({error, 1008}, <<"<e/>">>, S)) end},
                            {1008, fun close/1},
                            {1000, fun(S) -> close(said(<<"<close/>">>, active(S))) end},
                            {1000, fun(S) -> close(out(last, <<"<close/>">>, said(<<"<close/>">>, active(S)))) end},
                            {1011, fun(S) -> mod_megaphone_streams:down(?ID, 7, S) end}]].

%% What it has said is sent first, though the client must read for it.
last_words_test() ->
    S0 = out(last, <<"<close/>">>, out(stanza, <<"<a/>">>, out(stanza, sized(200), opened()))),
    {[{message, ?ID, _}], S1} = acts(mod_megaphone_streams:down(?ID, 7, close(S0))),
    ?assertEqual(1, mod_megaphone_streams:size(S1)),
    {ok, S2} = credit(200, S1),
    {Acts, S3} = acts(S2),
    ?assertEqual([{message, ?ID, <<"<a/>">>}, {message, ?ID, <<"<close/>">>}, {'end', ?ID, 1000}], Acts),
    ?assertEqual(0, mod_megaphone_streams:size(S3)).

%% What the client had not been sent goes back, unless stream management has it.
the_client_ends_its_stream_test() ->
    S0 = out(stanza, <<"<b/>">>, out(other, <<"<a/>">>, out(stanza, sized(200), opened()))),
    {_, S1} = acts(S0),
    {Acts, S2} = acts(mod_megaphone_streams:ended(?ID, S1)),
    ?assertEqual([{tell, self(), {tcp_closed, stream}}, {return, self(), [<<"<b/>">>]}], Acts),
    ?assertEqual({[{return, self(), [<<"<c/>">>]}], S2}, acts(out(stanza, <<"<c/>">>, S2))),
    ?assertEqual({[], S2}, acts(out(other, <<"<c/>">>, S2))),
    ?assertEqual({[], S2}, acts(close(S2))),
    {ok, S2} = mod_megaphone_streams:message(?ID, <<"<a/>">>, infinity, S2),
    {ok, S2} = credit(1, S2),
    ?assertEqual(S2, mod_megaphone_streams:ended(?ID, S2)).

the_link_ends_test() ->
    S = mod_megaphone_streams:open(1, 1, opened()),
    {Acts, Without} = acts(mod_megaphone_streams:end_all(S)),
    ?assertEqual(lists:sort([{gone, 1, 1}, {tell, self(), {tcp_closed, stream}}]), lists:sort(Acts)),
    ?assertEqual(0, mod_megaphone_streams:size(Without)).

%%% Any order

-define(RUNS, 3000).

interleavings_test_() ->
    {timeout, 120,
     fun() ->
             Seed = case os:getenv("MEGAPHONE_SEED") of
                        false -> erlang:phash2(make_ref());
                        Text -> list_to_integer(Text)
                    end,
             rand:seed(exsss, Seed),
             [try run() catch Class:Reason:Stack -> erlang:raise(Class, {seed, Seed, run, N, Reason}, Stack) end
              || N <- lists:seq(1, ?RUNS)]
     end}.

%% A stream between a client and a process that send numbered messages. Model: what each has sent and got, the bytes
%% that are not acknowledged on either side, and how the stream has ended.
run() ->
    S = opened(),
    W = #{s => S, now => 0, full => false, sent => 0, got => 0, said => 0, heard => 0, owed => 0, credit => ?WINDOW,
          asked => false, over => false, returned => 0, total => 0, acknowledged => 0},
    settle(lists:foldl(fun(_, Acc) -> step(rand:uniform(8), Acc) end, W, lists:seq(1, rand:uniform(150)))).

step(_, #{over := true} = W) -> W;
step(1, #{credit := Credit} = W) when Credit =< 0 -> W;         % an edge that keeps to the window
step(1, #{s := S, sent := N, credit := Credit, total := Total} = W) ->
    Bytes = numbered(N, rand:uniform(60)),
    {ok, Next} = mod_megaphone_streams:message(?ID, Bytes, infinity, S),
    do(W#{s := Next, sent := N + 1, credit := Credit - byte_size(Bytes), total := Total + byte_size(Bytes)});
step(2, W) -> step(1, W);
step(3, #{s := S, asked := false} = W) -> do(W#{s := active(S), asked := true});
step(4, #{s := S, said := N, full := Full, now := Now} = W) ->
    Item = {stanza, numbered(N, rand:uniform(150))},
    do(W#{s := mod_megaphone_streams:output(?ID, 7, self(), Item, Full, Now, S), said := N + 1});
step(5, #{s := S, owed := Owed, full := Full, now := Now} = W) when Owed > 0 ->
    Bytes = rand:uniform(Owed),
    {ok, Next} = mod_megaphone_streams:credit(?ID, Bytes, Full, Now, S),
    do(W#{s := Next, owed := Owed - Bytes});
step(6, #{full := true, s := S} = W) ->
    {Which, Next} = mod_megaphone_streams:flush(S),     % the link is full again after one
    do(W#{s := Next, full := Which =:= more});
step(6, W) -> W#{full := rand:uniform(3) =:= 1};
step(7, #{now := Now} = W) -> W#{now := Now + rand:uniform(1000)};
step(8, #{s := S} = W) ->
    case rand:uniform(20) of
        1 -> do(W#{s := mod_megaphone_streams:ended(?ID, S)});
        2 -> do(W#{s := mod_megaphone_streams:unshaped(?ID, 7, infinity, S)});
        _ -> W
    end;
step(_, W) -> W.

%% The link has room: each that waits has its turn.
room(#{s := S} = W) ->
    {Which, Next} = mod_megaphone_streams:flush(S),
    case {Which, do(W#{s := Next})} of
        {more, Done} -> room(Done);
        {done, Done} -> Done
    end.

do(#{s := S} = W) ->
    {Acts, Next} = acts(S),
    lists:foldl(fun did/2, W#{s := Next}, Acts).

did({tell, _, {tcp, stream, [#xmlel{attrs = [{<<"n">>, Number}]}]}}, #{got := N, asked := true} = W) ->
    ?assertEqual(integer_to_binary(N), Number),
    W#{got := N + 1, asked := false};
did({credit, ?ID, Bytes}, #{credit := Credit, acknowledged := Before, total := Total} = W) ->
    ?assert(Bytes >= ?WINDOW div 2),
    ?assert(Before + Bytes =< Total),
    W#{credit := Credit + Bytes, acknowledged := Before + Bytes};
did({message, ?ID, Bytes}, #{heard := N, owed := Owed} = W) ->
    ?assert(Owed < map_get(window, ?EDGE)),
    ?assertMatch({_, #xmlel{attrs = [{<<"n">>, _}]}}, {Bytes, fxml_stream:parse_element(Bytes)}),
    ?assertEqual(number(N), number_of(Bytes)),
    W#{heard := N + 1, owed := Owed + byte_size(Bytes)};
did({tell, _, {tcp_closed, stream}}, W) -> W#{over := true};
did({return, _, Stanzas}, #{heard := Heard} = W) ->
    ?assertEqual([number(Heard + K) || K <- lists:seq(0, length(Stanzas) - 1)], [number_of(B) || B <- Stanzas]),
    W#{returned := length(Stanzas)}.

%% Everything that waits leaves when both sides read: nothing is lost, nothing comes twice, and nothing is left.
settle(#{over := true, said := Said, heard := Heard, returned := Returned, s := S}) ->
    ?assertEqual(Said, Heard + Returned),
    ?assertEqual(0, mod_megaphone_streams:size(S));
settle(W) -> settle(W, progress(W)).

settle(W, W) ->
    #{sent := Sent, got := Got, said := Said, heard := Heard, credit := Credit, s := S} = W,
    ?assertEqual({Sent, Said}, {Got, Heard}),
    ?assert(Credit > ?WINDOW div 2),
    {done, S1} = mod_megaphone_streams:flush(S),
    ?assertEqual({[], S1}, acts(S1));
settle(_, W) -> settle(W, progress(W)).

progress(#{full := true} = W) -> progress(room(W#{full := false}));
progress(#{owed := Owed, s := S, now := Now} = W) when Owed > 0 ->
    {ok, Next} = mod_megaphone_streams:credit(?ID, Owed, false, Now, S),
    progress(do(W#{s := Next, owed := 0}));
progress(#{asked := false, s := S} = W) -> do(W#{s := active(S), asked := true});
progress(W) -> W.

numbered(N, Fill) -> iolist_to_binary(["<m n='", number(N), "'>", lists:duplicate(Fill, $x), "</m>"]).

number(N) -> integer_to_binary(N).

number_of(Bytes) ->
    #xmlel{attrs = [{<<"n">>, Number}]} = fxml_stream:parse_element(Bytes),
    Number.

%%% Helpers

new() -> mod_megaphone_streams:new(?WINDOW, ?EDGE).

opened() ->
    {_, S} = acts(mod_megaphone_streams:opened(?ID, 7, self(), mod_megaphone_streams:open(?ID, 7, new()))),
    S.

acts(S) -> mod_megaphone_streams:acts(S).

said(Bytes, S) ->
    {ok, Next} = mod_megaphone_streams:message(?ID, Bytes, infinity, S),
    Next.

active(S) -> mod_megaphone_streams:active(?ID, 7, infinity, S).

out(Kind, Bytes, S) -> out(Kind, Bytes, 0, S).
out(Kind, Bytes, Now, S) -> mod_megaphone_streams:output(?ID, 7, self(), {Kind, Bytes}, false, Now, S).

credit(Bytes, S) -> mod_megaphone_streams:credit(?ID, Bytes, false, 0, S).

close(S) -> mod_megaphone_streams:close(?ID, 7, S).

%% An element of so many bytes.
sized(N) when N >= 7 -> <<"<a>", (binary:copy(<<"x">>, N - 7))/binary, "</a>">>;
sized(5) -> <<"<aa/>">>.
