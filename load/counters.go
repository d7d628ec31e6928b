package load

// counter names one of a worker's counters.
type counter uint8

const (
	cStarted counter = iota // sessions whose creation has begun
	cReached                // sessions that came up, each counted once
	cFailed                 // sessions given up before they came up
	cLost                   // sessions that ended unasked after they came up
	cRenewed                // sessions that ended unasked in a storm
	cEnded                  // sessions ended by this program
	cUpNow                  // gauge: sessions up
	cWaiting                // gauge: sessions in a back-off
	cOpening                // gauge: connection attempts in progress
	cIdle                   // gauge: connections without a request
	cCalling                // gauge: reactors that have not sent all of their broadcast
	cSockets                // gauge: connections

	cConnects  // connections made
	cRequests  // requests sent, including repeated ones
	cPolls     // requests without payload
	cResent    // requests sent again with the same rid
	cResponses // complete responses
	cEarly     // empty answers that came at once without a reason
	cHurried   // polls delayed because of that
	cResumed   // TLS handshakes that resumed a session

	cSent       // messages handed to the server
	cDelivered  // messages received, each counted once
	cDuplicated // received again
	cReordered  // received later than a younger one of the same author
	cMisplaced  // received by the wrong session
	cBounced    // returned to their author
	cForeign    // from another run
	cUnsendable // not sent: no eligible pair of sessions was found

	cRefused      // connection attempts refused
	cUnreached    // connection attempts without an answer in time
	cInsecure     // TLS handshakes that failed, and bad records
	cReset        // connections reset, or closed by the server while it had a request
	cOutOfSockets // connection attempts without a free descriptor, port or slot
	cTimeouts     // requests without an answer in time
	cMalformed    // responses that are not HTTP
	cStray        // bytes behind a response, or without a request
	cUnavailable  // responses 5xx and 429
	cRejected     // responses 4xx, which end a session
	cTerminated   // unrequested bodies of type terminate
	cRecoverable  // bodies of type error
	cUnexpected   // replies with which a log-in cannot continue
	numCounters
)

// counterNames are the names in Report.Requests and Report.Errors.
var counterNames = map[counter]string{
	cConnects: "connections", cRequests: "requests", cPolls: "polls", cResent: "resent", cResponses: "responses",
	cEarly: "early_empty", cHurried: "polls_put_off", cResumed: "tls_resumed",

	cRefused: "connection_refused", cUnreached: "connection_timeout", cReset: "connection_lost",
	cInsecure:     "tls_failed",
	cOutOfSockets: "out_of_sockets", cTimeouts: "response_timeout", cMalformed: "malformed_response",
	cStray: "stray_bytes", cUnavailable: "status_5xx", cRejected: "status_4xx", cTerminated: "terminated",
	cRecoverable: "recoverable_error", cUnexpected: "login_failed",
}
