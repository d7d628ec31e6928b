package ws

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"megaphone/codec/internal/codectest"
	"megaphone/internal/corpus"
)

const testMax = 200

// streamCases are streams beyond those of Autobahn.
var streamCases = []struct {
	name   string
	in     string
	client bool
	want   string
}{
	{name: "nothing", want: ""},
	{name: "16 bits for 126", in: wire(text1(as(126))), want: "text " + quote(as(126))},
	{name: "16 bits for 125", in: wire(frame{opcode: 1, form: 2, payload: as(125)}), want: "fails 1002"},
	{name: "16 bits for 0", in: wire(frame{opcode: 1, form: 2}), want: "fails 1002"},
	{name: "64 bits for 200", in: wire(frame{opcode: 1, form: 8, payload: as(200)}), want: "fails 1002"},
	{name: "64 bits for 65535", in: "\x81\xFF\x00\x00\x00\x00\x00\x00\xFF\xFF", want: "fails 1002"},
	{name: "64 bits for 65536", in: "\x81\xFF\x00\x00\x00\x00\x00\x01\x00\x00", want: "fails 1009"},
	{name: "2^63-1 bytes", in: "\x81\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF", want: "fails 1009"},
	{name: "2^63 bytes", in: "\x81\xFF\x80\x00\x00\x00\x00\x00\x00\x00", want: "fails 1002"},
	{name: "2^64-1 bytes", in: "\x81\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", want: "fails 1002"},
	{name: "a ping with a length of 16 bits", in: "\x89\xFE", want: "fails 1002"},
	{name: "a close with a length of 64 bits", in: "\x88\xFF", want: "fails 1002"},
	{name: "the largest message", in: wire(text1(as(200))), want: "text " + quote(as(200))},
	{name: "one byte more", in: wire(text1(as(201)))[:4], want: "fails 1009"},
	{name: "the largest message in fragments", in: wire(begin(as(150)), part("", true),
		part(as(50), false)), want: "text " + quote(as(200))},
	{name: "fragments with one byte more", in: wire(begin(as(150)), part(as(51), false)),
		want: "fails 1009"},
	{name: "fragments beyond the bound, not the last", in: wire(begin(as(200)), part("a", true)),
		want: "fails 1009"},
	{name: "a ping behind as much as a message may have", in: wire(begin(as(200)), control(9, "p"),
		part("", false)), want: `ping "p"; text ` + quote(as(200))},
	{name: "many fragments of nothing", in: wire(append(append([]frame{begin("a")}, many(300, part("", true))...),
		part("b", false))...), want: `text "ab"`},
	{name: "many pings behind a fragment", in: wire(append(append([]frame{begin("a")}, many(100, control(9, "p"))...),
		part("b", false))...), want: strings.Repeat(`ping "p"; `, 100) + `text "ab"`},
	{name: "many pings behind a large fragment", in: wire(append(append([]frame{begin(as(150))},
		many(300, control(10, ""))...), part("b", false))...), want: strings.Repeat(`pong ""; `, 300) +
		"text " + quote(as(150)+"b")},
	{name: "a character over three fragments, pings between", in: wire(begin("\xE2"), control(9, "\xFF"),
		part("\x82", true), control(10, ""), part("\xAC", false)), want: `ping "\xff"; pong ""; text "€"`},
	{name: "a letter within a character", in: wire(text1("\xE2a\x82\xAC")), want: "fails 1007"},
	{name: "a fragment of letters within a character", in: wire(begin("\xE2"), part("a", true),
		part("\x82\xAC", false)), want: "fails 1007"},
	{name: "a message ends within a character", in: wire(text1("a\xE2\x82"), text1("a")), want: "fails 1007"},
	{name: "a message in fragments ends within a character", in: wire(begin("a\xE2"), part("\x82", false)),
		want: "fails 1007"},
	{name: "messages behind one in fragments", in: wire(begin("a"), part("b", false), text1("\u00E4"), text1("c")),
		want: `text "ab"; text "ä"; text "c"`},
	{name: "a close behind a fragment within a character", in: wire(begin("\xE2"), closing("\x03\xE9bye")),
		want: `close 1001 "bye"`},
	{name: "a close and whatever follows", in: wire(closing("")) + "anything", want: `close 1005 ""`},
	{name: "codes of the registry", in: wire(closing("\x03\xF4later")), want: `close 1012 "later"`},
	{name: "TLS alert code", in: wire(closing("\x03\xF7")), want: "fails 1002"},
	{name: "a binary message", in: "\x82", want: "fails 1003"},
	{name: "the first fragment of a binary message", in: "\x02", want: "fails 1003"},
	{name: "binary within a message", in: wire(begin("a")) + "\x82", want: "fails 1002"},
	{name: "not masked", in: wire(frame{opcode: 1, payload: "a", plain: true}), want: "fails 1002"},
	{name: "a key of zeros", in: "\x81\x81\x00\x00\x00\x00a", want: `text "a"`},
	{name: "to a client", client: true, in: wire(frame{opcode: 1, payload: "\u00E4", plain: true},
		frame{opcode: 9, plain: true}, frame{opcode: 8, payload: "\x03\xE8", plain: true}),
		want: `text "ä"; ping ""; close 1000 ""`},
	{name: "to a client, in fragments", client: true, in: wire(frame{opcode: 1, payload: "ab", plain: true, more: true},
		frame{payload: "cd", plain: true}, frame{opcode: 1, payload: "e", plain: true}), want: `text "abcd"; text "e"`},
	{name: "masked, to a client", client: true, in: wire(text1("a")), want: "fails 1002"},
	{name: "TLS", in: "\x16\x03\x01", want: "fails 1002"},
	{name: "HTTP", in: "GET / HTTP/1.1\r\n", want: "fails 1002"},
}

