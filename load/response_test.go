package load

import (
	"errors"
	"strings"
	"testing"

	"megaphone/internal/corpus"
)

const okResponse = "HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset=utf-8\r\nContent-Length: 5\r\n\r\nhello"

// responseCases are whole responses and the expected results.
var responseCases = []struct {
	name, text string
	status     int
	body       string
	close      bool
	retryAfter int
	err        error
}{
	{name: "usual", text: okResponse, status: 200, body: "hello"},
	{name: "odd case and spaces", text: "HTTP/1.1 200 OK\r\ncontent-LENGTH:5  \r\nX: y\r\n\r\nhello", status: 200,
		body: "hello"},
	{name: "no reason", text: "HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", status: 404},
	{name: "closing", text: "HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 1\r\n\r\nx", status: 200,
		body: "x", close: true},
	{name: "old", text: "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", status: 200, body: "x", close: true},
	{name: "old, kept alive", text: "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx",
		status: 200, body: "x"},
	{name: "busy", text: "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", status: 503,
		retryAfter: 7},
	{name: "a date to retry", text: "HTTP/1.1 503 No\r\nRetry-After: Fri, 31 Dec 1999\r\nContent-Length: 0\r\n\r\n",
		status: 503},
	{name: "chunked", text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
		status: 200, body: "hello"},
	{name: "interim", text: "HTTP/1.1 100 Continue\r\n\r\n" + okResponse, status: 200, body: "hello"},
	{name: "nothing", text: "HTTP/1.1 204 No Content\r\n\r\n", status: 204},

	{name: "no version", text: "HTTP/2 200 OK\r\n\r\n", err: errStatusLine},
	{name: "no status", text: "HTTP/1.1 2x0 OK\r\n\r\n", err: errStatusLine},
	{name: "no length", text: "HTTP/1.1 200 OK\r\n\r\n", err: errLength},
	{name: "two lengths", text: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", err: errLength},
	{name: "negative", text: "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", err: errLength},
	{name: "huge", text: "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", err: errBodySize},
	{name: "zipped", text: "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", err: errCoding},
	{name: "strange coding", text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", err: errCoding},
	{name: "bad chunk", text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n\r\n", err: errChunks},
	{name: "endless head", text: "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxHeadBytes), err: errHeadSize},
}

func TestResponsesWhole(t *testing.T) {
	for _, c := range responseCases {
		p := []byte(c.text + "next")
		r, n, _, err := parseResponse(p)
		if !errors.Is(err, c.err) || c.err != nil && n != 0 {
			t.Errorf("%s: error %v, length %d", c.name, err, n)
		}
		if c.err != nil {
			continue
		}
		if n != len(c.text) || r.status != c.status || r.close != c.close || r.retryAfter != c.retryAfter {
			t.Errorf("%s: %d bytes of %d, %+v", c.name, n, len(c.text), r)
		}
		if body := string(r.body()); body != c.body {
			t.Errorf("%s: body %q", c.name, body)
		}
	}
}

// TestResponsesInPieces: a response is not complete before its last byte, needs no more than that, and parses the same.
func TestResponsesInPieces(t *testing.T) {
	for _, c := range responseCases {
		for cut := range len(c.text) {
			p := []byte(c.text[:cut])
			_, n, need, err := parseResponse(p)
			if c.err != nil {
				if err != nil && !errors.Is(err, c.err) || n != 0 {
					t.Fatalf("%s, cut at %d: %d bytes, %v", c.name, cut, n, err)
				}
				continue
			}
			if n != 0 || err != nil || need <= cut || need > len(c.text) {
				t.Fatalf("%s, cut at %d of %d: %d bytes, needs %d, %v", c.name, cut, len(c.text), n, need, err)
			}
			if string(p) != c.text[:cut] {
				t.Fatalf("%s, cut at %d: an incomplete response was changed", c.name, cut)
			}
		}
	}
}

func FuzzResponse(f *testing.F) {
	corpus.Add(f)
	for _, c := range responseCases {
		f.Add([]byte(c.text))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		r, n, need, err := parseResponse(p)
		switch {
		case n < 0 || n > len(p):
			t.Fatalf("%d of %d bytes", n, len(p))
		case n == 0 && err == nil && need <= len(p):
			t.Fatalf("incomplete, but %d of %d bytes are enough", need, len(p))
		case n > 0 && (err != nil || len(r.body()) > n):
			t.Fatalf("%v, body of %d in %d bytes", err, len(r.raw), n)
		}
	})
}
