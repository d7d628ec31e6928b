//go:build sim

package sim

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"megaphone/loop/sys"
)

// wire is a connection with a WebSocket, at the client's end (RFC 6455).
type wire struct {
	c       *streamer
	end     *sys.Endpoint
	out, in []byte
	open    bool
	closing bool // a close frame was sent
	pending bool
	dead    bool
	sent    int
	got     int
}

func newWire(c *streamer) *wire {
	w := c.w
	t := &wire{c: c}
	t.out = fmt.Appendf(nil, "GET /xmpp-websocket?client=%d HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\n"+
		"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Protocol: xmpp\r\n\r\n", c.id)
	t.end = w.k.Dial(address(4, c.id+1), w.sites[w.k.Rand.IntN(len(w.sites))].at, func() { t.wake() })
	patience := w.config.CreateTimeout + w.config.CreateWait + 60*time.Second
	w.k.After(patience, func() {
		if !t.open && !t.dead {
			if w.quiet && w.k.Now() > w.calmed+patience && t.end.Connected() {
				w.fail("streamer %d has no answer to its handshake", c.id)
			}
			c.ended(t)
		}
	})
	return t
}

func (t *wire) wake() {
	if t.pending || t.dead {
		return
	}
	t.pending = true
	k := t.c.w.k
	k.After(k.Upto(2*time.Millisecond), t.turn)
}

func (t *wire) turn() {
	t.pending = false
	if t.dead {
		return
	}
	for len(t.out) > 0 {
		n, err := t.end.Write(t.out)
		if err != nil {
			break
		}
		t.out = append(t.out[:0], t.out[n:]...)
	}
	var buf [4 << 10]byte
	n, err := t.end.Read(buf[:])
	switch {
	case t.end.Failed() && n == 0:
		t.c.ended(t)
		return
	case err == unix.EAGAIN || err == unix.ENOTCONN:
		return
	case err != nil || n == 0:
		t.c.ended(t)
		return
	}
	t.in = append(t.in, buf[:n]...)
	t.wake()
	if !t.open {
		t.answer()
	}
	for t.open && !t.dead && t.frame() {
	}
}

// answer takes the answer to the handshake.
func (t *wire) answer() {
	head, rest, ok := strings.Cut(string(t.in), "\r\n\r\n")
	switch {
	case !ok:
	case strings.HasPrefix(head, "HTTP/1.1 101 "):
		if !strings.Contains(head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") { // RFC 6455 section 1.3
			t.c.w.fail("streamer %d got another key: %q", t.c.id, head)
		}
		t.in, t.open = []byte(rest), true
		t.chatter()
	case strings.HasPrefix(head, "HTTP/1.1 503 "), strings.HasPrefix(head, "HTTP/1.1 504 "):
		if w := t.c.w; w.gentle() && !w.mayFail() {
			w.fail("streamer %d got %q, although nothing went wrong", t.c.id, head)
		}
		t.c.ended(t)
	default:
		t.c.w.fail("streamer %d got %q", t.c.id, head)
	}
}

// chatter sends messages now and then, some in pieces, and pings.
func (t *wire) chatter() {
	w := t.c.w
	if t.dead || t.closing || w.quiet {
		return
	}
	w.k.After(w.k.Upto(2*w.think), t.chatter)
	switch {
	case w.k.Chance(w.hangs):
		t.leave()
		return
	case w.k.Chance(0.1):
		t.send(0x89, "ping")
	}
	text := message(w, t.c.id, t.sent)
	t.sent++
	for opcode := byte(1); ; opcode = 0 {
		n := len(text)
		if n > 1 && w.k.Chance(0.3) {
			n = 1 + w.k.Rand.IntN(n-1)
		}
		if n == len(text) {
			t.send(0x80|opcode, text)
			break
		}
		t.send(opcode, text[:n])
		text = text[n:]
	}
	t.wake()
}

// send appends a masked frame.
func (t *wire) send(first byte, text string) {
	t.out = append(t.out, first)
	switch n := len(text); {
	case n < 126:
		t.out = append(t.out, 0x80|byte(n))
	default:
		t.out = binary.BigEndian.AppendUint64(append(t.out, 0x80|127), uint64(n))
		if n < 1<<16 { // the shortest form is required
			t.out = binary.BigEndian.AppendUint16(append(t.out[:len(t.out)-9], 0x80|126), uint16(n))
		}
	}
	var mask [4]byte
	sys.Secret(mask[:])
	t.out = append(t.out, mask[:]...)
	for i := range len(text) {
		t.out = append(t.out, text[i]^mask[i%4])
	}
}

// frame takes a frame, and reports whether there was one.
func (t *wire) frame() bool {
	w, p := t.c.w, t.in
	if len(p) < 2 {
		return false
	}
	n, at := int(p[1]), 2
	switch {
	case n == 126 && len(p) >= 4:
		n, at = int(binary.BigEndian.Uint16(p[2:])), 4
	case n == 127 && len(p) >= 10:
		n, at = int(binary.BigEndian.Uint64(p[2:])), 10
	case n > 127:
		w.fail("streamer %d got a masked frame", t.c.id)
	case n >= 126:
		return false
	}
	if len(p) < at+n {
		return false
	}
	text := string(p[at : at+n])
	first := p[0]
	t.in = append(t.in[:0], p[at+n:]...)
	switch first {
	case 0x81:
		client, m := parseMessage(w, text)
		if client != t.c.id || m != t.got {
			w.fail("streamer %d got message %d of client %d instead of %d", t.c.id, m, client, t.got)
		}
		t.got++
	case 0x89:
		t.send(0x8a, text)
		t.wake()
	case 0x8a:
		if text != "ping" {
			w.fail("streamer %d got the pong %q", t.c.id, text)
		}
	case 0x88:
		code := int(binary.BigEndian.Uint16([]byte(text)))
		switch {
		case t.closing, code == 1000, code == 1001, code == 1012:
		case code == 1011 && slices.Contains(w.troubles, "origin errs"):
		default:
			w.fail("streamer %d was closed with %d %q", t.c.id, code, text[2:])
		}
		t.c.ended(t)
	default:
		w.fail("streamer %d got a frame that begins with %x", t.c.id, first)
	}
	return true
}

// leave closes the stream in order.
func (t *wire) leave() {
	if t.dead || t.closing {
		return
	}
	if !t.open {
		t.c.ended(t)
		return
	}
	t.closing = true
	t.send(0x88, "\x03\xe8")
	t.wake()
	t.c.w.k.After(5*time.Second, func() {
		if !t.dead {
			t.c.ended(t)
		}
	})
}
