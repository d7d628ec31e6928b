package bosh

// The wheel's resolution and reach. A deadline is met within a tick and the interval of Engine.Tick.
const (
	wheelTickShift = 4    // a tick is 16 ms, so the polls that end together are few, and no request waits behind many
	wheelBuckets   = 8192 // 8192 ticks: 131 s, longer than nearly every deadline
	wheelMask      = wheelBuckets - 1
	wheelReach     = wheelBuckets << wheelTickShift // ms
)

// wheel keeps the sessions in buckets by deadline. Nearly every request postpones its session's deadline, which only
// overwrites the number. The session stays in its bucket until the bucket's tick comes, and then moves to the right
// one. A session polled every few seconds therefore moves once a minute. A deadline beyond the wheel's reach waits in
// the farthest bucket and goes around again.
//
// Invariant: a session in bucket i has slot&wheelMask == i, slot > tick, and slot is not later than its deadline's
// tick.
type wheel struct {
	buckets [wheelBuckets]*Session
	tick    int64 // buckets up to this tick have been visited
}

// arm sets s's deadline, in ms.
func (w *wheel) arm(s *Session, deadline int64) {
	s.deadline = deadline
	slot := deadline>>wheelTickShift + 1
	if s.slot != 0 {
		if s.slot <= slot {
			return
		}
		w.unlink(s)
	}
	w.link(s, min(max(slot, w.tick+1), w.tick+wheelBuckets-1))
}

// disarm removes s, if it is in the wheel.
func (w *wheel) disarm(s *Session) {
	if s.slot != 0 {
		w.unlink(s)
	}
}

// advance moves the time to now (ms) and calls expire for each session whose deadline has passed. expire may arm and
// disarm any session.
func (w *wheel) advance(now int64, expire func(s *Session)) {
	last := now >> wheelTickShift
	// Each bucket is visited at most once, however long ago the last visit was.
	w.tick = max(w.tick, last-wheelBuckets)
	for w.tick < last {
		w.tick++
		bucket := &w.buckets[w.tick&wheelMask]
		for s := *bucket; s != nil; s = *bucket {
			w.unlink(s)
			if s.deadline > now {
				w.arm(s, s.deadline)
			} else {
				expire(s)
			}
		}
	}
}

func (w *wheel) link(s *Session, slot int64) {
	head := &w.buckets[slot&wheelMask]
	s.slot, s.prev, s.next = slot, nil, *head
	if s.next != nil {
		s.next.prev = s
	}
	*head = s
}

func (w *wheel) unlink(s *Session) {
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		w.buckets[s.slot&wheelMask] = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
	s.slot, s.prev, s.next = 0, nil, nil
}
