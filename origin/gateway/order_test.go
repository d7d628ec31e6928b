package gateway

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"unsafe"
)

// TestOrderModel simulates sessions that send requests over three links. The links delay, lose, repeat and cut off
// requests, and endpoints answer in any order or fail. In every case each request is sent once, in its turn, replies
// leave in order, and nothing is left at the end.
func TestOrderModel(t *testing.T) {
	seed := rand.Uint64()
	if s, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 3))
	var sum Stats
	seen := map[string]int{}
	for range 300 {
		w := newOrderWorld(t, rng)
		w.run(400)
		sum.Queued += w.stats.Queued
		sum.Fenced += w.stats.Fenced
		sum.Overtaken += w.stats.Overtaken
		sum.Unpreceded += w.stats.Unpreceded
		for what, n := range w.seen {
			seen[what] += n
		}
	}
	t.Logf("%+v, %v", sum, seen)
	if sum.Fenced == 0 || sum.Overtaken == 0 || sum.Unpreceded == 0 {
		t.Error("nothing ever had to wait in some way, so this shows little of it")
	}
	for _, what := range []string{"sent", "replied", "refused", "gone", "released", "failed", "ended", "lost",
		"closed", "waited"} {
		if seen[what] == 0 {
			t.Errorf("%s: never happened", what)
		}
	}
}

// orderLink is a link whose edge processes frames when the test calls handle.
type orderLink struct {
	w              *orderWorld
	fences, passed uint32
	queue          []func() // what the edge has not processed yet
	closed         bool
	full           bool
}

// handle makes the edge process the next frame, which may make room.
func (l *orderLink) handle() {
	if len(l.queue) == 0 {
		return
	}
	next := l.queue[0]
	l.queue = l.queue[1:]
	next()
	if l.full && len(l.queue) <= 1 {
		l.full = false
		l.w.seen["room"]++
		l.w.o.room(l)
	}
}

func (l *orderLink) Full() bool              { return l.full && !l.closed }
func (l *orderLink) Mark() uint32            { return l.fences + 1 }
func (l *orderLink) Passed(mark uint32) bool { return l.closed || l.passed >= mark }
func (l *orderLink) Wake()                   {}
func (l *orderLink) Fence(mark uint32) {
	if mark > l.fences && !l.closed {
		l.fences++
		n := l.fences
		l.queue = append(l.queue, func() { l.passed = n; l.w.o.passed(l) })
	}
}

func (l *orderLink) Reply(id uint64, status int, _ []byte) {
	l.queue = append(l.queue, func() { l.w.reached(id, status) })
	l.full = l.full || len(l.queue) >= 4
}

// orderClient is a client of one session with two requests at a time. It sends a failed request again.
type orderClient struct {
	key      uint64
	rid      uint64
	under    map[uint64]*orderRequest // by id: requests without a reply
	answered map[uint64]bool          // by rid
	arrived  []uint64                 // rids of replies with payload, in order of arrival
}

type orderRequest struct {
	client *orderClient
	c      *call
	rid    uint64
}

type orderWorld struct {
	t        *testing.T
	rng      *rand.Rand
	o        order
	stats    Stats
	endpoint *endpoint
	links    [3]*orderLink
	clients  []*orderClient
	wire     []*orderRequest // in flight to the gateway
	at       map[*call]*orderRequest
	under    []*call // at the endpoint
	sent     map[*call]int
	last     map[uint64]uint64 // by key: the highest rid sent
	patient  bool              // no request was lost or failed and no long time passed: order is strict
	nextID   uint64
	alarmAt  int64
	seen     map[string]int
}

func newOrderWorld(t *testing.T, rng *rand.Rand) *orderWorld {
	w := &orderWorld{t: t, rng: rng, endpoint: &endpoint{}, at: map[*call]*orderRequest{}, last: map[uint64]uint64{},
		seen: map[string]int{}, sent: map[*call]int{}, patient: rng.IntN(2) == 0}
	w.o = newOrder(w, &w.stats, 5, func() int64 { return w.o.now*1000 + 1 })
	w.o.now = 1_000_000
	for i := range w.links {
		w.links[i] = &orderLink{w: w}
	}
	for i := range 4 {
		c := &orderClient{key: uint64(i + 1), rid: 100, under: map[uint64]*orderRequest{}, answered: map[uint64]bool{}}
		w.clients = append(w.clients, c)
		w.last[c.key] = c.rid
		w.o.created(c.key, c.rid, 2)
	}
	return w
}

