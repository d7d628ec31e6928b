package edge

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"megaphone/codec/boshbody"
	"megaphone/codec/frame"
	"megaphone/stats"
)

// instance is what an origin's hello says about its sessions.
func instance(token string, age time.Duration) string {
	return fmt.Sprintf(" instance=%s age=%d", token, age.Milliseconds())
}

// restart restarts an origin that clients wait for, with more in its hello.
func restart(t testing.TB, e *Edge, o *fakeOrigin, more string) (*fakeOrigin, *fakeLink) {
	t.Helper()
	o = listenFake(t, o.name, o.addr())
	e.advance(6) // it is dialled every 0.2 to 0.5 s
	l := o.link(more)
	linked(t, e, 1)
	return o, l
}

// endedText is how the embedded origin answers a request of a session that it does not have.
const endedText = "<body type='terminate' condition='item-not-found' xmlns='http://jabber.org/protocol/httpbind'/>"

// Lost holds get the answer of the new instance instead of 503, at the same times. With the same instance, or without
// one, they get 503.
func TestLostHoldsOfAnEarlierInstance(t *testing.T) {
	const clients = 400
	for name, c := range map[string]struct {
		before, after string
		gone          bool
	}{
		"restarted":       {instance("x", time.Hour), instance("y", time.Millisecond), true},
		"the same":        {instance("x", time.Hour), instance("x", time.Hour), false},
		"another, older":  {instance("x", time.Hour), instance("y", time.Hour), false},
		"none before":     {"", instance("y", time.Millisecond), false},
		"none after":      {instance("x", time.Hour), "", false},
		"no age":          {instance("x", time.Hour), " instance=y", false},
		"longest of ages": {instance("x", time.Hour), fmt.Sprintf(" instance=y age=%d", frame.MaxAge), false},
	} {
		t.Run(name, func(t *testing.T) {
			o := newFakeOrigin(t, "a")
			e := startEdge(t, func(c *Config) { c.PingTimeout = time.Hour }, o)
			l := o.link(c.before)
			until(t, e, stats.LinksUp, 1)
			for i := range clients - 1 {
				connect(t, e).post(empty(fmt.Sprintf("s%d", i), 1))
				l.next()
			}
			creating := connect(t, e)
			creating.post(creation("ver='1.6'"))
			l.next()
			e.advance(2 * lateTicks)
			lose(t, e, o, l)
			awaiting(t, e, clients)
			_, l = restart(t, e, o, c.after)
			told := e.Counter(stats.Retries)
			most, before := uint64(0), uint64(0)
			for range 50 {
				e.advance(1)
				n := e.Counter(stats.SessionsLost)
				most, before = max(most, n-before), n
			}
			awaiting(t, e, 0)
			ended, retries := e.Counter(stats.SessionsLost), e.Counter(stats.Retries)
			switch {
			case ended+retries != clients || told > clients/2:
				t.Errorf("%d sessions ended; %d answers of 503, %d of them early", ended, retries, told)
			case c.gone && (ended < clients/2 || retries > told+1 || most > 35): // 503 for the creation
				t.Errorf("%d ended, %d in one tick; 503: %d before, %d after", ended, most, told, retries-told)
			case !c.gone && ended > 0:
				t.Errorf("%d sessions ended", ended)
			}
			creating.get().want(t, 503, "")
			if len(l.frames) > 0 {
				t.Error("the origin got a request")
			}
		})
	}
}

