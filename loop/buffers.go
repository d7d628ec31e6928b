package loop

import "github.com/valyala/bytebufferpool"

// buffers keeps what connections could not consume or send at once. A slot holds an index, not a pointer, so that
// the flat table stays free of pointers; few connections have a buffer at any time.
type buffers struct {
	slots []buffer
	free  []uint32
	bytes int // capacity handed out to clients, against the budget
	large int // of these, what is beyond the first firstBytes of a buffer
	pool  bytebufferpool.Pool
	links bytebufferpool.Pool // those of links apart: they are large, and a client would be charged for its size
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
}

// get takes a buffer for connection c, a link's or a client's; 0 is never a valid index.
func (b *buffers) get(c uint32, link bool) uint32 {
	if len(b.free) == 0 {
		b.slots = append(b.slots, buffer{})
		if len(b.slots) == 1 {
			b.slots = append(b.slots, buffer{})
		}
		b.free = append(b.free, uint32(len(b.slots)-1))
	}
	i := b.free[len(b.free)-1]
	b.free = b.free[:len(b.free)-1]
	pool, _ := b.poolOf(link)
	b.slots[i] = buffer{ByteBuffer: pool.Get(), link: link, conn: c}
	return i
}

// poolOf is the pool of links or of clients, and the largest buffer that goes back into it.
func (b *buffers) poolOf(link bool) (pool *bytebufferpool.Pool, most int) {
	if link {
		return &b.links, keepBatchBytes
	}
	return &b.pool, maxPooledBytes
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
	if pool, most := b.poolOf(s.link); cap(s.B) <= most {
		pool.Put(s.ByteBuffer)
	}
	*s = buffer{}
	b.free = append(b.free, i)
}

// room makes at least n bytes of free capacity at the end of s and returns them.
func (s *buffer) room(n int) []byte {
	if free := cap(s.B) - len(s.B); free < n {
		grown := make([]byte, len(s.B), max(2*cap(s.B), len(s.B)+n))
		copy(grown, s.B)
		s.B = grown
	}
	return s.B[len(s.B):cap(s.B)]
}
