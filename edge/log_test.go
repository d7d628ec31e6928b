package edge

import (
	"bytes"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"megaphone/codec/ws"
	"megaphone/loop"
	"megaphone/stats"
)

// accessed runs do against an edge with an access log. It returns the log's lines after the edge has stopped.
func accessed(t *testing.T, sample string, do func(e *Edge, l *fakeLink, c *client)) []string {
	t.Helper()
	var out bytes.Buffer
	e, l := one(t, func(c *Config) { c.Access, c.AccessSample = slog.New(slog.NewTextHandler(&out, nil)), sample })
	do(e, l, connect(t, e))
	e.Stop()
	if out.Len() == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
}

func TestAccessLogHasWhatWasAnswered(t *testing.T) {
	lines := accessed(t, "1/1", func(e *Edge, l *fakeLink, c *client) {
		c.post(empty("s1", 1))
		f := l.next()
		e.advance(7)
		l.reply(f.id, "<body "+ns+"/>")
		c.get().want(t, 200, "<body")
		c.send("GET /nowhere?secret=x HTTP/1.1\r\nHost: h\r\n" +
			"User-Agent: An agent/1\r\nX-Request-Id: abc-1\r\n\r\n")
		c.get().want(t, 404, "")
		c.post("nonsense")
		c.get()
	})
	if len(lines) != 3 {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	for i, want := range []string{
		`^time=\S+ level=INFO msg=answered peer=127\.0\.0\.1 status=200 bytes=\d+ method=POST path=/http-bind ` +
			`host=\S+ origin=a held_ms=700$`,
		`msg=answered peer=127\.0\.0\.1 status=404 bytes=\d+ method=GET path=/nowhere host=h ` +
			`user_agent="An agent/1" request_id=abc-1$`,
		`status=400 bytes=\d+ method=POST`,
	} {
		if !regexp.MustCompile(want).MatchString(lines[i]) {
			t.Errorf("line %d is %q, want %s", i, lines[i], want)
		}
	}
}

func TestAccessLogOfASample(t *testing.T) {
	lines := accessed(t, "1/3", func(_ *Edge, _ *fakeLink, c *client) {
		for range 10 {
			c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			c.get().want(t, 404, "")
		}
	})
	if len(lines) != 3 {
		t.Errorf("%d lines of 10 requests, one in 3: %q", len(lines), lines)
	}
}

// TestFullAccessLogDropsAndCounts: a stuck log stalls no reactor.
func TestFullAccessLogDropsAndCounts(t *testing.T) {
	stuck := &accessLog{records: make(chan access, 2), done: make(chan struct{})}
	w := &worker{r: new(loop.Reactor), access: sampler{log: stuck, every: 1, until: 1}}
	for range 5 {
		w.logAccess(access{status: 200})
	}
	if n := w.counters[stats.AccessDropped]; n != 3 {
		t.Errorf("%d dropped, want 3 of 5 with room for 2", n)
	}
}

// TestAccessLogCountsMarkedReplies: the logged length includes the tag that the edge adds to a creation's session ID.
func TestAccessLogCountsMarkedReplies(t *testing.T) {
	var size int
	lines := accessed(t, "1/1", func(_ *Edge, l *fakeLink, c *client) {
		c.post("<body rid='1' to='x' xmlns='http://jabber.org/protocol/httpbind'/>") // without ver
		l.reply(l.next().id, "<body "+ns+" sid='s1'/>")
		size = len(c.get().want(t, 200, "sid='s1").text)
	})
	if len(lines) != 1 || !strings.Contains(lines[0], fmt.Sprintf(" bytes=%d ", size)) {
		t.Errorf("%q for a body of %d", lines, size)
	}
}

// TestAccessNotesAreBounded: client texts are truncated, and the note of a held request is deleted when its client
// closes.
func TestAccessNotesAreBounded(t *testing.T) {
	long := strings.Repeat("x", 2000)
	var left int
	lines := accessed(t, "1/1", func(e *Edge, l *fakeLink, c *client) {
		c.send("GET /" + long + " HTTP/1.1\r\nHost: h\r\nUser-Agent: " + long + "\xFF\r\n" +
			"X-Request-Id: " + long + "\r\n\r\n")
		c.get().want(t, 404, "")
		c.post(empty("s1", 1))
		l.next()
		c.Close()
		until(t, e, stats.Gone, 1)
		e.group.Do(func(_ reactor, h handler) { left = len(h.(*worker).access.notes) })
		d := connect(t, e)
		d.send("nonsense\r\n\r\n") // no head, but an answer
		d.get().want(t, 400, "")
	})
	if left != 0 {
		t.Errorf("%d notes left of a request whose client has closed", left)
	}
	if len(lines) != 2 {
		t.Fatalf("%q", lines)
	}
	if n := len(lines[0]); n > 800 || strings.Contains(lines[0], "request_id") {
		t.Errorf("%d bytes: %s", n, lines[0])
	}
	if !strings.Contains(lines[1], "status=400") || strings.Contains(lines[1], "method=") {
		t.Errorf("%s", lines[1])
	}
}

// TestAccessLogCostsTheSampledOnly: no part of the head of an unsampled request is copied.
func TestAccessLogCostsTheSampledOnly(t *testing.T) {
	head := []byte("POST /http-bind HTTP/1.1\r\nHost: h\r\nUser-Agent: a\r\n\r\n")
	for name, s := range map[string]sampler{"off": {},
		"1/1000000": {log: &accessLog{}, every: 1_000_000, until: 1_000_000}} {
		w := &worker{r: new(loop.Reactor), access: s}
		q := &request{raw: head}
		if n := testing.AllocsPerRun(1000, func() { w.access.sample(q) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// TestRefusalsAreLoggedOncePerIntervalWithTheirCount: and each class by itself.
func TestRefusalsAreLoggedOncePerIntervalWithTheirCount(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	v := &View{Reactors: make([]stats.Counters, 2)}
	l := new(refusalLog)
	at := time.Unix(1_000_000, 0)
	step := func(after time.Duration, want ...string) {
		t.Helper()
		out.Reset()
		l.look(v.Counters(), at.Add(after), log)
		if got := strings.Count(out.String(), "\n"); got != len(want) {
			t.Fatalf("after %v: %q, want %q", after, out.String(), want)
		}
		for _, w := range want {
			if !strings.Contains(out.String(), w) {
				t.Fatalf("after %v: %q, want %q", after, out.String(), want)
			}
		}
	}
	step(0)
	v.Reactors[0][stats.NotFound] = 2
	v.Reactors[1][stats.NotFound] = 1
	step(time.Second, `level=INFO msg=refused reason=not_found count=3`)
	v.Reactors[1][stats.NotFound] = 100
	v.Reactors[1][stats.TableFull] = 7
	step(2*time.Second, `level=WARN msg=refused reason=table_full count=7`)
	v.Reactors[1][stats.NotFound] = 200
	step(10 * time.Second)
	step(11*time.Second, `reason=not_found count=199`)
	step(60 * time.Second)
}

// TestRefusalsReachTheLog: from a request to a record, when the edge stops.
func TestRefusalsReachTheLog(t *testing.T) {
	var out bytes.Buffer
	e := startEdge(t, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&out, nil)) }, newFakeOrigin(t, "a"))
	c := connect(t, e)
	c.send("GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n")
	c.get().want(t, 404, "")
	e.advance(1)
	e.Stop()
	if !strings.Contains(out.String(), "msg=refused reason=not_found count=1") {
		t.Fatalf("the log has no word of it: %s", out.String())
	}
}

// TestAccessLogOfWebSockets: one has a record when it ends, with its code, and another when it is refused.
func TestAccessLogOfWebSockets(t *testing.T) {
	var out bytes.Buffer
	e, l := oneWithStreams(t, func(c *Config) {
		c.Access, c.AccessSample, c.PingTimeout = slog.New(slog.NewTextHandler(&out, nil)), "1/1", time.Hour
	})
	s := openSocket(t, e, l, "User-Agent: An agent/1\r\n")
	c := connect(t, e)
	c.send(upgradeText())
	l.stream(l.next().id, "-1013")
	c.get().want(t, 503, "")
	e.advance(30)
	s.frame(ws.Close, "")
	s.ends(ws.CodeNone)
	e.Stop()
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	for i, want := range []string{
		`peer=127\.0\.0\.1 status=503 bytes=0 method=GET path=/xmpp-websocket host=h origin=a held_ms=0$`,
		`peer=127\.0\.0\.1 status=101 bytes=0 method=GET path=/xmpp-websocket host=h user_agent="An agent/1" ` +
			`origin=a held_ms=3000 close=1005$`,
	} {
		if len(lines) != 2 || !regexp.MustCompile(want).MatchString(lines[i]) {
			t.Errorf("%q, want %s", lines, want)
		}
	}
}
