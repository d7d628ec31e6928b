package edge

import (
	"fmt"
	"time"
	"unsafe"

	"megaphone/codec/frame"
	"megaphone/codec/ws"
	"megaphone/loop"
	"megaphone/stats"
	"megaphone/table"
)

// A stream is a client that speaks WebSocket (RFC 7395). Its connection is in phaseStream, and has one hold that is
// answered many times. The handle of that hold is the ID of the stream on the link. The hold is in one of these states:
//
//	waits for an origin, or an origin has the opening (holdCreation) -> "+": open   -> others: 503, as for a creation
//	open    a message is a frame, either way; window and owed count the bytes that are not acknowledged
//	away    its link is lost (holdAway): it is closed with 1012 at tick Due
//
// Only bytes of RFC 6455 are handled here. What a message says is the origin's matter.
//
// The input of a stream is not read while its origin has too much to take: the window is used up, the link is above
// link-high-water, or messages came faster than max-message-rate. Nor is it read while output waits for the client,
// like that of any connection. So a client that does not read is bounded by its window.

// stream is the state of a stream beyond the slots of its connection and its hold.
type stream struct {
	ws.Stream
	window int32  // bytes that may be sent to the origin; a message may take it below zero
	owed   uint32 // bytes of messages that were written to the client and not acknowledged
}

// streamBytes is the size of a stream.
const streamBytes = 24

const (
	_ = uint(streamBytes - unsafe.Sizeof(stream{}))
	_ = uint(unsafe.Sizeof(stream{}) - streamBytes)
)

// holdPinged, of an open stream: it was pinged, and nothing has come since. A stream is never released, so the bit of
// that is free.
const holdPinged = holdReleased

const (
	// windowBytes is the window that origins have towards a client.
	windowBytes = frame.DefaultWindowBytes
	// rateTicks is the time over which messages are counted.
	rateTicks = second
	// congestedTicks is how long a stream waits on average for a link above its high-water mark.
	congestedTicks = second
)

// Faults of an origin's frames for streams.
var (
	errAcceptance = fmt.Errorf("%w: it accepted a stream twice, or with more than a plus sign", errNotProtocol)
	errNoStream   = fmt.Errorf("%w: a frame of streams for a request", errNotProtocol)
	errNoCredit   = fmt.Errorf("%w: a credit without a stream", errNotProtocol)
	errCredit     = fmt.Errorf("%w: it acknowledged more than it had got", errNotProtocol)
)

// openStream reports whether a hold is that of an open stream: an origin has it, and has accepted it.
func openStream(flags uint8) bool { return flags&(holdCreation|holdOrphan) == 0 }

// streamOf returns the state of the stream on c.
func (w *worker) streamOf(c conn) *stream { return &w.streams[c.index] }

// takeMessages takes the messages and control frames in p, up to a bound. It borrows p until return, and writes into
// it.
func (w *worker) takeMessages(c conn, p []byte) (consumed, need int) {
	h, hold := w.holds.First(c.Conn)
	c.SetHeardAt(w.r.Now())
	if openStream(hold.Flags) {
		hold.Flags &^= holdPinged
	}
	s := w.streamOf(c)
	for taken := 0; ; taken++ {
		switch {
		case !w.r.IsOpen(c.index) || c.phase() == phaseLast:
			return len(p), 0
		case w.r.Sending(c.index):
			return consumed, 0
		case !w.takesMessage(c, hold):
			w.r.Pause(c.index)
			w.arm(c)
			return consumed, 0
		case taken == maxRequestsPerTurn:
			return consumed, loop.Again
		}
		e, n, ok, err := s.Next(p[consumed:], w.cfg.MaxBodyBytes)
		consumed += n
		switch {
		case err != nil:
			w.endStream(c, err.Code, err.Reason)
			return len(p), 0
		case !ok:
			return consumed, 0
		}
		w.takeEvent(c, h, hold, &e)
	}
}

// takesMessage reports whether the origin can take a message from c, and the rate allows one.
func (w *worker) takesMessage(c conn, hold *table.Hold) bool {
	switch {
	case !openStream(hold.Flags), w.streamOf(c).window <= 0:
		return false
	case w.byLink[hold.Link].link.Unsent() > w.cfg.LinkHighWater:
		return false
	case w.cfg.MessageRate > 0 && int(hold.Taken()) >= w.cfg.MessageRate && w.r.Now()-c.RatedAt() < rateTicks:
		w.counters[stats.MessagesDelayed]++
		return false
	}
	return true
}

