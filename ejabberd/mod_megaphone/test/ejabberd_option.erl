%%% Replaces ejabberd's options.
-module(ejabberd_option).
-export([hosts/0]).

hosts() -> [<<"one.example">>].
