package edge

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"megaphone/config"
)

// nameServer is a DNS server with the records that a test gives it.
type nameServer struct {
	conn net.PacketConn
	mu   sync.Mutex
	down bool // it answers SERVFAIL
	srv  map[string][]dnsmessage.SRVResource
	ips  map[string][]netip.Addr
}

func newNameServer(t testing.TB) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{conn: conn, srv: map[string][]dnsmessage.SRVResource{}, ips: map[string][]netip.Addr{}}
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

func (s *nameServer) answer(question []byte) ([]byte, error) {
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
	case s.down:
		m.RCode = dnsmessage.RCodeServerFailure
	case s.srv[name] == nil && s.ips[name] == nil:
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeSRV:
		for _, r := range s.srv[name] {
			add(&r)
		}
	default:
		for _, ip := range s.ips[name] {
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

// set changes the records under the lock. Even the first ones need it, because a question that the server receives does
// not order its reads after a test's writes, for Go's memory model and the race detector.
func (s *nameServer) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// resolver queries only this server.
func (s *nameServer) resolver() Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", s.conn.LocalAddr().String())
	}}
}

func record(target string, o *fakeOrigin, priority, weight uint16) dnsmessage.SRVResource {
	port, _ := strconv.Atoi(o.addr()[strings.LastIndexByte(o.addr(), ':')+1:])
	return dnsmessage.SRVResource{Target: dnsmessage.MustNewName(target + "."), Port: uint16(port), Priority: priority,
		Weight: weight}
}

const service = "_megaphone._tcp.example.org"

// named returns the name of o's node as made from DNS.
func (o *fakeOrigin) named(host string) string {
	return host + "-" + o.addr()[strings.LastIndexByte(o.addr(), ':')+1:]
}

// TestOriginsBySRV: each record becomes an origin with its name, weight and priority. Records come and go.
func TestOriginsBySRV(t *testing.T) {
	s := newNameServer(t)
	a, b := newFakeOrigin(t, "a"), newFakeOrigin(t, "b")
	local := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}
	s.set(func() {
		s.ips["A.example.org"], s.ips["a.example.org"], s.ips["b.example.org"] = local, local, local
		s.srv[service] = []dnsmessage.SRVResource{record("A.example.org", a, 10, 7), record("b.example.org", b, 20, 0)}
	})
	e := startEdge(t, func(c *Config) {
		c.Resolver = s.resolver()
		c.Origins = []config.Origin{{Address: "dns+srv:" + service}}
	})
	al, bl := a.link(), b.link()
	until(t, e, LinksUp, 2)
	inA, inB := a.named("a.example.org"), b.named("b.example.org")
	e.group.Do(func(_ reactor, h handler) {
		w := h.(*worker)
		if na, nb := w.named(inA), w.named(inB); na == nil || nb == nil || na.cfg.Weight != 7 || nb.cfg.Weight != 1 {
			t.Fatalf("nodes %+v %+v", na, nb)
		}
	})
	c := connect(t, e)
	create := func(l *fakeLink, node string) {
		t.Helper()
		c.post(creation(""))
		l.reply(l.next().id, "<body sid='s' "+ns+"/>")
		c.get().want(t, 200, tagged("s", node))
	}
	for range 10 {
		create(al, inA) // it has the lower priority number
	}
	if err := e.SetDraining(inA, true); err != nil {
		t.Fatal(err)
	}
	create(bl, inB)

	s.set(func() { s.down = true }) // a failed look-up changes nothing
	before := e.settings()
	e.lookAgain(t.Context())
	s.set(func() { s.down = false; s.srv[service] = nil }) // an empty answer counts as a failure
	e.lookAgain(t.Context())
	if e.settings() != before {
		t.Error("origins changed although none were found")
	}

	d := newFakeOrigin(t, "d")
	s.set(func() {
		s.ips["d.example.org"] = local
		s.srv[service] = []dnsmessage.SRVResource{record("b.example.org", b, 20, 0), record("d.example.org", d, 5, 0)}
	})
	e.lookAgain(t.Context())
	dl := d.link()
	until(t, e, LinksUp, 3)
	create(dl, d.named("d.example.org"))
	c.post(empty(tagged("s", inA), 2)) // sessions of the origin that left DNS continue
	al.reply(al.next().id, "<body/>")
	c.get().want(t, 200, "<body/>")
	e.group.Do(func(_ reactor, h handler) {
		if n := h.(*worker).named(inA); n == nil || !n.leaving {
			t.Errorf("%+v does not leave", n)
		}
	})
}

