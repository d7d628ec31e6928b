package load

import (
	"log/slog"
	"time"
	"unsafe"

	"megaphone/codec/ws"
	"megaphone/loop"
)

// streaming is the transport of WebSocket (RFC 7395). It is the Handler of a worker's connections. A session has one
// connection, and one only.
//
// A session whose connection is lost comes back after a back-off. If it has enabled stream management with resumption
// (XEP-0198), it resumes where it was: each end says how many stanzas it has got, and sends those that the other has
// not. Otherwise it has ended, as one of BOSH that the server does not know.
type streaming struct {
	*worker
	streams []stream // of the sessions
	lines   lines
}

// stream is the WebSocket of a session.
type stream struct {
	ws.Stream
	conn  uint32 // noConn, or the connection
	taken uint32 // stanzas of the server since stream management was enabled
	at    stamp  // of the last input; at first, of the step of connecting
}

// streamBytes is the size of a stream, which a session over WebSocket takes in addition.
const streamBytes = 28

const (
	_ = uint(streamBytes - unsafe.Sizeof(stream{}))
	_ = uint(unsafe.Sizeof(stream{}) - streamBytes)
)

const (
	// silence is the time without input after which a client asks whether the server is still there. Servers that ping
	// do so earlier.
	silence = 3 * time.Minute
	// steady is how long a session must be up so that its earlier failures no longer count.
	steady = 10 * time.Second
	// closeTicks is the time for the server's close frame after that of a client.
	closeTicks = 2 * second
)

func newStreaming(w *worker, to *target) *streaming {
	return &streaming{worker: w, streams: make([]stream, len(w.sessions)), lines: newLines(to, w.cfg)}
}

// begin opens session i.
func (w *streaming) begin(i uint32) {
	s := &w.sessions[i]
	s.stage = stageCreating
	w.streams[i].taken = 0
	w.comes(s)
	w.counters[cStarted]++
	w.reach(i)
}

// resume opens session i, or connects it again.
func (w *streaming) resume(i uint32) {
	switch s := &w.sessions[i]; {
	case w.quit:
	case s.stage == stageNew:
		w.begin(i)
	case s.stage == stageCreating && w.streams[i].conn == noConn:
		w.reach(i)
	default:
		w.pump(i)
	}
}

// reach connects session i.
func (w *streaming) reach(i uint32) {
	if w.opening >= w.most {
		w.queue.push(w.sessions, i)
		return
	}
	st := &w.streams[i]
	now := w.now()
	*st = stream{Stream: ws.ClientStream(), taken: st.taken, at: now}
	w.sessions[i].began = now
	c, ok := w.connect(i, 0)
	if !ok {
		w.lost(i, 0)
		return
	}
	st.conn = c
}

// connecting returns the stamp of a connection attempt.
func (w *streaming) connecting(i uint32, _ int) *stamp { return &w.streams[i].at }

// opened sends the handshake.
func (w *streaming) opened(c, i uint32, _ int) {
	w.opening--
	w.r.Conn(c).Phase = uint8(connUpgrading)
	w.sending(c, i, true)
	w.r.Write(c, w.lines.handshake(w.lines.key(w.write.run, w.number(i), w.sessions[i].began)), nil)
	w.drain()
}

// sending counts a handshake or an element, and sets the deadline of what answers it.
func (w *streaming) sending(c, i uint32, again bool) {
	w.counters[cRequests]++
	if w.stormy {
		w.arrivals.count(w.now(), again)
	}
	w.r.Arm(c, w.patience())
}

// patience returns the ticks after which an answer is missing. Edges let openings wait for their origins.
func (w *streaming) patience() uint32 {
	return uint32(w.cfg.Wait)*1000/loop.TickMillis + loop.Ticks(w.cfg.Patience)
}

