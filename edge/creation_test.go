package edge

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"megaphone/codec/boshbody"
	"megaphone/codec/frame"
	"megaphone/stats"
)

// manner is what an origin of these tests does with a session creation.
type manner int32

const (
	wellManner   manner = iota // answers with a session
	brokenManner               // ends it with internal-server-error
	stuckManner                // never replies
	strictManner               // ends it with host-unknown, which is the client's fault
	plainManner                // status 500, as from a server that does not speak BOSH
	pageManner                 // status 200 with an HTML page
	noPageManner               // status 404 with one
)

// actor is an origin with a manner. It holds requests of sessions forever.
type actor struct {
	*fakeOrigin
	manner    atomic.Int32
	creations atomic.Int64
	gone      atomic.Int64
}

func newActor(t testing.TB, name string, m manner) *actor {
	a := &actor{fakeOrigin: newFakeOrigin(t, name)}
	a.manner.Store(int32(m))
	return a
}

// play takes the next link and answers its requests.
func (a *actor) play() {
	l := a.link()
	go func() {
		for line := range l.control {
			if strings.HasPrefix(line, "gone ") {
				a.gone.Add(1)
			}
			if token, ok := strings.CutPrefix(line, "ping "); ok {
				_, _ = l.Write(frame.Append(nil, 0, []byte("pong "+token)))
			}
		}
	}()
	go func() {
		for r := range l.frames {
			var b boshbody.StartTag
			if boshbody.Parse(&b, []byte(r.body)) != nil || b.SID != nil {
				continue
			}
			n := a.creations.Add(1)
			status, body := 200, fmt.Sprintf("<body sid='%s%d' wait='60' %s/>", a.name, n, ns)
			switch manner(a.manner.Load()) {
			case brokenManner:
				body = string(boshbody.Terminal("internal-server-error"))
			case strictManner:
				body = string(boshbody.Terminal("host-unknown"))
			case plainManner:
				status, body = 500, ""
			case pageManner:
				body = "<html>It works!</html>"
			case noPageManner:
				status, body = 404, "404 page not found"
			case stuckManner:
				continue
			}
			_, _ = l.Write(frame.AppendReply(nil, r.id, status, []byte(body)))
		}
	}()
}

// troupe starts an edge with actors, all linked.
func troupe(t testing.TB, set func(c *Config), actors ...*actor) *Edge {
	t.Helper()
	var origins []*fakeOrigin
	for _, a := range actors {
		origins = append(origins, a.fakeOrigin)
	}
	e := startEdge(t, func(c *Config) {
		c.PingTimeout, c.MaxConnections = time.Hour, 5000
		if set != nil {
			set(c)
		}
	}, origins...)
	for _, a := range actors {
		a.play()
	}
	until(t, e, stats.LinksUp, uint64(len(actors)))
	return e
}

// open creates a session over its own connection and leaves a request held. It returns false if the edge refused
// either.
func open(t testing.TB, e *Edge, to string) bool {
	t.Helper()
	c := connect(t, e)
	c.post(strings.Replace(creation("ver='1.6'"), "example.org", to, 1))
	r := c.get()
	_, sid, ok := strings.Cut(r.text, "sid='")
	if !ok {
		c.Close()
		return false
	}
	sid, _, _ = strings.Cut(sid, "'")
	parked := e.Counter(stats.Parked)
	c.post(empty(sid, 1001))
	until(t, e, stats.Parked, parked+1)
	return true
}

// has waits until n creations were either answered by any origin or received by the actor.
func (a *actor) has(e *Edge, n int) {
	a.t.Helper()
	deadline := time.Now().Add(patience)
	for got := 0; got < n; {
		got = int(a.creations.Load())
		e.worker0(func(w *worker) { got += int(w.counters[stats.Released]) }) // requests of sessions are held forever
		if time.Now().After(deadline) {
			a.t.Fatalf("%d creations ended, want %d", got, n)
		}
	}
}

func (e *Edge) worker0(f func(w *worker)) {
	e.group.Do(func(r reactor, h handler) {
		if r.Index() == 0 {
			f(h.(*worker))
		}
	})
}

