//go:build sim

package sim

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"megaphone/codec/frame"
	"megaphone/loop/sys"
)

// origin is a model of an origin: the listening end of PROTOCOL.md, with sessions.
type origin struct {
	w        *world
	id       int
	listener *sys.Endpoint // nil while it is down
	links    []*originLink
	sessions map[string]*session // all that live
	instance string
	begun    time.Duration
	born     int // sessions so far, of all instances
	stalled  time.Duration
	broken   time.Duration // until then it fails creations
	draining bool
	awayAt   time.Duration // when an edge could last have missed it
	everAway bool
}

// originLink is a link at the origin's end.
type originLink struct {
	o       *origin
	end     *sys.Endpoint
	in, out []byte
	hello   string // its own
	edge    string // the name in the edge's
	up      bool
	pending bool
	dead    bool
	live    map[uint64]*request // unanswered
	old     []uint64            // answered or gone
	streams map[uint64]*stream
	// endedStreams are those whose end may have crossed a frame of the edge.
	endedStreams map[uint64]bool
	pings        int
	pongs        int
}

// request is a request that the origin has.
type request struct {
	link    *originLink
	id      uint64
	session *session
	rid     uint64
	gone    bool // its client has left
}

func originName(i int) string            { return "o" + strconv.Itoa(i) }
func originAddress(i int) netip.AddrPort { return netip.AddrPortFrom(address(0, i+1), 5279) }

func newOrigin(w *world, i int) *origin {
	o := &origin{w: w, id: i}
	o.begin()
	return o
}

// begin starts an instance, which has no sessions.
func (o *origin) begin() {
	o.begun, o.sessions = o.w.k.Now(), map[string]*session{}
	o.instance = fmt.Sprintf("i%d.%d", o.id, o.begun)
	o.draining = false
	o.listener = o.w.k.Listen(originAddress(o.id), o.accept)
}

func (o *origin) missed() { o.awayAt, o.everAway = o.w.k.Now(), true }

// restart ends the instance, and begins another one later.
func (o *origin) restart(away time.Duration) {
	if o.listener == nil {
		return
	}
	o.w.result.Restarts++
	o.missed()
	o.listener.Close()
	o.listener = nil
	o.resetLinks()
	for _, s := range o.sessions {
		s.ended = true
	}
	o.sessions = nil
	o.w.k.After(away, func() {
		if o.listener == nil {
			o.missed()
			o.begin()
		}
	})
}

func (o *origin) stall(d time.Duration) {
	o.missed()
	o.stalled = o.w.k.Now() + d
	o.awayAt = o.stalled
}

func (o *origin) resetLinks() {
	o.missed()
	for len(o.links) > 0 {
		o.links[0].end.Reset()
		o.links[0].close()
	}
}

// cut lets nothing pass on the links for a while. New links are not affected.
func (o *origin) cut(d time.Duration) {
	o.w.result.Cuts++
	o.missed()
	for _, l := range o.links {
		l.end.Cut()
		o.w.k.After(d, l.end.Mend)
	}
}

// drain asks all edges for no new sessions, while their links last. One origin stays.
func (o *origin) drain() {
	if o.id == 0 {
		return
	}
	for _, l := range o.links {
		if l.up {
			l.say("drain\n")
		}
	}
}

// err breaks the protocol on a link, or comes near it.
func (o *origin) err() {
	if len(o.links) == 0 {
		return
	}
	o.missed()
	r := o.w.k.Rand
	l := o.links[r.IntN(len(o.links))]
	requests, streams := slices.Sorted(maps.Keys(l.live)), slices.Sorted(maps.Keys(l.streams))
	switch kind := r.IntN(9); {
	case kind == 0 && len(streams) > 0: // a status is for requests
		l.out = frame.AppendReply(l.out, streams[0], 404, nil)
	case kind == 1 && len(streams) > 0: // accepted twice, or before its time
		l.out = frame.Append(l.out, streams[0], []byte("+"))
	case kind == 2 && len(streams) > 0:
		l.out = frame.AppendCredit(l.out, streams[0], 2*window)
	case kind == 3 && len(requests) > 0:
		l.out = frame.Append(l.out, requests[0], []byte("+"))
	case kind == 4 && len(requests) > 0:
		l.out = frame.AppendEnd(l.out, requests[0], 1000, "")
	case kind == 5:
		l.say(l.hello)
	case kind == 6:
		l.say("verb-of-a-later-version 1 2 3\n")
	case kind == 7:
		l.say("ping " + strings.Repeat("x", 65) + "\n")
	case kind == 8:
		whole := frame.AppendReply(nil, 1<<32|1, 200, []byte("<body/>"))
		l.out = append(l.out, whole[:r.IntN(len(whole))]...)
		l.flush()
		l.close()
		return
	default:
		l.out = append(l.out, "0000000x|0000000000000000|"...)
	}
	l.wake()
}

