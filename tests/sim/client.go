//go:build sim

package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// client is a model of a BOSH client (XEP-0124): one session at a time, at most two requests under way, over two
// connections or pipelined over one. It repeats requests that were not answered, and checks all that it gets.
type client struct {
	w         *world
	id        int
	pipelines bool
	slow      bool
	conns     []*conn
	sid       string // without a session: ""
	opening   bool
	rid       uint64 // of the last request
	pending   []*post
	answers   map[uint64]*body // replies whose turn has not come
	due       uint64           // the rid whose reply is due
	got       int              // messages of the origin
	sent      int              // messages to the origin
	acked     int              // of these, the ones that the origin is known to have
	words     int              // messages to send
	since     time.Duration    // when the oldest request was first made
	gone      bool
	gaveUp    int // sessions that ended for a reason
}

// post is a request under way.
type post struct {
	rid   uint64
	text  string // of the body
	sent  int    // messages of the client up to this one
	conn  *conn  // nil: to be sent
	tries int
	again time.Duration
	begun time.Duration
}

func newClient(w *world, i int) *client {
	return &client{w: w, id: i, pipelines: w.k.Chance(w.pipelines), slow: w.k.Chance(w.slow)}
}

// start opens a session, and sends messages in it.
func (c *client) start() {
	c.chatter()
	c.open()
}

func (c *client) open() {
	if c.gone || c.w.closing {
		return
	}
	c.sid, c.opening, c.pending, c.answers = "", true, nil, map[uint64]*body{}
	c.got, c.sent, c.acked = 0, 0, 0
	c.rid = 1000 + uint64(c.w.k.Rand.IntN(1_000_000))
	c.due = c.rid + 1
	c.since = c.w.k.Now()
	c.post(fmt.Sprintf("<body rid='%d' client='%d' to='a.test' wait='60' hold='1' ver='1.6' %s/>", c.rid, c.id, xmlns))
}

// chatter makes something to say now and then.
func (c *client) chatter() {
	if c.gone || c.w.quiet {
		return
	}
	c.w.k.After(c.w.k.Upto(2*c.w.think), c.chatter)
	if c.sid == "" {
		return
	}
	c.words++
	if c.w.k.Chance(c.w.quits) {
		c.quit()
		return
	}
	c.say()
	if c.w.k.Chance(c.w.hangs) && len(c.conns) > 0 {
		c.conns[c.w.k.Rand.IntN(len(c.conns))].abandon()
	}
}

// say makes the next request if it may: an empty one if none is under way, or one with all that there is to say.
func (c *client) say() {
	switch {
	case c.sid == "" || c.gone || c.words == 0 && len(c.pending) > 0:
		return
	case len(c.pending) > 0 && c.rid > c.pending[0].rid:
		return // the origin keeps the replies to the last few requests
	}
	c.post(c.body(""))
}

// body makes the next request, with all that there is to say.
func (c *client) body(attributes string) string {
	var b strings.Builder
	c.rid++
	fmt.Fprintf(&b, "<body rid='%d' client='%d' sid='%s' %s%s>", c.rid, c.id, c.sid, attributes, xmlns)
	for ; c.words > 0; c.words-- {
		fmt.Fprintf(&b, "<m n='%d'/>", c.sent)
		c.sent++
	}
	if c.w.k.Chance(c.w.big) {
		b.WriteString(strings.Repeat("y", c.w.k.Rand.IntN(20_000)))
	}
	b.WriteString("</body>")
	return b.String()
}

// quit ends the session with a request on a connection whose end follows at once, as tsung does. The origin must get
// that request.
func (c *client) quit() {
	w := c.w
	if len(c.pending) > 0 && c.rid > c.pending[0].rid {
		return
	}
	_, s := c.origin()
	n := newConn(c)
	n.quits = true
	n.send(&post{rid: c.rid + 1, text: c.body("type='terminate' "), sent: c.sent, conn: n, begun: w.k.Now()})
	sent := c.sent
	w.k.After(20*time.Second, func() {
		if s != nil && w.gentle() && !c.slow && !w.closing && (!s.ended || s.got != sent) {
			w.fail("the origin did not get the last request of client %d: ended %v, %d of %d messages", c.id, s.ended,
				s.got, sent)
		}
		n.abandon()
	})
	c.sid = ""
	w.k.After(2*time.Second, func() { // until then its other requests are answered
		c.pending = nil
		for _, m := range slices.Clone(c.conns) {
			m.posts = nil
			m.abandon()
		}
		c.open()
	})
}

func (c *client) post(text string) {
	c.pending = append(c.pending, &post{rid: c.rid, text: text, sent: c.sent, begun: c.w.k.Now()})
	c.dispatch()
}

// dispatch sends the requests that are on no connection, in their order.
func (c *client) dispatch() {
	if c.gone {
		return
	}
	now := c.w.k.Now()
	for _, p := range c.pending {
		switch {
		case p.conn != nil:
			continue
		case now < p.again:
			return // the later ones wait too
		}
		p.conn = c.connection()
		p.tries++
		p.conn.send(p)
	}
}

// connection returns an idle connection, or the one for all.
func (c *client) connection() *conn {
	for _, n := range c.conns {
		if !n.last && (c.pipelines || len(n.posts) == 0) {
			return n
		}
	}
	n := newConn(c)
	c.conns = append(c.conns, n)
	return n
}

