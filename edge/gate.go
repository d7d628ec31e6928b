package edge

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"megaphone/codec/boshbody"
	"megaphone/codec/http1"
	"megaphone/codec/proxy"
	"megaphone/limit"
	"megaphone/loop"
	"megaphone/table"
)

// admission is the part of the configuration that concerns clients. It belongs to settings and is immutable.
type admission struct {
	listeners []proxied
	exempt    networks
	limits    limit.Limits
	table     *limit.Table // shared by all reactors; nil: there are no limits, and never were
	asked     bool         // any identification or limit is configured
}

// gate identifies the clients of a reactor and applies their limits. It exists only if the configuration asks for
// either.
type gate struct {
	*admission
	entries []limit.Entry // per connection: the entry of its address, surplus, or 0; nil without a table
	surplus int           // connections that wait for a refusal
	hops    proxy.Hops
	from    proxy.Address // of the request being handled
}

// proxied is how the connections of one listener identify their clients.
type proxied struct {
	versions proxy.Versions        // 0: no PROXY header
	header   proxy.ForwardedHeader // of trusted proxies
	trusted  networks
}

const (
	// maxSurplus bounds the connections of a reactor that are over a limit but stay open until their request has come,
	// to refuse it with a response. All others are closed at once, so a flood gets no descriptors for its refusals.
	maxSurplus = 64
	surplus    = ^limit.Entry(0)

	// burstSeconds is how many seconds' worth of a rate may come at once. A browser opens its page's connections
	// together, and an office its browsers.
	burstSeconds = 10
	maxRate      = 100_000 // per second, of one address
)

// allowance returns n times the limits of one address.
func allowance(cfg *Config, n int) limit.Allowance {
	return limit.Allowance{
		Connections: min(n*cfg.AddressConnections, limit.MaxCount),
		Opens:       limit.NewRate(min(n*cfg.AddressConnectionRate, limit.MaxRate), n*cfg.AddressConnectionBurst),
		Requests:    limit.NewRate(min(n*cfg.AddressRequestRate, limit.MaxRate), n*cfg.AddressRequestBurst),
	}
}

// newAdmission takes a validated configuration with its defaults.
func newAdmission(cfg *Config) *admission {
	a := &admission{limits: limit.Limits{Address: allowance(cfg, 1), Site: allowance(cfg, cfg.SiteMultiple)}}
	if one := &a.limits.Address; one.Connections > 0 || one.Opens.Limited() || one.Requests.Limited() {
		a.asked, a.table = true, limit.New(cfg.MaxConnections)
	}
	a.exempt, _ = parseNetworks(cfg.LimitExempt)
	for _, l := range cfg.listeners() {
		p := newProxied(&l)
		a.asked = a.asked || p.versions != 0 || len(p.trusted) > 0 && p.header != proxy.ForwardedNone
		a.listeners = append(a.listeners, p)
	}
	return a
}

// after keeps the table of counts across a reload.
func (a *admission) after(old *admission) {
	if old.table != nil {
		a.table = old.table
	}
}

// setAdmission puts an admission in force. Existing connections stay. Those that came before any limit stay uncounted:
// the count of their address begins with its next connection.
func (w *worker) setAdmission(a *admission) {
	switch {
	case w.gate != nil:
		w.gate.admission = a
	case a.asked:
		w.gate = &gate{admission: a}
	default:
		return
	}
	if a.table != nil && w.gate.entries == nil {
		w.gate.entries = make([]limit.Entry, w.r.Capacity()+1)
	}
}

func newProxied(l *Listener) (p proxied) {
	p.versions = map[string]proxy.Versions{
		"v1": proxy.V1, "v2": proxy.V2, "any": proxy.AnyVersion}[l.ProxyProtocol]
	p.header = map[string]proxy.ForwardedHeader{
		"x-forwarded-for": proxy.ForwardedFor, "forwarded": proxy.ForwardedElement}[l.ForwardedHeader]
	texts := l.TrustedProxies
	if strings.HasPrefix(l.Address, "unix:") {
		texts = append(texts[:len(texts):len(texts)], "127.0.0.1") // the mode of the socket decides who may connect
	}
	p.trusted, _ = parseNetworks(texts)
	return p
}

// validateClients checks the keys that identify a listener's clients.
func (l *Listener) validateClients(at string) error {
	for i := range listenerKeys {
		if remedy, ok := listenerKeys[i].check(l); !ok {
			return bad(at+listenerKeys[i].Name, text(listenerKeys[i].Value(l)), remedy)
		}
	}
	if _, wrong := parseNetworks(l.TrustedProxies); wrong != "" {
		return bad(at+"trusted-proxies", wrong, "give addresses or networks, for example 10.0.0.0/8")
	}
	if l.ProxyProtocol != "off" && len(l.TrustedProxies) == 0 && !strings.HasPrefix(l.Address, "unix:") {
		return bad(at+"proxy-protocol", l.ProxyProtocol, "list the proxies whose headers to trust in trusted-proxies")
	}
	return nil
}

func (c *Config) validateLimits() error {
	if _, wrong := parseNetworks(c.LimitExempt); wrong != "" {
		return bad("limit-exempt", wrong, "give addresses or networks, for example 10.0.0.0/8")
	}
	for _, r := range []struct {
		key         string
		burst, rate int
	}{
		{"connection-burst-per-address", c.AddressConnectionBurst, c.AddressConnectionRate},
		{"request-burst-per-address", c.AddressRequestBurst, c.AddressRequestRate},
	} {
		// Time advances in ticks, so the burst must hold all requests of a tick.
		if least := (r.rate*loop.TickMillis + 999) / 1000; r.burst < least {
			return bad(r.key, r.burst, fmt.Sprintf("use %d or more, a tenth of the rate", least))
		}
	}
	return nil
}

