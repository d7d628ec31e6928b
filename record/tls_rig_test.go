package record

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// stream is the bytes of one direction, without a bound.
type stream struct {
	mu     sync.Mutex
	grown  sync.Cond
	bytes  []byte
	left   int // of the record that is being read
	closed bool

	// The keys of a handshake need these beside its secrets.
	random [32]byte // of the hello
	sealed uint64   // records behind ChangeCipherSpec, or session tickets in TLS 1.3
	behind bool     // ChangeCipherSpec
}

func newStream() *stream {
	s := new(stream)
	s.grown.L = &s.mu
	return s
}

// write appends records that are whole.
func (s *stream) write(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for rest := p; len(rest) >= headerBytes; {
		n := headerBytes + int(rest[lengthAt])<<8 + int(rest[lengthAt+1])
		switch {
		case s.behind:
			s.sealed++
		case rest[0] == typeChangeCipherSpec:
			s.behind = true
		case rest[0] == typeHandshake && s.random == [32]byte{}:
			copy(s.random[:], rest[headerBytes+4+2:])
		}
		rest = rest[n:]
	}
	s.bytes = append(s.bytes, p...)
	s.grown.Broadcast()
}

// read waits for a record, and returns one at most. So nothing behind a Finished is read before its time.
func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.bytes) == 0 {
		if s.closed {
			return 0, io.EOF
		}
		s.grown.Wait()
	}
	if s.left == 0 {
		s.left = headerBytes + int(s.bytes[lengthAt])<<8 + int(s.bytes[lengthAt+1])
	}
	n := copy(p, s.bytes[:min(s.left, len(s.bytes))])
	s.left -= n
	s.bytes = s.bytes[n:]
	return n, nil
}

func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.grown.Broadcast()
}

// take returns all that is in the stream.
func (s *stream) take() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.bytes
	s.bytes = nil
	return p
}

// wire is one end of a connection in memory, for crypto/tls.
type wire struct {
	in, out *stream
	net.Conn
}

func (w *wire) Read(p []byte) (int, error)       { return w.in.read(p) }
func (w *wire) Write(p []byte) (int, error)      { w.out.write(p); return len(p), nil }
func (w *wire) Close() error                     { w.out.close(); return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// keyLog has the secrets of a handshake by their label.
type keyLog map[string][]byte

func (k keyLog) Write(p []byte) (int, error) {
	label, rest, _ := strings.Cut(strings.TrimSpace(string(p)), " ")
	_, secret, _ := strings.Cut(rest, " ")
	b, err := hex.DecodeString(secret)
	k[label] = b
	return len(p), err
}

// certificates are one for each kind of signature, made once.
var certificates = sync.OnceValues(func() (both []tls.Certificate, err error) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &ec.PublicKey, ec)
	if err != nil {
		return nil, err
	}
	rsaDER, err := x509.CreateCertificate(rand.Reader, template, template, &rs.PublicKey, rs)
	return []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: ec},
		{Certificate: [][]byte{rsaDER}, PrivateKey: rs}}, err
})

// partner is a connection between crypto/tls and an end.
type partner struct {
	*end
	in, out *stream // as the end sees them
	conn    *tls.Conn
}

// connect shakes hands by crypto/tls on both sides, and lets an end take over one of them. The suite of TLS 1.3 is
// chosen by crypto/tls.
func connect(t testing.TB, id uint16, client bool) *partner {
	t.Helper()
	pair, err := certificates()
	if err != nil {
		t.Fatal(err)
	}
	log := keyLog{}
	config := &tls.Config{Certificates: pair, InsecureSkipVerify: true, KeyLogWriter: log,
		CurvePreferences: []tls.CurveID{tls.CurveP256}, Renegotiation: tls.RenegotiateFreelyAsClient}
	if tls13 := suites[findSuite(id)].tls13; tls13 {
		config.MinVersion = tls.VersionTLS13
	} else {
		config.MaxVersion, config.CipherSuites = tls.VersionTLS12, []uint16{id}
	}
	up, down := newStream(), newStream() // to the server, and from it
	var tickets uint64
	serverConfig := config.Clone()
	serverConfig.WrapSession = func(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		tickets++
		return config.EncryptTicket(state, session)
	}
	theirs := tls.Server(&wire{in: up, out: down}, serverConfig)
	ours := tls.Client(&wire{in: down, out: up}, config)
	failed := make(chan error, 1)
	go func() { failed <- theirs.Handshake() }()
	if err := errors.Join(ours.Handshake(), <-failed); err != nil {
		t.Fatal(err)
	}

	suite := ours.ConnectionState().CipherSuite
	h := Handshake{Suite: suite, Client: client, ClientSecret: log["CLIENT_TRAFFIC_SECRET_0"],
		ServerSecret: log["SERVER_TRAFFIC_SECRET_0"], Master: log["CLIENT_RANDOM"], ClientRandom: up.random[:],
		ServerRandom: down.random[:]}
	p := &partner{end: new(end), in: down, out: up, conn: theirs}
	opened, sealed := down.sealed, up.sealed
	if !client {
		p.in, p.out, p.conn = up, down, ours
		opened, sealed = sealed, opened
	}
	switch {
	case !suites[findSuite(suite)].tls13:
		h.Opened, h.Sealed = opened, sealed
	case !client:
		h.Sealed = tickets
	}
	if err := p.Start(&h); err != nil {
		t.Fatal(err)
	}
	return p
}

// hear opens what crypto/tls has sent.
func (p *partner) hear(t testing.TB) outcome {
	t.Helper()
	got := p.receive(t, p.in.take())
	p.out.write([]byte(got.answer))
	return got
}

// expect reads text in crypto/tls.
func (p *partner) expect(t testing.TB, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(p.conn, got); err != nil || !bytes.Equal(got, []byte(text)) {
		t.Fatalf("crypto/tls reads %.40q, want %.40q: %v", got, text, err)
	}
}
