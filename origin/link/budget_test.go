package link

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"megaphone/codec/frame"
)

// echo is a Handler that replies at once with an empty body.
type echo struct{ handler }

var emptyBody = []byte("<body xmlns='http://jabber.org/protocol/httpbind'/>")

func (e *echo) Request(l Replier, id uint64, _ frame.Request) {
	l.Reply(id, 200, emptyBody)
}

// serve starts a server that uses the system clock.
func serve(b testing.TB, h Handler) (addr string) {
	s, err := Listen(Config{Listen: "127.0.0.1:0"}, h)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	b.Cleanup(func() { cancel(); <-ended })
	return s.Addr().String()
}

// requests returns n requests as an edge sends them, with ids from first on, and the total size of their replies.
func requests(first uint64, n int) (frames []byte, replies int) {
	body := "<body rid='2230163495637982' sid='0123456789abcdef0123456789abcdef' " +
		"xmlns='http://jabber.org/protocol/httpbind'/>"
	for i := range uint64(n) {
		frames = frame.AppendRequest(frames, first+i, frame.Request{Address: []byte("192.0.2.7"), Body: []byte(body)})
	}
	return frames, n * (frame.HeaderBytes + len(emptyBody))
}

// pump plays an edge that sends the same two turns of requests over and over. It keeps at most two turns outstanding.
func pump(t testing.TB, addr string, turn, turns int) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	h := frame.Hello{Version: 1, Name: "edge-1"}
	conn.Write(frame.Append(nil, 0, frame.AppendHello(nil, &h)))
	buf := make([]byte, 256<<10)
	for n := 0; n < 2; { // hello and welcome, each 26 bytes and a line
		k, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range buf[:k] {
			if c == '\n' {
				n++
			}
		}
	}
	// Alternate between two turns with different ids, because no id may be live twice.
	a, want := requests(1, turn)
	b, _ := requests(1_000_000, turn)
	got := 0
	for i := range turns {
		if _, err := conn.Write([][]byte{a, b}[i%2]); err != nil {
			t.Fatal(err)
		}
		for got < want*i {
			k, err := conn.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got += k
		}
	}
	for got < want*turns {
		k, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got += k
	}
}

// BenchmarkServer measures a request and its reply over a link on loopback TCP, by the number of requests in one turn.
// The edge shares the cores, so cpu-ns/op is the processor time of both ends. An operation is one request.
func BenchmarkServer(b *testing.B) {
	for _, turn := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprintf("turn=%d", turn), func(b *testing.B) {
			addr := serve(b, &echo{})
			b.ReportAllocs()
			start := cpu()
			pump(b, addr, turn, b.N/turn+1)
			b.ReportMetric(float64(cpu()-start)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}

// cpu returns the processor time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkTurn measures the engine alone: parse a batch, reply, and put the replies into the outbox.
func BenchmarkTurn(b *testing.B) {
	for _, turn := range []int{1, 100} {
		b.Run("turn="+strconv.Itoa(turn), func(b *testing.B) {
			l, _ := bench(Config{MaxUnsentBytes: 1 << 40})
			l.server.handler = &echo{}
			frames, _ := requests(1, turn)
			in := &batch{buf: frames, end: len(frames)}
			b.ReportAllocs()
			var empty []byte
			for n := 0; n < b.N; n += turn {
				l.take(in)
				<-l.free
				l.server.flush()
				empty = l.out.take(empty[:0])
				l.out.wrote(len(empty))
			}
		})
	}
}

// TestRequestDoesNotAllocate: on a link in use, requests and replies allocate nothing, sockets included.
func TestRequestDoesNotAllocate(t *testing.T) {
	addr := serve(t, &echo{})
	pump(t, addr, 100, 20) // warm up: the buffers grow
	const turns = 500
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	pump(t, addr, 100, turns)
	runtime.ReadMemStats(&after)
	// The link itself, its buffers and this test's edge take some hundreds of allocations.
	if n := after.Mallocs - before.Mallocs; n > turns*100/20 {
		t.Errorf("%d allocations for %d requests", n, turns*100)
	}
}
