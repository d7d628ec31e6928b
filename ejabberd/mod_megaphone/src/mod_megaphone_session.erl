%%% One BOSH session (XEP-0124 1.11.2, XEP-0206 1.4) as a value. Functions take what happens, return the session as it
%%% is then, and leave in it what the caller must do: acts/1. They call nothing that waits or sends.
%%%
%%% Request ids fall into four ranges:
%%%
%%%       too old  |      kept       |        held         |   the window   | too high
%%%     -----------+-----------------+---------------------+----------------+---------
%%%         answered - requests - 1  answered           received        received + requests
%%%
%%% A reply with payload waits until the one before it, which left on another link, has reached its client's connection:
%%% the caller asks that link (act follow) and tells the session (passed/4). See PROTOCOL.md, "Order".
%%%
%%% Most sessions wait for most of the time with one request held. Their rows have some 50 words.
-module(mod_megaphone_session).

-export([new/2, sid/1, c2s/1, row_key/0, shaper_key/0, wake/1, woken/1, armed/3, acts/1, is_ended/1]).
-export([request/5, poll/4, output/4, closed/2, gone/3, release/3, passed/3, due/2, unshaped/2]).
-export([broken/2, shutdown/1]).

-export_type([session/0, place/0, act/0, env/0]).

%% Where a request is answered: the link, its id there, and the link's own number for it.
-type place() :: {Link :: pid(), mod_megaphone_codec:id(), N :: non_neg_integer()}.

%% now: ticks of monotonic time, tenths of a second. up: the links there are.
-type env() :: #{now := integer(), up := #{pid() => _}}.

-type rid() :: non_neg_integer().

-type act() :: {answer, place(), Status :: 200..599, Body :: iodata() | empty}
             | {c2s, pid(), Event :: term()}            % for the stream
             | {bounce, pid(), [binary()]}            % stanzas that the client of that stream has not had
             | {follow, pid(), N :: pos_integer()}      % call passed(N) when that link has passed
             | {unshape, Milliseconds :: pos_integer()} % call unshaped then
             | ended.                                   % the session is no more

%% A request that is not answered. Its place is none when the client has hung up: the client will send it again.
-record(held,
        {place :: place() | none,
         since :: integer(),                            % tick, when it came the last time
         step :: missing | early | processed}).

-record(session,
        {sid :: binary(),
         c2s :: pid() | none,                           % none: its stream has ended
         host :: binary(),
         received :: rid(),
         answered :: rid(),
         wait :: non_neg_integer(),                     % seconds
         hold :: 0 | 1,
         inactivity :: pos_integer(),                   % seconds
         max_pause :: non_neg_integer(),                % seconds
         max_concat :: pos_integer() | unlimited,       % payloads in a reply
         held = [] :: [#held{}],                        % the requests after `answered`, in the order of their rids
         kept = [] :: [{rid(), body()}],                % replies given, newest first
         queue = [] :: [item()],                        % for the client, newest first
         queued = 0 :: non_neg_integer(),               % bytes in it
         carried = none :: carried(),
         carries = 0 :: non_neg_integer(),              % replies with payload so far
         idle_since :: integer(),                       % tick: the last reply, or the client hung up
         wake = infinity :: integer() | infinity,       % tick at which the wheel has the session
         shaper = none :: term(),                       % ejabberd_shaper's
         legacy :: boolean(),                           % no ver: the client knows HTTP statuses instead of conditions
         rare = #{} :: rare(),
         acts = [] :: [act()]}).                        % newest first

-opaque session() :: #session{}.

-type body() :: empty | binary().
-type item() :: {start, StreamId :: binary(), Version :: binary()} | {features | stanza | error, binary()} | stream_end.

%% The last reply with payload: on which link, the how manieth it was, and since when that link is asked to pass.
-type carried() :: none | {pid(), pos_integer()} | {pid(), pos_integer(), Asked :: integer()}.

-type rare() :: #{creation => [{binary(), binary()}],   % attributes of the reply to come
                  early => #{rid() => mod_megaphone_wrapper:request()},
                  repeats => [{rid(), place(), binary()}],  % wait for their turn, oldest first
                  key => binary(),                      % what SHA-1 of the next key must give
                  keys => #{rid() => binary()},         % those of the requests that may come again
                  acks => boolean(),
                  report => rid(),                      % a reply that the client seems to have missed
                  sent_at => #{rid() => integer()},     % ms: with acks, when the kept replies were given
                  pause => pos_integer(),               % seconds; until the next request
                  polled => integer(),                  % tick: a polling session's last empty request, answered so
                  restarted => boolean(),
                  ended => pid(),                       % the stream
                  shaped => true,                       % the client sends too fast: its requests wait
                  resends => pos_integer()}.

