%%% Whether sleep works with this ejabberd on this Erlang: a process of the same kind as a session's falls asleep and
%%% wakes, before any session does.
-module(mod_megaphone_probe).

-export([run/0]).
%% p1_server
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2, code_change/3]).
%% The probe
-export([woken/1]).

-define(TIMEOUT_MS, 10000).

%% Returns an error with the missing part.
-spec run() -> ok | {error, string()}.
run() ->
    case code:ensure_loaded(p1_server) =:= {module, p1_server}
        andalso erlang:function_exported(p1_server, enter_loop, 3) of
        true -> probe();
        false -> {error, "p1_server has no enter_loop/3"}
    end.

probe() ->
    Ref = make_ref(),
    {ok, Pid} = p1_server:start(?MODULE, {self(), Ref}, []),
    Monitor = erlang:monitor(process, Pid),
    Result = receive
                 {Ref, #{first := 1, second := 0, woken := true}} -> ok;
                 {Ref, #{first := _} = Seen} -> {error, lists:flatten(io_lib:format("the probe saw ~0p", [Seen]))};
                 {'DOWN', Monitor, _, _, _} -> {error, "the probe ended"}
             after ?TIMEOUT_MS -> {error, "the probe does not wake"}
             end,
    erlang:demonitor(Monitor, [flush]),
    exit(Pid, kill),
    receive {Ref, _} -> ok after 0 -> ok end,
    Result.

%% The two messages are in the mailbox when the loop begins: it says of the first that another one waits.
init({Caller, Ref}) ->
    self() ! first,
    self() ! second,
    {ok, #{caller => Caller, ref => Ref}}.

handle_info(first, State) ->
    {noreply, State#{first => get('$internal_queue_len')}};
handle_info(second, State) ->
    erlang:send_after(1, self(), third),
    proc_lib:hibernate(?MODULE, woken, [term_to_binary(State#{second => get('$internal_queue_len')})]);
handle_info(third, #{caller := Caller, ref := Ref} = State) ->
    Caller ! {Ref, maps:without([caller, ref], State)},
    {noreply, State}.

woken(Binary) ->
    p1_server:enter_loop(?MODULE, [], (binary_to_term(Binary))#{woken => true}).

handle_call(_, _, State) -> {reply, ok, State}.

handle_cast(_, State) -> {noreply, State}.

terminate(_, _) -> ok.

code_change(_, State, _) -> {ok, State}.
