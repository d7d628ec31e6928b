package bosh

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"megaphone/codec/frame"
)

// fencedLink is a link whose edge processes frames when a test calls handle. Only then do replies reach their clients
// and pings get their pongs.
type fencedLink struct {
	e      *Engine
	sent   []func()
	fences uint32
	passed uint32
	reach  func(id uint64, body string)
	full   bool // until the edge has processed most of what it was sent
}

func (l *fencedLink) Reply(id uint64, _ int, body []byte) {
	text := string(body)
	l.sent = append(l.sent, func() { l.reach(id, text) })
	l.full = l.full || len(l.sent) >= 5
}
func (l *fencedLink) Mark() uint32            { return l.fences + 1 }
func (l *fencedLink) Passed(mark uint32) bool { return l.passed >= mark }
func (l *fencedLink) Full() bool              { return l.full }
func (*fencedLink) Wake()                     {}
func (l *fencedLink) Fence(mark uint32) {
	if mark > l.fences {
		l.fences++
		n := l.fences
		l.sent = append(l.sent, func() { l.passed = n; l.e.Passed(l) })
	}
}

// handle makes the edge process up to n frames.
func (l *fencedLink) handle(n int) {
	for ; n > 0 && len(l.sent) > 0; n-- {
		next := l.sent[0]
		l.sent = l.sent[1:]
		next()
		if l.full && len(l.sent) <= 2 {
			l.full = false
			l.e.Room(l)
		}
	}
}

// strophe is a client with two requests at a time that processes replies in order of arrival, as Strophe.js does. It
// repeats requests whose connections broke.
type strophe struct {
	sid      string
	rid      uint64
	ids      uint64            // the last id given
	open     map[uint64]uint64 // the rids of the requests in progress, by id
	got      int               // messages received in order
	disorder int
	last     int
	ended    bool
}

var messageNumber = regexp.MustCompile(`id='(\d+)'`)

func (c *strophe) take(id uint64, body string) {
	if _, ok := c.open[id]; !ok {
		return // its connection is broken
	}
	delete(c.open, id)
	for _, m := range messageNumber.FindAllStringSubmatch(body, -1) {
		n, _ := strconv.Atoi(m[1])
		if n != c.last+1 {
			c.disorder++
		}
		c.last = n
		c.got++
	}
	c.ended = c.ended || regexp.MustCompile(`type='terminate'`).MatchString(body)
}

// request returns request rid and its new id.
func (c *strophe) request(rid uint64) (id uint64, body []byte) {
	c.ids++
	c.open[c.ids] = rid
	return c.ids, fmt.Appendf(nil, "<body rid='%d' sid='%s' xmlns='%s'><message xmlns='jabber:client'/></body>",
		rid, c.sid, bodyNamespace)
}

// lose breaks the client's connections, which it reports to the links, and returns the rids of the requests in
// progress.
func (c *strophe) lose(links []*fencedLink) (rids []uint64) {
	for id, rid := range c.open {
		rids = append(rids, rid)
		for _, l := range links {
			l.e.Gone(l, id) // only one of them knows the id
		}
	}
	clear(c.open)
	slices.Sort(rids)
	return rids
}

// TestPayloadsLeaveInOrder sends requests of a session over three links whose edges process frames at their own pace.
// Meanwhile the service sends messages, and the client loses connections and repeats requests. Messages reach the
// client in the order of sending, none twice, and the session's end comes last.
func TestPayloadsLeaveInOrder(t *testing.T) {
	seed := rand.Uint64()
	if s, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 7))
	var waited, repeated, crowded int64
	for range 300 {
		s := orderWorld(t, rng)
		waited += s.Waited
		repeated += s.Repeated
		crowded += s.Crowded
	}
	if waited == 0 || repeated == 0 || crowded == 0 {
		t.Errorf("%d waited, %d were repeated, %d had no room, so this test shows nothing", waited, repeated, crowded)
	}
}

