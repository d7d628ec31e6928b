package bosh

// Open holds what a client asked for when it opened its session.
type Open struct {
	To      string // the domain with its references resolved; never empty
	From    string // the client's claimed address, or ""
	Lang    string // xml:lang, or ""
	Route   string // "proto:host:port", or ""; a single server may ignore it
	Ver     string // the agreed BOSH version: the lower of the client's and this package's
	Version string // xmpp:version, or ""
	Addr    string // the client's address as the edge saw it, or ""
	Secure  bool   // the client asked for a secure path to the server
}

// Service is the application behind the sessions. The engine calls every method on its goroutine. A method may call
// Send and Terminate of any session. Both only queue, so no callback occurs before the method has returned.
type Service interface {
	// Open accepts a new session by returning the empty Condition. Payloads sent to it meanwhile, such as
	// <stream:features>, go out with the creation reply. Any other Condition refuses the session, and Closed is not
	// called.
	Open(s *Session, o Open) Condition

	// Restart reports that the client opened a new stream in the session (XEP-0206). The service should send features
	// again.
	Restart(s *Session)

	// Stanza receives one child element of a <body>. It is well-formed and self-contained: it declares every namespace
	// prefix it uses, and an element without a namespace of its own has xmlns='jabber:client'. Payloads come in the
	// order of their request ids, each exactly once. It borrows payload until return.
	Stanza(s *Session, payload []byte)

	// Closed is called once for each session that Open accepted, after it has ended for any reason. It may call
	// s.Undelivered. Send and Terminate then do nothing.
	Closed(s *Session)
}

// absences is an optional interface of a Service that tracks absent clients. A browser disappears when its page is
// closed, while its session waits for it until inactivity. The loss of a link does not count as absence.
type absences interface {
	// Away reports that a client that neither polls nor pauses has had no open request for AwaySeconds.
	Away(s *Session)

	// Back reports that the client of such a session has sent a request again. It precedes the request's stanzas.
	Back(s *Session)
}
