//go:build sim

package sys

import (
	"os"
	"testing"
)

// TestMain boots a kernel for the tests that both kernels pass.
func TestMain(m *testing.M) {
	k := NewKernel(1)
	k.NewProcess(1000).Enter()
	os.Exit(m.Run())
}

// eventually makes events happen until done reports true.
func eventually(t *testing.T, done func() bool) {
	t.Helper()
	for !done() {
		if len(kernel.events) == 0 {
			t.Fatal("nothing is left that could happen")
		}
		kernel.Step()
	}
}

// peek returns the number of bytes that can be read.
func peek(fd int) int { return current.at(fd).socket.Unread() }
