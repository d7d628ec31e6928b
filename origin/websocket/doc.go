// Package websocket implements XMPP over WebSocket (RFC 7395) for a service, with stream management (XEP-0198). It does
// no I/O and has no clock: the streams of a link and the time pass through its methods.
//
//	                Engine                              Client (the service's)
//	Opened(s)  -->  session --> <open/>         ------> Attach, Restart
//	Message(s)      |           elements        ------> Stanza(element)
//	Ended(s)        |           <enable/> <r/> <resume/>
//	Send(s)    <--  queue <---------------------------- Session.Send(payload)
//	Tick(now)       absent sessions: away, expired
//
// # Life
//
// A session begins with a stream and its <open/>, whose answer is <open/> and the service's features. After the log-in
// the client sends <open/> again. Once it is bound another <open/> is an error. <close/> ends the session, and so does
// the end of the stream, unless the client has enabled stream management with resumption. Then the session is absent:
// it waits ResumeSeconds for a stream that resumes it, over the same link or any other. After AwaySeconds the service
// is told (Client.Away).
//
// # Reliability
//
// With stream management each stanza to the client is kept until the client has acknowledged it. A resumed stream gets
// those that it has not. Stanzas from the client are counted when the service has taken them, so each takes effect
// once. The engine asks for an acknowledgement at the end of a turn in which it has sent stanzas, unless one is due
// already. A session is resumed by its token after a log-in to the same account, or by a guest as a guest, whose
// account lasts for a session only. When a session ends, the service can take the payloads that the client has not
// acknowledged (Session.Undelivered).
//
// # Bounds
//
// There are at most MaxSessions sessions with a stream, and twice as many with those that are absent. A stream that has
// not logged in ends after NegotiationSeconds. What waits for a client, or for its acknowledgement, has MaxQueuedBytes;
// beyond them the session ends. A message is one element, checked as payloads of BOSH are.
//
// # Costs
//
// A session is an object of some 160 bytes beside its stream, and has no buffer while nothing waits.
package websocket
