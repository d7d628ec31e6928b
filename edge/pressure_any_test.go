package edge

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"megaphone/stats"
)

// crowd is clients that act at random.
type crowd struct {
	t       *testing.T
	random  *rand.Rand
	e       *Edge
	l       *fakeLink
	clients []*client
	waiting []linkRequest
}

// act lets one client send something, or close.
func (w *crowd) act() {
	if len(w.clients) == 0 {
		return
	}
	i := w.random.IntN(len(w.clients))
	c := w.clients[i]
	text := ""
	switch w.random.IntN(8) {
	case 0:
		c.Close()
		w.clients = append(w.clients[:i], w.clients[i+1:]...)
		return
	case 1, 2:
		text = postText(creation(fmt.Sprintf("content='a/b%d' ver='1.6'", w.random.IntN(300))))
	case 3:
		sid := "s.~" + encodeContent(fmt.Appendf(nil, "a/b%d", w.random.IntN(300)))
		text = strings.Repeat(postText(empty(sid, 1)), 1+w.random.IntN(6))
	case 4:
		text = postText(empty("s", 1) + strings.Repeat(" ", w.random.IntN(60_000)))
		text = text[:1+w.random.IntN(len(text))]
	case 5:
		text = "GET /http-bind HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", w.random.IntN(8000))
	default:
		text = postText(empty("s", 1))
	}
	_ = c.SetWriteDeadline(time.Now().Add(time.Second)) // the edge may not read it
	_, _ = c.Write([]byte(text))
}

// reply answers one of the requests that the origin has.
func (w *crowd) reply() {
	for len(w.l.frames) > 0 {
		w.waiting = append(w.waiting, <-w.l.frames)
	}
	if len(w.waiting) == 0 {
		return
	}
	i := w.random.IntN(len(w.waiting))
	body := created
	if w.random.IntN(3) == 0 {
		body = strings.Replace(created, "/>", ">"+strings.Repeat("x", w.random.IntN(400_000))+"</body>", 1)
	}
	w.l.reply(w.waiting[i].id, body)
	w.waiting = append(w.waiting[:i], w.waiting[i+1:]...)
}

// relink cuts the link and takes the next one. Requests wait for that, and the 503s for the cut one are spread.
func (w *crowd) relink(o *fakeOrigin) {
	w.l.Close()
	w.waiting = nil
	for late := time.Now().Add(patience); len(o.links) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			w.t.Fatal("no new link")
		}
		w.e.advance(1)
		w.act()
	}
	w.l = o.link()
}

// leave closes all clients.
func (w *crowd) leave() {
	for _, c := range w.clients {
		c.Close()
	}
	late := time.Now().Add(patience)
	for left := 1; left > 0; {
		w.e.advance(1)
		w.e.group.Do(func(r reactor, _ handler) { left = r.Clients() })
		if time.Now().After(late) {
			w.t.Fatalf("%d clients left", left)
		}
	}
	w.e.advance(1)
}

// TestPressureLeavesNothing: clients pipeline, send partial requests, do not read, request content types and close, all
// at random. The origin answers in any order, its link is lost now and then, and input far exceeds the memory budget.
// After all clients have left, the counts of bytes, holds and uses of content types are zero.
func TestPressureLeavesNothing(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	o := newFakeOrigin(t, "a")
	e := startEdge(t, func(c *Config) {
		tight(c)
		c.MaxBufferedBytes, c.MaxPipelined, c.MaxConnections = 256<<10, 5, 60
	}, o)
	w := &crowd{t: t, random: rand.New(rand.NewPCG(seed, 1)), e: e, l: o.link()}
	for step := range 3000 {
		if len(w.clients) < 40 && w.random.IntN(4) == 0 || len(w.clients) == 0 {
			w.clients = append(w.clients, connectFrom(t, e, fmt.Sprintf("127.0.0.%d", 1+w.random.IntN(5))))
		}
		w.act()
		if w.random.IntN(2) == 0 {
			w.reply()
		}
		if step%20 == 0 {
			e.advance(1)
		}
		if step%700 == 699 {
			w.relink(o)
		}
	}
	w.leave()
	t.Logf("%d were shed, %d requests waited", e.Counter(stats.OverBudget), e.Counter(stats.Waited))
	if e.Counter(stats.OverBudget) == 0 {
		t.Error("memory was never short")
	}
	e.group.Do(func(r reactor, h handler) {
		w := h.(*worker)
		uses := 0
		for _, c := range w.styles.contents {
			uses += c.uses
		}
		if r.BufferedBytes() != 0 || w.holds.Len() != 0 || w.waits.holds != 0 || w.waits.chunks.bytes != 0 {
			t.Errorf("%d bytes, %d holds, %d of them waiting with %d bytes are left", r.BufferedBytes(), w.holds.Len(),
				w.waits.holds, w.waits.chunks.bytes)
		}
		if len(w.unlearnt) != 0 || uses != 0 || w.nodes[0].held != 0 || w.nodes[0].away != 0 {
			t.Errorf("%d content types of holds, %d uses, %d requests of the origin and %d for it are left",
				len(w.unlearnt), uses, w.nodes[0].held, w.nodes[0].away)
		}
	})
}
