%%% Replaces ejabberd's listener options for clients.
-module(ejabberd_c2s_config).
-export([get_c2s_limits/0]).

get_c2s_limits() -> [{max_stanza_size, 262144}].
