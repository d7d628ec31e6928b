package bosh

// Replier takes the replies of one link: *link.Link is one. Repliers are compared with ==.
type Replier interface {
	// Reply answers request id. It copies body.
	Reply(id uint64, status int, body []byte)
	// Mark returns a number for all replies given so far, and Passed reports whether they have reached their clients'
	// connections. Fence has Engine.Passed called when they have.
	Mark() uint32
	Passed(mark uint32) bool
	Fence(mark uint32)
	// Full reports whether payloads are to wait: too much is on its way to the edge. Engine.Room is called when it is
	// not any more.
	Full() bool
}

// Open is what a client asked for when it opened its session.
type Open struct {
	To      string // the domain, as written but with references resolved; never empty
	From    string // who the client says it is, or ""
	Lang    string // xml:lang, or ""
	Route   string // "proto:host:port", or ""; a single server may ignore it
	Ver     string // the BOSH version that is spoken from here on: the lower of the client's and ours
	Version string // xmpp:version, or ""
	Addr    string // the client's address as the edge saw it, or ""
	Secure  bool   // the client asked that the way to the server be secure
}

// Service is what lies behind the sessions. Every method is called on the engine's goroutine. A method may call Send
// and Terminate of any session: they only queue, and nothing comes back in before the method has returned.
type Service interface {
	// Open takes a new session. The empty Condition accepts it; what the service Sends to it meanwhile, such as
	// <stream:features>, goes out with the creation reply. Any other Condition refuses it, and Closed is not called.
	Open(s *Session, o Open) Condition

	// Restart is called when the client opens a new stream in the session (XEP-0206): time to send features again.
	Restart(s *Session)

	// Stanza takes one child element of a <body>: well-formed, and complete in itself. Every namespace prefix in it
	// is declared in it, and an element that had no namespace of its own has xmlns='jabber:client'. Payloads come
	// in the order of their request ids, each exactly once. It borrows payload until return.
	Stanza(s *Session, payload []byte)

	// Closed is called once for each session that Open accepted, when it has ended for whatever reason. It is the
	// time to ask for s.Undelivered; afterwards, Send and Terminate do nothing.
	Closed(s *Session)
}

// Absences is what a Service also implements if it wants to know of clients that stay away, as a browser does when its
// page is closed, while their sessions wait for them until inactivity. A link that is lost says nothing of clients.
type Absences interface {
	// Away is called when a client that neither polls nor pauses has had no request open for AwaySeconds.
	Away(s *Session)

	// Back is called when the client of such a session sends a request after all, before its stanzas.
	Back(s *Session)
}
