%%% BOSH sessions without a process for session or request: the rows of a few shards. Streams are ejabberd_c2s', which
%%% sees this module as its socket (behaviour xmpp_socket). So accounts, rosters, rooms, hooks and commands are as ever.
%%%
%%%     link --poll, request, gone--> shard --{'$gen_event', El}--> c2s
%%%     link <------ answer --------- shard <-- output, closed ---- c2s (this module, in its process)
%%%
%%% A session id tells shard and node, so that a link finds them without looking anything up:
%%%
%%%     shard (1 character) | node (4) | 120 random bits (20)
%%%
%%% Ids of another form are those of ejabberd's own engine.
-module(mod_megaphone_engine).

-export([start/0, stop/0, is_running/0, info/0]).
-export([owner/2, find/1, max_bytes/0, route_again/1]).
%% In processes of their own
-export([opened/3]).
%% xmpp_socket
-export([send_xml/2, send/2, setopts/2, controlling_process/2, reset_stream/1, change_shaper/2, close/1, sockname/1,
         peername/1, get_transport/1, get_owner/1]).

-record(xmlel, {name = <<>>, attrs = [], children = []}).

-define(SUPERVISOR, ejabberd_gen_mod_sup).
-define(MAX_SHARDS, 64).
-define(ALPHABET, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_").
-define(NODE_BYTES, 4).
-define(RANDOM_BYTES, 15).
-define(DEFAULT_WAIT_S, 300).
-define(POLLING_S, 2).

-type socket() :: {mod_megaphone, Shard :: atom(), Sid :: binary(), {inet:ip_address(), inet:port_number()}}.

%%% Shards

%% As many shards as there may be processors to run them, and some more, so that a busy one is shared by few.
-spec start() -> ok.
start() ->
    Returns = #{id => mod_megaphone_returns,
                start => {mod_megaphone_returns, start_link, [fun ?MODULE:route_again/1]}},
    {ok, _} = started(supervisor:start_child(?SUPERVISOR, Returns)),
    Names = [mod_megaphone_shard:name(N) || N <- lists:seq(0, shards() - 1)],
    lists:foreach(fun(Name) ->
                          Child = #{id => Name, start => {mod_megaphone_shard, start_link, [Name]}},
                          {ok, _} = started(supervisor:start_child(?SUPERVISOR, Child))
                  end, Names),
    Admission = #{id => mod_megaphone_admission, start => {mod_megaphone_admission, start_link, []}},
    {ok, _} = started(supervisor:start_child(?SUPERVISOR, Admission)),
    mod_megaphone_admission:start_hooks(),
    persistent_term:put({?MODULE, here}, node_tag(node())),
    persistent_term:put({?MODULE, shards}, list_to_tuple(Names)).

started({error, {already_started, Pid}}) -> {ok, Pid};
started(Result) -> Result.

shards() -> min(?MAX_SHARDS, max(8, 4 * erlang:system_info(schedulers))).

-spec stop() -> ok.
stop() ->
    mod_megaphone_admission:stop_hooks(),
    lists:foreach(fun(Name) ->
                          _ = supervisor:terminate_child(?SUPERVISOR, Name),
                          supervisor:delete_child(?SUPERVISOR, Name)
                  end, [mod_megaphone_admission | names()] ++ [mod_megaphone_returns]),
    _ = persistent_term:erase({?MODULE, shards}),
    ok.

names() -> tuple_to_list(persistent_term:get({?MODULE, shards}, {})).

-spec is_running() -> boolean().
is_running() -> names() =/= [].

