%%% Checks whether this node fits a number of sessions: the command megaphone_doctor.
%%%
%%%     facts/1   what the node and its host are: reads, changes nothing
%%%     judge/2   what that is worth for N sessions: pure
%%%     lines/2   a line for each check, and a verdict
%%%
%%% A check is ok; warn: the node holds N sessions, for more memory or CPU than they need; or fail: it does not.
%%% megaphone-ejabberd-install --sessions N sets the options checked here, by the same formulas. A test compares them.
-module(mod_megaphone_doctor).

-export([report/2]).
%% Tests
-export([sessions/1, judge/2, lines/2, memory_needed/2, spinning/1]).

-type level() :: ok | warn | fail.
%% The value, the value wanted, and the remedy.
-type check() :: {level(), Name :: atom(), Is :: iodata(), Wanted :: iodata(), Remedy :: iodata()}.
-type facts() :: #{atom() => term()}.

-define(MAX_SESSIONS, 30000000).

%% The versions that this module has been run with.
-define(EJABBERDS, ["23.01", "24.12", "26.04", "26.07"]).
-define(OTPS, ["25", "27", "29"]).

%% Memory (RssAnon), measured: BENCHMARKS.md, "ejabberd, with and without".
-define(NODE_BYTES, 50000000).
-define(SESSION_BYTES, #{{ejabberd, none} => 86000, {ejabberd, sleep} => 27000,
                         {megaphone, none} => 39000, {megaphone, sleep} => 10600}).
%% With allocators that the installer has configured: of 300,000 sessions and more.
-define(SMALL_CARRIERS_BYTES, 6800).
%% More for a session that only collects its garbage.
-define(COLLECTED_BYTES, 7600).
%% More for one that is awake, where others sleep.
-define(AWAKE_BYTES, 11000).
%% Per cent of the available memory: the rest is for storms of log-ins, caches and the kernel.
-define(COMFORT, 80).

%% Erlang processes of a session; and those that the node has without sessions, and for log-ins under way.
-define(PROCESSES, #{ejabberd => 3, megaphone => 1}).
-define(OTHER_PROCESSES, 2000).
%% A link takes a port and a descriptor. Edges have a link for each reactor, which are 4096 at most.
-define(PORTS, 8192).
%% Of links, so many carry any number of sessions with the default of max_held.
-define(HELD_MARGIN_PERCENT, 125).
-define(MAX_CARRIER_BYTES, 524288).
-define(BACKLOG, 1024).
-define(MIN_DAYS, 14).

%% Seconds that clients may be away for. Below, phones that change networks lose their sessions; above, sessions of
%% clients that are gone take memory.
-define(MIN_INACTIVITY_S, 15).
-define(MAX_INACTIVITY_S, 300).
%% Names of hosts or listeners in one line.
-define(NAMED, 3).

%% Sessions as people write them: 1000000, 1_000_000, 1,000,000, 1000k, 1M. error: a check has failed, or the number is
%% none.
-spec report(Sessions :: string(), Links :: non_neg_integer()) -> {ok | error, string()}.
report(Text, Links) ->
    case sessions(Text) of
        error ->
            {error, text("sessions: ~ts: give the sessions of this node, 1 to ~B, for example 1000000 or 1M",
                         [Text, ?MAX_SESSIONS])};
        Sessions ->
            Checks = judge(Sessions, facts(Links)),
            {case lists:keymember(fail, 1, Checks) of true -> error; false -> ok end, lines(Sessions, Checks)}
    end.

-spec sessions(string()) -> pos_integer() | error.
sessions(Text) ->
    case re:run(Text, "^([0-9]{1,12}|[0-9]{1,3}(?:[_,][0-9]{3}){1,3})(?:\\.([0-9]{1,6}))?([kKM]?)$",
                [dollar_endonly, {capture, all_but_first, list}]) of
        {match, [Whole, Fraction, Unit]} ->
            Times = case Unit of "" -> 1; "M" -> 1000000; _ -> 1000 end,
            %% In millionths, so that 1.5M is exact.
            Digits = [C || C <- Whole, C =/= $_, C =/= $,] ++ string:pad(Fraction, 6, trailing, $0),
            Parts = list_to_integer(lists:flatten(Digits)) * Times,
            case Parts rem 1000000 =:= 0 andalso Parts div 1000000 of
                N when is_integer(N), N >= 1, N =< ?MAX_SESSIONS -> N;
                _ -> error
            end;
        nomatch -> error
    end.

%%% Facts

-spec facts(non_neg_integer()) -> facts().
facts(Links) ->
    #{ejabberd => to_list(ejabberd_option:version()),
      otp => erlang:system_info(otp_release),
      links => Links,
      listeners => listeners(),
      hosts => [host(H) || H <- ejabberd_option:hosts(), gen_mod:is_loaded(H, mod_megaphone)],
      sleep => sleep(),
      pings => [H || H <- ejabberd_option:hosts(), sends_pings(H)],
      process_limit => erlang:system_info(process_limit),
      port_limit => erlang:system_info(port_limit),
      descriptors => lists:min([N || {max_fds, N} <- lists:flatten(erlang:system_info(check_io))]),
      carriers => [{A, carriers(A)} || A <- [eheap_alloc, binary_alloc]],
      spinning => spinning(read("/proc/self/cmdline")),
      loglevel => ejabberd_logger:get(),
      somaxconn => number(read("/proc/sys/net/core/somaxconn")),
      available => available()}.

