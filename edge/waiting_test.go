package edge

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"megaphone/codec/frame"
	"megaphone/stats"
)

// awaiting waits until n holds are for an origin that is away.
func awaiting(t testing.TB, e *Edge, n int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for got := -1; got != n; {
		e.group.Do(func(_ reactor, h handler) { got = h.(*worker).waits.holds })
		if time.Now().After(deadline) {
			t.Fatalf("%d requests wait for an origin, want %d", got, n)
		}
	}
}

// lost starts an edge whose only origin has gone.
func lost(t testing.TB, set func(c *Config)) (*Edge, *fakeOrigin) {
	t.Helper()
	o := newFakeOrigin(t, "a")
	e := startEdge(t, set, o)
	l := o.link()
	until(t, e, stats.LinksUp, 1)
	lose(t, e, o, l)
	return e, o
}

func lose(t testing.TB, e *Edge, o *fakeOrigin, l *fakeLink) {
	t.Helper()
	o.l.Close()
	l.Close()
	linked(t, e, 0)
}

// linked waits until n links are up, without a tick.
func linked(t testing.TB, e *Edge, n int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for up := -1; up != n; _, up = e.Links() {
		if time.Now().After(deadline) {
			t.Fatalf("%d links are up, want %d", up, n)
		}
	}
}

// returns restarts an origin that clients wait for, and returns its link.
func returns(t testing.TB, e *Edge, o *fakeOrigin) *fakeLink {
	t.Helper()
	o = listenFake(t, o.name, o.addr())
	e.advance(6) // it is dialled every 0.2 to 0.5 s
	l := o.link()
	linked(t, e, 1)
	return l
}

// Requests for an origin that is away are sent when it returns, those of one connection in order.
func TestWaitingRequestsGoOn(t *testing.T) {
	e, o := lost(t, nil)
	c, other := connect(t, e), connect(t, e)
	for rid := 1; rid <= 3; rid++ {
		c.post(empty("s1", rid)) // pipelined
	}
	other.post(empty("s2", 1))
	awaiting(t, e, 4)
	e.advance(20)
	l := returns(t, e, o)
	var rids []string
	for range 4 {
		r := l.next()
		if strings.Contains(r.body, "s1") {
			rids = append(rids, r.body)
		}
		l.reply(r.id, strings.Replace(r.body, "sid", "was", 1))
	}
	for rid := 1; rid <= 3; rid++ {
		if want := empty("s1", rid); rids[rid-1] != want {
			t.Errorf("the origin got %q, want %q", rids[rid-1], want)
		}
		c.get().want(t, 200, fmt.Sprintf("was='s1' rid='%d'", rid))
	}
	other.get().want(t, 200, "was='s2'")
	c.post(empty("s1", 4))
	l.reply(l.next().id, "<body last='1'/>")
	c.get().want(t, 200, "last")
	if n := e.Counter(stats.Retries); n != 0 {
		t.Errorf("%d answers of 503", n)
	}
}

// The clients of a lost link get their 503 over lost-jitter, never many in a tenth of a second.
func TestLostHoldsAreSpread(t *testing.T) {
	const clients = 500
	o := newFakeOrigin(t, "a")
	e := startEdge(t, nil, o)
	l := o.link()
	until(t, e, stats.LinksUp, 1)
	for i := range clients {
		connect(t, e).post(empty(fmt.Sprintf("s%d", i), 1))
		l.next()
	}
	lose(t, e, o, l)
	awaiting(t, e, clients)
	ticks, most := spreadOf(e, clients, func() { e.advance(1) })
	// By chance a tick has more than its fiftieth: 10, with a deviation of 3.1.
	if ticks < 45 || ticks > 50 || most > 35 {
		t.Errorf("503 within %d ticks, and to %d clients in one: want 50, and about 10", ticks, most)
	}
}

// spreadOf returns how many ticks pass until n more 503 have been sent, and the most in one tick.
func spreadOf(e *Edge, n uint64, tick func()) (ticks int, most uint64) {
	for before, end := e.Counter(stats.Retries), e.Counter(stats.Retries)+n; before < end && ticks < 1000; ticks++ {
		tick()
		now := e.Counter(stats.Retries)
		most, before = max(most, now-before), now
	}
	return ticks, most
}

