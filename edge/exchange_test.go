package edge

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"megaphone/codec/frame"
	"megaphone/stats"
)

// An answer to HEAD has no body, whatever the status. The next response begins where the head ends.
func TestHeadIsAnsweredWithoutABody(t *testing.T) {
	e, _ := one(t, nil)
	c := connect(t, e)
	for path, status := range map[string]int{"/http-bind": 200, "/other": 404} {
		c.send("HEAD " + path + " HTTP/1.1\r\nHost: h\r\n\r\n")
		if r := c.get("HEAD"); r.StatusCode != status || r.ContentLength == 0 {
			t.Fatalf("HEAD %s: %d, length %d", path, r.StatusCode, r.ContentLength)
		}
	}
	c.send("GET /http-bind HTTP/1.1\r\nHost: h\r\n\r\n")
	c.get().want(t, 200, "BOSH endpoint")
}

// A client that pipelines more than it reads has to wait. It is not disconnected, and nothing is lost.
func TestPipelinedPagesWaitForASlowReader(t *testing.T) {
	page := bytes.Repeat([]byte("0123456789abcdef"), 20<<10)
	e, _ := one(t, func(c *Config) {
		c.MaxOutputBytes = 400 << 10
		c.Pages = map[string]Page{"/": {"text/plain", page}}
	})
	c := connect(t, e)
	const n = 64
	c.send(strings.Repeat("GET / HTTP/1.1\r\nHost: h\r\n\r\n", n))
	for range n {
		if r := c.get(); r.StatusCode != 200 || r.text != string(page) {
			t.Fatalf("%d with %d bytes", r.StatusCode, len(r.text))
		}
	}
}

// tsung closes its side right after the request that ends its session. The origin must still receive the request, and
// then gone. The same holds for requests that waited behind others.
func TestFinalRequestBeforeTheEndIsForwarded(t *testing.T) {
	e, l := one(t, func(c *Config) { c.MaxPipelined = 1 })
	final := "<body sid='s1' rid='2' type='terminate' " + ns + "/>"
	c := connect(t, e)
	c.post(final)
	shutWrite(t, c)
	r := l.next()
	if r.body != final {
		t.Fatalf("origin got %q", r.body)
	}
	l.hears("gone " + string(frame.AppendID(nil, r.id)))

	c = connect(t, e)
	c.send(postText(empty("s1", 1)) + postText(final))
	shutWrite(t, c)
	l.reply(l.next().id, "<body/>")
	if r := l.next(); r.body != final {
		t.Fatalf("origin got %q", r.body)
	}
}

func shutWrite(t *testing.T, c *client) {
	t.Helper()
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// A client that waits for 100 Continue gets it once. A client that has already sent its body need not get it.
func TestExpectContinue(t *testing.T) {
	e, l := one(t, nil)
	body := empty("s1", 1)
	text := postText(body, "Expect: 100-continue\r\n")
	head := text[:len(text)-len(body)]
	c := connect(t, e)
	c.send(head)
	got := make([]byte, len(interim))
	if _, err := io.ReadFull(c.r, got); err != nil || string(got) != interim {
		t.Fatalf("%q, %v", got, err)
	}
	c.send(body[:5])
	c.send(body[5:])
	l.reply(l.next().id, "<body/>")
	c.get().want(t, 200, "<body/>")
	c.send(text)
	l.reply(l.next().id, "<body/>")
	c.get().want(t, 200, "<body/>")
}

const interim = "HTTP/1.1 100 Continue\r\n\r\n"

// Input after a refused request is not taken for a request.
func TestNothingIsTakenBehindARefusal(t *testing.T) {
	e, _ := one(t, nil)
	for name, bad := range map[string]string{
		"length and coding": "POST /http-bind HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n" +
			"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two lengths": "POST /http-bind HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		"bare LF chunk": "POST /http-bind HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" +
			"3\nabc\r\n0\r\n\r\n",
		"length of HEAD": "HEAD /http-bind HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc",
	} {
		t.Run(name, func(t *testing.T) {
			before := requests(e)
			c := connect(t, e)
			c.send(bad + postText(empty("s1", 1)))
			c.get().want(t, 400, "")
			c.closed()
			if n := requests(e) - before; n != 0 {
				t.Fatalf("%d requests accepted", n)
			}
		})
	}
}

func requests(e *Edge) (n uint64) {
	e.group.Do(func(_ reactor, h handler) { n += h.(*worker).counters[stats.Requests] })
	return n
}

// A partial request behind a held one has its usual timeout. Its memory is then freed, the held request stays, and the
// refusal comes in its turn.
func TestHalfARequestBehindAHold(t *testing.T) {
	for name, test := range map[string]struct {
		sent, ticks int
		counter     stats.Counter
	}{
		"head": {20, 101, stats.HeadTimeouts},
		"body": {len(postText("")) + 50, 301, stats.BodyTimeouts},
	} {
		t.Run(name, func(t *testing.T) {
			e, l := one(t, func(c *Config) { c.PingTimeout = time.Hour })
			c := connect(t, e)
			text := postText(empty("s1", 2))
			c.send(postText(empty("s1", 1)) + text[:test.sent])
			r := l.next()
			buffered(t, e)
			e.advance(test.ticks - 2)
			if n := e.Counter(test.counter); n != 0 {
				t.Fatal("refused before its timeout")
			}
			e.advance(2)
			// Only the refusal is still buffered.
			if n, bytes := e.Counter(test.counter), e.Counter(stats.BufferedNow); n != 1 || bytes > 1000 {
				t.Fatalf("%d are late, %d bytes are kept", n, bytes)
			}
			c.send(text[test.sent:]) // too late
			e.advance(100)
			l.reply(r.id, "<body first='1'/>")
			c.get().want(t, 200, "first")
			c.get().want(t, 503, "did not come in time")
			c.closed()
			if n := e.Counter(stats.Requests); n != 1 {
				t.Fatalf("%d requests accepted", n)
			}
		})
	}
}

// A hold before a partial request expires in its own time, and the partial request in its.
func TestAHoldBeforeHalfARequestEndsInItsTime(t *testing.T) {
	e, l := one(t, func(c *Config) { c.PingTimeout, c.HoldTimeout = time.Hour, 20*time.Second })
	c := connect(t, e)
	c.send(postText(empty("s1", 1)))
	l.next()
	e.advance(190)
	c.begun(100, 10)
	buffered(t, e)
	e.advance(11)
	c.get().want(t, 504, "")
	c.closed()
}
