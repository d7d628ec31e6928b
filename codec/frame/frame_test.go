package frame

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"megaphone/codec/internal/codectest"
	"megaphone/internal/corpus"
)

func TestFrameVectors(t *testing.T) {
	g := codectest.NewPage(t)
	for _, v := range linkVectors(t).Frames {
		t.Run(v.Name, func(t *testing.T) {
			want := v.outcome()
			if got := frameOutcome(t, g.Put(string(v.Hex)), v.Max); got != want {
				t.Fatalf("%q:\n got %s\nwant %s", v.Hex, got, want)
			}
			// A truncated frame has the same result if it is whole or known to be wrong, and otherwise needs more
			// bytes.
			needs := fmt.Sprintf("needs %d", v.Bytes)
			for k := range v.Hex {
				got := frameOutcome(t, g.Put(string(v.Hex[:k])), v.Max)
				switch {
				case v.Outcome == "frame" && k >= v.Bytes && got != want:
					t.Errorf("%q, cut off at %d:\n got %s\nwant %s", v.Hex, k, got, want)
				case v.Outcome == "error" && got != want && got != "needs 26",
					v.Outcome != "error" && k < HeaderBytes && got != "needs 26",
					v.Outcome == "incomplete" && k >= HeaderBytes && got != want,
					v.Outcome == "frame" && k >= HeaderBytes && k < v.Bytes && got != needs:
					t.Errorf("%q, cut off at %d: %s", v.Hex, k, got)
				}
			}
			if v.Outcome != "frame" {
				return
			}
			prefix := []byte("what is there stays")
			want = string(prefix) + string(v.Hex[:v.Bytes])
			if got := Append(prefix, v.id(), v.Contents); string(got) != want {
				t.Errorf("written again: %q, not %q", got, want)
			}
			header := AppendHeader(prefix, v.id(), len(v.Contents))
			if got := append(header, v.Contents...); string(got) != want {
				t.Errorf("header and contents: %q, not %q", got, want)
			}
		})
	}
}

// A malformed header is detected at its first wrong byte, however little follows.
func TestFrameRefusedAtItsFirstWrongByte(t *testing.T) {
	good := Append(nil, 0x0123456789ABCDEF, nil)
	for i := range good {
		for c := range 256 {
			p := bytes.Clone(good)
			p[i] = byte(c)
			_, _, _, whole := Parse(p, 0)
			_, _, _, early := Parse(p[:i+1], 0)
			allowed := strings.IndexByte("0123456789", byte(c)) >= 0
			if i > lengthDigits {
				allowed = strings.IndexByte("0123456789abcdef", byte(c)) >= 0
			}
			if i == lengthDigits || i == HeaderBytes-1 {
				allowed = c == '|'
			}
			large := i == 0 && c >= '2' && c <= '9' // 20,000,000 and more
			if allowed && !large != (whole == nil) || !large && early != whole {
				t.Errorf("%q at %d: %v, then %v", p[i], i, early, whole)
			}
		}
	}
}

// A stream of frames, cut into reads anywhere, gives the same frames.
func TestFrameStream(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		var stream, got, want []byte
		for range r.IntN(20) {
			contents := bytes.Repeat([]byte{byte(r.Uint32())}, r.IntN(100))
			id := r.Uint64()
			stream = Append(stream, id, contents)
			want = fmt.Appendf(want, "%x %x\n", id, contents)
		}
		for from, to := 0, 0; to < len(stream); {
			to = min(len(stream), to+1+r.IntN(60))
			for {
				f, n, ok, err := Parse(stream[from:to], 0)
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					break
				}
				got = fmt.Appendf(got, "%x %x\n", f.ID, f.Contents)
				from += n
			}
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("got\n%swant\n%s", got, want)
		}
	}
}

func TestFrameTooLargeToWritePanics(t *testing.T) {
	for _, n := range []int{-1, MaxContentsBytes + 1} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a header for %d bytes was written", n)
				}
			}()
			AppendHeader(nil, 1, n)
		}()
	}
	header := AppendHeader(nil, 1, MaxContentsBytes)
	if _, n, ok, err := Parse(header, 0); ok || err != nil || n != HeaderBytes+MaxContentsBytes {
		t.Errorf("%q: needs %d, %v", header, n, err)
	}
}

