%%% The streams of a link as a value: clients that speak WebSocket, to which both ends send at any time (PROTOCOL.md,
%%% "Streams"). Functions collect what the caller must do; they send nothing themselves.
%%%
%%%     opening ── opened ──► open ── close, down ──► last ── all has left ──► (forgotten)
%%%        └── refused           └── ended, overrun ──────────────────────────► (forgotten)
%%%
%%% Input: a message goes to the stream's process (mod_megaphone_stream) when that has asked for one. The others wait
%%% here, unread. They are acknowledged when the process asks for the next, once half of the window has been used. So
%%% a client that sends faster than ejabberd or its shaper takes waits with less than a window and one message here.
%%%
%%% Output leaves at once while the client's window is open and the link has room. Otherwise it waits here, and the
%%% stream's process does not: it would gather messages without a bound. A stream is overrun, and its socket lost, when
%%% ?MAX_WAITING_BYTES wait; when ?MAX_STALE_BYTES wait for a client that has read nothing for ?STALE_MS; and when
%%% anything waits for one that has read nothing for ?UNREAD_MS. Stanzas that were not sent then go back to the router,
%%% unless stream management has them.
-module(mod_megaphone_streams).

-export([new/2, size/1, is_live/2, acts/1]).
-export([open/3, opened/4, refused/3, message/4, ended/2, credit/5, end_all/1]).
-export([active/4, output/7, restart/3, shaper/4, unshaped/4, close/3, down/3]).
-export([flush/1, stalled/2, refuse_opening/1]).

-export_type([streams/0, act/0]).

-type id() :: mod_megaphone_codec:id().
-type bytes() :: non_neg_integer().

%% In the order in which they must be done. later: call unshaped/4 then. watch: call down/3 when the process has ended.
%% gone: the request that opens a stream has no client any longer. return: these stanzas were not sent.
-type act() :: {accept, id()} | {message, id(), binary()} | {'end', id(), mod_megaphone_codec:code()} |
               {credit, id(), pos_integer()} | {tell, pid(), term()} | {watch, id(), N :: integer(), pid()} |
               {later, Ms :: pos_integer(), id(), N :: integer()} | {gone, id(), N :: integer()} |
               {return, pid(), [binary(), ...]}.

-record(stream,
        {n :: integer(),                        % the link's own number for it
         stage = opening :: opening | open | last,
         c2s = none :: pid() | none,
         active = false :: boolean(),           % the process has asked for a message
         paused = false :: boolean(),           % its shaper holds messages up
         shaper = none :: term(),               % ejabberd_shaper's
         opens = true :: boolean(),             % an <open/> is due
         inbox = {[], []} :: queue:queue(binary()),
         unread = 0 :: bytes(),                 % in the inbox
         taken = 0 :: bytes(),                  % by the process, and not acknowledged
         room :: integer(),                     % bytes that may be sent; a message may take it below zero
         outbox = {[], []} :: queue:queue(mod_megaphone_stream:item()),
         waiting = 0 :: bytes(),                % in the outbox
         moved_at = 0 :: integer(),             % credit came, or the first of the outbox: ms
         code = none :: none | mod_megaphone_codec:code(),     % of the end
         closes = false :: boolean(),           % the client has said <close/>
         said_last = false :: boolean()}).      % and the process has

-record(streams,
        {map = #{} :: #{id() => #stream{}},
         window :: pos_integer(),               % this end's
         edge_window :: pos_integer(),
         edge_max :: pos_integer(),             % bytes of the largest message that the edge takes
         blocked = #{} :: #{id() => []},        % those whose outbox is not empty
         turn = {[], []} :: queue:queue(id()),  % of them, those that wait for the link and not for their clients
         acts = [] :: [act()]}).                % newest first

-opaque streams() :: #streams{}.

-define(MAX_WAITING_BYTES, 16777216).
-define(MAX_STALE_BYTES, 1048576).
-define(STALE_MS, 5000).
-define(UNREAD_MS, 60000).

