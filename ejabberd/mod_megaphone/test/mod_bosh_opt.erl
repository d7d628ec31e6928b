%%% Replaces mod_bosh's options, in its units.
-module(mod_bosh_opt).
-export([prebind/1, max_inactivity/1, max_pause/1, max_concat/1]).

prebind(_) -> false.
max_inactivity(<<"brief.example">>) -> 1000;
max_inactivity(_) -> 30000.
max_pause(_) -> 120000.
max_concat(_) -> unlimited.
