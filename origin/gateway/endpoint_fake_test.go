package gateway

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// endpointServer is a BOSH endpoint whose answers a test gives. It detects a second request on a socket before the
// first one is answered.
type endpointServer struct {
	t        testing.TB
	address  string
	listener net.Listener
	secure   *tls.Config // nil: http
	posts    chan *asked
	probes   func(a *asked) // answers GETs; nil: 200
	accepted atomic.Int64
	probed   atomic.Int64
	mu       sync.Mutex
	conns    map[net.Conn]chan struct{} // the channel is closed with the connection
	serving  sync.WaitGroup
}

// asked is a request that waits for an answer.
type asked struct {
	e      *endpointServer
	conn   net.Conn
	r      *bufio.Reader
	req    *http.Request
	head   string // as received
	body   string
	number int64 // of the connection
	done   chan bool
}

func newEndpoint(t testing.TB) *endpointServer { return newEndpointOf(t, nil) }

func newEndpointOf(t testing.TB, secure *tls.Config) *endpointServer {
	e := &endpointServer{t: t, secure: secure, address: "127.0.0.1:0", posts: make(chan *asked, 10_000),
		conns: map[net.Conn]chan struct{}{}}
	e.up()
	e.address = e.listener.Addr().String()
	t.Cleanup(e.down)
	return e
}

func (e *endpointServer) url() string {
	if e.secure != nil {
		return "https://" + e.address + "/http-bind"
	}
	return "http://" + e.address + "/http-bind"
}

// up listens, initially or again after down.
func (e *endpointServer) up() {
	l, err := net.Listen("tcp", e.address)
	if err != nil {
		e.t.Fatal(err)
	}
	e.listener = l
	e.serving.Add(1)
	go func() {
		defer e.serving.Done()
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if e.secure != nil {
				conn = tls.Server(conn, e.secure)
			}
			e.mu.Lock()
			cut := make(chan struct{})
			e.conns[conn] = cut
			e.mu.Unlock()
			e.serving.Add(1)
			go e.serve(conn, cut, e.accepted.Add(1))
		}
	}()
}

// down closes the listener and all sockets, as the death of the endpoint's process would.
func (e *endpointServer) down() {
	e.listener.Close()
	e.cut()
	e.serving.Wait()
}

func (e *endpointServer) cut() {
	e.mu.Lock()
	for c, cut := range e.conns {
		c.Close()
		close(cut)
	}
	clear(e.conns)
	e.mu.Unlock()
}

func (e *endpointServer) open() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.conns)
}

func (e *endpointServer) serve(conn net.Conn, cut chan struct{}, number int64) {
	defer e.serving.Done()
	defer func() {
		conn.Close()
		e.mu.Lock()
		delete(e.conns, conn)
		e.mu.Unlock()
	}()
	var raw bytes.Buffer
	r := bufio.NewReader(io.TeeReader(conn, &raw))
	for {
		raw.Reset()
		req, err := http.ReadRequest(r)
		if err != nil {
			if raw.Len() > 0 {
				conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			}
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		head, _, _ := strings.Cut(raw.String(), "\r\n\r\n")
		a := &asked{e, conn, r, req, head, string(body), number, make(chan bool, 1)}
		if req.Method == "GET" {
			e.probed.Add(1)
			if e.probes == nil {
				a.reply("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
			} else {
				e.probes(a)
			}
		} else {
			e.posts <- a
		}
		select {
		case on := <-a.done:
			if !on {
				return
			}
		case <-cut:
			return
		}
	}
}

// next returns the next request.
func (e *endpointServer) next() *asked {
	e.t.Helper()
	select {
	case a := <-e.posts:
		return a
	case <-time.After(patience):
		e.t.Fatal("no request came to the endpoint")
		return nil
	}
}

// reply sends a raw response.
func (a *asked) reply(raw string) {
	a.e.t.Helper()
	var b [1]byte
	sc, _ := tcp(a.conn).SyscallConn()
	sc.Control(func(fd uintptr) {
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		if a.r.Buffered() > 0 || err == nil && n > 0 {
			a.e.t.Errorf("socket %d has a second request behind %q", a.number, a.body)
		}
	})
	a.conn.Write([]byte(raw))
	a.done <- true
}

// tcp returns the TCP connection below conn.
func tcp(conn net.Conn) *net.TCPConn {
	if c, ok := conn.(*tls.Conn); ok {
		conn = c.NetConn()
	}
	return conn.(*net.TCPConn)
}

// answer sends a response with a Content-Length.
func (a *asked) answer(status int, body string) {
	a.e.t.Helper()
	a.reply(fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%s",
		status, len(body), body))
}

// hangUp sends the given bytes and closes the socket.
func (a *asked) hangUp(raw string) {
	a.conn.Write([]byte(raw))
	a.done <- false
}

// wantClosed waits for the gateway to close the socket.
func (a *asked) wantClosed() {
	a.e.t.Helper()
	a.conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := a.r.ReadByte(); err == nil {
		a.e.t.Fatal("bytes, where the socket should have been closed")
	} else if t, ok := err.(net.Error); ok && t.Timeout() {
		a.e.t.Fatal("the socket was not closed")
	}
	a.done <- false
}

// wantOpen fails if the gateway has closed the socket.
func (a *asked) wantOpen() {
	a.e.t.Helper()
	var b [1]byte
	sc, _ := tcp(a.conn).SyscallConn()
	sc.Control(func(fd uintptr) {
		if _, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT); err != unix.EAGAIN {
			a.e.t.Errorf("the socket is not open and quiet: %v", err)
		}
	})
}
