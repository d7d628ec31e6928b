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
	FromSRV  = "dns+srv:" // _service._proto.name: an origin per SRV record
	FromAddr = "dns:"     // name:port: an origin per A and AAAA record
)

// Origin is a server of BOSH sessions at the other end of a link.
type Origin struct {
	Name    string   // 1 to 64 of [A-Za-z0-9._-]; the node tag of its sessions is a hash of it
	Address string   // host:port of its link listener
	Domains []string // new sessions only for these values of `to`; none: any
	Weight  int      // its share of new sessions; default 1
	Drain   bool     // no new sessions
}

// Discovered reports whether the origin stands for the records of a name.
func (o *Origin) Discovered() bool {
	return strings.HasPrefix(o.Address, FromSRV) || strings.HasPrefix(o.Address, FromAddr)
}

// Named reports whether the address has a name to look up.
func (o *Origin) Named() bool {
	_, err := netip.ParseAddrPort(o.Address)
	return err != nil
}

// MaxLinks returns the maximum number of a reactor's links to origins. Each origin counts twice, because a reload dials
// new links while the old ones close. If DNS decides the number of origins, it is MaxOrigins.
func (c *Config) MaxLinks() int {
	if slices.ContainsFunc(c.Origins, func(o Origin) bool { return o.Discovered() }) {
		return 2 * MaxOrigins
	}
	return 2 * len(c.Origins)
}

func (o *Origin) validate(at string) error {
	srv, isSRV := strings.CutPrefix(o.Address, FromSRV)
	host, _, wrong := splitAddress(strings.TrimPrefix(o.Address, FromAddr), 1)
	switch {
	case isSRV && !validHost(srv):
		return bad(at+"address", o.Address, "name SRV records, for example dns+srv:_megaphone._tcp.example.org")
	case !isSRV && !strings.Contains(o.Address, ":"):
		return bad(at+"address", o.Address, "give host:port, for example 127.0.0.1:5279; as a flag a=127.0.0.1:5279")
	case !isSRV && wrong != "":
		return bad(at+"address", o.Address, wrong)
	case !isSRV && host == "":
		return bad(at+"address", o.Address, "say which host, for example 127.0.0.1"+o.Address)
	case o.Discovered() && o.Name != "":
		return bad(at+"name", o.Name, "leave it out: such origins are named after their DNS records")
	case !o.Discovered() && !frame.ValidName(o.Name):
		return bad(at+"name", o.Name, "an origin's name is 1 to 64 letters, digits, dots, underscores or dashes")
	case isSRV && o.Weight != 0:
		return bad(at+"weight", o.Weight, "leave it out: SRV records have their own weights")
	case isSRV:
		return nil
	}
	for i := range originKeys {
		k := &originKeys[i]
		if remedy, ok := k.check(o); !ok {
			return bad(at+k.Name, text(k.Value(o)), remedy)
		}
	}
	return nil
}
