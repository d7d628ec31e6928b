package handshake

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
)

var versions = []uint16{tls.VersionTLS12, tls.VersionTLS13}

// TestHandshakes: versions, cipher suites, curves, certificates, full and resumed, cut in pieces. Data passes in both
// directions after each.
func TestHandshakes(t *testing.T) {
	server := newServer(t, ecdsaPair(), rsaPair())
	for _, version := range versions {
		for _, name := range []string{"ec.example.org", "rsa.example.org"} {
			suites := []uint16{0}
			if version == tls.VersionTLS12 {
				suites = suites12
			}
			for _, suite := range suites {
				for _, curve := range []tls.CurveID{0, tls.CurveP256, tls.CurveP384, tls.X25519, tls.X25519MLKEM768} {
					if version == tls.VersionTLS12 && (strings.Contains(tls.CipherSuiteName(suite), "ECDSA") !=
						(name == "ec.example.org") || curve == tls.X25519MLKEM768) {
						continue
					}
					client := newClient(t, Client{ServerName: name, MaxVersion: version})
					if suite != 0 {
						client.base.CipherSuites = []uint16{suite}
					}
					if curve != 0 { // with X25519, crypto/tls may still need another one for the certificate
						client.base.CurvePreferences = []tls.CurveID{curve, tls.CurveP256}
					}
					label := fmt.Sprintf("%x %s %s %v", version, name, tls.CipherSuiteName(suite), curve)
					t.Run(label, func(t *testing.T) { handshakeInPieces(t, client, server, version, suite) })
				}
			}
		}
	}
}

// TestCostlyCurves: a client cannot choose a key exchange that takes a server a multiple of the usual time.
func TestCostlyCurves(t *testing.T) {
	server := newServer(t)
	for curve, want := range map[tls.CurveID]bool{tls.SecP256r1MLKEM768: true, tls.CurveP384: true,
		tls.CurveP521: false, tls.SecP384r1MLKEM1024: false} {
		client := newClient(t, Client{})
		client.base.CurvePreferences = []tls.CurveID{curve}
		c, s := newSide(client), newSide(server)
		shake(c, s, 0)
		if got := s.over && s.Err() == nil; got != want {
			t.Errorf("%v: %v, %v", curve, got, s.Err())
		}
		c.close()
		s.close()
	}
}

func handshakeInPieces(t *testing.T, client, server *Config, version, suite uint16) {
	for _, piece := range []int{0, 1, 7, 100} {
		c, s := newSide(client), newSide(server)
		shake(c, s, piece)
		start(t, c, s).talk(t, "hello")
		r, _ := s.Result()
		if r.Version != version || suite != 0 && r.Suite != suite || r.Resumed || r.Protocol != "http/1.1" ||
			r.ServerName != client.base.ServerName {
			t.Errorf("pieces of %d: %+v", piece, r)
		}
		if got := s.conn.ConnectionState().CipherSuite; got != r.Suite {
			t.Errorf("suite %x, want %x", r.Suite, got)
		}
		c.close()
		s.close()
	}
}

// TestChainOfResumptions: each handshake of a chain resumes the session of the one before it.
func TestChainOfResumptions(t *testing.T) {
	for _, version := range versions {
		t.Run(fmt.Sprintf("%x", version), func(t *testing.T) {
			server := newServer(t)
			session := newSession(t, server, version)
			for i := range 5 {
				client := newClient(t, Client{MaxVersion: version, Session: session})
				c, s := newSide(client), newSide(server)
				shake(c, s, 0)
				e := start(t, c, s)
				if r, _ := s.Result(); !r.Resumed {
					t.Fatalf("handshake %d is not resumed", i)
				}
				e.talk(t, "again")
				c.close()
				s.close()
			}
			// The session is replaced by the one of the last handshake, each time.
			cache := &sessionCache{state: session.cache.state}
			for i := range 5 {
				cache.state = chainLink(t, server, version, cache.state, i)
			}
		})
	}
}

