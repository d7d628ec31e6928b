package bosh

// phase is where a session stands in its life.
type phase uint8

const (
	// open: requests are processed.
	// next: ending (the service terminates it), ended (the client does, or an error or inactivity).
	open phase = iota
	// ending: the service has ended it, and its last word waits for a request to go out on.
	// next: ended (the word is out, or the client never came back for it).
	ending
	// ended: no longer known. A request for it is answered as if it had never been.
	ended
)

// absence is what is known of a client that has no request open.
type absence uint8

const (
	// present: a request is open, or was until its client hung up or had its answer: the next one is due.
	// next: cutOff, away.
	present absence = iota
	// cutOff: a link was lost, and the last open request with it. When the client can be back is the edge's affair.
	// next: present (it sends a request).
	cutOff
	// away: nothing has come for AwaySeconds, and the service has been told.
	// next: present.
	away
)

// Session is one client's session. It holds no goroutine, no timer and, while nothing is on its way, no buffer.
//
// Request ids fall into four ranges:
//
//	  too old  |      kept       |        held         |   the window   | too high
//	-----------+-----------------+---------------------+----------------+---------
//	           answered-len(kept) answered              received         received+requests
//
// Invariant: answered <= received, and len(held) >= received-answered.
type Session struct {
	Data any // the service's own; the engine does not look at it

	engine     *Engine
	next, prev *Session // neighbours in a bucket of the wheel
	slot       int64    // the wheel's tick at which the bucket is visited; 0: in none
	deadline   int64    // ms; when there is next something to do by the clock

	answered  uint64 // every request up to this one is answered
	received  uint64 // every request up to this one is processed
	confirmed uint64 // replies up to this one have been followed by a new request, so the client has had them
	held      []held // held[i] is request answered+1+i
	kept      []kept // replies given, request r in kept[r%len(kept)]
	queue     queue  // payloads for the client
	rare      *rare  // what few sessions need; nil as long as it can be

	carried carried // the last reply with payloads
	waitsOn *peer   // on whose list of waiting sessions, or in whose crowd, this one is

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
	wasEmpty   bool // the last new request was an empty one
	wasBare    bool // the last reply carried no payload
	dirty      bool // on the engine's list of sessions to settle
	told       bool // the service's Closed has been called
	waited     bool // what follows the last reply with payloads has had to wait
	crowded    bool // it waits for room on waitsOn
	absence    absence

	sid [sidBytes]byte

	// What hold=1, which is nearly every session, needs; a session with a larger window has its own slices.
	heldBuf [3]held
	keptBuf [3]kept
}

// rare is what few sessions need.
type rare struct {
	early     []earlyBody // bodies of requests that came before an older one
	repeats   []repeat    // repeated requests whose replies wait; at most one for each reply kept
	keys      *keys       // the key sequence, when the client uses one
	report    uint64      // request whose reply the client seems to have missed; 0: none
	pausedRID uint64      // the last pause request: its reply does not count among those kept
	condition Condition   // why the service ended the session
	final     []byte      // the payload that goes with it
}

// rarely returns s.rare, made if need be.
func (s *Session) rarely() *rare {
	if s.rare == nil {
		s.rare = new(rare)
	}
	return s.rare
}

// SID returns the session's identifier as the client knows it (without an edge's node tag).
func (s *Session) SID() string { return string(appendSID(nil, s.sid)) }

// Send queues a payload for the client: one well-formed element that declares every namespace it uses, but for the
// prefix "stream", which the engine declares where it is needed. It copies payload. Payloads reach the client in the
// order of the calls, on held requests at the end of the event if there are any. A client that leaves more than
// MaxQueuedBytes waiting has its session ended with remote-stream-error and <resource-constraint/>.
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

// EndBody keeps payloads that are sent later out of the body that carries those sent before. The client reads that body
// to its end before it sees the next.
func (s *Session) EndBody() { s.queue.endBody() }

// Terminate ends the session with condition c ("" for none) and, if it is not empty, a payload that goes after
// everything sent before: for remote-stream-error the <stream:error/>. It copies payload. The client is told on its
// oldest held request at the end of the event, or else with its next request; Closed is called at the end of the event.
func (s *Session) Terminate(c Condition, payload []byte) {
	if s.phase != open {
		return
	}
	s.phase = ending
	r := s.rarely()
	r.condition, r.final = c, append([]byte(nil), payload...)
	s.engine.touch(s)
}

// Undelivered takes the payloads that the client has not had, oldest first: for the service to keep, in Closed. First
// come those of replies that nothing has followed since, so the client has probably not had them, but may have; then
// those that were never sent. A session that waits to tell its client why it ended will not send what was taken.
// Payloads are valid until yield returns.
func (s *Session) Undelivered(yield func(payload []byte)) {
	e := s.engine
	var x splitter // the engine's own may be in the middle of a request
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

// isPolling reports a session whose requests are never held (XEP-0124, section 12).
func (s *Session) isPolling() bool { return s.hold == 0 }

// end takes the session out of the engine. Its requests have been answered, but for repeated ones.
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
