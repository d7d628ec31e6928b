//go:build invariants

package table

// maxFullCheck bounds the cost of a check: in larger tables only changed slots are checked.
const maxFullCheck = 4096

const poison32 = 0xCCCCCCCC

// poisonedConn is the contents of a freed slot, except its generation and links.
var poisonedConn = Conn{
	FD: -0x33333334,
	Peer: [16]byte{
		0xCC, 0xCC, 0xCC, 0xCC, 0xCC, 0xCC, 0xCC, 0xCC, 0xCC, 0xCC, 0xCC, 0xCC, 0xCC, 0xCC, 0xCC, 0xCC,
	},
	State: 0xCC, Flags: 0xCC, Phase: 0xCC, Held: 0xCC,
	Deadline: poison32, First: poison32, Last: poison32, In: poison32, Out: poison32,
	words: [2]uint32{poison32, poison32},
}

// poisonedHold is the contents of a freed slot; Conn is 0, because that marks it free.
var poisonedHold = Hold{Since: poison32, word: poison32, Link: 0xCC, Flags: 0xCC, Style: 0xCCCC}

func poisonConn(c *Conn) {
	gen := c.gen
	*c = poisonedConn
	c.gen = gen
}

func poisonHold(h *Hold) {
	gen := h.gen
	*h = poisonedHold
	h.gen = gen
}

// checkConnPoison detects writes through a *Conn kept beyond Free.
func checkConnPoison(c *Conn) {
	want := poisonedConn
	want.gen, want.links = c.gen, c.links
	must(*c == want, "a connection slot was written to after Free")
}

func checkHoldPoison(h *Hold) {
	want := poisonedHold
	want.gen, want.next = h.gen, h.next
	must(*h == want, "a hold slot was written to after Pop")
}

func (t *Conns) checkInvariants() {
	must(t.fresh >= 1 && int(t.fresh) <= len(t.slots), "fresh is outside the table")
	must((t.first == 0) == (t.last == 0), "the free queue has one end only")
	must(t.live >= 0 && t.live < int(t.fresh), "more live connections than slots used")
	if t.Cap() > maxFullCheck {
		return
	}
	live := 0
	for i := range t.slots {
		c := &t.slots[i]
		used := i >= 1 && i < int(t.fresh)
		must((c.gen != 0) == used, "generation 0 means never used")
		if !c.live() {
			continue
		}
		live++
		must((c.next == 0) == (c.prev == 0), "a connection is half linked")
		must((c.next == 0) == (c.Deadline == 0), "a deadline without a link, or a link without a deadline")
		must((c.First == 0) == (c.Held == 0) && (c.Last == 0) == (c.Held == 0), "Held and the FIFO differ")
	}
	must(live == t.live, "live connections were counted wrongly")
	free, last := 0, uint32(0)
	for i := t.first; i != 0; i = t.slots[i].next {
		must(t.slots[i].prev == freed, "a live connection is in the free queue")
		free++
		must(free <= t.Cap(), "the free queue is a circle")
		last = i
	}
	must(last == t.last, "the free queue does not end at its last")
	must(live+free == int(t.fresh)-1, "a connection slot is lost")
}

func (t *Holds) checkInvariants(c *Conn) {
	t.checkFIFO(c)
	must(t.fresh >= 1 && int(t.fresh) <= len(t.slots), "fresh is outside the table")
	must((t.first == 0) == (t.last == 0), "the free queue has one end only")
	must(t.live >= 0 && t.live < int(t.fresh), "more live holds than slots used")
	if t.Cap() > maxFullCheck {
		return
	}
	live := 0
	for i := range t.slots {
		must((t.slots[i].gen != 0) == (i >= 1 && i < int(t.fresh)), "generation 0 means never used")
		if t.slots[i].Conn != 0 {
			live++
		}
	}
	must(live == t.live, "live holds were counted wrongly")
	free, last := 0, uint32(0)
	for i := t.first; i != 0; i = t.slots[i].next {
		must(t.slots[i].Conn == 0, "a live hold is in the free queue")
		free++
		must(free <= t.Cap(), "the free queue is a circle")
		last = i
	}
	must(last == t.last, "the free queue does not end at its last")
	must(live+free == int(t.fresh)-1, "a hold slot is lost")
}

func (t *Holds) checkFIFO(c *Conn) {
	must((c.First == 0) == (c.Held == 0), "Held and the FIFO differ")
	n, last := 0, uint32(0)
	for i := c.First; i != 0; i = t.slots[i].next {
		n++
		must(n <= int(c.Held), "the FIFO is longer than Held")
		must(t.slots[i].Conn != 0 && t.slots[i].Conn == t.slots[c.First].Conn, "a FIFO over two connections")
		last = i
	}
	must(n == int(c.Held), "the FIFO is shorter than Held")
	must(last == c.Last, "the FIFO does not end at Last")
}

func (w *Wheel) checkInvariants() {
	if w.conns.Cap() > maxFullCheck {
		return
	}
	armed := 0
	for b := range uint32(buckets) {
		head := headBase + b
		prev := head
		for i := w.heads[b].next; i != head; i = w.conns.slots[i].next {
			c := &w.conns.slots[i]
			must(c.live() && c.Deadline != 0, "a bucket holds a connection that is not armed")
			must(c.prev == prev, "a bucket's links differ forwards and backwards")
			switch {
			case b < bucketDue:
				must(after(c.Deadline, w.now), "a passed deadline is still ahead on the wheel")
				must(w.belongs(c.Deadline, b), "a deadline is in the wrong bucket")
			case b == bucketLate:
				must(!after(c.Deadline, w.now), "a deadline ahead is late")
			default: // Due stays due: left there for more than maxTicks, its deadline would seem to be ahead.
			}
			armed++
			must(armed <= w.armed, "more connections on the wheel than armed")
			prev = i
		}
		must(w.heads[b].prev == prev, "a bucket does not end at its last")
		if b < bucketFar {
			bit := w.occupied[b>>digitBits]>>(b&digitMask)&1 != 0
			must(bit == (prev != head), "an occupied bit is wrong")
		}
	}
	must(armed == w.armed, "an armed connection is not on the wheel")
}

// belongs reports whether a deadline that is ahead may be in bucket b.
func (w *Wheel) belongs(deadline, b uint32) bool {
	if b == bucketFar {
		return (deadline-w.now>>wheelBits<<wheelBits)>>wheelBits >= 1
	}
	shift := b >> digitBits * digitBits
	steps := (deadline - w.now>>shift<<shift) >> shift
	return deadline>>shift&digitMask == b&digitMask && 1 <= steps && steps <= digits
}

func must(ok bool, what string) {
	if !ok {
		panic("table: invariant broken: " + what)
	}
}
