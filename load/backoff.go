package load

import "math/rand/v2"

const (
	backoffTicks    = 1024 // 102 seconds: more than the longest wait of any client
	minBackoffTicks = 2    // the first try again comes after 0.1 to 0.2 s
	maxBackoffTicks = 100  // and a later one after 10 s at most, unless the server asks for more
	maxAskedTicks   = 250
)

// backoffs lists the sessions that wait to send something again, by the tick at which they will. A list goes through
// session.next; a session is taken out only when its time has come.
type backoffs struct {
	heads [backoffTicks]uint32 // index+1 of the first session of a tick; 0: none
	now   uint32
	n     int
}

// put has session i come up ticks from now.
func (b *backoffs) put(sessions []session, i uint32, ticks uint32) {
	s := &sessions[i]
	if s.flags&flagWaiting != 0 {
		return // it will look for all that it has to send
	}
	s.flags |= flagWaiting
	head := &b.heads[(b.now+min(max(ticks, 1), backoffTicks-1))%backoffTicks]
	s.next, *head = *head, i+1
	b.n++
}

// due moves on by a tick and calls f with the sessions whose time has come.
func (b *backoffs) due(sessions []session, f func(i uint32)) {
	b.now++
	head := &b.heads[b.now%backoffTicks]
	i := *head
	*head = 0
	for i != 0 {
		s := &sessions[i-1]
		next := s.next
		s.next, s.flags = 0, s.flags&^flagWaiting
		b.n--
		f(i - 1)
		i = next
	}
}

// backoff is how long to wait before try number tries: half of it for sure, half by chance, so that a million clients
// of an edge that was restarted do not come back in step. asked is what the server asked for in Retry-After.
func backoff(r *rand.Rand, tries uint8, asked uint32) uint32 {
	most := min(uint32(minBackoffTicks)<<min(tries, 10), maxBackoffTicks)
	most = max(most, min(asked, maxAskedTicks))
	half := most / 2
	return half + r.Uint32N(most-half+1)
}