func as(n int) string { return strings.Repeat("a", n) }

func many(n int, f frame) (frames []frame) {
	for range n {
		frames = append(frames, f)
	}
	return frames
}

func newReader(t testing.TB, isClient bool) *reader {
	r := &reader{t: t, max: testMax}
	if isClient {
		r.stream = ClientStream()
	}
	return r
}

func TestStreamCases(t *testing.T) {
	page := codectest.NewPage(t)
	for _, c := range streamCases {
		t.Run(c.name, func(t *testing.T) {
			for cut := range len(c.in) + 1 {
				r := newReader(t, c.client)
				r.page = page
				r.feed(c.in[:cut])
				if got := r.transcript(c.in[cut:], 0); got != c.want {
					t.Fatalf("% x, cut at %d:\n got %s\nwant %s", c.in, cut, got, c.want)
				}
			}
			for _, size := range []int{1, 2, 3, 7} {
				r := newReader(t, c.client)
				r.page = page
				if got := r.transcript(c.in, size); got != c.want {
					t.Fatalf("% x, in chops of %d:\n got %s\nwant %s", c.in, size, got, c.want)
				}
			}
		})
	}
}

// A frame that comes in pieces is no event before its end, and a fault is one at the byte that shows it.
func TestFaultsAreFoundEarly(t *testing.T) {
	for _, c := range streamCases {
		if !strings.HasSuffix(c.want, "fails 1002") && !strings.HasSuffix(c.want, "fails 1009") || c.client {
			continue
		}
		r := newReader(t, false)
		for i := 0; i < len(c.in) && !r.ended; i++ {
			r.feed(c.in[i : i+1])
			if kept := len(r.kept); kept > 10+testMax*3/2+2*125 {
				t.Fatalf("%s: %d bytes are kept", c.name, kept)
			}
		}
	}
	for first := range 256 {
		for second := range 256 {
			one, two := newReader(t, false), newReader(t, false)
			got := one.transcript(string([]byte{byte(first)}), 0)
			both := two.transcript(string([]byte{byte(first), byte(second)}), 0)
			o := first & 0x0F
			bad := first&0x70 != 0 || o != 1 && (o < 8 || o > 10 || first&0x80 == 0)
			badSecond := second&0x80 == 0 || o >= 8 && second&0x7F > 125
			if (got != "") != bad || (both != "") != (bad || badSecond) || bad && got != both {
				t.Fatalf("%02x: %q, %02x: %q", first, got, second, both)
			}
		}
	}
}

func TestEveryErrorHasACase(t *testing.T) {
	met := map[*Error]bool{}
	note := func(in string, s Stream) {
		for p := []byte(in); ; {
			_, n, ok, err := s.Next(p, testMax)
			met[err] = true
			if p = p[n:]; !ok {
				return
			}
		}
	}
	for _, c := range autobahnCases() {
		note(wire(c.frames...), Stream{})
	}
	for _, c := range streamCases {
		s := Stream{}
		if c.client {
			s = ClientStream()
		}
		note(c.in, s)
	}
	for _, e := range Errors {
		if !met[e] {
			t.Errorf("no case for: %s", e.Reason)
		}
		if p := AppendClose(nil, e.Code, e.Reason); !strings.HasSuffix(string(p), e.Reason) || e.Error() != e.Reason {
			t.Errorf("%q does not fit a close frame", e.Reason)
		}
	}
	if len(Errors) < 15 {
		t.Errorf("only %d errors are listed", len(Errors))
	}
}

