package load

import (
	"bytes"
	"log/slog"
	"strconv"
	"time"

	"megaphone/codec/markup"
	"megaphone/codec/ws"
	"megaphone/loop"
)

// ask sends an element of session i. With stream management a stanza is kept in session.req, from which it can be
// written again, until the server has acknowledged it.
func (w *streaming) ask(i uint32, k kind, seq uint32, at stamp) {
	s, c := &w.sessions[i], w.streams[i].conn
	n := w.build(i, k, seq, at, 0)
	if n == 0 && k == kindBatch {
		return // the broadcast is for none of those sessions
	}
	if s.flags&flagManaged != 0 && n > 0 {
		q := s.free()
		if q < 0 {
			panic("load: a third stanza of a session without an acknowledgement")
		}
		s.rid += uint64(n)
		s.req[q] = request{rid: s.rid, at: w.now(), seq: seq, stamp: at}
		s.kinds[q] = k
		w.addText("<r xmlns='" + nsSM + "'/>")
	}
	if k == kindTerminate {
		s.req = [2]request{{at: w.now()}} // nothing is resumed after it
	}
	w.sending(c, i, false)
	w.r.Write(c, w.lines.flush(), nil)
	if s.stage == stageUp && s.open() == 0 {
		w.r.Arm(c, silentTicks)
	}
}

// silentTicks is the deadline of a session that waits for nothing.
const silentTicks = uint32(silence / (loop.TickMillis * time.Millisecond))

// build adds the frames of an element to w.lines. It returns the number of stanzas in them. The first skip messages of
// a batch are left out, but counted.
func (w *streaming) build(i uint32, k kind, seq uint32, at stamp, skip int) (stanzas int) {
	s, l := &w.sessions[i], &w.lines
	b := l.text[:0]
	switch k {
	case kindCreate, kindRestart:
		b = append(b, l.open...)
	case kindAuth:
		b = w.write.appendAuth(b, s, w.number(i))
	case kindProof:
		b = appendProof(b, w.proofs[i].final)
	case kindBind:
		b, stanzas = append(b, w.write.bind...), 1
	case kindEnable:
		b = append(b, l.enable...)
	case kindResume:
		b = strconv.AppendUint(append(b, "<resume xmlns='"+nsSM+"' h='"...), uint64(w.streams[i].taken), 10)
		b = append(append(append(b, "' previd='"...), s.SID()...), "'/>"...)
	case kindPresence:
		b, stanzas = append(b, "<presence xmlns='jabber:client'/>"...), 1
	case kindPing:
		b = appendHex(append(b, "<iq xmlns='jabber:client' type='get' id='"+pingMark...), uint32(at))
		b, stanzas = append(b, "'><ping xmlns='urn:xmpp:ping'/></iq>"...), 1
	case kindMessage:
		b, stanzas = w.write.appendTo(b, w.addresses.at(s.partner), message{kind: kindChat, author: w.number(i),
			reader: w.number(s.partner), seq: seq, stamp: at}), 1
	case kindBatch:
		return w.buildBatch(i, seq, at, skip)
	case kindTerminate:
		b = append(b, "<close xmlns='"+nsFraming+"'/>"...)
	default:
		panic("load: a kind of request that WebSocket does not have")
	}
	l.text = b
	l.frame(w.r.Rand(), ws.Text, b)
	return stanzas
}

// buildBatch adds the messages of a broadcast to the sessions from the given one on.
func (w *streaming) buildBatch(i, from uint32, at stamp, skip int) (stanzas int) {
	for to := from; to < min(from+w.stride(), uint32(len(w.sessions))); to++ {
		if !w.meant(to) {
			continue
		}
		if stanzas++; stanzas <= skip {
			continue
		}
		w.lines.text = w.write.appendTo(w.lines.text[:0], w.addresses.at(to), message{kind: kindToAll,
			author: w.number(i), reader: w.number(to), seq: 1, stamp: at})
		w.lines.frame(w.r.Rand(), ws.Text, w.lines.text)
	}
	return stanzas
}

// addText adds the frame of an element.
func (w *streaming) addText(element string) {
	w.lines.text = append(w.lines.text[:0], element...)
	w.lines.frame(w.r.Rand(), ws.Text, w.lines.text)
}

// pingMark begins the IDs of pings, before the time at which they were sent.
const pingMark = "ping:"

// element takes an element of the server for session i. It borrows p.
func (w *streaming) element(c, i uint32, p []byte) {
	s := &w.sessions[i]
	switch name := localName(p); string(name) {
	case "message", "presence", "iq":
		w.stanza(i, name, p)
	case "r":
		w.acknowledge(c, i)
	case "a":
		w.acknowledged(i, p)
	case "open":
		w.opens(i)
	case "features":
		w.featured(i, p)
	case "challenge":
		if s.stage == stageAuth {
			w.challenged(i, p)
		}
	case "success":
		w.succeeded(i, p)
	case "failure":
		w.unexpected(i, "log-in refused", "reply", string(firstTag(p)))
	case "enabled", "resumed", "failed":
		w.managed(i, name, p)
	case "close":
		w.closes(c, i)
	case "error":
		w.refused(i, p)
	default:
		w.counters[cMalformed]++
		w.r.LogLimited(&w.oddLog, slog.LevelWarn, "unknown element", "element", string(firstTag(p)))
	}
}

