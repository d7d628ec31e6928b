package load

import "math/rand/v2"

const (
	backoffTicks    = 1024 // 102 seconds: longer than the longest wait of any client
	minBackoffTicks = 2    // the first retry comes after 0.1 to 0.2 s
	maxBackoffTicks = 100  // and a later one after at most 10 s, unless the server asks for more
	maxAskedTicks   = 250
)

// backoffs lists the sessions in a back-off by the tick at which it ends. The lists go through session.next. A session
// leaves its list only when its tick comes.
type backoffs struct {
	heads [backoffTicks]uint32 // index+1 of the first session of a tick; 0: none
	now   uint32
	n     int
}

// put schedules session i for ticks from now.
func (b *backoffs) put(sessions []session, i uint32, ticks uint32) {
	s := &sessions[i]
	if s.flags&flagWaiting != 0 {
		return // when its tick comes it will send everything that waits
	}
	s.flags |= flagWaiting
	head := &b.heads[(b.now+min(max(ticks, 1), backoffTicks-1))%backoffTicks]
	s.next, *head = *head, i+1
	b.n++
}

// due advances by one tick and calls f with the sessions whose tick has come.
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

// backoff returns the wait before try number tries. Half of it is random, so that a million clients of a restarted edge
// do not return in step. asked is the server's Retry-After in ticks.
func backoff(r *rand.Rand, tries uint8, asked uint32) uint32 {
	most := min(uint32(minBackoffTicks)<<min(tries, 10), maxBackoffTicks)
	most = max(most, min(asked, maxAskedTicks))
	half := most / 2
	return half + r.Uint32N(most-half+1)
}
