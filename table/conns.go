package table

// Conns is a fixed number of connection slots. NewConns allocates all its memory. Untouched pages cost only address
// space until their slots are first used.
//
// Invariant: every index from 1 to Cap is exactly one of live, in the free queue, or at or above fresh.
type Conns struct {
	slots []Conn // slots[0] is never used, so that index 0 can mean none

	// fresh is the lowest index never used. Unused slots count as the oldest free ones, so they are taken first, and
	// then the queue of freed slots, from its first (freed longest ago) to its last.
	fresh       uint32
	first, last uint32
	live        int
}

// NewConns allocates a table for capacity connections, 1 to 1<<30.
func NewConns(capacity int) *Conns {
	checkCapacity(capacity)
	return &Conns{slots: make([]Conn, capacity+1), fresh: 1}
}

// Alloc takes the slot that has been free longest, so that a generation lasts for the longest possible time. The slot
// is zero except for its new generation. ok is false if all slots are in use.
func (t *Conns) Alloc() (i uint32, ok bool) {
	switch {
	case int(t.fresh) < len(t.slots):
		i = t.fresh
		t.fresh++
	case t.first != 0:
		i = t.first
		t.first = t.slots[i].next
		if t.first == 0 {
			t.last = 0
		}
		checkConnPoison(&t.slots[i])
	default:
		return 0, false
	}
	c := &t.slots[i]
	*c = Conn{gen: nextGen(c.gen)}
	t.live++
	t.checkInvariants()
	return i, true
}

// Free releases slot i; handles to it are stale from here on. The caller has disarmed the connection and popped its
// holds. Free panics if the slot is free, armed or has holds. Freeing it would tie the free queue into the wheel, or
// leave holds behind without an answer.
func (t *Conns) Free(i uint32) {
	c := &t.slots[i]
	switch {
	case !c.live():
		panic("table: Free of a free connection slot")
	case c.next != 0:
		panic("table: Free of an armed connection")
	case c.Held != 0:
		panic("table: Free of a connection with holds")
	}
	poisonConn(c)
	c.next, c.prev = 0, freed
	if t.last == 0 {
		t.first = i
	} else {
		t.slots[t.last].next = i
	}
	t.last = i
	t.live--
	t.checkInvariants()
}

// At returns slot i, live or not, for i from 1 to Cap. The pointer is valid until the slot is freed.
func (t *Conns) At(i uint32) *Conn { return &t.slots[i] }

// gen returns the generation of slot i.
func (t *Conns) gen(i uint32) uint32 { return t.slots[i].gen }

// len returns the number of live slots.
func (t *Conns) len() int { return t.live }

// Cap returns the number of slots, live or not.
func (t *Conns) Cap() int { return len(t.slots) - 1 }

// handle returns the handle of the present use of slot i.
func (t *Conns) handle(i uint32) Handle { return handleOf(t.slots[i].gen, i) }

// resolve returns the slot that h names. ok is false if that use has ended, or if h is any other number: h may come
// from anywhere.
func (t *Conns) resolve(h Handle) (i uint32, ok bool) {
	i = h.Index()
	if h.gen() == 0 || uint64(i) >= uint64(len(t.slots)) {
		return 0, false
	}
	if c := &t.slots[i]; c.gen != h.gen() || c.prev == freed {
		return 0, false
	}
	return i, true
}