// A broken origin holds nothing, so by held requests alone it would look best. It gets five creations, and then trials.
func TestABrokenOriginGetsHardlyAny(t *testing.T) {
	for _, m := range []manner{brokenManner, plainManner, pageManner, noPageManner} {
		good, bad := newActor(t, "good", wellManner), newActor(t, "bad", m)
		e := troupe(t, nil, good, bad)
		for good.creations.Load() == 0 { // the edge must learn that the domain is served
			open(t, e, "example.org")
		}
		bad.creations.Store(0)
		failed := 0
		for range 600 { // in a minute
			if !open(t, e, "example.org") {
				failed++
			}
			e.advance(1)
		}
		if n := bad.creations.Load(); n > 12 || n < ejectRow || failed != int(n) {
			t.Errorf("manner %d: the origin got %d of 600, %d failed", m, n, failed)
		}
		t.Logf("broken: %d of 600", bad.creations.Load())
	}
}

// A stuck origin gets as many creations as an unmeasured one may have under way, and then trials. Its clients get 503
// in create-timeout, and the origin is told that they are gone.
func TestAStuckOriginGetsHardlyAny(t *testing.T) {
	good, bad := newActor(t, "good", wellManner), newActor(t, "bad", wellManner)
	e := troupe(t, nil, good, bad)
	open(t, e, "example.org")
	bad.manner.Store(int32(stuckManner))
	bad.creations.Store(0)
	e.worker0(func(w *worker) { w.nodes[0].held += 5000 }) // the stuck one appears to have less to do
	var waiting []*client
	const all = 1000
	for range all { // in 50 s
		c := connect(t, e)
		c.post(creation("ver='1.6'"))
		waiting = append(waiting, c)
		bad.has(e, 1+len(waiting))
		if len(waiting)%2 == 0 {
			e.advance(1)
		}
	}
	e.advance(100)
	served, refused := 0, 0
	for _, c := range waiting {
		if r := c.get(); r.StatusCode == 200 {
			served++
		} else if r.want(t, 503, "").Header.Get("Retry-After") != "" {
			refused++
		}
	}
	n := int(bad.creations.Load())
	if n > all/50 || n < ejectRow || refused != n || served != all-n {
		t.Errorf("the origin got %d of %d; %d served, %d refused", n, all, served, refused)
	}
	until(t, e, stats.CreateTimeouts, uint64(n))
	deadline := time.Now().Add(patience)
	for bad.gone.Load() < int64(n) && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if g := bad.gone.Load(); g != int64(n) {
		t.Errorf("the origin got %d gone of %d", g, n)
	}
	t.Logf("stuck: %d of %d", n, all)
	e.worker0(func(w *worker) { w.nodes[0].held -= 5000 })
}

// An origin that comes up beside one with sessions holds nothing. It still gets a growing share instead of everything.
func TestAColdOriginGetsAGrowingShare(t *testing.T) {
	warm, cold := newActor(t, "warm", wellManner), newActor(t, "cold", wellManner)
	e := startEdge(t, func(c *Config) { c.PingTimeout = time.Hour }, warm.fakeOrigin, cold.fakeOrigin)
	warm.play()
	until(t, e, stats.LinksUp, 1)
	for range 100 {
		open(t, e, "example.org")
	}
	e.advance(700)
	e.worker0(func(w *worker) { w.nodes[1].health.most.Store(500) }) // as from before a restart
	cold.play()
	until(t, e, stats.LinksUp, 2)
	e.worker0(func(w *worker) {
		if n := w.nodes[1].health.bound(&w.creationBounds); n != firstCreations {
			t.Errorf("%d creations may be under way at a cold origin", n)
		}
	})
	var got [6]int64 // in each ten seconds
	for i := range got {
		before := cold.creations.Load()
		for range 100 {
			open(t, e, "example.org")
			e.advance(1)
		}
		got[i] = cold.creations.Load() - before
	}
	all := cold.creations.Load()
	if got[0] > 25 || got[0] == 0 || got[5] < got[0] || all > 300 {
		t.Errorf("of 100 in each ten seconds the origin got %v, in total %d of 600", got, all)
	}
	t.Logf("cold: %v, %d of 600", got, all)
}

// standings returns those of the nodes of the first reactor.
func standings(e *Edge) (all []standing) {
	e.worker0(func(w *worker) {
		for _, n := range w.nodes {
			all = append(all, n.health.is())
		}
	})
	return all
}

