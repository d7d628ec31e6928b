%%% Megaphone's end in ejabberd: a listener for the links of edges, and the commands to see them.
%%%
%%% An edge holds the connections of BOSH and WebSocket clients and sends what they say over a few TCP links. This
%%% module hands requests to ejabberd's own BOSH engine, so that mod_bosh must be loaded for the hosts that are served.
%%% Each link is a process, mod_megaphone_link, and so is each request that is held, mod_megaphone_request. A WebSocket
%%% has no process but ejabberd's stream, mod_megaphone_stream.
-module(mod_megaphone).
-behaviour(gen_mod).
-behaviour(ejabberd_listener).

%% gen_mod
-export([start/2, stop/1, reload/3, depends/2, mod_opt_type/1, mod_options/1, mod_doc/0]).
%% ejabberd_listener
-export([start/3, start_link/3, accept/1, listen_opt_type/1, listen_options/0]).
%% ejabberd commands and hooks
-export([links/0, stats/0, drain/0, doctor/1]).
%% ext_mod
-export([pre_uninstall/0]).

-include("ejabberd_commands.hrl").
-include("logger.hrl").

-define(MAX_CONTENTS, 16777216).
-define(MIN_SECRET_BYTES, 16).
%% Connections that the kernel keeps until ejabberd accepts them. ejabberd's own 5 are taken by a handful of strangers,
%% and after a restart all reactors of all edges dial at once; each that finds no room loses a second.
-define(BACKLOG, 1024).
%% Processes that all links of the node share.
-define(HELPERS, [mod_megaphone_order, mod_megaphone_lobby]).
%% Sessions that wait for their turn to wake have it before ejabberd stops.
-define(STOP_SLEEP_MS, 65000).

%%% gen_mod: the commands are there as soon as one host has the module.