// The methods of carrier.

func (w *orderWorld) send(c *call) bool {
	r := w.at[c]
	if !w.patient && w.rng.IntN(30) == 0 {
		return false
	}
	if w.sent[c]++; w.sent[c] > 1 {
		w.t.Fatalf("request %d is sent twice", c.rid)
	}
	w.seen["sent"]++
	key := r.client.key
	if w.patient && c.rid > w.last[key]+1 {
		w.t.Fatalf("request %d of session %d is sent after %d", c.rid, key, w.last[key])
	}
	w.last[key] = max(w.last[key], c.rid)
	w.under = append(w.under, c)
	if w.rng.IntN(3) > 0 {
		w.write(c)
	}
	return true
}

// write simulates that a request is written to its socket.
func (w *orderWorld) write(c *call) {
	_, followed := c.wrote(true, w.o.micros())
	if followed {
		w.seen["waited"]++
		w.o.sent(c)
	}
}

func (w *orderWorld) refuse(c *call) {
	if w.at[c] == nil || w.sent[c] > 0 && w.patient {
		w.t.Fatalf("request %d is refused", c.rid)
	}
	w.seen["refused"]++
	c.status = statusUnavailable
	w.reply(c)
}

func (w *orderWorld) reply(c *call) {
	if c.stage != stageNone {
		w.t.Fatalf("request %d is replied, and still there: %d", c.rid, c.stage)
	}
	if c.over {
		return
	}
	if c.status == statusOK && w.sent[c] != 1 {
		w.t.Fatalf("request %d is answered and was never sent", c.rid)
	}
	c.over = true
	c.link.Reply(c.id, c.status, nil)
}

func (w *orderWorld) alarm(at int64) { w.alarmAt = at }

// reached simulates the arrival of a reply at its client's socket.
func (w *orderWorld) reached(id uint64, status int) {
	for _, client := range w.clients {
		r := client.under[id]
		if r == nil {
			continue
		}
		delete(client.under, id)
		if status != statusOK {
			w.post(client, r.rid)
			return
		}
		w.seen["replied"]++
		client.answered[r.rid] = true
		if !r.c.carries || r.c.hasty {
			return
		}
		if n := len(client.arrived); w.patient && n > 0 && client.arrived[n-1] > r.rid {
			w.t.Fatalf("payload of reply %d reaches the client after %d", r.rid, client.arrived[n-1])
		}
		client.arrived = append(client.arrived, r.rid)
		return
	}
}

// post makes a client send a request.
func (w *orderWorld) post(client *orderClient, rid uint64) {
	w.nextID++
	r := &orderRequest{client: client, rid: rid,
		c: &call{link: w.links[w.rng.IntN(len(w.links))], id: w.nextID, rid: rid, endpoint: w.endpoint}}
	client.under[w.nextID] = r
	w.at[r.c] = r
	w.wire = append(w.wire, r)
}

// arrive delivers one of the requests in flight to the gateway, occasionally a later one first.
func (w *orderWorld) arrive() {
	if len(w.wire) == 0 {
		return
	}
	i := w.rng.IntN(min(len(w.wire), 3))
	r := w.wire[i]
	w.wire = slices.Delete(w.wire, i, i+1)
	if !w.patient && w.rng.IntN(20) == 0 { // its connection breaks in flight
		w.seen["lost"]++
		delete(r.client.under, r.c.id)
		w.post(r.client, r.rid)
		return
	}
	if !w.o.arrive(r.c, r.client.key) {
		w.t.Fatal("a request is not taken")
	}
}

