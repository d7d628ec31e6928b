package ws

import (
	"fmt"
	"hash/crc32"
	"strings"
	"testing"

	"megaphone/codec/internal/codectest"
)

// frame is a frame as a client sends it, right or wrong: the tests write frames without the code that they test.
type frame struct {
	opcode  byte
	more    bool // not the last fragment
	rsv     byte
	payload string
	plain   bool // not masked
	form    int  // bytes of the extended length: 2 or 8; 0: the shortest form
	bytes   int  // of the wire; 0: all
}

// wire returns the frames as bytes. Each has a key of its own.
func wire(frames ...frame) string {
	var b strings.Builder
	for i, f := range frames {
		var one strings.Builder
		fin, maskBit := byte(0x80), byte(0x80)
		if f.more {
			fin = 0
		}
		if f.plain {
			maskBit = 0
		}
		one.WriteByte(fin | f.rsv<<4 | f.opcode)
		n := len(f.payload)
		form := f.form
		switch {
		case form == 0 && n > 65535:
			form = 8
		case form == 0 && n > 125:
			form = 2
		}
		switch form {
		case 0:
			one.WriteByte(maskBit | byte(n))
		case 2:
			one.Write([]byte{maskBit | 126, byte(n >> 8), byte(n)})
		case 8:
			one.Write([]byte{maskBit | 127, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
		}
		key := [4]byte{0x37, 0xFA, 0x21 + byte(i), 0x3D ^ byte(i*7)}
		if f.plain {
			key = [4]byte{}
		} else {
			one.Write(key[:])
		}
		for k := range n {
			one.WriteByte(f.payload[k] ^ key[k%4])
		}
		s := one.String()
		if f.bytes > 0 {
			s = s[:f.bytes]
		}
		b.WriteString(s)
	}
	return b.String()
}

// reader is the owner of a stream: it keeps the input that is not consumed, as a reactor does.
type reader struct {
	t      testing.TB
	stream Stream
	max    int
	page   *codectest.Page // nil: the input is in a slice that grows
	kept   []byte
	events []string
	ended  bool // by an error or a close frame
}

// feed delivers a piece of the input.
func (r *reader) feed(piece string) {
	r.t.Helper()
	r.kept = append(r.kept, piece...)
	p := r.kept
	if r.page != nil {
		p = r.page.Writable(string(r.kept))
	}
	for {
		e, n, ok, err := r.stream.Next(p, r.max)
		codectest.Inside(r.t, p, e.Payload)
		if n < 0 || n > len(p) || (ok || err != nil || n > 0) && r.ended && n != len(p) {
			r.t.Fatalf("%d of %d bytes are consumed", n, len(p))
		}
		if r.ended && (ok || err != nil) {
			r.t.Fatalf("an event after the end: %v, %v", e, err)
		}
		switch {
		case err != nil:
			r.events = append(r.events, fmt.Sprintf("fails %d", err.Code))
			r.ended = true
		case ok:
			r.events = append(r.events, describe(e))
			r.ended = e.Opcode == Close
		}
		if p = p[n:]; !ok {
			break
		}
	}
	if r.page != nil || len(p) < len(r.kept) {
		r.kept = append(r.kept[:0], p...)
	}
	if most := 3*(r.max+2*maxHeaderBytes+maxControlBytes)/2 + len(piece); len(r.kept) > most {
		r.t.Fatalf("%d bytes are kept for a message of at most %d", len(r.kept), r.max)
	}
}

const maxHeaderBytes = 14

// describe formats an event. Long payloads become their length and their ends.
func describe(e Event) string {
	name := map[Opcode]string{Text: "text", Close: "close", Ping: "ping", Pong: "pong"}[e.Opcode]
	if name == "" {
		return fmt.Sprintf("opcode %d", e.Opcode)
	}
	if e.Opcode == Close {
		name += fmt.Sprintf(" %d", e.Code)
	}
	return name + " " + quote(string(e.Payload))
}

func quote(s string) string {
	if len(s) <= 300 {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q...%d bytes, %x", s[:10], len(s), crc32.ChecksumIEEE([]byte(s)))
}

// transcript returns the events of a stream that arrives in pieces of the given size, 0: in one.
func (r *reader) transcript(in string, size int) string {
	r.t.Helper()
	for len(in) > 0 {
		n := len(in)
		if size > 0 {
			n = min(n, size)
		}
		r.feed(in[:n])
		in = in[n:]
	}
	return strings.Join(r.events, "; ")
}