-define(NORMAL, 1000).
-define(LOST_PROCESS, 1011).
-define(POLICY, 1008).
-define(TOO_LARGE, 1009).
-define(BUSY, 1013).

%% Messages to a stream's process name a socket, which it does not look at.
-define(SOCKET, stream).

%% edge: what its hello says.
-spec new(Window :: pos_integer(), #{window | max => pos_integer(), _ => _}) -> streams().
new(Window, Edge) ->
    #streams{window = Window, edge_window = maps:get(window, Edge, 65536), edge_max = maps:get(max, Edge, 16777216)}.

-spec size(streams()) -> non_neg_integer().
size(#streams{map = Map}) -> map_size(Map).

-spec is_live(id(), streams()) -> boolean().
is_live(Id, #streams{map = Map}) -> is_map_key(Id, Map).

%% What must be done, oldest first.
-spec acts(streams()) -> {[act()], streams()}.
acts(#streams{acts = []} = S) -> {[], S};
acts(#streams{acts = Acts} = S) -> {lists:reverse(Acts), S#streams{acts = []}}.

act(Act, #streams{acts = Acts} = S) -> S#streams{acts = [Act | Acts]}.

put(Id, Stream, #streams{map = Map} = S) -> S#streams{map = Map#{Id => Stream}}.

find(Id, N, #streams{map = Map}) ->
    case Map of
        #{Id := #stream{n = N} = Stream} -> Stream;
        _ -> none
    end.

stale(S) ->
    mod_megaphone_stats:add(stale_streams, 1),
    S.

%%% For the edge

%% Id must not be live.
-spec open(id(), N :: integer(), streams()) -> streams().
open(Id, N, #streams{edge_window = Window} = S) -> put(Id, #stream{n = N, room = Window}, S).

%% The stream has its process.
-spec opened(id(), N :: integer(), pid(), streams()) -> streams().
opened(Id, N, C2S, S) ->
    case find(Id, N, S) of
        #stream{stage = opening} = Stream ->
            mod_megaphone_stats:add(streams_opened, 1),
            act({watch, Id, N, C2S}, act({accept, Id}, put(Id, Stream#stream{stage = open, c2s = C2S}, S)));
        _ -> act({tell, C2S, {tcp_closed, ?SOCKET}}, S)         % the client has left meanwhile
    end.

%% It gets none, because the node has no room. Only one that is being opened can be refused.
-spec refused(id(), N :: integer(), streams()) -> streams().
refused(Id, N, S) ->
    case find(Id, N, S) of
        #stream{stage = opening} -> forget(Id, act({'end', Id, ?BUSY}, S));
        _ -> S
    end.

%% A message of a client. It is copied if it must wait. Max: bytes of the largest one. An edge must not send before the
%% stream is accepted, nor beyond the window.
-spec message(id(), binary(), Max :: pos_integer() | infinity, streams()) ->
          {ok, streams()} | {fault, grammar | window}.
message(Id, Bytes, Max, #streams{map = Map, window = Window} = S) ->
    case Map of
        #{Id := #stream{stage = opening}} -> {fault, grammar};
        #{Id := #stream{stage = last}} -> {ok, S};
        #{Id := #stream{unread = Unread, taken = Taken}} when Unread + Taken >= Window -> {fault, window};
        #{Id := #stream{active = true, paused = false, unread = 0} = Stream} ->
            mod_megaphone_stats:add(messages_in, 1),
            {ok, hand_over(Id, Bytes, Max, Stream, S)};
        #{Id := #stream{inbox = Inbox, unread = Unread} = Stream} ->
            mod_megaphone_stats:add(messages_in, 1),
            {ok, put(Id, Stream#stream{inbox = queue:in(binary:copy(Bytes), Inbox), unread = Unread + byte_size(Bytes)},
                     S)};
        _ -> {ok, stale(S)}
    end.

%% The client has ended the stream, or its edge.
-spec ended(id(), streams()) -> streams().
ended(Id, #streams{map = Map} = S) ->
    case Map of
        #{Id := Stream} -> lost(Id, Stream, S);
        _ -> stale(S)
    end.

%% Bytes more may be sent to a client. Full: the link has no room.
-spec credit(id(), pos_integer(), Full :: boolean(), Now :: integer(), streams()) -> {ok, streams()} | fault.
credit(Id, Bytes, Full, Now, #streams{map = Map, edge_window = Window} = S) ->
    case Map of
        #{Id := #stream{room = Room}} when Room + Bytes > Window -> fault;
        #{Id := #stream{room = Room, waiting = Waiting} = Stream} ->
            Wider = Stream#stream{room = Room + Bytes, moved_at = Now},
            {ok, if
                     Waiting > 0, not Full -> send(Id, Wider, S);
                     Waiting > 0, Room =< 0, Room + Bytes > 0 -> put(Id, Wider, wait_for_link(Id, S));
                     true -> put(Id, Wider, S)
                 end};
        _ -> {ok, stale(S)}
    end.

%% The link ends.
-spec end_all(streams()) -> streams().
end_all(#streams{map = Map} = S) -> maps:fold(fun lost/3, S, Map).

%% The socket of a stream is no longer there.
lost(Id, #stream{stage = opening, n = N}, S) -> act({gone, Id, N}, forget(Id, S));
lost(Id, #stream{c2s = C2S, outbox = Outbox}, S) ->
    Closed = act({tell, C2S, {tcp_closed, ?SOCKET}}, forget(Id, S)),
    case [Bytes || {stanza, Bytes} <- queue:to_list(Outbox)] of
        [] -> Closed;
        Stanzas -> act({return, C2S, Stanzas}, Closed)
    end.

forget(Id, #streams{map = Map, blocked = Blocked} = S) ->
    S#streams{map = maps:remove(Id, Map), blocked = maps:remove(Id, Blocked)}.

%%% For the stream's process: input

%% It has dealt with what it had, and asks for a message.
-spec active(id(), N :: integer(), Max :: pos_integer() | infinity, streams()) -> streams().
active(Id, N, Max, S) ->
    case find(Id, N, S) of
        #stream{stage = open} = Stream ->
            {Acknowledged, Next} = acknowledge(Id, Stream#stream{active = true}, S),
            next_message(Id, Max, Acknowledged, Next);
        #stream{stage = opening} = Stream -> put(Id, Stream#stream{active = true}, S);
        _ -> S
    end.

acknowledge(Id, #stream{taken = Taken} = Stream, #streams{window = Window} = S) when Taken >= Window div 2 ->
    mod_megaphone_stats:add(credits, 1),
    {Stream#stream{taken = 0}, act({credit, Id, Taken}, S)};
acknowledge(_, Stream, S) -> {Stream, S}.

next_message(Id, Max, #stream{active = true, paused = false, unread = Unread, inbox = Inbox} = Stream, S)
  when Unread > 0 ->
    {{value, Bytes}, Rest} = queue:out(Inbox),
    hand_over(Id, Bytes, Max, Stream#stream{inbox = Rest, unread = Unread - byte_size(Bytes)}, S);
next_message(Id, _, Stream, S) -> put(Id, Stream, S).

%% Gives a message to the process, which is active. An <open/> that is not due is dropped: ejabberd would log it.
hand_over(Id, Bytes, Max, #stream{n = N, c2s = C2S, taken = Taken, opens = Opens} = Stream0, S) ->
    Stream = Stream0#stream{taken = Taken + byte_size(Bytes)},
    case mod_megaphone_stream:read(Bytes, Max) of
        {xmlstreamstart, _, _} when not Opens ->
            {Acknowledged, Next} = acknowledge(Id, Stream, S),
            next_message(Id, Max, Acknowledged, Next);
        Event ->
            {Shaped, Pause} = shape(byte_size(Bytes), said(Event, Stream#stream{active = false})),
            Told = act({tell, C2S, {tcp, ?SOCKET, [Event]}}, put(Id, Shaped, S)),
            case Pause of
                0 -> Told;
                _ -> act({later, Pause, Id, N}, Told)
            end
    end.

said({xmlstreamstart, _, _}, Stream) -> Stream#stream{opens = false};
said({xmlstreamend, _}, Stream) -> Stream#stream{closes = true};
said({xmlstreamerror, Text}, Stream) when is_binary(Text) -> Stream#stream{code = ?TOO_LARGE};
said(_, Stream) -> Stream.

shape(_, #stream{shaper = none} = Stream) -> {Stream, 0};
shape(Size, #stream{shaper = Shaper} = Stream) ->
    case ejabberd_shaper:update(Shaper, Size) of
        {Next, Pause} when Pause =< 0 -> {Stream#stream{shaper = Next}, 0};
        {Next, Pause} -> {Stream#stream{shaper = Next, paused = true}, Pause}
    end.

%% The rate of the client has a new bound.
-spec shaper(id(), N :: integer(), Shaper :: term(), streams()) -> streams().
shaper(Id, N, Shaper, S) ->
    case find(Id, N, S) of
        none -> S;
        Stream -> put(Id, Stream#stream{shaper = Shaper}, S)
    end.

%% The pause of its shaper is over.
-spec unshaped(id(), N :: integer(), Max :: pos_integer() | infinity, streams()) -> streams().
unshaped(Id, N, Max, S) ->
    case find(Id, N, S) of
        #stream{stage = open} = Stream -> next_message(Id, Max, Stream#stream{paused = false}, S);
        _ -> S
    end.

%% The client has logged in: an <open/> is due once more.
-spec restart(id(), N :: integer(), streams()) -> streams().
restart(Id, N, S) ->
    case find(Id, N, S) of
        none -> S;
        Stream -> put(Id, Stream#stream{opens = true}, S)
    end.

%%% For the stream's process: output

-spec output(id(), N :: integer(), pid(), mod_megaphone_stream:item(), Full :: boolean(), Now :: integer(),
             streams()) -> streams().
output(Id, N, C2S, {Kind, Bytes} = Item, Full, Now, #streams{edge_max = Max} = S) ->
    case find(Id, N, S) of
        #stream{stage = open} = Stream when byte_size(Bytes) > Max ->
            mod_megaphone_stats:add(too_large, 1),
            lost(Id, Stream, act({'end', Id, ?TOO_LARGE}, S));
        #stream{stage = open, waiting = 0, room = Room} = Stream when Room > 0, not Full ->
            put(Id, noted(Kind, Stream#stream{room = Room - byte_size(Bytes)}), sent(Id, Bytes, S));
        #stream{stage = open} = Stream -> wait(Id, Item, Now, noted(Kind, Stream), S);
        _ when Kind =:= stanza -> act({return, C2S, [Bytes]}, S);
        _ -> S
    end.

sent(Id, Bytes, S) ->
    mod_megaphone_stats:add(messages_out, 1),
    act({message, Id, Bytes}, S).

noted({error, Code}, #stream{code = none} = Stream) -> Stream#stream{code = Code};
noted(last, Stream) -> Stream#stream{said_last = true};
noted(_, Stream) -> Stream.

wait(Id, {_, Bytes} = Item, Now, #stream{outbox = Outbox, waiting = Waiting0} = Stream0, S) ->
    Waiting = Waiting0 + byte_size(Bytes),
    Stream = Stream0#stream{outbox = queue:in(Item, Outbox), waiting = Waiting,
                            moved_at = case Waiting0 of 0 -> Now; _ -> Stream0#stream.moved_at end},
    case Waiting > ?MAX_WAITING_BYTES orelse Waiting > ?MAX_STALE_BYTES andalso unread_for(?STALE_MS, Now, Stream) of
        true -> overrun(Id, Stream, S);
        false when Waiting0 =:= 0, Stream#stream.room > 0 -> put(Id, Stream, wait_for_link(Id, blocked(Id, S)));
        false -> put(Id, Stream, blocked(Id, S))
    end.

blocked(Id, #streams{blocked = Blocked} = S) -> S#streams{blocked = Blocked#{Id => []}}.

%% Every stream whose outbox and window are open has a turn, until flush/1 has come to it.
wait_for_link(Id, #streams{turn = Turn} = S) -> S#streams{turn = queue:in(Id, Turn)}.

unread_for(Ms, Now, #stream{room = Room, moved_at = Moved}) -> Room =< 0 andalso Now - Moved >= Ms.

overrun(Id, Stream, S) ->
    mod_megaphone_stats:add(overrun, 1),
    lost(Id, Stream, act({'end', Id, ?POLICY}, S)).

%% Sends what waits, while the client's window is open.
send(Id, #stream{waiting = 0} = Stream, #streams{blocked = Blocked} = S) ->
    finish(Id, Stream, S#streams{blocked = maps:remove(Id, Blocked)});
send(Id, #stream{room = Room} = Stream, S) when Room =< 0 -> put(Id, Stream, S);
send(Id, #stream{outbox = Outbox, waiting = Waiting, room = Room} = Stream, S) ->
    {{value, {_, Bytes}}, Rest} = queue:out(Outbox),
    N = byte_size(Bytes),
    send(Id, Stream#stream{outbox = Rest, waiting = Waiting - N, room = Room - N}, sent(Id, Bytes, S)).

%% The process has closed its socket. What it said before is sent first.
-spec close(id(), N :: integer(), streams()) -> streams().
close(Id, N, S) -> last(Id, find(Id, N, S), ?POLICY, S).

%% The process has ended.
-spec down(id(), N :: integer(), streams()) -> streams().
down(Id, N, S) -> last(Id, find(Id, N, S), ?LOST_PROCESS, S).

%% A client that closes before its stream has begun has <close/> in return; ejabberd has nothing to close then. Without
%% <close/> it was not the end of the session, which may be resumed.
last(Id, #stream{stage = open, closes = true, said_last = false, waiting = 0} = Stream, _, S) ->
    finish(Id, Stream#stream{stage = last}, sent(Id, mod_megaphone_stream:closing(), S));
last(Id, #stream{stage = open, code = none, said_last = false} = Stream, Code, S) ->
    finish(Id, Stream#stream{stage = last, code = Code}, S);
last(Id, #stream{stage = open} = Stream, _, S) -> finish(Id, Stream#stream{stage = last}, S);
last(_, _, _, S) -> S.

finish(Id, #stream{stage = last, waiting = 0, code = Code}, S) ->
    forget(Id, act({'end', Id, case Code of none -> ?NORMAL; _ -> Code end}, S));
finish(Id, Stream, S) -> put(Id, Stream, S).

%%% For the link

%% The link has room again: sends what waits for one stream. done: all have had their turn.
-spec flush(streams()) -> {more | done, streams()}.
flush(#streams{turn = Turn0, map = Map} = S) ->
    case queue:out(Turn0) of
        {empty, _} -> {done, S};
        {{value, Id}, Turn} ->
            Next = case Map of
                       #{Id := #stream{waiting = N} = Stream} when N > 0 -> send(Id, Stream, S#streams{turn = Turn});
                       _ -> S#streams{turn = Turn}
                   end,
            {case queue:is_empty(Turn) of true -> done; false -> more end, Next}
    end.

%% Refuses all that are being opened. It looks at all streams: for accidents only.
-spec refuse_opening(streams()) -> streams().
refuse_opening(#streams{map = Map} = S) ->
    maps:fold(fun(Id, #stream{stage = opening, n = N}, Acc) -> refused(Id, N, Acc);
                 (_, _, Acc) -> Acc
              end, S, Map).

%% Ends the streams whose clients do not read. Must be called at each tick.
-spec stalled(Now :: integer(), streams()) -> streams().
stalled(Now, #streams{blocked = Blocked, map = Map} = S) ->
    maps:fold(fun(Id, [], Acc) ->
                      Stream = map_get(Id, Map),
                      case unread_for(?UNREAD_MS, Now, Stream) of
                          true -> overrun(Id, Stream, Acc);
                          false -> Acc
                      end
              end, S, Blocked).
