package edge

import (
	"bytes"
	"cmp"

	"megaphone/codec/boshbody"
	"megaphone/codec/frame"
	"megaphone/codec/ws"
	"megaphone/config"
	"megaphone/stats"
	"megaphone/table"
)

// A request that begins a WebSocket is held like a session creation: it counts as one at the origin that it goes to, it
// waits in order for one with room, and is answered 503 if there is none. What the origin gets is the opening of a
// stream. When the origin accepts it, the hold stays, the client gets 101, and the stream is open (stream.go).
//
// Where a creation has its body, an opening that waits has the key of the handshake before its frame's contents.

// keyBytes is the length of a handshake's key.
const keyBytes = 24

// upgrade begins a stream. The web origin must be one whose pages may read answers.
func (w *worker) upgrade(q *request) {
	if q.head.Origin != nil && !w.styles.allows(q.head.Origin) {
		w.counters[stats.SitesRefused]++
		w.own(q, &w.fixed.foreignSite)
		return
	}
	key, refusal := ws.ParseRequest(&q.head, q.raw)
	switch {
	case refusal != nil:
		w.counters[stats.HandshakesRefused]++
		w.own(q, w.fixed.handshakes[refusal])
	case q.Held > 0:
		w.counters[stats.HandshakesRefused]++
		w.own(q, &w.fixed.pipelined)
	case w.leaving.draining:
		w.retryLater(q, nodeAway)
	case !w.countStream(q):
		w.answer(q, w.styles.usualHead(q, 429), nil, w.retryAfter())
	default:
		w.beginStream(q, key)
		w.uncountStream(q)
	}
}

// countStream counts the connection for the client's address, if that is behind a trusted proxy: from here on it has no
// other client. It reports whether the limits allow it.
func (w *worker) countStream(q *request) bool {
	g := w.gate
	if g == nil || g.table == nil || q.client == q.Peer || g.entries[q.index] != 0 || g.exempt.Contains(q.client) {
		return true
	}
	return w.openEntry(q.index, q.client)
}

// uncountStream undoes countStream if no stream has begun. The proxy's connection carries other clients' requests too.
func (w *worker) uncountStream(q *request) {
	if w.gate != nil && q.phase() != phaseStream && q.client != q.Peer {
		w.gate.release(q.index)
	}
}

// hosting returns the bits of the nodes for the clients of a host: those of that domain, or all if no node serves it.
// The domain itself is in the client's first message, when an origin has been chosen.
func (all nodes) hosting(host []byte) (bits uint64) {
	var room [config.MaxDomain]byte
	if bits = all.serving(config.AppendHostName(room[:0], host)); bits == 0 {
		bits = all.serving(nil)
	}
	return bits
}

// takingStreams returns the bits of the nodes that take streams, or may when they are up.
func (w *worker) takingStreams() (bits uint64) {
	for _, n := range w.nodes {
		if n.window > 0 || n.stage != stageUp {
			bits |= n.bit
		}
	}
	return bits
}

// beginStream opens a stream at an origin that the edge picks, or queues it until an origin has room.
func (w *worker) beginStream(q *request, key []byte) {
	nodes := w.nodes.hosting(q.head.Host)
	able := nodes & w.takingStreams()
	if able == 0 {
		w.counters[stats.StreamsUnsupported]++
		w.own(q, &w.fixed.noStreams)
		return
	}
	n, verdict := w.pick(able)
	if verdict > nodeBusy {
		w.retryLater(q, verdict)
		return
	}
	q.suffix = boshbody.Suffix{}
	contents := w.opening(q, key)
	trial, ok := false, verdict == nodeReady && !w.overtakes(n, nodes, true)
	if ok && len(contents)-keyBytes > n.max {
		w.counters[stats.TooLarge]++
		w.refuse(q, w.styles.usualHead(q, 413), nil)
		return
	}
	if ok {
		trial, ok = w.reserve(n)
	}
	if !ok && !w.mayQueue(nodes, frame.HeaderBytes+len(contents), true) {
		w.retryLater(q, nodeBusy)
		return
	}
	h, hold := w.hold(q, linkQueue, holdCreation|holdClose|holdOrphan)
	if hold == nil {
		if ok {
			n.unreserve(trial)
		}
		return
	}
	w.makeStream(q)
	if ok {
		w.sendOpening(h, hold, n, contents, trial)
	} else {
		address, rest, _ := bytes.Cut(contents, []byte(" ")) // as frames of requests are kept
		w.enqueue(h, hold, nodes, true, kept{size: frame.HeaderBytes + len(contents), addr: address, before: rest})
	}
	w.arm(q.conn)
}