start(Host, Opts) ->
    sleep_with(Host, Opts),
    case gen_mod:is_loaded_elsewhere(Host, ?MODULE) of
        true -> ok;                     % ejabberd 25.03 and later complain of a command that is there already
        false ->
            %% ejabberd may stop and start again within one Erlang node; it does so when it joins a cluster.
            mod_megaphone_stats:set_draining(false),
            [supervisor:start_child(ejabberd_gen_mod_sup, #{id => M, start => {M, start_link, []}}) || M <- ?HELPERS],
            mod_megaphone_engine:start(),
            log_ins(Opts),
            ejabberd_commands:register_commands(?MODULE, commands()),
            %% Before the listeners close: edges that hear of it in time send new users to another node.
            ejabberd_hooks:add(ejabberd_stopping, ?MODULE, drain, 50)
    end.

stop(Host) ->
    %% After pre_uninstall the module is gone.
    _ = erlang:module_loaded(mod_megaphone_sleep) andalso mod_megaphone_sleep:stop(Host),
    case gen_mod:is_loaded_elsewhere(Host, ?MODULE) of
        true -> ok;
        false ->
            ejabberd_hooks:delete(ejabberd_stopping, ?MODULE, drain, 50),
            stop_helpers(),
            stop_sleep(),
            ejabberd_commands:unregister_commands(commands())
    end.

stop_helpers() ->
    _ = erlang:module_loaded(mod_megaphone_engine) andalso mod_megaphone_engine:stop(),
    lists:foreach(fun stop_child/1, ?HELPERS).

stop_child(Id) ->
    _ = supervisor:terminate_child(ejabberd_gen_mod_sup, Id),
    supervisor:delete_child(ejabberd_gen_mod_sup, Id).

reload(Host, NewOpts, _OldOpts) ->
    log_ins(NewOpts),
    sleep_with(Host, NewOpts).

log_ins(Opts) ->
    mod_megaphone_admission:max(gen_mod:get_opt(max_logins, Opts)).

%%% Sleep: what all hosts share is there as soon as one of them asks for it.

sleep_with(Host, Opts) ->
    case gen_mod:get_opt(sleep_after, Opts) of
        infinity -> mod_megaphone_sleep:stop(Host);
        _ ->
            start_sleep(gen_mod:get_opt(max_awake, Opts)),
            mod_megaphone_sleep:start(Host),
            mod_megaphone_sleep:options_changed()
    end.

start_sleep(MaxAwake) ->
    Child = #{id => mod_megaphone_awake, start => {mod_megaphone_awake, start_link, [MaxAwake]},
              shutdown => ?STOP_SLEEP_MS},
    case supervisor:start_child(ejabberd_gen_mod_sup, Child) of
        {ok, _} -> mod_megaphone_sleep:start_node();
        {error, {already_started, _}} -> mod_megaphone_awake:set_max(MaxAwake)
    end.

stop_sleep() ->
    stop_child(mod_megaphone_awake),
    _ = erlang:module_loaded(mod_megaphone_sleep) andalso mod_megaphone_sleep:stop_node(),
    ok.

%% module_uninstall and module_upgrade unload this module and leave all others, which would otherwise continue, with
%% those of two versions together. The links end with them; edges dial again, and clients send again. Sleeping sessions
%% stay asleep without it.
pre_uninstall() ->
    lists:foreach(fun mod_megaphone_sleep:stop/1, ejabberd_option:hosts()),
    stop_helpers(),
    stop_sleep(),
    end_links(),
    Stay = case mod_megaphone_sleep:leave() of
               ok -> [];
               {error, N} ->
                   ?ERROR_MSG("Megaphone: code of sleep stays loaded sessions=~B", [N]),
                   [mod_megaphone_sleep, mod_megaphone_pack]
           end,
    end_links(),        % those that edges have dialled meanwhile
    %% Streams that wait to be resumed close their sockets when they have a turn: that module stays, and holds nothing.
    lists:foreach(fun(Module) -> code:purge(Module), code:delete(Module) end,
                  [M || {M, _} <- code:all_loaded(), lists:prefix("mod_megaphone_", atom_to_list(M)),
                        not lists:member(M, [mod_megaphone_stream | Stay])]).

end_links() ->
    lists:foreach(fun(Pid) -> supervisor:terminate_child(mod_megaphone_sup, Pid) end, link_pids()).

depends(_Host, _Opts) ->
    [{mod_bosh, hard}].

mod_opt_type(sleep_after) ->
    %% A bare number is seconds; a shorter time needs its unit.
    econf:either(econf:timeout(second, infinity), econf:timeout(millisecond));
mod_opt_type(sleep_sessions) ->
    econf:enum([megaphone, all]);
mod_opt_type(max_awake) ->
    econf:pos_int();
mod_opt_type(max_logins) ->
    econf:pos_int().

mod_options(_Host) ->
    [{sleep_after, infinity},
     {sleep_sessions, megaphone},
     {max_awake, 50000},
     {max_logins, 5000}].

%%% ejabberd_listener

start(SockMod, Socket, Opts) ->
    mod_megaphone_link:start(SockMod, Socket, Opts).

start_link(SockMod, Socket, Opts) ->
    mod_megaphone_link:start_link(SockMod, Socket, Opts).

accept(Pid) ->
    mod_megaphone_link:accept(Pid).

listen_opt_type(secret) ->
    econf:and_then(
      econf:binary(),
      fun(Secret) when byte_size(Secret) >= ?MIN_SECRET_BYTES -> Secret;
         (_) -> econf:fail({invalid_syntax, "the secret must have 16 characters or more"})
      end);
listen_opt_type(tls) ->
    econf:bool();
listen_opt_type(certfile) ->
    econf:and_then(
      econf:pem(),
      fun(File) ->
              case mod_megaphone_certificate:check(File) of
                  {ok, _} -> File;
                  {error, Text} -> econf:fail({invalid_syntax, lists:flatten(io_lib:format("~ts: ~ts", [File, Text]))})
              end
      end);
listen_opt_type(name) ->
    econf:binary("^[A-Za-z0-9._-]{1,64}$");
listen_opt_type(max_contents) ->
    econf:int(1024, ?MAX_CONTENTS);
listen_opt_type(engine) ->
    econf:enum([megaphone, ejabberd]);
listen_opt_type(websocket) ->
    econf:bool();
listen_opt_type(max_held) ->
    econf:pos_int();
listen_opt_type(ping_timeout) ->
    econf:timeout(second);
listen_opt_type(high_water) ->
    econf:int(1024, 1 bsl 30);
listen_opt_type(max_unsent) ->         % of earlier versions; a link ends when its edge reads nothing for ping_timeout
    econf:and_then(
      econf:int(1024, 1 bsl 40),
      fun(Bytes) ->
              ?WARNING_MSG("Megaphone: max_unsent has no effect", []),
              Bytes
      end).

listen_options() ->
    [{backlog, ?BACKLOG},
     {secret, undefined},
     {tls, false},
     {certfile, undefined},
     {name, node_name()},
     {max_contents, 1048576},
     {engine, ejabberd},
     {websocket, true},
     {max_held, 250000},
     {ping_timeout, 15000},
     {high_water, 1048576},
     {max_unsent, undefined}].

%% This node's name in the protocol's alphabet: ejabberd@localhost is ejabberd.localhost.
node_name() ->
    Name = << <<(case mod_megaphone_codec:valid_name(<<C>>) of true -> C; false -> $. end)>>
              || <<C>> <= atom_to_binary(node(), latin1) >>,
    binary:part(Name, 0, min(byte_size(Name), 64)).

%%% Commands

%% ejabberd deletes a command only as it was registered, its definer included.
commands() ->
    [Command#ejabberd_commands{module = ?MODULE, definer = ?MODULE, tags = [megaphone], policy = admin}
     || Command <- described_commands()].

described_commands() ->
    Links = [{edge, string}, {address, string}, {seconds, integer}, {live, integer}, {unsent, integer},
             {frames_in, integer}, {frames_out, integer}, {bytes_in, integer}, {bytes_out, integer},
             {reads, integer}, {writes, integer}],
    [#ejabberd_commands{
        name = megaphone_links,
        desc = "List the links of Megaphone edges to this node",
        longdesc = "One line for each reactor of each edge: its name and address, how long the link has been up, the "
            "requests that are held and the WebSockets, the bytes that are not written yet, and what has gone over the "
            "link.",
        function = links,
        args = [],
        result_desc = "The links",
        result_example = [{"edge-1", "192.0.2.7:40122", 3600, 5012, 0, 310422, 305410, 40102003, 31044210, 902, 881}],
        result = {links, {list, {link, {tuple, Links}}}}},
     #ejabberd_commands{
        name = megaphone_stats,
        desc = "Show what all links to this node have done since it was started",
        longdesc = "links, live, streams (WebSockets), sessions, asleep, awake, waiting_to_wake, waiting_to_open, "
            "opening and logging_in are as of now; everything else only grows. most_X is the largest number since "
            "sleep was turned on. ended_X counts the links that ended for the reason X. cut counts sessions that were "
            "ended because their clients had not logged in when others needed their places, and overrun counts "
            "WebSockets that were ended because their clients did not read. sleep_works is 0 if sessions do not "
            "sleep, or if this ejabberd or Erlang lacks something for it and they only collect their garbage (counted "
            "in collected). slept_with_more counts the times that something had to stay on the heap beside the packed "
            "state.",
        function = stats,
        args = [],
        result_desc = "Counters with their values",
        result_example = [{"links", 2}, {"live", 10024}],
        result = {stats, {list, {stat, {tuple, [{name, string}, {value, integer}]}}}}},
     #ejabberd_commands{
        name = megaphone_drain,
        desc = "Ask all edges to open no new sessions on this node",
        longdesc = "Sessions that are there go on. It holds until the node or this module is started again. Without "
            "another node new users are refused.",
        function = drain,
        args = [],
        result_desc = "Status code: 0 on success, 1 otherwise",
        result = {res, rescode}},
     #ejabberd_commands{
        name = megaphone_doctor,
        desc = "Check whether this node fits a number of sessions",
        longdesc = "One line for each check: ok, warn (the sessions fit, and take more than they need) or fail (they "
            "do not fit), the value, what is wanted, and the remedy. Nothing is changed. megaphone-ejabberd-install "
            "--sessions N writes what can be written.",
        function = doctor,
        args = [{sessions, string}],
        args_desc = ["How many sessions this node is to hold: 1000000, 1000k or 1M"],
        args_example = ["1M"],
        result_desc = "The lines; the status code is 1 if a check has failed",
        result_example = {ok, "ok    processes   process_limit 2097152 (wanted: 1500000 or more)"},
        result = {res, restuple}}].

