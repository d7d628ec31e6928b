%%% Counters of all links of this node, and the times of the last log records. They live in two arrays of 64-bit words
%%% that any process may write without a lock. Loading the module makes them, and loading it again keeps them while they
%%% are the same.
-module(mod_megaphone_stats).

-export([add/2, all/0, log_due/1, set_draining/1, draining/0]).

-on_load(init/0).

-export_type([counter/0, fault/0, class/0]).

%% Why a link ended. grammar: the input is not the protocol's grammar; early: it came before welcome; old_proof: the
%% edge proves the secret as 0.1.0 did; crowded: newer connections took its place before it had proved the secret;
%% duplicate: an id was used while it was live; window: a stream got more than its window; overflow: the edge does not
%% read; peer: the edge reported a fault of this end; tls: the TLS
%% handshake failed.
-type fault() :: none | io | grammar | early | version | secret | old_proof | crowded | duplicate | window | timeout |
                 overflow | peer | tls.

-type counter() :: links_opened | requests | replies | gone | refused | crashed | stale_replies | stale_ids |
                   too_large | unknown_verbs | fences | overtaken | frames_in | frames_out | bytes_in | bytes_out |
                   reads | writes | slept | slept_with_more | woken | collected | logged_in | cut |
                   streams_opened | messages_in | messages_out | credits | stale_streams | overrun |
                   {ended, fault()}.

%% The records that are logged at most once in a while.
-type class() :: crashed | unknown_verbs | refused | stranger | fault().

-define(COUNTERS, [links_opened, requests, replies, gone, refused, crashed, stale_replies, stale_ids,
                   too_large, unknown_verbs, fences, overtaken, frames_in, frames_out, bytes_in, bytes_out, reads,
                   writes, slept, slept_with_more, woken, collected, logged_in, cut, streams_opened, messages_in,
                   messages_out, credits, stale_streams, overrun]).
-define(FAULTS, [none, io, grammar, early, version, secret, old_proof, crowded, duplicate, window, timeout,
                 overflow, peer, tls]).
%% A class is logged at most once in this time.
-define(LOG_INTERVAL_MS, 10000).
%% Monotonic time begins somewhere below zero: counted from here it is always positive, and 0 can mean never.
-define(NEVER, (-1 bsl 62)).
-define(CLASSES, [crashed, unknown_verbs, refused, stranger | ?FAULTS]).

init() ->
    Places = numbered(?COUNTERS ++ [{ended, F} || F <- ?FAULTS]),
    Classes = numbered(?CLASSES),
    case persistent_term:get(?MODULE, undefined) of
        #{places := Places, classes := Classes} -> ok;
        _ ->
            persistent_term:put(?MODULE, #{counters => counters:new(map_size(Places), [write_concurrency]),
                                           places => Places,
                                           logged => atomics:new(2 * map_size(Classes), []),
                                           draining => atomics:new(1, []),
                                           classes => Classes})
    end.

numbered(Names) ->
    maps:from_list(lists:zip(Names, lists:seq(1, length(Names)))).

-spec add(counter(), integer()) -> ok.
add(Counter, N) ->
    #{counters := Ref, places := #{Counter := Place}} = persistent_term:get(?MODULE),
    counters:add(Ref, Place, N).

%% All counters, in the order in which they are declared.
-spec all() -> [{counter(), integer()}].
all() ->
    #{counters := Ref, places := Places} = persistent_term:get(?MODULE),
    [{Name, counters:get(Ref, Place)} || {Name, Place} <- lists:keysort(2, maps:to_list(Places))].

%% Whether the time has come to log something of this class, and how often it was passed over since the last time.
-spec log_due(class()) -> {true, non_neg_integer()} | false.
log_due(Class) ->
    #{logged := Ref, classes := #{Class := Place}} = persistent_term:get(?MODULE),
    Now = erlang:monotonic_time(millisecond) - ?NEVER,
    Last = atomics:get(Ref, 2 * Place),
    Due = Last =:= 0 orelse Now - Last >= ?LOG_INTERVAL_MS,
    case Due andalso atomics:compare_exchange(Ref, 2 * Place, Last, Now) of
        ok -> {true, atomics:exchange(Ref, 2 * Place - 1, 0)};
        _ -> atomics:add(Ref, 2 * Place - 1, 1), false
    end.

%% Whether edges are to open no new sessions here.
-spec set_draining(boolean()) -> ok.
set_draining(Draining) ->
    #{draining := Ref} = persistent_term:get(?MODULE),
    atomics:put(Ref, 1, case Draining of true -> 1; false -> 0 end).

-spec draining() -> boolean().
draining() ->
    #{draining := Ref} = persistent_term:get(?MODULE),
    atomics:get(Ref, 1) =:= 1.
