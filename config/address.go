package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"megaphone/codec/frame"
)

// CheckAddress returns a remedy if no process can listen at host:port on any host, otherwise "".
func CheckAddress(address string) (remedy string) {
	_, _, remedy = splitAddress(address, 0)
	return remedy
}

// splitAddress splits host:port. The remedy is "" if the form is valid. Name servers and the kernel may still refuse
// it.
func splitAddress(address string, leastPort int) (host string, port int, remedy string) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		meant := "5280"
		if _, err := strconv.ParseUint(address, 10, 16); err == nil {
			meant = address
		}
		return "", 0, fmt.Sprintf("give host:port, for example 127.0.0.1:%[1]s, 0.0.0.0:%[1]s or [::1]:%[1]s", meant)
	}
	port, err = strconv.Atoi(service)
	switch {
	case strings.Contains(address, "$"):
		return "", 0, "write the value, because environment variables are not expanded here"
	case err != nil || service[0] == '+':
		return "", 0, fmt.Sprintf("the port %q is not a number: use %d to 65535", service, leastPort)
	case port < leastPort || port > 65535:
		return "", 0, fmt.Sprintf("the port %d is out of range: use %d to 65535", port, leastPort)
	case host != "" && !validHost(host):
		return "", 0, fmt.Sprintf("%q is neither an IP address nor a host name", host)
	}
	return host, port, ""
}

// validHost reports whether host is an IP address or has the form of a host name (RFC 1123 section 2.1). Its last label
// must not be a number, because 10.0.0.256 is a mistyped address.
func validHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	host = strings.TrimSuffix(host, ".")
	last := ""
	for label := range strings.SplitSeq(host, ".") {
		if len(label) == 0 || len(label) > 63 {
			return false
		}
		for _, c := range label {
			if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
		last = label
	}
	return len(host) <= 253 && strings.Trim(last, "0123456789") != ""
}

// unixPrefix begins the address of a unix socket.
const unixPrefix = "unix:"

// bound is an address or path that the edge binds at start, with its key.
type bound struct {
	key  string
	text string     // host:port, or the path of a unix socket
	host string     // as given
	port int        // 0: any free one
	ip   netip.Addr // of the host, if it is an address
	unix bool
}

// bind adds an address, host:port or unix:/path, to those that the edge binds. It returns an error if it is invalid, or
// if another key has it. others are further forms of the key's value, for the remedy.
func (v *Values) bind(key, address, others string) error {
	b := bound{key: key}
	if b.text, b.unix = strings.CutPrefix(address, unixPrefix); !b.unix {
		var remedy string
		if b.host, b.port, remedy = splitAddress(address, 0); remedy != "" {
			return bad(key, address, remedy+others)
		}
		if ip, err := netip.ParseAddr(b.host); err == nil {
			b.ip = ip.Unmap()
		}
	}
	for i := range v.bounds {
		if before := &v.bounds[i]; before.overlaps(&b) {
			return bad(key, b.text, fmt.Sprintf("%s has %s already: choose another", before.key, before.text))
		}
	}
	v.bounds = append(v.bounds, b)
	return nil
}

// overlaps reports whether two addresses cannot be bound at the same time.
func (b *bound) overlaps(o *bound) bool {
	switch {
	case b.unix || o.unix:
		return b.unix == o.unix && b.text == o.text
	case b.port != o.port || b.port == 0:
		return false
	case b.covers(o) || o.covers(b):
		return true
	case b.ip.IsValid() && o.ip.IsValid():
		return b.ip == o.ip
	}
	return strings.EqualFold(b.host, o.host)
}

// covers reports whether listening at b also takes the address o. The IPv6 wildcard also takes IPv4.
func (b *bound) covers(o *bound) bool {
	if b.host == "" || b.host == "::" {
		return true
	}
	return b.host == "0.0.0.0" && (!o.ip.IsValid() || o.ip.Is4())
}

// Addresses that are auto are not bound here: they wait until they are free, so they cannot collide.

func parseAdmin(c *Config, v *Values) error {
	if c.Admin == "auto" || c.Admin == "off" {
		return nil
	}
	return v.bind("admin", c.Admin, "; or auto, or off")
}

func parseAdminSocket(c *Config, v *Values) error {
	if c.AdminSocket == "auto" || c.AdminSocket == "off" {
		return nil
	}
	return v.bind("admin-socket", unixPrefix+c.AdminSocket, "")
}

func parseTakeoverSocket(c *Config, v *Values) error {
	if c.TakeoverSocket == "" {
		return nil
	}
	return v.bind("takeover-socket", unixPrefix+c.TakeoverSocket, "")
}

func parseName(c *Config, _ *Values) error {
	if !frame.ValidName(c.Name) {
		return bad("name", c.Name, "use 1 to 64 letters, digits, dots, underscores or dashes")
	}
	return nil
}