func orderWorld(t *testing.T, rng *rand.Rand) stats {
	t.Helper()
	q := &quiet{}
	e := New(Config{}, q)
	now := int64(1_000_000)
	e.Tick(now)
	c := &strophe{rid: 1, ids: 1, open: map[uint64]uint64{1: 1}}
	links := make([]*fencedLink, 3)
	for i := range links {
		links[i] = &fencedLink{e: e, reach: c.take}
	}
	e.Request(links[0], 1, frame.Request{Body: []byte(creation)})
	links[0].handle(1)
	c.sid = q.sessions[0].sessionID()
	sent := 0
	for step := 0; step < 400 && !c.ended; step++ {
		switch {
		case step == 300:
			q.sessions[0].Terminate(SystemShutdown, nil)
			e.Idle()
		case rng.IntN(3) == 0 && step < 300:
			sent++
			q.sessions[0].Send(fmt.Appendf(nil, "<message xmlns='jabber:client' id='%d'/>", sent))
			e.Idle()
		case rng.IntN(30) == 0:
			for _, rid := range c.lose(links) {
				id, body := c.request(rid)
				e.Request(links[rng.IntN(3)], id, frame.Request{Body: body})
			}
		case rng.IntN(2) == 0 && len(c.open) < 2:
			c.rid++
			id, body := c.request(c.rid)
			e.Request(links[rng.IntN(3)], id, frame.Request{Body: body})
		case rng.IntN(40) == 0:
			now += 50
			e.Tick(now)
		default:
			links[rng.IntN(3)].handle(1 + rng.IntN(2))
		}
	}
	for range 10 {
		for _, l := range links {
			l.handle(len(l.sent))
		}
	}
	if c.disorder > 0 {
		t.Fatalf("%d of %d messages reached the client before an older one", c.disorder, c.got)
	}
	return e.stats
}

// TestRepeatsWait: a repeated reply waits for the previous one on another link, and new payloads wait behind it.
func TestRepeatsWait(t *testing.T) {
	for name, c := range map[string]struct {
		event func(r *repeatRig)
		want  []string // message numbers that reach the client on the second link
	}{
		"passed":     {func(r *repeatRig) { r.first.handle(9) }, []string{"2", "3"}},
		"closed":     {func(r *repeatRig) { r.e.Closed(r.first) }, []string{"2", "3"}},
		"time":       {func(r *repeatRig) { r.pass(maxFenceMillis) }, []string{"2", "3"}},
		"gone":       {func(r *repeatRig) { r.e.Gone(r.second, r.again); r.first.handle(9) }, []string{"3"}},
		"terminated": {func(r *repeatRig) { r.c.s.Terminate("", nil); r.first.handle(9) }, []string{"2", "3"}},
		"once more":  {func(r *repeatRig) { r.request(r.second, 2); r.first.handle(9) }, []string{"2", "3"}},
		"the client ends it": {func(r *repeatRig) {
			r.requestWith(r.second, 4, "type='terminate'")
		}, []string{"2"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepeatRig(t)
			if len(r.got) != 0 {
				t.Fatalf("%q left although the message before may not have reached the client", r.got)
			}
			c.event(r)
			r.second.handle(9)
			if !slices.Equal(r.got, c.want) {
				t.Errorf("got %q, want %q", r.got, c.want)
			}
			if live := len(r.e.peerOf(r.second).live); live != 0 {
				t.Errorf("%d requests are still live", live)
			}
		})
	}
}

// repeatRig is a session whose replies 1 and 2 with messages 1 and 2 were lost. Their requests have been repeated over
// two links. Its third request is held while message 3 waits.
type repeatRig struct {
	*rig
	c             *client
	first, second *fencedLink
	again         uint64 // the id of the second request, as repeated
	got           []string
}

