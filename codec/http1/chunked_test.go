package http1

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"megaphone/codec/internal/codectest"
	"megaphone/internal/corpus"
)

// chunkCase is one chunked body with its expected result.
type chunkCase struct {
	name string
	in   string
	data string // decoded, if end > 0
	end  int    // end of the body; 0: refused or incomplete
	need int    // if incomplete
	err  *Error
	lim  Limits
}

var chunkCases = []chunkCase{
	{name: "one chunk", in: "5\r\nhello\r\n0\r\n\r\n", data: "hello", end: 15},
	{name: "two chunks", in: "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", data: "hello world", end: 26},
	{name: "empty", in: "0\r\n\r\n", data: "", end: 5},
	{name: "many zeros", in: "0000\r\n\r\n", data: "", end: 8},
	{name: "hexadecimal in both cases", in: "a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n",
		data: "01234567890123456789a", end: 36},
	{name: "leading zeros", in: "00000000000000000005\r\nhello\r\n0\r\n\r\n", data: "hello", end: 34},
	{name: "another request behind it", in: "1\r\nx\r\n0\r\n\r\nPOST /", data: "x", end: 11},
	{name: "framing inside the data", in: "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", data: "\r\n0\r\n\r\n", end: 17},
	{name: "extensions", in: "1;a\r\nx\r\n0;b=c;d=\"e;\\\"f\"\r\n\r\n", data: "x", end: 27},
	{name: "white space before an extension", in: "1 \t;a\r\nx\r\n0\r\n\r\n", data: "x", end: 15},
	{name: "trailers", in: "1\r\nx\r\n0\r\nContent-Length: 5\r\nB:\r\n\r\n", data: "x", end: 34},
	{name: "largest body", in: "5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n", lim: Limits{MaxBodyBytes: 10},
		data: "helloworld", end: 25},
	{name: "too large by one", in: "5\r\nhello\r\n6\r\n", lim: Limits{MaxBodyBytes: 10}, err: errBodyTooLarge},
	{name: "too large at once", in: "40001\r\n", err: errBodyTooLarge},
	{name: "2^64 bytes", in: "10000000000000000\r\n", err: errBodyTooLarge},
	{name: "2^64+1 bytes", in: "10000000000000001\r\nx\r\n", err: errBodyTooLarge},
	{name: "2^63 bytes", in: "8000000000000000\r\n", err: errBodyTooLarge},
	{name: "-1", in: "-1\r\n", err: errChunkSize},
	{name: "more framing than twice the limit and 4096", in: strings.Repeat("1\r\nx\r\n", 700),
		lim: Limits{MaxBodyBytes: 1},
		err: errBodyTooLarge},
	{name: "one byte a chunk", in: strings.Repeat("1\r\nx\r\n", 900), lim: Limits{MaxBodyBytes: 600},
		err: errBodyTooLarge},
	{name: "long extensions in every chunk", in: strings.Repeat("1;"+strings.Repeat("a", 200)+"\r\nx\r\n", 30),
		lim: Limits{MaxBodyBytes: 100}, err: errBodyTooLarge},

	{name: "nothing", in: "", need: 1},
	{name: "half a size", in: "1", need: 2},
	{name: "half an extension", in: "5 ;a", need: 5},
	{name: "white space after a size", in: "5 ", need: 3},
	{name: "half a line end", in: "5\r", need: 3},
	{name: "no data", in: "5\r\n", need: 10},
	{name: "half the data", in: "5\r\nhel", need: 10},
	{name: "half the end of the data", in: "5\r\nhello\r", need: 10},
	{name: "no last chunk", in: "5\r\nhello\r\n", need: 11},
	{name: "half the last chunk", in: "5\r\nhello\r\n0", need: 12},
	{name: "no end after the last chunk", in: "0\r\n", need: 4},
	{name: "half the end", in: "0\r\n\r", need: 5},
	{name: "half a trailer", in: "0\r\nA", need: 5},
	{name: "no end after a trailer", in: "0\r\nA: b\r\n", need: 10},

	{name: "no size", in: "\r\nhello", err: errChunkSize},
	{name: "extension without size", in: ";a\r\n", err: errChunkSize},
	{name: "space before the size", in: " 5\r\nhello\r\n", err: errChunkSize},
	{name: "0x", in: "0x5\r\nhello\r\n", err: errChunkSize},
	{name: "plus", in: "+5\r\nhello\r\n", err: errChunkSize},
	{name: "not hexadecimal", in: "5g\r\nhello\r\n", err: errChunkSize},
	{name: "digit beyond ASCII", in: "\xEF\xBC\x95\r\nhello\r\n", err: errChunkSize},
	{name: "size ends with LF", in: "5\nhello\r\n0\r\n\r\n", err: errBareLF},
	{name: "size ends with CR", in: "5\rhello\r\n0\r\n\r\n", err: ErrBareCR},
	{name: "white space and no extension", in: "5 \r\nhello\r\n", err: errChunkExtension},
	{name: "white space and a word", in: "5 a\r\nhello\r\n", err: errChunkExtension},
	{name: "extension ends with LF", in: "5;a\nhello\r\n0\r\n\r\n", err: errBareLF},
	{name: "extension ends with CR", in: "5;a\rhello\r\n0\r\n\r\n", err: ErrBareCR},
	{name: "NUL in an extension", in: "5;\x00\r\nhello\r\n", err: errChunkExtension},
	{name: "longest line", in: "1;" + strings.Repeat("a", 254) + "\r\nx\r\n0\r\n\r\n", data: "x", end: 266},
	{name: "extension too long", in: "1;" + strings.Repeat("a", 255) + "\r\nx\r\n0\r\n\r\n", err: errChunkExtension},
	{name: "too many zeros", in: strings.Repeat("0", 258), err: errChunkExtension},
	{name: "data longer than said", in: "5\r\nhello!\r\n", err: errChunkEnd},
	{name: "data shorter than said", in: "7\r\nhello\r\n0\r\n\r\n", err: errChunkEnd},
	{name: "data end with LF", in: "5\r\nhello\n0\r\n\r\n", err: errChunkEnd},
	{name: "data end with CR", in: "5\r\nhello\r0\r\n\r\n", err: errChunkEnd},
	{name: "data end with LF CR", in: "5\r\nhello\n\r0\r\n\r\n", err: errChunkEnd},
	{name: "end is LF", in: "0\r\n\n", err: errBareLF},
	{name: "end is CR", in: "0\r\n\rG", err: ErrBareCR},
	{name: "more data after the last chunk", in: "0\r\nhello\r\n\r\n", err: errHeaderName},
	{name: "folded trailer", in: "0\r\nA: b\r\n c\r\n\r\n", err: errObsFold},
	{name: "trailer with a space before the colon", in: "0\r\nA : b\r\n\r\n", err: errSpaceBeforeColon},
	{name: "trailer ends with LF", in: "0\r\nA: b\n\r\n", err: errBareLF},
	{name: "longest trailers", in: "0\r\nA:" + strings.Repeat("b", 1020) + "\r\n\r\n", data: "", end: 1029},
	{name: "trailers too long", in: "0\r\nA:" + strings.Repeat("b", 1021) + "\r\n\r\n", err: errTrailersTooLarge},
	{name: "trailers too long, between two", in: "0\r\nA:" + strings.Repeat("b", 1020) + "\r\nC: d\r\n\r\n",
		err: errTrailersTooLarge},
	{name: "trailers too long, before they end", in: "0\r\n" + strings.Repeat("A", 2000), err: errTrailersTooLarge},
	{name: "trailers too long, half an end", in: "0\r\nA:" + strings.Repeat("b", 1021) + "\r\n\r",
		err: errTrailersTooLarge},
}

