package table

// Holds is a fixed number of hold slots. Holds of one connection form a FIFO in the order of parking, because HTTP
// answers leave in the order of the requests.
//
// Invariant: every index from 1 to Cap is live in exactly one connection's FIFO, in the free queue, or at or above
// fresh.
type Holds struct {
	slots []Hold // slots[0] is never used, so that index 0 can mean none

	fresh       uint32 // as in Conns
	first, last uint32
	live        int
}

// maxHeld is the maximum number of holds of a connection, because Conn.Held counts them in a byte.
const maxHeld = 255

// NewHolds allocates a table for capacity holds, 1 to 1<<30.
func NewHolds(capacity int) *Holds {
	checkCapacity(capacity)
	return &Holds{slots: make([]Hold, capacity+1), fresh: 1}
}

// Park takes the slot that has been free longest and appends it to c's FIFO. conn is c's index and now is stored in
// Since; the other fields are zero. It returns false if all slots are in use or c has maxHeld holds.
func (t *Holds) Park(c *Conn, conn uint32, now uint32) (Handle, *Hold, bool) {
	if conn == 0 {
		panic("table: Park without a connection")
	}
	if c.Held == maxHeld {
		return 0, nil, false
	}
	var i uint32
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
		checkHoldPoison(&t.slots[i])
	default:
		return 0, nil, false
	}
	h := &t.slots[i]
	*h = Hold{gen: nextGen(h.gen), Conn: conn, Since: now}
	if c.Last == 0 {
		c.First = i
	} else {
		t.slots[c.Last].next = i
	}
	c.Last = i
	c.Held++
	t.live++
	t.checkInvariants(c)
	return handleOf(h.gen, i), h, true
}

// Pop frees the oldest hold of c. It panics if the FIFO is empty.
func (t *Holds) Pop(c *Conn) {
	i := c.First
	if i == 0 {
		panic("table: Pop from a connection without holds")
	}
	h := &t.slots[i]
	c.First = h.next
	if c.First == 0 {
		c.Last = 0
	}
	c.Held--
	poisonHold(h)
	h.Conn, h.next = 0, 0
	if t.last == 0 {
		t.first = i
	} else {
		t.slots[t.last].next = i
	}
	t.last = i
	t.live--
	t.checkInvariants(c)
}

// Resolve returns the hold that h names, or nil if that hold has ended. h may come from anywhere: any number that names
// no live hold gives nil.
func (t *Holds) Resolve(h Handle) *Hold {
	i := h.Index()
	if uint64(i) >= uint64(len(t.slots)) {
		return nil
	}
	s := &t.slots[i]
	if s.gen != h.gen() || s.Conn == 0 {
		return nil
	}
	return s
}

// First returns the oldest hold of c, whose answer leaves next; 0 and nil if c has none.
func (t *Holds) First(c *Conn) (Handle, *Hold) { return t.named(c.First) }

// Next returns the hold parked after h on the same connection; 0 and nil if h is the youngest or has ended.
func (t *Holds) Next(h Handle) (Handle, *Hold) {
	s := t.Resolve(h)
	if s == nil {
		return 0, nil
	}
	return t.named(s.next)
}

func (t *Holds) named(i uint32) (Handle, *Hold) {
	if i == 0 {
		return 0, nil
	}
	h := &t.slots[i]
	return handleOf(h.gen, i), h
}

// HandleAt returns the handle of slot i, false if it is free. It is for scans over a whole table.
func (t *Holds) HandleAt(i uint32) (Handle, bool) {
	h := &t.slots[i]
	if h.Conn == 0 {
		return 0, false
	}
	return handleOf(h.gen, i), true
}

// at returns slot i, live or not, for i from 1 to Cap. The pointer is valid until the hold is popped.
func (t *Holds) at(i uint32) *Hold { return &t.slots[i] }

// Len returns the number of live holds.
func (t *Holds) Len() int { return t.live }

// Cap returns the number of slots, live or not.
func (t *Holds) Cap() int { return len(t.slots) - 1 }
