package loop

import "github.com/valyala/bytebufferpool"

// buffers keeps what connections could not consume or send at once. A slot holds an index, not a pointer, so that
// the flat table stays free of pointers; few connections have a buffer at any time.
type buffers struct {
	slots []buffer
	free  []uint32
	bytes int    // capacity handed out to clients, against the budget
	large int    // of these, what is beyond the first firstBytes of a buffer
	taken uint64 // how many have been handed out so far

	// Pools by size, because a client is charged for the size of what it gets: up to firstBytes, up to maxPooledBytes,
	// and those of links.
	small, middle, links bytebufferpool.Pool
}

// maxPooledBytes is the largest buffer of a client that another gets.
const maxPooledBytes = 16 << 10

type buffer struct {
	*bytebufferpool.ByteBuffer
	need   int // input: the least length at which the owner can make progress
	seen   int // input: its length when Gained was called last
	sent   int // output: bytes of it that have left
	billed int // what of it counts in bytes
	link   bool
	stowed bool // neither input nor output; see Stow
	conn   uint32
	serial uint64 // those that were handed out later have larger ones
}

// get takes a buffer for n bytes of connection c, a link's or a client's; 0 is never a valid index.
func (b *buffers) get(c uint32, link bool, n int) uint32 {
	if len(b.free) == 0 {
		b.slots = append(b.slots, buffer{})
		if len(b.slots) == 1 {
			b.slots = append(b.slots, buffer{})
		}
		b.free = append(b.free, uint32(len(b.slots)-1))
	}
	i := b.free[len(b.free)-1]
	b.free = b.free[:len(b.free)-1]
	b.taken++
	b.slots[i] = buffer{link: link, conn: c, serial: b.taken}
	if pool := b.poolOf(link, n); pool != nil {
		b.slots[i].ByteBuffer = pool.Get()
	} else {
		b.slots[i].ByteBuffer = new(bytebufferpool.ByteBuffer)
	}
	return i
}

// poolOf returns the pool of buffers of n bytes; nil if they are too large for any.
func (b *buffers) poolOf(link bool, n int) *bytebufferpool.Pool {
	switch {
	case link && n <= keepBatchBytes:
		return &b.links
	case link || n > maxPooledBytes:
		return nil
	case n > firstBytes:
		return &b.middle
	}
	return &b.small
}

func (b *buffers) at(i uint32) *buffer { return &b.slots[i] }

// bill brings the budget up to date after the buffer may have grown.
func (b *buffers) bill(i uint32) {
	s := &b.slots[i]
	b.charge(s, cap(s.B))
}

func (b *buffers) charge(s *buffer, bytes int) {
	b.bytes += bytes - s.billed
	b.large += max(bytes-firstBytes, 0) - max(s.billed-firstBytes, 0)
	s.billed = bytes
}

func (b *buffers) put(i uint32) {
	s := &b.slots[i]
	b.charge(s, 0)
	b.giveBack(s)
	*s = buffer{}
	b.free = append(b.free, i)
}

func (b *buffers) giveBack(s *buffer) {
	if pool := b.poolOf(s.link, cap(s.B)); pool != nil {
		pool.Put(s.ByteBuffer)
	}
}

// room makes at least n bytes of free capacity at the end of buffer i and returns them.
func (b *buffers) room(i uint32, n int) []byte {
	s := &b.slots[i]
	if free := cap(s.B) - len(s.B); free < n {
		b.grow(s, max(2*cap(s.B), len(s.B)+n))
	}
	return s.B[len(s.B):cap(s.B)]
}

// grow makes room for n bytes in all: in a buffer of a larger pool if that is for so many, else in this one.
func (b *buffers) grow(s *buffer, n int) {
	old := s.ByteBuffer
	pool := b.poolOf(s.link, n)
	if pool != nil && pool != b.poolOf(s.link, cap(old.B)) {
		larger := pool.Get()
		larger.B = append(larger.B[:0], old.B...)
		b.giveBack(s)
		s.ByteBuffer = larger
	}
	if cap(s.B) < n {
		grown := make([]byte, len(s.B), n)
		copy(grown, s.B)
		s.B = grown
	}
}
