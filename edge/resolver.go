package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"megaphone/codec/boshbody"
	"megaphone/codec/frame"
)

// Resolver is the part of net.Resolver that finds origins.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, addrs []*net.SRV, err error)
	LookupPort(ctx context.Context, network, service string) (port int, err error)
}

// Prefixes of an address that stands for one origin per DNS record.
const (
	fromSRV  = "dns+srv:" // _service._proto.name: an origin per SRV record
	fromAddr = "dns:"     // name:port: an origin per A and AAAA record
)

// lookupPatience bounds one look-up of one origin.
const lookupPatience = 5 * time.Second

// directory resolves the configured origins, on ordinary threads because a reactor must not.
type directory struct {
	resolver Resolver
	log      *slog.Logger

	mu   sync.Mutex
	last map[string][]place // by the origin's address: the last result
}

func newDirectory(r Resolver, log *slog.Logger) *directory {
	if r == nil {
		r = net.DefaultResolver
	}
	return &directory{resolver: r, log: log, last: map[string][]place{}}
}

// discovered reports whether the origin stands for the records of a name.
func (o *Origin) discovered() bool {
	return strings.HasPrefix(o.Address, fromSRV) || strings.HasPrefix(o.Address, fromAddr)
}

// named reports whether the address has a name to look up.
func (o *Origin) named() bool {
	_, err := netip.ParseAddrPort(o.Address)
	return err != nil
}

// find looks all origins up at once. If a look-up fails or finds nothing, it returns the origin's last known place,
// because a name server that is down must not empty an edge. waiting is set if one has never been found.
func (d *directory) find(ctx context.Context, origins []Origin) (places []place, waiting bool) {
	ctx, cancel := context.WithTimeout(ctx, lookupPatience)
	defer cancel()
	found := make([][]place, len(origins))
	var all sync.WaitGroup
	for i := range origins {
		all.Go(func() { found[i] = d.findOne(ctx, origins[i]) })
	}
	all.Wait()
	tags := map[[boshbody.TagBytes]byte]string{}
	for _, some := range found {
		waiting = waiting || len(some) == 0 || !some[0].addr.IsValid()
		for _, p := range some {
			tag := boshbody.TagOf(p.Name)
			if other, taken := tags[tag]; taken {
				d.log.Warn("origin ignored: duplicate node tag", "origin", p.Name, "other", other)
				continue
			}
			tags[tag] = p.Name
			places = append(places, p)
		}
	}
	if len(places) > MaxOrigins {
		d.log.Warn("origins ignored: too many", "origins", len(places), "max", MaxOrigins)
		places = places[:MaxOrigins]
	}
	return places, waiting
}

func (d *directory) findOne(ctx context.Context, o Origin) []place {
	if ap, err := netip.ParseAddrPort(o.Address); err == nil {
		return []place{{Origin: o, addr: ap}}
	}
	some, err := d.lookUp(ctx, o)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil && len(some) > 0 {
		d.last[o.Address] = some
		return some
	}
	if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		d.log.Warn("origin address not found", "origin", o.Name, "address", o.Address, "error", err)
	}
	if some = slices.Clone(d.last[o.Address]); some == nil && !o.discovered() {
		return []place{{Origin: o}}
	}
	for i := range some {
		some[i].Domains, some[i].Drain = o.Domains, o.Drain
		if !o.discovered() {
			some[i].Origin = o
		}
	}
	return some
}

func (d *directory) lookUp(ctx context.Context, o Origin) (some []place, err error) {
	if name, ok := strings.CutPrefix(o.Address, fromSRV); ok {
		return d.services(ctx, o, name)
	}
	address, each := strings.CutPrefix(o.Address, fromAddr)
	host, service, _ := net.SplitHostPort(address)
	port, err := d.resolver.LookupPort(ctx, "tcp", service)
	if err != nil {
		return nil, err
	}
	ips, err := d.resolver.LookupNetIP(ctx, "ip", host)
	switch {
	case err != nil || len(ips) == 0:
		return nil, err
	case !each:
		return []place{{Origin: o, addr: netip.AddrPortFrom(preferred(ips), uint16(port))}}, nil
	}
	for _, ip := range ips {
		some = append(some, discovered(o, netip.AddrPortFrom(ip.Unmap(), uint16(port)), ip.Unmap().String(), port))
	}
	return byName(some), nil
}

// services returns an origin for each SRV record (RFC 2782).
func (d *directory) services(ctx context.Context, o Origin, name string) (some []place, err error) {
	_, records, err := d.resolver.LookupSRV(ctx, "", "", name)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		host := strings.ToLower(strings.TrimSuffix(r.Target, "."))
		if host == "" {
			continue // "the service is decidedly not available at this domain"
		}
		var at netip.AddrPort
		if ips, err := d.resolver.LookupNetIP(ctx, "ip", host); err == nil && len(ips) > 0 {
			at = netip.AddrPortFrom(preferred(ips), r.Port)
		} else {
			d.log.Warn("SRV host not found", "origin", name, "host", host, "error", err)
		}
		p := discovered(o, at, host, int(r.Port))
		p.Weight, p.priority = max(1, int(r.Weight)), r.Priority
		some = append(some, p)
	}
	return byName(some), nil
}

// discovered returns the origin for a record. Its name consists of host and port alone, because the tag in session IDs
// is a hash of it. So it is the same on every edge, whatever other records there are.
func discovered(o Origin, at netip.AddrPort, host string, port int) place {
	o.Name = nodeName(host, port)
	o.Address = net.JoinHostPort(host, fmt.Sprint(port))
	return place{Origin: o, addr: at}
}

// nodeName returns host-port if that is a valid name. Colons become dashes, and long names are hashed.
func nodeName(host string, port int) string {
	name := fmt.Sprintf("%s-%d", strings.ReplaceAll(host, ":", "-"), port)
	if !frame.ValidName(name) {
		name = fmt.Sprintf("dns-%016x", xxhash.Sum64String(name))
	}
	return name
}

func byName(some []place) []place {
	slices.SortFunc(some, func(a, b place) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(some, func(a, b place) bool { return a.Name == b.Name })
}

// preferred returns the first IPv4 address, if there is one. Go makes the same choice for listening by name, so an
// origin on "localhost" is found although that is ::1 first.
func preferred(ips []netip.Addr) netip.Addr {
	for _, ip := range ips {
		if ip = ip.Unmap(); ip.Is4() {
			return ip
		}
	}
	return ips[0]
}
