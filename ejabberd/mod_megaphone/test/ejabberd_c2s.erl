%%% Replaces ejabberd's streams: one greets the client that begins it, repeats its input as <echo/>, and tells the
%%% registered process `engine` of its start, its end and everything else. Over WebSocket it takes no further message
%%% after <hold/> until go_on/1.
-module(ejabberd_c2s).
-export([start/3, accept/1, say/2, log_in/1, send/2, stop_async/1, output/2, go_on/1, finish/1]).

-record(xmlel, {name = <<>>, attrs = [], children = []}).

start(SockMod, Socket, _Options) ->
    {ok, spawn(fun() -> init(SockMod, Socket) end)}.

accept(Pid) -> Pid ! accept, ok.

%% It answers as a stream of ejabberd does.
output(Pid, El) -> Pid ! {output, El}, ok.

go_on(Pid) -> Pid ! go_on, ok.

%% It ends as ejabberd's do.
finish(Pid) -> Pid ! finish, ok.

say(Pid, Text) -> Pid ! {say, Text}, ok.

log_in(Pid) -> Pid ! log_in, ok.

send(Pid, {stream_error, Reason, _}) -> engine ! {told, Pid, Reason}, ok.

stop_async(Pid) -> Pid ! {'$gen_event', closed}, ok.

init(SockMod, Socket) ->
    monitor(process, SockMod:get_owner(Socket)),
    engine ! {stream, self(), element(3, Socket), element(2, Socket)},
    loop(SockMod, Socket).

loop(SockMod, Socket) ->
    receive
        accept -> SockMod:setopts(Socket, [{active, once}]), loop(SockMod, Socket);
        {tcp, _, Events} ->
            [self() ! {'$gen_event', case Event of #xmlel{} -> {xmlstreamelement, Event}; _ -> Event end}
             || Event <- Events],
            [receive go_on -> ok end || #xmlel{name = <<"hold">>} <- Events],
            SockMod:setopts(Socket, [{active, once}]),
            loop(SockMod, Socket);
        {tcp_closed, _} -> engine ! {ended, self(), closed};
        {output, El} -> SockMod:send_xml(Socket, El), loop(SockMod, Socket);
        finish ->
            SockMod:send_xml(Socket, {xmlstreamend, <<"stream:stream">>}),
            SockMod:close(Socket),
            engine ! {ended, self(), finished};
        {'$gen_event', {xmlstreamstart, _, Attributes}} ->
            [SockMod:send_xml(Socket, El)
             || El <- [{xmlstreamstart, <<"stream:stream">>, [{<<"id">>, <<"s">>}, {<<"version">>, <<"1.0">>}]},
                       {xmlstreamelement, #xmlel{name = <<"stream:features">>}}],
                proplists:get_value(<<"to">>, Attributes) =/= <<"mute.example">>],
            loop(SockMod, Socket);
        {'$gen_event', {xmlstreamelement, #xmlel{name = <<"echo">>} = El}} ->
            SockMod:send_xml(Socket, {xmlstreamelement, El}),
            loop(SockMod, Socket);
        {'$gen_event', closed} -> engine ! {ended, self(), closed};
        {'$gen_event', Event} -> engine ! {event, self(), Event}, loop(SockMod, Socket);
        log_in ->
            mod_megaphone_admission:logged_in(#{socket => {socket_state, SockMod}}),
            loop(SockMod, Socket);
        {say, Text} ->
            SockMod:send_xml(Socket, {xmlstreamelement, #xmlel{name = <<"m">>, children = [{xmlcdata, Text}]}}),
            loop(SockMod, Socket);
        {'DOWN', _, _, _, _} -> engine ! {ended, self(), shard}
    end.