// takeEvent handles a message or a control frame.
func (w *worker) takeEvent(c conn, h table.Handle, hold *table.Hold, e *ws.Event) {
	if w.cfg.MessageRate > 0 {
		if w.r.Now()-c.RatedAt() >= rateTicks {
			c.SetRatedAt(w.r.Now())
			hold.SetTaken(0)
		}
		hold.SetTaken(hold.Taken() + 1)
	}
	switch e.Opcode {
	case ws.Text:
		w.takeMessage(c, h, hold, e.Payload)
	case ws.Ping:
		w.counters[stats.PingsIn]++
		w.writeStream(c, ws.Pong, e.Payload)
	case ws.Close:
		// Section 5.5.1: "the endpoint typically echos the status code it received".
		w.endStream(c, e.Code, "")
	}
}

// takeMessage sends a message to the origin. It borrows p.
func (w *worker) takeMessage(c conn, h table.Handle, hold *table.Hold, p []byte) {
	n := w.byLink[hold.Link]
	switch {
	case len(p) == 0 || p[0] != '<':
		// RFC 7395 section 3.3.3: the first character of each message is '<'.
		w.endStream(c, ws.CodeProtocolError, "A message is one XML element: its first byte is <.")
		return
	case len(p) > n.max:
		w.counters[stats.TooLarge]++
		w.endStream(c, ws.CodeTooLarge, "The message is larger than the server accepts.")
		return
	}
	n.link.Batch = frame.Append(n.link.Batch, uint64(h), p)
	n.link.Dirty()
	w.counters[stats.FramesOut]++
	w.counters[stats.MessagesIn]++
	w.streamOf(c).window -= int32(len(p))
}

// writeStream sends a frame to the client. It borrows p. max-output-bytes bounds only messages beyond the window. The
// others have that bound, and pings and pongs are not sent while output waits.
func (w *worker) writeStream(c conn, o ws.Opcode, p []byte) {
	waited := w.r.Sending(c.index)
	w.scratch = ws.AppendHeader(w.scratch[:0], o, len(p))
	if o == ws.Text && w.streamOf(c).owed >= windowBytes {
		w.r.Write(c.index, w.scratch, p)
	} else {
		w.r.WriteUnbounded(c.index, w.scratch, p)
	}
	if !waited && w.r.Sending(c.index) {
		w.arm(c)
	}
}

// streamFrame handles a frame of a node for a stream: an acceptance, or an end.
func (w *worker) streamFrame(n *node, f frame.Frame) error {
	code, text := 0, []byte(nil)
	if f.Contents[0] == frame.StreamEnds {
		var err *frame.Error
		if code, text, err = frame.ParseEnd(f.Contents); err != nil {
			return protocolError(err)
		}
	} else if len(f.Contents) > 1 {
		return errAcceptance
	}
	h := table.Handle(f.ID)
	hold := w.holds.Resolve(h)
	switch {
	case hold == nil || int(hold.Link) != n.link.Index || hold.Flags&holdOrphan != 0:
		w.counters[stats.StaleReplies]++
		return nil
	case w.conn(hold.Conn).phase() != phaseStream:
		return errNoStream
	}
	c := w.conn(hold.Conn)
	opening := hold.Flags&holdCreation != 0
	switch {
	case opening && code == 0:
		w.acceptStream(n, c, h, hold)
	case opening:
		w.reply(n, f.ID, 503, nil) // the client is not a WebSocket yet
	case code == 0:
		return errAcceptance // twice
	default:
		w.takeBack(hold, false) // the origin needs no end
		w.endStream(c, sendable(code), string(text))
	}
	return nil
}

// sendable returns an origin's code, or 1011 if no close frame may have it.
func sendable(code int) ws.Code {
	if c := ws.Code(code); c.Sendable() {
		return c
	}
	return ws.CodeInternalError
}

