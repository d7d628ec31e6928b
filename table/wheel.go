package table

import "math/bits"

// The wheel's shape: four levels of 64 buckets reach 1<<24 ticks. Deadlines farther ahead wait in one list.
const (
	levels     = 4
	digitBits  = 6
	digits     = 1 << digitBits
	digitMask  = digits - 1
	wheelBits  = levels * digitBits
	bucketFar  = levels * digits // 1<<24 ticks ahead or more, scattered whenever now passes a multiple of that
	bucketDue  = bucketFar + 1   // deadline <= now: popped by Expired
	bucketLate = bucketFar + 2   // armed with a deadline <= now: due at the next Advance
	buckets    = bucketFar + 3
)

// maxTicks is the longest timeout for Arm and the longest step for Advance. Ticks form a circle of 1<<32: less than
// half of it ahead is the future, the other half the past. So the counter may wrap.
const maxTicks = 1<<31 - 1

// Wheel is the timing wheel of a table of connections. It keeps only list heads: the links are in the slots. A table
// has one wheel.
//
// Invariant: an armed slot whose Deadline is ahead is in the bucket of its digit in some level, where that bucket will
// be entered before any other deadline of the same digit. Or it is in far, with a multiple of 1<<24 before its
// Deadline. A slot whose Deadline is not ahead is in due, or in late if it was not ahead when it was armed.
// Invariant: a bit of occupied is set if and only if that bucket is not empty.
type Wheel struct {
	conns    *Conns
	now      uint32
	armed    int
	occupied [levels]uint64
	heads    [buckets]links
}

// NewWheel returns the wheel of t at tick now. No slot of t is armed yet.
func NewWheel(t *Conns, now uint32) *Wheel {
	w := &Wheel{conns: t, now: now}
	for b := range w.heads {
		w.empty(uint32(b))
	}
	return w
}

// len returns the number of armed connections, including those that have expired but were not popped yet.
func (w *Wheel) len() int { return w.armed }

// Arm makes connection i expire at tick deadline, at most maxTicks ahead. It replaces an earlier deadline. A deadline
// that is not ahead expires at the next Advance, not in a current Expired loop, so that such a loop ends. A deadline of
// 0 becomes 1, because 0 in Conn.Deadline means not armed.
func (w *Wheel) Arm(i uint32, deadline uint32) {
	c := &w.conns.slots[i]
	if !c.live() {
		panic("table: Arm of a free connection slot")
	}
	if deadline == 0 {
		deadline = 1
	}
	ahead := after(deadline, w.now)
	if c.next != 0 {
		if ahead && c.Deadline == deadline {
			return // Requests that arrive in one tick often have equal deadlines.
		}
		w.unlink(c)
		w.armed--
	}
	c.Deadline = deadline
	w.armed++
	if ahead {
		w.push(w.bucketOf(deadline), i)
	} else {
		w.push(bucketLate, i)
	}
	w.checkInvariants()
}

// Disarm removes connection i from the wheel; it has no effect if i is not armed.
func (w *Wheel) Disarm(i uint32) {
	c := &w.conns.slots[i]
	if !c.live() {
		panic("table: Disarm of a free connection slot")
	}
	if c.next == 0 {
		return
	}
	w.unlink(c)
	c.Deadline = 0
	w.armed--
	w.checkInvariants()
}

// Expired pops and disarms a connection whose deadline is not after the tick of the last Advance. Between calls the
// caller may arm, disarm and free any connection, including this one and others that are due. Deadlines of different
// ticks come in order if Advance steps tick by tick. Connections of one tick come in any order.
func (w *Wheel) Expired() (i uint32, ok bool) {
	i = w.heads[bucketDue].next
	if i >= headBase {
		return 0, false
	}
	w.Disarm(i)
	return i, true
}

// Advance moves time to tick now. However far the step, it looks once at each level, and moves each connection in the
// buckets entered once. A machine that slept for hours pays the same as one that slept for a second. Ticks that are not
// ahead change nothing, because time does not go back.
func (w *Wheel) Advance(now uint32) {
	w.splice(bucketDue, bucketLate)
	if !after(now, w.now) {
		w.checkInvariants()
		return
	}
	old := w.now
	w.now = now
	for level := range levels {
		shift := level * digitBits
		first := old>>shift + 1 // the first bucket to leave or to enter, not reduced to a digit
		steps := (now - old>>shift<<shift) >> shift
		if steps == 0 {
			break // The same bucket of this level, and so of the levels above.
		}
		// The deadlines in the buckets before the entered one have all passed, so they need no individual check. A
		// bucket of level 0 is a single tick, so the entered one has passed there too.
		n := steps - 1
		if level == 0 {
			n = steps
		}
		passed := uint64(1)<<n - 1 // all of them if n is 64 or more
		for m := bits.RotateLeft64(w.occupied[level], -int(first&digitMask)) & passed; m != 0; m &= m - 1 {
			digit := (first + uint32(bits.TrailingZeros64(m))) & digitMask
			w.splice(bucketDue, uint32(level*digits)+digit)
			w.occupied[level] &^= 1 << digit
		}
		if entered := now >> shift & digitMask; w.occupied[level]>>entered&1 != 0 {
			w.scatter(uint32(level*digits) + entered)
		}
	}
	if old>>wheelBits != now>>wheelBits {
		w.scatter(bucketFar)
	}
	w.checkInvariants()
}

// after reports whether tick a is after tick b on the circle of ticks.
func after(a, b uint32) bool { return int32(a-b) > 0 }

// bucketOf returns the bucket of a deadline that is ahead: the level by its distance, the bucket by the deadline's
// digit. The level could also be the highest digit that differs from now, which never wraps within a level. But then
// nearly all connections would change levels at once whenever a high digit of now changes.
func (w *Wheel) bucketOf(deadline uint32) uint32 {
	level := (bits.Len32(deadline-w.now) - 1) / digitBits
	if level >= levels {
		return bucketFar
	}
	return uint32(level*digits) + deadline>>(level*digitBits)&digitMask
}

// scatter moves each connection of bucket b to the bucket for its distance now.
func (w *Wheel) scatter(b uint32) {
	i := w.take(b)
	for i != 0 {
		c := &w.conns.slots[i]
		next := c.next
		if after(c.Deadline, w.now) {
			w.push(w.bucketOf(c.Deadline), i)
		} else {
			w.push(bucketDue, i)
		}
		i = next
	}
}
