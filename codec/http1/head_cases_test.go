package http1

import (
	"fmt"
	"strings"
)

// headCase is one request head with its expected result. Tests and benchmarks share the cases.
type headCase struct {
	name  string
	in    string
	want  string // as formatted by describe; "" if refused or incomplete
	err   *Error
	lim   Limits
	bench bool
}

// post returns a request with the given header lines besides Host.
func post(lines ...string) string {
	return "POST /http-bind HTTP/1.1\r\nHost: h\r\n" + strings.Join(append(lines, "", ""), "\r\n")
}

// get returns a request with the given request line and a Host.
func get(line string) string { return line + "\r\nHost: h\r\n\r\n" }

// describe formats a Head in one line.
func describe(h *Head) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", [...]string{"OTHER", "GET", "HEAD", "POST", "OPTIONS"}[h.Method], h.Path)
	for _, f := range []struct {
		name  string
		value []byte
	}{{"query", h.Query}, {"host", h.Host}, {"origin", h.Origin}, {"request-headers", h.RequestHeaders},
		{"encoding", h.ContentEncoding}} {
		if f.value != nil {
			fmt.Fprintf(&b, " %s=%s", f.name, f.value)
		}
	}
	if h.HasBody && !h.Chunked {
		fmt.Fprintf(&b, " length=%d", h.ContentLength)
	}
	for _, f := range []struct {
		name string
		is   bool
	}{{"chunked", h.Chunked}, {"1.0", h.Minor == 0}, {"keep", h.KeepAlive}, {"continue", h.ExpectContinue}} {
		if f.is {
			b.WriteString(" " + f.name)
		}
	}
	return b.String()
}

// Heads as real clients send them.
var clientHeads = []headCase{
	{name: "curl", bench: true, in: "POST /http-bind HTTP/1.1\r\nHost: 127.0.0.1:5280\r\nUser-Agent: curl/8.14.1\r\n" +
		"Accept: */*\r\nContent-Type: text/xml; charset=utf-8\r\nContent-Length: 228\r\n\r\n",
		want: "POST /http-bind host=127.0.0.1:5280 length=228 keep"},
	{name: "Strophe.js in Chromium", bench: true, in: "POST /http-bind HTTP/1.1\r\nHost: chat.example.org\r\n" +
		"Connection: keep-alive\r\nContent-Length: 132\r\nsec-ch-ua-platform: \"Linux\"\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 " +
		"Safari/537.36\r\n" +
		"sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\nContent-Type: text/xml; charset=utf-8\r\n" +
		"sec-ch-ua-mobile: ?0\r\nAccept: */*\r\nOrigin: https://www.example.org\r\nSec-Fetch-Site: same-site\r\n" +
		"Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\nReferer: https://www.example.org/\r\n" +
		"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en-US;q=0.9,en;q=0.8\r\n\r\n",
		want: "POST /http-bind host=chat.example.org origin=https://www.example.org length=132 keep"},
	{name: "preflight of Chromium", in: "OPTIONS /http-bind HTTP/1.1\r\nHost: h:5280\r\nConnection: keep-alive\r\n" +
		"Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\nOrigin: null\r\n\r\n",
		want: "OPTIONS /http-bind host=h:5280 origin=null request-headers=content-type keep"},
	{name: "Pidgin",
		in: "POST /http-bind HTTP/1.1\r\nHost: example.org\r\nUser-Agent: Pidgin 2.14.14 (libpurple 2.14.14)\r\n" +
			"Content-Encoding: text/xml; charset=utf-8\r\nContent-Length: 247\r\n\r\n",
		want: "POST /http-bind host=example.org encoding=text/xml; charset=utf-8 length=247 keep"},
	{name: "tsung: no space after the colons", bench: true,
		in: "POST /http-bind HTTP/1.1\r\nHost:h:5280\r\nUser-Agent:tsung\r\n" +
			"Content-Type:text/xml; charset=utf-8\r\nkeep-alive:true\r\nContent-Length:305\r\n\r\n",
		want: "POST /http-bind host=h:5280 length=305 keep"},
	{name: "stanza.js: lower-case names", in: "POST /http-bind HTTP/1.1\r\nhost: h:5280\r\nconnection: keep-alive\r\n" +
		"content-type: text/xml\r\naccept-encoding: gzip, deflate\r\ncontent-length: 0\r\n\r\n",
		want: "POST /http-bind host=h:5280 length=0 keep"},
	{name: "xmpp-bosh-client", in: post("Connection: Keep-Alive", "Content-Length: 1"),
		want: "POST /http-bind host=h length=1 keep"},
	{name: "prosody's own tests: a form",
		in:   post("Content-Type: application/x-www-form-urlencoded", "Content-Length: 9"),
		want: "POST /http-bind host=h length=9 keep"},
	{name: "ApacheBench: HTTP/1.0 with keep-alive", in: "POST /http-bind HTTP/1.0\r\nContent-length: 3\r\n" +
		"Connection: Keep-Alive\r\nHost: h\r\n\r\n", want: "POST /http-bind host=h length=3 1.0 keep"},
	{name: "HTTP/1.0 without Host", bench: true, in: "POST /http-bind HTTP/1.0\r\nContent-Length: 3\r\n\r\n",
		want: "POST /http-bind length=3 1.0"},
	{name: "chunked", in: post("Transfer-Encoding: chunked"), want: "POST /http-bind host=h chunked keep"},
	{name: "behind a proxy", in: post("X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.1, 198.51.100.2"),
		want: "POST /http-bind host=h keep"},
	{name: "followed by a body and another request", in: post("Content-Length: 3") + "abcPOST / HTTP/1.1\r\n",
		want: "POST /http-bind host=h length=3 keep"},
}

