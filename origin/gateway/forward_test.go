package gateway

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"megaphone/codec/frame"
)

// TestForward compares the bytes on the wire with those expected.
func TestForward(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	body := "<body rid='2' sid='s1' " + ns + ">\u00e9</body>"
	id := r.post(body)
	a := e.next()
	want := "POST /http-bind HTTP/1.1\r\nHost: " + e.address + "\r\nUser-Agent: megaphone\r\n" +
		"Content-Type: text/xml; charset=utf-8\r\nContent-Length: " + fmt.Sprint(len(body)) +
		"\r\nX-Forwarded-For: 192.0.2.7"
	if a.head != want {
		t.Errorf("head\n%q, want\n%q", a.head, want)
	}
	if a.body != body {
		t.Errorf("body %q", a.body)
	}
	a.answer(200, text("hi"))
	r.want(id, 200, text("hi"))
}

// TestQueryOfTheClient: the query of the client's URL reaches the endpoint behind the query of the endpoint's own URL.
func TestQueryOfTheClient(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	for _, c := range []struct{ path, query, want string }{
		{"", "", "/http-bind"},
		{"", "room=a&token=b.c", "/http-bind?room=a&token=b.c"},
		{"?x=y", "", "/http-bind?x=y"},
		{"?x=y", "room=a", "/http-bind?x=y&room=a"},
	} {
		r := newRig(t, func(cfg *Config) { cfg.Endpoints[0] += c.path }, e)
		r.edge.conn.Write(frame.AppendRequest(nil, 1, frame.Request{
			Address: []byte("::1"), Query: []byte(c.query), Body: []byte(poll("s1", 2))}))
		a := e.next()
		if got, _, _ := strings.Cut(a.head, " HTTP/1.1\r\n"); got != "POST "+c.want {
			t.Errorf("%q and %q: the endpoint got %q", c.path, c.query, got)
		}
		a.answer(200, text("hi"))
		r.want(1, 200, text("hi"))
	}
}

func TestHostAndPathOfTheURL(t *testing.T) {
	const version = " HTTP/1.1\r\nHost: "
	for url, want := range map[string]string{
		"http://chat.example.org/bosh":            "chat.example.org:80 /bosh" + version + "chat.example.org\r\n",
		"http://chat.example.org:5280":            "chat.example.org:5280 /" + version + "chat.example.org:5280\r\n",
		"http://[::1]:5280/a%20b?c=d":             "[::1]:5280 /a%20b?c=d" + version + "[::1]:5280\r\n",
		"http://10.0.0.1/h\u00e9?x=y%0d%0aA:%20b": "10.0.0.1:80 /h%C3%A9?x=y%0d%0aA:%20b" + version + "10.0.0.1\r\n",
	} {
		list, err := parseEndpoints([]string{url}, nil)
		if err != nil {
			t.Fatal(err)
		}
		head := strings.TrimPrefix(list[0].post+list[0].fields, "POST")
		if got := list[0].address + head; !strings.HasPrefix(got, want) {
			t.Errorf("%s:\n%q, want\n%q", url, got, want)
		}
	}
}

// TestReplies: a reply is delivered in each form of HTTP/1.1 and HTTP/1.0. The socket is reused where the protocol
// permits it.
func TestReplies(t *testing.T) {
	body := text("hi")
	n := fmt.Sprint(len(body))
	closing := "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " + n + "\r\n\r\n" + body
	for _, c := range []struct {
		name, raw string
		closes    bool // the endpoint closes the socket
		reused    bool // the gateway reuses the socket
	}{
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: " + n + "\r\n\r\n" + body, false, true},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n" + body[:5] + "\r\n" +
			fmt.Sprintf("%x", len(body)-5) + "\r\n" + body[5:] + "\r\n0\r\n\r\n", false, true},
		{"interim", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: " + n + "\r\n\r\n" + body,
			false, true},
		{"close", closing, true, false},
		{"close is announced but not done", closing,
			false, false},
		{"until the end", "HTTP/1.1 200 OK\r\n\r\n" + body, true, false},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\n\r\n" + body, true, false},
		{"HTTP/1.0 with length", "HTTP/1.0 200 OK\r\nContent-Length: " + n + "\r\n\r\n" + body, false, false},
		{"HTTP/1.0 keep-alive", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: " + n + "\r\n\r\n" + body,
			false, true},
		{"more than asked for", "HTTP/1.1 200 OK\r\nContent-Length: " + n + "\r\n\r\n" + body + "HTTP/1.1 200 OK\r\n",
			false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			clean(t)
			e := newEndpoint(t)
			r := newRig(t, nil, e)
			before := e.accepted.Load()
			id := r.post(poll("s1", 1))
			if a := e.next(); c.closes {
				a.hangUp(c.raw)
			} else {
				a.reply(c.raw)
			}
			r.want(id, 200, body)
			id = r.post(poll("s1", 2))
			e.next().answer(200, text("again"))
			r.want(id, 200, text("again"))
			if reused := e.accepted.Load() == before+1; reused != c.reused {
				t.Errorf("%d sockets, reused %v, want %v", e.accepted.Load()-before, reused, c.reused)
			}
		})
	}
}

