package gateway

import (
	"bufio"
	"context"
	"hash/maphash"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"megaphone/codec/boshbody"
	"megaphone/codec/frame"
	"megaphone/origin/link"
)

const (
	housekeeping = 100    // ms between two checks of idle sockets, down endpoints and counters
	logInterval  = 10_000 // ms between two records of the same kind
	minSessions  = 1024   // the least capacity of order; otherwise twice MaxSockets
)

var (
	itemNotFound     = boshbody.Terminal("item-not-found")
	connectionFailed = boshbody.Terminal("remote-connection-failed")
)

const legacyItemNotFound = 404 // XEP-0124 section 17.1

// Gateway is a link.Handler that forwards requests to BOSH endpoints.
type Gateway struct {
	cfg       Config
	log       *slog.Logger
	endpoints []*endpoint
	pool      pool
	waiting   *waiting
	ctx       context.Context // cancels pending connects
	cancel    context.CancelFunc
	running   sync.WaitGroup // calls and probes
	clock     atomic.Int64   // a copy of now for goroutines
	done      completions
	began     time.Time    // micros counts from here
	seed      maphash.Seed // of the hash of session IDs

	largeReaders sync.Pool // of *bufio.Reader, for replies with long heads

	// Owned by the engine.
	now     int64 // ms
	nextJob int64
	nextOdd [fates]int64                      // ms, the earliest time of the next record of each kind
	calls   map[link.Replier]map[uint64]*call // not answered yet
	orphans map[*call]struct{}                // without a waiting client, and not ended
	replies *replyBudget
	order   order
	crowd   map[link.Replier][]*call // replies outside sessions that wait for room on a link
	bytes   int                      // of wires
	body    boshbody.StartTag
	healthy []*endpoint
	spare   []*call
	stats   Stats

	alarmClock *time.Timer // wakes the engine for order; made with the first request, because Wake needs a link

	published published
}

// completions passes results from goroutines to the engine.
type completions struct {
	mu     sync.Mutex
	calls  []*call // calls that have ended
	sent   []*call // calls just sent, whose successors wait for that
	probes []probed
}

// New returns a gateway. It opens sockets on demand.
func New(cfg Config) (*Gateway, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	endpoints, err := parseEndpoints(cfg.Endpoints, cfg.Roots)
	if err != nil {
		return nil, err
	}
	g := &Gateway{
		cfg: cfg, log: cfg.Log, endpoints: endpoints,
		pool:    pool{max: cfg.MaxSockets, endpoints: endpoints},
		calls:   map[link.Replier]map[uint64]*call{},
		orphans: map[*call]struct{}{},
		crowd:   map[link.Replier][]*call{},
		replies: newReplyBudget(cfg.MaxBufferedBytes),
		began:   time.Now(), seed: maphash.MakeSeed(),
	}
	g.order = newOrder(g, &g.stats, max(2*cfg.MaxSockets, minSessions), g.micros)
	g.largeReaders.New = func() any { return bufio.NewReaderSize(nil, cfg.MaxHeadBytes) }
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.waiting, err = newWaiting(g.log, func(c *call, s *socket) { go g.receive(c, s) })
	if err != nil {
		g.cancel()
		return nil, err
	}
	return g, nil
}

// Tick advances the time and does the periodic work.
func (g *Gateway) Tick(nowMillis int64) {
	first := g.now == 0
	g.now = nowMillis
	g.order.now = nowMillis
	g.clock.Store(nowMillis)
	if first {
		for _, e := range g.endpoints {
			g.doubt(e) // log a wrong URL before the first client comes
		}
	}
	if nowMillis < g.nextJob {
		return
	}
	g.nextJob = nowMillis + housekeeping
	g.order.sweep()
	g.endLate()
	g.pool.sweep(nowMillis - g.cfg.IdleTimeout.Milliseconds())
	for _, e := range g.endpoints {
		if e.health == healthDown && !e.probing && nowMillis >= e.probeAt {
			g.probe(e)
		}
	}
	g.publish()
}