// TestOriginsAreLookedUpAgain: the edge looks them up by itself. Until they are found, clients get 503.
func TestOriginsAreLookedUpAgain(t *testing.T) {
	s := newNameServer(t)
	s.set(func() { s.down = true })
	o := newFakeOrigin(t, "a")
	host, port, _ := net.SplitHostPort(o.addr())
	e := startEdge(t, func(c *Config) {
		c.Resolver, c.ResolveInterval = s.resolver(), time.Second
		c.Origins = []config.Origin{{Address: "dns:xmpp.example.org:" + port, Domains: []string{"example.org"}}}
	})
	c := connect(t, e)
	node := o.named("127.0.0.1")
	c.post(creation(""))
	c.get().want(t, 503, "")
	c.post(empty(tagged("s", node), 2)) // a session from before a restart of the edge
	c.get().want(t, 503, "")
	s.set(func() { s.down, s.ips["xmpp.example.org"] = false, []netip.Addr{netip.MustParseAddr(host)} })
	l := o.link()
	until(t, e, LinksUp, 1)
	c.post(empty(tagged("s", node), 2))
	l.reply(l.next().id, "<body/>")
	c.get().want(t, 200, "<body/>")
	c.post(empty(tagged("s", "other"), 2))
	c.get().want(t, 200, "item-not-found")
}

// between is a resolver that calls happens during each look-up.
type between struct {
	Resolver
	happens func()
}

func (b *between) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	b.happens()
	return b.Resolver.LookupNetIP(ctx, network, host)
}

// TestReloadDuringALookUp: a look-up for an older configuration does not replace a newer one.
func TestReloadDuringALookUp(t *testing.T) {
	s := newNameServer(t)
	s.set(func() { s.ips["a.example.org"] = []netip.Addr{netip.MustParseAddr("127.0.0.1")} })
	b := &between{s.resolver(), func() {}}
	o := newFakeOrigin(t, "a")
	e := startEdge(t, func(c *Config) {
		c.Resolver, c.Origins = b, []config.Origin{{Name: "a", Address: "a.example.org:1"}}
	})
	b.happens = func() {
		s.set(func() { s.ips["a.example.org"] = []netip.Addr{netip.MustParseAddr("127.0.0.2")} })
		reload(t, e, func(c *Config) { c.Origins[0].Address = o.addr() })
	}
	e.lookAgain(t.Context())
	if got := e.settings().places[0]; got.Address != o.addr() || got.addr.String() != o.addr() {
		t.Errorf("in force: %+v", got)
	}
	e.Advance(60) // a dial has failed
	o.link()
}

// TestOriginsNeverFound: clients are told so after the grace.
func TestOriginsNeverFound(t *testing.T) {
	s := newNameServer(t)
	e := startEdge(t, func(c *Config) {
		c.Resolver, c.Grace = s.resolver(), time.Second
		c.Origins = []config.Origin{{Address: "dns:nowhere.example.org:5279"}}
	})
	c := connect(t, e)
	c.post(creation(""))
	c.get().want(t, 503, "")
	e.Advance(20)
	c.post(creation(""))
	c.get().want(t, 200, "remote-connection-failed")
}

// TestOriginsByAddress: each address becomes an origin, with the same name on every edge.
func TestOriginsByAddress(t *testing.T) {
	s := newNameServer(t)
	s.set(func() {
		s.ips["xmpp.example.org"] = []netip.Addr{netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("2001:db8::1"),
			netip.MustParseAddr("192.0.2.1")}
	})
	d := newDirectory(s.resolver(), slog.Default())
	o := config.Origin{Address: "dns:xmpp.example.org:5279", Weight: 3, Drain: true}
	for range 2 { // the second time from memory
		places, waiting := d.find(t.Context(), []config.Origin{o})
		var got []string
		for _, p := range places {
			got = append(got, p.Name+"="+p.addr.String())
			if p.Weight != 3 || p.Drain != o.Drain {
				t.Errorf("%+v", p)
			}
		}
		want := "192.0.2.1-5279=192.0.2.1:5279 192.0.2.9-5279=192.0.2.9:5279 2001-db8--1-5279=[2001:db8::1]:5279"
		if strings.Join(got, " ") != want || waiting {
			t.Errorf("found %v, waiting %v", got, waiting)
		}
		s.set(func() { s.down = true })
		o.Drain = false
	}
}

func TestNodeName(t *testing.T) {
	long := strings.Repeat("a", 63) + ".example.org"
	for _, c := range []struct{ host, want string }{{"h.example", "h.example-1"}, {"::1", "--1-1"},
		{long, nodeName(long, 1)}} {
		if got := nodeName(c.host, 1); got != c.want || len(got) > 64 {
			t.Errorf("%s: %s", c.host, got)
		}
	}
	if nodeName(long, 1) == nodeName(long, 2) || !strings.HasPrefix(nodeName(long, 1), "dns-") {
		t.Error("long names are not distinguished")
	}
}