// chainLink resumes a session by crypto/tls, and returns the next one.
func chainLink(t *testing.T, server *Config, version uint16, state *tls.ClientSessionState,
	i int) *tls.ClientSessionState {
	t.Helper()
	next := new(replacingCache)
	next.state = state
	s := newSide(server)
	defer s.close()
	var e ends
	ended := false
	c := tls.Client(&stepped{step: func(in []byte) (int, []byte) {
		if s.over {
			if ended {
				return len(in), nil
			}
			ended = true
			if s.Err() != nil {
				t.Fatal(s.Err())
			}
			r, err := s.Result()
			if err != nil || e.server.Start(&r.Secrets) != nil || !r.Resumed {
				t.Fatalf("handshake %d: %v, resumed %v", i, err, r.Resumed)
			}
			in = bytes.Clone(in)
			o := e.server.Open(&e.serverLive, in, nil)
			sealed, _ := e.server.Seal(&e.serverLive, nil, in[:o.Plain], nil)
			return len(in), sealed
		}
		used, done := s.Step(in)
		s.over = done
		return used, bytes.Clone(s.Output())
	}}, &tls.Config{InsecureSkipVerify: true, MaxVersion: version, ClientSessionCache: next})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	_, _ = c.Write([]byte("ask"))
	b := make([]byte, 3)
	if _, err := c.Read(b); err != nil || string(b) != "ask" {
		t.Fatalf("handshake %d: %q, %v", i, b, err)
	}
	if next.state == state || next.state == nil {
		t.Fatalf("handshake %d has brought no new ticket", i)
	}
	return next.state
}

type replacingCache struct{ state *tls.ClientSessionState }

func (c *replacingCache) Get(string) (*tls.ClientSessionState, bool)  { return c.state, c.state != nil }
func (c *replacingCache) Put(_ string, state *tls.ClientSessionState) { c.state = state }

// TestSecretsAreThoseOfCryptoTLS compares the result of a worker with the fields of its tls.Conn. It fails if a later
// version of Go counts or derives in another way.
func TestSecretsAreThoseOfCryptoTLS(t *testing.T) {
	server := newServer(t)
	for _, version := range versions {
		session := newSession(t, server, version)
		for _, resumed := range []*Session{nil, session} {
			for _, tickets := range []bool{true, false} {
				config := newClient(t, Client{MaxVersion: version, Session: resumed})
				config.base.SessionTicketsDisabled = !tickets && resumed == nil
				c, s := newSide(config), newSide(server)
				shake(c, s, 0)
				for _, x := range []*side{c, s} {
					label := fmt.Sprintf("%x, client %v, resumed %v, tickets %v", version, x == c, resumed != nil,
						tickets)
					r, err := x.Result()
					if err != nil {
						t.Fatal(label, err)
					}
					in, out := halves(x.conn)
					if in.seq != r.Secrets.Opened || out.seq != r.Secrets.Sealed {
						t.Errorf("%s: opened %d and sealed %d, in tls.Conn %d and %d", label, r.Secrets.Opened,
							r.Secrets.Sealed, in.seq, out.seq)
					}
					mine, theirs := r.Secrets.ServerSecret, r.Secrets.ClientSecret
					if x == c {
						mine, theirs = theirs, mine
					}
					if !bytes.Equal(in.secret, theirs) || !bytes.Equal(out.secret, mine) {
						t.Errorf("%s: other traffic secrets", label)
					}
				}
				start(t, c, s).talk(t, "hello")
				c.close()
				s.close()
			}
		}
	}
}

type half struct {
	seq    uint64
	secret []byte
}

// halves reads the unexported state of a tls.Conn.
func halves(c *tls.Conn) (in, out half) {
	read := func(name string) (h half) {
		v := reflect.ValueOf(c).Elem().FieldByName(name)
		seq, secret := v.FieldByName("seq"), v.FieldByName("trafficSecret")
		for i := range seq.Len() {
			h.seq = h.seq<<8 | seq.Index(i).Uint()
		}
		for i := range secret.Len() {
			h.secret = append(h.secret, byte(secret.Index(i).Uint()))
		}
		return h
	}
	return read("in"), read("out")
}

