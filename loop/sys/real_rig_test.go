//go:build !sim

package sys

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// eventually waits until done reports true.
func eventually(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); {
		if time.Now().After(end) {
			t.Fatal("waited ten seconds")
		}
	}
}

// peek returns the number of bytes that can be read.
func peek(fd int) int {
	n, _, _ := unix.Recvfrom(fd, make([]byte, 64), unix.MSG_PEEK)
	return n
}