func TestFramesAllocateNothing(t *testing.T) {
	buf := make([]byte, 0, 1024)
	for _, v := range linkVectors(t).Frames {
		codectest.NoAllocs(t, v.Name, func() {
			Parse(v.Hex, v.Max)
			Append(buf, 1, v.Contents)
		})
	}
}

func FuzzFrame(f *testing.F) {
	corpus.Add(f)
	for _, v := range linkVectors(f).Frames {
		f.Add([]byte(v.Hex), uint64(1))
	}
	for _, v := range linkVectors(f).Requests {
		f.Add([]byte(v.Contents), uint64(200))
	}
	for _, v := range linkVectors(f).Replies {
		f.Add([]byte(v.Contents), uint64(503))
	}
	f.Fuzz(func(t *testing.T, in []byte, id uint64) {
		const max = 1000
		whole := frameOutcome(t, in, max)
		if fr, n, ok, _ := Parse(in, max); ok {
			if again := Append(nil, fr.ID, fr.Contents); !bytes.Equal(again, in[:n]) {
				t.Fatalf("%q became %q", in[:n], again)
			}
			for _, k := range []int{n - 1, HeaderBytes, HeaderBytes - 1, 0} {
				if _, _, ok, err := Parse(in[:min(k, n-1)], max); ok || err != nil {
					t.Fatalf("%q, cut off at %d: %v %v", in, k, ok, err)
				}
			}
		} else if k := int(id % uint64(len(in)+1)); strings.HasPrefix(frameOutcome(t, in[:k], max), "refused") {
			if got := frameOutcome(t, in[:k], max); got != whole {
				t.Fatalf("%q, cut off at %d: %s, whole: %s", in, k, got, whole)
			}
		}
		framed := Append(nil, id, in)
		fr, n, ok, err := Parse(append(framed, in...), 0)
		if !ok || n != len(framed) || fr.ID != id || !bytes.Equal(fr.Contents, in) {
			t.Fatalf("%x %q is read as %x %q: %v", id, in, fr.ID, fr.Contents, err)
		}
		fuzzMessages(t, in, id)
		fuzzStreams(t, in)
	})
}

// fuzzMessages: accepted contents survive parsing and writing, and so does any body.
func fuzzMessages(t *testing.T, in []byte, id uint64) {
	contents := func(frame []byte) []byte {
		f, _, ok, err := Parse(frame, 0)
		if !ok || f.ID != id {
			t.Fatalf("%q: %v", frame, err)
		}
		return f.Contents
	}
	if r, err := ParseRequest(in); err == nil {
		codectest.Inside(t, in, r.Address, r.Query, r.Body)
		if again := contents(AppendRequest(nil, id, r)); !bytes.Equal(again, in) {
			t.Fatalf("%q became %q", in, again)
		}
	}
	for _, query := range []string{"", "a=b"} {
		given := Request{Address: []byte("::1"), Query: []byte(query), Body: in}
		if r, err := ParseRequest(contents(AppendRequest(nil, id, given))); err != nil ||
			string(r.Address) != "::1" || string(r.Query) != query || !bytes.Equal(r.Body, in) {
			t.Fatalf("%q came through as %q: %v", in, r, err)
		}
	}
	if status, body, err := ParseReply(in); err == nil {
		codectest.Inside(t, in, body)
		again := contents(AppendReply(nil, id, status, body))
		if written := bytes.TrimPrefix(in, []byte("200 ")); !bytes.Equal(again, in) && !bytes.Equal(again, written) {
			t.Fatalf("%q became %q", in, again)
		}
	}
	status := 200 + int(id%400)
	if got, body, err := ParseReply(contents(AppendReply(nil, id, status, in))); err != nil || got != status ||
		!bytes.Equal(body, in) {
		t.Fatalf("%d %q came through as %d %q: %v", status, in, got, body, err)
	}
}

func BenchmarkParseFrame(b *testing.B) {
	for _, size := range []int{60, 300, 4096} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			p := Append(nil, 0x3000012F4, bytes.Repeat([]byte("x"), size))
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, ok, err := Parse(p, 0); !ok {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendFrame(b *testing.B) {
	for _, size := range []int{60, 300, 4096} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			contents := bytes.Repeat([]byte("x"), size)
			dst := make([]byte, 0, HeaderBytes+size)
			b.SetBytes(int64(cap(dst)))
			b.ReportAllocs()
			for b.Loop() {
				dst = Append(dst[:0], 0x3000012F4, contents)
			}
		})
	}
}
