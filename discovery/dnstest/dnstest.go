// Package dnstest is a DNS server for tests, on a loopback address.
package dnstest

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Server is a DNS server with the records that a test gives it (see Set).
type Server struct {
	Down bool                                // it answers SERVFAIL
	SRV  map[string][]dnsmessage.SRVResource // by name, as in IPs without the final dot
	IPs  map[string][]netip.Addr

	conn net.PacketConn
	mu   sync.Mutex
}

// New starts a server without records. It stops when the test ends.
func New(t testing.TB) *Server {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{conn: conn, SRV: map[string][]dnsmessage.SRVResource{}, IPs: map[string][]netip.Addr{}}
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	go func() {
		defer close(done)
		p := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(p)
			if err != nil {
				return
			}
			if answer, err := s.answer(p[:n]); err != nil {
				t.Error(err)
			} else if _, err := conn.WriteTo(answer, from); err != nil {
				return
			}
		}
	}()
	return s
}

func (s *Server) answer(question []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return nil, err
	}
	q := m.Questions[0]
	m.Header = dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true, RCode: dnsmessage.RCodeSuccess}
	m.Additionals = nil
	name := strings.TrimSuffix(q.Name.String(), ".")
	add := func(body dnsmessage.ResourceBody) {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}, Body: body})
	}
	switch {
	case s.Down:
		m.RCode = dnsmessage.RCodeServerFailure
	case s.SRV[name] == nil && s.IPs[name] == nil:
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeSRV:
		for _, r := range s.SRV[name] {
			add(&r)
		}
	default:
		for _, ip := range s.IPs[name] {
			switch {
			case ip.Is4() && q.Type == dnsmessage.TypeA:
				add(&dnsmessage.AResource{A: ip.As4()})
			case ip.Is6() && q.Type == dnsmessage.TypeAAAA:
				add(&dnsmessage.AAAAResource{AAAA: ip.As16()})
			}
		}
	}
	return m.Pack()
}

// Set calls change, which may set the fields, under the lock. Even the first values need it, because a question that
// the server receives does not order its reads after a test's writes, for Go's memory model and the race detector.
func (s *Server) Set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// Resolver returns a resolver that queries only this server, and the hosts file of this machine.
func (s *Server) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", s.conn.LocalAddr().String())
	}}
}