-define(TICKS_PER_S, 10).
%% How long payload waits for another link to pass.
-define(MAX_FENCE, (5 * ?TICKS_PER_S)).
%% How often in a row a client may repeat requests without a new one.
-define(MAX_RESENDS, 100).
%% The shortest time between two empty requests of a session that is never held, less what they may come closer to each
%% other on the way.
-define(POLLING, (2 * ?TICKS_PER_S - 3)).
%% How much more than otherwise may wait for a client that is not away, and when one is.
-define(BURST, 16).
-define(AWAY, (5 * ?TICKS_PER_S)).
%% Payloads of one reply, unless the first has more: edges take 16 MiB.
-define(MAX_REPLY_BYTES, 1048576).
-define(RESOURCE_CONSTRAINT,
        <<"<stream:error><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>">>).
%% How long a creation waits for the features of its stream, if it does not want to wait at all.
-define(FEATURES_S, 5).
%% How much sooner than `wait` a request is answered: the client must have the answer in time.
-define(SLACK, 3).

-type options() :: #{sid := binary(), c2s := pid(), host := binary(), rid := rid(), wait := non_neg_integer(),
                     hold := 0 | 1, inactivity := pos_integer(), max_pause := non_neg_integer(), legacy := boolean(),
                     max_concat := pos_integer() | unlimited, acks := boolean(), creation := [{binary(), binary()}],
                     stream := {Version :: binary()} | none}.

%%% Life

%% A session whose creation, request rid, is still to be given to request/5.
-spec new(options(), env()) -> session().
new(#{sid := Sid, c2s := C2S, host := Host, rid := Rid, wait := Wait, hold := Hold, inactivity := Inactivity,
      max_pause := MaxPause, max_concat := MaxConcat, legacy := Legacy, acks := Acks, creation := Creation,
      stream := Stream}, #{now := Now}) ->
    Rare = maps:from_list([{acks, true} || Acks] ++ [{polled, Now - ?POLLING} || Hold =:= 0 orelse Wait =:= 0]),
    S = #session{sid = Sid, c2s = C2S, host = Host, received = Rid - 1, answered = Rid - 1, wait = Wait, hold = Hold,
                 inactivity = Inactivity, max_pause = MaxPause, max_concat = MaxConcat, idle_since = Now,
                 legacy = Legacy, rare = Rare#{creation => Creation}},
    case Stream of
        {Version} -> act({c2s, C2S, stream_start(Host, Version)}, S);
        none -> S
    end.

