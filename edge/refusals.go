package edge

import (
	"context"
	"log/slog"
	"time"

	"megaphone/loop"
)

// Refusal is a class of requests or connections that were refused.
type Refusal struct {
	Reason string               // a word for metrics and the log
	What   string               // a description
	Ours   bool                 // the edge or an origin lacked something; otherwise the client made a mistake
	Count  func(v *View) uint64 // so far
	Logged bool                 // already logged where it happens, with more than its count
}

func ofEdge(c Counter) func(v *View) uint64 { return func(v *View) uint64 { return v.Edge(c) } }

func ofLoop(c loop.Counter) func(v *View) uint64 { return func(v *View) uint64 { return v.Loop(c) } }

// Refusals are all classes.
var Refusals = []Refusal{
	{"not_found", "404: no such path", false, ofEdge(NotFound), false},
	{"method", "405: a method other than POST, GET, HEAD, OPTIONS", false, ofEdge(MethodRefused), false},
	{"length_required", "411: a POST without a length", false, ofEdge(LengthRequired), false},
	{"encoding", "415: a compressed body", false, ofEdge(EncodingRefused), false},
	{"http", "400, 413, 414, 417, 431, 501, 505: malformed HTTP, or over a limit", false, ofEdge(HTTPErrors), false},
	{"bad_body", "bad-request: the body is not BOSH", false, ofEdge(BadBodies), false},
	{"unknown_tag", "item-not-found: a session of an origin that is not configured", false, ofEdge(UnknownTags), false},
	{"too_large", "413: larger than the origin accepts", false, ofEdge(TooLarge), false},
	{"head_timeout", "503: a head that did not come in head-timeout", false, ofEdge(HeadTimeouts), false},
	{"body_timeout", "503: a body that came slower than body-timeout and body-min-rate allow",
		false, ofEdge(BodyTimeouts), false},
	{"write_stall", "closed: no byte of a reply left in write-timeout", false, ofEdge(WriteStalls), false},
	{"slow_reader", "closed: more than max-output-bytes unsent", false, ofLoop(loop.SlowReaders), false},
	{"node_gone", "remote-connection-failed: the origin is gone for longer than grace", true, ofEdge(NodeGone), false},
	{"retry", "503: the origin is away and expected back", true, ofEdge(Retries), false},
	{"session_lost", "item-not-found: the origin has restarted without the session", true, ofEdge(SessionsLost), false},
	{"link_full", "503: the origin does not keep up, link-high-water", true, ofEdge(LinkFull), false},
	{"table_full", "503: no free hold", true, ofEdge(TableFull), false},
	{"creation_timeout", "503: the origin did not answer a session creation in create-timeout", true,
		ofEdge(CreateTimeouts), false},
	{"creation_wait", "503: no origin had room for a session creation in create-wait", true,
		ofEdge(CreateWaits), false},
	{"creations_waiting", "503: max-waiting-creations are waiting", true, ofEdge(CreationsBusy), false},
	{"hold_timeout", "504: the origin did not answer in hold-timeout", true, ofEdge(Expired), false},
	{"over_budget", "503, or closed: the largest request or reply when max-buffered-bytes is reached", true,
		ofLoop(loop.OverBudget), false},
	{"proxy_untrusted", "closed: a PROXY listener, and the address is not in trusted-proxies", false,
		ofEdge(ProxyUntrusted), false},
	{"proxy_malformed", "closed: no PROXY header, or a malformed one", false, ofEdge(ProxyMalformed), false},
	{"address_connections", "429, or closed: max-connections-per-address", false, ofEdge(AddressConnections), false},
	{"address_connection_rate", "429, or closed: max-connection-rate-per-address", false,
		ofEdge(AddressConnectionRate), false},
	{"address_requests", "429, and 503 to a session: max-request-rate-per-address", false,
		ofEdge(AddressRequests), false},
	{"address_site", "429, 503 to a session, or closed: a limit of an IPv6 /48, ipv6-48-multiple", false,
		ofEdge(SiteLimits), false},
	{"connections", "503: max-connections", true, ofLoop(loop.Refused), true},
}

const (
	refusalCheck    = time.Second
	refusalInterval = 10 * time.Second // between two records of one class
)

// refusalLog logs each class of refusals at most once per interval, with the number since the last record. It reads
// what the reactors have posted, so a flood of refusals costs them no log records.
type refusalLog struct {
	told []uint64    // the count that was last logged
	when []time.Time // and the time
}

func newRefusalLog() *refusalLog {
	return &refusalLog{make([]uint64, len(Refusals)), make([]time.Time, len(Refusals))}
}

// look logs the classes that have new refusals and are due.
func (l *refusalLog) look(v *View, now time.Time, log *slog.Logger) {
	for i, r := range Refusals {
		n := r.Count(v)
		if r.Logged || n == l.told[i] || now.Sub(l.when[i]) < refusalInterval {
			continue
		}
		level := slog.LevelInfo
		if r.Ours {
			level = slog.LevelWarn
		}
		log.Log(context.Background(), level, "refused", "reason", r.Reason, "count", n-l.told[i], "what", r.What)
		l.told[i], l.when[i] = n, now
	}
}

// watchRefusals logs refusals until ctx ends, including the last ones.
func (e *Edge) watchRefusals(ctx context.Context) {
	l := newRefusalLog()
	tick := time.NewTicker(refusalCheck)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			l.look(e.View(), now, e.options.Log)
		case <-ctx.Done():
			l.look(e.View(), time.Now(), e.options.Log)
			return
		}
	}
}