// When most origins fail, the cause is elsewhere. Half of them stay, and so does the last one.
func TestNeverMoreThanHalfAreEjected(t *testing.T) {
	for n, want := range map[int]int{1: 0, 2: 1, 3: 1, 4: 2, 5: 2} {
		var actors []*actor
		for i := range n {
			actors = append(actors, newActor(t, fmt.Sprint("n", i), wellManner))
		}
		e := troupe(t, nil, actors...)
		open(t, e, "example.org")
		for _, a := range actors {
			a.manner.Store(int32(brokenManner))
		}
		for range 40 * n {
			open(t, e, "example.org")
		}
		out := 0
		for _, s := range standings(e) {
			if s != standingWell {
				out++
			}
		}
		if out != want {
			t.Errorf("of %d origins %d are ejected, not %d", n, out, want)
		}
	}
}

// An ejected origin is picked if there is no other, or no other for the domain.
func TestAnEjectedOriginIsBetterThanNone(t *testing.T) {
	a, b := newActor(t, "a", wellManner), newActor(t, "b", wellManner)
	e := troupe(t, func(c *Config) { c.Origins[0].Domains = []string{"a.example"} }, a, b)
	open(t, e, "a.example")
	open(t, e, "b.example")
	e.worker0(func(w *worker) {
		if _, ok := w.nodes[1].health.eject(w.micros(), &w.creationBounds, w.r.Rand()); !ok {
			t.Error("not ejected")
		}
	})
	got := b.creations.Load()
	if !open(t, e, "b.example") || b.creations.Load() != got+1 {
		t.Error("b.example is served by b only, and was refused")
	}
	for range 20 {
		open(t, e, "a.example")
	}
	if n := b.creations.Load(); n != got+1 {
		t.Errorf("the ejected origin got %d creations that another could serve", n-got-1)
	}
}

// An ejected origin gets one creation at a time after its ejection, and its share after three successes. Each failure
// doubles the ejection.
func TestTrials(t *testing.T) {
	good, bad := newActor(t, "good", wellManner), newActor(t, "bad", brokenManner)
	e := troupe(t, nil, good, bad)
	for standings(e)[1] == standingWell {
		open(t, e, "example.org")
	}
	ticks := func() (n int) { // until the next trial
		for before := bad.creations.Load(); bad.creations.Load() == before; n++ {
			e.advance(1)
			open(t, e, "example.org")
		}
		return n
	}
	for i, longest := range []int{100, 200, 400} {
		if n := ticks(); n < longest/2 || n > longest+2 {
			t.Errorf("trial %d after %d ticks, not %d to %d", i, n, longest/2, longest)
		}
	}
	bad.manner.Store(int32(stuckManner))
	before := bad.creations.Load()
	for deadline := time.Now().Add(patience); standings(e)[1] != standingTrial; {
		if time.Now().After(deadline) {
			t.Fatal("no trial")
		}
		e.advance(1)
		asked := requests(e)
		connect(t, e).post(creation("ver='1.6'"))
		until(t, e, stats.Requests, asked+1)
	}
	for deadline := time.Now().Add(patience); bad.creations.Load() == before; { // until it has arrived
		if time.Now().After(deadline) {
			t.Fatal("no trial")
		}
	}
	got := bad.creations.Load()
	for range 50 { // no other while the trial is under way
		open(t, e, "example.org")
	}
	if n := bad.creations.Load(); n != got {
		t.Errorf("%d creations while a trial was under way", n-got)
	}
	bad.manner.Store(int32(wellManner))
	for range 100 + 2*1600 {
		e.advance(1)
		if e.View().Origins[1].Figures[stats.OriginEjected] == 0 {
			break
		}
		open(t, e, "example.org")
	}
	v := e.View().Origins[1].Figures
	if v[stats.OriginEjected] != 0 || v[stats.OriginShare] > fullShare/5 || v[stats.OriginEjections] != 1 {
		t.Errorf("after its trials %+v", v)
	}
}

// Requests that must fail say nothing about an origin: neither clients' mistakes nor domains that no origin serves,
// whatever the origin's reply is.
func TestClientsCannotEjectAnOrigin(t *testing.T) {
	a, b := newActor(t, "a", wellManner), newActor(t, "b", wellManner)
	e := troupe(t, nil, a, b)
	open(t, e, "example.org")
	for _, m := range []manner{strictManner, brokenManner, plainManner, pageManner, noPageManner} {
		a.manner.Store(int32(m))
		b.manner.Store(int32(m))
		to := "nobody.example"
		if m == strictManner {
			to = "example.org"
		}
		for range 100 {
			open(t, e, to)
		}
		if got := standings(e); got[0] != standingWell || got[1] != standingWell {
			t.Errorf("manner %d: standings %v", m, got)
		}
	}
}