// Request lines.
var requestLineHeads = []headCase{
	{name: "GET", in: get("GET / HTTP/1.1"), want: "GET / host=h keep"},
	{name: "HEAD", in: get("HEAD / HTTP/1.1"), want: "HEAD / host=h keep"},
	{name: "another method", in: get("M-SEARCH /a HTTP/1.1"), want: "OTHER /a host=h keep"},
	{name: "methods are case-sensitive", in: get("post / HTTP/1.1"), want: "OTHER / host=h keep"},
	{name: "query", in: get("GET /http-bind?a=b?c HTTP/1.1"), want: "GET /http-bind query=a=b?c host=h keep"},
	{name: "empty query", in: get("GET /http-bind? HTTP/1.1"), want: "GET /http-bind query= host=h keep"},
	{name: "two slashes", in: get("GET //h HTTP/1.1"), want: "GET //h host=h keep"},
	{name: "characters that browsers leave alone", in: get("GET /a|b[{c}]^`\"\\<> HTTP/1.1"),
		want: "GET /a|b[{c}]^`\"\\<> host=h keep"},
	{name: "absolute form", in: get("GET http://other:81/a?b HTTP/1.1"), want: "GET /a query=b host=other:81 keep"},
	{name: "absolute form, host first in the head", in: "GET http://[::1]/ HTTP/1.1\r\nHost:\r\n\r\n",
		want: "GET / host=[::1] keep"},
	{name: "absolute form without path", in: get("GET http://other HTTP/1.1"), want: "GET / host=other keep"},
	{name: "absolute form, query without path", in: get("GET http://other?a/b HTTP/1.1"),
		want: "GET / query=a/b host=other keep"},
	{name: "absolute form, scheme in capitals", in: get("GET HTTP://other/ HTTP/1.1"), want: "GET / host=other keep"},
	{name: "absolute form, https", in: get("GET https://other/ HTTP/1.1"), want: "GET / host=other keep"},
	{name: "absolute form still needs Host", in: "GET http://other/ HTTP/1.1\r\n\r\n", err: errHostMissing},
	{name: "absolute form without host", in: get("GET http:///a HTTP/1.1"), err: errTarget},
	{name: "absolute form, port without host", in: get("GET http://:80/a HTTP/1.1"), err: errTarget},
	{name: "absolute form, nothing after the scheme", in: get("GET http:// HTTP/1.1"), err: errTarget},
	{name: "absolute form, user name", in: get("GET http://u@h/ HTTP/1.1"), err: errTarget},
	{name: "absolute form, port is a word", in: get("GET http://h:http/ HTTP/1.1"), err: errTarget},
	{name: "absolute form, another scheme", in: get("GET ftp://h/ HTTP/1.1"), err: errTarget},
	{name: "absolute form, one slash", in: get("GET http:/h/ HTTP/1.1"), err: errTarget},
	{name: "authority form", in: get("CONNECT h:443 HTTP/1.1"), err: errTarget},
	{name: "asterisk", in: get("OPTIONS * HTTP/1.1"), want: "OPTIONS * host=h keep"},
	{name: "asterisk for another method", in: get("GET * HTTP/1.1"), err: errTarget},
	{name: "asterisk and more", in: get("OPTIONS *a HTTP/1.1"), err: errTarget},
	{name: "relative path", in: get("GET http-bind HTTP/1.1"), err: errTarget},
	{name: "fragment", in: get("GET /a#b HTTP/1.1"), err: errBadRequestLine},
	{name: "byte beyond ASCII in the target", in: get("GET /\xC3\xA9 HTTP/1.1"), err: errBadRequestLine},
	{name: "NUL in the target", in: get("GET /\x00 HTTP/1.1"), err: errBadRequestLine},
	{name: "tab in the target", in: get("GET /a\tb HTTP/1.1"), err: errBadRequestLine},
	{name: "two spaces before the target", in: get("GET  / HTTP/1.1"), err: errBadRequestLine},
	{name: "two spaces before the version", in: get("GET /  HTTP/1.1"), err: errBadRequestLine},
	{name: "tab for a space", in: get("GET\t/ HTTP/1.1"), err: errBadRequestLine},
	{name: "space first", in: get(" GET / HTTP/1.1"), err: errBadRequestLine},
	{name: "space last", in: get("GET / HTTP/1.1 "), err: errBadRequestLine},
	{name: "space in the target", in: get("GET /a b HTTP/1.1"), err: errBadRequestLine},
	{name: "colon in the method", in: get("GE:T / HTTP/1.1"), err: errBadRequestLine},
	{name: "method alone", in: get("GET"), err: errBadRequestLine},
	{name: "a header instead", in: "Host: h\r\n\r\n", err: errBadRequestLine},
	{name: "no target", in: get("GET HTTP/1.1"), err: errBadRequestLine},
	{name: "HTTP/0.9 without version", in: get("GET /"), err: errBadRequestLine},
	{name: "HTTP/0.9", in: get("GET / HTTP/0.9"), err: errVersion},
	{name: "HTTP/1.2 is taken for 1.1", in: get("GET / HTTP/1.2"), want: "GET / host=h keep"},
	{name: "HTTP/1.9 without Host", in: "GET / HTTP/1.9\r\n\r\n", err: errHostMissing},
	{name: "HTTP/2.0", in: get("GET / HTTP/2.0"), err: errVersion},
	{name: "HTTP/2", in: get("GET / HTTP/2"), err: errBadRequestLine},
	{name: "HTTP/11.1", in: get("GET / HTTP/11.1"), err: errBadRequestLine},
	{name: "HTTP/1.10", in: get("GET / HTTP/1.10"), err: errBadRequestLine},
	{name: "HTTP/1.", in: get("GET / HTTP/1."), err: errBadRequestLine},
	{name: "http/1.1", in: get("GET / http/1.1"), err: errBadRequestLine},
	{name: "HTTP/1,1", in: get("GET / HTTP/1,1"), err: errBadRequestLine},
	{name: "preface of HTTP/2", in: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", err: errVersion},
	{name: "first bytes of the preface", in: "PRI * HTTP/2.0", err: errVersion},
	{name: "another method that begins with PRI", in: get("PRINT / HTTP/1.1"), want: "OTHER / host=h keep"},
	{name: "TLS", in: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", err: errNotHTTP},
	{name: "SSL 2", in: "\x80\x2e\x01\x00\x02", err: errNotHTTP},
	{name: "NUL", in: "\x00", err: errNotHTTP},
	{name: "a frame of a stream of XML", in: "<stream:stream>", err: errNotHTTP},
	{name: "PROXY protocol, not expected here", in: get("PROXY TCP4 192.0.2.1 192.0.2.2 1 2"), err: errTarget},
	{name: "empty lines first", in: "\r\n\r\n\r\n\r\n" + get("GET / HTTP/1.1"), want: "GET / host=h keep"},
	{name: "one empty line too many", in: "\r\n\r\n\r\n\r\n\r\n" + get("GET / HTTP/1.1"), err: errEmptyLines},
	{name: "empty line of LF", in: "\n" + get("GET / HTTP/1.1"), err: errBareLF},
	{name: "empty line of LF after one", in: "\r\n\n" + get("GET / HTTP/1.1"), err: errBareLF},
	{name: "empty line of CR", in: "\r" + get("GET / HTTP/1.1"), err: ErrBareCR},
	{name: "longest request line", in: get("GET /45678 HTTP/1.1"), lim: Limits{MaxRequestLineBytes: 19},
		want: "GET /45678 host=h keep"},
	{name: "request line too long by one", in: get("GET /456789 HTTP/1.1"), lim: Limits{MaxRequestLineBytes: 19},
		err: errRequestLineTooLong},
	{name: "request line too long before it ends", in: "GET /" + strings.Repeat("a", DefaultMaxRequestLineBytes),
		err: errRequestLineTooLong},
	{name: "method too long", in: strings.Repeat("A", 40), lim: Limits{MaxRequestLineBytes: 38},
		err: errRequestLineTooLong},
	{name: "line too long within the version", in: get("GET /4567 HTTP/1.1"), lim: Limits{MaxRequestLineBytes: 12},
		err: errRequestLineTooLong},
}
