package load

import (
	"bytes"
	"log/slog"
	"strconv"

	"megaphone/codec/ws"
)

// acknowledge answers the server's question for the stanzas that session i has got (XEP-0198 section 4).
func (w *streaming) acknowledge(c, i uint32) {
	if w.sessions[i].flags&flagManaged == 0 {
		return
	}
	b := strconv.AppendUint(append(w.lines.text[:0], "<a xmlns='"+nsSM+"' h='"...), uint64(w.streams[i].taken), 10)
	w.lines.text = append(b, "'/>"...)
	w.lines.frame(w.r.Rand(), ws.Text, w.lines.text)
	w.r.Write(c, w.lines.flush(), nil)
}

// acknowledged takes the server's count of the stanzas that it has got from session i.
func (w *streaming) acknowledged(i uint32, p []byte) {
	s := &w.sessions[i]
	if s.flags&flagManaged == 0 || !w.settle(i, attribute(p, "h")) {
		return
	}
	if s.stage == stageUp && s.open() == 0 {
		w.r.Arm(w.streams[i].conn, silentTicks)
	}
	w.pump(i)
}

// settle forgets the stanzas of session i that the server has got. It returns false if the session has ended, because
// the count is malformed or that of more stanzas than were sent.
func (w *streaming) settle(i uint32, count []byte) bool {
	s := &w.sessions[i]
	h, ok := parseDecimal(count)
	if !ok || uint64(h) > s.rid {
		w.counters[cMalformed]++
		w.r.LogLimited(&w.oddLog, slog.LevelWarn, "malformed acknowledgement", "h", string(count), "sent", s.rid)
		w.end(i, s.stage != stageUp)
		return false
	}
	now := w.now()
	for q := range s.req {
		if r := &s.req[q]; r.rid != 0 && r.rid <= uint64(h) {
			w.meters.record(mAck, now.since(r.at))
			*r = request{}
		}
	}
	return true
}

// managed takes the answer to <enable/> or <resume/>.
func (w *streaming) managed(i uint32, name, p []byte) {
	s := &w.sessions[i]
	switch string(name) {
	case "enabled":
		if s.stage == stageEnable {
			w.enabled(i, p)
		}
	case "resumed":
		if s.stage == stageResume {
			w.resumed(i, p)
		}
	case "failed":
		switch s.stage {
		case stageEnable:
			w.arrived(i)
		case stageResume:
			w.forgotten(i)
		}
	}
}

// enabled begins to count stanzas. A name for resumption that is too long, or is not written as it is read, is not
// used.
func (w *streaming) enabled(i uint32, p []byte) {
	s := &w.sessions[i]
	s.flags |= flagManaged
	s.rid, w.streams[i].taken = 0, 0
	may, id := attribute(p, "resume"), attribute(p, "id")
	if (string(may) == "true" || string(may) == "1") && len(id) <= maxSIDBytes && !bytes.ContainsAny(id, "&'") {
		s.sidLen = uint8(copy(s.sid[:], id))
	}
	w.arrived(i)
}

// resumed continues session i over another WebSocket. It sends the stanzas again that the server has not got.
func (w *streaming) resumed(i uint32, p []byte) {
	s := &w.sessions[i]
	h := attribute(p, "h")
	if !w.settle(i, h) {
		return
	}
	got, _ := parseDecimal(h)
	w.counters[cContinued]++
	w.meters.record(mLogin, w.now().since(s.began))
	s.flags |= flagManaged
	fails := s.fails
	w.up(i)
	s.fails = fails
	c := w.streams[i].conn
	w.r.Arm(c, silentTicks)
	for _, q := range s.order() {
		r := &s.req[q]
		if r.rid == 0 {
			continue
		}
		skip := 0 // messages of a batch that the server has got
		if s.kinds[q] == kindBatch {
			skip = max(0, got-int(r.rid)+w.batchSize(r.seq))
		}
		w.counters[cResent]++
		w.build(i, s.kinds[q], r.seq, r.stamp, skip)
	}
	if s.open() > 0 {
		w.addText("<r xmlns='" + nsSM + "'/>")
		w.sending(c, i, true)
		w.r.Write(c, w.lines.flush(), nil)
	}
	w.pump(i)
}

// forgotten ends session i, which the server will not resume. In a storm a new one begins on the same stream.
func (w *streaming) forgotten(i uint32) {
	s := &w.sessions[i]
	w.counters[cNotContinued]++
	if !w.stormy {
		w.end(i, false)
		return
	}
	w.counters[cRenewed]++
	w.counters[cStarted]++
	s.req, s.rid, s.sidLen, s.sent, s.inbox = [2]request{}, 0, 0, 0, inbox{}
	s.stage = stageBind
	w.ask(i, kindBind, 0, 0)
}