// Small numbers of clients wait for a shorter time than large ones.
func TestFewLostHoldsAreAnsweredSoon(t *testing.T) {
	e, l := one(t, nil)
	for i := range 3 {
		connect(t, e).post(empty(fmt.Sprintf("s%d", i), 1))
		l.next()
	}
	l.Close()
	awaiting(t, e, 3)
	e.advance(1)
	until(t, e, stats.Retries, 3)
}

// A request that waits in vain is answered at its own random time, between 5 and 10 s.
func TestWaitingInVain(t *testing.T) {
	const clients = 300
	e, _ := lost(t, nil)
	for i := range clients {
		connect(t, e).post(empty(fmt.Sprintf("s%d", i), 1))
	}
	awaiting(t, e, clients)
	e.advance(49)
	if n := e.Counter(stats.Retries); n != 0 {
		t.Errorf("%d clients are answered within 4.9 s", n)
	}
	ticks, most := spreadOf(e, clients, func() { e.advance(1) })
	if ticks < 45 || ticks > 52 || most > 30 {
		t.Errorf("503 within %d ticks, and to %d clients in one: want 51, and about 6", ticks, most)
	}
	e.group.Do(func(_ reactor, h handler) {
		if w := h.(*worker); w.waits.chunks.bytes != 0 {
			t.Errorf("%d bytes are kept of requests that wait no longer", w.waits.chunks.bytes)
		}
	})
}

// Waiting requests are sent a share per tick, so they do not reach the origin all at once. New requests do not queue
// behind them.
func TestWaitingRequestsGoOnInShares(t *testing.T) {
	const clients, share = 800, 800 / returnTicks
	e, o := lost(t, nil)
	for i := range clients {
		connect(t, e).post(empty(fmt.Sprintf("s%d", i), 1))
	}
	awaiting(t, e, clients)
	l := returns(t, e, o)
	for range share {
		l.next()
	}
	late := connect(t, e)
	late.post(empty("late", 1))
	if r := l.next(); r.body != empty("late", 1) {
		t.Errorf("a request that found the link up queued behind others: the origin got %q", r.body)
	}
	for ticks := 1; ticks < returnTicks; ticks++ {
		if len(l.frames) > 0 {
			t.Fatalf("%d more than a share of %d in tick %d", len(l.frames), share, ticks)
		}
		e.advance(1)
		for range share {
			l.next()
		}
	}
	awaiting(t, e, 0)
}

// A waiting request takes no more memory than its bytes. Beyond the bounds the answer is 503 at once.
func TestWaitingIsBounded(t *testing.T) {
	e, _ := lost(t, func(c *Config) { c.MaxBufferedBytes, c.MaxPipelined = waitingPart*waitChunkBytes, 200 })
	large := connect(t, e)
	large.post("<body sid='s' rid='1' " + ns + ">" + strings.Repeat("x", maxWaitingBytes) + "</body>")
	large.get().want(t, 503, "")
	text := strings.Repeat("x", 4000)
	for i := range 15 { // nearly a chunk
		connect(t, e).post(fmt.Sprintf("<body sid='s%d' rid='1' %s>%s</body>", i, ns, text))
	}
	awaiting(t, e, 15)
	over := connect(t, e)
	over.post("<body sid='s' rid='1' " + ns + ">" + text + "</body>")
	if r := over.get().want(t, 503, ""); r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	e.advance(100) // their time is over, and there is room again
	until(t, e, stats.Retries, 17)
	over.post("<body sid='s' rid='1' " + ns + ">" + text + "</body>")
	awaiting(t, e, 1)
}

