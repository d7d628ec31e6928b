package loop

import (
	"github.com/valyala/bytebufferpool"

	"megaphone/loop/sys"
)

// buffers keeps input that was not consumed and output that was not sent at once. A slot holds an index instead of a
// pointer, so the flat table stays free of pointers. Few connections have a buffer at any time.
type buffers struct {
	slots []buffer
	free  []uint32
	bytes int    // capacity handed out to clients, counted against the budget
	large int    // of these, the bytes beyond the first firstBytes of each buffer
	taken uint64 // number of buffers handed out so far

	// Pools by size, because a client is charged for the capacity of its buffer: up to firstBytes, and up to
	// maxPooledBytes.
	small, middle sys.BufferPool
}

// maxPooledBytes is the capacity of the largest client buffer that is reused.
const maxPooledBytes = 16 << 10

type buffer struct {
	*bytebufferpool.ByteBuffer
	plain  int   // input: the length of the plaintext at the start; all of it for a plain connection
	need   int   // input: the least length of plaintext at which the owner can make progress
	seen   int   // input: the length of the plaintext at the last call of Gained
	end    error // input: Opened.End, until the owner has taken the plaintext
	sent   int   // output: bytes that have left
	billed int   // bytes counted in buffers.bytes
	stowed bool  // neither input nor output; see Stow
	conn   uint32
	serial uint64 // higher for buffers handed out later
}

// get takes a buffer for n bytes of connection c. It never returns 0.
func (b *buffers) get(c uint32, n int) uint32 {
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
	b.slots[i] = buffer{conn: c, serial: b.taken}
	if pool := b.poolOf(n); pool != nil {
		b.slots[i].ByteBuffer = pool.Get()
	} else {
		b.slots[i].ByteBuffer = new(bytebufferpool.ByteBuffer)
	}
	return i
}

// poolOf returns the pool of buffers of n bytes; nil if they are too large for any.
func (b *buffers) poolOf(n int) *sys.BufferPool {
	switch {
	case n > maxPooledBytes:
		return nil
	case n > firstBytes:
		return &b.middle
	}
	return &b.small
}

func (b *buffers) at(i uint32) *buffer { return &b.slots[i] }

// bill updates the budget after the buffer may have grown.
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
	if pool := b.poolOf(cap(s.B)); pool != nil {
		pool.Put(s.ByteBuffer)
	}
}

// room returns at least n bytes of free capacity at the end of buffer i.
func (b *buffers) room(i uint32, n int) []byte {
	s := &b.slots[i]
	if free := cap(s.B) - len(s.B); free < n {
		b.grow(s, max(2*cap(s.B), len(s.B)+n))
	}
	return s.B[len(s.B):cap(s.B)]
}

// grow makes room for n bytes in all: in a buffer of a larger pool if n calls for one, else in this buffer.
func (b *buffers) grow(s *buffer, n int) {
	old := s.ByteBuffer
	pool := b.poolOf(n)
	if pool != nil && pool != b.poolOf(cap(old.B)) {
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
