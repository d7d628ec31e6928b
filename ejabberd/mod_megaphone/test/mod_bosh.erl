%%% Replaces ejabberd's: sessions that a test has registered with their ids.
-module(mod_bosh).
-export([find_session/1]).

find_session(Sid) ->
    case whereis(binary_to_atom(Sid)) of
        undefined -> error;
        Pid -> {ok, Pid}
    end.
