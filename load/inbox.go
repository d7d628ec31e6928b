package load

import "math/bits"

// inboxWindow is how many messages of one author may be under way at once. Within it every message is told from every
// other, so that what is lost, twice or out of order is known exactly.
const inboxWindow = 64

// inbox keeps account of the messages from one author, which are numbered from 1.
//
// Invariant: bit b of seen says whether message next-1-b has come; next-1 has.
type inbox struct {
	seen uint64
	next uint32 // one more than the highest number that has come; 0 and 1 both mean that none has
}

// arrival is how a message came.
type arrival uint8

const (
	arrivedInOrder arrival = iota // the one behind the last
	arrivedAhead                  // before others of lower numbers, which are missing now
	arrivedLate                   // one of those that were missing
	arrivedAgain                  // had come before
)

// take notes message seq. The author may not send message n+inboxWindow before message n has come; see room.
func (b *inbox) take(seq uint32) arrival {
	b.next = max(b.next, 1)
	if seq >= b.next {
		gap := seq - b.next
		b.seen = b.seen<<(gap+1) | 1
		b.next = seq + 1
		if gap > 0 {
			return arrivedAhead
		}
		return arrivedInOrder
	}
	back := b.next - 1 - seq
	if back >= inboxWindow || b.seen>>back&1 != 0 {
		return arrivedAgain
	}
	b.seen |= 1 << back
	return arrivedLate
}

// oldest is the lowest number that has not come.
func (b *inbox) oldest() uint32 {
	next := max(b.next, 1)
	missing := ^b.seen
	if n := next - 1; n < inboxWindow {
		missing &= 1<<n - 1
	}
	if missing == 0 {
		return next
	}
	return next - uint32(bits.Len64(missing))
}

// room says whether its author may send message seq.
func (b *inbox) room(seq uint32) bool { return seq-b.oldest() < inboxWindow }
