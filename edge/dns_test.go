package edge

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"megaphone/config"
	"megaphone/discovery"
	"megaphone/discovery/dnstest"
	"megaphone/stats"
)

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
	s := dnstest.New(t)
	a, b := newFakeOrigin(t, "a"), newFakeOrigin(t, "b")
	local := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}
	s.Set(func() {
		s.IPs["A.example.org"], s.IPs["a.example.org"], s.IPs["b.example.org"] = local, local, local
		s.SRV[service] = []dnsmessage.SRVResource{record("A.example.org", a, 10, 7), record("b.example.org", b, 20, 0)}
	})
	e := startEdge(t, func(c *Config) {
		c.Resolver = s.Resolver()
		c.Origins = []config.Origin{{Address: "dns+srv:" + service}}
	})
	al, bl := a.link(), b.link()
	until(t, e, stats.LinksUp, 2)
	inA, inB := a.named("a.example.org"), b.named("b.example.org")
	e.group.Do(func(_ reactor, h handler) {
		w := h.(*worker)
		na, nb := w.nodes.named(inA), w.nodes.named(inB)
		if na == nil || nb == nil || na.cfg.Weight != 7 || nb.cfg.Weight != 1 {
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

	s.Set(func() { s.Down = true }) // a failed look-up changes nothing
	before := e.settings()
	e.lookAgain(t.Context())
	s.Set(func() { s.Down = false; s.SRV[service] = nil }) // an empty answer counts as a failure
	e.lookAgain(t.Context())
	if e.settings() != before {
		t.Error("origins changed although none were found")
	}

	d := newFakeOrigin(t, "d")
	s.Set(func() {
		s.IPs["d.example.org"] = local
		s.SRV[service] = []dnsmessage.SRVResource{record("b.example.org", b, 20, 0), record("d.example.org", d, 5, 0)}
	})
	e.lookAgain(t.Context())
	dl := d.link()
	until(t, e, stats.LinksUp, 3)
	create(dl, d.named("d.example.org"))
	c.post(empty(tagged("s", inA), 2)) // sessions of the origin that left DNS continue
	al.reply(al.next().id, "<body/>")
	c.get().want(t, 200, "<body/>")
	e.group.Do(func(_ reactor, h handler) {
		if n := h.(*worker).nodes.named(inA); n == nil || !n.leaving {
			t.Errorf("%+v does not leave", n)
		}
	})
}

// TestOriginsAreLookedUpAgain: the edge looks them up by itself. Until they are found, clients get 503.
func TestOriginsAreLookedUpAgain(t *testing.T) {
	s := dnstest.New(t)
	s.Set(func() { s.Down = true })
	o := newFakeOrigin(t, "a")
	host, port, _ := net.SplitHostPort(o.addr())
	e := startEdge(t, func(c *Config) {
		c.Resolver, c.ResolveInterval = s.Resolver(), time.Second
		c.Origins = []config.Origin{{Address: "dns:xmpp.example.org:" + port, Domains: []string{"example.org"}}}
	})
	c := connect(t, e)
	node := o.named("127.0.0.1")
	c.post(creation(""))
	c.get().want(t, 503, "")
	c.post(empty(tagged("s", node), 2)) // a session from before a restart of the edge
	c.get().want(t, 503, "")
	s.Set(func() { s.Down, s.IPs["xmpp.example.org"] = false, []netip.Addr{netip.MustParseAddr(host)} })
	l := o.link()
	until(t, e, stats.LinksUp, 1)
	c.post(empty(tagged("s", node), 2))
	l.reply(l.next().id, "<body/>")
	c.get().want(t, 200, "<body/>")
	c.post(empty(tagged("s", "other"), 2))
	c.get().want(t, 200, "item-not-found")
}

// between is a resolver that calls happens during each look-up.
type between struct {
	discovery.Resolver
	happens func()
}

func (b *between) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	b.happens()
	return b.Resolver.LookupNetIP(ctx, network, host)
}

// TestReloadDuringALookUp: a look-up for an older configuration does not replace a newer one.
func TestReloadDuringALookUp(t *testing.T) {
	s := dnstest.New(t)
	s.Set(func() { s.IPs["a.example.org"] = []netip.Addr{netip.MustParseAddr("127.0.0.1")} })
	b := &between{s.Resolver(), func() {}}
	o := newFakeOrigin(t, "a")
	e := startEdge(t, func(c *Config) {
		c.Resolver, c.Origins = b, []config.Origin{{Name: "a", Address: "a.example.org:1"}}
	})
	b.happens = func() {
		s.Set(func() { s.IPs["a.example.org"] = []netip.Addr{netip.MustParseAddr("127.0.0.2")} })
		reload(t, e, func(c *Config) { c.Origins[0].Address = o.addr() })
	}
	e.lookAgain(t.Context())
	if got := e.settings().places[0]; got.Address != o.addr() || got.Addr.String() != o.addr() {
		t.Errorf("in force: %+v", got)
	}
	e.advance(60) // a dial has failed
	o.link()
}

// TestOriginsNeverFound: clients are told so after the grace.
func TestOriginsNeverFound(t *testing.T) {
	s := dnstest.New(t)
	e := startEdge(t, func(c *Config) {
		c.Resolver, c.Grace = s.Resolver(), time.Second
		c.Origins = []config.Origin{{Address: "dns:nowhere.example.org:5279"}}
	})
	c := connect(t, e)
	c.post(creation(""))
	c.get().want(t, 503, "")
	e.advance(20)
	c.post(creation(""))
	c.get().want(t, 200, "remote-connection-failed")
}
