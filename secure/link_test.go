package secure

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"megaphone/handshake"
	"megaphone/loop"
	"megaphone/record"
)

// farEnd is crypto/tls at the other end of a link's TLS, which runs in memory.
type farEnd struct {
	t    *testing.T
	link loop.LinkTransport
	raw  net.Conn // this end of a pipe
	tls  *tls.Conn
}

// newFarEnd makes it, with a certificate for example.org.
func newFarEnd(t *testing.T, set func(c *tls.Config)) *farEnd {
	t.Helper()
	client, err := handshake.NewClient(handshake.Client{ServerName: "a.example", MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	_ = near.SetDeadline(time.Now().Add(10 * time.Second))
	t.Cleanup(func() { near.Close(); far.Close() })
	cfg := &tls.Config{Certificates: []tls.Certificate{pair()}, SessionTicketsDisabled: true}
	if set != nil {
		set(cfg)
	}
	e := &farEnd{t: t, link: NewLinks().New(client), raw: near, tls: tls.Server(far, cfg)}
	t.Cleanup(e.link.End)
	return e
}

func (e *farEnd) write(p []byte) {
	e.t.Helper()
	if _, err := e.raw.Write(p); err != nil {
		e.t.Fatal(err)
	}
}

// feed reads, in pieces, until the condition holds.
func (e *farEnd) feed(piece int, until func(o loop.Opened, plain []byte) bool) loop.Opened {
	e.t.Helper()
	var have, plain []byte
	buf := make([]byte, piece)
	for {
		n, err := e.raw.Read(buf)
		if err != nil {
			e.t.Fatal(err)
		}
		have = append(have, buf[:n]...)
		o := e.link.Open(have)
		plain = append(plain, have[:o.Plain]...)
		have = have[o.Used:]
		if len(o.Answer) > 0 {
			e.write(bytes.Clone(o.Answer))
		}
		if until(o, plain) {
			return o
		}
	}
}

// TestLinkTLS: data in both directions, also after its keys have changed, with any cut of the input.
func TestLinkTLS(t *testing.T) {
	for _, piece := range []int{1, 100, 1 << 16} {
		e := newFarEnd(t, nil)
		text := strings.Repeat("hello ", 10_000)
		heard := make(chan string, 1)
		go func() {
			got := make([]byte, len(text))
			_, _ = io.ReadFull(e.tls, got)
			heard <- string(got)
			_, _ = e.tls.Write([]byte("answer"))
			_ = e.tls.Close()
		}()
		e.write(e.link.Begin())
		e.feed(piece, func(o loop.Opened, _ []byte) bool { return o.Ready })
		sealed, ok := e.link.(*link).update(nil)
		if !ok {
			t.Fatal("no update")
		}
		sealed, err := e.link.Seal(sealed, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = e.raw.Write(sealed) }() // crypto/tls answers the update before it has read the rest
		var said string
		end := e.feed(piece, func(o loop.Opened, plain []byte) bool { said = string(plain); return o.End != nil })
		if said != "answer" || end.End != io.EOF {
			t.Errorf("pieces of %d: %q, %v", piece, said, end.End)
		}
		if got := <-heard; got != text {
			t.Errorf("pieces of %d: %d bytes arrive", piece, len(got))
		}
	}
}

// TestLinkTLSIsRefused: TLS 1.2, whose keys cannot be updated, and a port without TLS.
func TestLinkTLSIsRefused(t *testing.T) {
	e := newFarEnd(t, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })
	go func() { _ = e.tls.Handshake() }()
	e.write(e.link.Begin())
	o := e.feed(1<<16, func(o loop.Opened, _ []byte) bool { return o.End != nil })
	if o.Ready || !strings.Contains(o.End.Error(), "protocol version") {
		t.Errorf("%v", o.End)
	}
	e = newFarEnd(t, nil)
	e.link.Begin()
	if o := e.link.Open([]byte("\x00\x00\x00\x10hello 1 x")); o.End == nil || o.Ready ||
		!strings.Contains(o.End.Error(), "the origin's port has no TLS") {
		t.Errorf("%+v", o)
	}
}

// BenchmarkLinkSeal: a batch of 64 KiB, as a busy turn has it.
func BenchmarkLinkSeal(b *testing.B) {
	l := new(link)
	secret := make([]byte, 32)
	if err := l.keys.Start(&record.Handshake{Suite: tls.TLS_AES_128_GCM_SHA256, Client: true, ClientSecret: secret,
		ServerSecret: secret}); err != nil {
		b.Fatal(err)
	}
	batch := make([]byte, 64<<10)
	var dst []byte
	b.SetBytes(int64(len(batch)))
	for b.Loop() {
		var err error
		if dst, err = l.Seal(dst[:0], batch); err != nil {
			b.Fatal(err)
		}
	}
}
