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
	Reply uint32 // the owner's: when it was parked, finer than ticks; then the index of a reply that waits for its turn
	Link  uint8  // the owner's: the link that the request went to
	Flags uint8  // the owner's
	Style uint16 // the owner's: style of the HTTP response
}
