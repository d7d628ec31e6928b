package load

import "megaphone/codec/ws"

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
	cRequests  // requests sent, including repeated ones; over WebSocket: handshakes and elements
	cPolls     // requests without payload
	cResent    // requests sent again with the same rid; over WebSocket: stanzas after a resumption
	cResponses // complete responses; over WebSocket: elements
	cEarly     // empty answers that came at once without a reason
	cHurried   // polls delayed because of that
	cResumed   // TLS handshakes that resumed a session

	cStreams      // WebSockets opened
	cOpenNow      // gauge: WebSockets open
	cPings        // of the server, each answered
	cContinued    // sessions resumed on another WebSocket (XEP-0198)
	cNotContinued // and those that the server would not resume
	// WebSockets ended by the server, by the code of its close frame; see closeNames.
	cCloseNormal
	cCloseGoingAway
	cCloseProtocol
	cCloseData
	cCloseNone
	cCloseLost
	cClosePayload
	cClosePolicy
	cCloseTooLarge
	cCloseInternal
	cCloseRestart
	cCloseBusy
	cCloseOther

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
	cReset        // connections reset or closed by the server with a request, or a WebSocket without a close frame
	cClosed       // WebSockets that the server closed with a close frame, unasked
	cOutOfSockets // connection attempts without a free descriptor, port or slot
	cTimeouts     // requests without an answer in time
	cMalformed    // responses that are not HTTP; over WebSocket: frames, elements
	cStray        // bytes behind a response, or without a request
	cUnavailable  // responses 5xx and 429
	cRejected     // responses 4xx, which end a session; over WebSocket: any but 101, 429 and 5xx
	cTerminated   // unrequested bodies of type terminate; over WebSocket: <close/> and stream errors
	cRecoverable  // bodies of type error
	cUnexpected   // replies with which a log-in cannot continue
	numCounters
)

// counterNames are the names in Report.Requests and Report.Errors.
var counterNames = map[counter]string{
	cConnects: "connections", cRequests: "requests", cPolls: "polls", cResent: "resent", cResponses: "responses",
	cEarly: "early_empty", cHurried: "polls_put_off", cResumed: "tls_resumed",

	cRefused: "connection_refused", cUnreached: "connection_timeout", cReset: "connection_lost",
	cClosed:       "websocket_closed",
	cInsecure:     "tls_failed",
	cOutOfSockets: "out_of_sockets", cTimeouts: "response_timeout", cMalformed: "malformed_response",
	cStray: "stray_bytes", cUnavailable: "status_5xx", cRejected: "status_4xx", cTerminated: "terminated",
	cRecoverable: "recoverable_error", cUnexpected: "login_failed",
}

// closeNames are the codes in Report.Streams.
var closeNames = map[counter]string{
	cCloseNormal: "1000", cCloseGoingAway: "1001", cCloseProtocol: "1002", cCloseData: "1003", cCloseNone: "1005",
	cCloseLost: "1006", cClosePayload: "1007", cClosePolicy: "1008", cCloseTooLarge: "1009", cCloseInternal: "1011",
	cCloseRestart: "1012", cCloseBusy: "1013", cCloseOther: "other",
}

// closeCounters are the counters of close codes.
var closeCounters = map[ws.Code]counter{
	ws.CodeNormal: cCloseNormal, ws.CodeGoingAway: cCloseGoingAway, ws.CodeProtocolError: cCloseProtocol,
	ws.CodeUnsupportedData: cCloseData, ws.CodeNone: cCloseNone, ws.CodeLost: cCloseLost,
	ws.CodeInvalidPayload: cClosePayload, ws.CodePolicy: cClosePolicy, ws.CodeTooLarge: cCloseTooLarge,
	ws.CodeInternalError: cCloseInternal, ws.CodeServiceRestart: cCloseRestart, ws.CodeTryAgainLater: cCloseBusy,
}

// countClose counts the end of a WebSocket by its code.
func (w *worker) countClose(code ws.Code) {
	if c, ok := closeCounters[code]; ok {
		w.counters[c]++
		return
	}
	w.counters[cCloseOther]++
}
