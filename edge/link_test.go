package edge

import (
	"strings"
	"testing"
	"time"

	"megaphone/codec/frame"
	"megaphone/loop"
	"megaphone/stats"
)

type (
	reactor = *loop.Reactor
	handler = loop.Handler
)

// meeting is the handshake of a link with a secret, as its origin sees it.
type meeting struct {
	*fakeLink
	secret      []byte
	hello, line string // the origin's and the edge's, as the other end got them
	edge        frame.Hello
}

// meet sends hello and reads the edge's.
func (l *fakeLink) meet(secret []byte, hello string) *meeting {
	l.t.Helper()
	l.say(hello)
	m := &meeting{fakeLink: l, secret: secret, hello: hello, line: string(l.readFrame().Contents)}
	h, err := frame.ParseHello([]byte(strings.TrimSuffix(strings.TrimPrefix(m.line, "hello "), "\n")))
	if err != nil {
		l.t.Fatalf("%q: %v", m.line, err)
	}
	m.edge = h
	return m
}

// proves reports whether the edge has proved the secret for both hellos.
func (m *meeting) proves() bool {
	want := frame.LinkProof(m.secret, frame.EdgeHello, []byte(m.hello), frame.Unproved([]byte(m.line)))
	return m.edge.HasProof && m.edge.Proof == want
}

// welcome returns the line that the edge accepts after this handshake.
func (m *meeting) welcome() string {
	w := frame.Welcome{HasProof: true}
	w.Proof = frame.LinkProof(m.secret, frame.OriginWelcome, []byte(m.hello), frame.Unproved([]byte(m.line)),
		[]byte("welcome"))
	return string(frame.AppendWelcome(nil, &w))
}

// oldWelcome returns that of an origin of an earlier version.
func (m *meeting) oldWelcome() string {
	w := frame.Welcome{HasMAC: true}
	w.MAC = frame.LinkMAC(m.secret, "origin", &m.edge.Nonce, &fakeNonce, m.edge.Name)
	return string(frame.AppendWelcome(nil, &w))
}

// fakeNonce is that of helloLine.
var fakeNonce = [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

// wantRefused checks that the edge closes the link because the proof is missing or wrong.
func (m *meeting) wantRefused(e *Edge, welcome string) (reason string) {
	m.t.Helper()
	before := e.Counter(stats.AuthFailures)
	m.say(welcome)
	got := string(m.readFrame().Contents)
	if !strings.HasPrefix(got, "error the origin did not prove") {
		m.t.Fatalf("%q got %q", welcome, got)
	}
	until(m.t, e, stats.AuthFailures, before+1)
	return got
}

// again returns the link that the edge dials after a lost one.
func (o *fakeOrigin) again(e *Edge) *fakeLink {
	o.t.Helper()
	o.dialled(e)
	return o.raw()
}

// dialled advances the clock until the edge has dialled the origin, and returns by how many ticks.
func (o *fakeOrigin) dialled(e *Edge) (ticks int) {
	end := time.Now().Add(patience)
	for ; len(o.links) == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) { // it arrives by the kernel
		e.advance(1)
		ticks++
	}
	return ticks
}

func TestSecretIsProvenBothWays(t *testing.T) {
	secret := []byte("a secret of some length")
	o := newFakeOrigin(t, "a")
	e := startEdge(t, func(c *Config) { c.Secret = secret }, o)
	m := o.raw().meet(secret, helloLine("a", 0))
	if !m.proves() || m.edge.HasMAC {
		t.Fatalf("no proof, or that of an old edge: %q", m.line)
	}
	other := *m
	other.secret = []byte("another secret of some length")
	m.wantRefused(e, other.welcome())
	m = o.again(e).meet(secret, helloLine("a", 0))
	m.say(m.welcome())
	until(t, e, stats.LinksUp, 1)
}

// TestChangedHandshake: an attacker between edge and origin cannot change either end's lines.
func TestChangedHandshake(t *testing.T) {
	secret := []byte("a secret of some length")
	hello := strings.TrimSuffix(helloLine("a", 1<<20), "\n")
	for name, change := range map[string]func(m *meeting) (welcome string){
		"the origin's max": func(m *meeting) string {
			m.hello = strings.Replace(m.hello, "1048576", "1048577", 1)
			return m.welcome()
		},
		"a key more": func(m *meeting) string { m.hello = hello + " take=query\n"; return m.welcome() },
		"the edge's max": func(m *meeting) string {
			m.line = strings.Replace(m.line, "max=1", "max=2", 1)
			return m.welcome()
		},
		"the welcome": func(m *meeting) string { return strings.Replace(m.welcome(), " ", " x=y ", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			o := newFakeOrigin(t, "a")
			e := startEdge(t, func(c *Config) { c.Secret = secret }, o)
			m := o.raw().meet(secret, hello+"\n")
			m.wantRefused(e, change(m))
		})
	}
}

