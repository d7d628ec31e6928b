package ws

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"megaphone/codec/internal/codectest"
)

// writeCases are frames as this package writes them: the examples of RFC 6455 section 5.7, and the borders of lengths.
var writeCases = []struct {
	name    string
	opcode  Opcode
	payload string
	server  string // the header
	client  string // the header without key
}{
	{"section 5.7, text", Text, "Hello", "\x81\x05", "\x81\x85"},
	{"section 5.7, ping", Ping, "Hello", "\x89\x05", "\x89\x85"},
	{"section 5.7, pong", Pong, "Hello", "\x8A\x05", "\x8A\x85"},
	{"close", Close, "\x03\xE8", "\x88\x02", "\x88\x82"},
	{"empty", Text, "", "\x81\x00", "\x81\x80"},
	{"125", Text, strings.Repeat("a", 125), "\x81\x7D", "\x81\xFD"},
	{"126", Text, strings.Repeat("a", 126), "\x81\x7E\x00\x7E", "\x81\xFE\x00\x7E"},
	{"256, section 5.7", Text, strings.Repeat("a", 256), "\x81\x7E\x01\x00", "\x81\xFE\x01\x00"},
	{"65535", Text, strings.Repeat("a", 65535), "\x81\x7E\xFF\xFF", "\x81\xFE\xFF\xFF"},
	{"65536, section 5.7", Text, strings.Repeat("a", 65536), "\x81\x7F\x00\x00\x00\x00\x00\x01\x00\x00",
		"\x81\xFF\x00\x00\x00\x00\x00\x01\x00\x00"},
	{"longest ping", Ping, strings.Repeat("\xFF", 125), "\x89\x7D", "\x89\xFD"},
}

// helloKey is the key of the example in section 5.7.
const (
	helloKey    = "\x37\xFA\x21\x3D"
	helloMasked = "\x7F\x9F\x4D\x51\x58"
)

func TestWriteCases(t *testing.T) {
	key := binary.LittleEndian.Uint32([]byte(helloKey))
	for _, c := range writeCases {
		t.Run(c.name, func(t *testing.T) {
			before := []byte("before")
			server := string(append(AppendHeader(before, c.opcode, len(c.payload)), c.payload...))
			if want := "before" + c.server + c.payload; server != want {
				t.Errorf("server: %.20q, want %.20q", server, want)
			}
			client := string(AppendMasked(before, c.opcode, []byte(c.payload), key))
			if want := "before" + c.client + helloKey; !strings.HasPrefix(client, want) ||
				len(client) != len(want)+len(c.payload) {
				t.Errorf("client: %.20q, want %.20q", client, want)
			}
			if c.payload == "Hello" && !strings.HasSuffix(client, helloMasked) {
				t.Errorf("client: %q", client)
			}
			want := describe(Event{Opcode: c.opcode, Payload: []byte(c.payload)})
			if c.opcode == Close {
				want = `close 1000 ""`
			}
			for to, in := range map[string]string{"server": client, "client": server} {
				r := &reader{t: t, max: len(c.payload), stream: map[string]Stream{"client": ClientStream()}[to]}
				if got := r.transcript(strings.TrimPrefix(in, "before"), 0); got != want {
					t.Errorf("to a %s: %s, want %s", to, got, want)
				}
			}
		})
	}
}

func TestFramesThatAreNotSentPanic(t *testing.T) {
	for name, f := range map[string]func(){
		"a ping of 126 bytes":    func() { AppendHeader(nil, Ping, 126) },
		"a masked ping of 126":   func() { AppendMasked(nil, Ping, make([]byte, 126), 1) },
		"a continuation":         func() { AppendHeader(nil, Continuation, 1) },
		"a binary message":       func() { AppendMasked(nil, Binary, nil, 1) },
		"a reserved opcode":      func() { AppendHeader(nil, 0xB, 0) },
		"an opcode of five bits": func() { AppendHeader(nil, 0x18, 0) },
		"a negative length":      func() { AppendHeader(nil, Text, -1) },
		"code 0":                 func() { AppendClose(nil, 0, "") },
		"code 1006":              func() { AppendClose(nil, CodeLost, "") },
		"code 1015":              func() { AppendClosePayload(nil, 1015, "") },
		"code 5000":              func() { AppendClosePayload(nil, 5000, "") },
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

func TestAppendClose(t *testing.T) {
	stars := strings.Repeat("*", 122)
	for _, c := range []struct {
		code   Code
		reason string
		want   string
	}{
		{CodeNone, "", `close 1005 ""`},
		{CodeNone, "a reason needs a code", `close 1005 ""`},
		{CodeNormal, "", `close 1000 ""`},
		{CodeServiceRestart, "origin lost", `close 1012 "origin lost"`},
		{4999, stars + "**", fmt.Sprintf("close 4999 %q", stars+"*")},
		{CodePolicy, stars + "\u00E4", fmt.Sprintf("close 1008 %q", stars)},
		{CodePolicy, stars[:121] + "\u00E4\u00E4", fmt.Sprintf("close 1008 %q", stars[:121]+"\u00E4")},
		{CodePolicy, "a\xFFb", `close 1008 "a"`},
		{CodePolicy, "\uFFFD is a character", `close 1008 "` + "\uFFFD" + ` is a character"`},
		{CodePolicy, "cut\xE2\x82", `close 1008 "cut"`},
	} {
		r := &reader{t: t, stream: ClientStream()}
		frame := AppendClose([]byte("before"), c.code, c.reason)
		if got := r.transcript(strings.TrimPrefix(string(frame), "before"), 0); got != c.want {
			t.Errorf("%d %q: %s, want %s", c.code, c.reason, got, c.want)
		}
		r = &reader{t: t}
		frame = AppendMasked(nil, Close, AppendClosePayload(nil, c.code, c.reason), 0x01020304)
		if got := r.transcript(string(frame), 0); got != c.want {
			t.Errorf("%d %q of a client: %s, want %s", c.code, c.reason, got, c.want)
		}
	}
}

// TestSendable: the codes of section 7.4.1, of the registry, and of applications.
func TestSendable(t *testing.T) {
	want := map[Code]bool{1000: true, 1001: true, 1002: true, 1003: true, 1007: true, 1008: true, 1009: true,
		1010: true, 1011: true, 1012: true, 1013: true, 1014: true}
	for c := range 1 << 16 {
		if code := Code(c); code.Sendable() != (want[code] || c >= 3000 && c < 5000) {
			t.Errorf("%d: %v", c, code.Sendable())
		}
	}
}

func TestWritingAllocatesNothing(t *testing.T) {
	buf, payload := make([]byte, 0, 1024), []byte("<presence/>")
	codectest.NoAllocs(t, "frames", func() {
		AppendHeader(buf, Text, len(payload))
		AppendMasked(buf, Text, payload, 1)
		AppendClose(buf, CodeGoingAway, "drain")
		AppendMasked(buf, Close, AppendClosePayload(buf[500:500], CodeNormal, "bye"), 1)
	})
}

func BenchmarkAppendMasked(b *testing.B) {
	payload, dst := make([]byte, 60), make([]byte, 0, 128)
	b.SetBytes(60)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendMasked(dst[:0], Text, payload, 0x11223344)
	}
}