// TestInputBehindTheHandshake: a client sends data in one piece with its Finished. None of it is used.
func TestInputBehindTheHandshake(t *testing.T) {
	server := newServer(t)
	c, s := newSide(newClient(t, Client{})), newSide(server)
	c.Begin()
	last := c.take(s.take(bytes.Clone(c.Output())))
	r, err := c.Result()
	if err != nil {
		t.Fatal(err)
	}
	var e ends
	if err := e.client.Start(&r.Secrets); err != nil {
		t.Fatal(err)
	}
	data, _ := e.client.Seal(&e.clientLive, nil, []byte("GET /"), nil)
	s.take(append(last, data...))
	if !bytes.Equal(s.input, data) {
		t.Fatalf("%d bytes are left, want %d", len(s.input), len(data))
	}
	if r, err = s.Result(); err != nil {
		t.Fatal(err)
	}
	if err := e.server.Start(&r.Secrets); err != nil {
		t.Fatal(err)
	}
	if o := e.server.Open(&e.serverLive, s.input, nil); string(s.input[:o.Plain]) != "GET /" {
		t.Errorf("%q, %v", s.input[:o.Plain], o.End)
	}
}

// TestHandshakeDataBehindFinished: in TLS 1.2 nothing may follow Finished in its record, whether that is one record or
// there are two.
func TestHandshakeDataBehindFinished(t *testing.T) {
	server := newServer(t, ecdsaPair(), rsaPair())
	for _, suite := range suites12 {
		name := "rsa.example.org"
		if strings.Contains(tls.CipherSuiteName(suite), "ECDSA") {
			name = "ec.example.org"
		}
		client := newClient(t, Client{ServerName: name, MaxVersion: tls.VersionTLS12})
		client.base.CipherSuites = []uint16{suite}
		c, s := newSide(client), newSide(server)
		shake(c, s, 0)
		in := &s.secrets.in
		overhead := in.finished - finishedBytes
		for _, test := range []struct {
			bytes, parts int
			want         error
		}{{finishedBytes, 1, nil}, {finishedBytes, 2, nil}, {finishedBytes + 1, 1, ErrBehindFinished},
			{finishedBytes + 4, 2, ErrBehindFinished}} {
			*in = flow{hello: in.hello, have: in.have, behind: true}
			for i := range test.parts {
				part := make([]byte, headerBytes+overhead+test.bytes/test.parts+i*(test.bytes%test.parts))
				part[0] = typeHandshake
				in.see(part)
			}
			if _, err := s.Result(); err != test.want {
				t.Errorf("%s, %d bytes in %d records: %v", tls.CipherSuiteName(suite), test.bytes, test.parts, err)
			}
		}
		c.close()
		s.close()
	}
}

// fragment cuts the messages of plaintext handshake records into records of n bytes.
func fragment(p []byte, n int) (out []byte) {
	for len(p) > 0 {
		size := int(p[lengthAt])<<8 | int(p[lengthAt+1])
		body := p[headerBytes : headerBytes+size]
		if p[0] != typeHandshake {
			out = append(out, p[:headerBytes+size]...)
			body = nil
		}
		for len(body) > 0 {
			k := min(n, len(body))
			out = append(append(out, p[0], p[1], p[2], byte(k>>8), byte(k)), body[:k]...)
			body = body[k:]
		}
		p = p[headerBytes+size:]
	}
	return out
}

// TestHelloInFragments: the randoms are found although the hello comes in records of a few bytes.
func TestHelloInFragments(t *testing.T) {
	server := newServer(t)
	session := newSession(t, server, tls.VersionTLS12)
	for _, n := range []int{1, 3, 5, 40} {
		c, s := newSide(newClient(t, Client{MaxVersion: tls.VersionTLS12, Session: session})), newSide(server)
		c.Begin()
		last := c.take(s.take(fragment(bytes.Clone(c.Output()), n)))
		c.take(s.take(last))
		start(t, c, s).talk(t, "hello")
		if r, _ := s.Result(); !r.Resumed {
			t.Errorf("fragments of %d: not resumed", n)
		}
		c.close()
		s.close()
	}
}

