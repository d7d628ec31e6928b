package handshake

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"sync"
	"testing"
	"time"

	"megaphone/record"
)

// certify makes a self-signed certificate.
func certify(key crypto.Signer, names ...string) tls.Certificate {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: names, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func newECDSA() crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

var (
	ecdsaPair = sync.OnceValue(func() tls.Certificate { return certify(newECDSA(), "ec.example.org") })
	rsaPair   = sync.OnceValue(func() tls.Certificate {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		return certify(key, "rsa.example.org")
	})
)

var ticketKeys = []TicketKey{{1, 2, 3}}

func newServer(t testing.TB, pairs ...tls.Certificate) *Config {
	t.Helper()
	if len(pairs) == 0 {
		pairs = []tls.Certificate{ecdsaPair()}
	}
	c, err := NewServer(Server{Certificates: pairs, TicketKeys: ticketKeys})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newClient(t testing.TB, o Client) *Config {
	t.Helper()
	c, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// side is one end of a handshake: a worker, and its input that is not used yet.
type side struct {
	*Worker
	pool  *Pool
	input []byte
	over  bool
}

func newSide(c *Config) *side {
	p := NewPool(1)
	return &side{Worker: p.Take(c), pool: p}
}

func (s *side) close() {
	s.pool.Release(s.Worker)
	s.pool.Stop()
}

// take lets the side work on more input.
func (s *side) take(p []byte) (output []byte) {
	s.input = append(s.input, p...)
	if s.over {
		return nil
	}
	used, done := s.Step(s.input)
	s.input, s.over = s.input[used:], done
	return bytes.Clone(s.Output())
}

// shake makes a handshake whose bytes come in pieces of that many bytes, 0: all that there are.
func shake(client, server *side, piece int) {
	client.Begin()
	toServer, toClient := bytes.Clone(client.Output()), []byte(nil)
	for len(toServer)+len(toClient) > 0 {
		for _, way := range []struct {
			from *[]byte
			to   *side
			back *[]byte
		}{{&toServer, server, &toClient}, {&toClient, client, &toServer}} {
			n := len(*way.from)
			if n == 0 {
				continue
			}
			if piece > 0 {
				n = min(n, piece)
			}
			p := (*way.from)[:n]
			*way.from = (*way.from)[n:]
			*way.back = append(*way.back, way.to.take(p)...)
		}
	}
}

// ends are the record layers after a handshake.
type ends struct {
	client, server         record.State
	clientLive, serverLive record.Live
	clientIn, serverIn     []byte
}

// start starts records on both sides.
func start(t testing.TB, client, server *side) *ends {
	t.Helper()
	e := &ends{clientIn: client.input, serverIn: server.input}
	for _, s := range []struct {
		*side
		*record.State
	}{{client, &e.client}, {server, &e.server}} {
		if !s.over || s.Err() != nil {
			t.Fatalf("client %v: done %v, %v", s.config.client, s.over, s.Err())
		}
		r, err := s.Result()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.State.Start(&r.Secrets); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// talk sends text in both directions.
func (e *ends) talk(t testing.TB, text string) {
	t.Helper()
	sealed, _ := e.client.Seal(&e.clientLive, nil, []byte(text), nil)
	got := append(e.serverIn, sealed...)
	o := e.server.Open(&e.serverLive, got, nil)
	if o.End != nil || o.Used != len(got) || string(got[:o.Plain]) != text {
		t.Fatalf("the server reads %q, %v", got[:o.Plain], o.End)
	}
	sealed, _ = e.server.Seal(&e.serverLive, nil, []byte(text), nil)
	got = append(e.clientIn, sealed...)
	if o = e.client.Open(&e.clientLive, got, nil); o.End != nil || o.Used != len(got) || string(got[:o.Plain]) != text {
		t.Fatalf("the client reads %q, %v", got[:o.Plain], o.End)
	}
	e.clientIn, e.serverIn = nil, nil
}

// newSession makes a full handshake of crypto/tls on both sides, whose session can be resumed.
func newSession(t testing.TB, server *Config, version uint16) *Session {
	t.Helper()
	s := new(Session)
	config := &tls.Config{InsecureSkipVerify: true, MaxVersion: version}
	s.Configure(config)
	p := NewPool(1)
	w := p.Take(server)
	defer p.Stop()
	defer p.Release(w)
	var state record.State
	var live record.Live
	peer := &stepped{step: func(in []byte) (used int, out []byte) {
		if w.done {
			return len(in), nil
		}
		used, done := w.Step(in)
		out = bytes.Clone(w.Output())
		if done && w.Err() == nil {
			r, err := w.Result()
			if err != nil || state.Start(&r.Secrets) != nil {
				t.Error(err)
			}
			sealed, _ := state.Seal(&live, nil, []byte("x"), nil)
			out = append(out, sealed...)
		}
		return used, out
	}}
	c := tls.Client(peer, config)
	var b [1]byte
	if _, err := c.Read(b[:]); err != nil || !s.Filled() {
		t.Fatalf("no session: %v", err)
	}
	return s
}