// With ejection: off a failing origin keeps its share.
func TestEjectionOff(t *testing.T) {
	good, bad := newActor(t, "good", wellManner), newActor(t, "bad", brokenManner)
	e := troupe(t, func(c *Config) { c.Ejection = "off" }, good, bad)
	for range 100 {
		open(t, e, "example.org")
	}
	if n := bad.creations.Load(); n < 50 {
		t.Errorf("the origin got %d of 100", n)
	}
}

// few starts an edge with one origin that may have two creations under way.
func few(t testing.TB, set func(c *Config)) (*Edge, *fakeLink) {
	t.Helper()
	return one(t, func(c *Config) {
		c.MinCreations, c.MaxCreations, c.PingTimeout = 2, 2, time.Hour
		if set != nil {
			set(c)
		}
	})
}

// waitingNow waits until n creations wait.
func waitingNow(t testing.TB, e *Edge, n int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for got := -1; got != n; {
		got = 0
		e.group.Do(func(_ reactor, h handler) { got += h.(*worker).creations.waiting })
		if time.Now().After(deadline) {
			t.Fatalf("%d creations wait, not %d", got, n)
		}
	}
}

func withNumber(n int) string { return creation(fmt.Sprintf("ver='1.6' n='%d'", n)) }

// Creations above the bound wait for their turn, in order. Requests of sessions do not.
func TestCreationsWaitForTheirTurn(t *testing.T) {
	e, l := few(t, nil)
	var clients []*client
	for i := range 6 {
		c := connect(t, e)
		c.post(withNumber(i))
		waitingNow(t, e, max(0, i-1))
		clients = append(clients, c)
	}
	session := connect(t, e)
	session.post(empty("s1", 1))
	var held []linkRequest
	for range 3 { // two creations, and the session's
		held = append(held, l.next())
	}
	for i := range 6 {
		if want := fmt.Sprintf("n='%d'", i); !strings.Contains(held[0].body, want) {
			t.Fatalf("got %[2]s, want %[1]s", want, held[0].body)
		}
		if held[0].addr != "127.0.0.1" {
			t.Errorf("address %q", held[0].addr)
		}
		l.reply(held[0].id, fmt.Sprintf("<body sid='s%d' %s/>", i, ns))
		clients[i].get().want(t, 200, fmt.Sprintf("sid='s%d'", i))
		if held = held[1:]; i == 0 {
			if held[1].body != empty("s1", 1) {
				t.Fatalf("the session's request waits behind creations: %s", held[1].body)
			}
			held = held[:1]
		}
		if i < 4 {
			held = append(held, l.next())
		}
	}
	if n := e.Counter(stats.CreationsWaited); n > 0 { // as of the last tick
		t.Errorf("counted %d before the tick", n)
	}
	until(t, e, stats.CreationsWaited, 4)
}

// A creation waits for create-wait, and then is refused. Without room to wait it is refused at once. It is forgotten if
// its client closes.
func TestCreationsDoNotWaitForEver(t *testing.T) {
	e, l := few(t, func(c *Config) { c.CreateWait, c.CreateTimeout, c.MaxWaitingCreations = time.Second, time.Hour, 3 })
	var clients []*client
	for i := range 5 {
		c := connect(t, e)
		c.post(withNumber(i))
		waitingNow(t, e, max(0, i-1))
		clients = append(clients, c)
	}
	c := connect(t, e)
	c.post(withNumber(5))
	if r := c.get().want(t, 503, ""); r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	c.post(strings.Replace(creation(""), "wait=", "x='"+strings.Repeat("y", 5000)+"' wait=", 1)) // too long to wait
	c.get().want(t, 503, "")
	clients[3].Close()
	waitingNow(t, e, 2)
	e.advance(9)
	waitingNow(t, e, 2)
	e.advance(1)
	waitingNow(t, e, 0)
	clients[2].get().want(t, 503, "")
	clients[4].get().want(t, 503, "")
	until(t, e, stats.CreateWaits, 2)
	until(t, e, stats.CreationsBusy, 2)
	for i := range 2 {
		l.reply(l.next().id, "<body sid='s' "+ns+"/>")
		clients[i].get().want(t, 200, "sid='s'")
	}
	select {
	case r := <-l.frames:
		t.Errorf("a refused creation was handed over: %s", r.body)
	default:
	}
	idle(t, e)
}

