package table

import "unsafe"

// ConnBytes is the size of one connection slot. Tables are sized by it, see Conns.
const ConnBytes = 64

// Both lines fail to compile if Conn is larger or smaller than one cache line.
const (
	_ = uint(ConnBytes - unsafe.Sizeof(Conn{}))
	_ = uint(unsafe.Sizeof(Conn{}) - ConnBytes)
)

// Conn is the slot of one connection. It holds no pointers, so the garbage collector never scans a table. A *Conn is
// valid until the slot is freed. Under the build tag invariants a freed slot is filled with 0xCC, and a write to it is
// detected when the slot is reused.
//
// Invariant: in a live slot Deadline != 0 if and only if the slot is linked into the wheel.
// Invariant: Held is the length of the FIFO from First to Last; First == 0 if and only if Held == 0.
type Conn struct {
	FD  int32 // descriptor, in the table of the reactor's thread
	gen uint32

	// Peer is the client's address: IPv6, or IPv4 mapped into it (::ffff:a.b.c.d).
	Peer [16]byte

	State, Flags uint8 // the loop's
	Phase        uint8 // the owner's: what it expects next on this connection
	Held         uint8 // holds in the FIFO; written by Holds

	links // the wheel's while live, the free queue's while free

	Deadline    uint32 // tick at which the connection expires, 0 if not armed; written by Wheel
	First, Last uint32 // oldest and youngest hold (indexes into Holds); written by Holds
	In, Out     uint32 // the loop's side buffers: index+1, 0 for none

	// Scanned and Decoded are the owner's progress in partial input.
	Scanned, Decoded uint32
}

// links chains slots by index: 0 ends a chain.
type links struct{ next, prev uint32 }

// freed in prev marks a free slot. No index and no list head has this number.
const freed = ^uint32(0)

// live distinguishes a slot in use from a free one, and from one that was never used (generation 0).
func (c *Conn) live() bool { return c.gen != 0 && c.prev != freed }
