package config

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"megaphone/codec/proxy"
	"megaphone/loop"
)

// Listener is an address for clients.
type Listener struct {
	Address string      // host:port, or unix:/path
	Mode    fs.FileMode // of a unix socket; default 0660

	// How the edge identifies its clients.
	ProxyProtocol   string   // off, v1, v2, any
	TrustedProxies  []string // networks whose forwarding information is trusted
	ForwardedHeader string   // x-forwarded-for, forwarded, off

	TLS           TLS
	HTTPSRedirect string // off, or the port of the listener with TLS
}

// Clients is a listener with the rules that identify its clients.
type Clients struct {
	Address         string
	Mode            fs.FileMode           // of a unix socket
	ProxyProtocol   proxy.Versions        // 0: no PROXY header
	ForwardedHeader proxy.ForwardedHeader // of trusted proxies
	TrustedProxies  Networks
	TLS             *Secured // nil: plaintext
	HTTPSRedirect   uint16   // all requests are redirected to https at this port; 0: they are served
}

// Addresses returns the addresses of all listeners.
func (v *Values) Addresses() (all []string) {
	for _, l := range v.Listeners {
		all = append(all, l.Address)
	}
	return all
}

// setListeners fills in the defaults of a copy of the listeners.
func (c *Config) setListeners() {
	c.Listeners = slices.Clone(c.Listeners)
	for i := range c.Listeners {
		set(&c.Listeners[i].Mode, loop.DefaultSocketMode)
		set(&c.Listeners[i].ProxyProtocol, "off")
		set(&c.Listeners[i].ForwardedHeader, defaultForwardedHeader)
		set(&c.Listeners[i].HTTPSRedirect, "off")
		set(&c.Listeners[i].TLS.MinVersion, defaultMinVersion)
		c.Listeners[i].TLS.ACME.setDefaults()
	}
}

// parseListen parses the short form of a single listener.
func parseListen(c *Config, v *Values) error {
	switch {
	case len(c.Listeners) == 0:
		l := Listener{Address: c.Listen, ProxyProtocol: "off", ForwardedHeader: defaultForwardedHeader,
			HTTPSRedirect: "off"}
		var key *KeyError
		err := v.addListener(&l, "", "listen")
		if errors.As(err, &key) {
			key.Key = "listen"
		}
		return err
	case c.Listen != "":
		return bad("listen", c.Listen, "give either listen or listeners")
	}
	return nil
}

func parseListeners(c *Config, v *Values) error {
	if n := len(c.Listeners); n > loop.MaxListeners {
		return bad("listeners", n, fmt.Sprintf("at most %d", loop.MaxListeners))
	}
	for i := range c.Listeners {
		at := fmt.Sprintf("listeners[%d].", i)
		if err := v.addListener(&c.Listeners[i], at, at+"address"); err != nil {
			return err
		}
	}
	return nil
}

// addListener parses a listener at the given path, whose address has the given key.
func (v *Values) addListener(l *Listener, at, key string) error {
	var clients Clients
	if err := parseKeys(listenerKeys, at, l, &clients); err != nil {
		return err
	}
	v.Listeners = append(v.Listeners, clients)
	return v.bind(key, l.Address, "; or unix:/path")
}

func parseListenerAddress(l *Listener, v *Clients) error {
	v.Address = l.Address
	if path, isUnix := strings.CutPrefix(l.Address, unixPrefix); isUnix && !strings.HasPrefix(path, "/") {
		return bad("address", l.Address, "give an absolute path, for example unix:/run/megaphone/edge.sock")
	}
	return nil
}

func parseProxyProtocol(l *Listener, v *Clients) error {
	versions := map[string]proxy.Versions{"v1": proxy.V1, "v2": proxy.V2, "any": proxy.AnyVersion}
	v.ProxyProtocol = versions[l.ProxyProtocol]
	if v.ProxyProtocol != 0 && len(l.TrustedProxies) == 0 && !strings.HasPrefix(l.Address, unixPrefix) {
		return bad("proxy-protocol", l.ProxyProtocol, "list the proxies whose headers to trust in trusted-proxies")
	}
	return nil
}

func parseTrustedProxies(l *Listener, v *Clients) (err error) {
	proxies := l.TrustedProxies
	if strings.HasPrefix(l.Address, unixPrefix) {
		proxies = append(slices.Clip(proxies), "127.0.0.1") // the socket's mode decides who may connect
	}
	v.TrustedProxies, err = parseNetworks("trusted-proxies", proxies)
	return err
}

func parseForwardedHeader(l *Listener, v *Clients) error {
	v.ForwardedHeader = map[string]proxy.ForwardedHeader{
		"x-forwarded-for": proxy.ForwardedFor, "forwarded": proxy.ForwardedElement}[l.ForwardedHeader]
	return nil
}
