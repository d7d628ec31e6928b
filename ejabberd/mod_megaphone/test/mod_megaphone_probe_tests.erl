-module(mod_megaphone_probe_tests).
-include_lib("eunit/include/eunit.hrl").

%% The p1_server that is installed.
sleep_works_here_test() ->
    ?assertEqual(ok, mod_megaphone_probe:run()).

nothing_is_left_in_the_mailbox_test_() ->
    {spawn, fun() ->
                    Before = process_info(self(), messages),
                    ok = mod_megaphone_probe:run(),
                    ?assertEqual(Before, process_info(self(), messages))
            end}.

without_enter_loop_test() ->
    with_p1_server("-module(p1_server). -export([start/3]). start(_, _, _) -> error(not_reached).",
                   fun() -> ?assertEqual({error, "p1_server has no enter_loop/3"}, mod_megaphone_probe:run()) end).

%% It does not report the length of its own queue: sleep would lose the messages in it.
without_the_length_of_the_queue_test() ->
    with_p1_server("-module(p1_server). -export([start/3, enter_loop/3]). "
                   "start(M, A, _) -> {ok, spawn(fun() -> {ok, S} = M:init(A), enter_loop(M, [], S) end)}. "
                   "enter_loop(M, O, S) -> receive X -> {noreply, N} = M:handle_info(X, S), enter_loop(M, O, N) end.",
                   fun() -> ?assertMatch({error, "the probe " ++ _}, mod_megaphone_probe:run()) end).

with_p1_server(Source, Test) ->
    {ok, Tokens, _} = erl_scan:string(Source),
    Forms = [element(2, {ok, _} = erl_parse:parse_form(Form)) || Form <- forms(Tokens, [])],
    {ok, p1_server, Beam} = compile:forms(Forms),
    {module, _} = code:load_binary(p1_server, "other", Beam),
    try Test()
    after
        code:purge(p1_server),
        code:delete(p1_server),
        code:purge(p1_server),
        {module, _} = code:ensure_loaded(p1_server)
    end.

forms([], []) -> [];
forms([{dot, _} = Dot | Rest], Form) -> [lists:reverse([Dot | Form]) | forms(Rest, [])];
forms([Token | Rest], Form) -> forms(Rest, [Token | Form]).
