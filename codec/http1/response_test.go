package http1

import (
	"fmt"
	"testing"

	"megaphone/codec/internal/ascii"
	"megaphone/codec/internal/codectest"
)

// responseCase is one response head with its expected bytes.
type responseCase struct {
	name    string
	status  int
	headers []string
	length  int
	c       Connection
	want    string
	bench   bool
}

var responseCases = []responseCase{
	{name: "a reply", bench: true, status: 200, headers: []string{"Content-Type: text/xml; charset=utf-8",
		"Cache-Control: no-store", "Access-Control-Allow-Origin: *"}, length: 71,
		want: "HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset=utf-8\r\nCache-Control: no-store\r\n" +
			"Access-Control-Allow-Origin: *\r\nContent-Length: 71\r\n\r\n"},
	{name: "bare", bench: true, status: 200, want: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
	{name: "kept, for HTTP/1.0", status: 200, length: 5, c: ConnectionKeepAlive,
		want: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n"},
	{name: "the last", status: 503, headers: []string{"Retry-After: 2"}, length: 262144, c: ConnectionClose,
		want: "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 262144\r\n" +
			"Connection: close\r\n\r\n"},
	{name: "no content", status: 204, headers: []string{"Access-Control-Max-Age: 86400"}, c: ConnectionClose,
		want: "HTTP/1.1 204 No Content\r\nAccess-Control-Max-Age: 86400\r\nConnection: close\r\n\r\n"},
	{name: "interim", status: 100, want: "HTTP/1.1 100 Continue\r\n\r\n"},
	{name: "a status without a phrase", status: 299, want: "HTTP/1.1 299 Status\r\nContent-Length: 0\r\n\r\n"},
	{name: "values with tabs and beyond ASCII", status: 200, headers: []string{"X: a\t\xC3\xA9"},
		want: "HTTP/1.1 200 OK\r\nX: a\t\xC3\xA9\r\nContent-Length: 0\r\n\r\n"},
}

func TestResponseCases(t *testing.T) {
	for _, c := range responseCases {
		t.Run(c.name, func(t *testing.T) {
			r := NewResponseHead(c.status, c.headers...)
			for range 2 { // appending does not change it
				if got := r.Append([]byte("before"), c.length, c.c, nil); string(got) != "before"+c.want {
					t.Errorf("%q, not %q", got, c.want)
				}
			}
			// This package's own parser accepts the header lines.
			head := []byte("GET / HTTP/1.1\r\nHost: h\r\n" + c.want[len(fmt.Sprintf("HTTP/1.1 %d %s\r\n", c.status,
				statusText(c.status))):])
			var h Head
			if ok, err := ParseHead(&h, head, 0, &Limits{}); !ok || h.ContentLength != c.length ||
				h.KeepAlive != (c.c != ConnectionClose) {
				t.Errorf("%q is read as %s: %v", head, describe(&h), err)
			}
		})
	}
}

func TestResponseHeadPanicsOnProgrammersErrors(t *testing.T) {
	for name, f := range map[string]func(){
		"CR LF in a value":    func() { NewResponseHead(200, "X: a\r\nSet-Cookie: b") },
		"LF in a value":       func() { NewResponseHead(200, "X: a\nb") },
		"NUL in a value":      func() { NewResponseHead(200, "X: a\x00") },
		"no value":            func() { NewResponseHead(200, "X: ") },
		"no space":            func() { NewResponseHead(200, "X:a") },
		"no colon":            func() { NewResponseHead(200, "X") },
		"no name":             func() { NewResponseHead(200, ": a") },
		"empty":               func() { NewResponseHead(200, "") },
		"space in the name":   func() { NewResponseHead(200, "X Y: a") },
		"a second length":     func() { NewResponseHead(200, "content-length: 5") },
		"a coding":            func() { NewResponseHead(200, "Transfer-Encoding: chunked") },
		"a second Connection": func() { NewResponseHead(200, "CONNECTION: close") },
		"status 99":           func() { NewResponseHead(99) },
		"status 600":          func() { NewResponseHead(600) },
		"a body for 204":      func() { r := NewResponseHead(204); r.Append(nil, 1, ConnectionDefault, nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

func TestStatusText(t *testing.T) {
	known := 0
	for status := 100; status < 600; status++ {
		text := statusText(status)
		if text != "Status" {
			known++
		}
		if text == "" || !ascii.All([]byte(text), ascii.Value) {
			t.Errorf("%d: %q", status, text)
		}
	}
	if known < 35 || statusText(200) != "OK" {
		t.Errorf("%d phrases; 200 is %q", known, statusText(200))
	}
}

func TestResponseHeadAllocatesNothing(t *testing.T) {
	buf := make([]byte, 0, 1024)
	for _, c := range responseCases {
		r := NewResponseHead(c.status, c.headers...)
		codectest.NoAllocs(t, c.name, func() { r.Append(buf, c.length, c.c, testDate) })
	}
}

func BenchmarkResponseHead(b *testing.B) {
	for _, c := range responseCases {
		if !c.bench {
			continue
		}
		b.Run(c.name, func(b *testing.B) {
			r := NewResponseHead(c.status, c.headers...)
			dst := r.Append(nil, c.length, c.c, testDate)
			b.SetBytes(int64(len(dst)))
			b.ReportAllocs()
			for b.Loop() {
				dst = r.Append(dst[:0], c.length, c.c, testDate)
			}
		})
	}
}

var testDate = []byte("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n")

// The date is part of the head.
func TestResponseHeadDate(t *testing.T) {
	r := NewResponseHead(200, "A: b")
	got := string(r.Append(nil, 3, ConnectionClose, testDate))
	want := "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 3\r\nConnection: close\r\n" + string(testDate) + "\r\n"
	if got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}