// TestOldOrigin: an origin of an earlier version is refused with a remedy. It is accepted if the configuration says so.
func TestOldOrigin(t *testing.T) {
	secret := []byte("a secret of some length")
	o := newFakeOrigin(t, "a")
	e := startEdge(t, func(c *Config) { c.Secret = secret }, o)
	m := o.raw().meet(secret, helloLine("a", 0))
	if got := m.wantRefused(e, m.oldWelcome()); !strings.Contains(got, "accept-old-proof") {
		t.Fatalf("no remedy in %q", got)
	}
	reload(t, e, func(c *Config) { c.OldProof = "on" })
	m = o.again(e).meet(secret, helloLine("a", 0))
	want := frame.LinkMAC(secret, "edge", &fakeNonce, &m.edge.Nonce, m.edge.Name)
	if !m.proves() || !m.edge.HasMAC || m.edge.MAC != want {
		t.Fatalf("neither old nor new origins would take %q", m.line)
	}
	m.say(m.oldWelcome())
	until(t, e, stats.LinksUp, 1)
	m.Close()
	waitDown(t, e)
	m = o.again(e).meet(secret, helloLine("a", 0)) // upgraded
	m.say(m.welcome())
	until(t, e, stats.LinksUp, 2)
}

// TestOldOriginThatRefuses: its reason names a mac, which an edge of this version sends only if told to.
func TestOldOriginThatRefuses(t *testing.T) {
	o := newFakeOrigin(t, "a")
	e := startEdge(t, func(c *Config) { c.Secret = []byte("a secret of some length") }, o)
	m := o.raw().meet(nil, helloLine("a", 0))
	m.say("error the mac in hello is missing or wrong: are both ends given the same secret?\n")
	if got := string(m.readFrame().Contents); !strings.Contains(got, "accept-old-proof") {
		t.Fatalf("no remedy in %q", got)
	}
	until(t, e, stats.AuthFailures, 1)
}

// TestLargeFramesBeforeTheWelcome: input is not buffered before the other end has proved itself.
func TestLargeFramesBeforeTheWelcome(t *testing.T) {
	for name, hello := range map[string]string{"hello": "", "welcome": helloLine("a", 0)} {
		t.Run(name, func(t *testing.T) {
			o := newFakeOrigin(t, "a")
			startEdge(t, nil, o)
			l := o.raw()
			if hello != "" {
				l.say(hello)
				l.readFrame()
			}
			l.send(frame.AppendHeader(nil, 0, frame.MaxHandshakeBytes+1))
			if got := string(l.readFrame().Contents); !strings.HasPrefix(got, "error ") {
				t.Fatalf("the edge answered %q", got)
			}
		})
	}
}

func TestOriginWithoutProofIsRefused(t *testing.T) {
	o := newFakeOrigin(t, "a")
	e := startEdge(t, func(c *Config) { c.Secret = []byte("a secret of some length") }, o)
	l := o.raw()
	l.say(helloLine("a", 0))
	l.readFrame()
	l.say("welcome\n")
	if got := string(l.readFrame().Contents); !strings.HasPrefix(got, "error ") {
		t.Fatalf("no mac got %q", got)
	}
	until(t, e, stats.AuthFailures, 1)
}

func TestNothingButHelloFirst(t *testing.T) {
	for name, line := range map[string]string{"welcome": "welcome\n", "reply": "",
		"version": "hello version=2 name=a nonce=" + strings.Repeat("00", 16) + "\n",
		"nonce":   "hello version=1 name=a nonce=zz\n", "no name": "hello version=1\n"} {
		t.Run(name, func(t *testing.T) {
			o := newFakeOrigin(t, "a")
			startEdge(t, nil, o)
			l := o.raw()
			if line == "" {
				l.reply(1, "<body/>")
			} else {
				l.say(line)
			}
			if got := string(l.readFrame().Contents); !strings.HasPrefix(got, "error ") {
				t.Fatalf("the edge answered %q", got)
			}
		})
	}
}