// TestServerNames: a name gets its certificate, other names the first one.
func TestServerNames(t *testing.T) {
	wild := certify(newECDSA(), "*.example.net", "example.net")
	server := newServer(t, ecdsaPair(), rsaPair(), wild)
	for name, want := range map[string]string{
		"ec.example.org": "ec.example.org", "RSA.example.org": "rsa.example.org", "": "ec.example.org",
		"chat.example.net": "*.example.net", "example.net": "*.example.net", "a.b.example.net": "ec.example.org",
		"unknown.test": "ec.example.org", "rsa.example.org.": "rsa.example.org",
	} {
		config := newClient(t, Client{ServerName: name})
		c, s := newSide(config), newSide(server)
		shake(c, s, 0)
		if !c.over || c.Err() != nil {
			t.Fatalf("%q: %v", name, c.Err())
		}
		if got := c.conn.ConnectionState().PeerCertificates[0].DNSNames[0]; got != want {
			t.Errorf("%q gets the certificate of %s, want %s", name, got, want)
		}
		c.close()
		s.close()
	}
}

// TestKindsOfKeys: a client that supports only one kind of key gets a certificate with it, also without a server name
// (Java sends none for a name without a dot) and for an unknown one.
func TestKindsOfKeys(t *testing.T) {
	ec, rsa := uint16(tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256), uint16(tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)
	server := newServer(t, ecdsaPair(), rsaPair())
	for _, test := range []struct {
		name  string
		suite uint16
		want  string // empty: none fits
	}{
		{"", ec, "ec.example.org"}, {"", rsa, "rsa.example.org"},
		{"unknown.test", ec, "ec.example.org"}, {"unknown.test", rsa, "rsa.example.org"},
		{"rsa.example.org", rsa, "rsa.example.org"}, {"rsa.example.org", ec, ""},
	} {
		config := newClient(t, Client{ServerName: test.name, MaxVersion: tls.VersionTLS12})
		config.base.CipherSuites = []uint16{test.suite}
		c, s := newSide(config), newSide(server)
		shake(c, s, 0)
		got := ""
		if peers := c.conn.ConnectionState().PeerCertificates; c.over && c.Err() == nil && len(peers) > 0 {
			got = peers[0].DNSNames[0]
		}
		if got != test.want {
			t.Errorf("%q, %s: the certificate of %q, want %q", test.name, tls.CipherSuiteName(test.suite), got,
				test.want)
		}
		c.close()
		s.close()
	}
}

// TestStaple: the client gets the OCSP response of the certificate.
func TestStaple(t *testing.T) {
	pair := ecdsaPair()
	pair.OCSPStaple = []byte("a response")
	c, s := newSide(newClient(t, Client{})), newSide(newServer(t, pair))
	shake(c, s, 0)
	if got := c.conn.OCSPResponse(); string(got) != "a response" {
		t.Errorf("%q, %v", got, c.Err())
	}
}

// TestTicketsOfAnotherServer: a ticket under other keys, or without the master secret, makes a full handshake.
func TestTicketsOfAnotherServer(t *testing.T) {
	for _, version := range versions {
		session := newSession(t, newServer(t), version)
		other, err := NewServer(Server{Certificates: []tls.Certificate{ecdsaPair()}, TicketKeys: []TicketKey{{9}}})
		if err != nil {
			t.Fatal(err)
		}
		rotated, err := NewServer(Server{Certificates: []tls.Certificate{ecdsaPair()},
			TicketKeys: append([]TicketKey{{9}}, ticketKeys...)})
		if err != nil {
			t.Fatal(err)
		}
		none, err := NewServer(Server{Certificates: []tls.Certificate{ecdsaPair()}})
		if err != nil {
			t.Fatal(err)
		}
		for server, want := range map[*Config]bool{other: false, rotated: true, none: false} {
			c, s := newSide(newClient(t, Client{MaxVersion: version, Session: session})), newSide(server)
			shake(c, s, 0)
			start(t, c, s).talk(t, "hello")
			if r, _ := s.Result(); r.Resumed != want {
				t.Errorf("%x: resumed %v, want %v", version, r.Resumed, want)
			}
			c.close()
			s.close()
		}
	}
}

