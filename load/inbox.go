package load

import "math/bits"

// inboxWindow is the number of messages that one author may have in flight. Within it all messages are distinguished,
// so lost, duplicated and reordered ones are counted exactly.
const inboxWindow = 64

// inbox accounts for the messages from one author, which are numbered from 1.
//
// Invariant: bit b of seen is set if and only if message next-1-b has arrived. Message next-1 has.
type inbox struct {
	seen uint64
	next uint32 // one more than the highest number that has arrived; 0 and 1 both mean none
}

// arrival classifies the arrival of a message.
type arrival uint8

const (
	arrivedInOrder arrival = iota // the successor of the last one
	arrivedAhead                  // before others of lower numbers, which are now missing
	arrivedLate                   // one of the missing ones
	arrivedAgain                  // a duplicate
)

// take records the arrival of message seq. The author may not send message n+inboxWindow before message n has arrived;
// see room.
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

// oldest returns the lowest number that has not arrived.
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

// room reports whether the author may send message seq.
func (b *inbox) room(seq uint32) bool { return seq-b.oldest() < inboxWindow }
