package edge

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"megaphone/codec/frame"
	"megaphone/stats"
)

// drain begins to drain e with a jitter of a second and a limit of a minute. It delivers the result when done.
func drain(t *testing.T, e *Edge, ctx context.Context) <-chan uint64 {
	t.Helper()
	done := make(chan uint64, 1)
	go func() { done <- e.Drain(ctx, nil) }()
	deadline := time.Now().Add(patience)
	for begun := false; !begun; {
		e.group.Do(func(_ reactor, h handler) { begun = h.(*worker).leaving.draining })
		if time.Now().After(deadline) {
			t.Fatal("the drain does not begin")
		}
	}
	return done
}

// drained runs ticks until the drain is done.
func drained(t *testing.T, e *Edge, done <-chan uint64) (cut uint64) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		select {
		case cut := <-done:
			return cut
		default:
			e.advance(1)
			if time.Now().After(deadline) {
				t.Fatal("the drain does not end")
			}
		}
	}
}

func shortDrain(c *Config) { c.DrainJitter, c.DrainTimeout = time.Second, time.Minute }

func closing(t *testing.T, r httpResponse) {
	t.Helper()
	if !r.Close {
		t.Fatalf("no Connection: close: %v", r.Header)
	}
}

// Holds are released in the course of the jitter, idle connections are closed, and answers end their connections.
func TestDrain(t *testing.T) {
	e, l := one(t, shortDrain)
	idle, held, half, done := connect(t, e), connect(t, e), connect(t, e), connect(t, e)
	idle.send("GET /http-bind HTTP/1.1\r\nHost: h\r\n\r\n")
	idle.get().want(t, 200, "BOSH")
	held.post(empty("s1", 1))
	r1 := l.next()
	done.post(empty("s3", 1))
	r3 := l.next()
	request := postText(empty("s2", 1))
	half.send(request[:60])
	deadline := time.Now().Add(patience)
	for e.Counter(stats.Requests) < 3 && time.Now().Before(deadline) {
		e.advance(1)
	}
	if e.Draining() {
		t.Fatal("it drains already")
	}
	ended := drain(t, e, context.Background())
	if !e.Draining() {
		t.Fatal("Draining is false during a drain")
	}
	l.reply(r3.id, "<body n='3'/>") // answered before it is released
	closing(t, done.get().want(t, 200, "n='3'"))
	done.closed()
	e.advance(11)
	if got := l.hears("release "); got != "release "+string(frame.AppendID(nil, r1.id))+"\n" {
		t.Fatalf("origin heard %q", got)
	}
	idle.closed()
	l.reply(r1.id, "<body n='1'/>")
	closing(t, held.get().want(t, 200, "n='1'"))
	held.closed()
	half.send(request[60:]) // a request that was on its way is served, and released a round later
	r2 := l.next()
	e.advance(12)
	l.hears("release " + string(frame.AppendID(nil, r2.id)))
	l.reply(r2.id, "<body n='2'/>")
	closing(t, half.get().want(t, 200, "n='2'"))
	half.closed()
	for _, c := range []*client{idle, held, half, done} {
		c.Close()
	}
	if cut := drained(t, e, ended); cut != 0 {
		t.Fatalf("%d were cut off", cut)
	}
	if n := e.Counter(stats.DrainReleases); n != 2 {
		t.Fatalf("%d holds released", n)
	}
}

// All pipelined requests are answered in order. The last answer ends the connection.
func TestDrainPipelined(t *testing.T) {
	e, l := one(t, shortDrain)
	c := connect(t, e)
	c.send(postText(empty("s1", 1)) + postText(empty("s1", 2)) + postText(empty("s1", 3)))
	a, b, d := l.next(), l.next(), l.next()
	ended := drain(t, e, context.Background())
	l.reply(d.id, "<body n='3'/>")
	l.reply(a.id, "<body n='1'/>")
	if c.get().want(t, 200, "n='1'").Close {
		t.Fatal("the first answer ends the connection")
	}
	l.reply(b.id, "<body n='2'/>")
	c.get().want(t, 200, "n='2'")
	closing(t, c.get().want(t, 200, "n='3'"))
	c.closed()
	c.Close()
	drained(t, e, ended)
}

// An origin that does not release holds keeps an edge until the limit. Then clients get 503, and the origin is told
// that they are gone.
func TestDrainLimit(t *testing.T) {
	e, l := one(t, func(c *Config) { c.DrainJitter, c.DrainTimeout = time.Second, 4*time.Second })
	c := connect(t, e)
	c.post(empty("s1", 1))
	r := l.next()
	ended := drain(t, e, context.Background())
	e.advance(39)
	select {
	case <-ended:
		t.Fatal("it has ended before the limit")
	default:
	}
	e.advance(1)
	closing(t, c.get().want(t, 503, ""))
	c.closed()
	l.hears("gone " + string(frame.AppendID(nil, r.id)))
	c.Close()
	if cut := drained(t, e, ended); cut != 1 {
		t.Fatalf("%d were cut off, want 1", cut)
	}
}

// A second request to stop ends the drain at once.
func TestDrainIsCutShort(t *testing.T) {
	e, l := one(t, shortDrain)
	c := connect(t, e)
	c.post(empty("s1", 1))
	l.next()
	ctx, cancel := context.WithCancel(context.Background())
	ended := drain(t, e, ctx)
	cancel()
	if left := receive(t, ended); left != 1 {
		t.Fatalf("%d were left, want 1", left)
	}
}

// Releases are spread over the jitter.
func TestDrainIsJittered(t *testing.T) {
	const clients, slots = 100, 200
	e, l := one(t, func(c *Config) { c.DrainJitter, c.MaxConnections = 10*time.Second, slots })
	for i := range clients {
		connect(t, e).post(empty(fmt.Sprint("s", i), 1))
		l.next()
	}
	drain(t, e, context.Background())
	total := 0
	for tick := range 120 {
		e.advance(1)
		most := 0
		for n := uint64(0); ; most++ { // all requested releases are on the link
			if n = e.Counter(stats.DrainReleases); uint64(total+most) >= n {
				break
			}
			if s := l.hears("release "); strings.Count(s, " ") != 1 {
				t.Fatalf("%q", s)
			}
		}
		if total += most; most > 10 {
			t.Fatalf("%d releases in tick %d", most, tick)
		}
	}
	if total != clients {
		t.Fatalf("%d of %d released", total, clients)
	}
}