// Requests in the queue of a restarted origin are answered in their turn, with the content type of their session. Those
// that may belong to a session of the new instance are sent.
func TestWaitingRequestsOfAnEarlierInstance(t *testing.T) {
	const clients = 3 * leastReturns
	o := newFakeOrigin(t, "a")
	e := startEdge(t, nil, o)
	l := o.link(instance("x", time.Hour))
	until(t, e, stats.LinksUp, 1)
	lose(t, e, o, l)
	all := make([]*client, clients)
	for i := range all {
		all[i] = connect(t, e)
		sid := "s"
		if i == 0 {
			sid += string(boshbody.AppendSuffix(nil, nil, false, encodeContent([]byte("text/html; x=y"))))
		}
		all[i].post(empty(sid, 1))
		awaiting(t, e, i+1)
	}
	e.advance(3 * lateTicks)
	young := connect(t, e)
	young.post(empty("young", 1))
	awaiting(t, e, clients+1)
	_, l = restart(t, e, o, instance("y", time.Second))
	for i := 0; i < clients; i += leastReturns {
		awaiting(t, e, clients+1-i-leastReturns)
		for j := i; j < i+leastReturns; j++ {
			r := all[j].get().want(t, 200, "")
			want := usualContent
			if j == 0 {
				want = "text/html; x=y"
			}
			if got := r.Header.Get("Content-Type"); r.text != endedText || got != want {
				t.Errorf("client %d got %q, %s", j, r.text, got)
			}
		}
		e.advance(1)
	}
	if r := l.next(); r.body != empty("young", 1) {
		t.Errorf("the origin got %q", r.body)
	}
	all[1].post(empty("s", 1)) // came after the restart: the origin's to answer
	if r := l.next(); r.body != empty("s", 1) {
		t.Errorf("the origin got %q", r.body)
	}
	if n := e.Counter(stats.Retries); n != 0 {
		t.Errorf("%d answers of 503", n)
	}
}

// What counts is the instance of the last welcome.
func TestInstanceChangesTwice(t *testing.T) {
	const clients = 2 * leastReturns
	for name, c := range map[string]struct {
		third string
		gone  bool
	}{
		"again":           {instance("z", time.Millisecond), true},
		"not again":       {instance("y", time.Second), true},
		"back, as it was": {instance("x", 2*time.Hour), false}, // two nodes behind one address
		"unknown":         {"", false},
	} {
		t.Run(name, func(t *testing.T) {
			o := newFakeOrigin(t, "a")
			e := startEdge(t, nil, o)
			l := o.link(instance("x", time.Hour))
			until(t, e, stats.LinksUp, 1)
			lose(t, e, o, l)
			var all []*client
			for i := range clients {
				c := connect(t, e)
				c.post(empty(fmt.Sprintf("s%d", i), 1))
				awaiting(t, e, i+1)
				all = append(all, c)
			}
			e.advance(3 * lateTicks)
			o, l = restart(t, e, o, instance("y", time.Millisecond))
			for i := range leastReturns {
				all[i].get().want(t, 200, "item-not-found")
			}
			lose(t, e, o, l)
			_, l = restart(t, e, o, c.third)
			for i := leastReturns; i < clients; i++ {
				if !c.gone {
					l.reply(l.next().id, "<body/>")
					all[i].get().want(t, 200, "<body/>")
				} else {
					all[i].get().want(t, 200, "item-not-found")
				}
			}
			if len(l.frames) > 0 {
				t.Error("the origin got a request")
			}
		})
	}
}

// A session of the new instance, which was opened over the first link to come up, continues at a reactor whose link
// comes later.
func TestNewSessionsGoOnAtEveryReactor(t *testing.T) {
	const reactors, clients = 2, 60
	o := newFakeOrigin(t, "a")
	e := startEdge(t, func(c *Config) { c.Reactors = reactors }, o)
	links := []*fakeLink{o.link(instance("x", time.Hour)), o.link(instance("x", time.Hour))}
	until(t, e, stats.LinksUp, reactors)
	o.l.Close()
	for _, l := range links {
		l.Close()
	}
	linked(t, e, 0)
	e.advance(2 * lateTicks)
	o = listenFake(t, o.name, o.addr())
	o.dialled(e)
	first := o.link(instance("y", time.Millisecond))
	linked(t, e, 1)
	ticks := lateTicks + o.dialled(e)
	second := o.raw()
	e.advance(lateTicks)
	for i := range clients {
		connect(t, e).post(empty(fmt.Sprintf("new%d", i), 1))
	}
	until(t, e, stats.Requests, clients)
	at := len(first.frames)
	if at == 0 || at == clients {
		t.Fatalf("%d of %d clients are at one reactor", at, clients)
	}
	age := time.Millisecond + time.Duration(ticks)*100*time.Millisecond
	second.say(strings.TrimSuffix(helloLine("a", 0), "\n") + instance("y", age) + "\n")
	second.readFrame()
	second.say("welcome\n")
	go second.pump()
	for range clients {
		select {
		case <-first.frames:
		case <-second.frames:
		case <-time.After(patience):
			t.Fatalf("the origin did not get all of %d requests; %d sessions ended", clients,
				e.Counter(stats.SessionsLost))
		}
		e.advance(1)
	}
	if n := e.Counter(stats.SessionsLost); n > 0 {
		t.Errorf("%d sessions ended", n)
	}
}

