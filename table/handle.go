package table

// Handle identifies one use of one slot: the generation in the upper 32 bits, the index in the lower 32. The zero
// Handle is never valid. A hold's Handle is the connection ID on the wire.
type Handle uint64

func handleOf(gen, index uint32) Handle { return Handle(gen)<<32 | Handle(index) }

// Index returns the slot's index, 1 or more in a valid handle.
func (h Handle) Index() uint32 { return uint32(h) }

// gen returns the slot's generation when the handle was made, never 0 in a valid handle.
func (h Handle) gen() uint32 { return uint32(h >> 32) }

// nextGen counts a slot's uses. It skips 0, which marks a slot never used. The zero Handle and any handle with
// generation 0 can therefore be refused without reading the slot's state.
func nextGen(gen uint32) uint32 {
	gen++
	if gen == 0 {
		return 1
	}
	return gen
}

// maxCapacity keeps indexes below headBase, where the wheel numbers its list heads.
const maxCapacity = 1 << 30

func checkCapacity(capacity int) {
	if capacity < 1 || capacity > maxCapacity {
		panic("table: capacity must be between 1 and 1<<30")
	}
}