// end makes the endpoint answer any one of its requests, or fail it.
func (w *orderWorld) end() {
	if len(w.under) == 0 {
		return
	}
	i := w.rng.IntN(len(w.under))
	c := w.under[i]
	w.under = slices.Delete(w.under, i, i+1)
	if !w.patient && w.rng.IntN(8) == 0 {
		w.seen["failed"]++
		c.status, c.fate = statusUnavailable, []fate{fateBroken, fateUnreachable, fateNotBOSH}[w.rng.IntN(3)]
	} else {
		w.write(c)
		c.status, c.carries = statusOK, w.rng.IntN(2) == 0
		if !w.patient && w.rng.IntN(60) == 0 {
			w.seen["ended"]++
			c.final, c.carries, c.hasty = true, true, w.rng.IntN(2) == 0
		}
		c.answeredAt = w.o.micros()
	}
	if !w.o.ended(c) {
		w.reply(c)
	}
}

// abandon makes a client, or an edge, abandon a request that the gateway has. The client sends it again.
func (w *orderWorld) abandon(lastWords bool) {
	for _, client := range w.clients {
		for id, r := range client.under {
			if r.c.session == nil || r.c.over || w.rng.IntN(3) > 0 {
				continue
			}
			r.c.over = true
			delete(client.under, id)
			w.o.quit(r.c, lastWords)
			w.seen[map[bool]string{true: "gone", false: "released"}[lastWords]]++
			w.post(client, r.rid)
			return
		}
	}
}

// close ends a link and replaces it with a new one.
func (w *orderWorld) close() {
	i := w.rng.IntN(len(w.links))
	old := w.links[i]
	old.closed, old.queue = true, nil
	w.links[i] = &orderLink{w: w}
	w.seen["closed"]++
	for _, client := range w.clients {
		for id, r := range client.under {
			if r.c.link != old {
				continue
			}
			delete(client.under, id)
			w.wire = slices.DeleteFunc(w.wire, func(x *orderRequest) bool { return x == r })
			if r.c.session != nil && !r.c.over {
				r.c.over = true
				w.o.quit(r.c, true)
			}
			w.post(client, r.rid)
		}
	}
	w.o.closed(old)
}

func (w *orderWorld) pass(ms int64) {
	w.o.now += ms
	if w.o.now >= w.alarmAt {
		w.alarmAt = never
		w.o.run()
	}
	w.o.sweep()
}

func (w *orderWorld) run(steps int) {
	for range steps {
		switch n := w.rng.IntN(100); {
		case n < 25:
			client := w.clients[w.rng.IntN(len(w.clients))]
			if len(client.under) < 2 {
				client.rid++
				w.post(client, client.rid)
			}
		case n < 50:
			w.arrive()
		case n < 70:
			w.end()
		case n < 80:
			w.links[w.rng.IntN(len(w.links))].handle()
		case n < 85:
			if i := w.rng.IntN(len(w.under) + 1); i < len(w.under) && w.under[i].whenSent() == 0 {
				w.write(w.under[i])
			}
		case n < 95:
			w.pass(w.rng.Int64N(4))
		case w.patient:
		case n < 96:
			w.abandon(true)
		case n < 97:
			w.abandon(false)
		case n < 98:
			w.pass(w.rng.Int64N(2 * patienceMillis))
		case w.rng.IntN(10) == 0:
			w.close()
		}
		w.check()
	}
	w.finish()
}

// finish runs everything to its end and checks that nothing is left.
func (w *orderWorld) finish() {
	for n := 0; len(w.wire)+len(w.under)+w.queued() > 0 || slices.ContainsFunc(w.clients,
		func(c *orderClient) bool { return len(c.under) > 0 }); n++ {
		if n > 10_000+earlyMillis {
			w.t.Fatalf("something is stuck: %d on their way, %d at the endpoint, %d wait: %+v", len(w.wire),
				len(w.under), w.queued(), w.stats)
		}
		w.arrive()
		w.end()
		for _, l := range w.links {
			for len(l.queue) > 0 {
				l.handle()
			}
		}
		w.pass(5)
	}
	for _, c := range w.clients {
		for rid := uint64(101); rid <= c.rid; rid++ {
			if !c.answered[rid] {
				w.t.Fatalf("request %d of session %d got no reply", rid, c.key)
			}
		}
	}
	w.check()
	w.pass(maxIdleMillis + 1)
	if len(w.o.sessions) != 0 || w.o.idle.length != 0 || w.o.waiting.length != 0 {
		w.t.Fatalf("%d sessions are left, %d on the list of idle ones, %d wait", len(w.o.sessions), w.o.idle.length,
			w.o.waiting.length)
	}
}

