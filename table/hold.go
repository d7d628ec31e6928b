package table

import "unsafe"

// HoldBytes is the size of one hold slot.
const HoldBytes = 24

// Both lines fail to compile if a field makes Hold larger or smaller.
const (
	_ = uint(HoldBytes - unsafe.Sizeof(Hold{}))
	_ = uint(unsafe.Sizeof(Hold{}) - HoldBytes)
)

// Hold is the slot of one held request. It holds no pointers. A *Hold is valid until the hold is popped. Under the
// build tag invariants a popped slot is filled with 0xCC.
//
// Invariant: Conn != 0 if and only if the slot is live.
type Hold struct {
	gen   uint32
	Conn  uint32 // index of the request's connection
	next  uint32 // the following hold in the connection's FIFO, or in the free queue
	Since uint32 // tick at which it was parked
	word  uint32 // the owner's, see Start, Opening, Due, Stowed and Taken
	Link  uint8  // the owner's: the link that the request went to
	Flags uint8  // the owner's
	Style uint16 // the owner's: style of the HTTP response
}

// A hold needs one of five numbers at a time. The owner knows which one by Flags and Link. Setting one forgets the
// others.

// Start returns when the request came, in microseconds that wrap, finer than Since. It is for requests that an origin
// has, except session creations, and for creations that wait for an origin.
func (h *Hold) Start() uint32 { return h.word }

// SetStart sets Start.
func (h *Hold) SetStart(micros uint32) { h.word = micros }

// Opening returns the owner's index of a session creation that an origin has.
func (h *Hold) Opening() uint32 { return h.word }

// SetOpening sets Opening.
func (h *Hold) SetOpening(index uint32) { h.word = index }

// Due returns the tick at which the owner answers a request whose origin is away.
func (h *Hold) Due() uint32 { return h.word }

// SetDue sets Due.
func (h *Hold) SetDue(tick uint32) { h.word = tick }

// Stowed returns the owner's index of a response that waits for its turn.
func (h *Hold) Stowed() uint32 { return h.word }

// SetStowed sets Stowed.
func (h *Hold) SetStowed(index uint32) { h.word = index }

// Taken returns how many messages of a WebSocket have come since Conn.RatedAt.
func (h *Hold) Taken() uint32 { return h.word }

// SetTaken sets Taken.
func (h *Hold) SetTaken(messages uint32) { h.word = messages }
