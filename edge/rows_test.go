package edge

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"megaphone/config"
	"megaphone/stats"
)

// The edge's rows of BOSH.md about HTTP, by number.

func TestRow01HTTPVersionsAndKeepAlive(t *testing.T) {
	e, l := one(t, nil)
	body := empty("s1", 1)
	for _, c := range []struct {
		name, line, headers, connection string
		stays                           bool
	}{
		{"1.1", "HTTP/1.1", "Host: h\r\n", "", true},
		{"1.1 close", "HTTP/1.1", "Host: h\r\nConnection: close\r\n", "close", false},
		{"1.1 keep-alive said", "HTTP/1.1", "host:h\r\nkeep-alive:true\r\nconnection:Keep-Alive\r\n", "", true},
		{"1.0", "HTTP/1.0", "", "close", false},
		{"1.0 keep-alive", "HTTP/1.0", "Connection: keep-alive\r\n", "keep-alive", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := connect(t, e)
			n := 1
			if c.stays {
				n = 3
			}
			for range n {
				x.send(fmt.Sprintf("POST /http-bind %s\r\n%sContent-Length: %d\r\n\r\n%s",
					c.line, c.headers, len(body), body))
				l.reply(l.next().id, "<body/>")
				r := x.get().want(t, 200, "<body/>")
				if got := r.Header.Get("Connection"); got != c.connection && !(r.Close && c.connection == "close") {
					t.Fatalf("Connection: %q, want %q", got, c.connection)
				}
			}
			if !c.stays {
				x.closed()
			}
		})
	}
}

func TestRow01AbsoluteForm(t *testing.T) {
	e, l := one(t, nil)
	c := connect(t, e)
	body := empty("s1", 1)
	c.send(fmt.Sprintf("POST http://h:5280/http-bind?x=1 HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s",
		len(body), body))
	l.reply(l.next().id, "<body/>")
	c.get().want(t, 200, "<body/>")
}

func TestRow02ChunkedIsAcceptedAndNotSent(t *testing.T) {
	e, l := one(t, nil)
	body := empty("s1", 1)
	chunked := "POST /http-bind HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" +
		fmt.Sprintf("%x;a=b\r\n%s\r\n%x\r\n%s\r\n0\r\nX-Trailer: y\r\n\r\n", 10, body[:10], len(body)-10, body[10:])
	for cut := 1; cut < len(chunked); cut += 7 {
		c := connect(t, e)
		c.send(chunked[:cut])
		buffered(t, e)
		c.send(chunked[cut:])
		r := l.next()
		if r.body != body {
			t.Fatalf("cut at %d: the origin got %q", cut, r.body)
		}
		l.reply(r.id, "<body/>")
		got := c.get().want(t, 200, "<body/>")
		if len(got.TransferEncoding) != 0 || got.ContentLength != 7 {
			t.Fatalf("the reply has coding %q and length %d", got.TransferEncoding, got.ContentLength)
		}
		c.Close()
		until(t, e, stats.Requests, 1)
	}
}

func TestRow03UnknownHeadersAndContentTypeAreIgnored(t *testing.T) {
	e, l := one(t, nil)
	c := connect(t, e)
	for _, h := range []string{"Content-Type: application/x-www-form-urlencoded\r\n", "X-Anything: at all\r\n",
		"Content-Encoding: text/xml; charset=utf-8\r\n", "Content-Encoding: identity\r\n", "Content-Encoding:\r\n"} {
		c.post(empty("s1", 1), h)
		l.reply(l.next().id, "<body/>")
		c.get().want(t, 200, "<body/>")
	}
	c.post(empty("s1", 1), "Content-Encoding: gzip\r\n")
	c.get().want(t, 415, "Content-Encoding")
}

// Row 4, compression of replies, is a MAY that the edge does not use. Accept-Encoding changes nothing.
func TestRow04AcceptEncodingIsHarmless(t *testing.T) {
	e, l := one(t, nil)
	c := connect(t, e)
	c.post(empty("s1", 1), "Accept-Encoding: gzip, deflate\r\n")
	l.reply(l.next().id, "<body/>")
	if r := c.get().want(t, 200, "<body/>"); r.Header.Get("Content-Encoding") != "" {
		t.Fatal("compressed")
	}
}

