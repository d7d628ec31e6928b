%%% Replaces ejabberd's hooks: the registered process `engine` gets each run.
-module(ejabberd_hooks).
-export([run/2, add/4, add/5, delete/4, delete/5]).

run(Hook, Args) ->
    engine ! {hook, Hook, Args}.

add(_, _, _, _) -> ok.
add(_, _, _, _, _) -> ok.

delete(_, _, _, _) -> ok.
delete(_, _, _, _, _) -> ok.