links() ->
    [{binary_to_list(Edge), binary_to_list(Address), Seconds, Live, Unsent, FramesIn, FramesOut, BytesIn, BytesOut,
      Reads, Writes}
     || #{stage := up, edge := Edge, address := Address, seconds := Seconds, live := Live, unsent := Unsent,
          frames_in := FramesIn, frames_out := FramesOut, bytes_in := BytesIn, bytes_out := BytesOut,
          reads := Reads, writes := Writes} <- infos()].

stats() ->
    Infos = infos(),
    Engine = mod_megaphone_engine:info(),
    #{asleep := Asleep, mode := Mode} = mod_megaphone_sleep:figures(),
    {Awake, Waiting} = mod_megaphone_awake:count(),
    {MostAwake, MostWaiting} = mod_megaphone_awake:most(),
    #{waiting := ToOpen, opening := Opening, joining := LoggingIn} = mod_megaphone_admission:info(),
    [{"links", length([up || #{stage := up} <- Infos])},
     {"live", lists:sum([Live || #{live := Live} <- Infos])},
     {"streams", lists:sum([Streams || #{streams := Streams} <- Infos])},
     {"sessions", map_get(sessions, Engine)},
     {"session_bytes", map_get(bytes, Engine) + map_get(wheel_bytes, Engine)},
     {"sleep_works", case Mode of sleep -> 1; _ -> 0 end},
     {"asleep", Asleep},
     {"awake", Awake},
     {"waiting_to_wake", Waiting},
     {"most_awake", MostAwake},
     {"most_waiting_to_wake", MostWaiting},
     {"waiting_to_open", ToOpen},
     {"opening", Opening},
     {"logging_in", LoggingIn},
     {"waiting_to_end", map_get(to_end, Engine)}
     | [{name_of(Counter), Value} || {Counter, Value} <- mod_megaphone_stats:all()]].

name_of({ended, Fault}) -> "ended_" ++ atom_to_list(Fault);
name_of(Counter) -> atom_to_list(Counter).

infos() ->
    [Info || Pid <- link_pids(), {ok, Info} <- [mod_megaphone_link:info(Pid)]].

%% The listener's supervisor has the links as its children, unless the listener has `supervisor: false`.
link_pids() ->
    try [Pid || {_, Pid, _, _} <- supervisor:which_children(mod_megaphone_sup), is_pid(Pid)]
    catch exit:{noproc, _} -> []
    end.

drain() ->
    mod_megaphone_stats:set_draining(true),
    lists:foreach(fun mod_megaphone_link:drain/1, link_pids()).

%% ejabberdctl ends with the number as its status.
doctor(Sessions) ->
    case mod_megaphone_doctor:report(Sessions, length([up || #{stage := up} <- infos()])) of
        {ok, Text} -> {ok, Text};
        {error, Text} -> {1, Text}
    end.

%%% Documentation, as `ejabberdctl man` and the web site have it

mod_doc() ->
    #{desc =>
          [<<"This module lets Megaphone edges serve the BOSH and WebSocket clients of this node: an edge holds their "
             "connections and sends what they say over a few TCP links. Clients, sessions and accounts are as with "
             "_`mod_bosh`_, which must be loaded as well.">>,
           <<"Add the module and its listener. Listen on a private network, and give edges and listener the same "
             "secret. Options of the listener:">>,
           <<"- `secret: Secret`: what an edge must know. Without it every edge is welcome.">>,
           <<"- `tls: true | false`: links have TLS 1.3. It needs `certfile`. The default is 'false'.">>,
           <<"- `certfile: Path`: the certificate of the listener, its chain and its key, in PEM.">>,
           <<"- `name: Name`: how this node calls itself to edges. The default is the name of the Erlang node.">>,
           <<"- `max_contents: Bytes`: the largest request, 1024 to 16777216. The default is '1048576'.">>,
           <<"- `engine: ejabberd | megaphone`: who keeps the sessions that are opened over this listener. 'ejabberd' "
             "is its own engine, with a process for each session and one for each request; 'megaphone' needs "
             "neither. The default is 'ejabberd'.">>,
           <<"- `websocket: true | false`: whether WebSocket clients (RFC 7395) are taken beside those of BOSH. Load "
             "_`mod_stream_mgmt`_, so that their sessions outlive a lost edge. The default is 'true'.">>,
           <<"- `max_held: Number`: requests and WebSockets that one link may have, requests whose clients have gone "
             "included; the client of one more is asked to try again (status 503). The default is '250000'.">>,
           <<"- `ping_timeout: Time`: a link that says and takes nothing for so long is closed. The default is '15' "
             "seconds.">>,
           <<"- `high_water: Bytes`: a link with more unsent bytes is not read from. The default is '1048576'.">>],
      opts =>
          [{sleep_after,
            #{value => <<"timeout() | infinity">>,
              desc => <<"An idle session hibernates with its state packed when it has been awake for so long: "
                        "1 KB instead of 8 to 30. '2 seconds' is a good value. The default is 'infinity': sessions "
                        "do not sleep.">>}},
           {sleep_sessions,
            #{value => <<"megaphone | all">>,
              desc => <<"Which sessions sleep: those that came over a link, or all. The default is 'megaphone'.">>}},
           {max_awake,
            #{value => <<"pos_integer()">>,
              desc => <<"Of the sessions that sleep on this node, so many may be awake at once; more wait for their "
                        "turn, with what was sent to them. It is the same for all hosts. The default is '50000', "
                        "about 700 MB.">>}},
           {max_logins,
            #{value => <<"pos_integer()">>,
              desc => <<"With 'engine: megaphone' and over WebSocket, so many sessions may be there whose clients have "
                        "not logged in; requests for more wait. It is the same for all hosts. The default is '5000', "
                        "about 150 MB.">>}}],
      example =>
          ["listen:",
           "  -",
           "    port: 5279",
           "    ip: \"10.0.0.2\"",
           "    module: mod_megaphone",
           "    secret: \"what only the edges know\"",
           "",
           "modules:",
           "  mod_bosh: {}",
           "  mod_megaphone:",
           "    sleep_after: 2 seconds"]}.