func (o *origin) heal() {
	o.stalled = 0
	if o.listener == nil {
		o.missed()
		o.begin()
	}
	for _, l := range o.links {
		l.end.Mend()
		l.wake()
		if l.up {
			o.awayAt = max(o.awayAt, o.w.k.Now())
		}
	}
}

// live returns the number of unanswered requests.
func (o *origin) live() (n int) {
	for _, l := range o.links {
		n += len(l.live) + len(l.streams)
	}
	return n
}

func (o *origin) accept() {
	for {
		end := o.listener.Next()
		if end == nil {
			return
		}
		l := &originLink{o: o, end: end, live: map[uint64]*request{}, streams: map[uint64]*stream{},
			endedStreams: map[uint64]bool{}}
		end.Ready = l.wake
		o.links = append(o.links, l)
		h := frame.Hello{Version: 1, Name: originName(o.id), Instance: o.instance,
			Age: int((o.w.k.Now()-o.begun)/time.Millisecond) + 1, Streams: o.w.numStreamers > 0, Window: window}
		sys.Secret(h.Nonce[:])
		l.hello = string(frame.AppendHello(nil, &h))
		l.say(l.hello)
	}
}

func (l *originLink) wake() {
	if l.pending || l.dead {
		return
	}
	l.pending = true
	k := l.o.w.k
	k.After(max(k.Upto(l.o.w.originLatency), l.o.stalled-k.Now()), l.turn)
}

func (l *originLink) say(lines string) {
	l.out = frame.Append(l.out, 0, []byte(lines))
	l.wake()
}

func (l *originLink) turn() {
	l.pending = false
	if l.dead {
		return
	}
	var buf [8 << 10]byte
	n, err := l.end.Read(buf[:])
	switch {
	case err == unix.EAGAIN || err == unix.ENOTCONN:
	case err != nil || n == 0:
		l.close()
		return
	default:
		l.in = append(l.in, buf[:n]...)
		l.frames()
		l.wake()
	}
	if !l.dead {
		l.flush()
	}
}

func (l *originLink) flush() {
	for len(l.out) > 0 {
		n, err := l.end.Write(l.out)
		if err == unix.EAGAIN {
			return
		}
		if err != nil {
			l.close()
			return
		}
		l.out = append(l.out[:0], l.out[n:]...)
	}
}

// close ends the link, and with it the IDs on it.
func (l *originLink) close() {
	if l.dead {
		return
	}
	l.dead = true
	l.end.Close()
	for i, m := range l.o.links {
		if m == l {
			l.o.links = append(l.o.links[:i:i], l.o.links[i+1:]...)
			break
		}
	}
	for _, r := range l.live {
		if r.session != nil {
			r.session.lose(r)
		}
	}
	for _, s := range l.streams {
		s.ended = true
	}
	if l.up && !l.o.w.closing {
		l.o.missed()
	}
}

func (l *originLink) frames() {
	for {
		f, size, ok, err := frame.Parse(l.in, frame.MaxContentsBytes)
		if err != nil {
			l.o.w.fail("an edge sent a bad frame (%s): %.60q", err.Reason, l.in)
		}
		if !ok {
			return
		}
		contents := bytes.Clone(f.Contents)
		l.in = append(l.in[:0], l.in[size:]...)
		if f.ID == 0 {
			l.control(string(contents))
		} else {
			l.request(f.ID, contents)
		}
		if l.dead {
			return
		}
	}
}

func (l *originLink) control(lines string) {
	w := l.o.w
	for line := range strings.Lines(lines) {
		verb, args, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		w.k.Trace(verb, l.o.id, l.end.ID(), 0, args)
		switch verb {
		case "hello":
			h, err := frame.ParseHello([]byte(args))
			if err != nil || l.edge != "" {
				w.fail("an edge sent a bad hello: %q", line)
			}
			l.edge, l.up = h.Name, true
			l.welcome(&h, line)
			w.k.After(w.config.PingTimeout/3, l.ping)
		case "gone":
			for _, id := range strings.Fields(args) {
				l.gone(id)
			}
		case "release":
			for _, id := range strings.Fields(args) {
				l.release(id)
			}
		case "credit":
			l.credit(args)
		case "ping":
			l.say("pong " + args + "\n")
		case "pong":
			if n, _ := strconv.Atoi(args); n != l.pongs+1 {
				w.fail("an edge answered ping %d with pong %q", l.pongs+1, args)
			}
			l.pongs++
		case "error":
			l.flush()
			l.close()
			return
		default:
			w.fail("an edge sent %q", line)
		}
	}
}

// welcome checks the edge's proof of the secret, if there is one, and gives the origin's.
func (l *originLink) welcome(h *frame.Hello, line string) {
	w := l.o.w
	secret := w.config.Secret
	if secret == nil {
		l.say("welcome\n")
		return
	}
	ours := []byte(strings.TrimSuffix(l.hello, "\n"))
	theirs := frame.Unproved([]byte(strings.TrimSuffix(line, "\n")))
	if want := frame.LinkProof(secret, frame.EdgeHello, ours, theirs); !h.HasProof || h.Proof != want {
		w.fail("an edge did not prove the secret: %q", line)
	}
	m := frame.Welcome{HasProof: true,
		Proof: frame.LinkProof(secret, frame.OriginWelcome, ours, theirs, []byte("welcome"))}
	l.say(string(frame.AppendWelcome(nil, &m)))
}