// TestBoundMayShrink: a reload may lower the bound while a message is under way.
func TestBoundMayShrink(t *testing.T) {
	var s Stream
	p := []byte(wire(begin("0123456789")))
	_, n, ok, err := s.Next(p, 100)
	if ok || err != nil {
		t.Fatal(ok, err)
	}
	p = append(p[n:], wire(part("a", false))...)
	if _, _, _, err = s.Next(p, 5); err != errTooLarge {
		t.Errorf("%v", err)
	}
}

func TestBoundBeyondAStreamPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	new(Stream).Next(nil, maxBound+1)
}

// reference reads a whole stream simply: it copies each frame out, and checks the text of the message so far.
func reference(in []byte) (events []string) {
	var message []byte
	inMessage := false
	for len(in) > 0 {
		first, second, size := in[0], byte(0x80), 2
		final, o := first&0x80 != 0, first&0x0F
		switch {
		case first&0x70 != 0, o > 2 && o < 8, o > 10, o >= 8 && !final, o == 0 && !inMessage,
			o > 0 && o < 8 && inMessage:
			return append(events, "fails 1002")
		case o == 2:
			return append(events, "fails 1003")
		case len(in) > 1:
			second = in[1]
		}
		length := uint64(second & 0x7F)
		if second&0x80 == 0 || o >= 8 && length > 125 {
			return append(events, "fails 1002")
		}
		if length == 126 {
			if size = 4; len(in) < size {
				return events
			}
			if length = uint64(binary.BigEndian.Uint16(in[2:])); length < 126 {
				return append(events, "fails 1002")
			}
		} else if length == 127 {
			if size = 10; len(in) < size {
				return events
			}
			if length = binary.BigEndian.Uint64(in[2:]); length < 65536 || length>>63 != 0 {
				return append(events, "fails 1002")
			}
		}
		if o < 8 && uint64(len(message))+length > testMax {
			return append(events, "fails 1009")
		}
		if len(in) < size+4 {
			return events
		}
		key := in[size : size+4]
		payload := []byte{}
		for i, c := range in[size+4:] {
			if uint64(i) == length {
				break
			}
			payload = append(payload, c^key[i%4])
		}
		whole := uint64(len(payload)) == length
		in = in[size+4+len(payload):]
		if o < 8 {
			message, inMessage = append(message, payload...), true
			if !validStart(message) || whole && final && !utf8.Valid(message) {
				return append(events, "fails 1007")
			}
		}
		switch {
		case !whole:
			return events
		case o < 8 && final:
			events = append(events, "text "+quote(string(message)))
			message, inMessage = nil, false
		case o == 8:
			return append(events, referenceClose(payload))
		case o > 8:
			events = append(events, map[byte]string{9: "ping ", 10: "pong "}[o]+quote(string(payload)))
		}
	}
	return events
}

func referenceClose(payload []byte) string {
	if len(payload) == 0 {
		return `close 1005 ""`
	}
	if len(payload) == 1 {
		return "fails 1002"
	}
	code := int(payload[0])<<8 | int(payload[1])
	if code < 1000 || code > 4999 || code > 1014 && code < 3000 || code > 1003 && code < 1007 {
		return "fails 1002"
	}
	if !utf8.Valid(payload[2:]) {
		return "fails 1007"
	}
	return fmt.Sprintf("close %d %q", code, payload[2:])
}

// validStart reports whether p can be the start of UTF-8.
func validStart(p []byte) bool {
	for len(p) > 0 {
		r, size := utf8.DecodeRune(p)
		if r == utf8.RuneError && size == 1 {
			return !utf8.FullRune(p)
		}
		p = p[size:]
	}
	return true
}

// FuzzStream: any bytes, in any pieces, have the events of the reference.
func FuzzStream(f *testing.F) {
	corpus.Add(f)
	for _, c := range autobahnCases() {
		if in := wire(c.frames...); len(in) < 1000 {
			f.Add([]byte(in), uint16(5))
		}
	}
	for _, c := range streamCases {
		f.Add([]byte(c.in), uint16(1))
	}
	f.Fuzz(func(t *testing.T, in []byte, k uint16) {
		want := strings.Join(reference(in), "; ")
		for _, size := range []int{0, 1, 2 + int(k)%30} {
			r := newReader(t, false)
			if got := r.transcript(string(in), size); got != want {
				t.Fatalf("% x, in pieces of %d:\n got %s\nwant %s", in, size, got, want)
			}
		}
	})
}