// scanned returns the result of ScanChunks for p and c as text.
func scanned(t testing.TB, c *Chunks, p []byte, lim *Limits) (what string, decided bool, need int) {
	before := *c
	end, need, ok, err := ScanChunks(c, p, lim)
	if c.Raw < before.Raw || c.Data < before.Data || int(c.Raw) > len(p) || c.Data > c.Raw {
		t.Fatalf("%q: progress went from %+v to %+v", p, before, *c)
	}
	switch {
	case err != nil:
		return fmt.Sprintf("refused: %d %s", err.Status, err.Reason), true, 0
	case !ok && need <= len(p):
		t.Fatalf("%q: needs %d bytes and has %d", p, need, len(p))
	case !ok:
		return fmt.Sprintf("needs %d", need), false, need
	}
	return fmt.Sprintf("ends at %d", end), true, 0
}

func (c *chunkCase) outcome() string {
	switch {
	case c.err != nil:
		return fmt.Sprintf("refused: %d %s", c.err.Status, c.err.Reason)
	case c.end == 0:
		return fmt.Sprintf("needs %d", c.need)
	}
	return fmt.Sprintf("ends at %d", c.end)
}

func TestChunkCases(t *testing.T) {
	g := codectest.NewPage(t)
	for _, c := range chunkCases {
		t.Run(c.name, func(t *testing.T) {
			want := c.outcome()
			var at Chunks
			if got, _, _ := scanned(t, &at, g.Put(c.in), &c.lim); got != want {
				t.Fatalf("%q:\n got %s\nwant %s", c.in, got, want)
			}
			for k := range len(c.in) {
				at = Chunks{}
				got, decided, _ := scanned(t, &at, g.Put(c.in[:k]), &c.lim)
				if !decided {
					got, _, _ = scanned(t, &at, g.Put(c.in), &c.lim)
				}
				if got != want {
					t.Fatalf("%q, split at %d:\n got %s\nwant %s", c.in, k, got, want)
				}
			}
			if c.end == 0 {
				return
			}
			p := g.Writable(c.in)
			if got := DecodeChunks(p[:c.end]); string(got) != c.data {
				t.Errorf("decoded %q, not %q", got, c.data)
			}
			if string(p[c.end:]) != c.in[c.end:] {
				t.Errorf("what follows the body was changed to %q", p[c.end:])
			}
		})
	}
}