// Request forwards a request, or answers it if that is impossible.
func (g *Gateway) Request(l link.Replier, id uint64, r frame.Request) {
	g.stats.Requests++
	body := r.Body
	b := &g.body
	c := &call{link: l, id: id}
	whole := boshbody.Parse(b, body) == nil
	cut, suffix := 0, 0
	var v verdict
	switch {
	case b.SID == nil:
		c.creation, c.legacy = true, b.Ver == nil
		c.endpoint, v = g.choose()
	case len(g.endpoints) == 1:
		c.endpoint = g.endpoints[0]
		v = g.verdict(c.endpoint)
	default:
		x, ok := boshbody.ParseSuffix(b.SID, true)
		if ok {
			c.endpoint = g.byTag(x.Tag)
		}
		if c.endpoint == nil {
			g.stats.UnknownTags++
			status := 200
			if x.Legacy {
				status = legacyItemNotFound
			}
			l.Reply(id, status, itemNotFound)
			return
		}
		v = g.verdict(c.endpoint)
		cut, suffix = b.SIDEnd, x.Bytes
	}
	switch v {
	case endpointAway:
		g.stats.Away++
		l.Reply(id, statusUnavailable, nil)
		return
	case endpointGone:
		g.stats.Failed++
		l.Reply(id, 200, connectionFailed)
		return
	}
	c.rid, c.once = b.RID, !whole || c.creation
	c.wire = newWire(c.endpoint, &r, cut, suffix)
	if !g.admit(c) {
		return
	}
	if !whole || len(b.SID) == suffix || !g.order.arrive(c, g.key(c.endpoint, b.SID[:len(b.SID)-suffix])) {
		if !g.send(c) {
			g.refuse(c)
		}
	}
}

// admit accounts for a call if there is memory for it. Otherwise it answers 503.
func (g *Gateway) admit(c *call) bool {
	if g.bytes+int(g.replies.inUse.Load())+len(c.wire) > g.cfg.MaxBufferedBytes {
		g.stats.NoMemory++
		c.link.Reply(c.id, statusUnavailable, nil)
		return false
	}
	if g.alarmClock == nil {
		g.alarmClock = time.AfterFunc(time.Hour, c.link.Wake)
	}
	g.bytes += len(c.wire)
	c.endpoint.held++
	of := g.calls[c.link]
	if of == nil {
		of = map[uint64]*call{}
		g.calls[c.link] = of
	}
	of[c.id] = c
	return true
}

// send starts a call if it can acquire a socket: a fresh one if the call must not be sent twice.
func (g *Gateway) send(c *call) bool {
	s, ok := g.pool.acquire(c.endpoint, c.once)
	if !ok {
		g.stats.NoSocket++
		return false
	}
	g.running.Add(1)
	if s == nil {
		go g.connect(c)
	} else {
		go g.exchange(c, s)
	}
	return true
}

// refuse answers 503 to a request that the endpoint has not received, so that the client sends it again.
func (g *Gateway) refuse(c *call) {
	g.settled(c)
	c.status = statusUnavailable
	g.reply(c)
}

// reply passes a call's reply to its link if a client still waits for it.
func (g *Gateway) reply(c *call) {
	if !c.over {
		g.take(c.link, c.id)
		c.link.Reply(c.id, c.status, c.body)
	}
	g.forgetReply(c)
}

// alarm requests a turn at the given time, in whole milliseconds.
func (g *Gateway) alarm(at int64) {
	g.alarmClock.Reset(time.Duration(max(at-g.now, 0)+1) * time.Millisecond)
}

// micros returns the time in microseconds, for goroutines and order. It is never 0.
func (g *Gateway) micros() int64 { return time.Since(g.began).Microseconds() + 1 }

// Gone ends the wait for a reply. It closes the request's socket, as the client closed its own.
func (g *Gateway) Gone(l link.Replier, id uint64) {
	if c := g.take(l, id); c != nil {
		g.leave(c)
	}
}

func (g *Gateway) leave(c *call) {
	g.stats.Gone++
	if g.abandon(c, true) {
		if s := c.leave(); s != nil {
			g.interrupt(c, s)
		}
	}
}

// abandon drops the client's interest in a call's reply, and reports whether the call continues. A queued request is
// dropped unless it is last words. Abandoning a call may start another one.
func (g *Gateway) abandon(c *call, lastWords bool) (goesOn bool) {
	was := c.stage
	if c.session != nil {
		g.order.quit(c, lastWords)
	}
	switch {
	case c.done:
		g.forgetReply(c)
		return false
	case was == stageQueued && !lastWords:
		g.settled(c)
		return false
	}
	g.orphans[c] = struct{}{}
	return true
}

// Release answers 503 to a request, so that its client sends it again, while the endpoint keeps it. See the package
// documentation.
func (g *Gateway) Release(l link.Replier, id uint64) {
	if c := g.take(l, id); c != nil {
		g.release(c)
	}
}

// Passed reports that an edge has processed all frames before a fence.
func (g *Gateway) Passed(l link.Replier) { g.order.passed(l) }

// Room sends replies that wait for a link.
func (g *Gateway) Room(l link.Replier) {
	waiting := g.crowd[l]
	n := 0
	for ; n < len(waiting) && !l.Full(); n++ {
		g.reply(waiting[n])
	}
	if waiting = slices.Delete(waiting, 0, n); len(waiting) == 0 {
		delete(g.crowd, l)
	} else {
		g.crowd[l] = waiting
	}
	g.order.room(l)
}

