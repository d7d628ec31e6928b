package table

// headBase numbers the list heads: bucket b is headBase+b in next and prev. So a slot can be unlinked without knowing
// its list. Indexes of slots are below headBase.
const headBase = uint32(1) << 31

// at returns the pair of links with number x: a slot's or a head's.
func (w *Wheel) at(x uint32) *links {
	if x >= headBase {
		return &w.heads[x-headBase]
	}
	return &w.conns.slots[x].links
}

// empty makes bucket b a circle of its head alone.
func (w *Wheel) empty(b uint32) {
	w.heads[b] = links{next: headBase + b, prev: headBase + b}
}

// push appends slot i to bucket b.
func (w *Wheel) push(b, i uint32) {
	head := &w.heads[b]
	w.conns.slots[i].links = links{next: headBase + b, prev: head.prev}
	w.at(head.prev).next = i
	head.prev = i
	if b < bucketFar {
		w.occupied[b>>digitBits] |= 1 << (b & digitMask)
	}
}

// unlink removes c from its list, and clears the occupied bit if the bucket is now empty.
func (w *Wheel) unlink(c *Conn) {
	next, prev := c.next, c.prev
	w.at(next).prev = prev
	w.at(prev).next = next
	c.links = links{}
	if next == prev && next < headBase+bucketFar && next >= headBase {
		b := next - headBase
		w.occupied[b>>digitBits] &^= 1 << (b & digitMask)
	}
}

// splice moves all of bucket from to the end of bucket to, without visiting the slots between the ends. The caller
// clears the occupied bit of from.
func (w *Wheel) splice(to, from uint32) {
	f := w.heads[from]
	if f.next >= headBase {
		return
	}
	t := &w.heads[to]
	w.at(t.prev).next = f.next
	w.at(f.next).prev = t.prev
	w.at(f.prev).next = headBase + to
	t.prev = f.prev
	w.empty(from)
}

// take empties bucket b and returns its first slot; the chain of next ends with 0.
func (w *Wheel) take(b uint32) uint32 {
	f := w.heads[b]
	if f.next >= headBase {
		return 0
	}
	w.at(f.prev).next = 0
	w.empty(b)
	if b < bucketFar {
		w.occupied[b>>digitBits] &^= 1 << (b & digitMask)
	}
	return f.next
}
