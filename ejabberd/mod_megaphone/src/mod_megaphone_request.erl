%%% One request of a client: a light process that hands it to ejabberd's BOSH engine and ends with the answer.
%%%
%%% ejabberd_bosh:process_request/3 blocks until the session has something to say, for the whole `wait` most of the
%%% time, so that each held request is a process here. It is linked to its link: its exit signal is the reply, and
%%% when the link ends it ends as well.
-module(mod_megaphone_request).

-export([start/4, show/3, handle/5]).

-include("ejabberd_http.hrl").

%% What a process answers with, as the reason of its exit.
-export_type([answer/0]).
-type answer() :: {reply, mod_megaphone_codec:id(), 200..599, binary()}.

%% The engine failed: the client learns that it is not its own fault.
-define(INTERNAL_SERVER_ERROR, 500).
%% The client sends the request again later.
-define(SERVICE_UNAVAILABLE, 503).

%% Starts the process of request Id; error: the node has no room for another process. Body and Query are copied: they
%% are parts of the socket's read buffer, which must not live while the request is held.
-spec start(mod_megaphone_codec:id(), binary(), binary(), inet:ip_address()) -> {ok, pid()} | error.
start(Id, Body, Query, Address) ->
    try {ok, spawn_link(?MODULE, handle, [self(), Id, binary:copy(Body), binary:copy(Query), Address])}
    catch error:system_limit -> error
    end.

%% @private
-spec handle(pid(), mod_megaphone_codec:id(), binary(), binary(), inet:ip_address()) -> no_return().
handle(Link, Id, Body, Query, Address) ->
    show(Body, Query, Address),
    {Status, Reply} = case mod_megaphone_order:enter(Body, {Link, Id}) of
                          retry ->
                              {?SERVICE_UNAVAILABLE, <<>>};
                          Turn ->
                              Answer = answer(Body, Address),
                              mod_megaphone_order:leave(Turn, Answer),
                              Answer
                      end,
    exit({reply, Id, Status, Reply}).

answer(Body, Address) ->
    %% The engine takes an address with a port, as of a socket: the edge does not tell the client's.
    try ejabberd_bosh:process_request(Body, {Address, 0}, xml) of
        {Status, _Reason, _Headers, Reply} -> {Status, iolist_to_binary(Reply)};
        {Status, _Headers, Reply} -> {Status, iolist_to_binary(Reply)}
    catch
        Class:Reason:Stack ->
            mod_megaphone_stats:add(crashed, 1),
            mod_megaphone_fault:log(crashed, "Megaphone: BOSH engine failed error=~p:~p~n~p",
                                    [Class, Reason, mod_megaphone_fault:without_values(Stack)]),
            {?INTERNAL_SERVER_ERROR, <<>>}
    end.

%% Shows a request with a query to the hook that ejabberd's own web server runs for each request. The path belongs to
%% the edge and is not known here.
-spec show(binary(), binary(), inet:ip_address()) -> ok.
show(_, <<>>, _) ->
    ok;
show(Body, Query, Address) ->
    Pairs = case uri_string:dissect_query(Query) of
                {error, _, _} -> [];
                List -> [{Key, case Value of true -> <<>>; _ -> Value end} || {Key, Value} <- List]
            end,
    Request = #request{method = 'POST', raw_path = <<$?, Query/binary>>, q = Pairs, data = Body, ip = {Address, 0}},
    ejabberd_hooks:run(http_request_debug, [{[], Request}]).
