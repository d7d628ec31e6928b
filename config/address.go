package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
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

// bound is an address or path that the edge binds at start, with its key.
type bound struct {
	key, address string // host:port, or unix:/path
}

// overlap reports whether two addresses cannot be bound at the same time. Both have been checked.
func overlap(a, b string) bool {
	if strings.HasPrefix(a, "unix:") || strings.HasPrefix(b, "unix:") {
		return a == b
	}
	hostA, portA, _ := splitAddress(a, 0)
	hostB, portB, _ := splitAddress(b, 0)
	switch {
	case portA != portB || portA == 0:
		return false
	case covers(hostA, hostB) || covers(hostB, hostA):
		return true
	}
	ipA, errA := netip.ParseAddr(hostA)
	ipB, errB := netip.ParseAddr(hostB)
	if errA == nil && errB == nil {
		return ipA.Unmap() == ipB.Unmap()
	}
	return strings.EqualFold(hostA, hostB)
}

// covers reports whether listening at host any also takes the addresses of other. The IPv6 wildcard also takes IPv4.
func covers(any, other string) bool {
	if any == "" || any == "::" {
		return true
	}
	ip, err := netip.ParseAddr(other)
	return any == "0.0.0.0" && (other == "" || err != nil || ip.Unmap().Is4())
}

// bounds returns what the configuration binds. It omits auto addresses: they wait until they are free, so they cannot
// collide.
func (c *Config) bounds() (all []bound) {
	for i, l := range c.listeners() {
		all = append(all, bound{c.listenKey(i), l.Address})
	}
	if c.Admin != "auto" && c.Admin != "off" {
		all = append(all, bound{"admin", c.Admin})
	}
	if c.AdminSocket != "auto" && c.AdminSocket != "off" {
		all = append(all, bound{"admin-socket", "unix:" + c.AdminSocket})
	}
	if c.TakeoverSocket != "" {
		all = append(all, bound{"takeover-socket", "unix:" + c.TakeoverSocket})
	}
	return all
}

// listenKey returns the key of the address of listener i.
func (c *Config) listenKey(i int) string {
	if len(c.Listeners) > 0 {
		return fmt.Sprintf("listeners[%d].address", i)
	}
	return "listen"
}

// validateBounds rejects two keys with the same address or path.
func (c *Config) validateBounds() error {
	all := c.bounds()
	for i, b := range all {
		for _, before := range all[:i] {
			if overlap(before.address, b.address) {
				return bad(b.key, strings.TrimPrefix(b.address, "unix:"), fmt.Sprintf("%s has %s already: choose "+
					"another", before.key, strings.TrimPrefix(before.address, "unix:")))
			}
		}
	}
	return nil
}