sid(#session{sid = Sid}) -> Sid.
c2s(#session{c2s = C2S}) -> C2S.
row_key() -> #session.sid.

%% Where a row has the rate of its client, ejabberd_shaper's.
shaper_key() -> #session.shaper.

%% The due actions, oldest first, and the session without them.
-spec acts(session()) -> {[act()], session()}.
acts(#session{acts = []} = S) -> {[], S};
acts(#session{acts = Acts} = S) -> {lists:reverse(Acts), S#session{acts = []}}.

act(Act, #session{acts = Acts} = S) -> S#session{acts = [Act | Acts]}.

%% Whether its last action is its end.
is_ended(#session{acts = Acts}) -> Acts =/= [] andalso hd(Acts) =:= ended.

%% The tick at which the wheel has the session.
wake(#session{wake = Wake}) -> Wake.
woken(S) -> S#session{wake = infinity}.

%% The wheel must have the session at Tick, not before tick Next; it has it early enough: none.
-spec armed(session(), Next :: integer(), env()) -> {Tick :: integer() | none, session()}.
armed(S0, Next, Env) ->
    #session{wake = Wake} = S = hung_up(S0, Env),
    case max(Next, deadline(S, Env)) of
        Due when Due < Wake -> {Due, S#session{wake = Due}};
        _ -> {none, S}
    end.

%% The clients whose links have ended have hung up. No link tells of that: it shows with the next event.
hung_up(#session{held = Held} = S, #{now := Now} = Env) ->
    case any_lost(Held, Env) of
        true ->
            S#session{held = [case is_lost(H, Env) of true -> H#held{place = none}; false -> H end || H <- Held],
                      idle_since = Now};
        false -> S
    end.

any_lost([H | Rest], Env) -> is_lost(H, Env) orelse any_lost(Rest, Env);
any_lost([], _) -> false.

is_lost(#held{place = Place}, Env) -> Place =/= none andalso not is_live(Place, Env).

%% When there is next something to do although nothing comes.
deadline(#session{held = Held} = S, Env) ->
    Due = case held_since(Held, Env, infinity) of
              infinity -> S#session.idle_since + patience(S);
              Since -> Since + wait(S)
          end,
    case S#session.carried of
        {_, _, Asked} -> min(Due, Asked + ?MAX_FENCE);
        _ -> Due
    end.

%% The tick at which the oldest live request came; infinity, which is more than any number: there is none.
held_since([#held{place = Place, since = Since} | Rest], Env, Oldest) ->
    held_since(Rest, Env, case is_live(Place, Env) of true -> min(Since, Oldest); false -> Oldest end);
held_since([], _, Oldest) -> Oldest.

%% How long, in ticks, a request is held.
wait(#session{wait = Wait, rare = #{creation := _}}) -> max(Wait, ?FEATURES_S) * ?TICKS_PER_S;
wait(#session{wait = Wait}) -> Wait * ?TICKS_PER_S - ?SLACK.

%% How long, in ticks, the session lasts without a request.
patience(#session{rare = #{pause := Seconds}}) -> Seconds * ?TICKS_PER_S;
patience(#session{inactivity = Seconds}) -> Seconds * ?TICKS_PER_S.

is_live({Link, _, _}, #{up := Up}) -> is_map_key(Link, Up);
is_live(none, _) -> false.

requests(#session{hold = Hold}) -> Hold + 1.

%%% Input from the client

%% An empty request of a session.
-spec poll(rid(), place(), session(), env()) -> session().
poll(Rid, Place, #session{received = Rid0, answered = Rid0, queue = [], rare = Rare, c2s = C2S} = S,
     #{now := Now}) when Rid =:= Rid0 + 1, map_size(Rare) =:= 0, C2S =/= none -> % a polling session's is not empty
    S#session{received = Rid, held = [#held{place = Place, since = Now, step = processed}]};
poll(Rid, Place, S, Env) ->
    request(mod_megaphone_wrapper:poll(Rid), 0, Place, S, Env).

%% Any request of the session, which has Size bytes.
-spec request(mod_megaphone_wrapper:request(), Size :: non_neg_integer(), place(), session(), env()) -> session().
request(Request, Size, Place, S0, Env) ->
    Rid = mod_megaphone_wrapper:rid(Request),
    S = without(pause, S0),
    Window = requests(S) + case mod_megaphone_wrapper:is_last(Request) of true -> 1; false -> 0 end,
    #session{received = Received, answered = Answered} = S,
    Step = case find(Rid, S) of none -> missing; Held -> Held#held.step end,
    if
        Rid =< Answered; Step =/= missing -> repeated(Rid, Request, Place, S, Env);
        S#session.c2s =:= none, Rid =< Answered + Window -> settle(attach(Rid, Place, processed, S, Env), Env);
        Rid > Received + Window -> fail('item-not-found', Place, S);
        Rid > Answered + Window -> fail('policy-violation', Place, S);
        true -> settle(catch_up(shape(Size, early(Rid, Request, Place, S, Env)), Env), Env)
    end.

early(Rid, Request, Place, #session{rare = Rare} = S, Env) ->
    Early = maps:get(early, Rare, #{}),
    attach(Rid, Place, early, S#session{rare = Rare#{early => Early#{Rid => Request}}}, Env).

%% Processes the requests whose turn has come.
catch_up(#session{rare = #{shaped := true}} = S, _) -> S;
catch_up(#session{received = Received, rare = #{early := Early} = Rare, c2s = C2S} = S, Env)
  when is_map_key(Received + 1, Early), C2S =/= none ->
    {Request, Rest} = maps:take(Received + 1, Early),
    Later = S#session{rare = case map_size(Rest) of 0 -> maps:remove(early, Rare); _ -> Rare#{early := Rest} end},
    case process(Request, Later, Env) of
        #session{acts = [ended | _]} = Ended -> Ended;
        Next -> catch_up(Next, Env)
    end;
catch_up(S, _) -> S.

process(Request, #session{received = Received} = S0, Env) ->
    Rid = Received + 1,
    Held = find(Rid, S0),
    S = put_held(Rid, Held#held{step = processed}, without(resends, S0#session{received = Rid})),
    case checked(Request, S, Env) of
        {ok, Checked} ->
            Forwarded = forward(Request, acknowledge(Request, Checked)),
            case mod_megaphone_wrapper:ends(Request) of
                terminate -> bye(Forwarded);
                {pause, Seconds} -> pause(Rid, Seconds, Forwarded, Env);
                none -> Forwarded
            end;
        {fail, Condition} ->
            fail(Condition, Held#held.place, S)
    end.

checked(Request, #session{max_pause = Max} = S, Env) ->
    case {stepped(Request, S), mod_megaphone_wrapper:ends(Request)} of
        {error, _} -> {fail, 'item-not-found'};
        {_, {pause, Seconds}} when Seconds > Max -> {fail, 'policy-violation'};
        {{ok, Stepped}, _} -> paced(Request, S#session{rare = Stepped}, Env)
    end.

%% Two empty requests in a row must not come too soon, unless the first got payload (section 12).
paced(Request, #session{rare = #{polled := Last} = Rare} = S, #{now := Now}) ->
    case mod_megaphone_wrapper:is_empty(Request) of
        true when Now - Last < ?POLLING -> {fail, 'policy-violation'};
        true -> {ok, S#session{rare = Rare#{polled := Now}}};
        false -> {ok, may_poll(S, Now)}
    end;
paced(_, S, _) -> {ok, S}.

may_poll(#session{rare = #{polled := _} = Rare} = S, Now) -> S#session{rare = Rare#{polled := Now - ?POLLING}};
may_poll(S, _) -> S.

%% Goes one step back in the sequence of keys (section 15).
stepped(Request, #session{rare = Rare} = S) ->
    case mod_megaphone_wrapper:keys(Request) of
        {_, none} when not is_map_key(key, Rare) -> {ok, Rare};
        {none, New} when is_map_key(creation, Rare), not is_map_key(key, Rare) -> {ok, Rare#{key => New}};
        {Key, New} when Key =/= none, is_map_key(key, Rare) ->
            case same_key(binary:encode_hex(crypto:hash(sha, Key)), map_get(key, Rare)) of
                true -> {ok, with_key(Key, S#session{rare = Rare#{key := case New of none -> Key; _ -> New end}})};
                false -> error
            end;
        _ -> error
    end.

%% They are hexadecimal.
same_key(A, B) -> string:lowercase(A) =:= string:lowercase(B).

%% Keys are known while a client may ask for the replies to their requests again.
with_key(Key, #session{received = Rid, rare = Rare} = S) ->
    Recent = maps:filter(fun(R, _) -> R > Rid - 2 * (requests(S) + 1) end, maps:get(keys, Rare, #{})),
    Rare#{keys => Recent#{Rid => Key}}.

%% A request that comes again must bring the key that it had, because others could otherwise take a client's data. The
%% bytes of keys that are not processed yet are those of the request that waits.
has_its_key(Rid, Request, #session{rare = Rare}) ->
    {Key, _} = mod_megaphone_wrapper:keys(Request),
    Had = case Rare of
              #{early := #{Rid := Early}} -> element(1, mod_megaphone_wrapper:keys(Early));
              #{keys := #{Rid := Known}} -> Known;
              _ -> none
          end,
    not is_map_key(key, Rare) orelse (Key =/= none andalso Had =/= none andalso same_key(Key, Had)).

forward(Request, #session{c2s = C2S, host = Host} = S) ->
    case mod_megaphone_wrapper:restart(Request) of
        none -> lists:foldl(fun(El, Acc) -> act({c2s, C2S, {xmlstreamelement, El}}, Acc) end, S,
                            mod_megaphone_wrapper:payloads(Request));
        {To, Version} -> act({c2s, C2S, stream_start(case To of none -> Host; _ -> To end, Version)}, S)
    end.

stream_start(Host, Version) ->
    {xmlstreamstart, <<"stream:stream">>,
     [{<<"to">>, Host}, {<<"xmlns">>, <<"jabber:client">>}, {<<"xmlns:xmpp">>, <<"urn:xmpp:xbosh">>},
      {<<"xmlns:stream">>, <<"http://etherx.jabber.org/streams">>} | [{<<"version">>, Version} || Version =/= <<>>]]}.

%% A client that has missed a reply is told at once (section 9.2).
acknowledge(Request, #session{rare = #{acks := true} = Rare, answered = Answered} = S) ->
    case mod_megaphone_wrapper:ack(Request) of
        Ack when is_integer(Ack), Ack < Answered ->
            case lists:keymember(Ack + 1, 1, S#session.kept) of
                true -> S#session{rare = Rare#{report => Ack + 1}};
                false -> S
            end;
        _ -> S
    end;
acknowledge(_, S) -> S.

%% A request that has been here before (section 14.3).
repeated(Rid, Request, Place, #session{rare = Rare, kept = Kept} = S0, Env) ->
    Resends = maps:get(resends, Rare, 0) + 1,
    S = S0#session{rare = Rare#{resends => Resends}},
    Held = find(Rid, S),
    IsSame = has_its_key(Rid, Request, S),
    case lists:keyfind(Rid, 1, Kept) of
        _ when not IsSame -> fail('item-not-found', Place, S);
        _ when Resends > ?MAX_RESENDS -> fail('policy-violation', Place, S);
        _ when Held =/= none ->
            Hurried = case is_live(Held#held.place, Env) of
                          true -> act({answer, Held#held.place, 200, mod_megaphone_wrapper:recoverable()}, S);
                          false -> S
                      end,
            settle(attach(Rid, Place, Held#held.step, Hurried, Env), Env);
        {_, empty} -> act({answer, Place, 200, empty}, S#session{idle_since = maps:get(now, Env)});
        {_, Body} -> settle(repeat(Rid, Place, Body, S#session{idle_since = maps:get(now, Env)}), Env);
        false -> fail('item-not-found', Place, S)
    end.

repeat(Rid, Place, Body, #session{rare = Rare} = S) ->
    Repeats = maps:get(repeats, Rare, []),
    Hurried = case lists:keyfind(Rid, 1, Repeats) of
                  {_, Old, _} -> act({answer, Old, 200, mod_megaphone_wrapper:recoverable()}, S);
                  false -> S
              end,
    Hurried#session{rare = Rare#{repeats => lists:keydelete(Rid, 1, Repeats) ++ [{Rid, Place, Body}]}}.

%% The client of a request has hung up.
-spec gone(place(), session(), env()) -> session().
gone(Place, #session{held = Held, rare = Rare} = S, #{now := Now} = Env) ->
    Repeats = [R || {_, P, _} = R <- maps:get(repeats, Rare, []), P =/= Place],
    Quiet = case {Rare, Repeats} of
                {#{repeats := _}, []} -> without(repeats, S);
                {#{repeats := _}, _} -> S#session{rare = Rare#{repeats := Repeats}};
                _ -> S
            end,
    settle(Quiet#session{held = [case H of #held{place = Place} -> H#held{place = none}; _ -> H end || H <- Held],
                         idle_since = Now}, Env).

%% Answers a request now, as if its time were over.
-spec release(place(), session(), env()) -> session().
release(Place, S, Env) ->
    settle(expire(fun(#held{place = P}) -> P =:= Place end, S, Env), Env).

%%% Input from the stream

%% Item is for the client. One that has been away for a while and leaves more than MaxQueued bytes waiting loses its
%% session. Others may have a burst on their way, as when they fetch stored messages: 16 times as much.
-spec output(item(), MaxQueued :: pos_integer(), session(), env()) -> session().
output({stanza, Stanza}, _, #session{c2s = none} = S, _) -> act({bounce, stream(S), [Stanza]}, S);
output(_, _, #session{c2s = none} = S, _) -> S;
output(Item, MaxQueued, #session{queue = Queue, queued = Queued, c2s = C2S} = S, Env) ->
    Bytes = Queued + bytes(Item),
    case Bytes > MaxQueued andalso (Bytes > ?BURST * MaxQueued orelse is_away(S, Env)) of
        true ->
            Over = S#session{queue = [{error, ?RESOURCE_CONSTRAINT}, Item | Queue], queued = Bytes},
            closed(act({c2s, C2S, closed}, Over), Env);
        false -> settle(S#session{queue = [Item | Queue], queued = Bytes}, Env)
    end.

is_away(#session{held = Held, idle_since = Idle}, #{now := Now} = Env) ->
    Now >= Idle + ?AWAY andalso held_since(Held, Env, infinity) =:= infinity.

bytes({_, Bytes}) -> byte_size(Bytes);
bytes(_) -> 0.

%% The stream has ended. The client is told with its next request, if none is held; what it has not had is routed anew,
%% so that it may be kept for later.
-spec closed(session(), env()) -> session().
closed(#session{c2s = none} = S, _) -> S;
closed(#session{queue = Queue, c2s = C2S} = S, Env) ->
    case settle(S, Env) of
        #session{acts = [ended | _]} = Ended -> Ended;
        Open ->
            Last = [Item || Item <- Queue, Item =:= stream_end orelse element(1, Item) =:= error],
            Closing = bounce(nothing_to_come(Open#session{c2s = none, rare = (Open#session.rare)#{ended => C2S}})),
            settle(Closing#session{queue = Last ++ [stream_end || Last =:= []]}, Env)
    end.

%% Requests that wait for their predecessors no longer need to: they are only answered.
nothing_to_come(#session{held = Held} = S) ->
    Any = [case H of #held{step = early} -> H#held{step = processed}; _ -> H end || H <- Held],
    without(early, S#session{held = Any}).

%% The stream, whether it has ended or not.
stream(#session{c2s = none, rare = #{ended := C2S}}) -> C2S;
stream(#session{c2s = C2S}) -> C2S.

bounce(#session{queue = Queue} = S) ->
    case [Stanza || {stanza, Stanza} <- lists:reverse(Queue)] of
        [] -> S;
        Stanzas -> act({bounce, stream(S), Stanzas}, S#session{queue = [], queued = 0})
    end.

%%% Time

%% Carries out the due actions.
-spec due(session(), env()) -> session().
due(S0, #{now := Now} = Env) ->
    #session{held = Held, idle_since = Idle} = S = hung_up(without_late(S0, Env), Env),
    Wait = wait(S),
    IsOver = fun(#held{place = Place, since = Since}) -> is_live(Place, Env) andalso Since + Wait =< Now end,
    case held_since(Held, Env, infinity) =/= infinity orelse Now < Idle + patience(S) of
        true -> settle(expire(IsOver, S, Env), Env);
        false -> finish(S)
    end.

%% Payload waits for no link that takes too long to pass.
without_late(#session{carried = {_, _, Asked}} = S, #{now := Now}) when Now >= Asked + ?MAX_FENCE ->
    S#session{carried = none};
without_late(S, _) -> S.

%% Answers the requests whose time is over, and all before them. One whose turn cannot come is asked for again.
expire(Over, #session{held = Held, answered = Answered} = S, Env) ->
    {Through, Asked} =
        lists:foldl(fun({Rid, #held{step = processed} = H}, {_, Acc}) ->
                            case Over(H) of true -> {Rid, Acc}; false -> {through(Acc, S), Acc} end;
                       ({Rid, #held{place = Place} = H}, {Through0, Acc}) ->
                            case Over(H) of
                                true ->
                                    Told = act({answer, Place, 200, mod_megaphone_wrapper:recoverable()}, Acc),
                                    {Through0, put_held(Rid, H#held{place = none},
                                                        Told#session{idle_since = maps:get(now, Env)})};
                                false -> {Through0, Acc}
                            end
                    end, {Answered, S}, lists:zip(lists:seq(Answered + 1, Answered + length(Held)), Held)),
    answer_through(Through, Asked, Env).

through(#session{answered = Answered}, _) -> Answered.

answer_through(_, #session{acts = [ended | _]} = S, _) -> S;
answer_through(Through, #session{answered = Answered} = S, Env) when Answered < Through ->
    answer_through(Through, answer_oldest(S, Env), Env);
answer_through(_, S, _) -> S.

%%% The rate of a client (shaper)

%% Takes Size bytes from what the client may send in this time. Requests wait when it is too much.
shape(_, #session{shaper = none} = S) -> S;
shape(0, S) -> S;
shape(Size, #session{shaper = Shaper, rare = Rare} = S) ->
    case ejabberd_shaper:update(Shaper, Size) of
        {Next, Pause} when Pause =< 0; is_map_key(shaped, Rare) -> S#session{shaper = Next};
        {Next, Pause} -> act({unshape, Pause}, S#session{shaper = Next, rare = Rare#{shaped => true}})
    end.

-spec unshaped(session(), env()) -> session().
unshaped(S, Env) -> settle(catch_up(without(shaped, S), Env), Env).

%%% Order

%% The link of the Nth reply with payload has passed.
-spec passed(N :: pos_integer(), session(), env()) -> session().
passed(N, #session{carried = {_, N, _}} = S, Env) -> settle(S#session{carried = none}, Env);
passed(_, S, _) -> S.

%% Whether payload may go to a link now, and the session: it asks the other link if it must.
in_order(_, #session{carried = none} = S, _) -> {true, S};
in_order({Link, _, _}, #session{carried = Carried} = S, _) when element(1, Carried) =:= Link -> {true, S};
in_order(_, #session{carried = Carried} = S, #{up := Up, now := Now}) ->
    case {is_map_key(element(1, Carried), Up), Carried} of
        {false, _} -> {true, S#session{carried = none}};
        {true, {Other, N}} -> {false, act({follow, Other, N}, S#session{carried = {Other, N, Now}})};
        {true, {_, _, Asked}} when Now >= Asked + ?MAX_FENCE -> {true, S#session{carried = none}};
        {true, _} -> {false, S}
    end.

%% Payload leaves over the link of a place.
carry({Link, _, _}, #session{carries = N} = S) ->
    S#session{carried = {Link, N + 1}, carries = N + 1}.

%%% Replies

%% Ends an event: answers what can be answered, and what must.
settle(#session{acts = [ended | _]} = S, _) -> S;
settle(S, Env) ->
    case settle_repeats(S, Env) of
        {wait, Waiting} -> beyond_hold(Waiting, Env);
        {go, Ready} -> beyond_hold(deliver(Ready, Env), Env)
    end.

settle_repeats(#session{rare = #{repeats := [{_, Place, Body} | Rest]} = Rare} = S, Env) ->
    case in_order(Place, S, Env) of
        {true, Free} ->
            Next = case Rest of [] -> maps:remove(repeats, Rare); _ -> Rare#{repeats := Rest} end,
            settle_repeats(act({answer, Place, 200, Body}, carry(Place, Free#session{rare = Next})), Env);
        {false, Waiting} -> {wait, Waiting}
    end;
settle_repeats(S, _) -> {go, S}.

deliver(S, Env) ->
    case is_ready(S) andalso oldest_live(S, Env) of
        false -> S;
        none -> S;
        Rid ->
            Held = find(Rid, S),
            case in_order(Held#held.place, S, Env) of
                {true, Free} ->
                    case answer_through(Rid, Free, Env) of
                        #session{acts = [ended | _]} = Ended -> Ended;
                        Next -> deliver(Next, Env)
                    end;
                {false, Waiting} -> Waiting
            end
    end.

%% Whether there is output. The head of a stream leaves with the next element, the features; a client from before XMPP
%% 1.0 gets none.
is_ready(#session{rare = #{report := _}}) -> true;
is_ready(#session{queue = []}) -> false;
is_ready(#session{queue = [{start, _, <<>>}]}) -> true;
is_ready(#session{queue = [{start, _, _}]}) -> false;
is_ready(_) -> true.

%% At most `hold` requests wait.
beyond_hold(#session{acts = [ended | _]} = S, _) -> S;
beyond_hold(#session{received = Received, answered = Answered, rare = #{creation := _}} = S, _)
  when Received =:= Answered + 1 -> S;              % the features are on their way, whatever hold and wait are
beyond_hold(#session{received = Received, answered = Answered, hold = Hold} = S, Env) when Received - Answered > Hold ->
    beyond_hold(answer_oldest(S, Env), Env);
beyond_hold(#session{received = Received, answered = Answered, wait = 0} = S, Env) when Received > Answered ->
    beyond_hold(answer_oldest(S, Env), Env);
beyond_hold(S, _) -> S.

%% The rid of the oldest request that can be answered to a client; none.
oldest_live(#session{held = Held, answered = Answered}, Env) -> oldest_live(Held, Answered + 1, Env).

oldest_live([#held{place = Place, step = processed} | Rest], Rid, Env) ->
    case is_live(Place, Env) of
        true -> Rid;
        false -> oldest_live(Rest, Rid + 1, Env)
    end;
oldest_live([_ | Rest], Rid, Env) -> oldest_live(Rest, Rid + 1, Env);
oldest_live([], _, _) -> none.

%% Answers the oldest request with the data that waits for the client. One whose client has hung up gets an empty
%% answer, which the client finds when it sends the request again: payload only leaves for a client that listens.
answer_oldest(#session{held = [#held{place = Place} | Later], answered = Answered} = S, Env) ->
    Rid = Answered + 1,
    case is_live(Place, Env) of
        false -> keep(Rid, empty, S#session{answered = Rid, held = Later}, Env);
        true ->
            {Payload, S1} = payload_for(Place, S, Env),
            {Attributes, S2} = attributes_for(Rid, S1, Env),
            answer_with(Rid, Place, Attributes, Payload, S2#session{answered = Rid, held = Later}, Env)
    end.

payload_for(_, #session{queue = []} = S, _) -> {[], S};
payload_for(_, #session{rare = #{repeats := _}} = S, _) -> {[], S};
payload_for(Place, S, Env) ->
    case is_ready(S) of
        false -> {[], S};
        true ->
            case in_order(Place, S, Env) of
                {true, Free} -> take_queue(Free);
                {false, Waiting} -> {[], Waiting}
            end
    end.

%% As many payloads as max_concat and a reply's bytes allow, oldest first.
take_queue(#session{queue = Queue, queued = Bytes, max_concat = Max} = S)
  when Bytes =< ?MAX_REPLY_BYTES, Max =:= unlimited; Bytes =< ?MAX_REPLY_BYTES, length(Queue) =< Max ->
    {lists:reverse(Queue), S#session{queue = [], queued = 0}};
take_queue(#session{queue = Queue, max_concat = Max, queued = Queued} = S) ->
    {Now, Later, Bytes} = fitting(lists:reverse(Queue), Max, 0, []),
    {Now, S#session{queue = lists:reverse(Later), queued = Queued - Bytes}}.

fitting([Item | Rest] = Items, Max, Bytes, Now) ->
    case bytes(Item) + Bytes of
        More when Now =/= [], More > ?MAX_REPLY_BYTES; length(Now) >= Max -> {lists:reverse(Now), Items, Bytes};
        More -> fitting(Rest, Max, More, [Item | Now])
    end;
fitting([], _, Bytes, Now) -> {lists:reverse(Now), [], Bytes}.

attributes_for(Rid, #session{rare = Rare, received = Received} = S, #{now := _}) ->
    Creation = maps:get(creation, Rare, []),
    Ack = [{<<"ack">>, integer_to_binary(Received)} || is_map_key(acks, Rare), Creation =/= [] orelse Received =/= Rid],
    Report = case Rare of
                 #{report := Missed} ->
                     At = maps:get(Missed, maps:get(sent_at, Rare, #{}), now_ms()),
                     [{<<"report">>, integer_to_binary(Missed)}, {<<"time">>, integer_to_binary(now_ms() - At)}];
                 _ -> []
             end,
    {Creation ++ Ack ++ Report, S#session{rare = maps:without([creation, report], Rare)}}.

now_ms() -> erlang:monotonic_time(millisecond).

answer_with(Rid, Place, [], [], S, Env) ->
    keep(Rid, empty, act({answer, Place, 200, empty}, S#session{idle_since = maps:get(now, Env)}), Env);
answer_with(Rid, Place, Attributes, Payload, S, #{now := Now} = Env) ->
    {Body, Ends} = mod_megaphone_wrapper:body(Attributes, Payload),
    Said = act({answer, Place, 200, Body}, S#session{idle_since = Now}),
    case Ends of
        true -> finish(Said);
        false ->
            keep(Rid, Body, case Payload of [] -> Said; _ -> carry(Place, may_poll(Said, Now)) end, Env)
    end.

%% Replies are kept for as many requests as the client may have open, and one more: an empty reply may still be on its
%% way when the one after it has come and the client continues.
keep(Rid, Body, #session{kept = Kept, rare = Rare} = S, _) ->
    Some = lists:sublist([{Rid, Body} | Kept], requests(S) + 1),
    case Rare of
        #{acks := true} ->
            SentAt = maps:with([R || {R, _} <- Some], (maps:get(sent_at, Rare, #{}))#{Rid => now_ms()}),
            S#session{kept = Some, rare = Rare#{sent_at => SentAt}};
        _ -> S#session{kept = Some}
    end.

%% Answers everything with nothing in it, and lets the client be away for a while (section 10).
pause(Rid, Seconds, #session{rare = Rare} = S, Env) ->
    Paused = pause_through(Rid, S, Env),
    Paused#session{rare = (maps:without([early], Rare))#{pause => max(1, Seconds)}, idle_since = maps:get(now, Env)}.

pause_through(Rid, #session{answered = Answered, held = [#held{place = Place} | Later]} = S, Env) when Answered < Rid ->
    Told = case is_live(Place, Env) of
               true -> act({answer, Place, 200, empty}, S);
               false -> S
           end,
    pause_through(Rid, keep(Answered + 1, empty, Told#session{answered = Answered + 1, held = Later}, Env), Env);
pause_through(_, S, _) -> S.

%%% The end

%% The client ends it (section 13): the oldest request gets what there is, all others an empty answer.
bye(#session{c2s = C2S, queue = Queue} = S) ->
    {Body, _} = mod_megaphone_wrapper:body([{<<"type">>, <<"terminate">>}],
                                           [Item || Item <- lists:reverse(Queue), is_payload(Item)]),
    finish(answer_all(Body, empty, act({c2s, C2S, {xmlstreamend, <<"stream:stream">>}},
                                       S#session{queue = [], queued = 0}))).

is_payload({stanza, _}) -> true;
is_payload({features, _}) -> true;
is_payload(_) -> false.

answer_all(_, _, #session{held = []} = S) -> S;
answer_all(First, Others, #session{held = [#held{place = none} | Rest]} = S) ->
    answer_all(First, Others, S#session{held = Rest});
answer_all(First, Others, #session{held = [#held{place = Place} | Rest]} = S) ->
    answer_all(Others, Others, act({answer, Place, 200, First}, S#session{held = Rest})).

%% The session ends because of a defect of the engine, with the last input. Place is none if that was no request.
-spec broken(place() | none, session()) -> session().
broken(Place, S) -> fail('internal-server-error', Place, S).

%% The session ends with its node.
-spec shutdown(session()) -> session().
shutdown(#session{legacy = Legacy} = S) ->
    {200, Body} = mod_megaphone_wrapper:terminal('system-shutdown', Legacy),
    finish(answer_all(Body, Body, S)).

%% The session ends with a condition, because of the request at Place; all others are told that it was not they. A
%% client that has hung up is told nothing.
fail(_, none, S) -> finish(S);
fail(Condition, Place, #session{legacy = Legacy, held = Held} = S) ->
    {Status, Body} = mod_megaphone_wrapper:terminal(Condition, Legacy),
    finish(act({answer, Place, Status, Body}, S#session{held = [H || #held{place = P} = H <- Held, P =/= Place]})).

%% Nothing is known of the session from here on.
finish(#session{held = Held, c2s = C2S, legacy = Legacy, rare = Rare} = S0) ->
    {Status, Other} = mod_megaphone_wrapper:terminal('other-request', Legacy),
    S1 = lists:foldl(fun(#held{place = none}, Acc) -> Acc;
                        (#held{place = Place}, Acc) -> act({answer, Place, Status, Other}, Acc)
                     end, S0, Held),
    S2 = lists:foldl(fun({_, Place, Body}, Acc) -> act({answer, Place, 200, Body}, Acc) end, S1,
                     maps:get(repeats, Rare, [])),
    %% The stream first: messages that return to it must find that it has ended.
    S3 = case C2S of
             none -> S2;
             _ -> act({c2s, C2S, closed}, S2)
         end,
    S4 = bounce(S3),
    act(ended, S4#session{held = [], queue = [], queued = 0}).

%%% The requests that are held

find(Rid, #session{answered = Answered, held = Held}) ->
    case Rid - Answered of
        I when I >= 1, I =< length(Held) -> lists:nth(I, Held);
        _ -> none
    end.

%% Makes the request that has just come the one to answer for Rid.
attach(Rid, Place, Step, #session{answered = Answered, held = Held} = S, #{now := Now}) ->
    Missing = lists:duplicate(max(0, Rid - Answered - length(Held)), #held{place = none, since = Now, step = missing}),
    put_held(Rid, #held{place = Place, since = Now, step = Step}, S#session{held = Held ++ Missing}).

put_held(Rid, Entry, #session{answered = Answered, held = Held} = S) ->
    {Before, [_ | After]} = lists:split(Rid - Answered - 1, Held),
    S#session{held = Before ++ [Entry | After]}.

without(Key, #session{rare = Rare} = S) when is_map_key(Key, Rare) -> S#session{rare = maps:remove(Key, Rare)};
without(_, S) -> S.
