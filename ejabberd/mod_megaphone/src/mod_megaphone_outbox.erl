%%% What a link has to say and has not said yet: the batch that gathers, those that wait, and the one the writer has.
%%%
%%% A batch that the socket takes at once is written right here. One that might have to wait goes to the writer.
%%% The writer has one batch at a time. While it is busy the next one grows, up to ?FLUSH_BYTES and a frame; then it
%%% waits, and another one begins. So a slow socket makes larger batches, and what waits is kept as it came: only the
%%% writer's batch is copied.
-module(mod_megaphone_outbox).

-export([new/1, secure/2, append/2, flush/1, wrote/2, written/1, close/1]).
-export([unsent/1, due/1, writer/1, counts/1]).

-export_type([outbox/0]).

-record(outbox,
        {socket :: mod_megaphone_socket:socket(),
         writer :: pid(),
         batch = [] :: iodata(),
         bytes = 0 :: non_neg_integer(),        % of the batch
         frames = 0 :: non_neg_integer(),
         waiting = queue:new() :: queue:queue({iodata(), Bytes :: pos_integer(), Frames :: pos_integer()}),
         waiting_bytes = 0 :: non_neg_integer(),
         at_writer = 0 :: non_neg_integer(),    % bytes that the writer has not written
         writing = false :: boolean(),          % it has not said that it is done
         closing = false :: boolean(),          % nothing follows the current contents
         frames_out = 0 :: non_neg_integer(),
         bytes_out = 0 :: non_neg_integer(),
         writes = 0 :: non_neg_integer()}).

-opaque outbox() :: #outbox{}.

%% The size at which a batch does not wait for the link to be idle.
-define(FLUSH_BYTES, 262144).
%% A batch up to this size is written directly when the socket has nothing to send: its queue takes all of it.
-define(DIRECT_BYTES, 65536).

-spec new(gen_tcp:socket()) -> outbox().
new(Socket) ->
    _ = inet:setopts(Socket, [{high_watermark, 2 * ?DIRECT_BYTES}]),
    #outbox{socket = Socket, writer = mod_megaphone_writer:start_link(Socket)}.

%% The socket has TLS now. Nothing was written before.
-spec secure(mod_megaphone_socket:socket(), outbox()) -> outbox().
secure(Socket, #outbox{writer = Writer} = Outbox) ->
    mod_megaphone_writer:secure(Writer, Socket),
    Outbox#outbox{socket = Socket}.

-spec append(iolist(), outbox()) -> outbox().
append(_, #outbox{closing = true} = Outbox) ->
    Outbox;
append(Frame, #outbox{batch = Batch, bytes = Bytes, frames = Frames} = Outbox) ->
    New = Outbox#outbox{batch = [Batch | Frame], bytes = Bytes + iolist_size(Frame), frames = Frames + 1},
    case New#outbox.bytes >= ?FLUSH_BYTES of
        true -> flush(set_aside(New));
        false -> New
    end.

%% Queues the batch, and begins another.
set_aside(#outbox{batch = Batch, bytes = Bytes, frames = Frames} = Outbox) ->
    Outbox#outbox{batch = [], bytes = 0, frames = 0,
                  waiting = queue:in({Batch, Bytes, Frames}, Outbox#outbox.waiting),
                  waiting_bytes = Outbox#outbox.waiting_bytes + Bytes}.

%% Writes the batch that has waited the longest, unless the writer has not written the one before.
-spec flush(outbox()) -> outbox().
flush(#outbox{writing = true} = Outbox) ->
    Outbox;
flush(#outbox{bytes = 0, waiting_bytes = 0} = Outbox) ->
    Outbox;
flush(#outbox{waiting_bytes = 0, batch = Batch, bytes = Bytes, frames = Frames} = Outbox) ->
    write(Batch, Bytes, Frames, Outbox#outbox{batch = [], bytes = 0, frames = 0});
flush(#outbox{waiting = Waiting, waiting_bytes = WaitingBytes} = Outbox) ->
    {{value, {Batch, Bytes, Frames}}, Rest} = queue:out(Waiting),
    write(Batch, Bytes, Frames, Outbox#outbox{waiting = Rest, waiting_bytes = WaitingBytes - Bytes}).

write(Batch, Bytes, Frames, #outbox{socket = Socket, frames_out = FramesOut} = Outbox) ->
    mod_megaphone_stats:add(frames_out, Frames),
    Counted = Outbox#outbox{frames_out = FramesOut + Frames},
    finish(case Bytes =< ?DIRECT_BYTES andalso mod_megaphone_socket:direct(Socket) of
               true -> send(Batch, Bytes, Counted);
               false ->
                   mod_megaphone_writer:write(Outbox#outbox.writer, Batch),
                   Counted#outbox{writing = true, at_writer = Bytes}
           end).

%% Two processes less are woken than by way of the writer, which is most of what a write costs on an idle node.
send(Batch, Bytes, #outbox{socket = Socket} = Outbox) ->
    case mod_megaphone_socket:send(Socket, Batch) of
        ok -> count(Bytes, Outbox);
        {error, _} = Error -> self() ! {written, Error}, Outbox
    end.

%% Tells the writer that nothing follows, once it has all there is.
finish(#outbox{closing = true, bytes = 0, waiting_bytes = 0, writer = Writer} = Outbox) ->
    mod_megaphone_writer:finish(Writer),
    Outbox;
finish(Outbox) ->
    Outbox.

%% The writer wrote Bytes.
-spec wrote(pos_integer(), outbox()) -> outbox().
wrote(Bytes, #outbox{at_writer = AtWriter} = Outbox) ->
    count(Bytes, Outbox#outbox{at_writer = AtWriter - Bytes}).

count(Bytes, #outbox{bytes_out = BytesOut, writes = Writes} = Outbox) ->
    mod_megaphone_stats:add(bytes_out, Bytes),
    mod_megaphone_stats:add(writes, 1),
    Outbox#outbox{bytes_out = BytesOut + Bytes, writes = Writes + 1}.

%% The writer is done with its batch.
-spec written(outbox()) -> outbox().
written(Outbox) ->
    flush(Outbox#outbox{writing = false}).

%% Nothing follows: when all is written, the edge sees the end.
-spec close(outbox()) -> outbox().
close(#outbox{closing = false, bytes = 0, waiting_bytes = 0} = Outbox) ->
    finish(Outbox#outbox{closing = true});
close(Outbox) ->
    flush(Outbox#outbox{closing = true}).

-spec unsent(outbox()) -> non_neg_integer().
unsent(#outbox{bytes = Bytes, waiting_bytes = WaitingBytes, at_writer = AtWriter}) ->
    Bytes + WaitingBytes + AtWriter.

%% Whether there is something to flush.
-spec due(outbox()) -> boolean().
due(#outbox{bytes = Bytes, waiting_bytes = WaitingBytes, writing = Writing}) ->
    Bytes + WaitingBytes > 0 andalso not Writing.

-spec writer(outbox()) -> pid().
writer(#outbox{writer = Writer}) ->
    Writer.

-spec counts(outbox()) -> #{atom() => non_neg_integer()}.
counts(#outbox{frames_out = Frames, bytes_out = Bytes, writes = Writes}) ->
    #{frames_out => Frames, bytes_out => Bytes, writes => Writes}.
