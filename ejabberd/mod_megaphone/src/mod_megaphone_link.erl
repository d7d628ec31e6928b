%%% One link: the TCP connection of one reactor of an edge, and the origin's end of the link protocol (PROTOCOL.md) on
%%% it.
%%%
%%%     socket --> link ------spawns------> request ... ejabberd_bosh
%%%     socket <-- writer <-- link <-- exit signal -- request
%%%
%%% The socket may have TLS (mod_megaphone_socket).
%%%
%%% Requests of the module's own engine go to a shard instead (mod_megaphone_engine), and the messages of a WebSocket to
%%% its stream (mod_megaphone_stream).
%%%
%%% A request process ends with its reply as the reason of its exit. The link, which traps exits, appends the frame to
%%% its batch, which leaves before the next read, or when no message waits: one write carries all ready frames, through
%%% the writer if the socket might block. Nothing waits for a batch to fill.
%%%
%%% Bounds: above high_water bytes unsent the link does not read, so at most a reply to each request that was held then
%%% waits for the edge, and messages of streams wait with their stream. The edge may take its time, but for ping_timeout
%%% without any progress the link ends. Above max_held requests and streams: 503. Contents above max_contents: the link
%%% ends. Connections that have not proved the secret: see mod_megaphone_lobby.
-module(mod_megaphone_link).
-behaviour(gen_server).

-export([start/3, start_link/3, accept/1, info/1, drain/1, follow/3]).
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2, terminate/2, format_status/1]).

-include("logger.hrl").

