package load

import "bytes"

// created takes the session ID from the creation's reply. It returns false if the session has ended.
func (w *polling) created(i uint32, now stamp) bool {
	s := &w.sessions[i]
	sid := w.body.SID
	if len(sid) == 0 || len(sid) > maxSIDBytes {
		w.unexpected(i, "sid missing or too long in creation reply")
		return false
	}
	s.sidLen = uint8(copy(s.sid[:], sid))
	if wait, ok := parseDecimal(w.body.Wait); ok && wait < maxWait {
		s.wait = uint16(wait)
	}
	w.meters.record(mCreation, now.since(s.began))
	if w.cfg.Login == LoginNone {
		w.up(i)
		return true
	}
	s.stage = stageFeatures
	return true
}

// The marks of a log-in's replies. The replies are short and come one at a time, so a substring search suffices.
var (
	wordFeatures  = []byte("features")
	wordBind      = []byte("urn:ietf:params:xml:ns:xmpp-bind")
	wordSuccess   = []byte("<success")
	wordChallenge = []byte("<challenge")
	wordPresence  = []byte("<presence")
	wordFailure   = []byte("<failure")
	wordJID       = []byte("<jid>")
	wordEndJID    = []byte("</jid>")
	wordError     = []byte("<error")
)

// step continues a log-in. If an answer does not contain what the log-in waits for, the session polls for it.
func (w *polling) step(i uint32, payload []byte) {
	s := &w.sessions[i]
	switch {
	case bytes.Contains(payload, wordFailure) || s.stage == stageBind && bytes.Contains(payload, wordError):
		w.unexpected(i, "log-in refused", "reply", string(firstTag(payload)))
	case s.stage == stageFeatures && bytes.Contains(payload, wordFeatures):
		s.stage = stageAuth
		w.ask(i, kindAuth, 0, 0)
	case s.stage == stageAuth && bytes.Contains(payload, wordChallenge):
		w.challenged(i, payload)
	case s.stage == stageAuth && bytes.Contains(payload, wordSuccess):
		if !w.proven(i, payload) {
			w.unexpected(i, "server proof wrong or missing")
			return
		}
		s.stage = stageRestart
		w.ask(i, kindRestart, 0, 0)
	case s.stage == stageRestart && bytes.Contains(payload, wordBind):
		s.stage = stageBind
		w.ask(i, kindBind, 0, 0)
	case s.stage == stageBind && bytes.Contains(payload, wordJID):
		if w.address(i, payload) {
			w.bound(i)
		}
	case s.open() == 0:
		w.ask(i, kindPoll, 0, 0)
	}
}

// bound ends the log-in of session i.
func (w *worker) bound(i uint32) {
	w.up(i)
	if w.cfg.Presence {
		w.transport.ask(i, kindPresence, 0, 0)
		return
	}
	w.transport.pump(i)
}

// address stores the address of session i, whose log-in has succeeded. It returns false if the session has ended.
func (w *worker) address(i uint32, payload []byte) bool {
	_, jid, _ := bytes.Cut(payload, wordJID)
	jid, _, whole := bytes.Cut(jid, wordEndJID)
	if !whole || !w.addresses.set(i, jid) {
		w.unexpected(i, "session address missing or too long", "jid", string(firstTag(jid)))
		return false
	}
	w.meters.record(mLogin, w.now().since(w.sessions[i].began))
	return true
}