// ReleaseAll releases all requests of a link.
func (g *Gateway) ReleaseAll(l link.Replier) { g.takeAll(l, g.release) }

func (g *Gateway) release(c *call) {
	g.stats.Released++
	c.link.Reply(c.id, statusUnavailable, nil)
	g.abandon(c, false)
}

// Closed acts like Gone for all requests of a link that has ended.
func (g *Gateway) Closed(l link.Replier) {
	g.takeAll(l, g.leave)
	delete(g.crowd, l) // they have been abandoned
	g.order.closed(l)
}

// takeAll takes all calls of a link and calls do for each. It marks all of them over first, because do may start
// others.
func (g *Gateway) takeAll(l link.Replier, do func(*call)) {
	of := g.calls[l]
	delete(g.calls, l)
	for _, c := range of {
		c.over = true
	}
	for _, c := range of {
		do(c)
	}
}

// take removes a call from those to be answered. It returns nil if the call has ended.
func (g *Gateway) take(l link.Replier, id uint64) *call {
	c := g.calls[l][id]
	if c != nil {
		c.over = true
		delete(g.calls[l], id)
	}
	return c
}

// Idle processes all completions.
func (g *Gateway) Idle() {
	g.done.mu.Lock()
	calls, sent, probes := g.done.calls, g.done.sent, g.done.probes
	g.done.calls, g.done.sent, g.done.probes = g.spare[:0], nil, nil
	g.done.mu.Unlock()
	for _, p := range probes {
		g.probed(p)
	}
	for _, c := range sent {
		g.order.sent(c)
	}
	for i, c := range calls {
		calls[i] = nil
		g.settle(c)
	}
	g.spare = calls
	g.order.run()
}

// settle processes the result of a call that was sent.
func (g *Gateway) settle(c *call) {
	e := c.endpoint
	*g.stats.ended(c.fate)++
	if c.resent {
		g.stats.Resent++
	}
	switch c.fate {
	case fateAborted:
	case fateAnswered:
		g.trust(e)
		if c.unknown && c.late() {
			g.stats.Excused++
			c.excuse()
		}
	case fateNotBOSH:
		g.trust(e)
		g.odd(c)
	case fateTooLarge, fateHeadTooLarge:
		g.trust(e)
		c.status = statusBadGateway
		g.odd(c)
	case fateLate:
		c.status = statusLate
		g.doubt(e)
	default:
		c.status = statusUnavailable
		g.doubt(e)
	}
	if c.over {
		g.stats.Unwanted++
	}
	g.settled(c)
	if c.key != 0 && !c.over {
		g.order.created(c.key, c.rid, c.window)
	}
	switch {
	case c.session != nil && g.order.ended(c):
	case !c.over && c.waitsForRoom():
		g.crowd[c.link] = append(g.crowd[c.link], c)
	default:
		g.reply(c)
	}
}

// settled removes a call from the accounts.
func (g *Gateway) settled(c *call) {
	c.endpoint.held--
	g.bytes -= len(c.wire)
	c.done = true
	delete(g.orphans, c)
}

// odd logs, at a bounded rate, that an endpoint sent a reply that cannot be delivered.
func (g *Gateway) odd(c *call) {
	if g.now < g.nextOdd[c.fate] {
		return
	}
	g.nextOdd[c.fate] = g.now + logInterval
	switch url := c.endpoint.url; c.fate {
	case fateTooLarge:
		g.log.Warn("endpoint reply too large", "url", url, "max_reply_bytes", g.cfg.MaxReplyBytes)
	case fateHeadTooLarge:
		g.log.Warn("endpoint reply head too large", "url", url, "head_bytes", c.headBytes,
			"max_reply_head_bytes", g.cfg.MaxHeadBytes)
	default:
		page := c.response.Body()
		g.log.Warn("endpoint reply is not BOSH", "url", url,
			"status", c.response.StatusCode(), "begins", string(page[:min(len(page), 80)]))
	}
}

// Close aborts all calls and returns when nothing is left of them. Call it after Server.Run has returned.
func (g *Gateway) Close() {
	g.cancel()
	for l := range g.calls {
		g.takeAll(l, g.leave)
	}
	g.order.refuseAll()
	if g.alarmClock != nil {
		g.alarmClock.Stop()
	}
	for c := range g.orphans {
		if s := c.abort(); s != nil {
			g.interrupt(c, s)
		}
	}
	g.pool.close()
	g.running.Wait()
	g.waiting.close()
	g.Idle()
	g.publish()
}
