package edge

import (
	"megaphone/codec/boshbody"
	"megaphone/codec/frame"
	"megaphone/codec/http1"
	"megaphone/loop"
	"megaphone/stats"
	"megaphone/table"
)

// Bits of table.Hold.Flags.
const (
	holdCreation uint8 = 1 << iota // a session creation: the sid in its reply gets the suffix
	holdLegacy                     // of a creation: the client sent no `ver`
	holdClose                      // the connection closes after the reply
	holdKeep                       // an HTTP/1.0 client that asked for keep-alive
	holdReady                      // the response is stowed (loop.Reactor.Stow) until its turn
	holdOrphan                     // no origin has it, or no longer
	holdReleased                   // the origin has been asked to release it
	holdSampled                    // its answer goes to the access log

	// holdAway: no origin has it, and it is answered at tick Due unless its origin returns before. holdReleased would
	// have no meaning without an origin, so its bit is free.
	holdAway = holdOrphan | holdReleased
	// holdQueued: of one that is away, it came when its origin was, into that origin's queue. Creations do not.
	holdQueued = holdLegacy
)

// holdFlags returns the flags of a hold that the head decides.
func (q *request) holdFlags() uint8 {
	switch {
	case !q.head.KeepAlive:
		return holdClose
	case q.head.Minor == 0:
		return holdKeep
	}
	return 0
}

// park holds a request whose body tag has been parsed, and appends its frame to the batch of n's link. It cuts q.suffix
// off the sid. The hold is nil if the request has been refused.
func (w *worker) park(q *request, n *node, flags uint8) (table.Handle, *table.Hold) {
	w.addr = q.address().AppendTo(w.addr[:0])
	before, after := q.contents()
	var query []byte
	if n.takesQuery {
		query = q.head.Query
	}
	size := frame.PrefixBytes(w.addr, query) + len(before) + len(after)
	if size > n.max {
		w.counters[stats.TooLarge]++
		w.refuse(q, w.styles.usualHead(q, 413), nil)
		return 0, nil
	}
	h, hold := w.hold(q, uint8(n.link.Index), flags)
	if hold == nil {
		return 0, nil
	}
	w.handOver(h, hold, n, size, w.addr, query, before, after)
	if q.Held == 1 {
		w.arm(q.conn)
	}
	return h, hold
}

// handOver gives a hold to n: it appends the frame of the request to the batch of n's link. size is that of its
// contents. It borrows the rest.
func (w *worker) handOver(h table.Handle, hold *table.Hold, n *node, size int, addr, query, before, after []byte) {
	hold.Link = uint8(n.link.Index)
	hold.Flags &^= holdOrphan
	n.held++
	q := frame.AppendPrefix(frame.AppendHeader(n.link.Batch, uint64(h), size), addr, query)
	n.link.Batch = append(append(q, before...), after...)
	n.link.Dirty()
	hold.SetStart(w.r.Micros())
	w.counters[stats.FramesOut]++
	w.counters[stats.Parked]++
}

// contents returns the part of the body that goes to the origin, in two pieces.
func (q *request) contents() (before, after []byte) {
	// The prolog is cut too, so contents begin with "<body" whatever the client put before it.
	cut := q.tag.Start
	if q.suffix.Bytes > 0 {
		cut = q.tag.SIDEnd
	}
	return q.body[q.tag.Start : cut-q.suffix.Bytes], q.body[cut:]
}

// hold takes a hold for a request, in the style of q.suffix.Content. If none is free, it refuses the request.
func (w *worker) hold(q *request, link uint8, flags uint8) (table.Handle, *table.Hold) {
	style, unlearnt := w.styles.of(q.head.Origin, q.suffix.Content)
	h, hold, ok := w.holds.Park(q.Conn, q.index, w.r.Now())
	if !ok {
		w.counters[stats.TableFull]++
		w.refuse(q, w.styles.at(style).head(503), nil, w.retryAfter())
		return 0, nil
	}
	hold.Link, hold.Style, hold.Flags = link, style, flags|q.holdFlags()
	w.styles.use(style, w.r.Now())
	if unlearnt != "" {
		if w.unlearnt == nil {
			w.unlearnt = make(map[table.Handle]string)
		}
		w.unlearnt[h] = unlearnt
	}
	w.access.keepNote(q, h, hold)
	return h, hold
}