// later sends a request again after a while.
func (c *client) later(p *post, d time.Duration) {
	p.conn, p.again = nil, c.w.k.Now()+d
	c.w.k.After(d, c.dispatch)
}

// lost takes the requests of a connection that has ended.
func (c *client) lost(n *conn) {
	for i, m := range c.conns {
		if m == n {
			c.conns = append(c.conns[:i:i], c.conns[i+1:]...)
			break
		}
	}
	for _, p := range n.posts {
		d := c.w.k.Upto(2 * time.Second)
		if c.opening && p.tries > 3 {
			d += 2 * time.Second
		}
		c.later(p, d)
	}
	n.posts = nil
}

// answered takes the answer to a request.
func (c *client) answered(p *post, status int, text string) {
	w := c.w
	w.k.Trace("answer", c.id, int(p.rid), status, "")
	switch status {
	case 200:
	case 503, 504:
		if w.gentle() && !c.slow {
			w.fail("client %d got %d for rid %d, although nothing went wrong", c.id, status, p.rid)
		}
		c.later(p, 500*time.Millisecond+w.k.Upto(3*time.Second))
		return
	default:
		w.fail("client %d got %d for rid %d: %.80q", c.id, status, p.rid, text)
	}
	b := parseBody(w, text)
	if p.conn = nil; c.sid == "" && !c.opening {
		return // it has quit
	}
	if b.terminate {
		c.ended(&b)
		return
	}
	if b.client != c.id || b.rid != p.rid {
		w.fail("client %d got the reply to rid %d of client %d for its rid %d", c.id, b.rid, b.client, p.rid)
	}
	for i, q := range c.pending {
		if q == p {
			c.pending = append(c.pending[:i:i], c.pending[i+1:]...)
			break
		}
	}
	if c.opening {
		c.opening, c.sid = false, b.sid
		if b.sid == "" {
			w.fail("client %d got no sid: %q", c.id, text)
		}
		c.say()
		return
	}
	if !strings.HasPrefix(c.sid, b.session) {
		w.fail("client %d in session %s got a reply of %s", c.id, c.sid, b.session)
	}
	w.result.Requests++
	c.acked = max(c.acked, p.sent)
	c.answers[p.rid] = &b
	for a := c.answers[c.due]; a != nil; a = c.answers[c.due] {
		delete(c.answers, c.due)
		c.due++
		for _, m := range a.messages {
			if m != c.got {
				w.fail("client %d got message %d instead of %d", c.id, m, c.got)
			}
			c.got++
		}
	}
	c.say()
}

// ended takes the end of the session, for which there must be a reason.
func (c *client) ended(b *body) {
	w := c.w
	o, s := c.origin()
	switch {
	case b.condition == "internal-server-error" && c.opening && w.mayFail():
	case b.condition == "item-not-found" && c.sid != "" && (s == nil || w.result.Removals > 0):
	case b.condition == "remote-connection-failed" && w.excused(o):
	default:
		w.fail("client %d got %q in session %q, which its origin has", c.id, b.condition, c.sid)
	}
	c.gaveUp++
	c.sid, c.pending = "", nil
	for _, n := range c.conns {
		n.posts = nil
		n.abandon()
	}
	c.conns = nil
	c.opening = false
	w.k.After(w.k.Upto(2*time.Second), c.open)
}

// excused reports whether links to an origin, or to all, may have been down for longer than the grace.
func (w *world) excused(o *origin) bool {
	if w.faults.Socket > 0 || w.faults.Watch > 0 || w.jumps() {
		return true
	}
	for _, p := range w.origins {
		if (o == nil || o == p) && p.everAway {
			return true
		}
	}
	return false
}

// origin returns the origin of the client's session, and the session if it lives.
func (c *client) origin() (*origin, *session) {
	id, _, ok := strings.Cut(strings.TrimPrefix(c.sid, "s"), ".")
	n, err := strconv.Atoi(id)
	if !ok || err != nil {
		return nil, nil
	}
	o := c.w.origins[n]
	parts := strings.SplitN(c.sid, ".", 4)
	sid := strings.Join(parts[:min(3, len(parts))], ".")
	return o, o.sessions[strings.TrimRight(sid, ".")]
}

func (c *client) cut() {
	c.w.result.Cuts++
	for _, n := range c.conns {
		n.wasCut = true
		n.end.Cut()
		c.w.k.After(c.w.k.Upto(c.w.outage), n.end.Mend)
	}
}

// vanish ends all connections without a word to the other end.
func (c *client) vanish() {
	for len(c.conns) > 0 {
		n := c.conns[0]
		n.end.Cut()
		n.abandon()
	}
}

func (c *client) heal() {
	for _, n := range c.conns {
		n.end.Mend()
	}
}

// leave closes all connections for good.
func (c *client) leave() {
	c.gone = true
	for len(c.conns) > 0 {
		c.conns[0].abandon()
	}
}

// complaint returns what a client misses in a world without faults, or "".
func (c *client) complaint() string {
	_, s := c.origin()
	switch {
	case c.sid == "":
		return "no session"
	case s == nil:
		return "its session has ended, which it does not know"
	case c.words > 0 || c.acked < c.sent || s.got < c.sent:
		return fmt.Sprintf("%d of its messages wait, %d of %d have arrived, it knows of %d", c.words, s.got, c.sent,
			c.acked)
	case c.got < s.sent:
		return fmt.Sprintf("it got %d of %d messages", c.got, s.sent)
	}
	return ""
}
