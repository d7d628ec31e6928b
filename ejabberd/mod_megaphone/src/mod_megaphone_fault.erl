%%% Why a link ends: the text for the edge, the counter, and the log record. The log has one record in a while, with the
%%% number of skipped ones, so that strangers cannot fill a disk.
-module(mod_megaphone_fault).

-export([reason/1, peer/3, ended/3, insecure/2, log/3, without_values/1, discreetly/1]).

-include("logger.hrl").

-type fault() :: mod_megaphone_stats:fault().

%% As much of what an edge says goes into the log.
-define(MAX_TEXT_BYTES, 256).

%% The text for the edge; undefined if there is no edge to tell.
-spec reason(fault()) -> binary() | undefined.
reason(grammar) -> <<"protocol error: bad frame">>;
reason(early) -> <<"protocol error: nothing but hello before welcome">>;
reason(version) -> <<"this origin speaks version 1 only">>;
reason(secret) -> <<"the proof in hello is missing or wrong: are both ends given the same secret?">>;
reason(old_proof) -> <<"the edge's version has no proof of its whole hello: upgrade edges before origins">>;
reason(duplicate) -> <<"protocol error: this id is live">>;
reason(window) -> <<"protocol error: a message beyond the window of its stream">>;
reason(timeout) -> <<"nothing was heard for too long">>;
reason(_) -> undefined.

%% The edge says that it closes the link, and why.
-spec peer(Edge :: binary() | undefined, From :: binary(), Text :: binary()) -> ok.
peer(undefined, From, Text) ->
    log(stranger, "Megaphone: no hello from edge address=~ts said=\"~ts\"", [From, cut(Text)]);
peer(Edge, From, Text) ->
    log(peer, "Megaphone: link closed by edge edge=~ts address=~ts reason=\"~ts\"", [Edge, From, cut(Text)]).

cut(Text) -> binary:part(Text, 0, min(byte_size(Text), ?MAX_TEXT_BYTES)).

%% A link ended for another reason than that the edge closed it. All that may come to the port without a hello is one
%% class of the log, so that it cannot keep from there why the links of edges end.
-spec ended(fault(), Edge :: binary() | undefined, From :: binary()) -> ok.
ended(Fault, undefined, From) ->
    mod_megaphone_stats:add({ended, Fault}, 1),
    log(stranger, "Megaphone: no hello from edge address=~ts reason=\"~ts\"", [From, in_words(Fault)]);
ended(Fault, Edge, From) ->
    mod_megaphone_stats:add({ended, Fault}, 1),
    log(Fault, "Megaphone: link ended edge=~ts address=~ts reason=\"~ts\"", [Edge, From, in_words(Fault)]).

%% A connection that should have TLS has none. A file that cannot serve is the operator's, the rest are strangers'.
-spec insecure(From :: binary(), no_certfile | term()) -> ok.
insecure(From, Reason) ->
    mod_megaphone_stats:add({ended, tls}, 1),
    case Reason of
        no_certfile ->
            log(tls, "Megaphone: listener has tls without certfile", []);
        {options, {certfile, File, _}} ->
            log(tls, "Megaphone: certfile not readable file=~ts", [File]);
        {options, {keyfile, File, _}} ->
            log(tls, "Megaphone: certfile has no usable key file=~ts", [File]);
        {tls_alert, {_, Text}} ->
            log(stranger, "Megaphone: no hello from edge address=~ts reason=\"~ts\"",
                [From, cut(unicode:characters_to_binary(lists:join(" ", string:lexemes(Text, " \n"))))]);
        _ ->
            log(stranger, "Megaphone: no hello from edge address=~ts reason=\"TLS: ~p\"", [From, Reason])
    end.

in_words(io) -> <<"reading or writing failed">>;
in_words(crowded) -> <<"newer connections took its place">>;
in_words(overflow) -> <<"the edge reads nothing">>;
in_words(peer) -> <<"the edge reported an error of this origin">>;
in_words(Fault) -> reason(Fault).

%% Logs a warning, if its class is due. The text is a fixed event followed by key=value; since_last counts the records
%% of the class that were skipped.
-spec log(mod_megaphone_stats:class(), string(), [term()]) -> ok.
log(Class, Format, Args) ->
    case mod_megaphone_stats:log_due(Class) of
        {true, 0} -> ?WARNING_MSG(Format, Args);
        {true, N} -> ?WARNING_MSG(Format ++ " since_last=~B", Args ++ [N]);
        false -> ok
    end.

%% Does something that may crash, but not with what clients say in the report.
-spec discreetly(fun(() -> Result)) -> Result.
discreetly(Do) ->
    try Do()
    catch Class:Reason:Stack -> erlang:raise(Class, Reason, without_values(Stack))
    end.

%% A stack trace that tells how many arguments a function was called with, and not which: passwords may be among them.
-spec without_values([tuple()]) -> [tuple()].
without_values(Stack) ->
    [case Call of
         {Module, Function, Args, Where} when is_list(Args) -> {Module, Function, length(Args), Where};
         _ -> Call
     end || Call <- Stack].
