package load

import (
	"log/slog"

	"megaphone/codec/boshbody"
	"megaphone/loop"
	"megaphone/table"
)

// polling is the transport of BOSH. It is the Handler of a worker's connections.
type polling struct {
	*worker
	body boshbody.StartTag
	idle []uint32 // connections without a request, most recently used last
}

// connecting returns the stamp of the request that the connection is for.
func (w *polling) connecting(i uint32, q int) *stamp { return &w.sessions[i].req[q].at }

// opened sends the request that waited for the connection.
func (w *polling) opened(c, i uint32, q int) {
	w.opening--
	w.transmit(c, i, q)
	w.drain()
}

// Data processes a response. It borrows p until return.
func (w *polling) Data(c uint32, p []byte) (consumed, need int) {
	s := w.r.Conn(c)
	if phase(s.Phase) != connBusy {
		w.counters[cStray]++
		w.discard(c, s)
		return len(p), 0
	}
	res, n, need, err := parseResponse(p)
	switch {
	case err != nil:
		w.counters[cMalformed]++
		w.r.LogLimited(&w.oddLog, slog.LevelWarn, "malformed response", "reason", err.Error())
		i, q := s.Exchange()
		w.discard(c, s)
		w.failed(i, q, 0)
		return len(p), 0
	case n == 0:
		return 0, need
	}
	i, q := s.Exchange()
	if res.status == 200 && w.isEarly(i, q) {
		w.r.Pause(c)
		return 0, 0
	}
	w.counters[cResponses]++
	if n < len(p) {
		w.counters[cStray]++
	}
	// A leaving session closes its connections, as a browser does when its page closes.
	if res.close || n < len(p) || w.sessions[i].stage >= stageEnding {
		w.discard(c, s)
	} else {
		w.keep(c, s)
	}
	w.answered(i, q, &res)
	return len(p), 0
}

// Expired closes an idle connection, or one whose answer does not come.
func (w *polling) Expired(c uint32) {
	s := w.r.Conn(c)
	if phase(s.Phase) == connOpening {
		w.late(c)
		return
	}
	i, q := s.Exchange()
	busy := phase(s.Phase) == connBusy
	w.discard(c, s)
	if busy {
		w.counters[cTimeouts]++
		w.failed(i, q, 0)
	}
}

// Closed schedules the connection's request to be sent again.
func (w *polling) Closed(c uint32, why loop.Cause) {
	s := w.r.Conn(c)
	w.counters[cSockets]--
	i, q := s.Exchange()
	switch phase(s.Phase) {
	case connIdle:
		w.unidle(s)
	case connBusy:
		w.counters[cReset]++
		w.failed(i, q, 0)
	case connOpening:
		w.unconnected(why)
		w.failed(i, q, 0)
		w.drain()
	}
}

// keep adds a connection to the idle ones.
func (w *polling) keep(c uint32, s *table.Conn) {
	s.Phase = uint8(connIdle)
	s.SetIdleAt(len(w.idle))
	w.idle = append(w.idle, c)
	w.counters[cIdle]++
	w.r.Arm(c, idleTicks)
}

// unidle removes a connection from the idle ones.
func (w *polling) unidle(s *table.Conn) {
	last := len(w.idle) - 1
	w.idle[s.IdleAt()] = w.idle[last]
	w.r.Conn(w.idle[last]).SetIdleAt(s.IdleAt())
	w.idle = w.idle[:last]
	w.counters[cIdle]--
}

// discard closes a connection that no session uses any longer.
func (w *polling) discard(c uint32, s *table.Conn) {
	if phase(s.Phase) == connIdle {
		w.unidle(s)
	}
	s.Phase = uint8(connGone)
	w.r.Close(c)
}

// idleOne takes the most recently used idle connection. It returns 0 if there is none.
func (w *polling) idleOne() uint32 {
	for len(w.idle) > 0 {
		c := w.idle[len(w.idle)-1]
		s := w.r.Conn(c)
		w.unidle(s)
		if w.r.IsOpen(c) {
			return c
		}
		s.Phase = uint8(connGone) // its peer has closed it in this turn
	}
	return 0
}