// opening returns the key and the contents of the frame that opens the stream of q. They are valid until the next call
// of creationReply.
func (w *worker) opening(q *request, key []byte) []byte {
	w.addr = q.address().AppendTo(w.addr[:0])
	w.path = append(w.path[:0], q.head.Path...)
	if len(q.head.Query) > 0 {
		w.path = append(append(w.path, '?'), q.head.Query...)
	}
	w.creation = append(w.creation[:0], key...)
	w.creation = frame.AppendOpen(w.creation,
		&frame.Open{Address: w.addr, Host: q.head.Host, Path: w.path, Origin: q.head.Origin})
	return w.creation
}

// makeStream turns the connection of q into a stream. A client should send nothing before it is open. What it sends
// nevertheless waits, and pauses the connection (takeMessages). Others are read, so that it is seen if they leave.
func (w *worker) makeStream(q *request) {
	if w.streams == nil {
		w.streams = make([]stream, w.r.Capacity()+1)
	}
	w.streams[q.index] = stream{}
	w.r.SetPeer(q.index, q.address())
	q.setPhase(phaseStream)
}

// sendOpening hands an opening, which its key precedes, to a node.
func (w *worker) sendOpening(h table.Handle, hold *table.Hold, n *node, keyed []byte, trial bool) {
	key, contents := keyed[:keyBytes], keyed[keyBytes:]
	o, err := frame.ParseOpen(contents)
	if err != nil {
		panic("edge: an opening that waited is malformed: " + err.Reason)
	}
	w.handOver(h, hold, n, len(contents), contents[:1+len(o.Address)], nil, nil, contents[len("+ ")+len(o.Address):])
	w.creations.track(h, hold, n, w.common.served.hash(o.Host), trial, w.r.Now())
	w.creations.opening(hold).key = [keyBytes]byte(key)
}

// acceptStream opens a stream, because its origin has accepted it.
func (w *worker) acceptStream(n *node, c conn, h table.Handle, hold *table.Hold) {
	opened := w.creations.opening(hold)
	key, took := opened.key, w.heldMicros(hold, w.heardAt)
	n.creationTimes.Observe(took)
	opened.health.answered(took, w.micros())
	w.settle(opened, outcomeGood)
	w.endCreation(hold, false)
	hold.Flags &= holdSampled
	hold.Since = w.r.Now()
	hold.SetTaken(0)
	c.SetRatedAt(w.r.Now())
	s := w.streamOf(c)
	s.window = n.window
	w.counters[stats.StreamsOpened]++
	w.counters[stats.StreamsNow]++
	w.scratch = ws.AppendAnswer(w.scratch[:0], key[:])
	w.r.Write(c.index, w.scratch, nil)
	// Those that came together are not pinged together.
	c.SetHeardAt(w.r.Now() - min(w.r.Now(), w.r.Rand().Uint32N(w.times.webSocketPing/2+1)))
	w.r.Resume(c.index)
	w.arm(c)
	w.admitWaiting()
}

// windowOf returns the window of a hello towards its sender; 0 if it takes no streams.
func windowOf(h *frame.Hello) int32 {
	if !h.Streams {
		return 0
	}
	return int32(cmp.Or(h.Window, frame.DefaultWindowBytes))
}
