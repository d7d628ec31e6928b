package gateway

import (
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const failed = "<body type='terminate' condition='remote-connection-failed' " + ns + "/>"

// TestEndpointDies: requests held by the endpoint get 503, and so do requests while it is expected back. Later requests
// end their sessions. When the endpoint is back, requests reach it again.
func TestEndpointDies(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	held := r.post(poll("s1", 1))
	e.next()
	cut := make(chan struct{})
	go func() { e.listener.Close(); e.cut(); close(cut) }()
	r.want(held, 503, "")
	<-cut
	r.until("it is down", func(s Stats) bool { return s.Down == 1 })
	for _, body := range []string{poll("s1", 1), create("ver='1.6'"), create("")} {
		r.want(r.post(body), 503, "")
	}
	r.pass(29 * time.Second)
	r.want(r.post(poll("s1", 1)), 503, "")
	r.pass(2 * time.Second)
	for _, body := range []string{poll("s1", 1), create("ver='1.6'"), create("")} {
		r.want(r.post(body), 200, failed)
	}
	if s := r.stats(); s.Away != 4 || s.Failed != 3 || s.Downs != 1 || s.Sockets != 0 || s.Probes < 2 {
		t.Errorf("%+v", s)
	}
	e.up()
	r.until("it is back", func(s Stats) bool { return s.Down == 0 })
	id := r.post(poll("s1", 2))
	e.next().answer(200, text("back"))
	r.want(id, 200, text("back"))
}

// TestEndpointReturnsWithinGrace: the grace of a second outage counts from that outage.
func TestEndpointReturnsWithinGrace(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	for range 3 {
		e.down()
		r.want(r.post(poll("s1", 1)), 503, "")
		r.until("it is down", func(s Stats) bool { return s.Down == 1 })
		r.pass(20 * time.Second)
		r.want(r.post(poll("s1", 1)), 503, "")
		e.up()
		r.until("it is back", func(s Stats) bool { return s.Down == 0 })
	}
	if s := r.stats(); s.Failed != 0 || s.Downs != 3 {
		t.Errorf("%+v", s)
	}
}

// TestProxyWithoutServer: if a proxy reports that its server is unreachable, the endpoint is down until the proxy
// answers otherwise.
func TestProxyWithoutServer(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	const page = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 8\r\n\r\n<html/>\n"
	var away atomic.Bool
	e.probes = func(a *asked) {
		if away.Load() {
			a.reply(page)
		} else {
			a.reply("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
		}
	}
	r := newRig(t, nil, e)
	away.Store(true)
	id := r.post(poll("s1", 1))
	e.next().reply(page)
	r.want(id, 503, "")
	r.until("it is down", func(s Stats) bool { return s.Down == 1 })
	r.pass(31 * time.Second)
	r.want(r.post(poll("s1", 1)), 200, failed)
	if len(e.posts) != 0 {
		t.Error("a request was sent to an endpoint that is down")
	}
	away.Store(false)
	r.until("it is back", func(s Stats) bool { return s.Down == 0 })
}

// TestOneFailureIsNoEnd: a broken request causes a probe and nothing else.
func TestOneFailureIsNoEnd(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	for _, raw := range []string{"", "HTTP/1.1 200 OK\r\nContent-",
		"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<body",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<body",
		"nonsense\r\n\r\n", "\x15\x03\x01\x00\x02\x02"} {
		id := r.post(create(""))
		e.next().hangUp(raw)
		r.want(id, 503, "")
	}
	r.until("the probe", func(s Stats) bool { return e.probed.Load() >= 2 })
	if s := r.stats(); s.Broken != 6 || s.Downs != 0 {
		t.Errorf("%+v", s)
	}
}

// TestNoReplyInTime: the client gets 504, as at the edge, and the socket is closed.
func TestNoReplyInTime(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, func(c *Config) { c.ResponseTimeout = 50 * time.Millisecond }, e)
	id := r.post(poll("s1", 1))
	a := e.next()
	r.want(id, 504, "")
	a.wantClosed()
	id = r.post(poll("s1", 2)) // half a reply counts as none
	a = e.next()
	a.conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<body"))
	r.want(id, 504, "")
	a.wantClosed()
	if s := r.stats(); s.Late != 2 || s.Sockets != 0 {
		t.Errorf("%+v", s)
	}
}

// TestNoConnectionInTime: a listener with a full queue does not even answer a SYN.
func TestNoConnectionInTime(t *testing.T) {
	clean(t)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}) != nil || unix.Listen(fd, 0) != nil {
		t.Fatal("no listener")
	}
	at, _ := unix.Getsockname(fd)
	for range 4 {
		c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(c)
		unix.Connect(c, at)
	}
	port := at.(*unix.SockaddrInet4).Port
	r := newRig(t, func(c *Config) {
		c.Endpoints = []string{"http://" + (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}).String() + "/"}
		c.ConnectTimeout = 50 * time.Millisecond
	})
	r.want(r.post(poll("s1", 1)), 503, "")
	r.until("it is down", func(s Stats) bool { return s.Down == 1 })
	if s := r.stats(); s.Sockets != 0 {
		t.Errorf("%+v", s)
	}
}