// Creations that came together and expire are not refused together.
func TestCreationsAreNotRefusedTogether(t *testing.T) {
	const many = 300
	e, l := few(t, func(c *Config) { c.CreateWait, c.CreateTimeout = time.Second, time.Hour })
	for range 2 {
		connect(t, e).post(creation("ver='1.6'"))
		l.next()
	}
	for range many {
		connect(t, e).post(creation("ver='1.6'"))
	}
	waitingNow(t, e, many)
	e.advance(9)
	ticks := 0
	for left := many; left > 0; ticks++ {
		e.advance(1)
		before := left
		e.worker0(func(w *worker) { left = w.creations.waiting })
		if refused := before - left; refused == 0 || refused > fewExpired+many/expiredPart {
			t.Fatalf("%d of %d refused in a tick", refused, before)
		}
	}
	if ticks < 10 || ticks > 20 {
		t.Errorf("took %d ticks", ticks)
	}
}

// Clients that close do not make room at once, because the origin still works on their creations.
func TestClientsThatLeaveMakeNoRoom(t *testing.T) {
	e, l := few(t, nil)
	for range 5 {
		for range 2 {
			c := connect(t, e)
			c.post(creation("ver='1.6'"))
			l.next()
			c.Close()
			l.hears("gone ")
		}
		c := connect(t, e)
		c.post(creation("ver='1.6'"))
		waitingNow(t, e, 1)
		e.advance(1)
		l.reply(l.next().id, "<body sid='s' "+ns+"/>")
		c.get().want(t, 200, "sid='s'")
		e.advance(2) // no longer than an answer takes
	}
	idle(t, e)
}

// idle checks that no state of creations is left.
func idle(t testing.TB, e *Edge) {
	t.Helper()
	e.group.Do(func(r reactor, h handler) {
		w := h.(*worker)
		w.Tick()
		q := &w.creations
		if q.waiting != 0 || q.queued != 0 || q.chunks.bytes != 0 || len(q.free) != len(q.all)-numHeads {
			t.Errorf("%d wait; %d frames in %d bytes; %d of %d slots are free", q.waiting, q.queued, q.chunks.bytes,
				len(q.free), len(q.all)-numHeads)
		}
		for _, n := range w.nodes {
			if n.creating != 0 || n.health.underWay.Load() != 0 || n.health.is() == standingTrial {
				t.Errorf("%s: %d are under way here, %d in all; standing %d", n.cfg.Name, n.creating,
					n.health.underWay.Load(), n.health.is())
			}
		}
		if n := r.BufferedBytes(); n != 0 {
			t.Errorf("%d bytes are kept", n)
		}
	})
}

// A creation for a domain whose only origin is busy does not block those of other domains.
func TestLanes(t *testing.T) {
	a, b := newActor(t, "a", stuckManner), newActor(t, "b", wellManner)
	e := troupe(t, func(c *Config) {
		c.MinCreations, c.MaxCreations, c.CreateTimeout = 2, 2, time.Hour
		c.Origins[0].Domains, c.Origins[1].Domains = []string{"a.example"}, []string{"b.example"}
	}, a, b)
	for i := range 6 {
		connect(t, e).post(strings.Replace(withNumber(i), "example.org", "a.example", 1))
		waitingNow(t, e, max(0, i-1))
	}
	for range 10 {
		if !open(t, e, "b.example") {
			t.Fatal("refused")
		}
	}
	waitingNow(t, e, 4)
	// A reload that adds the domain to the other origin releases them.
	cfg := configOf(e, nil)
	cfg.Origins = slices.Clone(cfg.Origins)
	cfg.Origins[1].Domains = []string{"a.example", "b.example"}
	if _, err := e.reload(cfg); err != nil {
		t.Fatal(err)
	}
	e.advance(1)
	waitingNow(t, e, 0)
	if n := b.creations.Load(); n < 11 {
		t.Errorf("b got %d", n)
	}
}