-record(state,
        {socket :: mod_megaphone_socket:socket(),
         opts :: #{atom() => term()},
         peer = {127, 0, 0, 1} :: inet:ip_address(),
         from = <<>> :: binary(),               % the edge's address and port, for people
         %% accepted: the socket is not this process's yet. next: securing (a listener with TLS), greeting
         %% securing: the TLS handshake is under way. next: greeting
         %% greeting: the hello is on its way. next: up (the edge's came and was answered), closing
         %% up: requests and replies. next: closing
         %% closing: the last words are on their way, and further input is ignored. next: the process ends
         stage = accepted :: accepted | securing | greeting | up | closing,
         fault = none :: mod_megaphone_stats:fault(),   % why it is closing
         name = undefined :: binary() | undefined,      % the edge's, from its hello on
         edge_max = 16777216 :: pos_integer(),  % the largest contents that the edge takes
         hello = <<>> :: binary(),              % this end's, as a line
         rest = <<>> :: binary(),               % the beginning of a frame
         need = 1 :: pos_integer(),             % as many bytes of it make more possible
         max_bytes = infinity :: pos_integer() | infinity,     % of a request of the module's engine, at the last tick
         live = mod_megaphone_live:new() :: mod_megaphone_live:live(),
         shards = #{} :: #{mod_megaphone_shard:shard() | none => reference()},
         outbox :: mod_megaphone_outbox:outbox(),
         fence = mod_megaphone_fence:new() :: mod_megaphone_fence:fence(),
         streams = none :: mod_megaphone_streams:streams() | none,     % none: one of the ends takes none
         credits = [] :: [{mod_megaphone_codec:id(), pos_integer()}],  % not in the batch yet, newest first
         full = false :: boolean(),             % messages wait for the link, not for their clients
         reading = false :: boolean(),          % the socket is armed
         pinged = false :: boolean(),           % since something came
         heard_at = 0 :: integer(),             % something came: ms of monotonic time
         moved_at = 0 :: integer(),             % something left
         ticked_at = 0 :: integer(),            % the last tick
         opened_at = 0 :: integer(),
         frames_in = 0 :: non_neg_integer(),
         bytes_in = 0 :: non_neg_integer(),
         reads = 0 :: non_neg_integer()}).

%% Before welcome there is no need for more.
-define(MAX_GREETING_BYTES, 1024).
%% How long the edge's hello may take, unless ping_timeout is shorter.
-define(GREETING_MS, 3000).
-define(READ_BYTES, 65536).
-define(STATUS_BYTES, 4).
-define(TICK_MS, 1000).
%% 128 KB, so that garbage is not collected with every third request.
-define(HEAP, {spawn_opt, [{min_heap_size, 16384}]}).
%% The time for the last words to arrive, and for this process to get a new socket.
-define(LINGER_MS, 1000).
%% Unacknowledged bytes that an edge may send to a stream.
-define(WINDOW_BYTES, 65536).
%% So many are in one line: edges may take 1 KiB at most.
-define(CREDITS, 32).

%%% For ejabberd_listener

-spec start(gen_tcp, gen_tcp:socket(), [{atom(), term()}]) -> {ok, pid()} | {error, term()} | ignore.
start(gen_tcp, Socket, Opts) ->
    gen_server:start(?MODULE, {Socket, Opts}, [?HEAP]).

-spec start_link(gen_tcp, gen_tcp:socket(), [{atom(), term()}]) -> {ok, pid()} | {error, term()} | ignore.
start_link(gen_tcp, Socket, Opts) ->
    gen_server:start_link(?MODULE, {Socket, Opts}, [?HEAP]).

%% The socket is the process's now.
-spec accept(pid()) -> ok.
accept(Pid) ->
    gen_server:cast(Pid, accept).

%%% For commands

%% What there is to say of the link; error when it has ended.
-spec info(pid()) -> {ok, #{atom() => term()}} | error.
info(Pid) ->
    try {ok, gen_server:call(Pid, info)}
    catch exit:_ -> error
    end.

%% Asks the edge for no more new sessions over this link.
-spec drain(pid()) -> ok.
drain(Pid) ->
    gen_server:cast(Pid, drain).

%%% For request processes

%% Returns when the reply of process Pid, a request of this node, is on its way to its client before whatever is sent at
%% Own from now on; or after Patience ms.
-spec follow({pid(), mod_megaphone_order:place()}, Own :: mod_megaphone_order:place(), Patience :: pos_integer()) -> ok.
follow({Pid, {Link, Id}}, {Own, _}, Patience) ->
    Monitor = monitor(process, Link),
    Link ! {follow, Id, Pid, {self(), Monitor}, Link =/= Own},
    receive
        {Monitor, passed} -> ok;
        {'DOWN', Monitor, process, Link, _} -> ok
    after Patience -> mod_megaphone_stats:add(overtaken, 1)
    end,
    demonitor(Monitor, [flush]),
    ok.

%%% gen_server

init({Socket, Opts}) ->
    process_flag(trap_exit, true),
    All = maps:merge(maps:from_list(mod_megaphone:listen_options()), maps:from_list(Opts)),
    #{secret := Secret} = All,
    mod_megaphone_lobby:enter(mod_megaphone_address:of_socket(Socket)),
    {ok, #state{socket = Socket,
                opts = All#{secret := mod_megaphone_handshake:hidden(Secret)},
                outbox = mod_megaphone_outbox:new(Socket)}, ?LINGER_MS}.

handle_cast(accept, #state{stage = accepted, socket = Socket, opts = #{tls := true} = Opts} = State) ->
    case Opts of
        #{certfile := undefined} ->
            insecure(no_certfile, State#state{from = address(Socket)});
        #{certfile := File, ping_timeout := Timeout} ->
            From = address(Socket),
            mod_megaphone_socket:secure(Socket, File, min(?GREETING_MS, Timeout)),
            next(State#state{stage = securing, from = From})
    end;
handle_cast(accept, #state{stage = accepted} = State) ->
    {noreply, State, {continue, greet}};
handle_cast(drain, #state{stage = up} = State) -> next(control(<<"drain\n">>, State));
handle_cast(_, State) -> next(State).

handle_continue(greet, #state{socket = Socket, opts = Opts} = State) ->
    #{name := Name, max_contents := Max, ping_timeout := Timeout} = Opts,
    case mod_megaphone_socket:prepare(Socket, ?READ_BYTES) of
        {ok, Peer} ->
            Window = case map_get(websocket, Opts) of true -> ?WINDOW_BYTES; false -> none end,
            Hello = mod_megaphone_codec:hello(Name, mod_megaphone_handshake:nonce(), Max,
                                              mod_megaphone_handshake:instance(), Window),
            Now = now_ms(),
            Greeting = State#state{stage = greeting, hello = Hello, peer = mod_megaphone_address:of_peer(Peer),
                                   from = mod_megaphone_address:text(Peer),
                                   heard_at = Now, moved_at = Now, ticked_at = Now, opened_at = Now,
                                   max_bytes = mod_megaphone_engine:max_bytes()},
            tick_later(Greeting),
            erlang:send_after(min(?GREETING_MS, Timeout), self(), greeting_end),
            read_on(control([Hello, $\n], Greeting));
        _ ->
            stop(io, State)
    end.

handle_call(_, From, #state{outbox = Outbox} = State) ->
    Info = #{stage => State#state.stage, edge => State#state.name, address => State#state.from,
             live => mod_megaphone_live:size(State#state.live) + streams(State), streams => streams(State),
             seconds => (now_ms() - State#state.opened_at) div 1000,
             unsent => mod_megaphone_outbox:unsent(Outbox), frames_in => State#state.frames_in,
             bytes_in => State#state.bytes_in, reads => State#state.reads},
    gen_server:reply(From, maps:merge(Info, mod_megaphone_outbox:counts(Outbox))),
    next(State).

handle_info(Message, State) ->
    Said = mod_megaphone_socket:message(Message, State#state.socket),
    mod_megaphone_fault:discreetly(fun() -> take_message(Said, State) end).

take_message(timeout, #state{stage = accepted} = State) ->
    stop(io, State);
take_message(timeout, State) ->
    maybe_read_on(flush(State));
take_message({secured, {ok, Socket}}, #state{stage = securing, outbox = Outbox} = State) ->
    {noreply, State#state{socket = Socket, outbox = mod_megaphone_outbox:secure(Socket, Outbox)}, {continue, greet}};
take_message({secured, {error, Reason}}, #state{stage = securing} = State) ->
    insecure(Reason, State);
take_message({tcp, Socket, _}, #state{socket = Socket, stage = closing} = State) ->
    read_on(State);
take_message({tcp, Socket, Bytes}, #state{socket = Socket} = State0) ->
    State = flush(State0),
    N = byte_size(Bytes),
    mod_megaphone_stats:add(reads, 1),
    mod_megaphone_stats:add(bytes_in, N),
    %% What waits leaves before each read: with an edge that always has more to say, no message would never be.
    take_bytes(Bytes, State#state{reading = false, heard_at = now_ms(), pinged = false, reads = State#state.reads + 1,
                                  bytes_in = State#state.bytes_in + N});
take_message({'EXIT', Pid, {reply, Id, Status, Body}}, State) ->
    next(reply_to(Id, Pid, Status, Body, State));
take_message({answer, Id, N, Status, Body}, State) ->
    next(case is_stream(Id, State) of
             true -> act(mod_megaphone_streams:refused(Id, N, State#state.streams), State);
             false -> reply_to(Id, N, Status, Body, State)
         end);
take_message({stream, Id, N, C2S}, State) ->
    next(act(mod_megaphone_streams:opened(Id, N, C2S, State#state.streams), State));
take_message({active, Id, N}, #state{max_bytes = Max} = State) ->
    next(act(mod_megaphone_streams:active(Id, N, Max, State#state.streams), State));
take_message({output, Id, N, C2S, Item}, State0) ->
    #state{full = Full, streams = Streams} = State = fill(State0),
    next(act(mod_megaphone_streams:output(Id, N, C2S, Item, Full, now_ms(), Streams), State));
take_message({close, Id, N}, State) ->
    next(act(mod_megaphone_streams:close(Id, N, State#state.streams), State));
take_message({{down, Id, N}, _, process, _, _}, State) ->
    next(act(mod_megaphone_streams:down(Id, N, State#state.streams), State));
take_message({restart, Id, N}, State) ->
    next(act(mod_megaphone_streams:restart(Id, N, State#state.streams), State));
take_message({shaper, Id, N, Shaper}, State) ->
    next(act(mod_megaphone_streams:shaper(Id, N, Shaper, State#state.streams), State));
take_message({unshaped, Id, N}, #state{max_bytes = Max} = State) ->
    next(act(mod_megaphone_streams:unshaped(Id, N, Max, State#state.streams), State));
take_message({opening, Id, N, Shard, Sid}, State) ->
    next(opening(Id, {N, Shard, Sid}, State));
take_message({'DOWN', Monitor, process, _, _}, State) ->
    next(shard_ended(Monitor, State));
take_message({follow, _, _, {Pid, Ref}, _}, #state{stage = closing} = State) ->
    Pid ! {Ref, passed},        % nothing leaves over this link from now on
    next(State);
take_message({follow, Id, Pid, Follower, Elsewhere}, #state{live = Live, fence = Fence} = State) ->
    Waits = mod_megaphone_live:has(Id, Pid, Live),
    next(fenced(mod_megaphone_fence:follow(Follower, Elsewhere, Id, Waits, Fence), State));
take_message({wrote, N}, #state{outbox = Outbox} = State) ->
    maybe_read_on(State#state{outbox = mod_megaphone_outbox:wrote(N, Outbox), moved_at = now_ms()});
take_message({written, ok}, #state{outbox = Outbox} = State) ->
    maybe_read_on(State#state{outbox = mod_megaphone_outbox:written(Outbox)});
take_message({written, {error, timeout}}, State) ->
    stop(overflow, State);
take_message({written, {error, _}}, State) ->
    stop(io, State);
take_message(tick, #state{live = Live} = State) ->
    tick_later(State),
    Swept = State#state{live = mod_megaphone_live:sweep(Live), max_bytes = mod_megaphone_engine:max_bytes()},
    check_liveness(without_standstill(now_ms(), end_stalled(Swept)));
take_message({tcp_closed, Socket}, #state{socket = Socket} = State) ->
    stop(none, State);
take_message({tcp_error, Socket, _}, #state{socket = Socket} = State) ->
    stop(io, State);
take_message(linger_end, State) ->
    stop(none, State);
take_message(greeting_end, #state{stage = greeting} = State) ->
    close(timeout, State);
take_message(crowded, #state{stage = Stage} = State) when Stage =/= up ->
    stop(crowded, State);
take_message({'EXIT', Pid, Reason}, State) ->
    exited(Pid, Reason, State);
take_message(_, State) ->                % {garbage_collect, swept, _} among others
    next(State).

%% The request processes are linked to this one, and end with it.
terminate(_Reason, #state{socket = Socket} = State) ->
    _ = end_streams(State),
    mod_megaphone_socket:close(Socket).

%% What clients say is not for the log, should this process crash.
format_status(Status) ->
    maps:map(fun(state, #state{} = State) -> {State#state.stage, State#state.name, State#state.from};
                (message, {Type, _, Bytes}) when Type =:= tcp; Type =:= ssl -> {Type, byte_size(Bytes)};
                (message, {'EXIT', Pid, {reply, Id, Code, _}}) -> {'EXIT', Pid, {reply, Id, Code}};
                (message, {output, Id, N, Pid, {Kind, _}}) -> {output, Id, N, Pid, Kind};
                (_, Value) -> Value
             end, Status).

%% What waits leaves as soon as no message does.
next(#state{outbox = Outbox, credits = Credits} = State) ->
    case Credits =/= [] orelse mod_megaphone_outbox:due(Outbox) orelse has_room(State) of
        true -> {noreply, State, 0};
        false -> {noreply, State}
    end.

flush(State0) ->
    #state{outbox = Outbox} = State = send_credits(State0),
    State#state{outbox = mod_megaphone_outbox:flush(Outbox)}.

%%% Input

take_bytes(Bytes, #state{rest = Rest, need = Need} = State) when byte_size(Rest) + byte_size(Bytes) < Need ->
    read_on(State#state{rest = <<Rest/binary, Bytes/binary>>});
take_bytes(Bytes, #state{rest = <<>>} = State) ->
    take_frames(Bytes, State);
take_bytes(Bytes, #state{rest = Rest} = State) ->
    take_frames(<<Rest/binary, Bytes/binary>>, State).

take_frames(Bytes, #state{frames_in = FramesIn} = State) ->
    case mod_megaphone_codec:parse_frame(Bytes, max_contents(State)) of
        {ok, Id, Contents, Rest} ->
            mod_megaphone_stats:add(frames_in, 1),
            case take_frame(Id, Contents, State#state{frames_in = FramesIn + 1}) of
                {ok, Taken} -> take_frames(Rest, Taken);
                {fault, Fault, Taken} -> close(Fault, Taken)
            end;
        {more, Need} ->
            %% The rest is copied, so that the bytes before it can go. A wrong byte of a header is refused at once.
            Header = mod_megaphone_codec:header_bytes(),
            read_on(State#state{rest = binary:copy(Bytes),
                                need = case Need of Header -> 1; _ -> Need end});
        {error, _} ->
            close(grammar, State)
    end.

max_contents(#state{stage = greeting}) -> ?MAX_GREETING_BYTES;
max_contents(#state{opts = #{max_contents := Max}}) -> Max.

take_frame(0, Contents, State) ->
    case mod_megaphone_control:parse(Contents) of
        {ok, Lines} -> take_lines(Lines, State);
        {error, grammar} -> {fault, grammar, State}
    end;
take_frame(Id, <<C, _/binary>> = Contents, #state{stage = up, streams = Streams} = State)
  when Streams =/= none, (C =:= $< orelse C =:= $+ orelse C =:= $-) ->
    take_stream(C, Id, Contents, State);
take_frame(Id, Contents, #state{stage = up} = State) ->
    case {mod_megaphone_codec:parse_request(Contents), is_live(Id, State)} of
        {{error, _}, _} -> {fault, grammar, State};
        {_, true} -> {fault, duplicate, State};
        {{ok, Address, Query, Body}, false} -> {ok, take_request(Id, Address, Query, Body, State)}
    end;
take_frame(_, _, State) ->
    {fault, early, State}.

is_live(Id, #state{live = Live} = State) -> mod_megaphone_live:is_live(Id, Live) orelse is_stream(Id, State).

is_stream(_, #state{streams = none}) -> false;
is_stream(Id, #state{streams = Streams}) -> mod_megaphone_streams:is_live(Id, Streams).

take_request(Id, Address, Query, Body, #state{live = Live} = State) ->
    mod_megaphone_stats:add(requests, 1),
    case may_hold(State) andalso hand_over(Id, Query, Body, Address, State) of
        {ok, Holder} ->
            watch(Holder, State#state{live = mod_megaphone_live:add(Id, Holder, Live)});
        _ ->
            %% The client sends the same request again.
            refused(State),
            append(mod_megaphone_codec:reply(Id, 503, <<>>), State)
    end.

held(#state{live = Live} = State) -> mod_megaphone_live:held(Live) + streams(State).

may_hold(#state{opts = #{max_held := Max}} = State) -> held(State) < Max.

refused(#state{name = Name} = State) ->
    mod_megaphone_stats:add(refused, 1),
    mod_megaphone_fault:log(refused, "Megaphone: request refused edge=~ts held=~B reason=\"~ts\"",
                            [Name, held(State), case may_hold(State) of true -> "no room"; false -> "max_held" end]).

%% Gives the request to the engine that its session belongs to; a creation, to the listener's.
hand_over(Id, Query, Body, Address, #state{frames_in = N, max_bytes = Max, opts = #{engine := Engine}} = State) ->
    case mod_megaphone_engine:owner(Body, Engine) of
        {poll, Shard, Sid, Rid} ->
            show(Query, Body, Address, State),
            mod_megaphone_shard:poll(Shard, {self(), Id, N}, Sid, Rid),
            {ok, {N, Shard, Sid}};
        {request, Shard, Sid} ->
            show(Query, Body, Address, State),
            mod_megaphone_shard:request(Shard, {self(), Id, N}, Sid, binary:copy(Body), Max),
            {ok, {N, Shard, Sid}};
        creation ->
            show(Query, Body, Address, State),
            case mod_megaphone_admission:ask({self(), Id, N}, mod_megaphone_engine, binary:copy(Body),
                                             client(Address, State)) of
                ok -> {ok, {N, none, <<>>}};
                error -> error
            end;
        ejabberd ->
            mod_megaphone_request:start(Id, Body, Query, client(Address, State))
    end.

show(<<>>, _, _, _) -> ok;
show(Query, Body, Address, State) -> mod_megaphone_request:show(Body, Query, client(Address, State)).

client(Address, #state{peer = Peer}) -> mod_megaphone_address:client(Address, Peer).

%% The link hears of a shard's end from its first request to it. A creation without one is with mod_megaphone_admission.
watch({_, Shard, _}, #state{shards = Shards} = State) when not is_map_key(Shard, Shards) ->
    Process = case Shard of none -> mod_megaphone_admission; _ -> Shard end,
    State#state{shards = Shards#{Shard => monitor(process, Process)}};
watch(_, State) -> State.

%% The session that request Id opens has its shard.
opening(Id, {N, Shard, Sid} = Holder, #state{live = Live} = State) ->
    case mod_megaphone_live:holder(Id, Live) of
        {N, none, _} -> watch(Holder, State#state{live = mod_megaphone_live:add(Id, Holder, Live)});
        _ -> mod_megaphone_shard:gone(Shard, {self(), Id, N}, Sid), State
    end.

%% A shard is not there, and its sessions with it. Those that wait for one come again.
shard_ended(Monitor, #state{shards = Shards, live = Live} = State) ->
    case [Shard || {Shard, M} <- maps:to_list(Shards), M =:= Monitor] of
        [Shard] ->
            {Status, Body} = case Shard of
                                 none -> {503, <<>>};
                                 _ -> mod_megaphone_wrapper:terminal('item-not-found', false)
                             end,
            lists:foldl(fun({Id, N}, Acc) -> reply_to(Id, N, Status, Body, Acc) end,
                        refuse_opening(Shard, State#state{shards = maps:remove(Shard, Shards)}),
                        mod_megaphone_live:of_shard(Shard, Live));
        [] -> State
    end.

%% Before welcome there is the hello, alone in its frame, or an error.
take_lines([{hello, Hello, Line}], #state{stage = greeting} = State) ->
    welcome(Hello, Line, State);
take_lines([{error, Text} | _], #state{name = Name, from = From} = State) ->
    mod_megaphone_fault:peer(Name, From, Text),
    {fault, peer, State};
take_lines([_ | _], #state{stage = greeting} = State) ->
    {fault, early, State};
take_lines([Line | _], State) when Line =:= welcome; element(1, Line) =:= hello ->
    {fault, grammar, State};
take_lines([{credit, Credits} | Lines], #state{streams = Streams} = State) when Streams =/= none ->
    case take_credits(Credits, State) of
        {ok, Taken} -> take_lines(Lines, Taken);
        Fault -> Fault
    end;
take_lines([Line | Lines], State) ->
    take_lines(Lines, take_line(Line, State));
take_lines([], State) ->
    {ok, State}.

take_line({gone, Ids}, State) -> lists:foldl(fun gone/2, State, Ids);
take_line({release, all}, #state{live = Live} = State) ->
    lists:foldl(fun release/2, State, mod_megaphone_live:ids(Live));
take_line({release, Ids}, State) -> lists:foldl(fun release/2, State, Ids);
take_line({ping, Token}, State) -> control([<<"pong ">>, Token, $\n], State);
take_line({pong, Token}, #state{fence = Fence} = State) -> fenced(mod_megaphone_fence:pong(Token, Fence), State);
take_line({credit, _}, State) -> State;
take_line(drain, State) -> State;        % the edge opens no new sessions: nothing to do
take_line({unknown, Verb}, #state{name = Name} = State) ->
    mod_megaphone_stats:add(unknown_verbs, 1),
    mod_megaphone_fault:log(unknown_verbs, "Megaphone: unknown verb ignored edge=~ts verb=\"~ts\"", [Name, Verb]),
    State.

welcome(#{name := Name} = Hello, Line, #state{hello = Ours, edge_max = Max, opts = #{secret := Secret}} = State) ->
    case mod_megaphone_handshake:meet(Hello, Line, Ours, Secret) of
        {ok, Welcome} ->
            mod_megaphone_lobby:leave(),
            mod_megaphone_stats:add(links_opened, 1),
            ?INFO_MSG("Megaphone: link opened edge=~ts address=~ts", [Name, State#state.from]),
            Up = control([Welcome, $\n], State#state{stage = up, name = Name, hello = <<>>,
                                                     edge_max = maps:get(max, Hello, Max),
                                                     streams = streams_of(Hello, State)}),
            case mod_megaphone_stats:draining() of
                true -> {ok, control(<<"drain\n">>, Up)};
                false -> {ok, Up}
            end;
        {fault, Fault} ->
            {fault, Fault, State#state{name = Name}}
    end.

%% The client went away, maybe with its last words just sent: the engine still gets them. The session's answer stays in
%% its cache for the client's next try.
gone(Id, #state{live = Live} = State) ->
    case mod_megaphone_live:gone(Id, Live) of
        {ok, Rest} ->
            mod_megaphone_stats:add(gone, 1),
            fenced(mod_megaphone_fence:answered(Id, <<>>, State#state.fence), State#state{live = Rest});
        error ->
            stale_id(State)
    end.

%% A session of ejabberd's own engine answers when it has something to say or when `wait` is over, and cannot be asked
%% to before.
release(Id, #state{live = Live} = State) ->
    case mod_megaphone_live:holder(Id, Live) of
        none -> stale_id(State);
        {N, Shard, Sid} when Shard =/= none ->
            mod_megaphone_shard:release(Shard, {self(), Id, N}, Sid),
            State;
        _ -> State
    end.

stale_id(State) ->
    mod_megaphone_stats:add(stale_ids, 1),
    State.

%%% Streams

%% Both ends must take them.
streams_of(#{streams := true} = Hello, #state{opts = #{websocket := true}}) ->
    mod_megaphone_streams:new(?WINDOW_BYTES, Hello);
streams_of(_, _) -> none.

streams(#state{streams = none}) -> 0;
streams(#state{streams = Streams}) -> mod_megaphone_streams:size(Streams).

take_stream($<, Id, Contents, #state{streams = Streams, max_bytes = Max} = State) ->
    case mod_megaphone_streams:message(Id, Contents, Max, Streams) of
        {ok, Next} -> {ok, act(Next, State)};
        {fault, Fault} -> {fault, Fault, State}
    end;
take_stream($+, Id, Contents, State) ->
    case {mod_megaphone_codec:parse_open(Contents), is_live(Id, State)} of
        {{error, _}, _} -> {fault, grammar, State};
        {_, true} -> {fault, duplicate, State};
        {{ok, Address, _}, false} -> {ok, open_stream(Id, Address, Contents, State)}
    end;
take_stream($-, Id, Contents, #state{streams = Streams} = State) ->
    case mod_megaphone_codec:parse_end(Contents) of
        {ok, _, _} -> {ok, act(mod_megaphone_streams:ended(Id, Streams), State)};
        {error, _} -> {fault, grammar, State}
    end.

%% It waits for its turn, as a request does that opens a session of the module's engine.
open_stream(Id, Address, Contents, #state{frames_in = N, streams = Streams0} = State) ->
    Streams = mod_megaphone_streams:open(Id, N, Streams0),
    case may_hold(State) andalso mod_megaphone_admission:ask({self(), Id, N}, mod_megaphone_stream,
                                                             binary:copy(Contents), client(Address, State)) of
        ok -> watch({N, none, <<>>}, State#state{streams = Streams});
        _ ->
            refused(State),
            act(mod_megaphone_streams:refused(Id, N, Streams), State)
    end.

%% Nothing opens them any longer.
refuse_opening(none, #state{streams = Streams} = State) when Streams =/= none ->
    act(mod_megaphone_streams:refuse_opening(Streams), State);
refuse_opening(_, State) -> State.

take_credits([{Id, Bytes} | Credits], State0) ->
    #state{full = Full, streams = Streams} = State = fill(State0),
    case mod_megaphone_streams:credit(Id, Bytes, Full, now_ms(), Streams) of
        {ok, Next} -> take_credits(Credits, act(Next, State));
        fault -> {fault, grammar, State}
    end;
take_credits([], State) -> {ok, State}.

end_stalled(#state{streams = none} = State) -> State;
end_stalled(#state{streams = Streams} = State) -> act(mod_megaphone_streams:stalled(now_ms(), Streams), State).

end_streams(#state{streams = none} = State) -> State;
end_streams(#state{streams = Streams} = State) -> act(mod_megaphone_streams:end_all(Streams), State).

%% Does what the streams ask for.
act(Streams, State) ->
    {Acts, Next} = mod_megaphone_streams:acts(Streams),
    lists:foldl(fun act_one/2, State#state{streams = Next}, Acts).

act_one({message, Id, Bytes}, State) -> append(mod_megaphone_codec:frame(Id, Bytes), State);
act_one({credit, Id, Bytes}, #state{credits = Credits} = State) -> State#state{credits = [{Id, Bytes} | Credits]};
act_one({tell, C2S, Message}, State) -> C2S ! Message, State;
act_one({later, Ms, Id, N}, State) -> erlang:send_after(Ms, self(), {unshaped, Id, N}), State;
act_one({watch, Id, N, C2S}, State) -> monitor(process, C2S, [{tag, {down, Id, N}}]), State;
act_one({return, C2S, Stanzas}, State) -> mod_megaphone_returns:route(C2S, Stanzas), State;
act_one({gone, Id, N}, State) -> mod_megaphone_admission:gone({self(), Id, N}), State;
%% An id may be used again: credit for its former stream must not come behind these.
act_one({accept, Id}, State) -> append(mod_megaphone_codec:accept(Id), send_credits(State));
act_one({'end', Id, Code}, State) -> append(mod_megaphone_codec:stream_end(Id, Code), send_credits(State)).

send_credits(#state{credits = []} = State) -> State;
send_credits(#state{credits = Credits} = State) ->
    control_credits(lists:reverse(Credits), State#state{credits = []}).

control_credits(Credits, State) when length(Credits) =< ?CREDITS ->
    control(mod_megaphone_codec:credits(Credits), State);
control_credits(Credits, State) ->
    {Some, Others} = lists:split(?CREDITS, Credits),
    control_credits(Others, control(mod_megaphone_codec:credits(Some), State)).

%% Notes whether messages must wait for the link. Once some do, all wait until it has room.
fill(#state{full = false, outbox = Outbox, opts = #{high_water := High}} = State) ->
    State#state{full = mod_megaphone_outbox:unsent(Outbox) > High};
fill(State) -> State.

has_room(#state{full = true, outbox = Outbox, opts = #{high_water := High}}) ->
    mod_megaphone_outbox:unsent(Outbox) =< High div 2;
has_room(_) -> false.

%% Sends what waited for the link, a stream at a time, until it is full again.
refill(#state{streams = Streams0, outbox = Outbox, opts = #{high_water := High}} = State) ->
    case mod_megaphone_outbox:unsent(Outbox) > High orelse mod_megaphone_streams:flush(Streams0) of
        true -> State;
        {more, Streams} -> refill(act(Streams, State));
        {done, Streams} -> act(Streams, State#state{full = false})
    end.

%%% What goes out

reply_to(Id, Pid, Status, Body, #state{live = Live, edge_max = Max} = State) ->
    case mod_megaphone_live:take(Id, Pid, Live) of
        {ok, Rest} when byte_size(Body) + ?STATUS_BYTES =< Max ->
            mod_megaphone_stats:add(replies, 1),
            answered(Id, Body, append(mod_megaphone_codec:reply(Id, Status, Body), State#state{live = Rest}));
        {ok, Rest} ->
            mod_megaphone_stats:add(too_large, 1),
            answered(Id, <<>>, append(mod_megaphone_codec:reply(Id, 500, <<>>), State#state{live = Rest}));
        error ->
            mod_megaphone_stats:add(stale_replies, 1),
            State#state{live = mod_megaphone_live:ended(Pid, Live)}
    end.

%% Those that follow the reply to Id, which is in the batch now, may continue, or wait for a fence.
answered(Id, Body, #state{fence = Fence} = State) ->
    fenced(mod_megaphone_fence:answered(Id, Body, Fence), State).

fenced({pass, Fence}, State) ->
    State#state{fence = Fence};
fenced({ping, Token, Fence}, State) ->
    mod_megaphone_stats:add(fences, 1),
    control([<<"ping ">>, Token, $\n], State#state{fence = Fence}).

%% The writer ends when it has written our last words. A request process that ends without an answer was killed.
exited(Pid, Reason, #state{live = Live, outbox = Outbox} = State) ->
    case Pid =:= mod_megaphone_outbox:writer(Outbox) orelse mod_megaphone_live:find(Pid, Live) of
        true when Reason =:= normal -> next(State);
        true -> stop(io, State);
        {ok, Id} ->
            mod_megaphone_stats:add(crashed, 1),
            mod_megaphone_fault:log(crashed, "Megaphone: request process killed reason=~p", [Reason]),
            next(reply_to(Id, Pid, 500, <<>>, State));
        error -> next(State#state{live = mod_megaphone_live:ended(Pid, Live)})
    end.

control(Line, State) ->
    append(mod_megaphone_codec:frame(0, Line), State).

append(Frame, #state{outbox = Outbox} = State) ->
    State#state{outbox = mod_megaphone_outbox:append(Frame, Outbox)}.

%%% Pressure

%% Arms the socket for the next bytes, unless the edge must take some first.
read_on(#state{stage = Stage, socket = Socket, outbox = Outbox, opts = #{high_water := High}} = State) ->
    case Stage =:= closing orelse mod_megaphone_outbox:unsent(Outbox) =< High of
        true ->
            case mod_megaphone_socket:active_once(Socket) of
                ok -> next(State#state{reading = true});
                {error, _} -> stop(none, State)
            end;
        false ->
            next(State#state{reading = false})
    end.

maybe_read_on(State) ->
    case has_room(State) of
        true -> maybe_arm(refill(State));
        false -> maybe_arm(State)
    end.

maybe_arm(#state{reading = false, outbox = Outbox, opts = #{high_water := High}} = State) ->
    case mod_megaphone_outbox:unsent(Outbox) =< High div 2 of
        true -> read_on(State#state{heard_at = now_ms()});     % nothing could be heard before
        false -> next(State)
    end;
maybe_arm(State) -> next(State).

tick_later(State) ->
    erlang:send_after(tick_ms(State), self(), tick).

tick_ms(#state{opts = #{ping_timeout := Timeout}}) ->
    min(?TICK_MS, Timeout div 6 + 1).

%% A tick that is late tells that this process, or all of the machine, stood still. That time does not count: what the
%% edge said and took meanwhile is only seen now.
without_standstill(Now, #state{ticked_at = Ticked, heard_at = Heard, moved_at = Moved} = State) ->
    Still = max(0, Now - Ticked - 2 * tick_ms(State)),
    State#state{ticked_at = Now, heard_at = min(Now, Heard + Still), moved_at = min(Now, Moved + Still)}.

now_ms() -> erlang:monotonic_time(millisecond).

%% An edge that takes what waits for it is alive, whether it can be heard or not, and however much waits.
check_liveness(#state{stage = up, reading = Reading, outbox = Outbox, heard_at = Heard, moved_at = Moved} = State) ->
    #{ping_timeout := Timeout, high_water := High} = State#state.opts,
    case now_ms() - max(Heard, Moved) of
        Quiet when Quiet >= Timeout ->
            case mod_megaphone_outbox:unsent(Outbox) > High of
                true -> stop(overflow, State);
                false -> close(timeout, State)
            end;
        Quiet when Quiet >= Timeout div 3, Reading, not State#state.pinged ->
            next(control(<<"ping alive\n">>, State#state{pinged = true}));
        _ -> next(State)
    end;
check_liveness(State) ->
    next(State).

%%% The end

%% Tells the edge why, and ends the link when it has had time to hear it.
close(Fault, State0) ->
    erlang:send_after(?LINGER_MS, self(), linger_end),
    #state{live = Live} = State = end_streams(State0),
    Said = case mod_megaphone_fault:reason(Fault) of
               undefined -> State;
               Reason -> control([<<"error ">>, Reason, $\n], State)
           end,
    read_on(Said#state{stage = closing, fault = Fault, rest = <<>>, live = mod_megaphone_live:kill_all(Live),
                       fence = mod_megaphone_fence:open(Said#state.fence),
                       outbox = mod_megaphone_outbox:close(Said#state.outbox)}).

%% The socket has no TLS where it must have it.
insecure(Reason, #state{from = From} = State) ->
    mod_megaphone_fault:insecure(From, Reason),
    {stop, {shutdown, tls}, State}.

%% The address of a socket whose other end may have closed it.
address(Socket) ->
    case inet:peername(Socket) of
        {ok, Peer} -> mod_megaphone_address:text(Peer);
        {error, _} -> <<"unknown">>
    end.

%% A link that was closing already ends for the reason that it had for that.
stop(Why, #state{fault = Fault, name = Name, from = From} = State) ->
    Cause = case Fault of none -> Why; _ -> Fault end,
    Live = mod_megaphone_live:size(State#state.live) + streams(State),
    case Cause of
        none when State#state.stage =/= up -> mod_megaphone_stats:add({ended, none}, 1);    % a stranger tried the port
        none ->
            mod_megaphone_stats:add({ended, none}, 1),
            ?INFO_MSG("Megaphone: link closed edge=~ts address=~ts live=~B", [Name, From, Live]);
        _ -> mod_megaphone_fault:ended(Cause, Name, From)
    end,
    {stop, {shutdown, Cause}, State}.
