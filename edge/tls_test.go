package edge

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/crypto/ocsp"

	"megaphone/config"
	"megaphone/loop"
	"megaphone/stats"
)

// testCertificate writes a new certificate for names, and returns the paths of its files.
func testCertificate(t testing.TB, names ...string) config.Certificate {
	t.Helper()
	dir := t.TempDir()
	c := config.Certificate{Certificate: filepath.Join(dir, "c.pem"), Key: filepath.Join(dir, "k.pem")}
	renewCertificate(t, c, names...)
	return c
}

func renewCertificate(t testing.TB, c config.Certificate, names ...string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: names,
		NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{c.Certificate: {Type: "CERTIFICATE", Bytes: der},
		c.Key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// withTLS gives an edge one listener with TLS.
func withTLS(t testing.TB, set func(c *Config)) func(c *Config) {
	t.Helper()
	pair := testCertificate(t, "a.example")
	return func(c *Config) {
		c.Listen = ""
		c.Listeners = []config.Listener{{Address: "127.0.0.1:0",
			TLS: config.TLS{Certificates: []config.Certificate{pair}}}}
		if set != nil {
			set(c)
		}
	}
}

// connectTLS connects with TLS.
func connectTLS(t testing.TB, e *Edge, set func(c *tls.Config)) *client {
	t.Helper()
	return overTLS(t, connect(t, e).Conn, set)
}

func overTLS(t testing.TB, raw net.Conn, set func(c *tls.Config)) *client {
	t.Helper()
	cfg := &tls.Config{InsecureSkipVerify: true, ServerName: "a.example"}
	if set != nil {
		set(cfg)
	}
	c := tls.Client(raw, cfg)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return &client{c, t, bufio.NewReader(c)}
}

func version(v uint16) func(c *tls.Config) { return func(c *tls.Config) { c.MaxVersion = v } }

// TestOverTLS: a session's requests over TLS, held and pipelined, in both versions.
func TestOverTLS(t *testing.T) {
	e, l := one(t, withTLS(t, nil))
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := connectTLS(t, e, version(v))
		c.send(postText(empty("s1", 1)) + postText(empty("s1", 2)))
		first, second := l.next(), l.next()
		l.reply(second.id, "<body>two</body>")
		l.reply(first.id, "<body>"+strings.Repeat("one ", 10_000)+"</body>")
		c.get().want(t, 200, "one one")
		c.get().want(t, 200, "two")
		c.send("GET /nowhere HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		c.get().want(t, 404, "Nothing here")
		c.closed() // by close_notify, else crypto/tls would report an unexpected end
	}
	until(t, e, stats.TLSFull, 2)
	if n := e.Counter(stats.TLSStarted); n != 2 {
		t.Errorf("%d started", n)
	}
}

// TestResumptionOverTLS: in both versions, also with the tickets of a predecessor.
func TestResumptionOverTLS(t *testing.T) {
	set := withTLS(t, nil)
	old := startEdge(t, set)
	next := startEdge(t, func(c *Config) {
		set(c)
		c.TicketKeys = old.TicketKeys()
	})
	other := startEdge(t, set)
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cache := tls.NewLRUClientSessionCache(1)
		for i, e := range []*Edge{old, old, next, other} {
			c := connectTLS(t, e, func(c *tls.Config) { c.MaxVersion, c.ClientSessionCache = v, cache })
			c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			c.get().want(t, 404, "")
			if got, want := c.Conn.(*tls.Conn).ConnectionState().DidResume, i == 1 || i == 2; got != want {
				t.Errorf("%x, connection %d: resumed %v", v, i, got)
			}
		}
	}
	until(t, next, stats.TLSResumed, 2)
}

// TestTicketKeys: each day brings a new key, those of the last eight days are kept, and a takeover neither makes a key
// nor prolongs its life.
func TestTicketKeys(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	k := newTickets(nil, now)
	first := k.all()[0]
	for hours := range 300 {
		at := now.Add(time.Duration(hours) * time.Hour)
		var packed [][]byte
		for i := range k.keys {
			packed = append(packed, k.keys[i].pack())
		}
		next := newTickets(append(packed, make([]byte, 3)), at) // one that is too short is ignored
		days := hours / 24
		if got, want := next.all(), k.all(); hours%24 > 0 && !slices.Equal(got, want) {
			t.Fatalf("after %d h: other keys", hours)
		} else if len(got) != min(days+1, maxTicketKeys) || slices.Contains(got, first) != (days < maxTicketKeys) {
			t.Fatalf("after %d h: %d keys", hours, len(got))
		}
		k = next
	}
	if k.rotate(k.keys[0].made.Add(-time.Second)); len(k.keys) != maxTicketKeys || k.rotate(k.keys[0].made) {
		t.Error("no new key after the clock was set back")
	}
	late := newTickets([][]byte{k.keys[0].pack()}, k.keys[0].made.Add(maxTicketKeys*ticketKeyLife))
	if len(late.all()) != 1 || late.all()[0] == k.all()[0] {
		t.Error("a key whose tickets have expired is kept")
	}
}

// TestPlainHTTPOnTLS: the client is told, in plaintext.
func TestPlainHTTPOnTLS(t *testing.T) {
	e := startEdge(t, withTLS(t, nil))
	c := connect(t, e)
	c.send("POST /http-bind HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
	c.get().want(t, 400, "https only")
	c.closed()
	until(t, e, stats.TLSPlainHTTP, 1)
}

// TestFailureNoHandshake: half a hello, none, and one that is not finished are closed after head-timeout.
func TestFailureNoHandshake(t *testing.T) {
	e := startEdge(t, withTLS(t, func(c *Config) { c.HeadTimeout = time.Second }))
	var all []*client
	for _, text := range []string{"", "\x16", "\x16\x03\x01\x02\x00\x01"} {
		c := connect(t, e)
		c.send(text)
		all = append(all, c)
	}
	hello := connect(t, e)
	go func() {
		_ = tls.Client(&firstWrite{Conn: hello.Conn}, &tls.Config{InsecureSkipVerify: true}).Handshake()
	}()
	until(t, e, stats.TLSStarted, 4)
	until(t, e, stats.TLSUnderWay, 1)
	e.advance(int(loop.Ticks(time.Second)) + 1)
	for _, c := range all {
		if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
	until(t, e, stats.TLSTimeouts, 4)
	e.advance(1)
	if n := e.Counter(stats.TLSUnderWay); n != 0 {
		t.Errorf("%d under way", n)
	}
	if n := e.Counter(stats.HeadTimeouts) + e.Counter(stats.TLSAbandoned); n != 0 {
		t.Errorf("%d counted twice", n)
	}
}

// firstWrite sends one write, and drops the others.
type firstWrite struct {
	net.Conn
	done bool
}

func (c *firstWrite) Write(p []byte) (int, error) {
	if c.done {
		return len(p), nil
	}
	c.done = true
	return c.Conn.Write(p)
}

// TestHeadOverTLSInTime: after the handshake the deadlines of a request count as without TLS.
func TestHeadOverTLSInTime(t *testing.T) {
	e := startEdge(t, withTLS(t, nil))
	c := connectTLS(t, e, nil)
	c.send("POST /http-bind HTTP/1.1\r\nHo")
	until(t, e, stats.TLSFull, 1)
	for e.Counter(stats.HeadTimeouts) == 0 {
		e.advance(int(loop.Ticks(config.DefaultHeadTimeout)) + 1)
	}
	c.get().want(t, 503, "did not come in time")
	c.closed()
}

// TestLateBodyBehindHeldRequests: the answer to the late request waits for that to a held one, whose connection reads
// no more. Half a record that was dropped must not end it.
func TestLateBodyBehindHeldRequests(t *testing.T) {
	e, l := one(t, withTLS(t, nil))
	c := connectTLS(t, e, nil)
	c.post(empty("s1", 1))
	held := l.next()
	c.send("POST /http-bind HTTP/1.1\r\nHo")
	raw := c.Conn.(*tls.Conn).NetConn()
	for e.Counter(stats.HeadTimeouts) == 0 {
		e.advance(int(loop.Ticks(config.DefaultHeadTimeout)) + 1)
	}
	if _, err := raw.Write([]byte("\x17\x03\x03\x00\x20rest of something")); err != nil {
		t.Fatal(err)
	}
	l.reply(held.id, "<body>held</body>")
	c.get().want(t, 200, "held")
	c.get().want(t, 503, "in time")
}

// TestOrderOnTheWire: PROXY header, limits, TLS, HTTP, in one segment and in pieces.
func TestOrderOnTheWire(t *testing.T) {
	e, l := one(t, withTLS(t, func(c *Config) {
		c.Listeners[0].ProxyProtocol, c.Listeners[0].TrustedProxies = "any", []string{"127.0.0.1"}
		c.AddressConnections = 2
	}))
	const header = "PROXY TCP4 192.0.2.7 127.0.0.1 1000 443\r\n"
	var first []*client
	for range 2 {
		raw := &prefixed{Conn: connect(t, e).Conn, prefix: []byte(header)}
		c := overTLS(t, raw, nil)
		c.post(empty("s1", 1))
		if r := l.next(); r.addr != "192.0.2.7" {
			t.Errorf("client %s", r.addr)
		}
		first = append(first, c)
	}
	c := connect(t, e)
	c.send(header)
	c.closed() // over the limit: no handshake for a refusal
	until(t, e, stats.AddressConnections, 1)
	if n := e.Counter(stats.TLSStarted); n != uint64(len(first)) {
		t.Errorf("%d handshakes", n)
	}
	c = connect(t, e)
	c.send("\x16\x03\x01\x02\x00\x01") // a hello without a header
	c.closed()
	until(t, e, stats.ProxyMalformed, 1)
}

// prefixed sends a prefix with the first write, in one segment.
type prefixed struct {
	net.Conn
	prefix []byte
}

func (c *prefixed) Write(p []byte) (int, error) {
	if c.prefix == nil {
		return c.Conn.Write(p)
	}
	_, err := c.Conn.Write(append(c.prefix, p...))
	c.prefix = nil
	return len(p), err
}

// TestFullEdgeAlerts: beyond max-connections a client with TLS gets an alert, not a response in plaintext.
func TestFullEdgeAlerts(t *testing.T) {
	e := startEdge(t, withTLS(t, func(c *Config) { c.MaxConnections = 1 }))
	connectTLS(t, e, nil)
	err := tls.Client(connect(t, e), &tls.Config{InsecureSkipVerify: true}).Handshake()
	if err == nil || !strings.Contains(err.Error(), "remote error: tls: internal error") {
		t.Errorf("%v", err)
	}
}

// TestRedirectToHTTPS: a plain listener redirects all requests to the same URL with https.
func TestRedirectToHTTPS(t *testing.T) {
	for _, port := range []string{"443", "8443"} {
		e := startEdge(t, func(c *Config) {
			c.Listen = ""
			c.Listeners = []config.Listener{{Address: "127.0.0.1:0", HTTPSRedirect: port}}
		})
		at := ""
		if port != "443" {
			at = ":" + port
		}
		c := connect(t, e)
		for _, test := range []struct{ request, location string }{
			{"GET /a/b?c=d HTTP/1.1\r\nHost: Chat.example:80\r\n\r\n", "https://chat.example" + at + "/a/b?c=d"},
			{postText(empty("s", 1)), "https://h" + at + "/http-bind"},
			{"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "https://[::1]" + at + "/"},
			{"GET //evil.example HTTP/1.1\r\nHost: h\r\n\r\n", "https://h" + at + "//evil.example"},
		} {
			c.send(test.request)
			r := c.get().want(t, 308, "")
			if got := r.Header.Get("Location"); got != test.location {
				t.Errorf("%q, want %q", got, test.location)
			}
		}
		c.send("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n")
		c.get().want(t, 400, "only redirects")
		until(t, e, stats.Redirects, 5)
	}
}

// TestCertificatesAreRenewed: changed files count after they have been the same for a while. Mistakes change nothing,
// handshakes under way keep the old certificate, and connections stay.
func TestCertificatesAreRenewed(t *testing.T) {
	pair := testCertificate(t, "a.example")
	log := newRecorder()
	e, l := one(t, withTLS(t, func(c *Config) {
		c.Listeners[0].TLS.Certificates[0] = pair
		c.Log = slog.New(slog.NewTextHandler(log, nil))
	}))
	nameOf := func() string {
		return connectTLS(t, e, nil).Conn.(*tls.Conn).ConnectionState().PeerCertificates[0].DNSNames[0]
	}
	old := connectTLS(t, e, nil)
	f := new(certificateFiles)
	look := func() { e.lookAtCertificates(f, time.Now()) }
	look()
	look()
	if strings.Contains(log.all(), "renewed") {
		t.Error("renewed without a change")
	}
	stalled := &secondLater{Conn: connect(t, e).Conn, now: make(chan struct{})}
	underWay := tls.Client(stalled, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	done := make(chan error, 1)
	go func() { done <- underWay.Handshake() }()
	until(t, e, stats.TLSUnderWay, 1)
	renewCertificate(t, pair, "b.example")
	look()
	if got := nameOf(); got != "a.example" {
		t.Errorf("%s at once", got)
	}
	look()
	if got := nameOf(); got != "b.example" {
		t.Errorf("%s after the change", got)
	}
	close(stalled.now)
	if err := receive(t, done); err != nil ||
		underWay.ConnectionState().PeerCertificates[0].DNSNames[0] != "a.example" {
		t.Errorf("the handshake under way: %v", err)
	}
	other := testCertificate(t, "c.example")
	if err := os.Rename(other.Certificate, pair.Certificate); err != nil {
		t.Fatal(err)
	}
	look()
	look()
	look()
	if got := nameOf(); got != "b.example" || strings.Count(log.all(), "certificates rejected") != 1 ||
		!strings.Contains(log.all(), "it is not the key of") {
		t.Errorf("%s after a mistake\n%s", got, log.all())
	}
	if err := os.Rename(other.Key, pair.Key); err != nil {
		t.Fatal(err)
	}
	look()
	look()
	if got := nameOf(); got != "c.example" {
		t.Errorf("%s after the mistake was corrected", got)
	}
	old.post(empty("s1", 1))
	l.reply(l.next().id, "<body/>")
	old.get().want(t, 200, "<body/>")
}

// TestRejectedCertificatesAreTriedAgain: a reason that goes without a change of the files, such as the mode of their
// directory. It is logged once.
func TestRejectedCertificatesAreTriedAgain(t *testing.T) {
	pair := testCertificate(t, "a.example")
	log := newRecorder()
	e := startEdge(t, withTLS(t, func(c *Config) {
		c.Listeners[0].TLS.Certificates[0] = pair
		c.Log = slog.New(slog.NewTextHandler(log, nil))
	}))
	renewCertificate(t, pair, "b.example")
	dir := filepath.Dir(pair.Key)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	f, now := new(certificateFiles), time.Now()
	for range 10 {
		e.lookAtCertificates(f, now)
		now = now.Add(retryInterval)
	}
	if n := strings.Count(log.all(), "certificates rejected"); n != 1 {
		t.Errorf("rejected %d times", n)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	e.lookAtCertificates(f, now)
	c := connectTLS(t, e, nil)
	if got := c.Conn.(*tls.Conn).ConnectionState().PeerCertificates[0].DNSNames[0]; got != "b.example" {
		t.Error(got)
	}
}

// TestOldStaple: an OCSP response that goes out of date is no longer stapled, because clients take it for an error.
func TestOldStaple(t *testing.T) {
	pair := testCertificate(t, "a.example")
	pair.OCSP = filepath.Join(t.TempDir(), "o.der")
	c, err := tls.LoadX509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := ocsp.CreateResponse(c.Leaf, c.Leaf, ocsp.Response{Status: ocsp.Good, SerialNumber: c.Leaf.SerialNumber,
		ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}, c.PrivateKey.(crypto.Signer))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pair.OCSP, der, 0o600); err != nil {
		t.Fatal(err)
	}
	log := newRecorder()
	e := startEdge(t, withTLS(t, func(c *Config) {
		c.Listeners[0].TLS.Certificates[0] = pair
		c.Log = slog.New(slog.NewTextHandler(log, nil))
	}))
	f := new(certificateFiles)
	for range 2 {
		e.lookAtCertificates(f, time.Now())
	}
	for _, want := range [][]byte{der, nil, nil} {
		if got := connectTLS(t, e, nil).Conn.(*tls.Conn).ConnectionState().OCSPResponse; !bytes.Equal(got, want) {
			t.Errorf("%d bytes are stapled, want %d", len(got), len(want))
		}
		e.lookAtCertificates(f, time.Now().Add(2*time.Hour))
	}
	if n := strings.Count(log.all(), "out of date"); n != 1 {
		t.Errorf("%d records\n%s", n, log.all())
	}
	// A response for the former certificate does not hold up the renewed one.
	renewCertificate(t, pair, "b.example")
	for range 2 {
		e.lookAtCertificates(f, time.Now())
	}
	now := connectTLS(t, e, nil).Conn.(*tls.Conn).ConnectionState()
	if name := now.PeerCertificates[0].DNSNames[0]; name != "b.example" || now.OCSPResponse != nil {
		t.Errorf("%s with %d bytes stapled", name, len(now.OCSPResponse))
	}
	if !strings.Contains(log.all(), "no OCSP response for the certificate") {
		t.Error(log.all())
	}
}

// TestRenewalWhileOriginsMove: settings that a lookup of names puts in force meanwhile do not lose the certificates.
func TestRenewalWhileOriginsMove(t *testing.T) {
	pair := testCertificate(t, "a.example")
	e := startEdge(t, withTLS(t, func(c *Config) { c.Listeners[0].TLS.Certificates[0] = pair }))
	renewCertificate(t, pair, "b.example")
	old := e.settings()
	renewed, err := old.cfg.Renewed()
	if err != nil {
		t.Fatal(err)
	}
	moved, err := newSettings(old.cfg, &e.options, old.found, e.keys())
	if err != nil {
		t.Fatal(err)
	}
	e.tickets.mu.Lock() // renew waits for the keys
	done := make(chan struct{})
	go func() { e.renew(renewed); close(done) }()
	for e.reloading.TryLock() {
		e.reloading.Unlock()
		runtime.Gosched()
	}
	if e.mu.TryLock() { // as lookAgain does
		e.put(moved)
		e.mu.Unlock()
	}
	e.tickets.mu.Unlock()
	<-done
	if got := e.settings().cfg; got != renewed {
		t.Error("the old certificates are in force")
	}
}

// TestReloadOfCertificates: SIGHUP puts other files in force.
func TestReloadOfCertificates(t *testing.T) {
	set := withTLS(t, nil)
	e := startEdge(t, set)
	cfg := Config{Config: e.settings().cfg.Config}
	cfg.Listeners[0].TLS.Certificates = []config.Certificate{testCertificate(t, "z.example")}
	if restart, err := e.reload(cfg); err != nil || len(restart) > 0 {
		t.Fatal(restart, err)
	}
	c := connectTLS(t, e, nil)
	if got := c.Conn.(*tls.Conn).ConnectionState().PeerCertificates[0].DNSNames[0]; got != "z.example" {
		t.Error(got)
	}
	cfg.Listeners[0].TLS.Certificates = []config.Certificate{{Certificate: "/no", Key: "/no"}}
	if _, err := e.reload(cfg); err == nil {
		t.Error("a missing file is accepted")
	}
	connectTLS(t, e, nil)
}

// TestDrainOverTLS: held requests are released, idle connections closed in order, handshakes under way finished.
func TestDrainOverTLS(t *testing.T) {
	e, l := one(t, withTLS(t, shortDrain))
	stalled := &secondLater{Conn: connect(t, e).Conn, now: make(chan struct{})}
	underWay := tls.Client(stalled, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	shaken := make(chan error, 1)
	go func() { shaken <- underWay.Handshake() }()
	until(t, e, stats.TLSUnderWay, 1)
	idle, held := connectTLS(t, e, nil), connectTLS(t, e, nil)
	held.post(empty("s1", 1))
	r := l.next()
	until(t, e, stats.TLSFull, 2)
	drained := make(chan uint64, 1)
	go func() { drained <- e.Drain(t.Context(), nil) }()
	for !e.Draining() {
		time.Sleep(time.Millisecond)
	}
	e.advance(11) // the whole of drain-jitter
	l.hears("release ")
	l.reply(r.id, "<body/>")
	if got := held.get().want(t, 200, "<body/>"); !got.Close {
		t.Error("the connection stays")
	}
	held.closed()
	idle.closed()
	held.Conn.Close()
	idle.Conn.Close()
	close(stalled.now)
	if err := receive(t, shaken); err != nil {
		t.Errorf("the handshake under way: %v", err)
	}
	e.advance(11) // the next round closes it
	if _, err := underWay.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("%v, want close_notify", err)
	}
	underWay.Close()
	if cut := receive(t, drained); cut != 0 {
		t.Errorf("%d were cut off", cut)
	}
}

// TestAccessLogOverTLS: version, cipher suite, server name and resumption.
func TestAccessLogOverTLS(t *testing.T) {
	log := newRecorder()
	e, _ := one(t, withTLS(t, func(c *Config) { c.Access = slog.New(slog.NewTextHandler(log, nil)) }))
	cache := tls.NewLRUClientSessionCache(1)
	for i := range 2 {
		c := connectTLS(t, e, func(c *tls.Config) { c.MaxVersion, c.ClientSessionCache = tls.VersionTLS12, cache })
		c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		c.get()
		c.Close()
		want := fmt.Sprintf("tls=1.2 cipher=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 resumed=%v "+
			"server_name=a.example", i == 1)
		log.line(t, want)
	}
	c := connectTLS(t, e, func(c *tls.Config) { c.ServerName = "" })
	c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	c.get()
	log.line(t, "tls=1.3 cipher=TLS_AES_")
}

// TestFailureBadRecordWhileHeld: the hold of a connection with a bad record is released to its origin.
func TestFailureBadRecordWhileHeld(t *testing.T) {
	e, l := one(t, withTLS(t, nil))
	c := connectTLS(t, e, nil)
	c.post(empty("s1", 1))
	l.next()
	raw := c.Conn.(*tls.Conn).NetConn()
	if _, err := raw.Write([]byte("\x17\x03\x03\x00\x20" + strings.Repeat("x", 32))); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c.Conn); err == nil || !strings.Contains(err.Error(), "bad record MAC") {
		t.Errorf("%v", err)
	}
	raw.Close()
	l.hears("gone ")
	until(t, e, stats.TLSBadRecord, 1)
}

// secondLater waits with its second write.
type secondLater struct {
	net.Conn
	writes int
	now    chan struct{}
}

func (c *secondLater) Write(p []byte) (int, error) {
	if c.writes++; c.writes == 2 {
		<-c.now
	}
	return c.Conn.Write(p)
}

// TestWornKeys: the response after which the keys have protected enough is the last of its connection.
func TestWornKeys(t *testing.T) {
	e := startEdge(t, withTLS(t, nil))
	c := connectTLS(t, e, nil)
	ask := func() httpResponse {
		c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		return c.get().want(t, 404, "")
	}
	if ask().Close {
		t.Error("closed at once")
	}
	e.group.Do(func(r reactor, h handler) {
		r.EachOpen(0, uint32(r.Capacity()), func(index uint32) {
			skipRecords(h.(*worker).tls, index, c.Conn.(*tls.Conn))
		})
	})
	if !ask().Close {
		t.Error("not closed")
	}
	c.closed()
}

// skipRecords raises the number of the next record from the edge on both sides, to one at which keys are worn. go doc
// megaphone/record has the layout of a slot.
func skipRecords(x *encryption, index uint32, client *tls.Conn) {
	const slotBytes, outSequenceAt, worn = 128, 56, 1 << 40
	keys := reflect.ValueOf(x.Transport).Elem().FieldByName("keys")
	slots := unsafe.Slice((*byte)(keys.UnsafePointer()), keys.Len())
	binary.NativeEndian.PutUint64(slots[slotBytes*int(index)+outSequenceAt:], worn)
	sequence := reflect.ValueOf(client).Elem().FieldByName("in").FieldByName("seq")
	binary.BigEndian.PutUint64(unsafe.Slice((*byte)(sequence.Addr().UnsafePointer()), sequence.Len()), worn)
}
