package http1

import (
	"bytes"
	"fmt"
	"testing"

	"megaphone/codec/internal/codectest"
)

// outcome returns the result of ParseHead as text.
func outcome(t testing.TB, p []byte, scanned int, lim *Limits) string {
	h := Head{Path: []byte("left over from the last request"), KeepAlive: true, seen: 0xFF}
	ok, err := ParseHead(&h, p, scanned, lim)
	switch {
	case err != nil && ok:
		t.Errorf("%q: complete and refused", p)
	case err != nil:
		return fmt.Sprintf("refused: %d %s", err.Status, err.Reason)
	case !ok:
		return "not complete"
	}
	codectest.Inside(t, p[:h.Bytes], h.Path, h.Query, h.Host, h.Origin, h.RequestHeaders, h.ContentEncoding)
	if !bytes.HasSuffix(p[:h.Bytes], []byte("\r\n\r\n")) {
		t.Errorf("%q: %d bytes do not end with a blank line", p, h.Bytes)
	}
	return fmt.Sprintf("%d bytes: %s", h.Bytes, describe(&h))
}

func (c *headCase) outcome() string {
	switch {
	case c.err != nil:
		return fmt.Sprintf("refused: %d %s", c.err.Status, c.err.Reason)
	case c.want == "":
		return "not complete"
	}
	skip := 0
	for skip < len(c.in) && c.in[skip] == '\r' {
		skip += 2
	}
	end := bytes.Index([]byte(c.in)[skip:], []byte("\r\n\r\n"))
	return fmt.Sprintf("%d bytes: %s", skip+end+4, c.want)
}

func TestHeadCases(t *testing.T) {
	g := codectest.NewPage(t)
	for _, c := range headCases {
		t.Run(c.name, func(t *testing.T) {
			want := c.outcome()
			if got := outcome(t, g.Put(c.in), 0, &c.lim); got != want {
				t.Fatalf("%q:\n got %s\nwant %s", c.in, got, want)
			}
			// In two pieces, split anywhere. A result after the first piece is final.
			for k := range len(c.in) {
				got := outcome(t, g.Put(c.in[:k]), 0, &c.lim)
				if got == "not complete" {
					got = outcome(t, g.Put(c.in), k, &c.lim)
				}
				if got != want {
					t.Fatalf("%q, split at %d:\n got %s\nwant %s", c.in, k, got, want)
				}
			}
			// Byte by byte.
			got := "not complete"
			for k := 1; k <= len(c.in) && got == "not complete"; k++ {
				got = outcome(t, g.Put(c.in[:k]), k-1, &c.lim)
			}
			if got != want {
				t.Fatalf("%q, byte by byte:\n got %s\nwant %s", c.in, got, want)
			}
		})
	}
}

// Input whose sender waits for an answer is refused at its first telling byte, however it drips in.
func TestHeadRefusedEarly(t *testing.T) {
	for _, c := range []struct {
		in  string
		lim Limits
		err *Error
	}{
		{in: "\x16", err: errNotHTTP},
		{in: "PRI * HTTP/2.0", err: errVersion},
		{in: "\r\n\n", err: errBareLF},
		{in: "\r\n\r\n\r\n\r\n\r", err: errEmptyLines},
		{in: "GET / HTTP/1.1\n", err: errBareLF},
		{in: "GET / HTTP/1.1\r\nHost: h\n", err: errBareLF},
		{in: "GET /45678901", lim: Limits{MaxRequestLineBytes: 11}, err: errRequestLineTooLong},
		{in: "GET / HTTP/1.1\r\nHost: h\r\nA:", lim: Limits{MaxHeaderBytes: 9}, err: errHeadersTooLarge},
		{in: "GET / HTTP/1.1\r\nHost: h\r\nA:", lim: Limits{MaxHeaderBytes: 9, MaxRequestLineBytes: 14},
			err: errHeadersTooLarge},
	} {
		var h Head
		for k := range len(c.in) {
			if ok, err := ParseHead(&h, []byte(c.in[:k]), max(0, k-1), &c.lim); ok || err != nil {
				t.Errorf("%q is decided after %d bytes: %v %v", c.in, k, ok, err)
			}
		}
		if _, err := ParseHead(&h, []byte(c.in), len(c.in)-1, &c.lim); err != c.err {
			t.Errorf("%q: %v, not %v", c.in, err, c.err)
		}
	}
}

func TestEveryErrorHasACaseAndAnAnswer(t *testing.T) {
	met := map[*Error]bool{}
	for _, c := range headCases {
		met[c.err] = true
	}
	for _, c := range chunkCases {
		met[c.err] = true
	}
	for _, e := range Errors {
		if !met[e] {
			t.Errorf("no case for: %s", e.Reason)
		}
		if statusText(e.Status) == "Status" || e.Status < 400 || e.Error() != e.Reason {
			t.Errorf("%s: status %d has no reason phrase", e.Reason, e.Status)
		}
	}
	if len(Errors) < 30 {
		t.Errorf("only %d errors are listed", len(Errors))
	}
}

func TestLimitsDefaults(t *testing.T) {
	want := Limits{DefaultMaxRequestLineBytes, DefaultMaxHeaderBytes, DefaultMaxHeaders, DefaultMaxBodyBytes}
	if got := (Limits{}).WithDefaults(); got != want {
		t.Errorf("%+v", got)
	}
	if got := (Limits{1, 2, 3, 4}).WithDefaults(); got != (Limits{1, 2, 3, 4}) {
		t.Errorf("%+v", got)
	}
}

func TestParseHeadAllocatesNothing(t *testing.T) {
	for _, c := range headCases {
		var h Head
		p := []byte(c.in)
		codectest.NoAllocs(t, c.name, func() {
			ParseHead(&h, p, 0, &c.lim)
			ParseHead(&h, p, len(p)/2, &c.lim)
		})
	}
}

func BenchmarkParseHead(b *testing.B) {
	for _, c := range headCases {
		if !c.bench {
			continue
		}
		b.Run(c.name, func(b *testing.B) {
			p, lim := []byte(c.in), c.lim.WithDefaults()
			var h Head
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				if ok, err := ParseHead(&h, p, 0, &lim); !ok {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestEmptyLines: for all texts of CR, LF and another byte, EmptyLines counts the bytes that ParseHead skips before a
// request line, and those after which it waits.
func TestEmptyLines(t *testing.T) {
	var text func(p []byte)
	text = func(p []byte) {
		n := EmptyLines(p)
		start, ok, err := skipEmptyLines(p)
		switch {
		case err == errEmptyLines && n != 0, ok && n != start, !ok && err == nil && n != len(p),
			err != nil && err != errEmptyLines && (n%2 != 0 || p[n] == 'P'):
			t.Fatalf("%q: %d, want %d, %v, %v", p, n, start, ok, err)
		}
		if len(p) < 2*maxEmptyLines+2 {
			for _, c := range []byte("\r\nP") {
				text(append(p[:len(p):len(p)], c))
			}
		}
	}
	text(nil)
}
