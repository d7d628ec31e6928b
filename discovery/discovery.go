// Package discovery finds the addresses of an edge's origins.
//
// The address of an origin is an IP address, a host name, or a name in DNS whose records each stand for an origin
// (config.Endpoint). Find looks all of them up at once, on ordinary threads because a reactor must not wait. It keeps
// no state. The caller passes the last result, from which Find takes the origins that a look-up could not find. So a
// name server that is down does not empty an edge, and the memory is that of one result.
package discovery

import (
	"cmp"
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
	"megaphone/config"
)

// Resolver is the part of net.Resolver that finds origins.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, addrs []*net.SRV, err error)
}

// Finder looks origins up.
type Finder struct {
	Resolver Resolver
	Log      *slog.Logger
}

// Origin is an origin with its address.
type Origin struct {
	config.Origin                // of a DNS record: with the record's name, address and weight
	Addr          netip.AddrPort // invalid: its name has not been resolved yet
	Priority      uint16         // of an SRV record: clients try the lowest one first (RFC 2782)
}

// Found is the result of Find. It is immutable.
type Found struct {
	Origins []Origin
	Missing bool // an endpoint has never been found

	known map[config.Endpoint][]Origin // the origins of each endpoint with a name, before any were ignored
}

// Equal reports whether both results have the same origins. They must be of the same configuration.
func (f *Found) Equal(g *Found) bool {
	return f.Missing == g.Missing && slices.EqualFunc(f.Origins, g.Origins, func(a, b Origin) bool {
		return a.Name == b.Name && a.Address == b.Address && a.Addr == b.Addr && a.Weight == b.Weight &&
			a.Priority == b.Priority
	})
}

// lookupTimeout bounds the look-ups of one Find.
const lookupTimeout = 5 * time.Second

// Find looks all origins up at once. If a look-up fails or finds nothing, the endpoint keeps its origins in last, which
// may be nil.
func (f *Finder) Find(ctx context.Context, origins []config.OriginValues, last *Found) *Found {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	if last == nil {
		last = new(Found)
	}
	found := make([][]Origin, len(origins))
	var all sync.WaitGroup
	for i := range origins {
		o := &origins[i]
		all.Go(func() { found[i] = f.findOne(ctx, o, last.known[o.Endpoint]) })
	}
	all.Wait()
	result := &Found{known: map[config.Endpoint][]Origin{}}
	for i, list := range found {
		if e := &origins[i].Endpoint; e.Named() {
			result.known[*e] = list
		}
		result.Missing = result.Missing || len(list) == 0 || !list[0].Addr.IsValid()
	}
	result.Origins = f.fitting(slices.Concat(found...))
	return result
}

// fitting returns the origins that an edge can have together: with different node tags, and not too many.
func (f *Finder) fitting(all []Origin) (some []Origin) {
	tags := map[[boshbody.TagBytes]byte]string{}
	for _, o := range all {
		tag := boshbody.TagOf(o.Name)
		if other, taken := tags[tag]; taken {
			f.Log.Warn("origin ignored: duplicate node tag", "origin", o.Name, "other", other)
			continue
		}
		tags[tag] = o.Name
		some = append(some, o)
	}
	if len(some) > config.MaxOrigins {
		f.Log.Warn("origins ignored: too many", "origins", len(some), "max", config.MaxOrigins)
		some = some[:config.MaxOrigins]
	}
	return some
}

// findOne returns the origins of an endpoint, which has had the origins in last.
func (f *Finder) findOne(ctx context.Context, o *config.OriginValues, last []Origin) []Origin {
	e := &o.Endpoint
	if !e.Named() {
		return []Origin{{Origin: o.Origin, Addr: e.Addr}}
	}
	found, err := f.lookUp(ctx, o)
	if err == nil && len(found) > 0 {
		return found
	}
	if !errors.Is(ctx.Err(), context.Canceled) {
		f.Log.Warn("origin address not found", "origin", o.Name, "address", o.Address, "error", err)
	}
	if len(last) == 0 && !e.PerRecord() {
		return []Origin{{Origin: o.Origin}}
	}
	found = slices.Clone(last)
	for i := range found { // they are those of an older configuration
		p := &found[i]
		if !e.PerRecord() {
			p.Origin = o.Origin
		}
		p.Domains, p.Drain = o.Domains, o.Drain
		p.Weight = cmp.Or(o.Weight, p.Weight) // 0: SRV records have their own
	}
	return found
}

// lookUp asks the resolver for the origins of an endpoint with a name.
func (f *Finder) lookUp(ctx context.Context, o *config.OriginValues) (found []Origin, err error) {
	e := &o.Endpoint
	if e.Lookup == config.LookupSRV {
		return f.services(ctx, o)
	}
	ips, err := f.Resolver.LookupNetIP(ctx, "ip", e.Host)
	switch {
	case err != nil || len(ips) == 0:
		return nil, err
	case e.Lookup == config.LookupHost:
		return []Origin{{Origin: o.Origin, Addr: netip.AddrPortFrom(preferred(ips), e.Port)}}, nil
	}
	for _, ip := range ips {
		at := netip.AddrPortFrom(ip.Unmap(), e.Port)
		found = append(found, ofRecord(o.Origin, at, at.Addr().String(), e.Port))
	}
	return byName(found), nil
}

// services returns an origin for each SRV record (RFC 2782).
func (f *Finder) services(ctx context.Context, o *config.OriginValues) (found []Origin, err error) {
	name := o.Endpoint.Host
	_, records, err := f.Resolver.LookupSRV(ctx, "", "", name)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		host := strings.ToLower(strings.TrimSuffix(r.Target, "."))
		if host == "" {
			continue // "the service is decidedly not available at this domain"
		}
		var at netip.AddrPort
		if ips, err := f.Resolver.LookupNetIP(ctx, "ip", host); err == nil && len(ips) > 0 {
			at = netip.AddrPortFrom(preferred(ips), r.Port)
		} else {
			f.Log.Warn("SRV host not found", "origin", name, "host", host, "error", err)
		}
		p := ofRecord(o.Origin, at, host, r.Port)
		p.Weight, p.Priority = max(1, int(r.Weight)), r.Priority
		found = append(found, p)
	}
	return byName(found), nil
}

// ofRecord returns the origin of a record. Its name consists of host and port alone, because the tag in session IDs is
// a hash of it. So it is the same on every edge, whatever other records there are.
func ofRecord(o config.Origin, at netip.AddrPort, host string, port uint16) Origin {
	o.Name = recordName(host, port)
	o.Address = net.JoinHostPort(host, fmt.Sprint(port))
	return Origin{Origin: o, Addr: at}
}

// recordName returns host-port if that is a valid name. Colons become dashes, and long names are hashed.
func recordName(host string, port uint16) string {
	name := fmt.Sprintf("%s-%d", strings.ReplaceAll(host, ":", "-"), port)
	if !frame.ValidName(name) {
		name = fmt.Sprintf("dns-%016x", xxhash.Sum64String(name))
	}
	return name
}

// byName sorts origins, and drops those with the same name as another one.
func byName(list []Origin) []Origin {
	slices.SortFunc(list, func(a, b Origin) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(list, func(a, b Origin) bool { return a.Name == b.Name })
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
