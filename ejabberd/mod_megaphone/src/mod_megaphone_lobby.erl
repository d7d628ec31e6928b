%%% The connections of this node that have not proved the secret: 64 at most, on all listeners together.
%%%
%%% Anything may connect to a listener's port, and each connection takes a socket and two processes before it has said
%%% a word. The link process of each enters here when it begins and leaves with the edge's proof, or, without a secret,
%%% with its hello. When one more comes than there is room for, one is told to go: the oldest, because an edge needs its
%%% place for one way there and back, and those that only wait are older than that; and of the address that has most
%%% places, because a flood faster than that has few addresses. Links do not count, so strangers take no place that an
%%% edge could have. How long a stranger may stay is the link's own business.
-module(mod_megaphone_lobby).
-behaviour(gen_server).

-export([start_link/0, enter/1, leave/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(MAX_STRANGERS, 64).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% The caller is a stranger from an address. It gets the message `crowded` when it must make room, if it has not left by
%% then.
-spec enter(inet:ip_address()) -> ok.
enter(Address) ->
    gen_server:cast(?MODULE, {enter, self(), Address}).

%% The caller is one no longer.
-spec leave() -> ok.
leave() ->
    gen_server:cast(?MODULE, {leave, self()}).

%%% gen_server: the state is the list of the strangers with their monitors and addresses, the newest first.

init([]) ->
    {ok, []}.

handle_call(_, _, Strangers) -> {noreply, Strangers}.

handle_cast({enter, Pid, Address}, Strangers) ->
    {noreply, [{Pid, monitor(process, Pid), Address} | make_room(Strangers)]};
handle_cast({leave, Pid}, Strangers) ->
    {noreply, without(Pid, Strangers)}.

handle_info({'DOWN', _, process, Pid, _}, Strangers) -> {noreply, without(Pid, Strangers)};
handle_info(_, Strangers) -> {noreply, Strangers}.

make_room(Strangers) when length(Strangers) < ?MAX_STRANGERS ->
    Strangers;
make_room(Strangers) ->
    Places = lists:foldl(fun({_, _, A}, M) -> maps:update_with(A, fun(N) -> N + 1 end, 1, M) end, #{}, Strangers),
    Most = lists:max(maps:values(Places)),
    {Pid, _, _} = lists:last([S || {_, _, A} = S <- Strangers, map_get(A, Places) =:= Most]),
    Pid ! crowded,
    without(Pid, Strangers).

without(Pid, Strangers) ->
    case lists:keytake(Pid, 1, Strangers) of
        {value, {_, Monitor, _}, Rest} ->
            demonitor(Monitor, [flush]),
            Rest;
        false ->
            Strangers
    end.
