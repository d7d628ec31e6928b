package config

import (
	"net/netip"
	"slices"
	"strings"

	"megaphone/codec/frame"
)

// Bounds of origins.
const (
	// MaxOrigins bounds the origins of one edge. Each reactor has a link to each of them.
	MaxOrigins = 60

	// maxWeight bounds an origin's weight. The sum of all weights, and a weight times the held requests, must not
	// overflow.
	maxWeight = 65535
)

// Prefixes of an address that stands for one origin per DNS record.
const (
	srvPrefix     = "dns+srv:" // _service._proto.name: an origin per SRV record
	addressPrefix = "dns:"     // name:port: an origin per A and AAAA record
)

// Origin is a server of BOSH sessions at the other end of a link.
type Origin struct {
	Name    string   // 1 to 64 of [A-Za-z0-9._-]; the node tag of its sessions is a hash of it
	Address string   // host:port of its link listener
	Domains []string // new sessions only for these values of `to`; none: any
	Weight  int      // its share of new sessions; default 1
	Drain   bool     // no new sessions
}

// OriginValues is a valid origin with its address parsed.
type OriginValues struct {
	Origin
	Endpoint Endpoint // parsed from Address
}

// Endpoint is the parsed address of an origin.
type Endpoint struct {
	Lookup Lookup
	Host   string         // to look up; with LookupSRV the name of the records
	Port   uint16         // 0 with LookupSRV, because each record has its own
	Addr   netip.AddrPort // with LookupNone only
}

// Lookup is how the addresses of an origin are found.
type Lookup uint8

const (
	LookupNone    Lookup = iota // it is an IP address
	LookupHost                  // one origin, at an address of the host
	LookupAddress               // dns: an origin per A and AAAA record
	LookupSRV                   // dns+srv: an origin per SRV record
)

// PerRecord reports whether each DNS record is an origin.
func (e *Endpoint) PerRecord() bool { return e.Lookup == LookupAddress || e.Lookup == LookupSRV }

// Named reports whether there is a name to look up.
func (e *Endpoint) Named() bool { return e.Lookup != LookupNone }

// MaxLinks returns the maximum number of a reactor's links to origins. Each origin counts twice, because a reload dials
// new links while the old ones close. If DNS decides the number of origins, it is MaxOrigins.
func (v *Values) MaxLinks() int {
	if slices.ContainsFunc(v.Origins, func(o OriginValues) bool { return o.Endpoint.PerRecord() }) {
		return 2 * MaxOrigins
	}
	return 2 * len(v.Origins)
}

// parse parses an origin's address and checks its other keys.
func (o *Origin) parse(at string) (v OriginValues, err error) {
	e, remedy := parseEndpoint(o.Address)
	switch {
	case remedy != "":
		return v, bad(at+"address", o.Address, remedy)
	case e.PerRecord() && o.Name != "":
		return v, bad(at+"name", o.Name, "leave it out: such origins are named after their DNS records")
	case !e.PerRecord() && !frame.ValidName(o.Name):
		return v, bad(at+"name", o.Name, "an origin's name is 1 to 64 letters, digits, dots, underscores or dashes")
	case e.Lookup == LookupSRV && o.Weight != 0:
		return v, bad(at+"weight", o.Weight, "leave it out: SRV records have their own weights")
	case e.Lookup == LookupSRV:
		return OriginValues{*o, e}, nil
	}
	for i := range originKeys {
		k := &originKeys[i]
		if remedy, ok := k.check(o); !ok {
			return v, bad(at+k.Name, text(k.Value(o)), remedy)
		}
	}
	return OriginValues{*o, e}, nil
}

// parseEndpoint parses an origin's address. The remedy is "" if it is valid.
func parseEndpoint(address string) (e Endpoint, remedy string) {
	if name, ok := strings.CutPrefix(address, srvPrefix); ok {
		if !validHost(name) {
			return e, "name SRV records, for example dns+srv:_megaphone._tcp.example.org"
		}
		return Endpoint{Lookup: LookupSRV, Host: name}, ""
	}
	rest, each := strings.CutPrefix(address, addressPrefix)
	host, port, wrong := splitAddress(rest, 1)
	switch {
	case !strings.Contains(address, ":"):
		return e, "give host:port, for example 127.0.0.1:5279; as a flag a=127.0.0.1:5279"
	case wrong != "":
		return e, wrong
	case host == "":
		return e, "say which host, for example 127.0.0.1" + address
	}
	e = Endpoint{Lookup: LookupHost, Host: host, Port: uint16(port)}
	if ip, err := netip.ParseAddr(host); each {
		e.Lookup = LookupAddress
	} else if err == nil {
		e.Lookup, e.Addr = LookupNone, netip.AddrPortFrom(ip, e.Port)
	}
	return e, ""
}