// TestOversizedReply: a reply above the limit is not delivered and its memory is released.
func TestOversizedReply(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, func(c *Config) { c.MaxReplyBytes = 2000 }, e)
	fits, large := text(strings.Repeat("x", 1800)), text(strings.Repeat("x", 2000))
	id := r.post(poll("s1", 1))
	e.next().answer(200, fits)
	r.want(id, 200, fits)
	id = r.post(poll("s1", 2))
	e.next().answer(200, large)
	r.want(id, 502, "")
	id = r.post(poll("s1", 3))
	e.next().reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n" + strings.Repeat("x", 2048) + "\r\n")
	r.want(id, 502, "")
	if s := r.stats(); s.TooLarge != 2 || s.Sockets != 0 {
		t.Errorf("%+v", s)
	}
}

// TestLongHead: a reply with a head of up to MaxHeadBytes is delivered. A larger one is not, but does not affect the
// endpoint's health. The log names its size and the key that allows more, at a bounded rate.
func TestLongHead(t *testing.T) {
	const most = 20 << 10
	clean(t)
	e := newEndpoint(t)
	e.probes = func(a *asked) { a.reply(longHead(most+1, "")) }
	var log syncBuffer
	r := newRig(t, func(c *Config) {
		c.MaxHeadBytes = most
		c.Log = slog.New(slog.NewTextHandler(&log, nil))
	}, e)
	for _, size := range []int{headBytes, headBytes + 1, 12_000, most} {
		id := r.post(poll("s1", 1))
		e.next().reply(longHead(size, text("hi")))
		r.want(id, 200, text("hi"))
	}
	if e.accepted.Load() > 2 { // one of them is the probe's
		t.Errorf("%d sockets: they are not used again", e.accepted.Load())
	}
	for _, size := range []int{most + 1, 10 * most, 10*most + 1} {
		id := r.post(poll("s1", 2))
		a := e.next()
		a.reply(longHead(size, text("hi")))
		r.want(id, 502, "")
	}
	if s := r.stats(); s.Answered != 4 || s.LargeHead != 3 || s.Downs != 0 || s.Probes != 1 {
		t.Errorf("%+v", s)
	}
	want := fmt.Sprintf("reply head too large\" url=%s head_bytes=%d max_reply_head_bytes=%d\n", e.url(), most+1, most)
	if got := log.String(); strings.Count(got, "reply head too large") != 1 || !strings.Contains(got, want) {
		t.Errorf("logged: %s, want once: %s", got, want)
	}
}

// TestHeadWithoutEnd: the gateway stops reading a head that never ends.
func TestHeadWithoutEnd(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	id := r.post(poll("s1", 1))
	a := e.next()
	go func() {
		line := []byte("X: " + strings.Repeat("x", 4000) + "\r\n")
		for _, err := a.conn.Write([]byte("HTTP/1.1 200 OK\r\n")); err == nil; {
			_, err = a.conn.Write(line)
		}
		a.done <- false
	}()
	r.want(id, 502, "")
	r.until("its socket is closed", func(s Stats) bool { return s.LargeHead == 1 && s.Sockets == 0 })
}

// longHead returns a reply with a head of the given size, in lines of about a thousand bytes.
func longHead(size int, body string) string {
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n", len(body))
	for size-len(head) > 2000 {
		head += "Set-Cookie: c=" + strings.Repeat("x", 1000) + "\r\n"
	}
	return head + "X: " + strings.Repeat("x", size-len(head)-len("X: \r\n\r\n")) + "\r\n\r\n" + body
}

// syncBuffer is a log buffer that goroutines share.
type syncBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
