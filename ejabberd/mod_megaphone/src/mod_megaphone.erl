%%% Megaphone's end in ejabberd: a listener for the links of edges, and the commands to see them.
%%%
%%% An edge holds the HTTP connections of BOSH clients and sends their requests over a few TCP links. This module
%%% hands them to ejabberd's own BOSH engine, so that mod_bosh must be loaded for the hosts that are served. Each link
%%% is a process, mod_megaphone_link, and so is each request that is held, mod_megaphone_request.
-module(mod_megaphone).
-behaviour(gen_mod).
-behaviour(ejabberd_listener).

%% gen_mod
-export([start/2, stop/1, reload/3, depends/2, mod_options/1, mod_doc/0]).
%% ejabberd_listener
-export([start/3, start_link/3, accept/1, listen_opt_type/1, listen_options/0]).
%% ejabberd commands and hooks
-export([links/0, stats/0, drain/0]).
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

%%% gen_mod: the commands are there as soon as one host has the module.

start(Host, _Opts) ->
    case gen_mod:is_loaded_elsewhere(Host, ?MODULE) of
        true -> ok;                     % ejabberd 25.03 and later complain of a command that is there already
        false ->
            %% ejabberd may stop and start again within one Erlang node; it does so when it joins a cluster.
            mod_megaphone_stats:set_draining(false),
            [supervisor:start_child(ejabberd_gen_mod_sup, #{id => M, start => {M, start_link, []}}) || M <- ?HELPERS],
            mod_megaphone_engine:start(),
            ejabberd_commands:register_commands(?MODULE, commands()),
            %% Before the listeners close: edges that hear of it in time send new users to another node.
            ejabberd_hooks:add(ejabberd_stopping, ?MODULE, drain, 50)
    end.

stop(Host) ->
    case gen_mod:is_loaded_elsewhere(Host, ?MODULE) of
        true -> ok;
        false ->
            ejabberd_hooks:delete(ejabberd_stopping, ?MODULE, drain, 50),
            stop_helpers(),
            ejabberd_commands:unregister_commands(commands())
    end.

stop_helpers() ->
    mod_megaphone_engine:stop(),
    lists:foreach(fun(M) ->
                          _ = supervisor:terminate_child(ejabberd_gen_mod_sup, M),
                          supervisor:delete_child(ejabberd_gen_mod_sup, M)
                  end, ?HELPERS).

reload(_Host, _NewOpts, _OldOpts) ->
    ok.

%% module_uninstall and module_upgrade unload this module and leave all others: they would go on as they were, and those
%% of two versions together. The links end with them; edges dial again, and clients send again.
pre_uninstall() ->
    stop_helpers(),
    lists:foreach(fun(Pid) -> supervisor:terminate_child(mod_megaphone_sup, Pid) end, link_pids()),
    lists:foreach(fun(Module) -> code:purge(Module), code:delete(Module) end,
                  [M || {M, _} <- code:all_loaded(), lists:prefix("mod_megaphone_", atom_to_list(M))]).

depends(_Host, _Opts) ->
    [{mod_bosh, hard}].

mod_options(_Host) ->
    [].

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
listen_opt_type(name) ->
    econf:binary("^[A-Za-z0-9._-]{1,64}$");
listen_opt_type(max_contents) ->
    econf:int(1024, ?MAX_CONTENTS);
listen_opt_type(engine) ->
    econf:enum([megaphone, ejabberd]);
listen_opt_type(max_held) ->
    econf:pos_int();
listen_opt_type(ping_timeout) ->
    econf:timeout(second);
listen_opt_type(high_water) ->
    econf:int(1024, 1 bsl 30);
listen_opt_type(max_unsent) ->
    econf:and_then(
      econf:int(1024, 1 bsl 40),
      fun(Bytes) ->
              ?WARNING_MSG("Megaphone: max_unsent has no effect any more: remove it. A link ends when its edge takes "
                           "nothing for ping_timeout, however much waits for it", []),
              Bytes
      end).

listen_options() ->
    [{backlog, ?BACKLOG},
     {secret, undefined},
     {name, node_name()},
     {max_contents, 1048576},
     {engine, ejabberd},
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
    [Command#ejabberd_commands{module = ?MODULE, definer = ?MODULE, tags = [megaphone], args = [], policy = admin}
     || Command <- described_commands()].

described_commands() ->
    Links = [{edge, string}, {address, string}, {seconds, integer}, {live, integer}, {unsent, integer},
             {frames_in, integer}, {frames_out, integer}, {bytes_in, integer}, {bytes_out, integer},
             {reads, integer}, {writes, integer}],
    [#ejabberd_commands{
        name = megaphone_links,
        desc = "List the links of Megaphone edges to this node",
        longdesc = "One line for each reactor of each edge: its name and address, how long the link has been up, the "
            "requests that are held, the bytes that are not written yet, and what has gone over the link.",
        function = links,
        result_desc = "The links",
        result_example = [{"edge-1", "192.0.2.7:40122", 3600, 5012, 0, 310422, 305410, 40102003, 31044210, 902, 881}],
        result = {links, {list, {link, {tuple, Links}}}}},
     #ejabberd_commands{
        name = megaphone_stats,
        desc = "Show what all links to this node have done since it was started",
        longdesc = "links and live are as of now; everything else only grows. ended_X counts the links that ended for "
            "the reason X.",
        function = stats,
        result_desc = "Counters with their values",
        result_example = [{"links", 2}, {"live", 10024}],
        result = {stats, {list, {stat, {tuple, [{name, string}, {value, integer}]}}}}},
     #ejabberd_commands{
        name = megaphone_drain,
        desc = "Ask all edges to open no new sessions on this node",
        longdesc = "Sessions that are there go on. It holds until the node is started again. Without another node new "
            "users are refused.",
        function = drain,
        result_desc = "Status code: 0 on success, 1 otherwise",
        result = {res, rescode}}].

