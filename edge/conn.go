package edge

import (
	"math"

	"megaphone/codec/http1"
	"megaphone/table"
)

// conn is a client's connection: its index in the reactor, and its slot. It is passed by value, and valid until the
// connection has closed.
type conn struct {
	index uint32
	*table.Conn
}

func (w *worker) conn(index uint32) conn { return conn{index, w.r.Conn(index)} }

// phase is the progress of a connection's current request, in table.Conn.Phase. Held requests are counted separately: a
// connection in any phase may have some.
type phase uint8

const (
	// No part of a request has come, empty lines not counted. AfterCR reports whether the CR of an empty line has come
	// without its LF.
	// next: phaseHead, phaseBody (a request came in part), phaseLast (its request was the last)
	phaseIdle phase = iota
	// A part of a head has come. HeadScanned is how much of it was searched.
	// next: phaseBody, phaseIdle, phaseLast
	phaseHead
	// The head is complete, the body is not. Chunks is the progress in a chunked body.
	// next: phaseIdle, phaseLast
	phaseBody
	// The client will not, or may not, send another request. Further input is discarded.
	// next: none, the connection is closed with its last reply
	phaseLast
	// The PROXY header has not come, or only in part.
	// next: phaseIdle (the client is known), phaseLast (no header)
	phaseProxy
)

func (c conn) phase() phase { return phase(c.Phase) }

// setPhase changes the phase, but no deadline, see worker.enter.
func (c conn) setPhase(p phase) { c.Phase = uint8(p) }

// skipEmptyLines returns the length of the empty lines at the start of p. Old clients send one after the body of a POST
// (RFC 9112 section 2.2). It begins no request: the connection stays idle and keeps its deadline.
func (c conn) skipEmptyLines(p []byte) (n int) {
	if c.AfterCR() {
		if p[0] != '\n' {
			return 0 // exchange refuses it
		}
		n = 1
		c.SetAfterCR(false)
	}
	m := http1.EmptyLines(p[n:])
	if m%2 == 1 {
		c.SetAfterCR(true)
	}
	return n + m
}

// enter changes the phase and sets its deadline.
func (w *worker) enter(c conn, p phase) {
	c.setPhase(p)
	if p == phaseIdle {
		c.EndRequest()
	}
	w.arm(c)
}

// arm sets the earliest deadline of a connection.
func (w *worker) arm(c conn) {
	switch {
	case w.r.Sending(c.index):
		w.r.Arm(c.index, w.times.write)
	case c.Held > 0:
		w.r.Arm(c.index, min(w.holdLeft(c), w.partLeft(c)))
	case c.phase() == phaseIdle || c.phase() == phaseLast:
		w.r.Arm(c.index, w.times.idle)
	default:
		w.r.Arm(c.index, w.partLeft(c))
	}
}

// deadline returns the tick at which the edge itself answers a hold.
func (w *worker) deadline(h *table.Hold) uint32 {
	if away(h.Flags) {
		return h.Due()
	}
	return h.Since + w.times.hold
}

// holdLeft returns the ticks until the deadline of a connection's first hold.
func (w *worker) holdLeft(c conn) uint32 {
	_, h := w.holds.First(c.Conn)
	return remaining(w.deadline(h), w.r.Now())
}

// partLeft returns the ticks that a partial request may still take, MaxUint32 if there is none.
func (w *worker) partLeft(c conn) uint32 {
	switch c.phase() {
	case phaseHead, phaseProxy:
		return w.times.head
	case phaseBody:
		return w.times.body
	}
	return math.MaxUint32
}

func remaining(deadline, now uint32) uint32 {
	if deadline <= now {
		return 1
	}
	return deadline - now
}

// hangUp closes a connection gracefully, and drops its holds.
func (w *worker) hangUp(c conn) {
	c.setPhase(phaseLast)
	if c.Held > 0 {
		w.abandon(c)
	}
	w.r.CloseGracefully(c.index)
}