listeners() ->
    [(maps:with([engine, websocket, max_held, backlog], Opts))#{name => address(Ip, Port), tls => encryption(Ip, Opts)}
     || {{Port, Ip, _}, mod_megaphone, Opts} <- ejabberd_option:listen()].

%% The days that the certificate of a listener has left, or what protects it without TLS.
encryption(_, #{tls := true, certfile := undefined}) -> {error, "tls without certfile"};
encryption(_, #{tls := true, certfile := File}) ->
    case mod_megaphone_certificate:check(File) of
        {ok, Days} -> {ok, Days};
        {error, Text} -> {error, text("~ts: ~ts", [File, Text])}
    end;
encryption(Ip, _) ->
    case private(Ip) of
        true -> private;
        false -> public
    end.

private({127, _, _, _}) -> true;
private({10, _, _, _}) -> true;
private({172, N, _, _}) -> N band 16#F0 =:= 16;
private({192, 168, _, _}) -> true;
private({100, N, _, _}) -> N band 16#C0 =:= 64;
private({169, 254, _, _}) -> true;
private({0, 0, 0, 0, 0, 0, 0, 1}) -> true;
private({First, _, _, _, _, _, _, _}) -> First band 16#FE00 =:= 16#FC00 orelse First band 16#FFC0 =:= 16#FE80;
private(_) -> false.

address(Ip, Port) ->
    case inet:ntoa(Ip) of
        {error, _} -> text("~0tp", [Port]); % a unix socket
        Text -> text("~s:~w", [Text, Port])
    end.

host(Host) ->
    Opts = gen_mod:get_module_opts(Host, mod_megaphone),
    #{name => Host,
      sleep_after => gen_mod:get_opt(sleep_after, Opts),
      max_awake => gen_mod:get_opt(max_awake, Opts),
      sm_db_type => ejabberd_option:sm_db_type(Host),
      resumes => gen_mod:is_loaded(Host, mod_stream_mgmt),
      %% In milliseconds; false without mod_bosh.
      max_inactivity =>
          gen_mod:is_loaded(Host, mod_bosh) andalso gen_mod:get_module_opt(Host, mod_bosh, max_inactivity)}.

sends_pings(Host) ->
    gen_mod:is_loaded(Host, mod_ping) andalso gen_mod:get_module_opt(Host, mod_ping, send_pings).

%% Where no host asks for sleep, the probe has not run yet.
sleep() ->
    case mod_megaphone_sleep:figures() of
        #{mode := sleep} -> ok;
        _ -> mod_megaphone_probe:run()
    end.

%% An allocator has an instance for each scheduler, all with the same options. The first one is special.
carriers(Allocator) ->
    case erlang:system_info({allocator, Allocator}) of
        false -> #{};
        Instances ->
            {instance, _, Info} = lists:last(Instances),
            maps:with([as, lmbcs], maps:from_list(proplists:get_value(options, Info, [])))
    end.

%% The flags of Erlang's schedulers, from the command line of this process: they are nowhere else.
-spec spinning(binary()) -> [{string(), string()}].
spinning(CommandLine) ->
    {Emulator, _} = lists:splitwith(fun(Word) -> Word =/= <<"--">> end, binary:split(CommandLine, <<0>>, [global])),
    [{Flag, value(list_to_binary("-" ++ Flag), Emulator, "medium")} || Flag <- ["sbwt", "sbwtdcpu", "sbwtdio"]].

%% The last one holds.
value(Flag, [Flag, Value | Rest], _) -> value(Flag, Rest, binary_to_list(Value));
value(Flag, [_ | Rest], Value) -> value(Flag, Rest, Value);
value(_, [], Value) -> Value.

%% Bytes that this node may have: the free memory of the host and that of the node itself. A control group may allow
%% less.
available() ->
    Host = 1024 * (kib("MemAvailable", read("/proc/meminfo")) + kib("RssAnon", read("/proc/self/status"))),
    lists:min([Host | [N || {ok, N} <- [group_limit()]]]).

%% With control groups of the second kind; without, or without a limit, an error.
group_limit() ->
    case re:run(read("/proc/self/cgroup"), "^0::(/.*)$", [multiline, {capture, all_but_first, list}]) of
        {match, [Path]} ->
            try {ok, binary_to_integer(string:trim(read("/sys/fs/cgroup" ++ Path ++ "/memory.max")))}
            catch error:badarg -> error
            end;
        nomatch -> error
    end.

kib(Key, Text) ->
    case re:run(Text, "^" ++ Key ++ ":\\s+([0-9]+) kB$", [multiline, {capture, all_but_first, binary}]) of
        {match, [Number]} -> binary_to_integer(Number);
        nomatch -> 0
    end.

number(Text) ->
    try binary_to_integer(string:trim(Text))
    catch error:badarg -> 0
    end.

%% Files of proc say that their size is 0.
read(File) ->
    case file:read_file(File) of
        {ok, Text} -> Text;
        {error, _} -> <<>>
    end.

to_list(Text) when is_binary(Text) -> binary_to_list(Text);
to_list(Text) -> Text.

%%% What that is worth

-spec judge(pos_integer(), facts()) -> [check()].
judge(Sessions, Facts) ->
    lists:flatmap(fun(Check) -> Check(Sessions, Facts) end,
                  [fun versions/2, fun listener/2, fun tls/2, fun held/2, fun backlog/2, fun websocket/2, fun bosh/2,
                   fun sleep/2, fun pings/2, fun processes/2, fun ports/2, fun carriers/2, fun spins/2,
                   fun loglevel/2, fun sm_db_type/2, fun memory/2]).

versions(_, #{ejabberd := Ejabberd, otp := Otp}) ->
    %% Debian's are 23.01-1.
    Known = lists:member(hd(string:split(Ejabberd, "-")), ?EJABBERDS) andalso lists:member(Otp, ?OTPS),
    [{warn_unless(Known), versions, ["ejabberd ", Ejabberd, ", Erlang/OTP ", Otp],
      ["ejabberd ", lists:join(", ", ?EJABBERDS), " and Erlang/OTP ", lists:join(", ", ?OTPS)],
      "the module has not been run with these: run megaphone load against the node before users come"}].

listener(_, #{listeners := []}) ->
    [{fail, listener, "none", "a listener with module: mod_megaphone",
      "megaphone-ejabberd-install writes one, or add it to listen in ejabberd.yml"}];
listener(_, #{listeners := Listeners}) ->
    Old = [Name || #{name := Name, engine := ejabberd} <- Listeners],
    [{warn_unless(Old =:= []), listener,
      case Old of
          [] -> ["engine: megaphone at ", named([N || #{name := N} <- Listeners])];
          _ -> ["engine: ejabberd at ", named(Old)]
      end,
      "engine: megaphone", "engine: megaphone in the listener; it takes a third of the processes and half the memory"}].

tls(_, #{listeners := []}) -> [];
tls(_, #{listeners := Listeners}) ->
    Wanted = "TLS, or a private address",
    case {[{N, Text} || #{name := N, tls := {error, Text}} <- Listeners],
          [N || #{name := N, tls := public} <- Listeners],
          [Days || #{tls := {ok, Days}} <- Listeners]} of
        {[{Name, Text} | _], _, _} ->
            [{fail, tls, [Text, " at ", Name], Wanted,
              "certfile of the listener: the certificate, its chain and its key, in PEM"}];
        {[], [_ | _] = Names, _} ->
            [{warn, tls, ["off at ", named(Names)], Wanted,
              "ip of the listener, or tls: true with a certfile: links without TLS are not encrypted"}];
        {[], [], []} ->
            [{ok, tls, "off, private addresses", Wanted, ""}];
        {[], [], Days} ->
            Least = lists:min(Days),
            [{warn_unless(Least >= ?MIN_DAYS), tls, text("the certificate expires in ~B days", [Least]),
              text("~B days or more", [?MIN_DAYS]), "renew the file; no restart is needed"}]
    end.

held(_, #{listeners := []}) -> [];
held(Sessions, #{listeners := Listeners, links := Links}) ->
    Wanted = ceil(Sessions * ?HELD_MARGIN_PERCENT / 100 / max(Links, 1)),
    Least = lists:min([N || #{max_held := N} <- Listeners]),
    [{warn_unless(Least >= Wanted), held,
      text("max_held ~B, ~B links now", [Least, Links]), text("~B or more", [Wanted]),
      text("max_held: ~B in the listener: requests beyond it get 503", [Wanted])}].

backlog(_, #{listeners := []}) -> [];
backlog(_, #{listeners := Listeners, somaxconn := Kernel}) ->
    Is = lists:min([Kernel | [N || #{backlog := N} <- Listeners]]),
    [{warn_unless(Is >= ?BACKLOG), backlog, text("~B (net.core.somaxconn ~B)", [Is, Kernel]),
      text("~B or more", [?BACKLOG]),
      case Kernel < ?BACKLOG of
          true -> "sysctl net.core.somaxconn=4096, as megaphone-tune sets it: strangers may keep edges out";
          false -> "take backlog out of the listener: strangers may keep edges out"
      end}].

websocket(_, #{listeners := Listeners, hosts := Hosts}) ->
    Lost = [Name || #{name := Name, resumes := false} <- Hosts],
    [case [on || #{websocket := true} <- Listeners] of
         [] -> {ok, websocket, "off", "mod_stream_mgmt where it is on", ""};
         _ when Lost =:= [] -> {ok, websocket, "on, with mod_stream_mgmt", "mod_stream_mgmt", ""};
         _ ->
             {warn, websocket, ["on, without mod_stream_mgmt for ", named(Lost)], "mod_stream_mgmt",
              "add mod_stream_mgmt: {} to modules in ejabberd.yml: without it a WebSocket's session ends with its edge"}
     end].

bosh(_, #{hosts := []}) ->
    [{fail, mod_bosh, "mod_megaphone serves no host", "mod_megaphone and mod_bosh among the modules",
      "add both to modules in ejabberd.yml"}];
bosh(_, #{hosts := Hosts}) ->
    case [Name || #{name := Name, max_inactivity := false} <- Hosts] of
        [] ->
            Seconds = [Ms div 1000 || #{max_inactivity := Ms} <- Hosts],
            {Least, Most} = {lists:min(Seconds), lists:max(Seconds)},
            [{warn_unless(Least >= ?MIN_INACTIVITY_S andalso Most =< ?MAX_INACTIVITY_S), mod_bosh,
              ["max_inactivity ", range(Least, Most), " s"],
              text("~B to ~B s", [?MIN_INACTIVITY_S, ?MAX_INACTIVITY_S]),
              "max_inactivity of mod_bosh: less ends sessions of phones that change networks, "
              "more keeps sessions of clients that are gone"}];
        Missing ->
            [{fail, mod_bosh, ["missing for ", named(Missing)], "mod_bosh beside mod_megaphone",
              "add mod_bosh: {} to modules in ejabberd.yml"}]
    end.

sleep(_, #{hosts := Hosts, sleep := Works}) ->
    Awake = [Name || #{name := Name, sleep_after := infinity} <- Hosts],
    [case {Works, Awake} of
         {{error, Why}, _} ->
             {warn, sleep, ["does not work here: ", Why], "sessions that sleep",
              "another ejabberd or Erlang; idle sessions only collect their garbage"};
         {ok, []} ->
             {ok, sleep, ["works, max_awake ", integer_to_list(max_awake(Hosts))], "sleep_after", ""};
         {ok, _} ->
             {warn, sleep, ["works, and is off for ", named(Awake)], "sleep_after",
              "sleep_after: 2 seconds in mod_megaphone's options"}
     end].

pings(_, #{pings := []}) -> [{ok, mod_ping, "send_pings off", "off", ""}];
pings(_, #{pings := Hosts}) ->
    [{warn, mod_ping, ["send_pings for ", named(Hosts)], "off",
      "take send_pings away: it wakes every session every ping_interval, and polls tell the same"}].

processes(Sessions, #{process_limit := Limit} = Facts) ->
    Each = map_get(engine(Facts), ?PROCESSES),
    Needed = Each * Sessions + ?OTHER_PROCESSES,
    Wanted = Each * Sessions + Sessions div 2,
    [{level(Limit >= Needed, Limit >= Wanted), processes,
      text("process_limit ~B", [Limit]), text("~B or more", [Wanted]),
      text("ERL_PROCESSES=~B in ejabberdctl.cfg (+P of erl), then restart ejabberd", [Wanted])}].

ports(_, #{port_limit := Ports, descriptors := Descriptors}) ->
    [{warn_unless(Ports >= ?PORTS), ports, text("port_limit ~B", [Ports]), text("~B or more", [?PORTS]),
      text("ERL_MAX_PORTS=~B in ejabberdctl.cfg: a link takes a port", [?PORTS])},
     {warn_unless(Descriptors >= ?PORTS), descriptors, integer_to_list(Descriptors), text("~B or more", [?PORTS]),
      text("LimitNOFILE=~B in ejabberd.service (systemctl edit ejabberd): a link takes a descriptor", [?PORTS])}].

carriers(_, #{carriers := Allocators}) ->
    Other = [Name || {Name, Options} <- Allocators, not small_carriers(Options)],
    [{warn_unless(Other =:= []), carriers,
      case Other of
          [] -> text("aoffcaobf, ~B bytes at most", [?MAX_CARRIER_BYTES]);
          _ -> ["Erlang's own for ", lists:join(", ", [atom_to_list(Name) || Name <- Other])]
      end,
      "small ones, the lowest first",
      ["in ejabberdctl.cfg: ERL_OPTIONS=\"$ERL_OPTIONS",
       [[" +M", L, "as aoffcaobf +M", L, "smbcs 256 +M", L, "lmbcs 512"] || L <- [letter(Name) || Name <- Other]],
       "\": log-ins leave large ones behind half empty"]}].

small_carriers(#{as := aoffcaobf, lmbcs := Bytes}) -> Bytes =< ?MAX_CARRIER_BYTES;
small_carriers(_) -> false.

letter(eheap_alloc) -> "H";
letter(binary_alloc) -> "B".

spins(_, #{spinning := Flags}) ->
    Spinning = [Flag || {Flag, Value} <- Flags, Value =/= "none"],
    [{warn_unless(Spinning =:= []), spinning, lists:join(", ", [["+", F, " ", V] || {F, V} <- Flags]), "none",
      ["in ejabberdctl.cfg: ERL_OPTIONS=\"$ERL_OPTIONS", [[" +", Flag, " none"] || Flag <- Spinning],
       "\": schedulers spin between polls"]}].

loglevel(_, #{loglevel := Level}) ->
    Few = not lists:member(Level, [notice, info, debug]),
    [{warn_unless(Few), loglevel, atom_to_list(Level), "warning or less",
      "loglevel: warning in ejabberd.yml: info is three lines for each session"}].

sm_db_type(_, #{hosts := Hosts}) ->
    Others = lists:usort([Type || #{sm_db_type := Type} <- Hosts, Type =/= mnesia]),
    [{warn_unless(Others =:= []), sm_db_type,
      case Others of [] -> "mnesia"; _ -> lists:join(", ", [atom_to_list(T) || T <- Others]) end, "mnesia",
      "sm_db_type: mnesia: others ask a server on the way of each message"}].

memory(Sessions, #{available := Available} = Facts) ->
    Needed = memory_needed(Sessions, Facts),
    [{level(Needed =< Available, Needed * 100 =< Available * ?COMFORT), memory,
      [mib(Available), " available"], [mib(Needed), ", and a fifth of what is available to spare"],
      "more memory, fewer sessions on this node, sleep_after, engine: megaphone, or a lower max_awake"}].

%% Bytes of the node with all its sessions, as many awake as may be.
-spec memory_needed(pos_integer(), facts()) -> pos_integer().
memory_needed(Sessions, #{hosts := Hosts, sleep := Works} = Facts) ->
    Sleep = case [none || #{sleep_after := infinity} <- Hosts] of [] -> sleep; _ -> none end,
    Session = session_bytes({engine(Facts), Sleep}, Facts),
    ?NODE_BYTES + Sessions * Session
        + case {Sleep, Works} of
              {none, _} -> 0;
              {sleep, ok} -> min(Sessions, max_awake(Hosts)) * ?AWAKE_BYTES;
              {sleep, _} -> Sessions * ?COLLECTED_BYTES
          end.

session_bytes({megaphone, sleep} = Kind, #{carriers := Allocators}) ->
    case lists:all(fun({_, Options}) -> small_carriers(Options) end, Allocators) of
        true -> ?SMALL_CARRIERS_BYTES;
        false -> map_get(Kind, ?SESSION_BYTES)
    end;
session_bytes(Kind, _) ->
    map_get(Kind, ?SESSION_BYTES).

%% The one that takes more, where listeners differ.
engine(#{listeners := Listeners}) ->
    case [ejabberd || #{engine := ejabberd} <- Listeners] of
        [] -> megaphone;
        _ -> ejabberd
    end.

%% The same for all hosts; while options are being changed, maybe not.
max_awake(Hosts) ->
    lists:max([0 | [N || #{max_awake := N} <- Hosts]]).

level(false, _) -> fail;
level(true, Well) -> warn_unless(Well).

warn_unless(true) -> ok;
warn_unless(false) -> warn.

%%% Text

%% Lines that grep finds, and the names of the checks that are not ok once more at the end.
-spec lines(Sessions :: pos_integer(), [check()]) -> string().
lines(Sessions, Checks) ->
    lists:flatten([[line(Check) || Check <- Checks], verdict(Sessions, Checks)]).

line({ok, Name, Is, Wanted, _}) ->
    io_lib:format("ok    ~-12s~ts (wanted: ~ts)~n", [Name, Is, Wanted]);
line({Level, Name, Is, Wanted, Remedy}) ->
    io_lib:format("~-6s~-12s~ts; wanted: ~ts; remedy: ~ts~n", [Level, Name, Is, Wanted, Remedy]).

verdict(Sessions, Checks) ->
    Failed = [atom_to_list(Name) || {fail, Name, _, _, _} <- Checks],
    Warned = [atom_to_list(Name) || {warn, Name, _, _, _} <- Checks],
    [case Failed of
         [] -> text("This node fits ~B sessions.", [Sessions]);
         _ -> text("This node does NOT fit ~B sessions, because of ~s.", [Sessions, lists:join(", ", Failed)])
     end,
     [text(" It would do better with other values of ~s.", [lists:join(", ", Warned)]) || Warned =/= []],
     [text("~nmegaphone-ejabberd-install --sessions ~B writes what can be written.", [Sessions])
      || Failed ++ Warned =/= []]].

text(Format, Values) ->
    lists:flatten(io_lib:format(Format, Values)).

named(Names) ->
    {First, Rest} = lists:split(min(?NAMED, length(Names)), Names),
    [lists:join(", ", First), [text(" and ~B more", [length(Rest)]) || Rest =/= []]].

range(N, N) -> integer_to_list(N);
range(Least, Most) -> text("~B to ~B", [Least, Most]).

mib(Bytes) -> text("~B MiB", [ceil(Bytes / 1048576)]).