// Byte by byte: a call with fewer than need bytes makes no progress, and one with need bytes does.
func TestScanChunksNeedIsExact(t *testing.T) {
	for _, c := range chunkCases {
		var at Chunks
		need, decided, got := 0, false, ""
		for k := 0; k <= len(c.in) && !decided; k++ {
			before := at
			var n int
			got, decided, n = scanned(t, &at, []byte(c.in[:k]), &c.lim)
			if k < need && (at != before || decided && c.err == nil || !decided && n != need) {
				t.Fatalf("%s: %d bytes brought something, though %d were needed", c.name, k, need)
			}
			need = n
		}
		if got != c.outcome() {
			t.Errorf("%s, byte by byte:\n got %s\nwant %s", c.name, got, c.outcome())
		}
	}
}

func TestDecodeChunksPanicsOnWhatWasNotScanned(t *testing.T) {
	for _, in := range []string{"", "5\r\nhel", "x", "0"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q was decoded", in)
				}
			}()
			DecodeChunks([]byte(in))
		}()
	}
}

func TestChunksAllocateNothing(t *testing.T) {
	for _, c := range chunkCases {
		p, q := []byte(c.in), make([]byte, len(c.in))
		codectest.NoAllocs(t, c.name, func() {
			var at Chunks
			copy(q, p)
			if end, _, ok, _ := ScanChunks(&at, q, &c.lim); ok {
				DecodeChunks(q[:end])
			}
		})
	}
}

// encodeChunks returns data in chunks of the given size.
func encodeChunks(data []byte, size int) []byte {
	var b bytes.Buffer
	for len(data) > 0 {
		n := min(size, len(data))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, data[:n])
		data = data[n:]
	}
	b.WriteString("0\r\n\r\n")
	return b.Bytes()
}

func FuzzChunks(f *testing.F) {
	corpus.Add(f)
	for _, c := range chunkCases {
		f.Add([]byte(c.in), uint16(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, k uint16) {
		lim := Limits{MaxBodyBytes: 5000}
		var whole Chunks
		want, _, _ := scanned(t, &whole, in, &lim)
		// An input split anywhere has the same result as a whole one.
		if cut := int(k); cut < len(in) {
			var at Chunks
			got, decided, _ := scanned(t, &at, in[:cut], &lim)
			if !decided {
				got, _, _ = scanned(t, &at, in, &lim)
			}
			if got != want {
				t.Fatalf("split at %d: %s, whole: %s", cut, got, want)
			}
		}
		// An accepted body, within the limits, decodes to the same data in other chunks.
		var at Chunks
		if end, _, ok, _ := ScanChunks(&at, in, &lim); ok {
			if end > len(in) || end > maxRawBytes(lim.MaxBodyBytes)+maxChunkLineBytes+maxTrailerBytes+4 {
				t.Fatalf("ends at %d of %d", end, len(in))
			}
			data := DecodeChunks(bytes.Clone(in[:end]))
			if len(data) != int(at.Data) || len(data) > lim.MaxBodyBytes {
				t.Fatalf("%d bytes of data, %d counted", len(data), at.Data)
			}
			again := encodeChunks(data, int(k)+8)
			var c Chunks
			if end, _, ok, err := ScanChunks(&c, again, &lim); !ok || end != len(again) {
				t.Fatalf("%q, encoded again, ends at %d: %v", data, end, err)
			}
			if got := DecodeChunks(again); !bytes.Equal(got, data) {
				t.Fatalf("%q became %q", data, got)
			}
		}
		// Any bytes can be the data.
		if data := in[:min(len(in), lim.MaxBodyBytes)]; len(data) > 0 {
			raw := append(encodeChunks(data, int(k)+8), in...)
			var c Chunks
			end, _, ok, err := ScanChunks(&c, raw, &lim)
			if !ok || end != len(raw)-len(in) {
				t.Fatalf("%q in chunks ends at %d: %v", data, end, err)
			}
			if got := DecodeChunks(raw[:end]); !bytes.Equal(got, data) {
				t.Fatalf("%q became %q", data, got)
			}
		}
	})
}

func BenchmarkScanChunks(b *testing.B) {
	p := encodeChunks(bytes.Repeat([]byte("x"), 4096), 512)
	q := make([]byte, len(p))
	lim := Limits{}.WithDefaults()
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		var c Chunks
		copy(q, p)
		end, _, ok, err := ScanChunks(&c, q, &lim)
		if !ok {
			b.Fatal(err)
		}
		DecodeChunks(q[:end])
	}
}
