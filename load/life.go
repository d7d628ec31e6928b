package load

import "log/slog"

// comes adds a session to the pending log-ins; hasCome removes it once its log-in has succeeded or failed. With
// Presence a log-in lasts until the server has sent the session's presence back (RFC 6121, section 4.4.2), because much
// of a server's work for a log-in follows the presence.
func (w *worker) comes(s *session) {
	if s.flags&flagComing == 0 {
		s.flags |= flagComing
		w.coming++
	}
}

func (w *worker) hasCome(s *session) {
	if s.flags&flagComing != 0 {
		s.flags &^= flagComing
		w.coming--
	}
}

// up marks session i as up: it holds a request and may send.
func (w *worker) up(i uint32) {
	s := &w.sessions[i]
	s.stage, s.fails = stageUp, 0
	if !w.cfg.Presence || w.cfg.Login == LoginNone {
		w.hasCome(s)
	}
	w.counters[cUpNow]++
	if w.stormy {
		s.flags |= flagBack
		w.arrivals.up++
	}
	if s.flags&flagReached == 0 {
		s.flags |= flagReached
		w.counters[cReached]++
	}
}

// unexpected gives up session i because its log-in cannot continue.
func (w *worker) unexpected(i uint32, what string, args ...any) {
	w.counters[cUnexpected]++
	w.r.LogLimited(&w.oddLog, slog.LevelWarn, what, args...)
	w.end(i, true)
}

// down undoes up. It does not end the session.
func (w *worker) down(s *session) {
	w.counters[cUpNow]--
	if s.flags&flagBack != 0 {
		s.flags &^= flagBack
		w.arrivals.up--
	}
}

// end gives up session i, which has failed to come up or was lost.
func (w *worker) end(i uint32, failed bool) {
	s := &w.sessions[i]
	if s.stage == stageUp {
		w.down(s)
	} else if s.fails < 255 {
		s.fails++
	}
	switch {
	case failed && s.flags&flagReached == 0:
		w.counters[cFailed]++
	case w.stormy:
		w.counters[cRenewed]++
	default:
		w.counters[cLost]++
	}
	w.over(i)
}

// over ends session i. Requests on a connection keep it until they are answered.
func (w *worker) over(i uint32) {
	delete(w.proofs, i)
	s := &w.sessions[i]
	w.hasCome(s)
	s.stage = stageOver
	for q := range s.req {
		if s.req[q].conn == noConn {
			s.req[q] = request{}
		}
	}
	w.transport.pump(i)
}

// again schedules session i, which is over, to begin anew.
func (w *worker) again(i uint32) {
	s := &w.sessions[i]
	kept := s.flags & (flagWaiting | flagReached)
	*s = session{partner: s.partner, author: s.author, next: s.next, flags: kept, fails: s.fails}
	w.backoffs.put(w.sessions, i, w.retryOf(i).anew(w.r.Rand(), s.fails))
}