// An instance is new since the tick at which it must have existed, if it replaces another one.
func TestInstanceIsNewSince(t *testing.T) {
	n := &node{upSince: 1000}
	if n.meet("x", 3_600_000); n.newSince != 0 {
		t.Error("the first instance replaces another")
	}
	if !n.meet("y", 5_000) || n.newSince != 1000-50-1-lateTicks {
		t.Errorf("an instance of 5 s is new since tick %d", n.newSince)
	}
	if n.meet("", 0) || n.newSince != 0 || n.meet("z", 1) {
		t.Error("an instance after none replaces another")
	}
	if !n.meet("w", frame.MaxAge) || n.newSince != 0 {
		t.Errorf("an instance older than the edge is new since tick %d", n.newSince)
	}
}

// crowdIn posts so many creations that an edge whose origin has no room for them is crowded. It returns their clients.
func crowdIn(t testing.TB, e *Edge) (clients []*client) {
	t.Helper()
	const each = 100
	most := 0
	e.worker0(func(w *worker) { most = w.waits.returns })
	for range most*second/each + 1 {
		c := connect(t, e)
		for range each {
			c.post(creation("ver='1.6'"))
		}
		clients = append(clients, c)
	}
	waitingNow(t, e, (most*second/each+1)*each-1)
	return clients
}

// While many creations wait, the clients of ended sessions are told only before they lose patience. When fewer wait,
// they are told at once. That holds for requests that were held and for those that have come since.
func TestCrowdedOriginsClientsAreToldLater(t *testing.T) {
	const held, asked = 400, 2 * leastReturns
	for name, thins := range map[string]bool{"it stays crowded": false, "the crowd leaves": true} {
		t.Run(name, func(t *testing.T) {
			o := newFakeOrigin(t, "a")
			e := startEdge(t, func(c *Config) {
				c.PingTimeout, c.CreateTimeout, c.CreateWait = time.Hour, time.Hour, time.Hour
				c.MinCreations, c.MaxCreations, c.MaxPipelined, c.MaxConnections = 1, 1, 200, 4000
			}, o)
			l := o.link(instance("x", time.Hour))
			until(t, e, stats.LinksUp, 1)
			for i := range held {
				c := connect(t, e)
				c.post(empty(fmt.Sprintf("s%d", i), 1))
				l.next()
			}
			e.advance(2 * lateTicks)
			lose(t, e, o, l)
			for i := range asked {
				c := connect(t, e)
				c.post(empty(fmt.Sprintf("t%d", i), 1))
				awaiting(t, e, held+i+1)
			}
			e.advance(lateTicks + 2)
			restart(t, e, o, instance("y", time.Millisecond))
			crowded := crowdIn(t, e)
			e.advance(1) // which publishes the counters
			retries := e.Counter(stats.Retries)
			early := int(e.Counter(stats.SessionsLost) + retries)
			told := func() int { return int(e.Counter(stats.SessionsLost)+e.Counter(stats.Retries)) - early }
			ticks := 0
			for ; ticks < 2*mostWaitTicks; ticks++ {
				e.advance(1)
			}
			if told() > asked {
				t.Errorf("%d were told to log in behind %d others", told(), e.Counter(stats.CreationsWaiting))
			}
			if thins {
				for _, c := range crowded {
					c.Close()
				}
				until(t, e, stats.CreationsWaiting, 0)
				for range 2 * lookTicks {
					e.advance(1)
				}
			} else {
				for ; ticks <= patienceTicks; ticks++ {
					e.advance(1)
				}
			}
			if told() != held+asked-early || e.Counter(stats.Retries) != retries {
				t.Errorf("%d of %d were told, with %d answers of 503, after %d that were told early",
					told(), held+asked, e.Counter(stats.Retries)-retries, early)
			}
			if early > 3*held/4 {
				t.Errorf("%d were told before there was a crowd", early)
			}
			awaiting(t, e, 0)
		})
	}
}
