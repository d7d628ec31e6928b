package tests

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// swarm is many connections of hostile clients, all from this process.
type swarm struct {
	t     testing.TB
	conns []*net.TCPConn
}

// swarmWorkers act at the same time.
const swarmWorkers = 32

// newSwarm connects n clients. receive is the size of their sockets' receive buffers, 0 the default.
func newSwarm(t testing.TB, addr string, n, receive int) *swarm {
	t.Helper()
	s := &swarm{t, make([]*net.TCPConn, n)}
	t.Cleanup(s.close)
	d := net.Dialer{Timeout: rig.Patience, KeepAlive: -1}
	if receive > 0 {
		d.Control = receiveBuffer(receive)
	}
	var once sync.Once
	s.each(func(i int, _ *net.TCPConn) {
		c, err := d.DialContext(context.Background(), "tcp", addr)
		if err != nil {
			once.Do(func() { t.Errorf("client %d: %v", i, err) })
			return
		}
		s.conns[i] = c.(*net.TCPConn)
	})
	if t.Failed() {
		t.FailNow()
	}
	return s
}

// each has a few workers do something with all clients.
func (s *swarm) each(do func(i int, c *net.TCPConn)) {
	var wg sync.WaitGroup
	for w := range swarmWorkers {
		wg.Go(func() {
			for i := w; i < len(s.conns); i += swarmWorkers {
				do(i, s.conns[i])
			}
		})
	}
	wg.Wait()
}

// maxKernelBytes are taken by the kernel at once, whether the edge reads or not.
const maxKernelBytes = 16 << 10

// send sends a text from all clients, or the part of it until the edge takes nothing for a moment. The edge may cut off
// a client before or meanwhile.
func (s *swarm) send(text string) (sent int) {
	moment := rig.Patience
	if len(text) > maxKernelBytes {
		moment = 50 * time.Millisecond
	}
	var mu sync.Mutex
	s.each(func(_ int, c *net.TCPConn) {
		for rest := []byte(text); len(rest) > 0; {
			_ = c.SetWriteDeadline(time.Now().Add(moment))
			n, _ := c.Write(rest)
			if n == 0 {
				return
			}
			rest = rest[n:]
			mu.Lock()
			sent += n
			mu.Unlock()
		}
	})
	return sent
}

// reset ends all clients with a reset, without a farewell.
func (s *swarm) reset() {
	s.each(func(_ int, c *net.TCPConn) { _ = c.SetLinger(0) })
	s.close()
}

func (s *swarm) close() {
	s.each(func(_ int, c *net.TCPConn) {
		if c != nil {
			c.Close()
		}
	})
}

// receiveBuffer sets the size of a socket's receive buffer before it is of use: after that, it does not shrink.
func receiveBuffer(bytes int) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var err error
		failed := c.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, bytes)
		})
		return errors.Join(failed, err)
	}
}
