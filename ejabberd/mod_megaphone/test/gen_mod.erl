%%% Replaces ejabberd's modules by host: all domains of example have mod_bosh.
-module(gen_mod).
-export([is_loaded/2]).

is_loaded(Host, mod_bosh) -> binary:match(Host, <<"example">>) =/= nomatch.
