%%% Replaces ejabberd's BOSH engine: the registered process `engine` gets each request and returns the answer.
-module(ejabberd_bosh).
-export([process_request/3]).

process_request(<<"<echo", _/binary>> = Body, _, xml) ->
    {200, <<"An odd phrase">>, [], [Body]};
process_request(Body, Address, xml) ->
    engine ! {request, self(), Body, Address},
    receive
        {answer, Answer} -> Answer;
        {fail, Reason} -> error(Reason);
        {raise, Reason, Args} -> erlang:raise(error, Reason, [{?MODULE, decode, Args, []}])
    end.
