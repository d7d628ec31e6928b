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

	// words are used in turn by the loop and the owner, according to State, Flags and Phase. Each use has its methods.
	words [2]uint32
}

// Lingered returns how many bytes of input the loop has discarded since the connection began to linger.
func (c *Conn) Lingered() uint32 { return c.words[0] }

// SetLingered sets Lingered.
func (c *Conn) SetLingered(bytes uint32) { c.words[0] = bytes }

// Exchange returns the session for which the owner has sent a request, and the request's place in it (package load).
func (c *Conn) Exchange() (session uint32, place int) { return c.words[1], int(c.words[0]) }

// SetExchange sets Exchange.
func (c *Conn) SetExchange(session uint32, place int) { c.words = [2]uint32{uint32(place), session} }

// IdleAt returns the place of the connection in the owner's list of idle ones (package load).
func (c *Conn) IdleAt() int { return int(c.words[0]) }

// SetIdleAt sets IdleAt.
func (c *Conn) SetIdleAt(place int) { c.words[0] = uint32(place) }

// AfterCR reports, between two requests, whether the CR of an empty line has come without its LF.
func (c *Conn) AfterCR() bool { return c.words[0] != 0 }

// SetAfterCR sets or clears AfterCR.
func (c *Conn) SetAfterCR(yes bool) {
	c.words[0] = 0
	if yes {
		c.words[0] = 1
	}
}

// HeadScanned returns how many bytes of an incomplete head have been searched for its end.
func (c *Conn) HeadScanned() int { return int(c.words[0]) }

// SetHeadScanned sets HeadScanned.
func (c *Conn) SetHeadScanned(bytes int) { c.words[0] = uint32(bytes) }

// Chunks returns the progress in an incomplete chunked body: the bytes of the body that have been scanned, and how many
// of these are data.
func (c *Conn) Chunks() (raw, data uint32) { return c.words[0], c.words[1] }

// SetChunks sets Chunks.
func (c *Conn) SetChunks(raw, data uint32) { c.words = [2]uint32{raw, data} }

// HeardAt returns the tick at which the last input of a WebSocket came.
func (c *Conn) HeardAt() uint32 { return c.words[0] }

// SetHeardAt sets HeardAt.
func (c *Conn) SetHeardAt(tick uint32) { c.words[0] = tick }

// RatedAt returns the tick at which the second began whose messages of a WebSocket are counted (Hold.Taken).
func (c *Conn) RatedAt() uint32 { return c.words[1] }

// SetRatedAt sets RatedAt.
func (c *Conn) SetRatedAt(tick uint32) { c.words[1] = tick }

// EndRequest clears the progress of a request that is complete.
func (c *Conn) EndRequest() { c.words = [2]uint32{} }

// links chains slots by index: 0 ends a chain.
type links struct{ next, prev uint32 }

// freed in prev marks a free slot. No index and no list head has this number.
const freed = ^uint32(0)

// live distinguishes a slot in use from a free one, and from one that was never used (generation 0).
func (c *Conn) live() bool { return c.gen != 0 && c.prev != freed }
