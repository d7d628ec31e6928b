package load

import (
	"bytes"
	"log/slog"
	"time"

	"megaphone/codec/boshbody"
	"megaphone/loop"
)

// maxFirstRID bounds a session's first rid, so that a run's rids stay below 2^53.
const maxFirstRID = 1 << 40

// begin opens session i.
func (w *polling) begin(i uint32) {
	s := &w.sessions[i]
	delete(w.proofs, i)
	s.stage, s.rid, s.sidLen = stageCreating, 1+w.r.Rand().Uint64N(maxFirstRID), 0
	s.wait = uint16(w.cfg.Wait)
	s.began = w.now()
	w.comes(s)
	w.counters[cStarted]++
	w.ask(i, kindCreate, 0, 0)
}

// ask makes session i's next request. A free place for it must exist.
func (w *polling) ask(i uint32, k kind, seq uint32, at stamp) {
	s := &w.sessions[i]
	q := s.free()
	if q < 0 {
		panic("load: a third request of a session")
	}
	s.rid++
	s.req[q] = request{rid: s.rid, seq: seq, stamp: at}
	s.kinds[q], s.tries[q] = k, 0
	w.send(i, q)
}

// gap is the shortest time between two requests that a session makes on its own. Requests sent at once on two
// connections may reach the server out of order. It must reorder them, but ejabberd 23.01 ignores the later one until
// the earlier one's wait ends, and may end the session before.
const gap = 20 * time.Millisecond

// mayAsk reports whether session i can make a request that does not overtake another one.
func (w *polling) mayAsk(i uint32, now stamp) bool {
	s := &w.sessions[i]
	q := s.free()
	if q < 0 {
		return false
	}
	o := s.other(q)
	return o == nil || o.conn != noConn && w.onTheWay(o.conn) && now.since(o.at) >= gap
}

// mayPing reports whether session i holds a request, with whose answer a pong can come.
func (w *polling) mayPing(i uint32, now stamp) bool {
	return w.sessions[i].open() == 1 && w.mayAsk(i, now)
}

// send sends a request on an idle connection, or opens a connection for it.
func (w *polling) send(i uint32, q int) {
	if c := w.idleOne(); c != 0 {
		w.sessions[i].req[q].conn = c
		w.transmit(c, i, q)
		return
	}
	if w.opening >= w.most {
		w.queue.push(w.sessions, i)
		return
	}
	c, ok := w.connect(i, q)
	if !ok {
		w.failed(i, q, 0)
		return
	}
	r := &w.sessions[i].req[q]
	r.conn, r.at = c, w.now()
}

// transmit writes a request.
func (w *polling) transmit(c, i uint32, q int) {
	s, conn := &w.sessions[i], w.r.Conn(c)
	conn.Phase = uint8(connBusy)
	conn.SetExchange(i, q)
	s.req[q].at = w.now()
	w.counters[cRequests]++
	if w.stormy {
		w.arrivals.count(s.req[q].at, s.kinds[q] == kindCreate || s.tries[q] > 0)
	}
	if s.kinds[q] == kindPoll {
		w.counters[cPolls]++
	}
	w.r.Arm(c, uint32(s.wait)*1000/loop.TickMillis+loop.Ticks(w.cfg.Patience))
	w.r.Write(c, w.text(i, q), nil)
}

// text returns a request's bytes, which are valid until the next call.
func (w *polling) text(i uint32, q int) []byte {
	s := &w.sessions[i]
	r := &s.req[q]
	switch s.kinds[q] {
	case kindAuth:
		return w.write.auth(s, r.rid, w.number(i))
	case kindProof:
		return w.write.proof(s, r.rid, w.proofs[i].final)
	case kindMessage:
		b := w.write.openMessages(s, r.rid)
		b = w.write.appendTo(b, w.addresses.at(s.partner), message{kind: kindChat, author: w.number(i),
			reader: w.number(s.partner), seq: r.seq, stamp: r.stamp})
		return w.write.closeMessages(b)
	case kindBatch:
		return w.batchText(i, r)
	}
	return w.write.plain(s, r.rid, s.kinds[q])
}

// batchText returns the broadcast request whose batch begins with session r.seq.
func (w *polling) batchText(i uint32, r *request) []byte {
	b := w.write.openMessages(&w.sessions[i], r.rid)
	for to := r.seq; to < min(r.seq+w.stride(), uint32(len(w.sessions))); to++ {
		if w.meant(to) {
			b = w.write.appendTo(b, w.addresses.at(to), message{kind: kindToAll, author: w.number(i),
				reader: w.number(to), seq: 1, stamp: r.stamp})
		}
	}
	return w.write.closeMessages(b)
}

// resume sends the waiting requests of session i, the lower rid first.
func (w *polling) resume(i uint32) {
	s := &w.sessions[i]
	switch {
	case w.quit:
		return
	case s.stage == stageNew:
		w.begin(i)
		return
	}
	for _, q := range s.order() {
		if r := &s.req[q]; r.rid != 0 && r.conn == noConn {
			if r.at != 0 {
				w.counters[cResent]++
			}
			w.send(i, q)
		}
	}
	w.pump(i)
}

// failed schedules a failed request to be sent again with the same rid, so that the server recognises it if it has seen
// it (XEP-0124 section 14.3). asked is the server's Retry-After in ticks.
func (w *polling) failed(i uint32, q int, asked uint32) {
	s := &w.sessions[i]
	r := &s.req[q]
	r.conn = noConn
	if s.stage >= stageEnding {
		s.req[q] = request{}
		w.pump(i)
		return
	}
	if w.retryOf(i) == retryLibpurple && s.stage == stageUp {
		s.req[q] = request{} // its rid does not come again
		w.backoffs.put(w.sessions, i, purpleQuiet)
		return
	}
	s.tries[q]++
	wait, ok := w.retryOf(i).again(w.r.Rand(), s.tries[q], asked, w.cfg.Tries)
	if !ok || w.retryOf(i) == retryLibpurple {
		w.end(i, s.stage != stageUp)
		return
	}
	w.backoffs.put(w.sessions, i, wait)
}

