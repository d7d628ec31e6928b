%%% In place of ejabberd's hooks: the registered process `engine` is told of each run.
-module(ejabberd_hooks).
-export([run/2]).

run(Hook, Args) ->
    engine ! {hook, Hook, Args}.
