package secure

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"math/big"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"megaphone/handshake"
	"megaphone/loop"
)

var pair = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"example.org"},
		NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// patience bounds what a test waits for.
const patience = 20 * time.Second

// echo is a server on one reactor that returns what it gets.
type echo struct {
	*loop.Group
	r       *loop.Reactor
	t       *Transport
	config  *handshake.Config
	failed  chan Failure
	results chan handshake.Result
	closed  chan loop.Cause
	data    func(c uint32, p []byte) (int, int)
	lost    func(c uint32)
}

func newEcho(t *testing.T, options Options) *echo {
	t.Helper()
	config, err := handshake.NewServer(handshake.Server{Certificates: []tls.Certificate{pair()},
		TicketKeys: []handshake.TicketKey{{1}}})
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{config: config, failed: make(chan Failure, 4096), results: make(chan handshake.Result, 4096),
		closed: make(chan loop.Cause, 4096)}
	if options.Handshakes == 0 {
		options.Handshakes = 100
	}
	e.Group, err = loop.Start(loop.Config{Reactors: 1, MaxConnections: 2000, Log: slog.New(slog.DiscardHandler),
		ManualTicks: true,
		Listen:      []loop.Listener{{Address: "127.0.0.1:0"}}},
		func(r *loop.Reactor) (loop.Handler, loop.LinkHandler, error) {
			e.r = r
			options.Connections = r.Capacity()
			var err error
			if e.t, err = New(r, e, options); err != nil {
				return nil, nil, err
			}
			r.SetTransport(e.t, func(uint32) {})
			return e, nil, nil
		})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Group.Stop)
	return e
}

func (e *echo) Handshake(uint32) *handshake.Config { return e.config }

func (e *echo) Secured(_ uint32, r *handshake.Result) uint32 {
	result := *r
	e.results <- result
	return 7
}

func (e *echo) Unsecured(c uint32, why Failure, _ error) {
	if e.lost != nil {
		e.lost(c)
	}
	e.failed <- why
}

func (e *echo) Open(c uint32) {
	e.r.Arm(c, loop.Ticks(patience))
	e.r.Secure(c)
}

func (e *echo) Data(c uint32, p []byte) (int, int) {
	if e.data != nil {
		return e.data(c, p)
	}
	e.r.Write(c, p, nil)
	return len(p), 0
}

func (e *echo) Progress(uint32)                 {}
func (e *echo) Flushed(uint32)                  {}
func (e *echo) Expired(c uint32)                { e.r.Close(c) }
func (e *echo) Client(c uint32) [16]byte        { return e.r.Conn(c).Peer }
func (e *echo) Shed(uint32)                     {}
func (e *echo) Closed(_ uint32, why loop.Cause) { e.closed <- why }
func (e *echo) Tick()                           { e.t.Tick() }
func (e *echo) Stop()                           { e.t.Stop() }

func (e *echo) dial(t testing.TB) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", e.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

func (e *echo) tls(t testing.TB, version uint16, over net.Conn) *tls.Conn {
	t.Helper()
	return tls.Client(over, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
}

// talk sends text, and reads it again.
func talk(t testing.TB, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Error(err)
		return
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Errorf("%.40q, want %.40q: %v", got, text, err)
	}
}

func receive[T any](t testing.TB, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		t.Fatal("nothing has come")
	}
	return v
}

// inPieces writes in pieces of a few bytes.
type inPieces struct {
	net.Conn
	size int
}

func (c *inPieces) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = c.Conn.Write(p[n : n+min(c.size, len(p)-n)])
		n += m
		runtime.Gosched()
	}
	return n, err
}