// answerStream sends an origin's message to the client of a stream. It borrows p.
func (w *worker) answerStream(n *node, c conn, status int, p []byte) {
	if status != 200 || len(p) == 0 || p[0] != '<' { // it is the reply to a request
		w.counters[stats.LinkErrors]++
		w.endStream(c, ws.CodeInternalError, "The server broke its protocol.")
		return
	}
	w.counters[stats.MessagesOut]++
	w.writeStream(c, ws.Text, p)
	w.streamOf(c).owed += uint32(len(p))
	w.acknowledge(n, c)
}

// acknowledge returns credit to the origin once half of a window has left, unless output still waits for the client.
func (w *worker) acknowledge(n *node, c conn) {
	s := w.streamOf(c)
	if s.owed < windowBytes/2 || w.r.Sending(c.index) || n.stage != stageUp {
		return
	}
	h, _ := w.holds.First(c.Conn)
	n.link.Batch = frame.AppendCredit(n.link.Batch, uint64(h), int(s.owed))
	n.link.Dirty()
	w.counters[stats.FramesOut]++
	s.owed = 0
	if w.tls.worn(c.index) {
		w.endStream(c, ws.CodeServiceRestart, "")
	}
}

// streamFlushed continues a stream whose output has left.
func (w *worker) streamFlushed(c conn) {
	_, hold := w.holds.First(c.Conn)
	c.SetHeardAt(w.r.Now()) // it was not read
	if openStream(hold.Flags) {
		w.acknowledge(w.byLink[hold.Link], c)
	}
}

// credit widens the windows of streams towards their origin.
func (w *worker) credit(n *node, args []byte) error {
	for count := 0; ; count++ {
		id, more, rest, ok, err := frame.NextCredit(args)
		switch {
		case err != nil:
			return protocolError(err)
		case !ok && count == 0:
			return errNoCredit
		case !ok:
			return nil
		}
		args = rest
		hold := w.holds.Resolve(table.Handle(id))
		if hold == nil || int(hold.Link) != n.link.Index || !openStream(hold.Flags) {
			continue // its client has left
		}
		c := w.conn(hold.Conn)
		if c.phase() != phaseStream {
			return errNoStream
		}
		s := w.streamOf(c)
		if int64(s.window)+int64(more) > int64(n.window) {
			return errCredit
		}
		closed := s.window <= 0
		if s.window += int32(more); closed && s.window > 0 {
			w.resumeStream(c)
		}
	}
}

// resumeStream reads a stream again.
func (w *worker) resumeStream(c conn) {
	c.SetHeardAt(w.r.Now())
	w.r.Resume(c.index)
	w.arm(c)
}

// streamLeft returns the ticks until the deadline of a stream.
func (w *worker) streamLeft(c conn) uint32 {
	_, hold := w.holds.First(c.Conn)
	switch {
	case !openStream(hold.Flags):
		return w.holdLeft(c)
	case !w.r.Paused(c.index):
		return remaining(c.HeardAt()+w.times.webSocketPing*(1+flagged(hold.Flags, holdPinged)), w.r.Now())
	case w.streamOf(c).window <= 0:
		return w.times.webSocketPing // credit resumes it
	}
	if w.byLink[hold.Link].link.Unsent() > w.cfg.LinkHighWater {
		return congestedTicks/2 + w.r.Rand().Uint32N(congestedTicks)
	}
	return remaining(c.RatedAt()+rateTicks, w.r.Now())
}

func flagged(flags, bit uint8) uint32 {
	if flags&bit != 0 {
		return 1
	}
	return 0
}

// streamDue acts on the deadline of a stream: it pings a silent client once, and then closes. One whose window is used
// up is only pinged.
func (w *worker) streamDue(c conn) {
	_, hold := w.holds.First(c.Conn)
	silent := w.r.Now() - c.HeardAt()
	switch {
	case !openStream(hold.Flags):
		if w.holdDue(c) {
			w.expireHold(c)
			return
		}
	case w.tls.worn(c.index):
		w.endStream(c, ws.CodeServiceRestart, "")
		return
	case w.r.Paused(c.index):
		if w.streamOf(c).window > 0 {
			w.resumeStream(c)
			return
		}
		// It is not read, so an answer would not be seen. But the kernel ends the connection of a client that is gone.
		w.counters[stats.PingsOut]++
		w.writeStream(c, ws.Ping, nil)
	case hold.Flags&holdPinged != 0 && silent >= 2*w.times.webSocketPing:
		w.counters[stats.StreamsSilent]++
		w.r.Close(c.index)
		return
	case hold.Flags&holdPinged == 0 && silent >= w.times.webSocketPing:
		hold.Flags |= holdPinged
		w.counters[stats.PingsOut]++
		w.writeStream(c, ws.Ping, nil)
	}
	if w.r.IsOpen(c.index) {
		w.arm(c)
	}
}

