package bosh

// kept is a reply that has been given and may have to be given again (XEP-0124, section 14.3).
type kept struct {
	body []byte // empty: the empty <body/>
	at   int64  // ms, when it was given; 0: nothing is kept here
}

// reusableBytes is the size up to which a kept reply's buffer is used again for the next one in its place.
const reusableBytes = 256

// keep remembers body as the reply to request rid; nil stands for the empty <body/>.
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

// limit is how many replies count as kept, seen from request rid: as many as the client may have requests open, and
// that of the last pause comes on top.
func (s *Session) limit(rid uint64) uint64 {
	if s.rare != nil && s.rare.pausedRID > rid {
		return uint64(s.requests) + 1
	}
	return uint64(s.requests)
}

// recall returns what is kept for request rid, nil when that is nothing or no longer anything.
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