func TestSilentOriginIsPingedAndThenGivenUp(t *testing.T) {
	e, l := one(t, nil)
	e.advance(60)
	_, token, _ := strings.Cut(l.hears("ping "), " ")
	l.say("pong " + token)
	for heard := false; !heard; {
		e.group.Do(func(_ reactor, h handler) { heard = !h.(*worker).nodes[0].pinged })
	}
	e.advance(140)
	if n := e.Counter(stats.PingTimeouts); n != 0 {
		t.Fatal("link closed although the origin answered")
	}
	e.advance(20)
	until(t, e, stats.PingTimeouts, 1)
	l.hears("error ")
}

func TestEdgeAnswersPing(t *testing.T) {
	_, l := one(t, nil)
	l.say("ping xyz\n")
	if got := l.hears("pong"); got != "pong xyz\n" {
		t.Fatalf("%q", got)
	}
}

func TestPingWithoutProperTokenEndsTheLink(t *testing.T) {
	for _, line := range []string{"ping\n", "ping " + strings.Repeat("x", frame.MaxTokenBytes+1) + "\n"} {
		e, l := one(t, nil)
		l.say(line)
		if got := l.hears("error "); !strings.Contains(got, "the token of a ping") {
			t.Errorf("%q: %q", line, got)
		}
		until(t, e, stats.LinkErrors, 1)
	}
}

func TestUnknownVerbsAreCounted(t *testing.T) {
	e, l := one(t, nil)
	l.say("sing loudly\nping x\n")
	l.hears("pong x")
	until(t, e, stats.UnknownVerbs, 1)
}

func TestRequestLargerThanTheOriginTakes(t *testing.T) {
	o := newFakeOrigin(t, "a")
	e := startEdge(t, nil, o)
	l := o.raw()
	l.max = 200
	l.say(helloLine("a", 200))
	l.readFrame()
	l.say("welcome\n")
	go l.pump()
	until(t, e, stats.LinksUp, 1)
	c := connect(t, e)
	c.post("<body sid='s' rid='1' " + ns + ">" + strings.Repeat("x", 300) + "</body>")
	c.get().want(t, 413, "")
	until(t, e, stats.TooLarge, 1)
}

// Thousands of replies in one piece are all delivered. As many requests of one turn leave with one write.
func TestFramesAreBatched(t *testing.T) {
	e, l := one(t, func(c *Config) { c.MaxPipelined = 200 })
	c := connect(t, e)
	const n = 200
	all := ""
	for i := range n {
		all += postText(empty("s1", i))
	}
	c.send(all)
	var batch []byte
	for range n {
		r := l.next()
		batch = frame.AppendReply(batch, r.id, 200, []byte(r.body))
	}
	l.send(batch)
	for range n {
		c.get().want(t, 200, "rid=")
	}
	e.advance(1)
	frames, writes := e.Counter(stats.FramesOut), e.Counter(stats.LinkWrites)
	if frames < n || writes > 20 {
		t.Fatalf("%d frames in %d writes", frames, writes)
	}
	t.Logf("%d frames in %d writes", frames, writes)
}

func TestStopSaysWhy(t *testing.T) {
	e, l := one(t, nil)
	e.Stop()
	l.hears("error edge stops")
}

// The query of the URL goes only to origins that take it.
func TestQueryReachesTheOrigin(t *testing.T) {
	for takes, want := range map[string]string{"": "", " take=query": "room=a&token=b.c", " take=later": ""} {
		o := newFakeOrigin(t, "a")
		e := startEdge(t, nil, o)
		l := o.raw()
		l.say(strings.TrimSuffix(helloLine("a", 0), "\n") + takes + "\n")
		l.readFrame()
		l.say("welcome\n")
		go l.pump()
		until(t, e, stats.LinksUp, 1)
		c := connect(t, e)
		for _, body := range []string{creation("ver='1.6'"), empty("s1", 2)} {
			c.send(strings.Replace(postText(body), "/http-bind ", "/http-bind?room=a&token=b.c ", 1))
			r := l.next()
			if r.query != want || r.body != body {
				t.Errorf("%q: the origin got the query %q and the body %q", takes, r.query, r.body)
			}
			l.reply(r.id, "<body/>")
			c.get().want(t, 200, "<body/>")
		}
	}
}
