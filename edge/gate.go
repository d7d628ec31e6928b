package edge

import (
	"net/netip"

	"megaphone/codec/boshbody"
	"megaphone/codec/http1"
	"megaphone/codec/proxy"
	"megaphone/config"
	"megaphone/limit"
	"megaphone/loop"
	"megaphone/loop/sys"
	"megaphone/stats"
)

// admission is the part of the configuration that concerns clients. It belongs to settings and is immutable.
type admission struct {
	listeners []config.Clients
	exempt    config.Networks
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
}

const (
	// maxSurplus bounds the connections of a reactor that are over a limit but stay open until their request has come,
	// to refuse it with a response. All others are closed at once, so a flood gets no descriptors for its refusals.
	maxSurplus = 64
	surplus    = ^limit.Entry(0)
)

// allowance returns n times the limits of one address.
func allowance(cfg *config.Values, n int) limit.Allowance {
	return limit.Allowance{
		Connections: min(n*cfg.AddressConnections, limit.MaxCount),
		Opens:       limit.NewRate(min(n*cfg.AddressConnectionRate, limit.MaxRate), n*cfg.AddressConnectionBurst),
		Requests:    limit.NewRate(min(n*cfg.AddressRequestRate, limit.MaxRate), n*cfg.AddressRequestBurst),
	}
}

func newAdmission(cfg *config.Values) *admission {
	a := &admission{listeners: cfg.Listeners, exempt: cfg.LimitExempt, limits: limit.Limits{
		Address: allowance(cfg, 1), Site: allowance(cfg, cfg.SiteMultiple)}}
	if one := &a.limits.Address; one.Connections > 0 || one.Opens.Limited() || one.Requests.Limited() {
		a.asked, a.table = true, limit.New(cfg.MaxConnections)
	}
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		a.asked = a.asked || l.ProxyProtocol != 0 ||
			len(l.TrustedProxies) > 0 && l.ForwardedHeader != proxy.ForwardedNone
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

// born is the start of the clock for the limits.
var born = sys.Now()

// micros returns the time for the limits, as of the last tick. All reactors need the same clock. Their tick counts
// differ, because each counts from its own start and omits the time in which it stood still.
func (w *worker) micros() uint64 {
	if w.options.ManualTicks {
		return uint64(w.r.Now()) * loop.TickMillis * 1000
	}
	return w.ticked
}

// openGate handles Open if there is a gate.
func (w *worker) openGate(c conn) {
	l := &w.gate.listeners[w.r.ListenerOf(c.index)]
	switch {
	case l.ProxyProtocol == 0:
		w.enterGate(c, l)
	case l.TrustedProxies.Contains(c.Peer):
		w.enter(c, phaseProxy)
	default:
		w.counters[stats.ProxyUntrusted]++
		w.r.Close(c.index)
	}
}

// proxyHeader consumes the PROXY header at the start of p, or all of p if there is none.
func (w *worker) proxyHeader(c conn, p []byte) (n, need int) {
	l := &w.gate.listeners[w.r.ListenerOf(c.index)]
	h, need, ok, err := proxy.Parse(p, l.ProxyProtocol)
	switch {
	case err != nil:
		w.counters[stats.ProxyMalformed]++
		c.setPhase(phaseLast)
		w.r.Close(c.index)
		return len(p), 0
	case !ok:
		return 0, need
	case h.Known:
		w.r.SetPeer(c.index, netip.AddrFrom16(h.Source))
	}
	w.enter(c, phaseIdle)
	w.enterGate(c, l)
	if w.tls != nil {
		w.tls.begin(c)
	}
	return h.Bytes, 0
}

// enterGate counts a connection whose client is known. It does not count those of trusted proxies, because they carry
// other clients' requests.
func (w *worker) enterGate(c conn, l *config.Clients) {
	g := w.gate
	if g.table == nil || l.TrustedProxies.Contains(c.Peer) || g.exempt.Contains(c.Peer) {
		return
	}
	if w.openEntry(c.index, c.Peer) {
		return
	}
	if g.surplus == maxSurplus {
		w.r.Close(c.index)
		return
	}
	g.entries[c.index] = surplus
	g.surplus++
	w.r.Arm(c.index, w.times.head)
}

// openEntry counts a connection for the address of its client. It reports whether the limits allow it.
func (w *worker) openEntry(index uint32, client [16]byte) bool {
	g := w.gate
	e, verdict := g.table.Open(g.table.Key(client), w.micros(), &g.limits)
	switch verdict {
	case limit.Admitted:
		g.entries[index] = e
		return true
	case limit.Uncounted:
		w.counters[stats.AddressUncounted]++
		return true
	case limit.TooMany:
		w.counters[stats.AddressConnections]++
	case limit.TooFast:
		w.counters[stats.AddressConnectionRate]++
	case limit.SiteLimit:
		w.counters[stats.SiteLimits]++
	}
	return false
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

// findClient sets the client of a request with the given head. While an address is a trusted proxy's, it moves on to
// the address for which that proxy forwards. It reports whether the last proxy names one. It borrows head until return.
func (w *worker) findClient(q *request, head []byte) bool {
	g := w.gate
	l := &g.listeners[w.r.ListenerOf(q.index)]
	q.client = q.Peer
	if l.ForwardedHeader == proxy.ForwardedNone || !l.TrustedProxies.Contains(q.client) {
		return true
	}
	g.hops.Collect(head, l.ForwardedHeader)
	for l.TrustedProxies.Contains(q.client) {
		a, ok := g.hops.Next()
		if !ok {
			return false
		}
		q.client = a
	}
	return true
}

// admits reports whether the limits allow a request.
func (w *worker) admits(q *request) bool {
	g := w.gate
	if g.table == nil {
		return true
	}
	e, verdict := g.entries[q.index], limit.Admitted
	switch {
	case e == surplus:
		return false
	case !g.limits.Address.Requests.Limited() || g.exempt.Contains(q.client):
		return true
	case e != 0 && q.client == q.Peer:
		verdict = g.table.Request(e, w.micros(), &g.limits)
	default:
		verdict = g.table.RequestOf(g.table.Key(q.client), w.micros(), &g.limits)
	}
	switch verdict {
	case limit.Admitted:
		return true
	case limit.SiteLimit:
		w.counters[stats.SiteLimits]++
	default:
		w.counters[stats.AddressRequests]++
	}
	return false
}

// tooMany refuses a request. A request of a session gets 503, which clients answer by sending the same rid again,
// because Strophe.js takes any 4xx for the end of the session. All others get 429.
func (w *worker) tooMany(q *request) {
	status := 429
	if q.head.Method == http1.MethodPost && boshbody.Parse(&q.tag, q.body) == nil && q.tag.SID != nil {
		status = 503
	}
	head := w.styles.usualHead(q, status)
	if w.gate.entries[q.index] == surplus {
		w.refuse(q, head, nil, w.retryAfter())
		return
	}
	w.answer(q, head, nil, w.retryAfter())
}
