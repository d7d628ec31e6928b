%%% What a benchmark does within the ejabberd that it measures: it fills it with accounts, and notes its memory. Nothing
%%% here lists sessions or wakes one.
-module(megaphone_bench).

-export([in_memory/1, fill/1, filled/0, contacts/2, watch/2]).

%% Accounts at a time.
-define(CHUNK, 500).
-define(FILLING, megaphone_bench_filling).
%% RFC 5802 wants 4,096 rounds or more. They are the client's work: the server compares hashes, whatever their number
%% is. Here client and server share a machine, so one it is. Every account has a salt of its own.
-define(ROUNDS, 1).
-define(SALT_BYTES, 16).
-define(HOST, <<"localhost">>).
-define(PASSWORD, <<"secret">>).

%% Keeps mnesia's tables that are on disk only in memory as well, but for some. Each table on disk is one process: all
%% log-ins and log-outs queue for it, even for an empty one.
-spec in_memory(But :: [atom()]) -> Changed :: non_neg_integer().
in_memory(But) ->
    Tables = [T || T <- mnesia:system_info(tables) -- But, mnesia:table_info(T, storage_type) =:= disc_only_copies],
    [{atomic, ok} = mnesia:change_table_copy_type(T, node(), disc_copies) || T <- Tables],
    length(Tables).

%% Begins to store the accounts load1 to load<N> with their rosters, and drops all others. The
%% rows copy the pattern of an account and a contact that ejabberd has stored itself. The tables are built anew as a
%% whole, which takes a minute where inserts would take half an hour.
-spec fill(N :: pos_integer()) -> pid().
fill(N) ->
    disc_only_copies = mnesia:table_info(passwd, storage_type),
    disc_only_copies = mnesia:table_info(roster, storage_type),
    {Account, Contact} = pattern(),
    spawn(fun() ->
                  register(?FILLING, self()),
                  Contacts = fun(Row) -> fun(I) -> [Row(contact(I, O, Contact)) || O <- contacts(I, N)] end end,
                  build(passwd, N, N, fun(I) -> [account(I, Account)] end),
                  build(roster, N, 5 * N, Contacts(fun(C) -> C end)),
                  %% As mnesia keeps it for its index of the column us.
                  build({roster, index, {3, bag}}, N, N, Contacts(fun(C) -> {element(3, C), element(2, C)} end)),
                  {atomic, ok} = mnesia:transaction(fun() -> mnesia:write({reg_users_counter, ?HOST, N}) end)
          end).

%% Whether it has come to its end.
-spec filled() -> boolean().
filled() ->
    whereis(?FILLING) =:= undefined.

build(Table, N, Slots, Rows) ->
    ok = dets:init_table(Table, chunk(1, N, Rows), [{min_no_slots, Slots}]).

chunk(First, N, _) when First > N ->
    fun(read) -> end_of_input; (close) -> ok end;
chunk(First, N, Rows) ->
    fun(read) ->
            Next = First + ?CHUNK,
            {lists:flatmap(Rows, lists:seq(First, min(N, Next - 1))), chunk(Next, N, Rows)};
       (close) -> ok
    end.

pattern() ->
    User = <<"pattern">>,
    ok = ejabberd_auth:try_register(User, ?HOST, ?PASSWORD),
    ok = mod_admin_extra:add_rosteritem(User, ?HOST, <<"other">>, ?HOST, <<>>, <<>>, <<"both">>),
    [Account] = mnesia:dirty_read(passwd, {User, ?HOST}),
    [Contact] = mnesia:dirty_index_read(roster, {User, ?HOST}, 3),
    ok = ejabberd_auth:remove_user(User, ?HOST),
    {Account, Contact}.

user(N) -> <<"load", (integer_to_binary(N))/binary>>.

%% {passwd, {User, Host}, {scram, StoredKey, ServerKey, Salt, sha, Rounds}}
account(N, Account) ->
    sha = element(5, element(3, Account)),
    Salt = crypto:strong_rand_bytes(?SALT_BYTES),
    Salted = hmac(?PASSWORD, <<Salt/binary, ?ROUNDS:32>>),          % PBKDF2 with one round
    Keys = [crypto:hash(sha, hmac(Salted, <<"Client Key">>)), hmac(Salted, <<"Server Key">>), Salt],
    Scram = lists:foldl(fun({I, V}, S) -> setelement(I, S, V) end, element(3, Account),
                        [{6, ?ROUNDS} | lists:zip([2, 3, 4], [base64:encode(K) || K <- Keys])]),
    setelement(3, setelement(2, Account, {user(N), ?HOST}), Scram).

hmac(Key, Text) -> crypto:mac(hmac, sha, Key, Text).

%% {roster, {User, Host, Address}, {User, Host}, Address, ...}
contact(N, Other, Contact) ->
    Address = {user(Other), ?HOST, <<>>},
    setelement(4, setelement(3, setelement(2, Contact, {user(N), ?HOST, Address}), {user(N), ?HOST}), Address).

%% The two before it and the two behind it, in a circle, and the one that is farthest away. All are mutual if the number
%% of accounts is even.
-spec contacts(N :: pos_integer(), All :: pos_integer()) -> [pos_integer()].
contacts(N, All) ->
    lists:usort([(N - 1 + D + All) rem All + 1 || D <- [-2, -1, 1, 2, All div 2]]) -- [N].

%% Appends a line to a file again and again, and once more when asked to end: Unix time in milliseconds; bytes of all
%% memory, of processes, binaries and tables; the numbers of processes, of sessions, and of those asleep.
-spec watch(file:filename(), Milliseconds :: pos_integer()) -> pid().
watch(File, Milliseconds) ->
    spawn(fun() ->
                  register(?MODULE, self()),
                  process_flag(priority, high),
                  {ok, Out} = file:open(File, [raw, append]),
                  watch_on(Out, Milliseconds)
          end).

watch_on(Out, Milliseconds) ->
    Memory = erlang:memory(),
    #{asleep := Asleep} = mod_megaphone_sleep:figures(),
    Line = [os:system_time(millisecond) | [proplists:get_value(Key, Memory) || Key <- [total, processes, binary, ets]]]
        ++ [erlang:system_info(process_count), ets:info(session, size), Asleep],
    ok = file:write(Out, [lists:join($ , [integer_to_list(N) || N <- Line]), $\n]),
    receive stop -> file:close(Out)
    after Milliseconds -> watch_on(Out, Milliseconds)
    end.