// Data takes the answer to a handshake, and then frames. It borrows p until return, and writes into it.
func (w *streaming) Data(c uint32, p []byte) (consumed, need int) {
	conn := w.r.Conn(c)
	i, _ := conn.Exchange()
	if phase(conn.Phase) == connUpgrading {
		if consumed, need = w.upgraded(c, i, p); consumed == 0 {
			return 0, need
		}
	}
	st := &w.streams[i]
	st.at = w.now()
	for w.reads(c) {
		e, n, ok, err := st.Next(p[consumed:], maxReplyBytes)
		consumed += n
		switch {
		case err != nil:
			w.counters[cMalformed]++
			w.r.LogLimited(&w.oddLog, slog.LevelWarn, "malformed frame", "reason", err.Reason)
			w.hangUp(i, err.Code)
			w.lost(i, 0)
		case !ok:
			return consumed, 0
		default:
			w.take(c, i, &e)
		}
	}
	return len(p), 0
}

// reads reports whether the input of connection c still matters.
func (w *streaming) reads(c uint32) bool {
	p := phase(w.r.Conn(c).Phase)
	return (p == connStream || p == connClosing) && w.r.IsOpen(c)
}

// take handles a message or a control frame. It borrows e.
func (w *streaming) take(c, i uint32, e *ws.Event) {
	switch e.Opcode {
	case ws.Text:
		w.counters[cResponses]++
		w.element(c, i, e.Payload)
	case ws.Ping:
		w.counters[cPings]++
		w.lines.frame(w.r.Rand(), ws.Pong, e.Payload)
		w.r.Write(c, w.lines.flush(), nil)
	case ws.Close:
		w.closed(i, e)
	}
}

// closed ends the WebSocket of session i after the server's close frame.
func (w *streaming) closed(i uint32, e *ws.Event) {
	w.countClose(e.Code)
	if w.sessions[i].stage < stageEnding {
		w.counters[cClosed]++
		w.r.LogLimited(&w.endLog, slog.LevelWarn, "WebSocket closed by server", "code", uint16(e.Code), "reason",
			string(e.Payload))
	}
	w.hangUp(i, e.Code)
	w.lost(i, 0)
}

// hangUp closes the connection of session i, if it has one, with a close frame if that is a WebSocket.
func (w *streaming) hangUp(i uint32, code ws.Code) {
	st := &w.streams[i]
	if st.conn == noConn {
		return
	}
	c := st.conn
	switch conn := w.r.Conn(c); phase(conn.Phase) {
	case connStream:
		w.sendClose(c, code)
		fallthrough
	case connClosing:
		w.counters[cOpenNow]--
		w.r.CloseGracefully(c)
	case connOpening:
		w.opening--
		fallthrough
	default:
		w.r.Close(c)
	}
	w.forgetConn(i)
}

// forgetConn separates session i from its connection, which is closed, or will be.
func (w *streaming) forgetConn(i uint32) {
	st := &w.streams[i]
	w.r.Conn(st.conn).Phase = uint8(connGone)
	st.conn = noConn
}

// sendClose sends a close frame. There is none for a code that no frame may have.
func (w *streaming) sendClose(c uint32, code ws.Code) {
	if !code.Sendable() {
		code = ws.CodeNone
	}
	w.lines.text = ws.AppendClosePayload(w.lines.text[:0], code, "")
	w.lines.frame(w.r.Rand(), ws.Close, w.lines.text)
	w.r.Write(c, w.lines.flush(), nil)
}

