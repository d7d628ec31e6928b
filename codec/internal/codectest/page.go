package codectest

import (
	"syscall"
	"testing"
	"unsafe"
)

// Page is memory followed by an inaccessible page, so that a read beyond the input faults. It may itself be read-only,
// so that a write into borrowed bytes faults too.
type Page struct {
	t   testing.TB
	mem []byte
}

const pageBytes = 1 << 16 // the longest input of any case table fits

// NewPage maps a page until the end of the test.
func NewPage(t testing.TB) *Page {
	guard := syscall.Getpagesize()
	mem, err := syscall.Mmap(-1, 0, pageBytes+guard, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(mem) })
	g := &Page{t, mem}
	g.protect(mem[pageBytes:], syscall.PROT_NONE)
	g.protect(mem[:pageBytes], syscall.PROT_READ)
	return g
}

func (g *Page) protect(mem []byte, prot int) {
	if err := syscall.Mprotect(mem, prot); err != nil {
		g.t.Fatal(err)
	}
}

// Writable copies in to the very end of the page and leaves it writable. The result is valid until the next call.
func (g *Page) Writable(in string) []byte {
	g.protect(g.mem[:pageBytes], syscall.PROT_READ|syscall.PROT_WRITE)
	p := g.mem[pageBytes-len(in) : pageBytes]
	copy(p, in)
	return p
}

// Put is like Writable, but the bytes are read-only.
func (g *Page) Put(in string) []byte {
	p := g.Writable(in)
	g.protect(g.mem[:pageBytes], syscall.PROT_READ)
	return p
}

// Inside fails the test if one of parts is not a slice of p.
func Inside(t testing.TB, p []byte, parts ...[]byte) {
	t.Helper()
	from := uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	for _, part := range parts {
		at := uintptr(unsafe.Pointer(unsafe.SliceData(part)))
		if part != nil && (at < from || at+uintptr(len(part)) > from+uintptr(len(p))) {
			t.Errorf("%q is not a part of the input", part)
		}
	}
}

// NoAllocs fails the test if f allocates.
func NoAllocs(t *testing.T, name string, f func()) {
	t.Helper()
	if n := testing.AllocsPerRun(100, f); n != 0 {
		t.Errorf("%s: %v allocations", name, n)
	}
}
