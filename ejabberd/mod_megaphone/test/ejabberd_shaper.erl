%%% Replaces ejabberd's shapers by name: those of its library.
-module(ejabberd_shaper).
-export([update/2]).

update(Shaper, Size) -> p1_shaper:update(Shaper, Size).
