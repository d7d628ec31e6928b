package table

import "unsafe"

// HoldBytes is what one hold costs in a table.
const HoldBytes = 24

// Both lines fail to compile when a field makes Hold larger or smaller.
const (
	_ = uint(HoldBytes - unsafe.Sizeof(Hold{}))
	_ = uint(unsafe.Sizeof(Hold{}) - HoldBytes)
)

// Hold is the slot of one held request. It holds no pointers. A *Hold is valid until the hold is
// popped; under the build tag invariants a popped slot is filled with 0xCC.
//
// Invariant: Conn != 0 if and only if the slot is live.
type Hold struct {
	gen   uint32
	Conn  uint32 // index of the connection that the request came on
	next  uint32 // the following hold in the connection's FIFO, or in the free queue
	Since uint32 // tick at which it was parked
	Reply uint32 // the owner's: when it was parked, finer than in ticks; then the index of a reply that waits its turn
	Link  uint8  // the owner's: which link the request went to
	Flags uint8  // the owner's
	Style uint16 // the owner's: how the HTTP response is to look
}