// unpark frees the connection's first hold.
func (w *worker) unpark(c conn, hold *table.Hold) {
	if away(hold.Flags) {
		w.clearAway(hold)
	} else {
		w.takeBack(hold, false)
	}
	if hold.Flags&holdSampled != 0 {
		h, _ := w.holds.First(c.Conn)
		w.access.dropNote(h, hold)
	}
	if len(w.unlearnt) > 0 {
		h, _ := w.holds.First(c.Conn)
		delete(w.unlearnt, h)
	}
	w.styles.drop(hold.Style)
	w.holds.Pop(c.Conn)
}

// takeBack takes a hold from its node, if that has it. Nothing else undoes handOver. The node has answered, the client
// waits no longer (sendGone), or the link is lost, with lost set.
func (w *worker) takeBack(hold *table.Hold, lost bool) {
	if hold.Flags&holdOrphan != 0 {
		return
	}
	if hold.Flags&holdCreation != 0 {
		w.endCreation(hold, lost)
	}
	hold.Flags = hold.Flags&^holdReleased | holdOrphan
	w.byLink[hold.Link].held--
}

// reply answers the hold that an origin's frame names. It borrows contents.
func (w *worker) reply(n *node, id uint64, status int, body []byte) {
	h := table.Handle(id)
	hold := w.holds.Resolve(h)
	if hold == nil || int(hold.Link) != n.link.Index || hold.Flags&holdOrphan != 0 {
		w.counters[stats.StaleReplies]++
		return
	}
	creation := hold.Flags&holdCreation != 0
	if c := w.conn(hold.Conn); c.phase() == phaseStream {
		if !creation {
			w.answerStream(n, c, status, body)
			return
		}
		status, body = 503, nil // the origin does not accept it
	}
	w.counters[stats.Released]++
	took := w.heldMicros(hold, w.heardAt)
	w.holdTimes.Observe(took)
	if creation {
		w.created(n, hold, took, status, body)
	}
	w.takeBack(hold, false)
	w.answerHold(h, hold, status, body)
	if creation {
		w.admitWaiting() // there is room for one more
	}
}

// heldMicros returns how long an unanswered hold has been held.
func (w *worker) heldMicros(hold *table.Hold, now uint32) uint64 {
	if ticks := w.r.Now() - hold.Since; ticks > maxMicrosTicks {
		return uint64(ticks) * tickMicros
	}
	if c := w.creations.opening(hold); c != nil {
		return uint64(now - c.micros)
	}
	return uint64(now - hold.Start())
}

// maxMicrosTicks is half of the period after which loop.Reactor.Micros wraps. Longer times are measured in ticks.
const maxMicrosTicks = 1 << 31 / tickMicros

const tickMicros = loop.TickMillis * 1000

// creationReply returns the reply to a session creation as its client gets it. It appends a suffix to the sid and
// removes the encodings that the server accepts (XEP-0124 section 7), because the edge accepts none. It borrows body,
// and its result is valid until the next call.
func (w *worker) creationReply(h table.Handle, hold *table.Hold, body []byte) []byte {
	var b boshbody.StartTag
	if err := boshbody.ParseReply(&b, body); err != nil || b.SID == nil {
		return body
	}
	tag := w.sidSuffix(h, hold, b.SID)
	p := w.creation[:0]
	if b.AcceptStart < b.SIDEnd {
		p = append(append(p, body[:b.AcceptStart]...), body[b.AcceptEnd:b.SIDEnd]...)
		p = append(append(p, tag...), body[b.SIDEnd:]...)
	} else {
		p = append(append(p, body[:b.SIDEnd]...), tag...)
		p = append(append(p, body[b.SIDEnd:b.AcceptStart]...), body[b.AcceptEnd:]...)
	}
	w.creation = p
	return p
}

// sidSuffix returns the suffix for the sid in the reply to a session creation.
func (w *worker) sidSuffix(h table.Handle, hold *table.Hold, sid []byte) []byte {
	var of []byte
	if w.tags {
		of = w.byLink[hold.Link].tag[:]
	}
	w.addr = boshbody.AppendSuffix(w.addr[:0], of, hold.Flags&holdLegacy != 0, w.contentOf(h, hold))
	if _, ok := boshbody.ParseSuffix(sid, w.tags); ok && len(w.addr) == 0 {
		w.addr = append(w.addr, '.') // an empty suffix protects a sid that happens to end like one
	}
	return w.addr
}

func connectionOf(flags uint8) http1.Connection {
	switch {
	case flags&holdClose != 0:
		return http1.ConnectionClose
	case flags&holdKeep != 0:
		return http1.ConnectionKeepAlive
	}
	return http1.ConnectionDefault
}
