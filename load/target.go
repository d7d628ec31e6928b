package load

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// target is the endpoint under load.
type target struct {
	url  string
	host string // for the Host header, as written in the URL
	name string // the host without the port
	path string

	secure    bool // https or wss
	websocket bool // ws or wss
	at        netip.AddrPort
}

var schemes = []string{"http", "https", "ws", "wss"}

// transportOf returns the transport of a target by its URL.
func transportOf(url string) Transport {
	if scheme, _, _ := strings.Cut(strings.ToLower(url), ":"); scheme == "ws" || scheme == "wss" {
		return WebSocket
	}
	return BOSH
}

// resolveTarget parses a URL and resolves its address. Unless public is set it only accepts loopback, private (RFC
// 1918, RFC 4193) and link-local addresses, because this program can take a server down.
func resolveTarget(ctx context.Context, text string, public bool) (t target, err error) {
	if !strings.Contains(text, "://") {
		return t, fmt.Errorf("%s: give a URL: did you mean http://%s?", text, text)
	}
	u, err := url.Parse(text)
	if err != nil {
		return t, fmt.Errorf("%s: not a URL, for example http://127.0.0.1:5280/http-bind", text)
	}
	switch {
	case !slices.Contains(schemes, u.Scheme):
		return t, fmt.Errorf("%s: only http:// and https:// (BOSH), ws:// and wss:// (WebSocket) are supported", text)
	case u.Hostname() == "":
		return t, fmt.Errorf("%s: has no host, for example http://127.0.0.1:5280/http-bind", text)
	case u.User != nil || u.Fragment != "":
		return t, fmt.Errorf("%s: leave out user and fragment", text)
	}
	t = target{url: text, host: u.Host, name: u.Hostname(), path: u.RequestURI(),
		secure: u.Scheme == "https" || u.Scheme == "wss", websocket: strings.HasPrefix(u.Scheme, "ws")}
	port := 80
	if t.secure {
		port = 443
	}
	if p := u.Port(); p != "" {
		if port, err = strconv.Atoi(p); err != nil || port < 1 || port > 65535 {
			return t, fmt.Errorf("%s: the port is not a number from 1 to 65535", text)
		}
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", t.name)
	if err != nil {
		return t, err
	}
	addr := choose(addrs)
	if !public && !isNear(addr) {
		return t, fmt.Errorf("%s is %s, a public address: load only your own servers, with --allow-public",
			text, addr)
	}
	t.at = netip.AddrPortFrom(addr, uint16(port))
	return t, nil
}

// domain returns the likely XMPP domain: that of the URL, or localhost for a loopback address.
func (t *target) domain() string {
	if a, err := netip.ParseAddr(t.name); err == nil && a.IsLoopback() {
		return "localhost"
	}
	return t.name
}

// choose prefers IPv4, because its loopback network has more than one source address.
func choose(addrs []netip.Addr) netip.Addr {
	for _, a := range addrs {
		if a.Unmap().Is4() {
			return a.Unmap()
		}
	}
	return addrs[0]
}

// isNear reports whether an address cannot be on the internet.
func isNear(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast()
}
