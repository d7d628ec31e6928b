package bosh

// kept is a reply that was given and may have to be given again (XEP-0124, section 14.3).
type kept struct {
	body []byte // empty: the empty <body/>
	at   int64  // ms, the time of the reply; 0: the entry is unused
}

// reusableBytes is the largest kept buffer that its successor reuses.
const reusableBytes = 256

// keep stores body as the reply to request rid. nil stands for the empty <body/>.
func (s *Session) keep(rid uint64, body []byte) {
	k := &s.kept[rid%uint64(len(s.kept))]
	switch {
	case len(body) == 0 && cap(k.body) <= reusableBytes:
		k.body = k.body[:0]
	case len(body) == 0:
		k.body = nil
	case cap(k.body) >= len(body) && cap(k.body) <= reusableBytes:
		k.body = append(k.body[:0], body...)
	default:
		k.body = append(make([]byte, 0, len(body)), body...)
	}
	k.at = s.engine.now
	if rid > uint64(s.requests) && s.limit(rid-uint64(s.requests)) == uint64(s.requests) {
		s.kept[(rid-uint64(s.requests))%uint64(len(s.kept))] = kept{} // too old now: see recall
	}
}

// limit returns how many replies count as kept, seen from request rid. That is as many as the client may have open
// requests, plus one for the last pause.
func (s *Session) limit(rid uint64) uint64 {
	if s.rare != nil && s.rare.pausedRID > rid {
		return uint64(s.requests) + 1
	}
	return uint64(s.requests)
}

// recall returns the kept reply to request rid, or nil if there is none or it is too old.
func (s *Session) recall(rid uint64) *kept {
	if rid > s.answered || s.answered-rid >= s.limit(rid) {
		return nil
	}
	k := &s.kept[rid%uint64(len(s.kept))]
	if k.at == 0 {
		return nil
	}
	return k
}