func newRepeatRig(t *testing.T) *repeatRig {
	r := &repeatRig{rig: newRig(t, Config{})}
	r.c = r.open("")
	r.first = &fencedLink{e: r.e, reach: func(uint64, string) {}}
	r.second = &fencedLink{e: r.e, reach: func(_ uint64, body string) {
		for _, m := range messageNumber.FindAllStringSubmatch(body, -1) {
			r.got = append(r.got, m[1])
		}
	}}
	lost := &fencedLink{e: r.e, reach: func(uint64, string) {}}
	r.pass(3000)
	for rid := range uint64(2) {
		r.request(lost, rid+1)
		r.c.push(int(rid + 1))
	}
	lost.handle(9) // its clients are gone
	r.request(r.first, 1)
	lost.handle(9)
	r.again = r.request(r.second, 2)
	r.request(r.second, 3)
	r.c.push(3)
	return r
}

func (r *repeatRig) request(l *fencedLink, n uint64) uint64 { return r.requestWith(l, n, "") }

// requestWith sends the session's request number n, counted from its creation, with attributes.
func (r *repeatRig) requestWith(l *fencedLink, n uint64, attributes string) uint64 {
	r.id++
	r.e.Request(l, r.id, posted("<body rid='%d' sid='%s' %s xmlns='%s'><a xmlns='b'/></body>",
		creationRID+n, r.c.sid, attributes, bodyNamespace))
	return r.id
}

// TestPayloadsWaitNoLonger: payloads stop waiting when the link of the earlier ones ends, when the client proves that
// it has received those, or after maxFenceMillis.
func TestPayloadsWaitNoLonger(t *testing.T) {
	for name, event := range map[string]func(c *client, first, second *fencedLink){
		"pong":   func(c *client, first, _ *fencedLink) { first.handle(9) },
		"closed": func(c *client, first, _ *fencedLink) { c.r.e.Closed(first) },
		"time":   func(c *client, _, _ *fencedLink) { c.r.pass(maxFenceMillis) },
		"session ends": func(c *client, first, _ *fencedLink) {
			first.handle(1)
			c.s.Terminate("", nil)
			first.handle(9)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Config{})
			c := r.open("")
			var got []string
			reach := func(_ uint64, body string) { got = append(got, body) }
			first, second := &fencedLink{e: r.e, reach: reach}, &fencedLink{e: r.e, reach: reach}
			request := func(l *fencedLink, n uint64) {
				r.e.Request(l, n, posted("<body rid='%d' sid='%s' xmlns='%s'><a xmlns='b'/></body>",
					c.rid+n, c.sid, bodyNamespace))
			}
			r.pass(3000)
			request(first, 1)
			c.push(1)
			c.rid++
			request(second, 1)
			c.push(2)
			if len(second.sent) != 0 {
				t.Fatal("the second message left although the first may not have reached the client")
			}
			event(c, first, second)
			second.handle(9)
			if len(second.sent) != 0 || len(got) == 0 || !messageNumber.MatchString(got[len(got)-1]) &&
				!messageNumber.MatchString(got[len(got)-2]) {
				t.Fatalf("the second message waits on: got %q", got)
			}
		})
	}
}

// TestClosedDoesNotWait: the service learns at once that a session is over, even if its final payload waits for another
// link. Payloads sent meanwhile would be lost.
func TestClosedDoesNotWait(t *testing.T) {
	r := newRig(t, Config{})
	c := r.open("")
	reach := func(uint64, string) {}
	first, second := &fencedLink{e: r.e, reach: reach}, &fencedLink{e: r.e, reach: reach}
	r.pass(3000)
	for n, l := range []*fencedLink{first, second} {
		r.e.Request(l, 1, posted("<body rid='%d' sid='%s' xmlns='%s'><a xmlns='b'/></body>",
			c.rid+1+uint64(n), c.sid, bodyNamespace))
		if n == 0 {
			c.push(1)
		}
	}
	c.push(2)
	r.pass(300)
	if r.e.stats.Waited != 1 {
		t.Errorf("one wait counts as %d", r.e.stats.Waited)
	}
	c.s.Terminate(SystemShutdown, nil)
	r.e.Idle()
	if len(second.sent) != 0 || !c.s.told {
		t.Errorf("%d replies, the service has been told: %v", len(second.sent), c.s.told)
	}
}
