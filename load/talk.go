package load

import "math"

// maxPicks is the number of random sessions to try for one that may send.
const maxPicks = 16

// talk sends the messages that are due, from random sessions.
func (w *worker) talk(now stamp) {
	for n := w.talks.due(now); n > 0; n-- {
		w.talks.done++
		w.sendOne(now)
	}
}

func (w *worker) sendOne(now stamp) {
	for range maxPicks {
		i := w.r.Rand().Uint32N(uint32(len(w.sessions)))
		if w.mayTalk(i, now) {
			s := &w.sessions[i]
			s.sent++
			w.counters[cSent]++
			w.transport.ask(i, kindMessage, s.sent, now)
			return
		}
	}
	w.counters[cUnsendable]++
}

// mayTalk reports whether session i can send a message now and its partner can account for it.
func (w *worker) mayTalk(i uint32, now stamp) bool {
	s := &w.sessions[i]
	to := &w.sessions[s.partner]
	if s.stage != stageUp || s.flags&(flagWaiting|flagLeaving) != 0 || to.stage != stageUp || !to.inbox.room(s.sent+1) {
		return false
	}
	return w.transport.mayAsk(i, now)
}

// receive accounts for the messages in a payload for session i.
func (w *worker) receive(i uint32, payload []byte) {
	s := &w.sessions[i]
	me := w.number(i)
	for {
		m, rest, ok := nextMessage(payload)
		if !ok {
			return
		}
		payload = rest
		switch {
		case m.run != w.write.run:
			w.counters[cForeign]++
		case m.reader != me && m.author == me:
			w.counters[cBounced]++
		case m.reader != me:
			w.counters[cMisplaced]++
		case m.kind == kindToAll:
			w.hear(s, &m)
		case m.author != w.number(s.author) || m.seq == 0 || m.seq > w.sessions[s.author].sent:
			w.counters[cMisplaced]++
		default:
			w.account(s, &m)
		}
	}
}

func (w *worker) account(s *session, m *message) {
	switch s.inbox.take(m.seq) {
	case arrivedAgain:
		w.counters[cDuplicated]++
		return
	case arrivedLate:
		w.counters[cReordered]++
	}
	w.counters[cDelivered]++
	w.meters.record(mDelivery, w.now().since(m.stamp))
}

// batchBytes is the approximate size of a broadcast request's contents.
const batchBytes = 16 << 10

// batch returns the number of messages in a broadcast request.
func (w *worker) batch() uint32 {
	return uint32(max(1, batchBytes/(w.cfg.Size+w.addresses.slot+80)))
}

// stride returns the number of sessions that one batch covers. It exceeds the batch if only a part of the sessions gets
// the broadcast.
func (w *worker) stride() uint32 { return uint32(float64(w.batch()) / w.cfg.Part) }

// batchSize returns the number of messages in the batch that begins with session from.
func (w *worker) batchSize(from uint32) (n int) {
	for i := from; i < min(from+w.stride(), uint32(len(w.sessions))); i++ {
		if w.meant(i) {
			n++
		}
	}
	return n
}

// meant reports whether the broadcast is for session i. Its recipients are the configured part of the sessions, evenly
// spread, and only those with known addresses.
func (w *worker) meant(i uint32) bool {
	n := float64(w.number(i))
	return math.Floor((n+1)*w.cfg.Part) > math.Floor(n*w.cfg.Part) && w.addresses.size[i] > 0
}

// shout begins a broadcast: the last session sends a message to every other and to itself, many in each request. Its
// own message comes last, so the earlier requests get answers without payload. Each answer shows that the next request
// has arrived. If no session is up, the first one sends the messages when it is back.
func (w *worker) shout(at stamp) {
	if len(w.sessions) == 0 {
		return
	}
	i := len(w.sessions) - 1
	for i > 0 && w.sessions[i].stage != stageUp {
		i--
	}
	w.voice, w.aloud, w.calling, w.called = uint32(i), 0, true, at
	w.transport.pump(w.voice)
}

// hush ends a broadcast. It returns the number of its messages that were not sent.
func (w *worker) hush() (unsent uint64) {
	for ; w.calling && w.aloud < uint32(len(w.sessions)); w.aloud++ {
		if w.meant(w.aloud) {
			unsent++
		}
	}
	w.calling = false
	return unsent
}

// call sends the next batch. It sends one per answer instead of as many as fit; see gap.
func (w *worker) call() {
	from := w.aloud
	w.aloud = min(from+w.stride(), uint32(len(w.sessions)))
	w.counters[cSent] += uint64(w.batchSize(from))
	w.calling = w.aloud < uint32(len(w.sessions))
	w.transport.ask(w.voice, kindBatch, from, w.called)
}

// hear accounts for a broadcast message.
func (w *worker) hear(s *session, m *message) {
	if s.flags&flagGot != 0 {
		w.counters[cDuplicated]++
		return
	}
	s.flags |= flagGot
	w.counters[cDelivered]++
	w.meters.record(mBroadcast, w.now().since(m.stamp))
}
