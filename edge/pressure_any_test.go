package edge

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"megaphone/loop"
)

// TestPressureLeavesNothing: clients pipeline, begin requests, do not read, ask for content types and leave, all at
// random, beside an origin that answers in any order, and far more is kept than there is room for. When all have gone
// nothing is counted: no byte, no hold, no use of a content type.
func TestPressureLeavesNothing(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	e, l := one(t, func(c *Config) {
		tight(c)
		c.MaxBufferedBytes, c.MaxPipelined, c.MaxConnections = 256<<10, 5, 60
	})
	var clients []*client
	var waiting []request
	act := func() {
		i := random.IntN(len(clients))
		c := clients[i]
		_ = c.SetWriteDeadline(time.Now().Add(time.Second)) // the edge may not read it
		text := ""
		switch random.IntN(8) {
		case 0:
			c.Close()
			clients = append(clients[:i], clients[i+1:]...)
			return
		case 1, 2:
			text = postText(creation(fmt.Sprintf("content='a/b%d' ver='1.6'", random.IntN(300))))
		case 3:
			sid := "s.~" + encodeContent(fmt.Appendf(nil, "a/b%d", random.IntN(300)))
			text = strings.Repeat(postText(empty(sid, 1)), 1+random.IntN(6))
		case 4:
			text = postText(empty("s", 1) + strings.Repeat(" ", random.IntN(60_000)))
			text = text[:1+random.IntN(len(text))]
		case 5:
			text = "GET /http-bind HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", random.IntN(8000))
		default:
			text = postText(empty("s", 1))
		}
		_, _ = c.Write([]byte(text))
	}
	reply := func() {
		for {
			select {
			case r := <-l.frames:
				waiting = append(waiting, r)
				continue
			default:
			}
			break
		}
		if len(waiting) == 0 {
			return
		}
		i := random.IntN(len(waiting))
		body := created
		if random.IntN(3) == 0 {
			body = strings.Replace(created, "/>", ">"+strings.Repeat("x", random.IntN(400_000))+"</body>", 1)
		}
		l.reply(waiting[i].id, body)
		waiting = append(waiting[:i], waiting[i+1:]...)
	}
	for step := range 3000 {
		if len(clients) < 40 && random.IntN(4) == 0 || len(clients) == 0 {
			clients = append(clients, connectFrom(t, e, fmt.Sprintf("127.0.0.%d", 1+random.IntN(5))))
		}
		act()
		if random.IntN(2) == 0 {
			reply()
		}
		if step%20 == 0 {
			e.Advance(1)
		}
	}
	for _, c := range clients {
		c.Close()
	}
	if e.group.Counter(loop.OverBudget) == 0 {
		t.Error("memory was never short")
	}
	deadline := time.Now().Add(30 * time.Second)
	for left := 1; left > 0; {
		e.Advance(1)
		left = 0
		e.group.Do(func(r reactor, _ handler) { left = r.Clients() })
		if time.Now().After(deadline) {
			t.Fatalf("%d clients are left", left)
		}
	}
	e.group.Do(func(r reactor, h handler) {
		w := h.(*worker)
		uses := 0
		for _, c := range w.styles.contents {
			uses += c.uses
		}
		if r.BufferedBytes() != 0 || w.holds.Len() != 0 || len(w.unlearnt) != 0 || uses != 0 {
			t.Errorf("%d bytes, %d holds, %d content types of holds and %d uses are left", r.BufferedBytes(),
				w.holds.Len(), len(w.unlearnt), uses)
		}
		for _, n := range w.nodes {
			if n.held != 0 {
				t.Errorf("origin %s holds %d", n.cfg.Name, n.held)
			}
		}
	})
	t.Logf("%d over budget, %d requests", e.group.Counter(loop.OverBudget), e.Counter(Requests))
}