%% What all shards have.
-spec info() -> #{sessions | to_end | bytes | wheel_bytes := non_neg_integer()}.
info() ->
    lists:foldl(fun(Name, Acc) -> maps:merge_with(fun(_, A, B) -> A + B end, Acc, mod_megaphone_shard:info(Name)) end,
                #{sessions => 0, to_end => 0, bytes => 0, wheel_bytes => 0}, names()).

%%% Requests

%% The shard of a session; none: it is not a session of this engine.
-spec find(Sid :: binary()) -> {ok, atom() | {atom(), node()}} | none.
find(<<C, Tag:?NODE_BYTES/binary, _:20/binary>>) ->
    Shards = persistent_term:get({?MODULE, shards}, {}),
    case {string:chr(?ALPHABET, C), persistent_term:get({?MODULE, here}, <<>>)} of
        {I, Tag} when I > 0, I =< tuple_size(Shards) -> {ok, element(I, Shards)};
        {I, Here} when I > 0, Tag =/= Here ->
            case [Node || Node <- nodes(), node_tag(Node) =:= Tag] of
                [Node | _] -> {ok, {mod_megaphone_shard:name(I - 1), Node}};
                [] -> none
            end;
        _ -> none
    end;
find(_) -> none.

node_tag(Node) ->
    <<(base64(<<(erlang:phash2(Node, 1 bsl 24)):24>>))/binary>>.

base64(Bytes) ->
    << <<(url_safe(C))>> || <<C>> <= base64:encode(Bytes) >>.

url_safe($+) -> $-;
url_safe($/) -> $_;
url_safe(C) -> C.

%% The engine of a request: the session names it; a creation belongs to the given engine.
-spec owner(Body :: binary(), megaphone | ejabberd) ->
          {poll, mod_megaphone_shard:shard(), Sid :: binary(), Rid :: non_neg_integer()}
              | {request, mod_megaphone_shard:shard(), Sid :: binary()} | creation | ejabberd.
owner(Body, Engine) ->
    case mod_megaphone_body:request(Body) of
        {poll, Sid, Rid} ->
            case find(Sid) of
                {ok, Shard} -> {poll, Shard, binary:copy(Sid), Rid};
                none -> ejabberd
            end;
        {request, Sid} ->
            case find(Sid) of
                {ok, Shard} -> {request, Shard, binary:copy(Sid)};
                none -> ejabberd
            end;
        none when Engine =:= megaphone -> creation;
        none -> ejabberd
    end.

%% The most bytes of a request of this engine, which is ejabberd's limit for stanzas. It copies the options of all
%% listeners: not for each request.
-spec max_bytes() -> pos_integer() | infinity.
max_bytes() -> max_bytes(ejabberd_c2s_config:get_c2s_limits()).

max_bytes(Limits) -> proplists:get_value(max_stanza_size, Limits, infinity).

%% Opens a session, in a process of its own: starting a stream waits for it, and a shard must not.
-spec opened(mod_megaphone_session:place(), Body :: binary(), inet:ip_address()) -> ok.
opened({Link, Id, N} = Place, Body, Address) ->
    try
        Limits = ejabberd_c2s_config:get_c2s_limits(),
        case read(Body, max_bytes(Limits)) of
            {ok, Request, Wanted, Host} -> open(Request, Wanted, Host, Limits, byte_size(Body), Address, Place);
            {session, Shard, Sid} ->
                Link ! {opening, Id, N, Shard, Sid},
                mod_megaphone_shard:request(Shard, Place, Sid, Body, max_bytes(Limits));
            {refused, Status, Reply} -> Link ! {answer, Id, N, Status, Reply}, ok
        end
    catch
        Class:Reason:Stack ->
            Link ! {answer, Id, N, failed(Class, Reason, Stack), <<>>},
            ok
    end.

%% The status of a creation that has failed. While the module restarts, its client should try again.
failed(Class, Reason, Stack) ->
    case is_running() of
        false -> 503;
        true ->
            mod_megaphone_stats:add(crashed, 1),
            mod_megaphone_fault:log(crashed, "Megaphone: creation failed error=~p:~p~n~p",
                                    [Class, Reason, mod_megaphone_fault:without_values(Stack)]),
            500
    end.

read(Body, Max) ->
    case byte_size(Body) =< Max andalso mod_megaphone_wrapper:parse(Body) of
        {ok, Request} ->
            case mod_megaphone_wrapper:sid(Request) of
                none -> read_creation(Request);
                Sid -> of_session(find(Sid), Sid)
            end;
        false -> {refused, 403, <<>>};
        error -> {refused, 400, <<>>}
    end.

%% A request of a session whose tag was too odd for mod_megaphone_body: it has spaces around the signs, say.
of_session({ok, Shard}, Sid) -> {session, Shard, Sid};
of_session(none, _) ->
    {Status, Reply} = mod_megaphone_wrapper:terminal('item-not-found', false),
    {refused, Status, Reply}.

read_creation(Request) ->
    Wanted = mod_megaphone_wrapper:creation(Request),
    case host(map_get(to, Wanted)) of
        {ok, Host} -> {ok, Request, Wanted, Host};
        {error, Condition} ->
            {Status, Reply} = mod_megaphone_wrapper:terminal(Condition, map_get(ver, Wanted) =:= none),
            {refused, Status, Reply}
    end.

host(none) -> {error, 'improper-addressing'};
host(<<>>) -> {error, 'improper-addressing'};
host(To) ->
    %% Clients write names as hosts have them, which takes no preparation.
    case gen_mod:is_loaded(To, mod_bosh) of
        true -> {ok, To};
        false ->
            Host = jid:nameprep(To),
            case Host =/= error andalso gen_mod:is_loaded(Host, mod_bosh) of
                true -> {ok, Host};
                false -> {error, 'host-unknown'}
            end
    end.

open(Request, Wanted, Host, Limits, Size, Address, {Link, Id, N} = Place) ->
    #{wait := AskedWait, hold := AskedHold, ver := Ver, version := Version, acks := Acks} = Wanted,
    {Shard, Sid} = some_sid(),
    Prebind = [{jid, jid:make(p1_rand:get_string(), Host, p1_rand:get_string())} || mod_bosh_opt:prebind(Host)],
    Options = [{receiver, self()}, {xml_socket, true} | Prebind ++ Limits],
    case ejabberd_c2s:start(?MODULE, {mod_megaphone, Shard, Sid, {Address, 0}}, Options) of
        {ok, C2S} ->
            mod_megaphone_admission:joins(C2S),         % before it can log in
            ejabberd_c2s:accept(C2S),
            Hold = at_most(AskedHold, 1),
            Wait = at_most(AskedWait, ?DEFAULT_WAIT_S),
            Inactivity = mod_bosh_opt:max_inactivity(Host) div 1000,
            MaxPause = mod_bosh_opt:max_pause(Host) div 1000,
            Terms = [{<<"sid">>, Sid}, {<<"wait">>, integer_to_binary(Wait)}, {<<"ver">>, lower(Ver)},
                     {<<"polling">>, integer_to_binary(?POLLING_S)}, {<<"inactivity">>, integer_to_binary(Inactivity)},
                     {<<"hold">>, integer_to_binary(Hold)}, {<<"xmpp:restartlogic">>, <<"true">>},
                     {<<"requests">>, integer_to_binary(Hold + 1)}, {<<"secure">>, <<"true">>},
                     {<<"maxpause">>, integer_to_binary(MaxPause)}, {<<"xmlns:xmpp">>, <<"urn:xmpp:xbosh">>},
                     {<<"xmlns:stream">>, <<"http://etherx.jabber.org/streams">>}, {<<"from">>, Host}],
            Session = mod_megaphone_session:new(
                        #{sid => Sid, c2s => C2S, host => Host, rid => mod_megaphone_wrapper:rid(Request), wait => Wait,
                          hold => Hold, inactivity => max(1, Inactivity), max_pause => MaxPause, legacy => Ver =:= none,
                          max_concat => mod_bosh_opt:max_concat(Host), acks => Acks, creation => Terms,
                          stream => case Prebind of [] -> {Version}; _ -> none end},
                        #{now => mod_megaphone_shard:now(), up => #{}}),
            %% The link asks about the shard from now on, and may have lost the client already.
            Link ! {opening, Id, N, Shard, Sid},
            mod_megaphone_shard:create(Shard, Session, Request, Size, Place);
        _ ->
            {Status, Body} = mod_megaphone_wrapper:terminal('internal-server-error', Ver =:= none),
            Link ! {answer, Id, N, Status, Body},
            ok
    end.

%% All of it comes from the same random bytes, because seeding `rand` in a new process takes longer than opening a
%% session. The shards' numbers need not be exactly as frequent.
some_sid() ->
    Shards = persistent_term:get({?MODULE, shards}),
    <<Number:32, Random/binary>> = crypto:strong_rand_bytes(4 + ?RANDOM_BYTES),
    I = Number rem tuple_size(Shards),
    {element(I + 1, Shards), <<(binary:at(<<?ALPHABET>>, I)), (persistent_term:get({?MODULE, here}))/binary,
                               (base64(Random))/binary>>}.

at_most(none, Most) -> Most;
at_most(N, Most) -> min(N, Most).

%% The lower of the client's version and the engine's, 1.11. The minor version is a number of its own (section 7.1).
lower(Ver) ->
    try [binary_to_integer(Part) || Part <- binary:split(Ver, <<".">>)] of
        [1, Minor] when Minor >= 0, Minor < 11 -> <<"1.", (integer_to_binary(Minor))/binary>>;
        [0, Minor] when Minor >= 0 -> <<"0.", (integer_to_binary(Minor))/binary>>;
        _ -> <<"1.11">>
    catch error:_ -> <<"1.11">>
    end.

%% Routes stanzas that a client has not had as if they had just come: they are kept for later, or go back.
-spec route_again([binary()]) -> ok.
route_again(Stanzas) ->
    Options = ejabberd_config:codec_options(),
    lists:foreach(fun(Stanza) -> route_one(fxml_stream:parse_element(Stanza), Options) end, Stanzas).

route_one(#xmlel{name = Name} = El, Options) when Name =:= <<"message">>; Name =:= <<"presence">>; Name =:= <<"iq">> ->
    try xmpp:decode(El, <<"jabber:client">>, Options) of
        Stanza ->
            case {xmpp:get_from(Stanza), xmpp:get_to(Stanza)} of
                {From, To} when From =/= undefined, To =/= undefined -> ejabberd_router:route(Stanza);
                _ -> ok
            end
    catch _:{xmpp_codec, _} -> ok
    end;
route_one(_, _) -> ok.

%%% xmpp_socket, in the process of the stream

-spec send_xml(socket(), term()) -> ok.
send_xml({mod_megaphone, Shard, Sid, _}, El) ->
    case mod_megaphone_wrapper:encode(El) of
        none -> ok;
        Item -> mod_megaphone_shard:output(Shard, Sid, Item)
    end.

send(Socket, El) -> send_xml(Socket, El).

setopts(_, _) -> ok.

controlling_process(_, _) -> ok.

reset_stream(Socket) -> Socket.

change_shaper({mod_megaphone, Shard, Sid, _}, Shaper) -> mod_megaphone_shard:shaper(Shard, Sid, Shaper).

close({mod_megaphone, Shard, Sid, _}) -> mod_megaphone_shard:closed(Shard, Sid).

sockname(_) -> {ok, {{0, 0, 0, 0}, 0}}.

peername({mod_megaphone, _, _, Peer}) -> {ok, Peer}.

%% As for sessions of mod_bosh, in logs and commands.
get_transport(_) -> http_bind.

%% The stream monitors the shard, and ends with it. It must not be the stream's own process, which would read XML then.
get_owner({mod_megaphone, Shard, _, _}) ->
    case whereis(Shard) of
        undefined -> spawn(fun() -> ok end);
        Pid -> Pid
    end.
