package bosh

// phase is the state of a session.
type phase uint8

const (
	// open: requests are processed. next: ending (the service terminates it), ended (its client, an error or inactivity
	// ends it).
	open phase = iota
	// ending: the service has ended it, and its final payload waits for a request. next: ended (the payload is sent, or
	// the client never came back).
	ending
	// ended: no longer known. A request for it is answered as if it had never existed.
	ended
)

// absence is the state of a client without an open request.
type absence uint8

const (
	// present: a request is open, or its client has disconnected or got an answer and the next one is due. next:
	// cutOff, away.
	present absence = iota
	// cutOff: the last open request was lost with its link. How soon the client can return depends on the edge. next:
	// present (it sends a request).
	cutOff
	// away: no request for AwaySeconds, and the service has been told. next: present.
	away
)

// Session is one client's session. It holds no goroutine, no timer and, while idle, no buffer.
//
// Request ids fall into five ranges:
//
//	  too old  |      kept       |        held         |   the window   | too high
//	-----------+-----------------+---------------------+----------------+---------
//	           answered-len(kept) answered              received         received+requests
//
// Invariant: answered <= received, and len(held) >= received-answered.
type Session struct {
	Data any // the service's own; the engine ignores it

	engine     *Engine
	next, prev *Session // neighbours in a bucket of the wheel
	slot       int64    // the wheel's tick at which the bucket is visited; 0: in none
	deadline   int64    // ms; the next time to act

	answered  uint64 // every request up to this one is answered
	received  uint64 // every request up to this one is processed
	confirmed uint64 // replies up to this one preceded a new request, so the client has received them
	held      []held // held[i] is request answered+1+i
	kept      []kept // replies given, request r in kept[r%len(kept)]
	queue     queue  // payloads for the client
	rare      *rare  // state that few sessions need; nil while unused

	carried carried // the last reply with payloads
	waitsOn *peer   // the peer whose waiting or crowd contains this session

	idleSince int64 // ms; the last reply, or the last time that a held request's client went away
	lastAt    int64 // ms; arrival of the newest request that was processed

	inactivity int32 // seconds
	pausedFor  int32 // seconds; the inactivity allowed by a pause; 0 when not paused
	wait       uint16
	hold       uint8 // 0: a polling session
	requests   uint8
	resends    uint8 // repeated requests since the last new one
	phase      phase
	legacy     bool // the client sent no ver: it knows HTTP statuses instead of conditions
	acks       bool // acknowledgements are in use, both ways
	wasEmpty   bool // the last new request was empty
	wasBare    bool // the last reply carried no payload
	dirty      bool // on the engine's list of sessions to settle
	told       bool // the service's Closed has been called
	waited     bool // what follows the last reply with payloads has had to wait
	crowded    bool // it waits for room on waitsOn
	absence    absence

	sid [sidBytes]byte

	// Enough for hold=1, which nearly every session has. A session with a larger window has its own slices.
	heldBuf [3]held
	keptBuf [3]kept
}

// rare is the state that few sessions need.
type rare struct {
	early     []earlyBody // bodies of requests that came before an older one
	repeats   []repeat    // repeated requests whose replies wait; at most one for each kept reply
	keys      *keys       // the key sequence, if the client uses one
	report    uint64      // request whose reply the client seems to have missed; 0: none
	pausedRID uint64      // the last pause request, whose reply does not count among those kept
	condition Condition   // why the service ended the session
	final     []byte      // the accompanying payload
}

// rarely returns s.rare, and creates it if needed.
func (s *Session) rarely() *rare {
	if s.rare == nil {
		s.rare = new(rare)
	}
	return s.rare
}

// sessionID returns the session's identifier as the client knows it, without an edge's tag.
func (s *Session) sessionID() string { return string(appendSID(nil, s.sid)) }

// Send queues a payload for the client: one well-formed element that declares every namespace it uses. The prefix
// "stream" is an exception; the engine declares it where needed. Send copies payload. Payloads reach the client in the
// order of the calls, on held requests at the end of the event if there are any. If more than MaxQueuedBytes wait for a
// client, its session ends with remote-stream-error and <resource-constraint/>.
func (s *Session) Send(payload []byte) {
	if s.phase != open || len(payload) == 0 {
		return
	}
	e := s.engine
	if s.queue.bytes()+len(payload) > e.cfg.MaxQueuedBytes {
		e.stats.QueueOverflows++
		s.Terminate(RemoteStreamError, resourceConstraintError)
		return
	}
	s.queue.push(&e.buffers, payload)
	e.touch(s)
}

// EndBody makes later payloads go into another body than earlier ones. The client processes the earlier body to its end
// before it sees the next.
func (s *Session) EndBody() { s.queue.endBody() }

// Terminate ends the session with condition c ("" for none). A payload, if not empty, follows everything sent before:
// for remote-stream-error the <stream:error/>. Terminate copies payload. The client gets both on its oldest held
// request at the end of the event, or else with its next request. Closed is called at the end of the event.
func (s *Session) Terminate(c Condition, payload []byte) {
	if s.phase != open {
		return
	}
	s.phase = ending
	r := s.rarely()
	r.condition, r.final = c, append([]byte(nil), payload...)
	s.engine.touch(s)
}

// Undelivered removes the payloads that the client has not received, oldest first, so that the service can keep them in
// Closed. First come those of replies that no request has followed: the client has probably not received them, but may
// have. Then come those that were never sent. A session that still has to report its end to its client will not send
// them. Each payload is valid until yield returns.
func (s *Session) Undelivered(yield func(payload []byte)) {
	e := s.engine
	var x splitter // the engine's own may be in use for a request
	for rid := s.confirmed + 1; rid <= s.answered; rid++ {
		if k := s.recall(rid); k != nil && len(k.body) > 0 {
			x.each(k.body, yield)
		}
	}
	s.confirmed = s.answered
	for p, _ := s.queue.pop(); p != nil; p, _ = s.queue.pop() {
		yield(p)
	}
	s.queue.release(&e.buffers)
}

// isPolling reports whether the session's requests are never held (XEP-0124, section 12).
func (s *Session) isPolling() bool { return s.hold == 0 }

// end removes the session from the engine. All its requests but repeated ones have been answered.
func (s *Session) end() {
	e := s.engine
	s.endRepeats()
	for i := range s.held {
		if h := &s.held[i]; h.peer != nil {
			delete(h.peer.live, h.id)
			h.peer = nil
		}
	}
	e.wheel.disarm(s)
	delete(e.sessions, s.sid)
	e.stats.Sessions = int64(len(e.sessions))
	s.phase = ended
	s.tellClosed()
	s.queue.release(&e.buffers)
	s.held, s.kept, s.rare, s.carried = nil, nil, nil, carried{}
	s.keptBuf = [3]kept{}
}

// tellClosed calls the service's Closed, once.
func (s *Session) tellClosed() {
	if !s.told {
		s.told = true
		s.engine.svc.Closed(s)
	}
}