func (l *originLink) ping() {
	if l.dead {
		return
	}
	l.pings++
	l.say(fmt.Sprintf("ping %d\n", l.pings))
	l.o.w.k.After(l.o.w.config.PingTimeout/3, l.ping)
}

func (l *originLink) find(id string) *request {
	n, err := strconv.ParseUint(id, 16, 64)
	if err != nil || len(id) != 16 {
		l.o.w.fail("an edge sent the ID %q", id)
	}
	return l.live[n]
}

func (l *originLink) gone(id string) {
	r := l.find(id)
	if r == nil {
		return // the reply crossed it
	}
	l.forget(r)
	if r.session != nil {
		r.session.lose(r)
	}
}

func (l *originLink) release(id string) {
	if r := l.find(id); r != nil && r.session != nil && r.session.held == r {
		r.session.answer(true)
	}
}

// forget ends the life of an ID.
func (l *originLink) forget(r *request) {
	delete(l.live, r.id)
	l.old = append(l.old, r.id)
	if len(l.old) > 64 {
		l.old = l.old[1:]
	}
}

// reply answers a request.
func (r *request) reply(status int, body string) {
	l, w := r.link, r.link.o.w
	if r.gone {
		return
	}
	if l.dead || l.live[r.id] != r {
		w.fail("the model answers a request that is not live")
	}
	w.k.Trace("reply", l.o.id, int(r.rid), int(uint32(r.id)), "")
	l.forget(r)
	l.out = frame.AppendReply(l.out, r.id, status, []byte(body))
	if w.k.Chance(w.stale) && !w.quiet { // the edge must know that these are not for its client
		id := l.old[w.k.Rand.IntN(len(l.old))]
		if w.k.Rand.IntN(2) == 0 && id>>32 > 1 {
			id -= 1 << 32 // an earlier generation of the slot; a later one may be on its way here
		}
		if l.live[id] == nil && l.streams[id] == nil {
			l.out = frame.AppendReply(l.out, id, 200, []byte("<body poison='1'/>"))
		}
	}
	l.wake()
}

func (l *originLink) request(id uint64, contents []byte) {
	w := l.o.w
	if l.streamFrame(id, contents) {
		return
	}
	q, err := frame.ParseRequest(contents)
	switch {
	case err != nil:
		w.fail("an edge sent a bad request: %s", err.Reason)
	case !l.up:
		w.fail("an edge sent a request before welcome")
	case l.live[id] != nil || l.streams[id] != nil:
		w.fail("an edge used the live ID %x", id)
	}
	r := &request{link: l, id: id}
	l.live[id] = r
	b := parseBody(w, string(q.Body))
	r.rid = b.rid
	if b.client >= 0 && string(q.Address) != address(2, b.client+1).String() {
		w.fail("an edge named %s as the address of client %d", q.Address, b.client)
	}
	w.k.Trace("request", l.o.id, int(b.rid), int(uint32(id)), b.sid)
	if b.sid == "" {
		l.create(r, &b)
		return
	}
	s := l.o.sessions[b.sid]
	if s == nil {
		r.reply(200, terminate("item-not-found"))
		return
	}
	r.session = s
	s.take(r, &b)
}

func (l *originLink) create(r *request, b *body) {
	o := l.o
	w := o.w
	switch broken := w.k.Now() < o.broken; {
	case w.quiet:
	case broken && w.k.Chance(0.3):
		return // never answered
	case broken || w.k.Chance(w.refusal):
		r.reply(200, terminate("internal-server-error"))
		return
	}
	o.born++
	w.result.Sessions++
	s := &session{o: o, sid: fmt.Sprintf("s%d.%d.%d", o.id, o.born, o.begun), first: b.rid, next: b.rid + 1,
		client: b.client, early: map[uint64]*early{}, cache: map[uint64]string{}}
	o.sessions[s.sid] = s
	s.touch()
	w.k.After(w.slowness(), func() {
		if l.dead || l.live[r.id] != r {
			delete(o.sessions, s.sid) // its client has left
			s.ended = true
			return
		}
		r.reply(200, fmt.Sprintf("<body rid='%d' client='%d' sid='%s' wait='%d' requests='2' hold='1' %s/>", r.rid,
			s.client, s.sid, w.wait/time.Second, xmlns))
		s.chat()
	})
}

// slowness returns how long an origin takes for a creation.
func (w *world) slowness() time.Duration {
	if w.quiet {
		return w.k.Upto(w.originLatency)
	}
	return w.k.Upto(w.originLatency + w.creation)
}

const xmlns = "xmlns='http://jabber.org/protocol/httpbind'"

func terminate(condition string) string {
	return "<body type='terminate' condition='" + condition + "' " + xmlns + "/>"
}