// queued returns the number of requests and replies that wait.
func (w *orderWorld) queued() (n int) {
	for _, s := range w.o.sessions {
		n += int(s.ordered)
	}
	return n
}

// check verifies the invariants.
func (w *orderWorld) check() {
	w.t.Helper()
	if len(w.o.sessions) > w.o.max {
		w.t.Fatalf("%d sessions, at most %d", len(w.o.sessions), w.o.max)
	}
	for key, s := range w.o.sessions {
		n := 0
		for _, list := range []*call{s.queue, s.open} {
			for c := list; c != nil; c = c.next {
				n++
				if c.session != s || c.next != nil && c.next.rid < c.rid {
					w.t.Fatalf("session %d: request %d is where it does not belong", key, c.rid)
				}
			}
		}
		idle := s.front == nil && n == 0
		if n != int(s.ordered) || idle != (s.list == &w.o.idle) || s.queue != nil && s.list == nil && s.front == nil {
			w.t.Fatalf("session %d: %d requests, %+v", key, n, s)
		}
	}
}

// TestSessionSize bounds the gateway's memory of a session, without its entry in the map.
func TestSessionSize(t *testing.T) {
	if n := unsafe.Sizeof(session{}); n > 112 {
		t.Errorf("%d bytes, at most 112", n)
	}
}

// orderRig is an order with one session, for single cases.
type orderRig struct {
	*orderWorld
	client *orderClient
	log    []string
	slow   bool // sending takes a while
	full   bool // there are no sockets
}

func newOrderRig(t *testing.T) *orderRig {
	w := newOrderWorld(t, rand.New(rand.NewPCG(1, 1)))
	r := &orderRig{orderWorld: w, client: w.clients[0]}
	w.o.carrier = r
	return r
}

func (r *orderRig) send(c *call) bool {
	if r.full {
		return false
	}
	r.log = append(r.log, fmt.Sprintf("send %d", c.rid))
	if !r.slow {
		r.write(c)
	}
	return true
}
func (r *orderRig) refuse(c *call) { r.log = append(r.log, fmt.Sprintf("refuse %d", c.rid)) }
func (r *orderRig) reply(c *call)  { r.log = append(r.log, fmt.Sprintf("reply %d", c.rid)) }

// request delivers a request over a link.
func (r *orderRig) request(link int, rid uint64) *call {
	c := &call{link: r.links[link], rid: rid, endpoint: r.endpoint}
	r.o.arrive(c, r.client.key)
	return c
}

// answer makes the endpoint answer.
func (r *orderRig) answer(c *call, carries bool) {
	c.status, c.carries, c.answeredAt = statusOK, carries, r.o.micros()+1
	r.o.ended(c)
}

func (r *orderRig) fail(c *call, f fate) {
	c.status, c.fate = statusUnavailable, f
	if !r.o.ended(c) {
		r.reply(c)
	}
}

// want compares the actions since the last call.
func (r *orderRig) want(what ...string) {
	r.t.Helper()
	if !slices.Equal(r.log, what) {
		r.t.Fatalf("%q, want %q", r.log, what)
	}
	r.log = nil
}

// headStart is the head start in milliseconds of a request to an endpoint of unknown speed.
const headStart = minHeadStartMicros / 1000

