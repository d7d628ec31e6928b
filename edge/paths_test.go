package edge

import (
	"strings"
	"testing"
)

// Every spelling of a path that is equivalent by RFC 3986 is the same resource, with or without a trailing slash.
func TestPathSpellings(t *testing.T) {
	e, l := one(t, func(c *Config) { c.Pages = map[string]Page{"/chat.js": {"text/javascript", []byte("page")}} })
	c := connect(t, e)
	for _, path := range []string{"/http-bind", "/http-bind/", "/%68ttp-bind", "/http%2dbind", "/http%2Dbind/",
		"/./http-bind", "/x/../http-bind/.", "/%2E%2e/http-bind", "/http-bind?a=/x", "/http-bind/?a",
		"/%68ttp-bind/x/..",
		"http://h/http-bind", "http://h/http-bind/", "HTTP://h:80/%68ttp-bind?q",
		"/" + strings.ReplaceAll("http-bind", "-", strings.Repeat("/..", 300)+"/http%2D")} {
		c.send(strings.Replace(postText(empty("s1", 1)), "/http-bind", path, 1))
		l.reply(l.next().id, "<body/>")
		c.get().want(t, 200, "<body/>")
		c.send("GET " + path + " HTTP/1.1\r\nHost: h\r\n\r\n")
		c.get().want(t, 200, "BOSH endpoint")
	}
	for _, path := range []string{"/chat.js", "/chat.js/", "/%63hat%2Ejs", "/a/../chat.js", "http://h/chat.js?v=1"} {
		c.send("GET " + path + " HTTP/1.1\r\nHost: h\r\n\r\n")
		c.get().want(t, 200, "page")
	}
	for _, path := range []string{"/HTTP-BIND", "//http-bind", "/http-bind//", "/http-bind%2F", "/%2Fhttp-bind",
		"/http-bind%00", "/http-bind%20", "/http-bind%3F", "/http%252Dbind", "/http-bind%",
		"/http-bind/%zz/..", "/http-bind/..",
		"/http-bind;a", "/x%2F../http-bind", "/chat.js%00", "/CHAT.js", "http://h",
		"/" + strings.Repeat("x/../", 300) + "http-bind"} {
		c.send("POST " + path + " HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
		c.get().want(t, 404, "Nothing here")
	}
}

// TestPathOfTheConfigurationIsServed: the root, and another path after a reload.
func TestPathOfTheConfigurationIsServed(t *testing.T) {
	e, l := one(t, func(c *Config) { c.Path = "/" })
	c := connect(t, e)
	for _, path := range []string{"/", "/.", "/x/..", "http://h", "http://h?q"} {
		c.send(strings.Replace(postText(empty("s1", 1)), "/http-bind", path, 1))
		l.reply(l.next().id, "<body/>")
		c.get().want(t, 200, "<body/>")
	}
	reload(t, e, func(c *Config) { c.Path = "/%62osh/" })
	c.send(strings.Replace(postText(empty("s1", 1)), "/http-bind", "/bosh", 1))
	l.reply(l.next().id, "<body/>")
	c.get().want(t, 200, "<body/>")
}