// TestStatusesAndPages: statuses are kept, pages are not delivered.
func TestStatusesAndPages(t *testing.T) {
	const terminate = "<body type='terminate' condition='bad-request' " + ns + "/>"
	const page = "<html><body>Bad gateway</body></html>"
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	for _, c := range []struct {
		status int
		body   string
		want   int
		get    string
	}{
		{200, terminate, 200, terminate},
		{200, "\ufeff<?xml version='1.0' encoding='utf-8'?>\n" + terminate, 200, terminate},
		{200, "<b:body xmlns:b='http://jabber.org/protocol/httpbind'/>", 200,
			"<b:body xmlns:b='http://jabber.org/protocol/httpbind'/>"},
		{200, "", 200, ""},
		{201, terminate, 200, terminate},
		{203, terminate, 200, terminate},
		{204, "", 502, ""},
		{400, terminate, 400, terminate},
		{400, page, 400, ""},
		{408, "", 503, ""},
		{408, page, 503, ""},
		{413, page, 413, ""},
		{425, page, 503, ""},
		{429, page, 503, ""},
		{429, terminate, 429, terminate},
		{403, "", 403, ""},
		{404, terminate, 404, terminate},
		{404, page, 404, ""},
		{500, page, 500, ""},
		{503, terminate, 503, terminate},
		{502, page, 503, ""},
		{503, page, 503, ""},
		{504, "upstream request timeout", 503, ""},
		{200, page, 502, ""},
		{200, "<!DOCTYPE html>" + page, 502, ""},
		{200, "It works!", 502, ""},
		{200, "<body>no namespace</body>", 502, ""},
		{301, page, 502, ""},
		{302, "", 502, ""},
		{600, terminate, 502, ""},
		{999, "", 502, ""},
	} {
		id := r.post(poll("s1", 1))
		e.next().answer(c.status, c.body)
		if c.status == 408 { // see TestTimeoutUnderTheRequest
			e.next().answer(c.status, c.body)
		}
		if got := r.reply(); got != (answer{id, c.want, c.get}) {
			t.Errorf("%d %q: got %+v, want %d %q", c.status, c.body, got, c.want, c.get)
		}
	}
	if s := r.stats(); s.NoneBehind != 3 || s.NotBOSH != 9 || s.Answered != 19 {
		t.Errorf("%+v", s)
	}
}

// TestTooManyCreations: a creation that comes too often gets 429.
func TestTooManyCreations(t *testing.T) {
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	id := r.post("<body rid='1' to='example.org' ver='1.6' " + ns + "/>")
	e.next().answer(429, "<html>too many</html>")
	r.want(id, 429, "")
}

// TestOneRequestASocket sends many requests at once in several rounds. asked.reply fails if a socket carries two at a
// time.
func TestOneRequestASocket(t *testing.T) {
	const atOnce, rounds = 60, 8
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	before := e.accepted.Load()
	for n := range rounds {
		want := map[uint64]bool{}
		for i := range atOnce {
			want[r.post(poll("s1", n*atOnce+i))] = true
		}
		var answering sync.WaitGroup
		for range atOnce {
			a := e.next()
			answering.Add(1)
			go func() { a.answer(200, text(a.body[6:20])); answering.Done() }()
		}
		for range atOnce {
			if got := r.reply(); got.status != 200 || !want[got.id] {
				t.Fatalf("%+v", got)
			} else {
				delete(want, got.id)
			}
		}
		answering.Wait()
	}
	if got := e.accepted.Load() - before; got > atOnce {
		t.Errorf("%d sockets for %d requests at a time: they are not used again", got, atOnce)
	}
	if s := r.stats(); s.Answered != atOnce*rounds || s.Sockets > atOnce || s.UnderWay != 0 || s.Bytes != 0 {
		t.Errorf("%+v", s)
	}
}

// TestRepliesDoNotWait: a reply leaves as soon as it is ready. Waiting for the next tick would take a tenth of a
// second.
func TestRepliesDoNotWait(t *testing.T) {
	const n = 400
	clean(t)
	e := newEndpoint(t)
	r := newRig(t, nil, e)
	begin := time.Now()
	for i := range n {
		id := r.post(poll("s1", i))
		e.next().answer(200, text("hi"))
		r.want(id, 200, text("hi"))
	}
	if took := time.Since(begin); took > n*housekeeping*time.Millisecond/4 {
		t.Errorf("%d exchanges took %v", n, took)
	}
}
