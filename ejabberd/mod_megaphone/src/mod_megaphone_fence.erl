%%% What replies elsewhere wait for on one link: that an earlier reply of their session is in the link's batch, and that
%%% the edge has handled it.
%%%
%%% The edge handles the frames of a link in order, so the pong to a ping tells that all replies before it have been
%%% written to their clients' connections (PROTOCOL.md, "Order"). One such ping is under way at a time: replies that
%%% come meanwhile wait for the next one, which all of them share. A pong that does not come in ?LOST_MS is lost, and
%%% the replies that waited for it have gone on. The next ping has another token, as the pong may be only late.
-module(mod_megaphone_fence).

-export([new/0, follow/5, answered/3, pong/2, open/1]).

-export_type([fence/0, follower/0]).

-type id() :: mod_megaphone_codec:id().

%% Gets {Ref, passed}.
-type follower() :: {pid(), Ref :: reference()}.

-record(fence,
        {replies = #{} :: #{id() => [{follower(), Elsewhere :: boolean()}]},    % which wait for the reply to a live id
         under_way = [] :: [follower()],                                       % which wait for the ping that was sent
         next = [] :: [follower()],                                            % which wait for the one after it
         sent_at = 0 :: integer(),                                             % that ping: ms of monotonic time
         lost = 0 :: non_neg_integer()}).                                      % pongs that never came

-opaque fence() :: #fence{}.

%% While there are followers: see mod_megaphone_order.
-define(LOST_MS, 5000).

-type result() :: {pass, fence()} | {ping, Token :: binary(), fence()}.

-spec new() -> fence().
new() ->
    #fence{}.

%% Tells Follower when the reply to Id has left. Waits: it is not in the batch yet. Elsewhere: the next reply leaves
%% over another link, so the edge must have handled this one.
-spec follow(follower(), Elsewhere :: boolean(), id(), Waits :: boolean(), fence()) -> result().
follow(Follower, Elsewhere, Id, true, #fence{replies = Replies} = Fence) ->
    Others = maps:get(Id, Replies, []),
    {pass, Fence#fence{replies = Replies#{Id => [{Follower, Elsewhere} | Others]}}};
follow(Follower, true, _, false, Fence) ->
    ping([Follower], Fence);
follow(Follower, false, _, false, Fence) ->
    pass([Follower]),
    {pass, Fence}.

%% The reply to Id is in the batch. An empty one may be overtaken: there is nothing in it whose order matters.
-spec answered(id(), Body :: binary(), fence()) -> result().
answered(Id, Body, #fence{replies = Replies} = Fence) ->
    case maps:take(Id, Replies) of
        {Followers, Rest} ->
            {Elsewhere, Here} = lists:partition(fun({_, E}) -> E andalso has_payload(Body) end, Followers),
            pass([F || {F, _} <- Here]),
            ping([F || {F, _} <- Elsewhere], Fence#fence{replies = Rest});
        error ->
            {pass, Fence}
    end.

has_payload(Body) ->
    byte_size(Body) >= 2 andalso binary:part(Body, byte_size(Body), -2) =/= <<"/>">>.

%% Other pongs are only signs of life.
-spec pong(Token :: binary() | undefined, fence()) -> result().
pong(Token, #fence{under_way = UnderWay, next = Next, lost = Lost} = Fence) ->
    case token(Lost) of
        Token ->
            pass(UnderWay),
            ping(Next, Fence#fence{under_way = [], next = []});
        _ -> {pass, Fence}
    end.

token(0) -> <<"fence">>;
token(Lost) -> <<"fence-", (integer_to_binary(Lost))/binary>>.

%% The link ends: nothing waits for it.
-spec open(fence()) -> fence().
open(#fence{replies = Replies, under_way = UnderWay, next = Next}) ->
    pass([F || Followers <- maps:values(Replies), {F, _} <- Followers]),
    pass(UnderWay),
    pass(Next),
    new().

ping([], Fence) -> {pass, Fence};
ping(Followers, #fence{under_way = [], lost = Lost} = Fence) ->
    {ping, token(Lost), Fence#fence{under_way = Followers, sent_at = now_ms()}};
ping(Followers, #fence{under_way = Late, next = Next, sent_at = SentAt, lost = Lost} = Fence) ->
    case now_ms() - SentAt > ?LOST_MS of
        true ->
            pass(Late),     % they have gone on, and a shard has an entry for each until it is told
            ping(Followers ++ Next, Fence#fence{under_way = [], next = [], lost = Lost + 1});
        false -> {pass, Fence#fence{next = Followers ++ Next}}
    end.

now_ms() -> erlang:monotonic_time(millisecond).

pass(Followers) ->
    lists:foreach(fun({Pid, Ref}) -> Pid ! {Ref, passed} end, Followers).
