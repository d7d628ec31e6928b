-module(mod_megaphone_doctor_tests).
-include_lib("eunit/include/eunit.hrl").

-define(M, mod_megaphone_doctor).

%% A node that is set up for a million sessions.
good() ->
    #{ejabberd => "23.01-1", otp => "25", links => 4,
      listeners => [#{name => "10.0.0.2:5279", engine => megaphone, websocket => true, max_held => 1250000,
                      backlog => 1024, tls => private}],
      hosts => [host("a.example"), host("b.example")],
      sleep => ok, pings => [],
      process_limit => 2097152, port_limit => 32768, descriptors => 65536,
      carriers => [{eheap_alloc, #{as => aoffcaobf, lmbcs => 524288}},
                   {binary_alloc, #{as => aoffcaobf, lmbcs => 524288}}],
      spinning => [{"sbwt", "none"}, {"sbwtdcpu", "none"}, {"sbwtdio", "none"}],
      loglevel => warning, somaxconn => 4096, available => 32000000000}.

host(Name) ->
    #{name => Name, sleep_after => 2000, max_awake => 50000, sm_db_type => mnesia, max_inactivity => 30000,
      resumes => true}.

of_host(Change) ->
    maps:update_with(hosts, fun([First | Rest]) -> [maps:merge(First, Change) | Rest] end, good()).

of_listener(Change) ->
    maps:update_with(listeners, fun([First]) -> [maps:merge(First, Change)] end, good()).

levels(Sessions, Facts) -> maps:from_list([{Name, Level} || {Level, Name, _, _, _} <- ?M:judge(Sessions, Facts)]).

%% The checks that are not ok.
not_ok(Sessions, Facts) -> maps:filter(fun(_, Level) -> Level =/= ok end, levels(Sessions, Facts)).

good_test() ->
    ?assertEqual(#{}, not_ok(1000000, good())),
    ?assertEqual(16 + 1, map_size(levels(1000000, good()))).

%% Those of README.txt, "Versions", and of docs/ejabberd.md.
tested_versions_test_() ->
    [?_assertEqual(#{}, not_ok(1000000, (good())#{ejabberd := Ejabberd, otp := Otp}))
     || {Ejabberd, Otp} <- [{"23.01-1", "25"}, {"24.12-3+b1", "27"}, {"26.07-1", "29"}]].

%% Each thing by itself that is not as it should be, what it comes to, and how the remedy or the value begins.
one_thing_test_() ->
    [{atom_to_list(Name) ++ ": " ++ Part,
      fun() ->
              ?assertEqual(#{Name => Level}, not_ok(1000000, Facts)),
              ?assertNotEqual(nomatch, string:find(?M:lines(1000000, ?M:judge(1000000, Facts)), Part))
      end}
     || {Name, Level, Facts, Part} <-
            [{versions, warn, (good())#{ejabberd := "24.02"}, "ejabberd 24.02, Erlang/OTP 25"},
             {versions, warn, (good())#{otp := "28"}, "run megaphone load against the node before users come"},
             {held, warn, of_listener(#{max_held => 312499}), "wanted: 312500 or more; remedy: max_held: 312500 in"},
             {held, warn, (good())#{links := 0, listeners := [#{name => "x", engine => megaphone, max_held => 250000,
                                                              backlog => 1024, tls => private}]},
              "0 links now; wanted: 1250000"},
             {tls, warn, of_listener(#{tls => public}), "off at 10.0.0.2:5279; wanted: TLS, or a private address"},
             {tls, warn, of_listener(#{tls => {ok, 13}}), "certificate expires in 13 days; wanted: 14 days or more"},
             {tls, fail, of_listener(#{tls => {error, "x.pem: no key"}}), "x.pem: no key at 10.0.0.2:5279"},
             {backlog, warn, of_listener(#{backlog => 5}), "take backlog out of the listener"},
             {backlog, warn, (good())#{somaxconn := 128}, "sysctl net.core.somaxconn=4096"},
             {websocket, warn, of_host(#{resumes => false}), "on, without mod_stream_mgmt for a.example; wanted"},
             {mod_bosh, warn, of_host(#{max_inactivity => 5000}), "max_inactivity 5 to 30 s"},
             {mod_bosh, warn, of_host(#{max_inactivity => 301000}), "max_inactivity 30 to 301 s"},
             {mod_bosh, fail, of_host(#{max_inactivity => false}), "missing for a.example"},
             {mod_ping, warn, (good())#{pings := ["a", "b", "c", "d", "e"]}, "send_pings for a, b, c and 2 more;"},
             {processes, warn, (good())#{process_limit := 1499999}, "remedy: ERL_PROCESSES=1500000 in"},
             {processes, fail, (good())#{process_limit := 1001999}, "fail  processes   process_limit 1001999"},
             {ports, warn, (good())#{port_limit := 1024}, "ERL_MAX_PORTS=8192"},
             {descriptors, warn, (good())#{descriptors := 1024}, "LimitNOFILE=8192"},
             {carriers, warn, (good())#{carriers := [{eheap_alloc, #{as => aoffcbf, lmbcs => 5242880}},
                                                     {binary_alloc, #{as => aoffcaobf, lmbcs => 524288}}]},
              "ERL_OPTIONS=\"$ERL_OPTIONS +MHas aoffcaobf +MHsmbcs 256 +MHlmbcs 512\":"},
             {carriers, warn, (good())#{carriers := [{eheap_alloc, #{as => aoffcaobf, lmbcs => 5242880}},
                                                     {binary_alloc, #{}}]}, "own for eheap_alloc, binary_alloc;"},
             {spinning, warn, (good())#{spinning := [{"sbwt", "none"}, {"sbwtdcpu", "medium"}, {"sbwtdio", "none"}]},
              "$ERL_OPTIONS +sbwtdcpu none\":"},
             {loglevel, warn, (good())#{loglevel := info}, "loglevel: warning in ejabberd.yml"},
             {sm_db_type, warn, of_host(#{sm_db_type => redis}), "sm_db_type  redis; wanted: mnesia"},
             {memory, warn, (good())#{available := 9000000000}, "7058 MiB, and a fifth"},
             {memory, fail, (good())#{available := 7000000000}, "This node does NOT fit 1000000 sessions, because of "
              "memory.\n"}]].

tls_is_fine_test() ->
    ?assertEqual(#{}, not_ok(1000000, of_listener(#{tls => {ok, 14}}))).

without_websocket_test() ->
    Off = maps:merge(of_host(#{resumes => false}), maps:with([listeners], of_listener(#{websocket => false}))),
    ?assertEqual(#{}, not_ok(1000000, Off)),
    ?assertEqual(#{}, not_ok(1000000, of_listener(#{websocket => false}))).

fewer_log_lines_are_fine_test() ->
    [?assertEqual(#{}, not_ok(1000000, (good())#{loglevel := Level})) || Level <- [none, critical, error, warning]],
    [?assertEqual(#{loglevel => warn}, not_ok(1000000, (good())#{loglevel := Level})) || Level <- [notice, debug]].

%% ejabberd's engine takes three processes, half of a million more, and 86 KB a session.
engine_of_ejabberd_test() ->
    Facts = (of_listener(#{engine => ejabberd}))#{available := 100000000000},
    ?assertEqual(#{listener => warn, processes => fail}, not_ok(1000000, Facts)),
    ?assertEqual(#{listener => warn, processes => warn}, not_ok(1000000, Facts#{process_limit := 3499999})),
    ?assertEqual(#{listener => warn}, not_ok(1000000, Facts#{process_limit := 3500000})).

%% With two engines it is the one that takes more.
two_engines_test() ->
    #{listeners := [L]} = good(),
    Facts = (good())#{listeners := [L, L#{name => "x", engine => ejabberd}]},
    ?assertMatch(#{listener := warn, processes := fail}, not_ok(1000000, Facts)).

without_sleep_test() ->
    Facts = of_host(#{sleep_after => infinity}),
    ?assertEqual(#{sleep => warn, memory => fail}, not_ok(1000000, Facts)),
    ?assertEqual(#{sleep => warn}, not_ok(500000, Facts)),
    ?assertEqual(#{sleep => warn}, not_ok(1000000, (good())#{sleep := {error, "the probe ended"}})).

no_listener_and_no_host_test() ->
    ?assertEqual(#{listener => fail}, not_ok(1000000, (good())#{listeners := []})),
    ?assertEqual(#{mod_bosh => fail}, not_ok(1000000, (good())#{hosts := []})).

memory_test() ->
    Of = fun(N, Facts) -> ?M:memory_needed(N, Facts) - 50000000 end,
    Large = [{eheap_alloc, #{as => aoffcbf, lmbcs => 5242880}}, {binary_alloc, #{as => aoffcaobf, lmbcs => 524288}}],
    ?assertEqual(100000 * 6800 + 50000 * 11000, Of(100000, good())),
    ?assertEqual(100000 * 10600 + 50000 * 11000, Of(100000, (good())#{carriers := Large})),
    ?assertEqual(1000 * (6800 + 11000), Of(1000, good())), % no more than all are awake
    ?assertEqual(1000 * 39000, Of(1000, of_host(#{sleep_after => infinity}))),
    ?assertEqual(1000 * (6800 + 7600), Of(1000, (good())#{sleep := {error, "x"}})),
    ?assertEqual(1000 * 86000, Of(1000, maps:merge(of_host(#{sleep_after => infinity}),
                                                   maps:with([listeners], of_listener(#{engine => ejabberd}))))).

%% A line for each check, with its level, its name and the wanted value; the verdict has the names once more.
lines_test() ->
    Facts = (good())#{loglevel := info, process_limit := 1000},
    Lines = string:split(?M:lines(1000000, ?M:judge(1000000, Facts)), "\n", all),
    {Checks, Verdict} = lists:split(length(?M:judge(1000000, Facts)), Lines),
    [?assertMatch({match, _}, re:run(L, "^(ok   |warn |fail ) [a-z_]+ +.+wanted: ")) || L <- Checks],
    ?assertEqual(["This node does NOT fit 1000000 sessions, because of processes. It would do better with other "
                  "values of loglevel.",
                  "megaphone-ejabberd-install --sessions 1000000 writes what can be written."], Verdict),
    ?assertEqual("This node fits 1000000 sessions.",
                 lists:last(string:split(?M:lines(1000000, ?M:judge(1000000, good())), "\n", all))).

sessions_test() ->
    [?assertEqual({Text, N}, {Text, ?M:sessions(Text)})
     || {Text, N} <- [{"1", 1}, {"1000000", 1000000}, {"1_000_000", 1000000}, {"1,000,000", 1000000},
                      {"1000k", 1000000}, {"1M", 1000000},
                      {"1.5M", 1500000}, {"0.25k", 250}, {"30M", 30000000}, {"007", 7}]],
    [?assertEqual({Text, error}, {Text, ?M:sessions(Text)})
     || Text <- ["", "0", "-1", "many", "1e6", "1.5", "1.0001k", "1,00", "_1", "1__000", "30000001", "1 000", "1m", "M",
                 "99999999999999999999", "1.", ".5M", "1M\n1", "1M\n"]].

%% The last of a flag holds; the part behind -- is not Erlang's.
spinning_test() ->
    Line = fun(Words) -> list_to_binary([[W, 0] || W <- Words]) end,
    ?assertEqual([{"sbwt", "none"}, {"sbwtdcpu", "medium"}, {"sbwtdio", "short"}],
                 ?M:spinning(Line(["beam.smp", "-sbwt", "long", "-P", "250000", "-sbwtdio", "short", "-sbwt", "none",
                                   "--", "-sbwtdcpu", "none"]))),
    ?assertEqual([{"sbwt", "medium"}, {"sbwtdcpu", "medium"}, {"sbwtdio", "medium"}], ?M:spinning(<<>>)).
