package edge

import (
	"fmt"
	"strings"
	"testing"

	"megaphone/codec/frame"
	"megaphone/stats"
)

// For any status of an origin's reply, the client gets one response, and the next one begins right after it.
func TestRepliesOfAnyStatusKeepTheConnection(t *testing.T) {
	e, l := one(t, nil)
	c := connect(t, e)
	for _, status := range []int{200, 201, 204, 205, 299, 302, 304, 400, 404, 500, 503, 599} {
		c.post(empty("s1", 1))
		l.send(frame.AppendReply(nil, l.next().id, status, []byte("<body/>")))
		text := "<body/>"
		if status == 204 || status == 304 {
			text = "" // RFC 9110 section 6.4.1: these have no content
		}
		if r := c.get(); r.StatusCode != status || r.text != text {
			t.Fatalf("status %d: got %d %q", status, r.StatusCode, r.text)
		}
	}
}

// The largest reply of an origin is delivered, although it exceeds what may wait behind another.
func TestLargeReplyIsDelivered(t *testing.T) {
	e, l := one(t, func(c *Config) { c.MaxOutputBytes = 64 << 10 })
	c := connect(t, e)
	c.post(empty("s1", 1))
	large := "<body>" + strings.Repeat("x", 12<<20) + "</body>"
	l.reply(l.next().id, large)
	if r := c.get(); r.StatusCode != 200 || r.text != large {
		t.Fatalf("%d with %d bytes", r.StatusCode, len(r.text))
	}
	c.post(empty("s1", 2))
	l.reply(l.next().id, "<body/>")
	c.get().want(t, 200, "<body/>")
}

// Without node tags, session IDs that appear to have a suffix return to the origin unchanged.
func TestSessionIDsWithoutTagsAreTheOriginsOwn(t *testing.T) {
	e, l := one(t, func(c *Config) { c.Tags = "off" })
	c := connect(t, e)
	for _, sid := range []string{"x", "x.l", "x.", "x..", "x.~QUJD", "x.l~QUJD", ".", ".l", "a.b", "a.l.b", "x.l."} {
		for _, attributes := range []string{"ver='1.6'", "", "ver='1.6' content='text/plain'"} {
			c.post(creation(attributes))
			l.reply(l.next().id, fmt.Sprintf("<body sid='%s' %s/>", sid, ns))
			_, after, _ := strings.Cut(c.get().want(t, 200, "sid='").text, "sid='")
			given, _, _ := strings.Cut(after, "'")
			c.post(empty(given, 2))
			r := l.next()
			if want := empty(sid, 2); r.body != want {
				t.Fatalf("client got sid %q, origin then got %q, want %q", given, r.body, want)
			}
			l.reply(r.id, "<body/>")
			c.get().want(t, 200, "<body/>")
		}
	}
}

// An origin that keeps asking and never reads does not get unlimited pongs.
func TestPongsAreBounded(t *testing.T) {
	o := newFakeOrigin(t, "a")
	e := startEdge(t, func(c *Config) { c.LinkHighWater = 64 << 10 }, o)
	l := o.raw()
	l.say(helloLine("a", 0))
	l.readFrame()
	l.say("welcome\n")
	until(t, e, stats.LinksUp, 1)
	lines := frame.Append(nil, 0, []byte(strings.Repeat("ping "+strings.Repeat("x", 60)+"\n", 1000)))
	frames := uint64(2)
	for range 400 {
		l.send(lines)
		frames++
	}
	until(t, e, stats.FramesIn, frames)
	unsent := 0
	e.group.Do(func(_ reactor, h handler) { unsent = h.(*worker).nodes[0].link.Unsent() })
	if unsent > 128<<10 {
		t.Fatalf("%d bytes of pongs are waiting", unsent)
	}
}

// Replies on other links may wait for a pong, so a link above its high-water mark still sends it.
func TestPongAboveHighWater(t *testing.T) {
	e, l := one(t, func(c *Config) { c.LinkHighWater = 64 << 10 })
	e.group.Do(func(_ reactor, h handler) {
		w := h.(*worker)
		n := w.nodes[0]
		for n.link.Unsent() <= w.cfg.LinkHighWater {
			w.control(n, "gone 0000000000000001\n")
		}
		if err := w.controlLine(n, "ping", []byte("fence"), nil); err != nil {
			t.Error(err)
		}
	})
	l.hears("pong fence\n")
}

// A link that its origin closes with an error counts as one error.
func TestErrorOfTheOriginIsCountedOnce(t *testing.T) {
	e, l := one(t, nil)
	l.say("error enough\n")
	l.hears("error ")
	until(t, e, stats.LinkErrors, 1)
	if n := e.Counter(stats.LinkErrors); n != 1 {
		t.Fatalf("counted %d times", n)
	}
}

// The edge accepts no compressed bodies, so the offer in an origin's creation reply does not reach the client.
func TestNoEncodingIsOffered(t *testing.T) {
	e, l := one(t, nil)
	c := connect(t, e)
	for given, want := range map[string]string{
		`<body accept='deflate, gzip' sid='x' %s/>`:                `<body sid='x.l' %s/>`,
		"<body sid='x'\n\taccept = \"gzip\" ver='1.6' %s>a</body>": "<body sid='x.l' ver='1.6' %s>a</body>",
		`<body sid='x' %s accept=''>accept='gzip'</body>`:          `<body sid='x.l' %s>accept='gzip'</body>`,
		`<body sid='x' %s/>`:                                       `<body sid='x.l' %s/>`,
	} {
		c.post(creation(""))
		l.reply(l.next().id, fmt.Sprintf(given, ns))
		if got := c.get().text; got != fmt.Sprintf(want, ns) {
			t.Errorf("the client got %q, want %q", got, fmt.Sprintf(want, ns))
		}
	}
}
