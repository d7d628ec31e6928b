package bosh

// earlyBody is the body of a request that came before an older one. The window bounds their number, and each is at most
// MaxBodyBytes long.
type earlyBody struct {
	rid  uint64
	body []byte
}

// keepEarly copies the body of request rid until its turn comes.
func (s *Session) keepEarly(rid uint64, body []byte) {
	r := s.rarely()
	r.early = append(r.early, earlyBody{rid, append([]byte(nil), body...)})
}

// takeEarly removes and returns the kept body of request rid.
func (s *Session) takeEarly(rid uint64) []byte {
	list := s.rare.early
	for i := range list {
		if list[i].rid == rid {
			body := list[i].body
			list[i] = list[len(list)-1]
			list[len(list)-1] = earlyBody{}
			s.rare.early = list[:len(list)-1]
			return body
		}
	}
	panic("bosh: an early request has no body")
}
