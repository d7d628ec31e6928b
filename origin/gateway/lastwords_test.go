package gateway

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"megaphone/codec/frame"
)

// postAndLeave sends a request and its gone in one write, as an edge does when a page closes.
func (e *edge) postAndLeave(body string) {
	e.next++
	p := frame.AppendRequest(nil, e.next, frame.Request{Address: []byte("192.0.2.7"), Body: []byte(body)})
	e.conn.Write(frame.Append(p, 0, fmt.Appendf(nil, "gone %016x\n", e.next)))
}

// TestLastWords: the endpoint receives a request even if its client left before it could be sent, over fresh, idle and
// stale sockets.
func TestLastWords(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	last := func(rid int) string { return fmt.Sprintf("<body rid='%d' sid='s1' type='terminate' %s/>", rid, ns) }
	for i := range 60 {
		switch i % 3 {
		case 1:
			idleSocket(r, e)
		case 2:
			idleSocket(r, e)
			e.cut()
		}
		r.postAndLeave(last(i))
		a := e.next()
		if a.body != last(i) {
			t.Fatalf("%q", a.body)
		}
		a.wantClosed()
		r.until("its socket is free", func(s Stats) bool { return s.UnderWay == 0 && s.Sockets == 0 })
	}
	r.quiet()
	if s := r.stats(); s.Gone != 60 || s.Aborted != 60 || s.Downs != 0 {
		t.Errorf("%+v", s)
	}
}

// slowEndpoint accepts connections and reads nothing from them, but answers probes.
func slowEndpoint(t *testing.T) (url string, posts <-chan net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	queue := make(chan net.Conn, 10)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			first := make([]byte, 1)
			conn.Read(first)
			if string(first) == "P" {
				queue <- conn
				continue
			}
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			conn.Close()
		}
	}()
	return "http://" + l.Addr().String() + "/http-bind", queue
}

// long exceeds the buffers of the sockets on its way.
var long = "<body rid='1' sid='s1' " + ns + ">" + strings.Repeat("<x/>", 12<<20/4) + "</body>"

// TestLongLastWords: the client leaves while its request is half sent. A slow endpoint still receives all of it.
func TestLongLastWords(t *testing.T) {
	clean(t)
	url, posts := slowEndpoint(t)
	r := newRig(t, func(c *Config) { c.Endpoints = []string{url} })
	r.post(long)
	conn := <-posts
	r.control(fmt.Sprintf("gone %016x\n", r.next))
	r.quiet()
	conn.SetDeadline(time.Now().Add(patience))
	all, err := io.ReadAll(conn)
	if err != nil || !strings.HasSuffix(string(all), "</body>") || len(all) < len(long) {
		t.Errorf("%d bytes of more than %d, %v", len(all), len(long), err)
	}
	conn.Close()
	r.until("its socket is free", func(s Stats) bool { return s.UnderWay == 0 && s.Sockets == 0 })
	if s := r.stats(); s.Gone != 1 || s.Aborted != 1 || s.Unwanted != 1 {
		t.Errorf("%+v", s)
	}
}

// TestLastWordsThatNobodyTakes: sending last words to an endpoint that does not read ends after the response timeout,
// or when the gateway closes.
func TestLastWordsThatNobodyTakes(t *testing.T) {
	clean(t)
	url, posts := slowEndpoint(t)
	for _, timeout := range []time.Duration{300 * time.Millisecond, time.Hour} {
		t.Run(timeout.String(), func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.Endpoints, c.ResponseTimeout = []string{url}, timeout })
			r.postAndLeave(long)
			conn := <-posts
			t.Cleanup(func() { conn.Close() })
			if timeout < time.Minute {
				r.until("it is late", func(s Stats) bool { return s.Late == 1 && s.Sockets == 0 })
			} else {
				r.until("it is in progress", func(s Stats) bool { return s.Gone == 1 && s.UnderWay == 1 })
			}
		})
	}
}
