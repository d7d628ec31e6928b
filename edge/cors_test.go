package edge

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"megaphone/config"
)

const (
	listed   = "https://a.example"
	unlisted = "https://evil.example"
)

// readable fails the test unless exactly the pages of listed web origins may read r and send credentials.
func readable(t *testing.T, name, origin string, h http.Header) {
	t.Helper()
	want, credentials := "", ""
	if origin == listed {
		want, credentials = origin, "true"
	}
	if got := h.Values("Access-Control-Allow-Origin"); strings.Join(got, ",") != want ||
		h.Get("Access-Control-Allow-Credentials") != credentials || h.Get("Vary") != "Origin" {
		t.Errorf("%s, from %s: %v", name, origin, h)
	}
}

// Pages of listed origins can read every answer. Other pages can read none.
func TestEveryAnswerHasCORS(t *testing.T) {
	e, l := one(t, func(c *Config) {
		c.CORS, c.MaxBodyBytes, c.MaxHeaderBytes = []string{"https://b.example", listed}, 2000, 1000
		c.HoldTimeout, c.PingTimeout = 50*time.Second, time.Hour
		c.Pages = map[string]Page{"/": {"text/html", []byte("page")}}
	})
	body := empty("s1", 1)
	post := func(more, body string) string { return postText(body, "ORIGIN\r\n"+more) }
	bare := func(line, more string) string { return line + " HTTP/1.1\r\nHost: h\r\nORIGIN\r\n" + more + "\r\n" }
	for _, c := range []struct {
		name, text string
		status     int
	}{
		{"not BOSH", post("", "<x/>"), 400},
		{"a session of no node", post("", "<body rid='1' sid='a' sid='b' "+ns+"/>"), 200},
		{"a page", bare("GET /", ""), 200},
		{"the endpoint's page", bare("GET /http-bind", ""), 200},
		{"HEAD", bare("HEAD /http-bind", ""), 200},
		{"another method", bare("PUT /http-bind", "Content-Length: 0\r\n"), 405},
		{"another method for a page", bare("POST /", "Content-Length: 0\r\n"), 405},
		{"no such page", bare("GET /other", ""), 404},
		{"preflight", bare("OPTIONS /http-bind", "Access-Control-Request-Method: POST\r\n"), 200},
		{"preflight of a page", bare("OPTIONS /", ""), 200},
		{"preflight of nothing", bare("OPTIONS /other", ""), 200},
		{"no length", bare("POST /http-bind", ""), 411},
		{"a coding", post("Content-Encoding: gzip\r\n", body), 415},
		{"a large body", post("", strings.Repeat(" ", 2001)), 413},
		{"a large chunk", bare("POST /http-bind", "Transfer-Encoding: chunked\r\n") + "fff\r\n", 413},
		{"a bad chunk", bare("POST /http-bind", "Transfer-Encoding: chunked\r\n") + "x\r\n", 400},
		{"a bad header behind it", bare("POST /http-bind", "a b: c\r\n"), 400},
		{"large headers", bare("POST /http-bind", "a: "+strings.Repeat("x", 1000)+"\r\n"), 431},
		{"an expectation", bare("POST /http-bind", "Expect: more\r\n"), 417},
		{"another coding", bare("POST /http-bind", "Transfer-Encoding: zip, chunked\r\n"), 501},
	} {
		for _, origin := range []string{listed, unlisted} {
			x := connect(t, e)
			x.send(strings.Replace(c.text, "ORIGIN", "Origin: "+origin, 1))
			r := x.get(strings.Fields(c.text)[0])
			if r.StatusCode != c.status {
				t.Errorf("%s: %d, want %d", c.name, r.StatusCode, c.status)
			}
			readable(t, c.name, origin, r.Header)
			x.Close()
		}
	}
	for _, origin := range []string{listed, unlisted} {
		header := "Origin: " + origin + "\r\n"
		whole := postText(creation(""), header)
		for name, text := range map[string]string{"a late body": whole[:len(whole)-1],
			"a late head": "POST /http-bind HTTP/1.1\r\n" + header + "X: "} {
			x := connect(t, e)
			x.send(text)
			buffered(t, e)
			e.advance(301)
			readable(t, name, origin, x.get().Header)
			x.closed()
		}
		x := connect(t, e)
		x.post(body, header)
		l.next()
		e.advance(500)
		readable(t, "not answered in time", origin, x.get().want(t, 504, "").Header)
		l.hears("gone ")
	}
}

// Pages can also read refusals for lack of resources or because of limits, because they act on them.
func TestRefusalsHaveCORS(t *testing.T) {
	o := newFakeOrigin(t, "a")
	e := startEdge(t, func(c *Config) {
		c.CORS, c.AddressRequestRate, c.AddressRequestBurst = []string{listed}, 1, 4
	}, o) // without a link
	for _, origin := range []string{listed, unlisted} {
		x := connectFrom(t, e, map[string]string{listed: "127.0.0.2", unlisted: "127.0.0.3"}[origin])
		for _, c := range []struct {
			body   string
			status int
		}{{creation(""), 503}, {creation(""), 503}, {creation(""), 503}, {creation(""), 503},
			{empty("s1", 1), 503}, {creation(""), 429}} { // the last two exceed the limit
			x.post(c.body, "Origin: "+origin+"\r\n")
			readable(t, c.body, origin, x.get().want(t, c.status, "").Header)
		}
	}
}

