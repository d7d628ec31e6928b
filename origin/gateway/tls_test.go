package gateway

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// certify returns the TLS of an endpoint whose certificate is for names, and the roots that verify it.
func certify(t testing.TB, names ...string) (*tls.Config, *x509.CertPool) {
	t.Helper()
	return certifyUntil(t, time.Now().Add(time.Hour), names...)
}

func certifyUntil(t testing.TB, until time.Time, names ...string) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	plan := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			plan.IPAddresses = append(plan.IPAddresses, ip)
		} else {
			plan.DNSNames = append(plan.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, plan, plan, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, roots
}

// secureRig is a rig with one https endpoint.
func secureRig(t testing.TB, version uint16, change func(*Config)) (*endpointServer, *rig) {
	t.Helper()
	server, roots := certify(t, "127.0.0.1")
	server.MaxVersion = version
	e := newEndpointOf(t, server)
	return e, newRig(t, func(c *Config) {
		c.Roots = roots
		if change != nil {
			change(c)
		}
	}, e)
}

// TestSecureEndpoint: requests and replies by https, on fresh and on idle sockets, in both versions. Tickets make a
// socket readable before there is a reply, which is then awaited.
func TestSecureEndpoint(t *testing.T) {
	for version, name := range map[uint16]string{tls.VersionTLS12: "1.2", tls.VersionTLS13: "1.3"} {
		t.Run(name, func(t *testing.T) {
			clean(t)
			e, r := secureRig(t, version, nil)
			long := strings.Repeat("x", 200_000)
			for rid := range 20 {
				id := r.post(strings.Replace(poll("s1", rid+1), "/>", ">"+long[:rid*10_000]+"</body>", 1))
				a := e.next()
				if want := rid * 10_000; len(a.body) < want || a.conn.(*tls.Conn).ConnectionState().Version != version {
					t.Fatalf("%d bytes, %+v", len(a.body), a.conn.(*tls.Conn).ConnectionState())
				}
				a.answer(200, text(long[:rid*10_000]))
				r.want(id, 200, text(long[:rid*10_000]))
			}
			if s := r.stats(); s.Sockets != 1 || s.Idle != 1 || s.Broken+s.Resent != 0 {
				t.Errorf("%+v", s)
			}
			for range 3 { // fresh sockets resume
				id := r.post(create("ver='1.6'"))
				a := e.next()
				if !a.conn.(*tls.Conn).ConnectionState().DidResume {
					t.Error("a full handshake")
				}
				a.answer(200, "<body sid='s2' "+ns+"/>")
				r.want(id, 200, "<body sid='s2' "+ns+"/>")
			}
		})
	}
}

// TestStaleSecureSocket: the endpoint has closed an idle socket, with and without a word, or has sent an unrequested
// reply on it.
func TestStaleSecureSocket(t *testing.T) {
	for name, spoil := range map[string]func(e *endpointServer, a *asked){
		"close_notify": func(e *endpointServer, _ *asked) { e.cut() },
		"closed":       func(_ *endpointServer, a *asked) { tcp(a.conn).CloseWrite() },
		"unasked": func(_ *endpointServer, a *asked) {
			a.conn.Write([]byte("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			clean(t)
			e, r := secureRig(t, 0, nil)
			id := r.post(poll("s1", 1))
			a := e.next()
			a.answer(200, text("first"))
			r.want(id, 200, text("first"))
			r.until("one idle socket", func(s Stats) bool { return s.Idle == 1 })
			spoil(e, a)
			id = r.post(poll("s1", 2))
			e.next().answer(200, text("second"))
			r.want(id, 200, text("second"))
			if s := r.stats(); s.Broken+s.Unreachable != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestSecureWaitHasNoGoroutine: a held request waits without a goroutine, although a ticket has arrived meanwhile. It
// ends when its client leaves, and when its time is up.
func TestSecureWaitHasNoGoroutine(t *testing.T) {
	clean(t)
	const n = 50
	e, r := secureRig(t, 0, nil)
	before := runtime.NumGoroutine()
	ids := make([]uint64, n)
	held := make([]*asked, n)
	for i := range n {
		ids[i] = r.post(poll("s"+string(rune('a'+i)), 1))
		held[i] = e.next()
	}
	// The endpoint has one for each of its sockets.
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before+n+n/5; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before %d requests", runtime.NumGoroutine(), before, n)
		}
	}
	r.edge.control(fmt.Sprintf("gone %016x\n", ids[0]))
	held[0].wantClosed()
	for i := 1; i < n; i++ {
		held[i].answer(200, text("held"))
	}
	for range n - 1 {
		if got := r.reply(); got.status != 200 {
			t.Fatalf("%+v", got)
		}
	}
}

// TestSecureReplyTooLate: the time of a reply ends over TLS, too.
func TestSecureReplyTooLate(t *testing.T) {
	clean(t)
	e, r := secureRig(t, 0, func(c *Config) { c.ResponseTimeout = 50 * time.Millisecond })
	id := r.post(poll("s1", 1))
	a := e.next()
	r.want(id, 504, "")
	a.wantClosed()
}

// logged is the text of a log.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestEndpointsThatAreNotVerified: the log names each mistake, and no request is sent.
func TestEndpointsThatAreNotVerified(t *testing.T) {
	here, roots := certify(t, "127.0.0.1")
	elsewhere, otherRoots := certify(t, "other.example")
	expired, expiredRoots := certifyUntil(t, time.Now().Add(-time.Minute), "127.0.0.1")
	old := here.Clone()
	old.MaxVersion = tls.VersionTLS11
	for _, test := range []struct {
		name, says string
		server     *tls.Config
		roots      *x509.CertPool
	}{
		{"another name", "certificate for 127.0.0.1 because it doesn't contain any IP SANs", elsewhere, otherRoots},
		{"another CA", "certificate signed by unknown authority", here, otherRoots},
		{"expired", "certificate has expired", expired, expiredRoots},
		{"TLS 1.1", "protocol version not supported", old, roots},
		{"a plain port", "the endpoint's port has no TLS: use http://", nil, roots},
	} {
		t.Run(test.name, func(t *testing.T) {
			clean(t)
			e := newEndpointOf(t, test.server)
			var log logged
			r := newRig(t, func(c *Config) {
				c.Roots, c.Log = test.roots, slog.New(slog.NewTextHandler(&log, nil))
				c.Endpoints[0] = "https://" + e.address + "/http-bind"
			}, e)
			if !strings.Contains(log.String(), test.says) {
				t.Errorf("the log lacks %q: %s", test.says, log.String())
			}
			r.want(r.post(poll("s1", 1)), 503, "")
			if len(e.posts) != 0 {
				t.Error("a request was sent")
			}
		})
	}
}