// A request that cannot wait, because it is too large, is refused rather than sent before one that waits on its
// connection, although the link is up again.
func TestRequestsDoNotOvertakeWaitingOnes(t *testing.T) {
	e, o := lost(t, nil)
	for i := range 2 * leastReturns { // more than leave at once
		connect(t, e).post(empty(fmt.Sprintf("other%d", i), 1))
		awaiting(t, e, i+1)
	}
	c := connect(t, e)
	c.post(empty("s1", 1))
	awaiting(t, e, 2*leastReturns+1)
	l := returns(t, e, o)
	c.post("<body sid='s1' rid='2' " + ns + ">" + strings.Repeat("x", maxWaitingBytes) + "</body>")
	deadline := time.Now().Add(patience)
	for refused := uint64(0); refused == 0; { // without a tick, which would send the first one
		e.group.Do(func(_ reactor, h handler) { refused = h.(*worker).counters[stats.Retries] })
		if time.Now().After(deadline) {
			t.Fatal("the second request was not refused")
		}
	}
	e.advance(2)
	var r linkRequest
	for range 2*leastReturns + 1 {
		r = l.next()
	}
	if r.body != empty("s1", 1) {
		t.Errorf("the origin got %.60q", r.body)
	}
	l.reply(r.id, empty("s1", 1))
	c.get().want(t, 200, "")
	c.get().want(t, 503, "")
}

// Nothing of a waiting request reaches the origin if its client closes.
func TestWaitingClientLeaves(t *testing.T) {
	e, o := lost(t, nil)
	gone, stays := connect(t, e), connect(t, e)
	gone.post(empty("gone", 1))
	awaiting(t, e, 1)
	stays.post(empty("stays", 1))
	awaiting(t, e, 2)
	gone.Close()
	awaiting(t, e, 1)
	l := returns(t, e, o)
	if r := l.next(); r.body != empty("stays", 1) {
		t.Errorf("the origin got %q", r.body)
	}
}

// A second loss of the link loses the requests that were sent, and keeps those that were not.
func TestWaitingOverALinkThatIsLostAgain(t *testing.T) {
	const clients = 2 * leastReturns
	e, o := lost(t, nil)
	all := make([]*client, clients)
	for i := range all {
		all[i] = connect(t, e)
		all[i].post(empty(fmt.Sprintf("s%d", i), 1))
		awaiting(t, e, i+1)
	}
	o = listenFake(t, o.name, o.addr())
	e.advance(6)
	l := o.link()
	for range leastReturns {
		l.next() // with the first share
	}
	lose(t, e, o, l)
	awaiting(t, e, clients)
	e.advance(2)
	for i := range leastReturns {
		all[i].get().want(t, 503, "")
	}
	l = returns(t, e, o)
	for i := leastReturns; i < clients; i++ {
		r := l.next()
		if want := empty(fmt.Sprintf("s%d", i), 1); r.body != want {
			t.Errorf("the origin got %q, want %q", r.body, want)
		}
		l.reply(r.id, "<body/>")
		all[i].get().want(t, 200, "<body/>")
	}
}

// A client that waits for an origin gets the terminal condition at its own deadline, if the grace is over by then.
func TestWaitingForANodeThatIsGone(t *testing.T) {
	e, _ := lost(t, nil)
	e.advance(280)
	c := connect(t, e)
	c.post(empty("s1", 1))
	awaiting(t, e, 1)
	e.advance(100)
	c.get().want(t, 200, "condition='remote-connection-failed'")
}

// The query goes to an origin that takes it, whatever the previous one took.
func TestWaitingRequestHasItsQuery(t *testing.T) {
	for _, takes := range []bool{true, false} {
		e, o := lost(t, nil)
		c := connect(t, e)
		c.send(strings.Replace(postText(empty("s1", 1)), "/http-bind", "/http-bind?room=1", 1))
		awaiting(t, e, 1)
		o = listenFake(t, o.name, o.addr())
		e.advance(6)
		l := o.raw()
		hello, want := helloLine("a", 0), ""
		if takes {
			hello, want = strings.TrimSuffix(hello, "\n")+" take=query\n", "room=1"
		}
		l.say(hello)
		l.readFrame()
		l.say("welcome\n")
		go l.pump()
		if r := l.next(); r.query != want || r.body != empty("s1", 1) {
			t.Errorf("takes=query %v: the origin got query %q, body %q", takes, r.query, r.body)
		}
	}
}

