package edge

import (
	"strings"
	"testing"

	"megaphone/codec"
	"megaphone/loop"
)

type (
	reactor = *loop.Reactor
	handler = loop.Handler
)

func TestSecretIsProvenBothWays(t *testing.T) {
	secret := []byte("a secret of some length")
	o := newFakeOrigin(t, "a")
	e := startEdge(t, func(c *Config) { c.Secret = secret }, o)
	for _, right := range []bool{false, true} {
		l := o.raw()
		l.say(helloLine("a", 0))
		line := strings.TrimSuffix(string(l.readFrame().Contents), "\n")
		h, err := codec.ParseHello([]byte(strings.TrimPrefix(line, "hello ")))
		if err != nil {
			t.Fatal(err)
		}
		var theirs [16]byte
		for i := range theirs {
			theirs[i] = byte(i)
		}
		if want := codec.LinkMAC(secret, "edge", &theirs, &h.Nonce, h.Name); !h.HasMAC || h.MAC != want {
			t.Fatalf("the edge proves nothing: %q", line)
		}
		w := codec.Welcome{HasMAC: true, MAC: codec.LinkMAC(secret, "origin", &h.Nonce, &theirs, h.Name)}
		if !right {
			w.MAC[0] ^= 1
		}
		l.say(string(codec.AppendWelcome(nil, &w)))
		if right {
			until(t, e, LinksUp, 1)
			return
		}
		if got := string(l.readFrame().Contents); !strings.HasPrefix(got, "error ") {
			t.Fatalf("a wrong mac got %q", got)
		}
		until(t, e, AuthFailures, 1)
		e.Advance(60)
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
	until(t, e, AuthFailures, 1)
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
	e.Advance(60)
	_, token, _ := strings.Cut(l.hears("ping "), " ")
	l.say("pong " + token)
	for heard := false; !heard; {
		e.group.Do(func(_ reactor, h handler) { heard = !h.(*worker).nodes[0].pinged })
	}
	e.Advance(140)
	if n := e.Counter(PingTimeouts); n != 0 {
		t.Fatal("given up although it answered")
	}
	e.Advance(20)
	until(t, e, PingTimeouts, 1)
	l.hears("error ")
}

func TestEdgeAnswersPing(t *testing.T) {
	_, l := one(t, nil)
	l.say("ping xyz\n")
	if got := l.hears("pong"); got != "pong xyz\n" {
		t.Fatalf("%q", got)
	}
}

func TestUnknownVerbsAreCounted(t *testing.T) {
	e, l := one(t, nil)
	l.say("sing loudly\nping x\n")
	l.hears("pong x")
	until(t, e, UnknownVerbs, 1)
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
	until(t, e, LinksUp, 1)
	c := connect(t, e)
	c.post("<body sid='s' rid='1' " + ns + ">" + strings.Repeat("x", 300) + "</body>")
	c.get().want(t, 413, "")
	until(t, e, TooLarge, 1)
}

// Thousands of replies that come in one piece are all delivered; and as many requests of one turn are one write.
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
		batch = codec.AppendReply(batch, r.id, 200, []byte(r.body))
	}
	l.send(batch)
	for range n {
		c.get().want(t, 200, "rid=")
	}
	e.Advance(1)
	frames, writes := e.Counter(FramesOut), e.group.Counter(loop.LinkWrites)
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

// The query of the URL goes to an origin that takes it, and to no other.
func TestQueryReachesTheOrigin(t *testing.T) {
	for takes, want := range map[string]string{"": "", " take=query": "room=a&token=b.c", " take=later": ""} {
		o := newFakeOrigin(t, "a")
		e := startEdge(t, nil, o)
		l := o.raw()
		l.say(strings.TrimSuffix(helloLine("a", 0), "\n") + takes + "\n")
		l.readFrame()
		l.say("welcome\n")
		go l.pump()
		until(t, e, LinksUp, 1)
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
