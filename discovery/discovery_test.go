package discovery

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"megaphone/config"
	"megaphone/discovery/dnstest"
)

const service = "_megaphone._tcp.example.org"

// parse returns the parsed form of origins.
func parse(t *testing.T, origins ...config.Origin) []config.OriginValues {
	t.Helper()
	v, err := config.Config{Origins: origins}.Values()
	if err != nil {
		t.Fatal(err)
	}
	return v.Origins
}

// finder returns a finder that asks s, and its log.
func finder(s *dnstest.Server) (*Finder, *bytes.Buffer) {
	log := new(bytes.Buffer)
	return &Finder{s.Resolver(), slog.New(slog.NewTextHandler(log, nil))}, log
}

// text returns a result as name=address/weight/priority, with ? if an origin is missing.
func (f *Found) text() string {
	var all []string
	for _, o := range f.Origins {
		all = append(all, fmt.Sprintf("%s=%v/%d/%d", o.Name, o.Addr, o.Weight, o.Priority))
	}
	if f.Missing {
		all = append(all, "?")
	}
	return strings.Join(all, " ")
}

func ips(all ...string) (list []netip.Addr) {
	for _, s := range all {
		list = append(list, netip.MustParseAddr(s))
	}
	return list
}

func srv(target string, port, priority, weight uint16) dnsmessage.SRVResource {
	return dnsmessage.SRVResource{Target: dnsmessage.MustNewName(target + "."), Port: port, Priority: priority,
		Weight: weight}
}

func TestPreferredAddress(t *testing.T) {
	for _, c := range []struct {
		ips  []string
		want string
	}{
		{[]string{"127.0.0.1"}, "127.0.0.1"},
		{[]string{"::1", "127.0.0.1"}, "127.0.0.1"},
		{[]string{"2001:db8::1", "::ffff:192.0.2.1", "192.0.2.2"}, "192.0.2.1"},
		{[]string{"2001:db8::1", "2001:db8::2"}, "2001:db8::1"},
	} {
		if got := preferred(ips(c.ips...)); got != netip.MustParseAddr(c.want) {
			t.Errorf("of %v: %v, want %s", c.ips, got, c.want)
		}
	}
}

// An origin can be given by name. A name without an address is looked up again later, and is no error.
func TestLocalhostIsFound(t *testing.T) {
	f, log := finder(dnstest.New(t))
	found := f.Find(t.Context(), parse(t, config.Origin{Name: "a", Address: "localhost:5279"},
		config.Origin{Name: "b", Address: "127.0.0.1:1"}, config.Origin{Name: "c", Address: "nowhere.example:1"}), nil)
	if got := found.text(); got != "a=127.0.0.1:5279/1/0 b=127.0.0.1:1/1/0 c=invalid AddrPort/1/0 ?" {
		t.Error(got)
	}
	if s := log.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "origin=c address=nowhere.example:1") {
		t.Error(s)
	}
}

