package tests

import (
	"bufio"
	"context"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"megaphone/codec/frame"
	"megaphone/tests/rig"
)

// scripted is an origin that welcomes every link and then does what a test wants. Its sessions are those with its tag.
type scripted struct{ addr string }

// scriptedLink is one link. It may fail to read or write when the edge ends it; that is no failure of the test.
type scriptedLink struct {
	net.Conn
	r    *bufio.Reader
	over <-chan struct{} // closed when the test is over
}

// newScripted listens; serve has each link after the handshake, on a goroutine of its own, and closes it by returning.
func newScripted(t testing.TB, name string, serve func(l *scriptedLink)) *scripted {
	t.Helper()
	small := net.ListenConfig{Control: receiveBuffer(64 << 10)} // unread bytes stay with the edge
	listener, err := small.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	var mu sync.Mutex
	var open []net.Conn
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			serving.Go(func() {
				defer c.Close()
				if l := (&scriptedLink{c, bufio.NewReader(c), over}); l.welcome(name) {
					serve(l)
				}
			})
		}
	})
	t.Cleanup(func() {
		close(over)
		listener.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	return &scripted{listener.Addr().String()}
}

func (l *scriptedLink) welcome(name string) bool {
	_ = l.SetReadDeadline(time.Now().Add(rig.Patience))
	if !l.write(frame.Append(nil, 0, frame.AppendHello(nil, &frame.Hello{Version: 1, Name: name}))) {
		return false
	}
	if f, ok := l.frame(); !ok || f.ID != 0 {
		return false
	}
	_ = l.SetReadDeadline(time.Time{})
	return l.write(frame.Append(nil, 0, []byte("welcome\n")))
}

// frame is the next one from the edge; it stays valid.
func (l *scriptedLink) frame() (f frame.Frame, ok bool) {
	p := make([]byte, frame.HeaderBytes)
	if _, err := io.ReadFull(l.r, p); err != nil {
		return f, false
	}
	n, err := strconv.Atoi(string(p[:8]))
	if err != nil {
		return f, false
	}
	p = append(p, make([]byte, n)...)
	if _, err := io.ReadFull(l.r, p[frame.HeaderBytes:]); err != nil {
		return f, false
	}
	f, _, ok, ferr := frame.Parse(p, frame.MaxContentsBytes)
	return f, ok && ferr == nil
}

// request is the next request; pings are answered meanwhile.
func (l *scriptedLink) request() (id uint64, ok bool) {
	for {
		f, ok := l.frame()
		if !ok || f.ID != 0 {
			return f.ID, ok
		}
		if string(f.Contents) == "ping alive\n" {
			l.write(frame.Append(nil, 0, []byte("pong alive\n")))
		}
	}
}

func (l *scriptedLink) write(p []byte) bool {
	_, err := l.Write(p)
	return err == nil
}