links() ->
    [{binary_to_list(Edge), binary_to_list(Address), Seconds, Live, Unsent, FramesIn, FramesOut, BytesIn, BytesOut,
      Reads, Writes}
     || #{stage := up, edge := Edge, address := Address, seconds := Seconds, live := Live, unsent := Unsent,
          frames_in := FramesIn, frames_out := FramesOut, bytes_in := BytesIn, bytes_out := BytesOut,
          reads := Reads, writes := Writes} <- infos()].

stats() ->
    Infos = infos(),
    Engine = mod_megaphone_engine:info(),
    [{"links", length([up || #{stage := up} <- Infos])},
     {"live", lists:sum([Live || #{live := Live} <- Infos])},
     {"sessions", map_get(sessions, Engine)},
     {"session_bytes", map_get(bytes, Engine) + map_get(wheel_bytes, Engine)}
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

%%% Documentation, as `ejabberdctl man` and the web site have it

mod_doc() ->
    #{desc =>
          [<<"This module lets Megaphone edges serve the BOSH clients of this node: an edge holds their HTTP "
             "connections and sends their requests over a few TCP links. Clients, sessions and accounts are as with "
             "_`mod_bosh`_, which must be loaded as well.">>,
           <<"Add the module and its listener. Listen on a private network, and give edges and listener the same "
             "secret. Options of the listener:">>,
           <<"- `secret: Secret`: what an edge must know. Without it every edge is welcome.">>,
           <<"- `name: Name`: how this node calls itself to edges. The default is the name of the Erlang node.">>,
           <<"- `max_contents: Bytes`: the largest request, 1024 to 16777216. The default is '1048576'.">>,
           <<"- `engine: ejabberd | megaphone`: who keeps the sessions that are opened over this listener. 'ejabberd' "
             "is its own engine, with a process for each session and one for each request; 'megaphone' needs "
             "neither. The default is 'ejabberd'.">>,
           <<"- `max_held: Number`: requests that one link may have under way, those whose clients have gone included; "
             "the client of one more is asked to try again (status 503). The default is '250000'.">>,
           <<"- `ping_timeout: Time`: a link that says and takes nothing for so long is closed. The default is '15' "
             "seconds.">>,
           <<"- `high_water: Bytes`: a link with more unsent bytes is not read from. The default is '1048576'.">>],
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
           "  mod_megaphone: {}"]}.
