package gateway

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"megaphone/origin/link"
)

// TestRepliesAreWithinTheBudget: of many simultaneous replies the gateway reads those that have room, and the others
// when those have left. It accepts requests all the while.
func TestRepliesAreWithinTheBudget(t *testing.T) {
	clean(t)
	const sessions, replyBytes, buffered = 60, 20_000, 640 << 10
	e := newEndpoint(t)
	r := newRig(t, func(c *Config) { c.MaxBufferedBytes = buffered }, e)
	var asked []*asked
	for i := range sessions {
		r.post(poll(fmt.Sprintf("s%d", i), 1))
		asked = append(asked, e.next())
	}
	most := buffered / replyPart / linkPart
	long := text(strings.Repeat("x", replyBytes))
	r.s.Do(func() { // nothing leaves while the engine is busy
		for i, a := range asked {
			if i%2 == 0 {
				a.answer(200, long)
			} else { // of unknown length: has room only when alone
				a.reply(fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n",
					len(long), long))
			}
		}
		for end := time.Now().Add(patience); r.g.replies.waited.Load() == 0 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		if n := int(r.g.replies.inUse.Load()); n == 0 || n > most && n > defaultMaxReplyBytes {
			t.Errorf("%d bytes are read, of %d", n, most)
		}
	})
	seen := map[uint64]bool{}
	for range sessions {
		a := r.reply()
		if a.status != 200 || a.body != long || seen[a.id] {
			t.Fatalf("%x: %d with %d bytes, seen before: %v", a.id, a.status, len(a.body), seen[a.id])
		}
		seen[a.id] = true
	}
	if s := r.stats(); s.NoMemory != 0 || s.Unread == 0 || s.Bytes != 0 {
		t.Errorf("%+v", s)
	}
}

// TestFullLinkStopsReading: replies to an edge that reads slowly stay with their endpoints. No request gets 503, the
// gateway's memory is bounded, and another edge is served meanwhile.
func TestFullLinkStopsReading(t *testing.T) {
	clean(t)
	const sessions, replyBytes = 400, 250_000
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	long := strings.Repeat("x", replyBytes)
	for i := range sessions {
		r.post(poll(fmt.Sprintf("s%d", i), 1))
	}
	for range sessions {
		a := e.next()
		go a.answer(200, text(a.body[len("<body rid='1' sid='s"):][:4]+long))
	}
	r.until("replies to wait", func(s Stats) bool { return s.Unread > 0 })
	other := r.dial(t)
	for i := range 50 {
		id := other.post(poll("other", i+1))
		e.next().answer(200, text(fmt.Sprint(i)))
		other.want(id, 200, text(fmt.Sprint(i)))
	}
	share := int64(defaultMaxBufferedBytes / replyPart / linkPart)
	if n := r.g.replies.inUse.Load(); n > share || n < share/2 {
		t.Errorf("%d bytes are kept; the link's share is %d", n, share)
	}
	seen := map[uint64]bool{}
	for range sessions {
		a := r.reply()
		want := text(fmt.Sprintf("%d' xmlns", a.id-1)[:4] + long)
		if a.status != 200 || len(a.body) != len(want) || seen[a.id] {
			t.Fatalf("%x: %d with %d bytes, seen before: %v", a.id, a.status, len(a.body), seen[a.id])
		}
		seen[a.id] = true
	}
	if s := r.stats(); s.NoMemory != 0 || s.Answered != sessions+50 || s.Overtaken != 0 || s.Bytes != 0 {
		t.Errorf("%+v", s)
	}
}

// TestGoneWhileItWaits: if a link ends while replies wait for it, read or not, nothing is left of them.
func TestGoneWhileItWaits(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	other := r.dial(t)
	const sessions = 400
	long := text(strings.Repeat("x", 250_000))
	for i := range sessions {
		other.post(poll(fmt.Sprintf("s%d", i), 1))
	}
	for range sessions {
		go e.next().answer(200, long)
	}
	r.until("replies to wait", func(s Stats) bool { return s.Unread > 10 })
	other.conn.Close()
	r.until("all of them to be gone", func(s Stats) bool { return s.UnderWay == 0 && s.Bytes == 0 })
	r.g.replies.mu.Lock()
	if n := len(r.g.replies.shares); n != 0 {
		t.Errorf("%d shares are left", n)
	}
	r.g.replies.mu.Unlock()
	e.cut()
}

// budgetedReply is a reply that has room, or waits for it.
type budgetedReply struct {
	c *call
	w *waiter
}

// checkBudget compares a budget with the live replies, in the order of their arrival.
func checkBudget(t *testing.T, b *replyBudget, live []budgetedReply) {
	t.Helper()
	all, alone := 0, 0
	of, count := map[link.Replier]int{}, map[link.Replier]int{}
	waits := map[link.Replier]bool{}
	for _, l := range live {
		if l.w == nil || l.w.stage == waiterReady {
			all += l.c.reserved
			alone++
			of[l.c.link] += l.c.reserved
			count[l.c.link]++
			if waits[l.c.link] {
				t.Fatal("a reply has overtaken another one of its link")
			}
		} else {
			waits[l.c.link] = true
		}
	}
	if all != b.used || all > b.max && alone > 1 {
		t.Fatalf("%d bytes of %d replies, %d are counted", all, alone, b.used)
	}
	for l, n := range of {
		if n > b.each && count[l] > 1 {
			t.Fatalf("%d bytes of %d replies of one link", n, count[l])
		}
	}
	if all == 0 && len(waits) > 0 {
		t.Fatal("replies wait although there is room")
	}
}