// TestOrderOfRequests plays orders of arrival and checks when requests are sent. The session begins with rid 100.
func TestOrderOfRequests(t *testing.T) {
	for name, play := range map[string]func(r *orderRig){
		"in order": func(r *orderRig) {
			r.request(0, 101)
			r.want("send 101")
			r.request(1, 102)
			r.pass(headStart - 1)
			r.want()
			r.pass(1)
			r.want("send 102")
		},
		"turned round": func(r *orderRig) {
			r.request(0, 102)
			r.pass(50)
			r.want()
			c := r.request(1, 101)
			r.want("send 101")
			r.answer(c, false)
			r.want("reply 101", "send 102")
		},
		"without predecessor": func(r *orderRig) {
			r.request(0, 102)
			r.pass(patienceMillis - 1)
			r.want()
			r.pass(1)
			r.want("send 102")
			r.request(0, 101)
			r.want("send 101")
		},
		"without predecessor, and sent again": func(r *orderRig) {
			r.request(0, 102)
			r.pass(patienceMillis)
			r.want("send 102")
			r.request(1, 102)
			r.pass(patienceMillis - 1)
			r.want()
			r.pass(1)
			r.want("refuse 102")
			r.request(1, 102)
			r.full = true
			r.request(0, 101)
			r.want("refuse 101", "refuse 102")
			r.full = false
			c := r.request(0, 101)
			r.fail(c, fateUnreachable)
			r.want("send 101", "reply 101")
			r.request(1, 102)
			r.want()
			r.request(0, 101)
			r.want("send 101", "send 102")
		},
		"without predecessor, and sent again much later": func(r *orderRig) {
			r.request(0, 102)
			r.pass(patienceMillis)
			r.want("send 102")
			r.pass(earlyMillis - patienceMillis)
			r.request(1, 102)
			r.pass(patienceMillis - 1)
			r.want()
			r.pass(1)
			r.want("send 102")
		},
		"without predecessor, in vain": func(r *orderRig) {
			c := r.request(0, 102)
			r.pass(patienceMillis)
			r.fail(c, fateUnreachable)
			r.want("send 102", "reply 102")
			r.request(0, 102)
			r.pass(patienceMillis)
			r.want("send 102")
		},
		"beyond the window": func(r *orderRig) {
			r.request(0, 102)
			r.request(0, 103)
			r.pass(strangerMillis)
			r.want("send 102")
			r.pass(headStart)
			r.want("send 103")
		},
		"beyond the window, alone": func(r *orderRig) {
			r.request(0, 120)
			r.pass(strangerMillis)
			r.want("send 120")
		},
		"sent again while it is held": func(r *orderRig) {
			first := r.request(0, 101)
			r.pass(500)
			second := r.request(1, 101)
			r.want("send 101", "send 101")
			r.request(1, 102)
			r.answer(first, false)
			r.want("reply 101")
			r.answer(second, true)
			r.want("reply 101", "send 102")
		},
		"sent again at once": func(r *orderRig) {
			r.request(0, 101)
			r.request(1, 101)
			r.want("send 101")
			r.pass(headStart)
			r.want("send 101")
		},
		"an older one again": func(r *orderRig) {
			r.request(0, 101)
			r.request(1, 100)
			r.want("send 101", "send 100")
		},
		"an older one shows that it was read": func(r *orderRig) {
			held := r.request(0, 101)
			r.pass(5000)
			r.request(1, 102)
			r.answer(held, false)
			r.request(0, 103)
			r.want("send 101", "send 102", "reply 101", "send 103")
		},
		"payload shows nothing": func(r *orderRig) {
			held := r.request(0, 101)
			r.pass(5000)
			r.request(1, 102)
			r.answer(held, true)
			r.request(0, 103)
			r.want("send 101", "send 102", "reply 101")
		},
		"predecessor fails": func(r *orderRig) {
			c := r.request(0, 101)
			r.request(1, 102)
			r.fail(c, fateUnreachable)
			r.want("send 101", "refuse 102", "reply 101")
			r.request(1, 102)
			r.want()
			r.answer(r.request(0, 101), false)
			r.want("send 101", "reply 101", "send 102")
		},
		"no socket": func(r *orderRig) {
			r.request(0, 102)
			r.full = true
			r.request(0, 101)
			r.want("refuse 101", "refuse 102")
			r.full = false
			r.request(0, 102)
			r.want()
			r.request(0, 101)
			r.pass(headStart)
			r.want("send 101", "send 102")
		},
		"predecessor takes long to be sent": func(r *orderRig) {
			r.slow = true
			c := r.request(0, 101)
			r.request(0, 102)
			r.pass(2000)
			r.want("send 101")
			r.write(c)
			r.pass(headStart - 1)
			r.want()
			r.pass(1)
			r.want("send 102")
		},
		"many": func(r *orderRig) {
			for n := range maxOrdered {
				r.request(0, 102+uint64(n))
			}
			if c := (&call{rid: 200, endpoint: r.endpoint}); r.o.arrive(c, r.client.key) || c.session != nil {
				r.t.Error("one more is taken")
			}
		},
		"predecessor gone": func(r *orderRig) {
			r.request(0, 102)
			c := r.request(0, 101)
			c.over = true
			r.o.quit(c, true)
			c.fate = fateAborted
			r.o.ended(c)
			r.want("send 101")
			r.pass(headStart)
			r.want("send 102")
		},
		"last words in the wrong order": func(r *orderRig) {
			c := r.request(0, 102)
			c.over = true
			r.o.quit(c, true)
			r.request(0, 101)
			r.pass(headStart)
			r.want("send 101", "send 102")
		},
		"released while it waits": func(r *orderRig) {
			c := r.request(0, 102)
			c.over = true
			r.o.quit(c, false)
			r.pass(500)
			r.want()
		},
		"session ends": func(r *orderRig) {
			c := r.request(0, 101)
			r.request(1, 102)
			c.final = true
			r.answer(c, true)
			r.want("send 101", "reply 101", "send 102")
		},
	} {
		t.Run(name, func(t *testing.T) { play(newOrderRig(t)) })
	}
}