// TestOriginsByAddress: each address becomes an origin, with the same name on every edge.
func TestOriginsByAddress(t *testing.T) {
	s := dnstest.New(t)
	s.Set(func() { s.IPs["xmpp.example.org"] = ips("192.0.2.9", "2001:db8::1", "192.0.2.1") })
	f, _ := finder(s)
	o := config.Origin{Address: "dns:xmpp.example.org:5279", Weight: 3, Drain: true}
	var found *Found
	for range 2 { // the second time from the last result, with the new configuration
		found = f.Find(t.Context(), parse(t, o), found)
		want := fmt.Sprintf("192.0.2.1-5279=192.0.2.1:5279/%[1]d/0 192.0.2.9-5279=192.0.2.9:5279/%[1]d/0 "+
			"2001-db8--1-5279=[2001:db8::1]:5279/%[1]d/0", o.Weight)
		if got := found.text(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		for _, p := range found.Origins {
			if p.Drain != o.Drain || p.Address != p.Addr.String() {
				t.Errorf("%+v", p)
			}
		}
		s.Set(func() { s.Down = true })
		o.Drain, o.Weight = false, 4
	}
}

// TestServices: each SRV record becomes an origin, whether its host has an address or not.
func TestServices(t *testing.T) {
	s := dnstest.New(t)
	s.Set(func() {
		s.IPs["a.example"], s.IPs["b.example"] = ips("::1", "127.0.0.1"), ips("127.0.0.2")
		s.SRV[service] = []dnsmessage.SRVResource{srv("B.example", 2, 20, 0), srv("A.example", 1, 10, 7),
			srv("a.example", 1, 30, 9), srv("c.example", 3, 10, 1), srv("", 4, 0, 0)}
	})
	f, log := finder(s)
	const want = "a.example-1=127.0.0.1:1/7/10 b.example-2=127.0.0.2:2/1/20 c.example-3=invalid AddrPort/1/10"
	found := f.Find(t.Context(), parse(t, config.Origin{Address: "dns+srv:" + service}), nil)
	if got := found.text(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if !strings.Contains(log.String(), `msg="SRV host not found" origin=`+service+" host=c.example") {
		t.Error(log)
	}
}

// TestLastResultStays: an endpoint that cannot be found, or has no records, keeps the origins of the last result.
func TestLastResultStays(t *testing.T) {
	s := dnstest.New(t)
	s.Set(func() {
		s.IPs["a.example"] = ips("127.0.0.1")
		s.SRV[service] = []dnsmessage.SRVResource{srv("a.example", 1, 0, 5)}
	})
	f, _ := finder(s)
	both := []config.Origin{{Address: "dns+srv:" + service}, {Name: "h", Address: "a.example:2"}}
	first := f.Find(t.Context(), parse(t, both...), nil)
	const want = "a.example-1=127.0.0.1:1/5/0 h=127.0.0.1:2/1/0"
	if got := first.text(); got != want {
		t.Fatal(got)
	}
	found := first
	for name, change := range map[string]func(){
		"down": func() { s.Down = true },
		"none": func() { s.Down, s.SRV[service], s.IPs["a.example"] = false, nil, nil },
	} {
		s.Set(change)
		if found = f.Find(t.Context(), parse(t, both...), found); found.text() != want || !found.Equal(first) {
			t.Errorf("%s: %s", name, found.text())
		}
	}
	both[1].Name = "renamed"
	if got := f.Find(t.Context(), parse(t, both...), found).text(); !strings.Contains(got, "renamed=127.0.0.1:2") {
		t.Error(got)
	}
	found = f.Find(t.Context(), parse(t, both[0]), found)
	if len(found.known) != 1 {
		t.Errorf("%d endpoints are remembered, 1 is configured", len(found.known))
	}
	if got := f.Find(t.Context(), parse(t, both[0]), nil).text(); got != "?" {
		t.Errorf("without a last result: %s", got)
	}
}

// TestACanceledFindIsQuiet: an edge that stops does not warn of the look-ups that it gives up.
func TestACanceledFindIsQuiet(t *testing.T) {
	f, log := finder(dnstest.New(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f.Find(ctx, parse(t, config.Origin{Name: "a", Address: "a.example:1"}), nil)
	if log.Len() > 0 {
		t.Error(log)
	}
}

// TestOriginsThatDoNotFit: records that are one origin twice, and more records than links.
func TestOriginsThatDoNotFit(t *testing.T) {
	s := dnstest.New(t)
	var many []string
	for i := range config.MaxOrigins + 5 {
		many = append(many, fmt.Sprintf("10.0.0.%d", i))
	}
	s.Set(func() { s.IPs["a.example"], s.IPs["many.example"] = ips("127.0.0.1"), ips(many...) })
	f, log := finder(s)
	found := f.Find(t.Context(), parse(t, config.Origin{Name: "127.0.0.1-1", Address: "127.0.0.9:9"},
		config.Origin{Address: "dns:a.example:1"}), nil)
	if got := found.text(); got != "127.0.0.1-1=127.0.0.9:9/1/0" {
		t.Error(got)
	}
	found = f.Find(t.Context(), parse(t, config.Origin{Address: "dns:many.example:1"}), nil)
	if n := len(found.Origins); n != config.MaxOrigins {
		t.Errorf("%d origins", n)
	}
	for _, want := range []string{`msg="origin ignored: duplicate node tag" origin=127.0.0.1-1`,
		fmt.Sprintf(`msg="origins ignored: too many" origins=%d max=%d`, len(many), config.MaxOrigins)} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %s in %s", want, log)
		}
	}
}

// TestEqual: each property that a look-up may change makes a difference.
func TestEqual(t *testing.T) {
	base := Found{Origins: []Origin{{Origin: config.Origin{Name: "a", Address: "a:1", Weight: 1}}}}
	for i, change := range []func(f *Found){
		func(f *Found) { f.Missing = true },
		func(f *Found) { f.Origins = nil },
		func(f *Found) { f.Origins[0].Name = "b" },
		func(f *Found) { f.Origins[0].Address = "b:1" },
		func(f *Found) { f.Origins[0].Addr = netip.MustParseAddrPort("127.0.0.1:1") },
		func(f *Found) { f.Origins[0].Weight = 2 },
		func(f *Found) { f.Origins[0].Priority = 1 },
	} {
		other := base
		other.Origins = slices.Clone(base.Origins)
		if !base.Equal(&other) {
			t.Fatal("a copy is not equal")
		}
		if change(&other); base.Equal(&other) {
			t.Errorf("change %d makes no difference", i)
		}
	}
}

func TestRecordName(t *testing.T) {
	long := strings.Repeat("a", 63) + ".example.org"
	for _, c := range []struct{ host, want string }{{"h.example", "h.example-1"}, {"::1", "--1-1"},
		{long, recordName(long, 1)}} {
		if got := recordName(c.host, 1); got != c.want || len(got) > 64 {
			t.Errorf("%s: %s", c.host, got)
		}
	}
	if recordName(long, 1) == recordName(long, 2) || !strings.HasPrefix(recordName(long, 1), "dns-") {
		t.Error("long names are not distinguished")
	}
}