// The bound is shared by all reactors, and each of them gets its part.
func TestReactorsShareTheBound(t *testing.T) {
	const reactors, most = 4, 6
	a := newActor(t, "a", stuckManner)
	e := startEdge(t, func(c *Config) {
		c.Reactors, c.MinCreations, c.MaxCreations, c.PingTimeout = reactors, most, most, time.Hour
		c.CreateTimeout, c.CreateWait = time.Hour, time.Hour
	}, a.fakeOrigin)
	var links []*fakeLink
	for range reactors {
		links = append(links, a.link())
	}
	until(t, e, stats.LinksUp, reactors)
	const clients = 200
	for range clients {
		connect(t, e).post(creation("ver='1.6'"))
	}
	waitingNow(t, e, clients-most)
	answered := [reactors]int{}
	for left := clients; left > 0; {
		e.advance(1)
		under := 0
		for i, l := range links {
			under += len(l.frames)
			if len(l.frames) == 0 {
				continue
			}
			l.reply((<-l.frames).id, "<body sid='s' "+ns+"/>")
			answered[i]++
			left--
		}
		if under > most {
			t.Fatalf("%d are under way", under)
		}
		if left > clients/4 && left < clients/2 && slices.Min(answered[:]) == 0 {
			t.Fatalf("answered of each reactor: %v", answered)
		}
	}
	until(t, e, stats.Released, clients)
	idle(t, e)
}

// No creation is counted forever, although links end, clients close, and origins reply late, never or too often.
func TestCreationsAreCountedExactly(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	origins := []*fakeOrigin{newFakeOrigin(t, "a"), newFakeOrigin(t, "b")}
	e := startEdge(t, func(c *Config) {
		c.MinCreations, c.MaxCreations, c.MaxWaitingCreations, c.PingTimeout = 3, 6, 8, time.Hour
		c.CreateTimeout, c.CreateWait, c.EjectTime, c.Grace = 3*time.Second, 2*time.Second, time.Second, time.Hour
	}, origins...)
	links := []*fakeLink{origins[0].link(), origins[1].link()}
	until(t, e, stats.LinksUp, 2)
	var clients []*client
	replies := []string{"<body sid='s' " + ns + "/>", string(boshbody.Terminal("internal-server-error")), "",
		string(boshbody.Terminal("host-unknown")), "<body/>", "<nonsense"}
	ups := uint64(2)
	for range 2000 {
		switch i := r.IntN(2); r.IntN(12) {
		case 0, 1, 2, 3:
			c := connect(t, e)
			c.post(withNumber(len(clients)))
			if r.IntN(4) == 0 {
				c.post(empty("s1", 1))
			}
			clients = append(clients, c)
		case 4, 5, 6:
			select {
			case q := <-links[i].frames:
				p := frame.AppendReply(nil, q.id, []int{200, 200, 200, 500, 503}[r.IntN(5)],
					[]byte(replies[r.IntN(len(replies))]))
				for range 1 + r.IntN(2) {
					_, _ = links[i].Write(p)
				}
			default:
			}
		case 7, 8:
			if n := len(clients); n > 0 {
				clients[r.IntN(n)].Close()
			}
		case 9, 10:
			e.advance(1 + r.IntN(5))
		case 11:
			if cfg := configOf(e, nil); r.IntN(3) == 0 {
				cfg.Origins = slices.Clone(cfg.Origins)
				cfg.Origins[i].Domains = [][]string{nil, {"example.org"}, {"other.example"}}[r.IntN(3)]
				cfg.MaxCreations, cfg.Ejection = 3+r.IntN(6), []string{"on", "off"}[r.IntN(2)]
				if _, err := e.reload(cfg); err != nil {
					t.Fatal(err)
				}
			} else if r.IntN(10) == 0 {
				links[i].Close()
				dialled(t, e, i)
				links[i] = origins[i].link()
				ups++
				until(t, e, stats.LinksUp, ups)
			}
		}
	}
	for _, c := range clients {
		c.Close()
	}
	e.advance(31)
	noClients(t, e)
	e.advance(60)
	idle(t, e)
}

// noClients returns when no client is connected.
func noClients(t *testing.T, e *Edge) {
	t.Helper()
	for left, deadline := 1, time.Now().Add(patience); left > 0; {
		left = 0
		e.group.Do(func(r reactor, _ handler) { left += r.Clients() })
		if time.Now().After(deadline) {
			t.Fatalf("%d clients left", left)
		}
	}
}

// dialled returns as soon as reactor 0 has dialled origin i again. Any further tick could be too late.
func dialled(t *testing.T, e *Edge, i int) {
	t.Helper()
	for up, deadline := false, time.Now().Add(patience); !up; {
		if time.Now().After(deadline) {
			t.Fatal("the origin is not dialled again")
		}
		e.advance(1)
		time.Sleep(time.Millisecond)
		e.worker0(func(w *worker) { up = w.nodes[i].link.Up() && w.nodes[i].stage == stageGreeting })
	}
}