// TestOrderOfReplies checks when replies leave. Requests 101 and 102 have been sent, over links 0 and 1.
func TestOrderOfReplies(t *testing.T) {
	for name, play := range map[string]func(r *orderRig, first, second *call){
		"turned round": func(r *orderRig, first, second *call) {
			r.answer(second, true)
			r.pass(replyPatienceMillis - 1)
			r.want()
			r.answer(first, false)
			r.want("reply 101", "reply 102")
		},
		"the first one has nothing to say": func(r *orderRig, first, second *call) {
			r.answer(second, true)
			r.pass(replyPatienceMillis)
			r.want("reply 102")
			r.answer(r.request(1, 103), true)
			r.want("send 103", "reply 103")
		},
		"the first one gone": func(r *orderRig, first, second *call) {
			r.answer(second, true)
			first.over = true
			r.o.quit(first, true)
			r.want("reply 102")
		},
		"the first one failed": func(r *orderRig, first, second *call) {
			r.answer(second, true)
			r.fail(first, fateBroken)
			r.want("reply 102", "reply 101")
		},
		"the first one sent again": func(r *orderRig, first, second *call) {
			again := r.request(2, 101)
			r.answer(second, false)
			r.want("send 101")
			r.answer(again, false)
			r.want("reply 101", "reply 102")
		},
		"an error": func(r *orderRig, first, second *call) {
			second.hasty, second.final = true, true
			r.answer(second, true)
			r.want("reply 102")
		},
		"payloads over two links": func(r *orderRig, first, second *call) {
			r.answer(first, true)
			r.answer(second, true)
			r.want("reply 101")
			r.pass(100)
			r.want()
			r.links[0].queue[0]() // the pong
			r.want("reply 102")
		},
		"payloads over two links, and one ends": func(r *orderRig, first, second *call) {
			r.answer(first, true)
			r.answer(second, true)
			r.links[0].closed = true
			r.o.closed(r.links[0])
			r.want("reply 101", "reply 102")
		},
		"payloads over two links, and one stalls": func(r *orderRig, first, second *call) {
			r.answer(first, true)
			r.answer(second, true)
			r.answer(r.request(1, 103), true)
			r.pass(fenceMillis - 1)
			r.want("reply 101", "send 103")
			r.pass(1)
			r.want("reply 102", "reply 103")
		},
		"no payload over the other": func(r *orderRig, first, second *call) {
			r.answer(first, true)
			r.answer(second, false)
			r.want("reply 101", "reply 102")
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newOrderRig(t)
			first := r.request(0, 101)
			r.pass(100)
			second := r.request(1, 102)
			r.pass(100)
			r.want("send 101", "send 102")
			play(r, first, second)
		})
	}
}