// answered processes the response to a request of session i.
func (w *polling) answered(i uint32, q int, res *response) {
	s := &w.sessions[i]
	s.req[q].conn = noConn
	switch {
	case s.stage == stageOver:
		s.req[q] = request{}
		w.pump(i)
		return
	case res.status >= 500 || res.status == 429:
		w.counters[cUnavailable]++
		w.failed(i, q, uint32(res.retryAfter)*1000/loop.TickMillis)
		return
	case res.status != 200:
		if s.stage != stageEnding {
			w.counters[cRejected]++
			w.r.LogLimited(&w.endLog, slog.LevelWarn, "session ended by server", "status", res.status)
		}
		w.dead(i, q)
		return
	}
	body := res.body()
	if err := boshbody.ParseReply(&w.body, body); err != nil {
		w.counters[cMalformed]++
		w.r.LogLimited(&w.oddLog, slog.LevelWarn, "malformed body", "reason", err.Reason)
		w.failed(i, q, 0)
		return
	}
	payload := body[w.body.TagEnd:]
	if s.stage >= stageUp && !w.body.Empty {
		if s.flags&flagComing != 0 && bytes.Contains(payload, wordPresence) {
			w.hasCome(s)
		}
		w.receive(i, payload)
	}
	if s.kinds[q] == kindTerminate {
		w.meters.record(mEnd, w.now().since(s.req[q].at))
	}
	switch {
	case string(w.body.Type) == "terminate":
		if s.stage != stageEnding {
			w.counters[cTerminated]++
			w.r.LogLimited(&w.endLog, slog.LevelWarn, "session ended by server", "body", string(firstTag(body)))
		}
		w.dead(i, q)
	case string(w.body.Type) == "error":
		w.counters[cRecoverable]++
		w.failed(i, q, 0)
	default:
		w.accept(i, q, payload)
	}
}

// firstTag returns the start of a body, for the log.
func firstTag(p []byte) []byte { return p[:min(len(p), 300)] }

// dead ends session i after the server ended it in its answer to request q.
func (w *polling) dead(i uint32, q int) {
	s := &w.sessions[i]
	s.req[q] = request{}
	if s.stage == stageEnding {
		w.pump(i)
		return
	}
	w.end(i, s.stage != stageUp)
}

// accept continues session i after an ordinary answer to request q.
func (w *polling) accept(i uint32, q int, payload []byte) {
	s := &w.sessions[i]
	done, k := s.req[q], s.kinds[q]
	now := w.now()
	held := now.since(done.at)
	s.req[q] = request{}
	if o := s.other(q); o != nil && o.rid > done.rid && o.conn != noConn && w.onTheWay(o.conn) {
		w.meters.record(mRelease, now.since(o.at))
		if w.stormy && s.flags&flagBack != 0 {
			w.meters.record(mBack, now.since(o.at))
		}
	} else if wait := time.Duration(s.wait) * time.Second; o == nil && s.stage == stageUp && w.body.Empty &&
		held > wait-wait/8 { // a server may count in whole seconds; an answer early by less counts as in time
		w.meters.record(mRelease, held-wait)
	}
	if k == kindCreate && !w.created(i, now) {
		return
	}
	if s.stage > stageCreating && s.stage < stageUp {
		w.step(i, payload)
		return
	}
	if k == kindPoll && w.body.Empty && held < tooSoon && s.open() == 0 && s.stage == stageUp {
		w.counters[cEarly]++
		w.backoffs.put(w.sessions, i, 1)
		return
	}
	w.pump(i)
}

// tooSoon is the time below which an empty answer to a lone poll is no long poll. Without a pause, client and server
// would continue at full speed.
const tooSoon = 50 * time.Millisecond

// onTheWay reports whether the request on connection c has been sent.
func (w *polling) onTheWay(c uint32) bool { return phase(w.r.Conn(c).Phase) == connBusy }

// isEarly reports whether a request older than q is unanswered. The server's payloads follow the order of the rids, but
// may arrive out of order on two connections. The answer to q therefore stays in its connection until resume.
func (w *polling) isEarly(i uint32, q int) bool {
	s := &w.sessions[i]
	o := s.other(q)
	return o != nil && o.rid < s.req[q].rid && s.stage < stageOver
}

// unblock resumes a connection whose answer was early, once the older request has been answered.
func (w *polling) unblock(i uint32) {
	for q := range w.sessions[i].req {
		if c := w.sessions[i].req[q].conn; c != noConn && w.r.Paused(c) && !w.isEarly(i, q) {
			w.r.Resume(c)
		}
	}
}

// pump performs the next action of session i.
func (w *polling) pump(i uint32) {
	s := &w.sessions[i]
	open := s.open()
	w.unblock(i)
	switch {
	case w.quit:
	case s.stage == stageEnding && open == 0:
		w.counters[cEnded]++
		w.ending--
		w.over(i)
	case s.stage == stageOver && open == 0 && w.revive:
		w.again(i)
	case s.stage != stageUp:
	case s.flags&flagLeaving != 0 && s.free() >= 0:
		w.bye(i)
	case w.calling && i == w.voice && s.free() >= 0:
		w.call()
	case open == 0:
		w.ask(i, kindPoll, 0, 0)
	}
}