// Expired acts on a missing answer, or on silence.
func (w *streaming) Expired(c uint32) {
	conn := w.r.Conn(c)
	i, _ := conn.Exchange()
	s, st := &w.sessions[i], &w.streams[i]
	quiet := w.now().since(st.at)
	switch p := phase(conn.Phase); {
	case p == connOpening:
		w.late(c)
	case p == connClosing:
		w.hangUp(i, ws.CodeNone)
		w.lost(i, 0)
	case p == connStream && s.stage == stageUp && s.open() == 0 && quiet < silence:
		w.r.Arm(c, loop.Ticks(silence-quiet))
	case p == connStream && s.stage == stageUp && s.open() == 0 && quiet < silence+w.cfg.Patience:
		w.lines.frame(w.r.Rand(), ws.Ping, nil)
		w.r.Write(c, w.lines.flush(), nil)
		w.r.Arm(c, loop.Ticks(silence+w.cfg.Patience-quiet))
	case p == connUpgrading, p == connStream:
		w.counters[cTimeouts]++
		w.hangUp(i, ws.CodeGoingAway)
		w.lost(i, 0)
	}
}

// Closed connects the session again, unless it was ending.
func (w *streaming) Closed(c uint32, why loop.Cause) {
	w.counters[cSockets]--
	conn := w.r.Conn(c)
	i, _ := conn.Exchange()
	p := phase(conn.Phase)
	switch p {
	case connGone:
		return
	case connOpening:
		w.unconnected(why)
	case connStream, connClosing:
		w.counters[cOpenNow]--
		if p == connStream {
			w.countClose(ws.CodeLost)
		}
		fallthrough
	default:
		if w.sessions[i].stage < stageEnding {
			w.counters[cReset]++
		}
	}
	w.forgetConn(i)
	w.lost(i, 0)
	if p == connOpening {
		w.drain()
	}
}

// Flushed continues a session whose output has left.
func (w *streaming) Flushed(c uint32) {
	conn := w.r.Conn(c)
	if i, _ := conn.Exchange(); phase(conn.Phase) == connStream {
		w.pump(i)
	}
}

// lost schedules session i, whose connection is lost, to come back. asked is the server's Retry-After in ticks.
func (w *streaming) lost(i uint32, asked uint32) {
	s := &w.sessions[i]
	delete(w.proofs, i)
	switch {
	case s.stage == stageEnding:
		w.counters[cEnded]++
		w.ending--
		w.over(i)
		return
	case s.stage == stageOver:
		w.pump(i)
		return
	case s.stage == stageUp && s.sidLen == 0:
		w.end(i, false)
		return
	case s.stage == stageUp:
		w.down(s)
		if w.now().since(s.began) >= steady {
			s.fails = 0
		}
	}
	s.stage = stageCreating
	s.flags &^= flagOffered | flagManaged
	if int(s.fails)+1 >= w.cfg.Tries {
		w.end(i, true)
		return
	}
	retry := w.retryOf(i)
	wait := retry.anew(w.r.Rand(), s.fails)
	if retry == retryLoad {
		wait = max(wait, min(asked, maxAskedTicks))
	}
	s.fails++
	w.backoffs.put(w.sessions, i, wait)
}

// pump performs the next action of session i.
func (w *streaming) pump(i uint32) {
	s := &w.sessions[i]
	switch {
	case w.quit:
	case s.stage == stageOver:
		w.hangUp(i, ws.CodeNormal)
		if w.revive {
			w.again(i)
		}
	case s.stage != stageUp:
	case s.flags&flagLeaving != 0:
		w.bye(i)
	default:
		for w.calling && i == w.voice && w.mayAsk(i, 0) {
			w.call()
		}
	}
}

// mayAsk reports whether session i can send a stanza. Beyond two that are not acknowledged, and beyond the kernel's
// buffer without stream management, it could not account for them.
func (w *streaming) mayAsk(i uint32, _ stamp) bool {
	s, c := &w.sessions[i], w.streams[i].conn
	if c == noConn || phase(w.r.Conn(c).Phase) != connStream {
		return false
	}
	return s.flags&flagManaged != 0 && s.free() >= 0 || s.flags&flagManaged == 0 && !w.r.Sending(c)
}

// mayPing reports whether session i can send a ping.
func (w *streaming) mayPing(i uint32, now stamp) bool {
	return w.sessions[i].open() == 0 && w.mayAsk(i, now)
}
