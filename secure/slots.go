package secure

import (
	"fmt"

	"golang.org/x/sys/unix"

	"megaphone/record"
)

// slots is a table of record.State outside Go's heap, so that neither the garbage collector nor a core dump sees the
// keys. Its pages cost nothing before they are used.
type slots []byte

func newSlots(n int) (slots, error) {
	size := n * record.StateBytes
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("%d bytes for the keys of TLS connections: %w", size, err)
	}
	for _, advice := range []int{unix.MADV_DONTDUMP, unix.MADV_DONTFORK} {
		if err := unix.Madvise(b, advice); err != nil {
			return nil, fmt.Errorf("madvise for the keys of TLS connections: %w", err)
		}
	}
	return b, nil
}

func (s slots) at(i uint32) *record.State {
	return (*record.State)(s[int(i)*record.StateBytes:])
}

// release gives the pages back to the kernel, which clears them.
func (s slots) release() { _ = unix.Munmap(s) }