// TestHostileInput: no input makes a worker panic or loop, each ends in an error with an alert or waits for more, and
// the worker makes a handshake afterwards.
func TestHostileInput(t *testing.T) {
	server := newServer(t)
	hello := newSide(newClient(t, Client{}))
	hello.Begin()
	good := bytes.Clone(hello.Output())
	pool := NewPool(1)
	defer pool.Stop()
	for _, test := range []struct {
		name  string
		input []byte
		ends  bool
	}{
		{"nothing", nil, false},
		{"half a hello", good[:len(good)/2], false},
		{"text", []byte("GET / HTTP/1.1\r\n\r\n"), true},
		{"SSL 2", []byte{0x80, 0x2e, 1, 0, 2, 0, 0}, true},
		{"an alert", []byte{21, 3, 1, 0, 2, 2, 40}, true},
		{"data", []byte{23, 3, 3, 0, 1, 0}, true},
		{"ChangeCipherSpec", []byte{20, 3, 3, 0, 1, 1}, true},
		{"a record of 0 bytes", []byte{22, 3, 1, 0, 0}, true},
		{"many records of 0 bytes", bytes.Repeat([]byte{22, 3, 1, 0, 0}, 100), true},
		{"an oversized record", []byte{22, 3, 1, 0xff, 0xff}, true},
		{"a hello of 64 KiB", oversizedHello(), true},
		{"a hello twice", append(slices.Clone(good), good...), true},
		{"a hello with a wrong length", corrupted(good, 8), true},
	} {
		w := pool.Take(server)
		_, done := w.Step(test.input)
		if done != test.ends || done && w.Err() == nil {
			t.Errorf("%s: done %v, %v", test.name, done, w.Err())
		}
		pool.Release(w)
	}
	if len(pool.idle) != 1 || pool.UnderWay() != 0 {
		t.Errorf("%d workers, %d under way", len(pool.idle), pool.UnderWay())
	}
	c, s := newSide(newClient(t, Client{})), &side{Worker: pool.Take(server), pool: pool}
	shake(c, s, 0)
	start(t, c, s).talk(t, "hello")
	pool.Release(s.Worker)
}

// TestInputIsBounded: crypto/tls collects a message of up to 256 KiB before it looks at its type. A server takes no
// more than maxClientBytes, in any stage of the handshake, and the client gets an alert.
func TestInputIsBounded(t *testing.T) {
	server := newServer(t)
	message := map[bool][]byte{
		false: {1, 0, 0xff, 0xff}, // a ClientHello of 64 KiB
		true:  {11, 4, 0, 0},      // a Certificate of 256 KiB, although the server has asked for none
	}
	var flood []byte
	for rest := make([]byte, 256<<10); len(rest) > 0; {
		n := min(1000, len(rest))
		flood = append(append(flood, typeHandshake, 3, 3, byte(n>>8), byte(n)), rest[:n]...)
		rest = rest[n:]
	}
	for _, begun := range []bool{false, true} {
		s := newSide(server)
		if begun {
			c := newSide(newClient(t, Client{MaxVersion: tls.VersionTLS12}))
			c.Begin()
			s.take(bytes.Clone(c.Output()))
			c.close()
		}
		copy(flood[headerBytes:], message[begun])
		taken := 0
		for ; !s.over && taken < len(flood); taken += 1005 {
			s.take(flood[taken:min(taken+1005, len(flood))])
		}
		if out := s.Output(); !s.over || taken > maxClientBytes+2*1005 || len(out) != 7 || out[6] != 22 {
			t.Errorf("begun %v: over %v after %d bytes, %v, output %x", begun, s.over, taken, s.Err(), out)
		}
		s.close()
	}
}

func oversizedHello() (p []byte) {
	body := append([]byte{1, 1, 0, 0}, make([]byte, 70_000)...)
	for len(body) > 0 {
		n := min(16384, len(body))
		p = append(append(p, typeHandshake, 3, 1, byte(n>>8), byte(n)), body[:n]...)
		body = body[n:]
	}
	return p
}

func corrupted(p []byte, at int) []byte {
	p = slices.Clone(p)
	p[at] ^= 0xff
	return p
}