// FuzzFragments: a text in any fragments, with pings between them and in any pieces, is the same as in one frame.
func FuzzFragments(f *testing.F) {
	corpus.Add(f)
	for _, s := range []string{"", "a", mixed, greek, surrogate, beyond, strings.Repeat("<message/>", 20)} {
		f.Add([]byte(s), []byte{0, 1, 2, 3}, uint16(7))
	}
	f.Fuzz(func(t *testing.T, payload, cuts []byte, k uint16) {
		payload = payload[:min(len(payload), testMax)]
		want := newReader(t, false).transcript(wire(text1(string(payload))), 0)
		var fragments []frame
		rest, pings := string(payload), 0
		for _, c := range cuts[:min(len(cuts), 100)] {
			n := min(int(c&0x0F), len(rest))
			fragments = append(fragments, part(rest[:n], true))
			rest = rest[n:]
			if c&0x10 != 0 {
				fragments = append(fragments, control(9, "p"))
				pings++
			}
		}
		fragments = append(fragments, part(rest, false))
		fragments[0].opcode = 1
		r := newReader(t, false)
		got := r.transcript(wire(fragments...), int(k)%40)
		if heard := strings.Count(got, `ping "p"; `); heard != pings && want != "fails 1007" {
			t.Fatalf("%d pings of %d", heard, pings)
		}
		if got = strings.ReplaceAll(got, `ping "p"; `, ""); got != want {
			t.Fatalf("%q in %v:\n got %s\nwant %s", payload, fragments, got, want)
		}
	})
}

// TestRandomStreams: long streams of messages, in reads of any length, give the same messages.
func TestRandomStreams(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		var frames []frame
		var want []string
		for range 1 + rnd.IntN(10) {
			message := ""
			for len(message) < rnd.IntN(testMax-4) {
				message += string([]rune{rune(rnd.IntN(0xD800) >> rnd.IntN(16))})
			}
			want = append(want, "text "+quote(message))
			for first := true; ; first = false {
				n := rnd.IntN(len(message) + 1)
				f := part(message[:n], n < len(message))
				if first {
					f.opcode = 1
				}
				frames = append(frames, f)
				if message = message[n:]; message == "" && !f.more {
					break
				}
			}
		}
		in := wire(frames...)
		r := newReader(t, false)
		for len(in) > 0 {
			n := min(len(in), 1+rnd.IntN(300))
			r.feed(in[:n])
			in = in[n:]
		}
		if got := strings.Join(r.events, "; "); got != strings.Join(want, "; ") {
			t.Fatalf("got\n%s\nwant\n%q", got, want)
		}
	}
}

// TestTinyFragmentsCostLittle: for each byte of a message in fragments of one byte, a few bytes are moved.
func TestTinyFragmentsCostLittle(t *testing.T) {
	const size = 64 << 10
	in := []byte(wire(octets(strings.Repeat("a", size))...))
	var s Stream
	kept, moved := make([]byte, 0, len(in)), 0
	for len(in) > 0 {
		piece := min(len(in), 7)
		kept = append(kept, in[:piece]...)
		in = in[piece:]
		e, n, ok, err := s.Next(kept, size)
		if err != nil || ok && (len(in) > 0 || len(e.Payload) != size) {
			t.Fatal(e, ok, err)
		}
		if n > 0 { // the fragments have moved up, and the reactor moves all down
			moved += int(s.joined) + len(kept) - n
			kept = kept[:copy(kept, kept[n:])]
		}
	}
	if moved > 4*7*size {
		t.Errorf("%d bytes were moved, %d have arrived", moved, 7*size)
	}
}

func TestStreamAllocatesNothing(t *testing.T) {
	for _, c := range streamCases {
		p := make([]byte, len(c.in))
		codectest.NoAllocs(t, c.name, func() {
			s := Stream{}
			for q := p[:copy(p, c.in)]; ; {
				_, n, ok, _ := s.Next(q, testMax)
				if q = q[n:]; !ok {
					return
				}
			}
		})
	}
}

func BenchmarkNext(b *testing.B) {
	ascii := "<message to='romeo@example.net' id='abcd'><body>Wherefore art thou?</body></message>"
	for _, c := range []struct{ name, payload string }{
		{"60 bytes", ascii[:60]},
		{"300 bytes", strings.Repeat(ascii, 4)[:300]},
		{"64 KiB", strings.Repeat(ascii, 900)[:64<<10]},
		{"64 KiB of Greek", strings.Repeat(greek, 64<<10/len(greek))},
		{"64 KiB, one letter in 84 is not ASCII", strings.Repeat(strings.Replace(ascii, "?", "\u00E9", 1), 770)},
	} {
		b.Run(c.name, func(b *testing.B) {
			in := []byte(wire(text1(c.payload)))
			p := make([]byte, len(in))
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				var s Stream
				copy(p, in) // Next unmasks it
				if _, _, ok, err := s.Next(p, 1<<20); !ok {
					b.Fatal(err)
				}
			}
		})
	}
}
