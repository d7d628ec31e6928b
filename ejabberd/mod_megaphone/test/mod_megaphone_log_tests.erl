%%% What the log may hold: not all that edges say, and nothing that clients and edges keep from others.
-module(mod_megaphone_log_tests).
-include_lib("eunit/include/eunit.hrl").

-export([log/2]).

-define(SECRET, <<"a secret that edges share">>).
-define(PASSWORD, "AHB3AHBhc3N3b3Jk").

a_long_error_is_cut_test_() ->
    {spawn, {timeout, 60, fun() ->
        Texts = logged(fun() ->
            Edge = test_edge:up([]),
            test_edge:closed(test_edge:control(Edge, [<<"error begin">>, binary:copy(<<"x">>, 1000000), $\n]))
        end),
        [Text] = [T || T <- Texts, contains(T, <<"Megaphone: link closed by edge edge=.* reason=\"beginxxx">>)],
        ?assert(byte_size(Text) < 600)
    end}}.

%% The engine and the link crash with a password and the secret at hand.
crashes_give_nothing_away_test_() ->
    {spawn, {timeout, 60, fun() ->
        register(engine, self()),
        Texts = logged(fun() ->
            Edge = test_edge:request(up(), 1, <<"<body><auth>", ?PASSWORD, "</auth></body>">>),
            receive {request, Pid, Body, From} -> Pid ! {raise, function_clause, [Body, From]} end,
            {1, <<"500 ">>, Next} = test_edge:recv(Edge),
            sys:replace_state(test_edge:pid(Next), fun break/1),
            test_edge:closed(test_edge:request(Next, 2, <<"<body><auth>", ?PASSWORD, "</auth></body>">>))
        end),
        ?assert(lists:any(fun(T) -> contains(T, <<"Megaphone: BOSH engine failed error=">>) end, Texts)),
        ?assert(lists:any(fun(T) -> contains(T, <<"mod_megaphone_link,take_request">>) end, Texts)),
        [?assertNot(contains(T, Kept)) || T <- Texts, Kept <- [?SECRET, <<?PASSWORD>>, as_numbers(<<?PASSWORD>>)]]
    end}}.

%% A link's state in which no request can be taken: the function that does it has no clause for one.
break(State) ->
    [Options] = [O || #{max_held := _} = O <- tuple_to_list(State)],
    list_to_tuple([case E of Options -> maps:remove(max_held, Options); _ -> E end || E <- tuple_to_list(State)]).

%% Bytes that are cut off in the middle may be printed as a list of numbers.
as_numbers(Bytes) -> lists:join(<<",">>, [integer_to_binary(C) || <<C>> <= binary:part(Bytes, 0, 6)]).

up() ->
    {Hello, Edge} = test_edge:recv_control(test_edge:dial([{secret, ?SECRET}])),
    [Ours, Theirs] = [hd(binary:split(iolist_to_binary(L), <<"\n">>)) || L <- [Hello, test_edge:hello([])]],
    Proof = test_edge:proof(?SECRET, <<"edge-hello">>, [Ours, Theirs]),
    {<<"welcome proof=", _/binary>>, Up} = test_edge:recv_control(
                                             test_edge:control(Edge, test_edge:hello(Proof))),
    Up.

%% All that is logged while Do runs, as texts.
logged(Do) ->
    _ = mod_megaphone_stats:all(),                          %% it is loaded
    #{logged := Times} = persistent_term:get(mod_megaphone_stats),
    #{size := N} = atomics:info(Times),
    [atomics:put(Times, K, 0) || K <- lists:seq(1, N)],     % as if nothing had been logged yet
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => self()}),
    try Do()
    after logger:remove_handler(?MODULE)
    end,
    received().

log(Event, #{config := Test}) ->
    Test ! {logged, unicode:characters_to_binary(logger_formatter:format(Event, #{}))}.

received() ->
    receive {logged, Text} -> [Text | received()]
    after 0 -> []
    end.

contains(Text, Pattern) -> re:run(Text, Pattern) =/= nomatch.