// born is the start of the clock for the limits.
var born = time.Now()

// micros returns the time for the limits, as of the last tick. All reactors need the same clock. Their tick counts
// differ, because each counts from its own start and omits the time in which it stood still.
func (w *worker) micros() uint64 {
	if w.cfg.ManualTicks {
		return uint64(w.r.Now()) * loop.TickMillis * 1000
	}
	return w.ticked
}

// openGate handles Open if there is a gate.
func (w *worker) openGate(c uint32) {
	s, l := w.r.Conn(c), &w.gate.listeners[w.r.ListenerOf(c)]
	switch {
	case l.versions == 0:
		w.enterGate(c, s, l)
	case l.trusted.contains(s.Peer):
		w.enter(c, s, phaseProxy)
	default:
		w.counters[ProxyUntrusted]++
		w.r.Close(c)
	}
}

// proxyHeader consumes the PROXY header at the start of p, or all of p if there is none.
func (w *worker) proxyHeader(c uint32, s *table.Conn, p []byte) (n, need int) {
	l := &w.gate.listeners[w.r.ListenerOf(c)]
	h, need, ok, err := proxy.Parse(p, l.versions)
	switch {
	case err != nil:
		w.counters[ProxyMalformed]++
		s.Phase = uint8(phaseLast)
		w.r.Close(c)
		return len(p), 0
	case !ok:
		return 0, need
	case h.Known:
		w.r.SetPeer(c, netip.AddrFrom16(h.Source))
	}
	w.enter(c, s, phaseIdle)
	w.enterGate(c, s, l)
	return h.Bytes, 0
}

// enterGate counts a connection whose client is known. It does not count those of trusted proxies, because they carry
// other clients' requests.
func (w *worker) enterGate(c uint32, s *table.Conn, l *proxied) {
	g := w.gate
	if g.table == nil || l.trusted.contains(s.Peer) || g.exempt.contains(s.Peer) {
		return
	}
	e, verdict := g.table.Open(g.table.Key(s.Peer), w.micros(), &g.limits)
	switch verdict {
	case limit.Admitted:
		g.entries[c] = e
		return
	case limit.Uncounted:
		w.counters[AddressUncounted]++
		return
	case limit.TooMany:
		w.counters[AddressConnections]++
	case limit.TooFast:
		w.counters[AddressConnectionRate]++
	case limit.SiteLimit:
		w.counters[SiteLimits]++
	}
	if g.surplus == maxSurplus {
		w.r.Close(c)
		return
	}
	g.entries[c] = surplus
	g.surplus++
	w.r.Arm(c, w.times.head)
}

// release frees the entry of a closed connection.
func (g *gate) release(c uint32) {
	if g.table == nil {
		return
	}
	switch e := g.entries[c]; e {
	case 0:
	case surplus:
		g.surplus--
	default:
		g.table.Close(e)
	}
	g.entries[c] = 0
}

// findClient finds the client of the request with the given head. While an address is a trusted proxy's, it moves on to
// the address for which that proxy forwards. It reports whether the last proxy names one. It borrows head until return.
func (w *worker) findClient(c uint32, head []byte) bool {
	g := w.gate
	l := &g.listeners[w.r.ListenerOf(c)]
	g.from = w.r.Conn(c).Peer
	if l.header == proxy.ForwardedNone || !l.trusted.contains(g.from) {
		return true
	}
	g.hops.Collect(head, l.header)
	for l.trusted.contains(g.from) {
		a, ok := g.hops.Next()
		if !ok {
			return false
		}
		g.from = a
	}
	return true
}

// client returns the address of the client whose request is being handled.
func (w *worker) client(c uint32) netip.Addr {
	if w.gate == nil {
		return w.r.Peer(c)
	}
	return netip.AddrFrom16(w.gate.from).Unmap()
}

// admits reports whether the limits allow the request being handled.
func (w *worker) admits(c uint32) bool {
	g := w.gate
	if g.table == nil {
		return true
	}
	e, verdict := g.entries[c], limit.Admitted
	switch {
	case e == surplus:
		return false
	case !g.limits.Address.Requests.Limited() || g.exempt.contains(g.from):
		return true
	case e != 0 && g.from == w.r.Conn(c).Peer:
		verdict = g.table.Request(e, w.micros(), &g.limits)
	default:
		verdict = g.table.RequestOf(g.table.Key(g.from), w.micros(), &g.limits)
	}
	switch verdict {
	case limit.Admitted:
		return true
	case limit.SiteLimit:
		w.counters[SiteLimits]++
	default:
		w.counters[AddressRequests]++
	}
	return false
}

// tooMany refuses a request. A request of a session gets 503, which clients answer by sending the same rid again,
// because Strophe.js takes any 4xx for the end of the session. All others get 429.
func (w *worker) tooMany(c uint32, s *table.Conn, body []byte) {
	status := 429
	if w.head.Method == http1.MethodPost && boshbody.Parse(&w.body, body) == nil && w.body.SID != nil {
		status = 503
	}
	head := w.styles.at(w.styles.usual(w.head.Origin)).head(status)
	if w.gate.entries[c] == surplus {
		w.refuse(c, s, head, nil, w.retryAfter())
		return
	}
	w.answer(c, s, head, nil, w.retryAfter())
}