// FuzzServer: a server gets anything. It must neither panic nor use more than there is.
func FuzzServer(f *testing.F) {
	server := newServer(f)
	// Hellos that the server can read and refuses. Behind others it uses random numbers, and coverage that differs from
	// run to run makes the fuzzer repeat each input for a minute.
	for _, version := range versions {
		config := newClient(f, Client{MaxVersion: version})
		config.base.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}
		config.base.NextProtos = []string{"h2"}
		c := newSide(config)
		c.Begin()
		f.Add(bytes.Clone(c.Output()), uint8(0))
	}
	f.Add(oversizedHello(), uint8(3))
	f.Fuzz(func(t *testing.T, p []byte, pieces uint8) {
		s := newSide(server)
		defer s.close()
		for size := len(p)/(int(pieces)%32+1) + 1; len(p) > 0 && !s.over; {
			n := min(size, len(p))
			before := len(s.input) + n
			s.take(p[:n])
			if p = p[n:]; len(s.input) > before {
				t.Fatal("input has grown")
			}
		}
		var panicked *PanicError
		if errors.As(s.Err(), &panicked) {
			t.Fatalf("%v\n%s", panicked, panicked.Stack)
		}
	})
}

// TestPanic: a panic ends the handshake that it occurs in, and no other one.
func TestPanic(t *testing.T) {
	server := newServer(t)
	broken := newServer(t)
	broken.base.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { panic("broken") }
	pool := NewPool(2)
	defer pool.Stop()
	other := &side{Worker: pool.Take(server), pool: pool}
	bad := &side{Worker: pool.Take(broken), pool: pool}
	c := newSide(newClient(t, Client{}))
	shake(c, bad, 0)
	var panicked *PanicError
	if !bad.over || !errors.As(bad.Err(), &panicked) || panicked.Value != "broken" || len(panicked.Stack) == 0 {
		t.Fatalf("%v", bad.Err())
	}
	pool.Release(bad.Worker)
	c = newSide(newClient(t, Client{}))
	shake(c, other, 0)
	start(t, c, other).talk(t, "hello")
	pool.Release(other.Worker)
	if len(pool.idle) != 1 {
		t.Errorf("%d workers are kept", len(pool.idle))
	}
}

// TestPool: handshakes under way are bounded, those that end early make room, and workers are reused and wiped.
func TestPool(t *testing.T) {
	server := newServer(t)
	pool := NewPool(3)
	var all []*Worker
	for range 3 {
		all = append(all, pool.Take(server))
	}
	if pool.Free() || pool.Take(server) != nil {
		t.Fatal("a fourth worker")
	}
	c := newSide(newClient(t, Client{}))
	c.Begin()
	all[1].Step(c.Output()) // under way
	if all[1].secrets.client.n == 0 {
		t.Fatal("no secret yet")
	}
	for _, w := range all {
		pool.Release(w)
		if w.secrets != (secrets{}) || w.conn != nil || w.own != nil {
			t.Error("secrets are left")
		}
	}
	again := pool.Take(server)
	if !slices.Contains(all, again) || pool.UnderWay() != 1 {
		t.Error("the worker is not reused")
	}
	s := &side{Worker: again, pool: pool}
	c = newSide(newClient(t, Client{}))
	shake(c, s, 0)
	start(t, c, s).talk(t, "hello")
	pool.Release(again)
	pool.Stop()
}

// TestDeadWorkerIsNotKept: a worker whose coroutine has ended, as by a panic while its handshake was given up, would
// never make another step, and every client that gets it would wait in vain.
func TestDeadWorkerIsNotKept(t *testing.T) {
	pool := NewPool(1)
	defer pool.Stop()
	w := pool.Take(newServer(t))
	c := newSide(newClient(t, Client{}))
	c.Begin()
	w.Step(c.Output())
	w.stop()
	pool.Release(w)
	s := &side{Worker: pool.Take(newServer(t)), pool: pool}
	c = newSide(newClient(t, Client{}))
	shake(c, s, 0)
	if s.Worker == w || !s.over || s.Err() != nil {
		t.Errorf("the same worker: %v, over: %v, %v", s.Worker == w, s.over, s.Err())
	}
	pool.Release(s.Worker)
}