// A waiting request that exceeds the origin's new maximum is answered, and others continue.
func TestWaitingRequestIsTooLargeByNow(t *testing.T) {
	e, o := lost(t, nil)
	large, small := connect(t, e), connect(t, e)
	large.post("<body sid='s' rid='1' " + ns + ">" + strings.Repeat("x", 4000) + "</body>")
	awaiting(t, e, 1)
	small.post(empty("s2", 1))
	awaiting(t, e, 2)
	o = listenFake(t, o.name, o.addr())
	e.advance(6)
	l := o.raw()
	l.say(helloLine("a", 2000))
	l.readFrame()
	l.say("welcome\n")
	go l.pump()
	large.get().want(t, 413, "")
	if r := l.next(); r.body != empty("s2", 1) {
		t.Errorf("the origin got %q", r.body)
	}
}

// An edge that drains soon answers waiting requests, because the next edge may have a link.
func TestDrainDoesNotWaitForAnOrigin(t *testing.T) {
	e, _ := lost(t, shortDrain)
	c := connect(t, e)
	c.post(empty("s1", 1))
	awaiting(t, e, 1)
	drain(t, e, t.Context())
	e.advance(12)
	c.get().want(t, 503, "")
	c.closed()
}

// Lost holds are answered over the whole spread, but before their clients give up. Those that are old already do not
// all get their answer at once.
func TestLostHoldsAreAnsweredInTime(t *testing.T) {
	e, _ := lost(t, nil)
	e.worker0(func(w *worker) {
		const holds, oldest, spread = 60_000, 600, 1500 // ticks
		at := map[uint32]int{}
		last := uint32(0)
		for i := range uint32(holds) {
			age := i % oldest
			ticks := w.lostTicks(age, spread)
			if ticks == 0 || ticks > spread || age+ticks > patienceTicks && ticks > w.times.lostJitter+1 {
				t.Fatalf("a hold of age %d is answered after %d ticks", age, ticks)
			}
			at[ticks]++
			last = max(last, ticks)
		}
		if last < patienceTicks-1 {
			t.Errorf("the last is answered after %d ticks", last)
		}
		for ticks, n := range at {
			if n > holds/100 {
				t.Errorf("%d of %d are answered in tick %d", n, holds, ticks)
			}
		}
		for range 1000 {
			if ticks := w.lostTicks(0, 20); ticks == 0 || ticks > 20 {
				t.Fatalf("with a spread of 20 ticks one is answered after %d", ticks)
			}
		}
	})
}

// Clients that are refused together are told different times.
func TestRetryAfterIsJittered(t *testing.T) {
	o := newFakeOrigin(t, "a")
	e := startEdge(t, nil, o)
	c := connect(t, e)
	told := map[string]int{}
	for range 200 {
		c.post(creation(""))
		told[c.get().want(t, 503, "").Header.Get("Retry-After")]++
	}
	if len(told) != len(retryLines) || told[""] > 0 {
		t.Errorf("Retry-After: %v, want 1 to %d", told, len(retryLines))
	}
}

// A queue returns its frames in order, and as many bytes as it has taken.
func TestWaitQueue(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var q waitQueue
	var p waitChunks
	first, next := uint64(1), uint64(1)
	for range 20_000 {
		if rnd.IntN(5) < 3 {
			size := rnd.IntN(maxWaitingBytes + 1)
			to := p.room(&q, frame.HeaderBytes+size)
			*to = append(frame.AppendHeader(*to, next, size), make([]byte, size)...)
			if cap(*to) != waitChunkBytes {
				t.Fatalf("a chunk has grown to %d bytes", cap(*to))
			}
			next++
			continue
		}
		f, size, ok := q.front()
		if ok != (first < next) || ok && f.ID != first {
			t.Fatalf("frame %d, %v; want %d of those below %d", f.ID, ok, first, next)
		}
		if ok {
			p.drop(&q, size)
			first++
		}
		if p.bytes != len(q.chunks)*waitChunkBytes || first == next && p.bytes != 0 {
			t.Fatalf("%d frames have %d bytes in %d chunks", next-first, p.bytes, len(q.chunks))
		}
	}
}