// The web origin of a request is unknown if it is refused before its Origin header has been read. It must not be taken
// from an earlier request.
func TestUnknownOriginHasAnyCORS(t *testing.T) {
	e, l := one(t, func(c *Config) { c.CORS, c.MaxHeadLineBytes = []string{listed}, 100 })
	x := connect(t, e)
	for name, text := range map[string]string{
		"TLS":                    "\x16\x03\x01",
		"HTTP/2":                 "PRI * HTTP/2.0\r\n\r\n",
		"an LF":                  "\n",
		"a bad line":             "GET\r\n",
		"a long line":            "GET /" + strings.Repeat("a", 200),
		"a bad header before it": "GET / HTTP/1.1\r\na b: c\r\nOrigin: " + listed + "\r\n\r\n",
	} {
		x.post(empty("s1", 1), "Origin: "+listed+"\r\n")
		l.reply(l.next().id, "<body/>")
		x.get().want(t, 200, "<body/>")
		c := connect(t, e)
		c.send(text)
		h := c.get().Header
		if h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %v", name, h)
		}
	}
	c := connect(t, e)
	c.send("GET")
	buffered(t, e)
	e.advance(101)
	if h := c.get().want(t, 503, "").Header; h.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("a late line: %v", h)
	}
}

// Every page can read public documents, with credentials if it is listed.
func TestHostMetaHasCORSForAll(t *testing.T) {
	e, _ := one(t, func(c *Config) {
		c.CORS, c.PublicURLs = []string{listed}, []config.PublicURL{{Domain: "", BOSH: "https://c.example/b"}}
	})
	c := connect(t, e)
	for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
		for origin, want := range map[string]string{listed: listed, unlisted: "*", "": "*"} {
			c.send(method + " /.well-known/host-meta HTTP/1.1\r\nHost: h\r\nOrigin: " + origin + "\r\n\r\n")
			h := c.get(method).Header
			if h.Get("Access-Control-Allow-Origin") != want || h.Get("Vary") != "Origin" ||
				(h.Get("Access-Control-Allow-Credentials") == "true") != (origin == listed) {
				t.Errorf("%s from %q: %v", method, origin, h)
			}
		}
	}
}

// A preflight allows the requested headers, if they are header names and not too many.
func TestPreflightAllowsWhatIsAsked(t *testing.T) {
	const usual = "Content-Type, Content-Encoding, Authorization, X-Requested-With"
	long := strings.Repeat("x-header,", maxRequestHeaders/9)
	for _, allowed := range [][]string{{"*"}, {listed}} {
		e, _ := one(t, func(c *Config) {
			c.CORS, c.PublicURLs = allowed, []config.PublicURL{{Domain: "", BOSH: "https://c.example/http-bind"}}
		})
		c := connect(t, e)
		for _, path := range []string{"/http-bind", "/http-bind/", "*", "/other", "/.well-known/host-meta"} {
			for ask, want := range map[string]string{
				"content-type": "content-type",
				"content-type,traceparent,sentry-trace,baggage": "content-type,traceparent,sentry-trace,baggage",
				"X-A, x_b ,authorization":                       "X-A, x_b ,authorization",
				long + "a":                                      long + "a",
				long + "abcdefgh":                               usual,
				"":                                              usual,
				"a b":                                           usual,
				"a,":                                            usual,
				"a: b":                                          usual,
				"a\xffb":                                        usual,
				"<script>":                                      usual,
			} {
				c.send("OPTIONS " + path + " HTTP/1.1\r\nHost: h\r\nOrigin: " + listed + "\r\n" +
					"Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: " + ask + "\r\n\r\n")
				h := c.get().want(t, 200, "").Header
				if got := h.Get("Access-Control-Allow-Headers"); got != want {
					t.Errorf("%s: asked for %q, got %q", path, ask, got)
				}
				if !strings.Contains(strings.Join(h.Values("Vary"), ","), "Access-Control-Request-Headers") {
					t.Errorf("%s: %v", path, h)
				}
				o := h.Get("Access-Control-Allow-Origin")
				if o != allowed[0] {
					t.Errorf("%s: allowed %q", path, o)
				}
			}
		}
	}
}

// TestBareCRIsNobodysOrigin: the answer to a CR without LF takes nothing from the request before it.
func TestBareCRIsNobodysOrigin(t *testing.T) {
	e, _ := one(t, func(c *Config) { c.CORS = []string{"https://chat.example.org"} })
	first := connect(t, e)
	first.send("GET /http-bind HTTP/1.1\r\nHost: h\r\nOrigin: https://chat.example.org\r\n\r\n")
	first.get().want(t, 200, "")
	c := connect(t, e)
	c.send("\r")
	c.taken(e)
	c.send("X")
	if got := c.get().want(t, 400, "").Header.Values("Access-Control-Allow-Origin"); len(got) != 1 || got[0] != "*" {
		t.Errorf("Access-Control-Allow-Origin: %q, want *", got)
	}
}