// TestOnALockedThread: reactors with private descriptor tables are locked to their threads.
func TestOnALockedThread(t *testing.T) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		c, s := newSide(newClient(t, Client{})), newSide(newServer(t))
		shake(c, s, 0)
		if c.Err() != nil || s.Err() != nil || !s.over {
			t.Errorf("%v, %v", c.Err(), s.Err())
		}
	}()
	<-done
}

// TestNewConfigReplacesTheOld: a worker that had another configuration uses the current one.
func TestNewConfigReplacesTheOld(t *testing.T) {
	pool := NewPool(1)
	defer pool.Stop()
	for _, pair := range []tls.Certificate{ecdsaPair(), rsaPair(), ecdsaPair()} {
		s := &side{Worker: pool.Take(newServer(t, pair)), pool: pool}
		c := newSide(newClient(t, Client{}))
		shake(c, s, 0)
		if got := c.conn.ConnectionState().PeerCertificates[0]; !got.Equal(pair.Leaf) {
			t.Error("the certificate of another configuration")
		}
		pool.Release(s.Worker)
	}
}

// TestFIPS: under fips140=only there is a clear error.
func TestFIPS(t *testing.T) {
	if os.Getenv("HANDSHAKE_TEST_FIPS") == "1" {
		if _, err := NewClient(Client{}); !errors.Is(err, errFIPS) {
			t.Errorf("%v", err)
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFIPS$", "-test.v")
	cmd.Env = append(os.Environ(), "HANDSHAKE_TEST_FIPS=1", "GODEBUG=fips140=only")
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS: TestFIPS")) {
		t.Errorf("%v\n%s", err, out)
	}
}

func BenchmarkHandshake(b *testing.B) {
	for _, version := range versions {
		for _, resumed := range []bool{false, true} {
			b.Run(fmt.Sprintf("%x/resumed=%v", version, resumed), func(b *testing.B) {
				server := newServer(b)
				var session *Session
				if resumed {
					session = newSession(b, server, version)
				}
				client := newClient(b, Client{MaxVersion: version, Session: session})
				cp, sp := NewPool(1), NewPool(1)
				b.ReportAllocs()
				for b.Loop() {
					c, s := &side{Worker: cp.Take(client)}, &side{Worker: sp.Take(server)}
					shake(c, s, 0)
					if !s.over || s.Err() != nil {
						b.Fatal(s.Err())
					}
					cp.Release(c.Worker)
					sp.Release(s.Worker)
				}
			})
		}
	}
}

// TestChallenge: while an order is under way, a CA gets the certificate of its challenge, and its protocol. Other
// clients notice nothing, and a CA that asks for another domain, or when no order is under way, is refused.
func TestChallenge(t *testing.T) {
	answer := certify(newECDSA(), "a.example")
	with, err := NewServer(Server{Certificates: []tls.Certificate{ecdsaPair()},
		Challenges: map[string]*tls.Certificate{"a.example": &answer}})
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range versions {
		for _, test := range []struct {
			server    *Config
			name      string
			offers    []string
			protocol  string // "": refused
			challenge bool
		}{
			{with, "A.example", []string{ChallengeProtocol}, ChallengeProtocol, true},
			{with, "b.example", []string{ChallengeProtocol}, "", false},
			{with, "a.example", []string{"http/1.1"}, "http/1.1", false},
			{with, "a.example", []string{ChallengeProtocol, "http/1.1"}, "http/1.1", false},
			{newServer(t), "a.example", []string{ChallengeProtocol}, "", false},
		} {
			client := newClient(t, Client{ServerName: test.name, MaxVersion: version})
			client.base.NextProtos = test.offers
			c, s := newSide(client), newSide(test.server)
			shake(c, s, 0)
			if (s.Err() != nil) != (test.protocol == "") {
				t.Errorf("%x, %+v: %v", version, test, s.Err())
			} else if s.Err() == nil {
				r, _ := s.Result()
				got := c.conn.ConnectionState().PeerCertificates[0].DNSNames[0] == "a.example"
				if r.Protocol != test.protocol || got != test.challenge {
					t.Errorf("%x, %+v: %q, challenge %v", version, test, r.Protocol, got)
				}
			}
			c.close()
			s.close()
		}
	}
}
