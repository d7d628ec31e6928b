package codec

import (
	"syscall"
	"testing"
	"unsafe"
)

// page is memory followed by an inaccessible page, so that a read beyond the input faults. It may itself be read-only,
// so that a write into borrowed bytes faults too.
type page struct {
	t   testing.TB
	mem []byte
}

const pageBytes = 1 << 16 // the longest input of any case table fits

func newPage(t testing.TB) *page {
	guard := syscall.Getpagesize()
	mem, err := syscall.Mmap(-1, 0, pageBytes+guard, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(mem) })
	p := &page{t, mem}
	p.protect(mem[pageBytes:], syscall.PROT_NONE)
	p.protect(mem[:pageBytes], syscall.PROT_READ)
	return p
}

func (g *page) protect(mem []byte, prot int) {
	if err := syscall.Mprotect(mem, prot); err != nil {
		g.t.Fatal(err)
	}
}

// writable copies in to the very end of the page and leaves it writable; the result is valid until the next call.
func (g *page) writable(in string) []byte {
	g.protect(g.mem[:pageBytes], syscall.PROT_READ|syscall.PROT_WRITE)
	p := g.mem[pageBytes-len(in) : pageBytes]
	copy(p, in)
	return p
}

// put is like writable, but the bytes are read-only.
func (g *page) put(in string) []byte {
	p := g.writable(in)
	g.protect(g.mem[:pageBytes], syscall.PROT_READ)
	return p
}

// inside fails the test if one of parts is not a slice of p.
func inside(t testing.TB, p []byte, parts ...[]byte) {
	t.Helper()
	from := uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	for _, part := range parts {
		at := uintptr(unsafe.Pointer(unsafe.SliceData(part)))
		if part != nil && (at < from || at+uintptr(len(part)) > from+uintptr(len(p))) {
			t.Errorf("%q is not a part of the input", part)
		}
	}
}

// noAllocs fails the test if f allocates.
func noAllocs(t *testing.T, name string, f func()) {
	t.Helper()
	if n := testing.AllocsPerRun(100, f); n != 0 {
		t.Errorf("%s: %v allocations", name, n)
	}
}
