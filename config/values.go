package config

import (
	"fmt"
	"hash"
	"io/fs"
	"log/slog"
	"math"
	"reflect"
	"strings"

	"github.com/cespare/xxhash/v2"

	"megaphone/codec/boshbody"
	"megaphone/codec/frame"
	"megaphone/codec/proxy"
	"megaphone/loop"
	"megaphone/typed"
)

// Values is a valid configuration. Its own fields hide those of Config that have the same names, because these are
// texts. It is immutable.
type Values struct {
	Config // with its defaults, and web origins, domains and the path in their normal forms

	Listeners        []Clients      // at least one
	Origins          []OriginValues // at least one
	Secret           []byte         // shared with the origins; nil: none
	OldProof         bool
	Tags             Tags
	DescriptorTables loop.Tables
	LimitExempt      Networks
	LogLevel         slog.Level
	AccessSample     uint32 // log every Nth request; at least 1
	CheckHost        bool
	Ejection         bool
}

// Clients is a listener with the rules that identify its clients.
type Clients struct {
	Address         string
	Mode            fs.FileMode           // of a unix socket
	ProxyProtocol   proxy.Versions        // 0: no PROXY header
	ForwardedHeader proxy.ForwardedHeader // of trusted proxies
	TrustedProxies  Networks
}

// Tags is whether session IDs carry the tag of their origin.
type Tags uint8

const (
	TagsAuto Tags = iota // with more than one origin
	TagsOn
	TagsOff
)