// TestReplyBudget simulates replies of all sizes that arrive, wait, leave and give up. Only a reply that is alone
// exceeds a bound, none waits forever, and those of a link are read in order.
func TestReplyBudget(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	b := newReplyBudget(160_000) // 80,000 in total, 10,000 per link
	links := make([]link.Replier, 12)
	for i := range links {
		links[i] = &orderLink{}
	}
	var live []budgetedReply
	for range 20_000 {
		switch i := 0; {
		case len(live) > 0 && rng.IntN(2) == 0:
			i = rng.IntN(len(live))
			l := live[i]
			live = append(live[:i], live[i+1:]...)
			switch {
			case l.w == nil || l.w.stage == waiterReady && rng.IntN(2) == 0:
				b.give(l.c, l.c.reserved)
			default: // it gives up, whether it has waited or not
				l.c.reserved = 0
				b.leave(l.w)
			}
		default:
			bytes := 1 + rng.IntN(6_000)
			if rng.IntN(50) == 0 {
				bytes = 90_000
			}
			c := &call{link: links[rng.IntN(len(links))], reserved: bytes}
			live = append(live, budgetedReply{c, b.enter(c.link, bytes)})
		}
		checkBudget(t, b, live)
	}
	for _, l := range live {
		if l.w == nil {
			b.give(l.c, l.c.reserved)
		} else {
			b.leave(l.w)
		}
	}
	if b.used != 0 || len(b.shares) != 0 {
		t.Errorf("left over: %d bytes, %d shares", b.used, len(b.shares))
	}
}

// TestNothingTakesNoRoom: replies without a body do not wait, and leave no share of their links behind.
func TestNothingTakesNoRoom(t *testing.T) {
	b := newReplyBudget(1600)
	full := &call{link: &orderLink{}}
	b.take(full, 10_000)
	for _, c := range []*call{{link: full.link}, {link: &orderLink{}}} {
		c.aborted = true // a wait would end with no room
		if !b.take(c, 0) {
			t.Error("a reply without a body waits for room")
		}
		b.give(c, c.reserved)
	}
	if b.waited.Load() != 0 || len(b.shares) != 1 {
		t.Errorf("%d have waited; %d links are kept, and not one", b.waited.Load(), len(b.shares))
	}
}

// TestReplyBudgetWaits: a waiting goroutine continues when there is room, or when its call is aborted.
func TestReplyBudgetWaits(t *testing.T) {
	b := newReplyBudget(1600)
	l := &orderLink{}
	first := &call{link: l}
	if !b.take(first, 10_000) {
		t.Fatal("one that is alone has no room")
	}
	var took [2]bool
	var done sync.WaitGroup
	calls := []*call{{link: l}, {link: l}}
	for i, c := range calls {
		done.Go(func() { took[i] = b.take(c, 50) })
	}
	for end := time.Now().Add(patience); b.waited.Load() < 2 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	calls[0].abort()
	b.give(first, 10_000)
	done.Wait()
	if !took[1] {
		t.Error("a reply with room was treated as abandoned")
	}
	for i, c := range calls {
		if took[i] {
			b.give(c, c.reserved)
		}
	}
	if b.used != 0 {
		t.Errorf("%d bytes are left over", b.used)
	}
}

// TestRoomFor: a reply of known length, or one buffered already, takes no more room than its length.
func TestRoomFor(t *testing.T) {
	g := &Gateway{cfg: Config{MaxReplyBytes: 1_000_000}}
	for name, c := range map[string]struct {
		reply string
		room  int
	}{
		"a length":          {"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n<body", 300},
		"too long a length": {"HTTP/1.1 200 OK\r\nContent-Length: 1000001\r\n\r\n<body", 0},
		"no content":        {"HTTP/1.1 204 OK\r\n\r\n", 0},
		"all chunks":        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n<body/>\r\n0\r\n\r\n", 17},
		"some chunks":       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n<body/>\r\n", 1_000_000},
		"up to the end":     {"HTTP/1.0 200 OK\r\n\r\n<body/>", 1_000_000},
		"behind interim":    {"HTTP/1.1 103 X\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n<body/>", 7},
	} {
		r := bufio.NewReader(strings.NewReader(c.reply))
		resp := fasthttp.AcquireResponse()
		if err := readHead(resp, r); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if room := g.roomFor(resp, r); room != c.room {
			t.Errorf("%s: room for %d bytes, not %d", name, room, c.room)
		}
		fasthttp.ReleaseResponse(resp)
	}
	r := bufio.NewReader(strings.NewReader(strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 100)))
	if err := readHead(fasthttp.AcquireResponse(), r); err != errInterim {
		t.Errorf("a hundred interim responses: %v", err)
	}
}
