%%% Log-ins as a value: requests that open sessions and wait for their turn, those that are being opened, and sessions
%%% whose clients have not logged in. Functions return what the caller must do; they call nothing that waits or sends.
%%%
%%%     ask ──► waits ── its turn ──► is opened ──► joins ── logged in, or ended ──► (forgotten)
%%%               └── PATIENCE_MS, or the client hung up ──► (refused, forgotten)
%%%
%%% Requests have their turn in the order in which they came, while fewer than OPENINGS are being opened and fewer than
%%% `max` sessions join. So a node that is asked for more log-ins than it can do finishes those that it has begun. A
%%% client that opens a session and never logs in takes a place for a while: when one is asked for and none is free,
%%% the session that has joined for longest ends, if that is LOGIN_MS or more.
-module(mod_megaphone_logins).

-export([new/1, max/2, ask/4, gone/2, turns/2, opened/1, joins/3, left/2, counts/1]).

-export_type([logins/0, act/0]).

-type place() :: mod_megaphone_session:place().
-type creation() :: {Opener :: module(), Body :: binary(), inet:ip_address()}.
-type act() :: {open, place(), creation()} | {refuse, place()} | {cut, pid()}.

-record(logins,
        {max :: pos_integer(),
         waiting = gb_trees:empty() :: gb_trees:tree(N :: integer(), {Due :: integer(), place(), creation()}),
         numbers = #{} :: #{place() => integer()},
         next = 0 :: non_neg_integer(),                 % number of the next one
         opening = 0 :: non_neg_integer(),
         joining = #{} :: #{pid() => Since :: integer()},
         oldest = gb_sets:empty() :: gb_sets:set({Since :: integer(), pid()})}).   % of them, those not cut

-opaque logins() :: #logins{}.

%% More would only wait for each other.
-define(OPENINGS, 100).
%% So many may wait, of so many bytes, for so long. Those of known clients have less than 500 bytes. Edges wait for 10 s
%% unless they are told otherwise.
-define(MAX_WAITING, 10000).
-define(MAX_WAITING_BYTES, 4096).
-define(PATIENCE_MS, 5000).
%% How long a session may join if others need its place.
-define(LOGIN_MS, 10000).

%% max: how many sessions may join.
-spec new(Max :: pos_integer()) -> logins().
new(Max) -> #logins{max = Max}.

-spec max(pos_integer(), logins()) -> logins().
max(Max, L) -> L#logins{max = Max}.

%% Now is in milliseconds. error: there is no room to wait.
-spec ask(place(), creation(), Now :: integer(), logins()) -> {ok, logins()} | error.
ask(Place, {_, Body, _} = Creation, Now, #logins{waiting = Waiting, numbers = Numbers, next = N} = L) ->
    case may_wait(Body, L) orelse has_turn(L) of
        true -> {ok, L#logins{waiting = gb_trees:insert(N, {Now + ?PATIENCE_MS, Place, Creation}, Waiting),
                              numbers = Numbers#{Place => N}, next = N + 1}};
        false -> error
    end.

may_wait(Body, #logins{numbers = Numbers}) ->
    map_size(Numbers) < ?MAX_WAITING andalso byte_size(Body) =< ?MAX_WAITING_BYTES.

%% Whether one that came now would have its turn.
has_turn(#logins{numbers = Numbers, opening = Opening} = L) ->
    map_size(Numbers) =:= 0 andalso Opening < ?OPENINGS andalso room(L) > 0.

%% The client has hung up.
-spec gone(place(), logins()) -> logins().
gone(Place, #logins{waiting = Waiting, numbers = Numbers} = L) ->
    case Numbers of
        #{Place := N} ->
            {Entry, Rest} = gb_trees:take(N, Waiting),
            taken(Entry, Rest, L);
        _ -> L
    end.

taken({_, Place, _}, Rest, #logins{numbers = Numbers} = L) ->
    L#logins{waiting = Rest, numbers = maps:remove(Place, Numbers)}.

%% The actions that are due now, in this order. Must be called after everything else, and while requests wait.
-spec turns(Now :: integer(), logins()) -> {[act()], logins()}.
turns(Now, L) -> turns(Now, L, []).

turns(Now, #logins{waiting = Waiting, opening = Opening} = L, Acts) ->
    case gb_trees:is_empty(Waiting) of
        true -> {lists:reverse(Acts), L};
        false ->
            {_, {Due, Place, Creation} = Entry, Rest} = gb_trees:take_smallest(Waiting),
            Room = room(L),
            if
                Due =< Now -> turns(Now, taken(Entry, Rest, L), [{refuse, Place} | Acts]);
                Opening < ?OPENINGS, Room > 0 ->
                    turns(Now, (taken(Entry, Rest, L))#logins{opening = Opening + 1}, [{open, Place, Creation} | Acts]);
                Room =< 0 -> cut(Now, gb_trees:size(Waiting), L, Acts);
                true -> {lists:reverse(Acts), L}
            end
    end.

room(#logins{max = Max, opening = Opening, joining = Joining}) -> Max - Opening - map_size(Joining).

%% The places of those cut are free once they have ended. So no more are cut than requests wait.
cut(Now, Wanted, #logins{joining = Joining, oldest = Oldest} = L, Acts) ->
    Ending = map_size(Joining) - gb_sets:size(Oldest),
    case Ending < Wanted andalso not gb_sets:is_empty(Oldest) andalso gb_sets:take_smallest(Oldest) of
        {{Since, Pid}, Rest} when Since + ?LOGIN_MS =< Now ->
            cut(Now, Wanted, L#logins{oldest = Rest}, [{cut, Pid} | Acts]);
        _ -> {lists:reverse(Acts), L}
    end.

%% One that had its turn is done with, whether a session joins or not: joins/3 comes first.
-spec opened(logins()) -> logins().
opened(#logins{opening = Opening} = L) -> L#logins{opening = Opening - 1}.

%% A session has been opened, with this stream.
-spec joins(pid(), Now :: integer(), logins()) -> logins().
joins(Pid, Now, #logins{joining = Joining, oldest = Oldest} = L) ->
    L#logins{joining = Joining#{Pid => Now}, oldest = gb_sets:add({Now, Pid}, Oldest)}.

%% It has logged in, or ended.
-spec left(pid(), logins()) -> logins().
left(Pid, #logins{joining = Joining, oldest = Oldest} = L) ->
    case maps:take(Pid, Joining) of
        {Since, Rest} -> L#logins{joining = Rest, oldest = gb_sets:del_element({Since, Pid}, Oldest)};
        error -> L
    end.

-spec counts(logins()) -> #{waiting | opening | joining => non_neg_integer()}.
counts(#logins{numbers = Numbers, opening = Opening, joining = Joining}) ->
    #{waiting => map_size(Numbers), opening => Opening, joining => map_size(Joining)}.