// localName returns the name of an element without its prefix.
func localName(p []byte) []byte {
	var t markup.Tag
	if len(p) == 0 || p[0] != '<' || t.Open(p, 0) != markup.OK {
		return nil
	}
	return markup.Split(t.Name).Local
}

// attribute returns the value of an attribute, as it is written; nil if there is none.
func attribute(p []byte, name string) []byte {
	var t markup.Tag
	if t.Open(p, 0) != markup.OK {
		return nil
	}
	for {
		key, value, ok := t.Next()
		switch {
		case !ok:
			return nil
		case string(key) == name:
			return value
		}
	}
}

// stanza takes a stanza for session i.
func (w *streaming) stanza(i uint32, name, p []byte) {
	s := &w.sessions[i]
	if s.flags&flagManaged != 0 {
		w.streams[i].taken++
	}
	switch {
	case s.stage == stageBind && string(name) == "iq":
		w.addressed(i, p)
	case s.stage < stageUp || s.stage == stageOver:
	case string(name) == "message":
		w.receive(i, p)
	case string(name) == "presence":
		w.hasCome(s)
	default:
		if _, id, ok := bytes.Cut(p, []byte(pingMark)); ok && len(id) > 8 && s.flags&flagBack != 0 {
			if at, ok := parseHex(id); ok {
				w.meters.record(mBack, w.now().since(stamp(at)))
			}
		}
	}
}

// addressed takes the answer to a bind.
func (w *streaming) addressed(i uint32, p []byte) {
	s := &w.sessions[i]
	switch {
	case bytes.Contains(p, wordError):
		w.unexpected(i, "log-in refused", "reply", string(firstTag(p)))
	case !w.address(i, p):
	case s.flags&flagOffered != 0:
		s.stage = stageEnable
		w.ask(i, kindEnable, 0, 0)
	default:
		w.arrived(i)
	}
}

// arrived marks session i as up. Its earlier failures count until it has been up for a while.
func (w *streaming) arrived(i uint32) {
	s := &w.sessions[i]
	fails := s.fails
	w.r.Arm(w.streams[i].conn, silentTicks)
	w.bound(i)
	s.fails = fails
}

// opens takes the server's <open/>.
func (w *streaming) opens(i uint32) {
	s := &w.sessions[i]
	if s.stage != stageCreating {
		return
	}
	w.meters.record(mCreation, w.now().since(s.began))
	s.stage = stageFeatures
	if w.cfg.Login == LoginNone {
		w.arrived(i)
	}
}

// featured takes the server's features, before and after the log-in.
func (w *streaming) featured(i uint32, p []byte) {
	s := &w.sessions[i]
	switch s.stage {
	case stageFeatures:
		s.stage = stageAuth
		w.ask(i, kindAuth, 0, 0)
	case stageRestart:
		if bytes.Contains(p, []byte(nsSM)) {
			s.flags |= flagOffered
		}
		if s.sidLen > 0 {
			s.stage = stageResume
			w.ask(i, kindResume, 0, 0)
			return
		}
		s.stage = stageBind
		w.ask(i, kindBind, 0, 0)
	}
}

// succeeded takes the end of SASL.
func (w *streaming) succeeded(i uint32, p []byte) {
	s := &w.sessions[i]
	switch {
	case s.stage != stageAuth:
	case !w.proven(i, p):
		w.unexpected(i, "server proof wrong or missing")
	default:
		s.stage = stageRestart
		w.ask(i, kindRestart, 0, 0)
	}
}

// closes takes the server's <close/>, the answer to that of session i or the end of it.
func (w *streaming) closes(c, i uint32) {
	s := &w.sessions[i]
	if s.stage != stageEnding {
		w.counters[cTerminated]++
		w.end(i, s.stage != stageUp)
		return
	}
	if phase(w.r.Conn(c).Phase) == connStream {
		w.meters.record(mEnd, w.now().since(s.req[0].at))
		w.sendClose(c, ws.CodeNormal)
		w.r.Conn(c).Phase = uint8(connClosing)
		w.r.Arm(c, closeTicks)
	}
}

// refused takes a stream error, which ends session i.
func (w *streaming) refused(i uint32, p []byte) {
	if s := &w.sessions[i]; s.stage < stageEnding {
		w.counters[cTerminated]++
		w.r.LogLimited(&w.endLog, slog.LevelWarn, "session ended by server", "element", string(firstTag(p)))
		w.end(i, s.stage != stageUp)
	}
}