// endStream closes an open stream with a close frame, and tells its origin, if that still has it. Without a code the
// frame has none.
func (w *worker) endStream(c conn, code ws.Code, reason string) {
	h, hold := w.holds.First(c.Conn)
	w.sendEnd(h, hold, code)
	w.scratch = ws.AppendClose(w.scratch[:0], code, reason)
	w.r.WriteUnbounded(c.index, w.scratch, nil)
	w.forgetStream(c, h, hold, code)
	c.setPhase(phaseLast)
	w.r.CloseGracefully(c.index)
}

// loseStream drops a stream whose connection has ended.
func (w *worker) loseStream(c conn) {
	if h, hold := w.holds.First(c.Conn); hold.Flags&holdCreation == 0 {
		w.sendEnd(h, hold, ws.CodeLost)
		w.forgetStream(c, h, hold, ws.CodeLost)
	}
}

// sendEnd tells the origin that a stream has ended.
func (w *worker) sendEnd(h table.Handle, hold *table.Hold, code ws.Code) {
	if hold.Flags&holdOrphan != 0 {
		return
	}
	n := w.byLink[hold.Link]
	w.takeBack(hold, false)
	if n.stage == stageUp {
		n.link.Batch = frame.AppendEnd(n.link.Batch, uint64(h), int(code), "")
		n.link.Dirty()
		w.counters[stats.FramesOut]++
	}
}

// forgetStream counts and logs the end of a stream that was open, and frees its hold.
func (w *worker) forgetStream(c conn, h table.Handle, hold *table.Hold, code ws.Code) {
	w.countClose(code)
	w.counters[stats.StreamsNow]--
	if hold.Flags&holdSampled != 0 {
		w.logAccess(access{peer: w.r.Peer(c.index), status: 101, close: code, note: w.access.notes[h],
			secured: w.tls.of(c.index), origin: w.byLink[hold.Link].cfg.Name,
			held: time.Duration(w.r.Now()-hold.Since) * loop.TickMillis * time.Millisecond})
	}
	w.unpark(c, hold)
}

// countClose counts the end of a stream by its code.
func (w *worker) countClose(code ws.Code) {
	if c, ok := closeCounters[code]; ok {
		w.counters[c]++
		return
	}
	w.counters[stats.ClosesOther]++
}

var closeCounters = map[ws.Code]stats.Counter{
	ws.CodeNormal: stats.ClosesNormal, ws.CodeGoingAway: stats.ClosesGoingAway,
	ws.CodeProtocolError: stats.ClosesProtocol, ws.CodeUnsupportedData: stats.ClosesBinary,
	ws.CodeNone: stats.ClosesNone, ws.CodeLost: stats.ClosesLost,
	ws.CodeInvalidPayload: stats.ClosesText, ws.CodePolicy: stats.ClosesPolicy, ws.CodeTooLarge: stats.ClosesTooLarge,
	ws.CodeInternalError: stats.ClosesInternal, ws.CodeServiceRestart: stats.ClosesRestart,
	ws.CodeTryAgainLater: stats.ClosesBusy,
}

// leaveStream closes a stream of a draining edge. The client resumes over another one.
func (w *worker) leaveStream(c conn) {
	h, hold := w.holds.First(c.Conn)
	switch {
	case hold.Flags&holdCreation != 0:
		w.sendGone(h, hold)
		w.answerHold(h, hold, 503, nil)
	default:
		w.endStream(c, ws.CodeGoingAway, "")
	}
}

// shedStream closes a stream whose kept input must go.
func (w *worker) shedStream(c conn) {
	if _, hold := w.holds.First(c.Conn); hold.Flags&holdCreation == 0 {
		w.endStream(c, ws.CodeTryAgainLater, "There is no memory for the message.")
		w.r.DropInput(c.index)
	}
}
