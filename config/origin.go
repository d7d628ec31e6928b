package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"megaphone/codec/boshbody"
	"megaphone/codec/frame"
	"megaphone/internal/textfile"
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

	TLS        bool
	CA         string // PEM file with the roots for its certificate; "": those of the system
	ServerName string // in its certificate; "": the host in Address
}

// OriginValues is a valid origin with its address parsed.
type OriginValues struct {
	Origin
	Endpoint Endpoint       // parsed from Address
	Roots    *x509.CertPool // with TLS
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

// setOrigins fills in the defaults of a copy of the origins.
func (c *Config) setOrigins() {
	c.Origins = slices.Clone(c.Origins)
	for i := range c.Origins {
		if o := &c.Origins[i]; !strings.HasPrefix(o.Address, srvPrefix) {
			set(&o.Weight, defaultWeight)
		}
	}
}

func parseOrigins(c *Config, v *Values) error {
	switch n := len(c.Origins); {
	case n == 0:
		return bad("origins", "none", "name at least one origin, for example a=127.0.0.1:5279")
	case n > MaxOrigins:
		return bad("origins", n, fmt.Sprintf("at most %d", MaxOrigins))
	}
	tags := map[[boshbody.TagBytes]byte]string{}
	for i := range c.Origins {
		at := fmt.Sprintf("origins[%d].", i)
		o := OriginValues{Origin: c.Origins[i]}
		if err := parseKeys(originKeys, at, &o.Origin, &o); err != nil {
			return err
		}
		v.Origins = append(v.Origins, o)
		if o.Endpoint.PerRecord() {
			continue
		}
		tag := boshbody.TagOf(o.Name)
		if other, ok := tags[tag]; ok {
			return bad(at+"name", o.Name, fmt.Sprintf("%q has the same node tag (or name); rename one", other))
		}
		tags[tag] = o.Name
	}
	return nil
}

// parseOriginAddress also checks the name, which depends on the address.
func parseOriginAddress(o *Origin, v *OriginValues) error {
	e, remedy := parseEndpoint(o.Address)
	switch {
	case remedy != "":
		return bad("address", o.Address, remedy)
	case e.PerRecord() && o.Name != "":
		return bad("name", o.Name, "leave it out: such origins are named after their DNS records")
	case !e.PerRecord() && !frame.ValidName(o.Name):
		return bad("name", o.Name, "an origin's name is 1 to 64 letters, digits, dots, underscores or dashes")
	}
	v.Endpoint = e
	return nil
}

// parseOriginTLS fills in the server name.
func parseOriginTLS(o *Origin, v *OriginValues) error {
	switch {
	case !o.TLS && (o.CA != "" || o.ServerName != ""):
		return bad("tls", o.TLS, "ca and server-name are for links with TLS: set tls to true")
	case !o.TLS:
		return nil
	case o.ServerName != "":
	case v.Endpoint.Lookup == LookupSRV:
		return bad("server-name", `""`, "give the name in the certificates of these origins")
	case v.Endpoint.Host != "":
		o.ServerName = strings.ToLower(strings.TrimSuffix(v.Endpoint.Host, "."))
	default:
		o.ServerName = v.Endpoint.Addr.Addr().String()
	}
	return nil
}

// readRoots reads the roots of origins and of directories.
func (v *Values) readRoots() (err error) {
	for i := range v.Origins {
		o, key := &v.Origins[i], fmt.Sprintf("origins[%d].ca", i)
		switch {
		case !o.TLS:
		case o.CA != "":
			if o.Roots, err = readRoots(key, o.CA); err != nil {
				return err
			}
		default:
			if o.Roots, err = x509.SystemCertPool(); err != nil {
				return bad(key, `""`, "this host has no roots ("+err.Error()+"): give a file")
			}
		}
	}
	for i := range v.Listeners {
		if s := v.Listeners[i].TLS; s != nil && s.ACME != nil && s.ACME.DirectoryCA != "" {
			key := fmt.Sprintf("listeners[%d].tls.acme.directory-ca", i)
			if _, err := readRoots(key, s.ACME.DirectoryCA); err != nil {
				return err
			}
		}
	}
	return nil
}

func readRoots(key, name string) (*x509.CertPool, error) {
	text, err := textfile.Read(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, bad(key, name, "no such file: give the roots of the CA in PEM format")
	case err != nil:
		return nil, bad(key, name, reasonOf(err))
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(text)) {
		return nil, bad(key, name, "no certificate in PEM format")
	}
	return pool, nil
}

func parseOriginWeight(o *Origin, v *OriginValues) error {
	if v.Endpoint.Lookup == LookupSRV && o.Weight != 0 {
		return bad("weight", o.Weight, "leave it out: SRV records have their own weights")
	}
	return nil
}

// parseTags parses whether session IDs are tagged, which several origins need.
func parseTags(c *Config, v *Values) error {
	v.Tags = map[string]Tags{"on": TagsOn, "off": TagsOff}[c.Tags]
	if v.Tags == TagsOff && (len(v.Origins) > 1 || v.Origins[0].Endpoint.PerRecord()) {
		return bad("node-tags", c.Tags, "requests are routed by the tag if there are several origins: use auto or on")
	}
	return nil
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