func TestRow05PipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	e, l := one(t, nil)
	c := connect(t, e)
	const n = 30 // several times max-pipelined
	all := ""
	for i := range n {
		all += postText(empty("s1", i))
	}
	c.send(all)
	answered := 0
	for answered < n {
		var batch []linkRequest
		for range min(config.DefaultMaxPipelined, n-answered) {
			batch = append(batch, l.next())
		}
		for i := len(batch) - 1; i >= 0; i-- { // the last one first
			l.reply(batch[i].id, batch[i].body)
		}
		for range batch {
			c.get().want(t, 200, fmt.Sprintf("rid='%d'", answered))
			answered++
		}
	}
}

// The edge's own answers wait for their turn as well.
func TestRow05OwnAnswersKeepTheOrder(t *testing.T) {
	e, l := one(t, nil)
	c := connect(t, e)
	c.send(postText(empty("s1", 1)) + "GET /http-bind HTTP/1.1\r\nHost: h\r\n\r\n" + postText("<nonsense/>") +
		postText(empty("s1", 2)) + "POST / HTTP/1.1\r\nbroken\r\n\r\n")
	first, second := l.next(), l.next()
	l.reply(second.id, "<body second='1'/>")
	until(t, e, stats.Released, 1)
	l.reply(first.id, "<body first='1'/>")
	c.get().want(t, 200, "first")
	c.get().want(t, 200, "BOSH endpoint")
	c.get().want(t, 400, "bad-request")
	c.get().want(t, 200, "second")
	c.get().want(t, 400, "")
	c.closed()
}

// A reply to a request with Connection: close ends the connection, whatever was pipelined behind.
func TestRow05CloseEndsThePipeline(t *testing.T) {
	e, l := one(t, nil)
	c := connect(t, e)
	c.send(postText(empty("s1", 1), "Connection: close\r\n") + postText(empty("s1", 2)))
	l.reply(l.next().id, "<body/>")
	c.get().want(t, 200, "<body/>")
	c.closed()
	until(t, e, stats.Requests, 1)
	if n := e.Counter(stats.Requests); n != 1 {
		t.Fatalf("%d requests accepted", n)
	}
}

func TestRow06BodiesAreCappedAndNotLookedInto(t *testing.T) {
	e, l := one(t, nil)
	c := connect(t, e)
	odd := "<body sid='s1' rid='1' " + ns + "><broken <!-- & not the edge's business></body>"
	c.post(odd)
	r := l.next()
	if r.body != odd {
		t.Fatalf("origin got %q", r.body)
	}
	l.reply(r.id, "<body/>")
	c.get().want(t, 200, "<body/>")
	for _, bad := range []string{"", "x", "<!DOCTYPE body><body rid='1' " + ns + "/>",
		"<!-- --><body rid='1' " + ns + "/>",
		"<body rid='1'/>", "<body " + ns + "/>", "<body rid='9007199254740992' " + ns + "/>", "<body rid='1' " + ns,
		"<bodyrid='1' " + ns + "/>"} {
		c.post(bad)
		c.get().want(t, 400, "condition='bad-request'") // neither sid nor ver: an old client
	}
	c.post("<body ver='1.6' " + ns + "/>")
	c.get().want(t, 200, "condition='bad-request'")
}

func TestRow06PrologStaysBehind(t *testing.T) {
	e, l := one(t, nil)
	c := connect(t, e)
	c.post("\ufeff \n<?xml version='1.0' encoding='utf-8'?>\r\n" + empty("s1", 1))
	r := l.next()
	if r.body != empty("s1", 1) {
		t.Fatalf("origin got %q", r.body)
	}
	if r.addr != "127.0.0.1" {
		t.Fatalf("address %q", r.addr)
	}
	l.reply(r.id, "")
	c.get().want(t, 200, "")
}