// Values fills in the defaults, parses c, and reads the secret. It returns a *KeyError for the first invalid key, with
// its value and a remedy.
func (c Config) Values() (*Values, error) {
	v, err := c.parse()
	if err != nil {
		return nil, err
	}
	if v.Secret = c.Secret; v.Secret == nil && c.SecretFile != "" {
		if v.Secret, err = ReadSecret(c.SecretFile); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// parse is Values without the secret.
func (c Config) parse() (*Values, error) {
	v := &Values{Config: c.WithDefaults()}
	for i := range configKeys {
		if err := configKeys[i].Check(&v.Config); err != nil {
			return nil, err
		}
	}
	for _, check := range []func() error{v.parseListeners, v.parseOrigins, v.validateName, v.validatePath,
		v.parseWords, v.parseAdmin, v.validateBounds, v.parseLimits, v.validateCreations, v.validatePublicURLs,
		v.validateCORS} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// After returns v as the successor of old: keys that need a restart keep their old values. restart has the paths of
// those that differ. It returns an error if the rest of v does not fit the values that stay.
func (v *Values) After(old *Values) (merged *Values, restart []string, err error) {
	c := v.Config.WithDefaults() // its own lists
	restart = keepForRestart(configKeys, "", &old.Config, &c)
	if merged, err = c.parse(); err != nil {
		return nil, restart, fmt.Errorf("%w (%s needs a restart)", err, strings.Join(restart, ", "))
	}
	merged.Secret = v.Secret
	return merged, restart, nil
}

// Hash covers all keys that a file may have, so edges with the same hash have the same configuration.
func (c *Config) Hash() uint64 {
	var h hash.Hash64 = xxhash.New()
	for i := range configKeys {
		k := &configKeys[i]
		fmt.Fprintf(h, "%s=%+v\n", k.Name, reflect.ValueOf(k.Value(c)).Elem())
	}
	return h.Sum64()
}

// Addresses returns the addresses of all listeners.
func (v *Values) Addresses() (all []string) {
	for _, l := range v.Listeners {
		all = append(all, l.Address)
	}
	return all
}

func (v *Values) parseListeners() error {
	if len(v.Config.Listeners) > 0 && v.Listen != "" {
		return bad("listen", v.Listen, "give either listen or listeners")
	}
	for i, l := range v.listeners() {
		path, isUnix := strings.CutPrefix(l.Address, "unix:")
		if remedy := CheckAddress(l.Address); remedy != "" && !isUnix {
			return bad(v.listenKey(i), l.Address, remedy+"; or unix:/path")
		}
		if isUnix && !strings.HasPrefix(path, "/") {
			return bad(v.listenKey(i), l.Address, "give an absolute path, for example unix:/run/megaphone/edge.sock")
		}
	}
	if n := len(v.Config.Listeners); n > loop.MaxListeners {
		return bad("listeners", n, fmt.Sprintf("at most %d", loop.MaxListeners))
	}
	for i, l := range v.listeners() {
		clients, err := l.parse(fmt.Sprintf("listeners[%d].", i))
		if err != nil {
			return err
		}
		v.Listeners = append(v.Listeners, clients)
	}
	return nil
}

var (
	proxyVersions = map[string]proxy.Versions{
		"v1": proxy.V1, "v2": proxy.V2, "any": proxy.AnyVersion}
	forwardedHeaders = map[string]proxy.ForwardedHeader{
		"x-forwarded-for": proxy.ForwardedFor, "forwarded": proxy.ForwardedElement}
)

// parse parses the keys that identify a listener's clients.
func (l *Listener) parse(at string) (c Clients, err error) {
	for i := range listenerKeys {
		if remedy, ok := listenerKeys[i].check(l); !ok {
			return c, bad(at+listenerKeys[i].Name, text(listenerKeys[i].Value(l)), remedy)
		}
	}
	onUnix, proxies := strings.HasPrefix(l.Address, "unix:"), l.TrustedProxies
	if onUnix {
		proxies = append(proxies[:len(proxies):len(proxies)], "127.0.0.1") // the socket's mode decides who may connect
	}
	trusted, wrong := parseNetworks(proxies)
	if wrong != "" {
		return c, bad(at+"trusted-proxies", wrong, "give addresses or networks, for example 10.0.0.0/8")
	}
	if l.ProxyProtocol != "off" && len(l.TrustedProxies) == 0 && !onUnix {
		return c, bad(at+"proxy-protocol", l.ProxyProtocol,
			"list the proxies whose headers to trust in trusted-proxies")
	}
	return Clients{l.Address, l.Mode, proxyVersions[l.ProxyProtocol], forwardedHeaders[l.ForwardedHeader], trusted}, nil
}

func (v *Values) parseOrigins() error {
	switch n := len(v.Config.Origins); {
	case n == 0:
		return bad("origins", "none", "name at least one origin, for example a=127.0.0.1:5279")
	case n > MaxOrigins:
		return bad("origins", n, fmt.Sprintf("at most %d", MaxOrigins))
	}
	tags := map[[boshbody.TagBytes]byte]string{}
	for i := range v.Config.Origins {
		at := fmt.Sprintf("origins[%d].", i)
		o, err := v.Config.Origins[i].parse(at)
		if err != nil {
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

func (v *Values) validateName() error {
	if !frame.ValidName(v.Name) {
		return bad("name", v.Name, "use 1 to 64 letters, digits, dots, underscores or dashes")
	}
	return nil
}

// parseWords parses the keys with a fixed set of values, which their rows have checked.
func (v *Values) parseWords() (err error) {
	v.Tags = map[string]Tags{"on": TagsOn, "off": TagsOff}[v.Config.Tags]
	if v.Tags == TagsOff && (len(v.Origins) > 1 || v.Origins[0].Endpoint.PerRecord()) {
		return bad("node-tags", v.Config.Tags, "requests are routed by the tag if there are several origins: "+
			"use auto or on")
	}
	v.OldProof = v.Config.OldProof == "on"
	v.CheckHost = v.Config.CheckHost == "on"
	v.Ejection = v.Config.Ejection == "on"
	if v.DescriptorTables, err = loop.ParseTables(v.Config.DescriptorTables); err != nil {
		return err
	}
	return v.LogLevel.UnmarshalText([]byte(v.Config.LogLevel))
}

// parseAdmin parses the keys for monitoring an edge.
func (v *Values) parseAdmin() (err error) {
	if remedy := CheckAddress(v.Admin); remedy != "" && v.Admin != "auto" && v.Admin != "off" {
		return bad("admin", v.Admin, remedy+"; or auto, or off")
	}
	switch v.AccessLog {
	case "on", "yes", "true", "stdout":
		return bad("access-log", v.AccessLog, "give stderr, off, or the path of a file")
	}
	var ok bool
	if v.AccessSample, ok = parseSample(v.Config.AccessSample); !ok {
		return bad("access-log-sample", v.Config.AccessSample, "give 1/N, for example 1/100")
	}
	return nil
}

// parseSample parses 1/N.
func parseSample(s string) (n uint32, ok bool) {
	text, ok := strings.CutPrefix(s, "1/")
	v, err := typed.ParseInt(text)
	return uint32(v), ok && err == nil && v > 0 && v <= math.MaxUint32
}

func (v *Values) parseLimits() error {
	var wrong string
	if v.LimitExempt, wrong = parseNetworks(v.Config.LimitExempt); wrong != "" {
		return bad("limit-exempt", wrong, "give addresses or networks, for example 10.0.0.0/8")
	}
	for _, r := range []struct {
		key         string
		burst, rate int
	}{
		{"connection-burst-per-address", v.AddressConnectionBurst, v.AddressConnectionRate},
		{"request-burst-per-address", v.AddressRequestBurst, v.AddressRequestRate},
	} {
		// Time advances in ticks, so the burst must hold all requests of a tick.
		if least := (r.rate*loop.TickMillis + 999) / 1000; r.burst < least {
			return bad(r.key, r.burst, fmt.Sprintf("use %d or more, a tenth of the rate", least))
		}
	}
	return nil
}

func (v *Values) validateCreations() error {
	if v.MinCreations > v.MaxCreations {
		return bad("min-creations", v.MinCreations,
			fmt.Sprintf("use at most max-creations, which is %d", v.MaxCreations))
	}
	return nil
}