func TestRow28MethodsAndCORS(t *testing.T) {
	e, l := one(t, func(c *Config) { c.Pages = map[string]Page{"/": {"text/html", []byte("page")}} })
	c := connect(t, e)
	c.send("OPTIONS /http-bind HTTP/1.1\r\nHost: h\r\nOrigin: http://web.example\r\n" +
		"Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n\r\n")
	r := c.get().want(t, 200, "")
	for h, want := range map[string]string{"Access-Control-Allow-Origin": "*", "Access-Control-Max-Age": "86400"} {
		if r.Header.Get(h) != want {
			t.Fatalf("%s: %q", h, r.Header.Get(h))
		}
	}
	if !strings.Contains(r.Header.Get("Access-Control-Allow-Methods"), "POST") ||
		r.Header.Get("Access-Control-Allow-Headers") != "content-type" {
		t.Fatalf("preflight: %v", r.Header)
	}
	c.send("GET /http-bind HTTP/1.1\r\nHost: h\r\n\r\n")
	c.get().want(t, 200, "BOSH endpoint")
	c.send("HEAD /http-bind HTTP/1.1\r\nHost: h\r\n\r\n")
	if r := c.get("HEAD"); r.StatusCode != 200 || r.ContentLength == 0 {
		t.Fatalf("HEAD: %d, length %d", r.StatusCode, r.ContentLength)
	}
	c.send("PUT /http-bind HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nxy")
	if r := c.get().want(t, 405, ""); r.Header.Get("Allow") == "" {
		t.Fatal("no Allow")
	}
	c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	c.get().want(t, 200, "page")
	c.send("DELETE / HTTP/1.1\r\nHost: h\r\n\r\n")
	c.get().want(t, 405, "")
	c.send("GET /other HTTP/1.1\r\nHost: h\r\n\r\n")
	c.get().want(t, 404, "/http-bind")
	c.post(empty("s1", 1), "Origin: http://web.example\r\n")
	l.reply(l.next().id, "<body/>")
	r = c.get().want(t, 200, "<body/>")
	if r.Header.Get("Cache-Control") != "no-store" || r.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Fatalf("headers %v", r.Header)
	}
	if date, err := http.ParseTime(r.Header.Get("Date")); err != nil || time.Since(date).Abs() > time.Hour {
		t.Fatalf("Date: %q", r.Header.Get("Date"))
	}
	if r.Status != "200 OK" {
		t.Fatalf("status %q", r.Status)
	}
}

func TestRow28CORSWithAList(t *testing.T) {
	e, l := one(t, func(c *Config) { c.CORS = []string{"https://a.example", "http://b.example:8080"} })
	c := connect(t, e)
	for origin, allowed := range map[string]bool{"https://a.example": true, "http://b.example:8080": true,
		"https://evil.example": false, "": false} {
		c.post(empty("s1", 1), "Origin: "+origin+"\r\n")
		l.reply(l.next().id, "<body/>")
		r := c.get().want(t, 200, "<body/>")
		want, credentials := "", ""
		if allowed {
			want, credentials = origin, "true"
		}
		if r.Header.Get("Access-Control-Allow-Origin") != want || r.Header.Get("Vary") != "Origin" ||
			r.Header.Get("Access-Control-Allow-Credentials") != credentials {
			t.Fatalf("origin %q: %v", origin, r.Header)
		}
	}
}

// A web page that sends credentials can read the statuses that it has to act on.
func TestRow28CORSOfRefusals(t *testing.T) {
	const origin = "https://a.example"
	o := newFakeOrigin(t, "a")
	e := startEdge(t, func(c *Config) { c.CORS = []string{origin}; c.MaxConnections = 1 }, o)
	l := o.raw()
	l.say(helloLine("a", 200))
	l.readFrame()
	l.say("welcome\n")
	until(t, e, stats.LinksUp, 1)
	c := connect(t, e)
	c.post("<body sid='s' rid='1' "+ns+">"+strings.Repeat("x", 300)+"</body>", "Origin: "+origin+"\r\n")
	r := c.get().want(t, 413, "")
	if got := r.Header.Get("Access-Control-Allow-Origin"); got != origin {
		t.Fatalf("Access-Control-Allow-Origin: %q", got)
	}
}
