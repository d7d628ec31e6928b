package edge

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"

	"megaphone/codec/frame"
	"megaphone/codec/ws"
	"megaphone/loop"
	"megaphone/stats"
	"megaphone/table"
)

// The edge's side of PROTOCOL.md. Reasons for closing a link:
var (
	errNoHello     = errors.New("the origin did not begin with hello")
	errVersion     = errors.New("the origin speaks another version of the link protocol")
	errNoSecret    = errors.New("the origin did not prove that it knows the secret")
	errNotBelieved = errors.New("the origin rejected the edge's proof of the secret")
	errOldOrigin   = fmt.Errorf("%w: its proof is that of an older version (see accept-old-proof)", errNoSecret)
	errEarlyFrame  = errors.New("the origin sent a reply before welcome")
	errSilent      = errors.New("the origin was silent for longer than ping-timeout")
	errHelloAgain  = errors.New("the origin sent hello or welcome twice")
	errNotProtocol = errors.New("the origin broke the link protocol")
)

// foreignError is the reason for closing a link whose first bytes are not hello.
type foreignError struct {
	why   error
	found string // the protocol that it looks like
	first string // its first bytes, quoted
}

func (e *foreignError) Error() string { return e.why.Error() + ": it looks like " + e.found }
func (e *foreignError) Unwrap() error { return e.why }

func (w *worker) LinkUp(l *loop.Link) {
	n := w.byLink[l.Index]
	n.stage, n.draining, n.max = stageGreeting, false, frame.MaxContentsBytes
	n.heardAt, n.pinged, n.inquired, n.pongs = w.r.Now(), false, false, 0
	n.upSince = w.r.Now()
}

// LinkData takes all complete frames in p. It borrows p until return.
func (w *worker) LinkData(l *loop.Link, p []byte) (consumed, need int, err error) {
	n := w.byLink[l.Index]
	n.heardAt, n.pinged, w.heardAt = w.r.Now(), false, w.r.Micros()
	for consumed < len(p) {
		limit := frame.MaxContentsBytes
		if n.stage != stageUp {
			limit = frame.MaxHandshakeBytes
		}
		f, size, ok, ferr := frame.Parse(p[consumed:], limit)
		switch {
		case ferr != nil && n.stage == stageGreeting:
			return consumed, 0, w.breakLink(n, &foreignError{errNoHello, frame.Foreign(p), frame.Quoted(p)})
		case ferr != nil:
			return consumed, 0, w.breakLink(n, protocolError(ferr))
		case !ok:
			return consumed, size, nil
		}
		consumed += size
		w.counters[stats.FramesIn]++
		if err := w.frame(n, f); err != nil {
			return consumed, 0, w.breakLink(n, err)
		}
	}
	return consumed, 0, nil
}

func (w *worker) frame(n *node, f frame.Frame) error {
	if f.ID == 0 {
		return w.controlFrame(n, f.Contents)
	}
	if n.stage != stageUp {
		return errEarlyFrame
	}
	if p := f.Contents; len(p) > 0 && (p[0] == frame.StreamOpens || p[0] == frame.StreamEnds) {
		return w.streamFrame(n, f)
	}
	status, body, err := frame.ParseReply(f.Contents)
	if err != nil {
		return protocolError(err)
	}
	w.reply(n, f.ID, status, body)
	return nil
}

func protocolError(err *frame.Error) error { return fmt.Errorf("%w: %s", errNotProtocol, err.Reason) }

// breakLink tells the origin the reason before the link is closed with it.
func (w *worker) breakLink(n *node, why error) error {
	w.counters[stats.LinkErrors]++
	if errors.Is(why, errNoSecret) || errors.Is(why, errNotBelieved) {
		w.counters[stats.AuthFailures]++
	}
	w.control(n, "error "+why.Error()+"\n")
	return why
}

// control appends a control frame to the node's batch.
func (w *worker) control(n *node, lines string) {
	n.link.Batch = append(frame.AppendHeader(n.link.Batch, 0, len(lines)), lines...)
	n.link.Dirty()
	w.counters[stats.FramesOut]++
}

func (w *worker) controlFrame(n *node, lines []byte) error {
	for len(lines) > 0 {
		verb, args, rest, _, err := frame.NextLine(lines)
		if err != nil {
			return protocolError(err)
		}
		line := lines[:len(lines)-len(rest)]
		lines = rest
		if n.stage == stageGreeting && string(verb) != "hello" && string(verb) != "error" {
			return errNoHello
		}
		if err := w.controlLine(n, string(verb), args, line); err != nil {
			return err
		}
	}
	return nil
}

// controlLine handles a control line. verb and args are parts of line.
func (w *worker) controlLine(n *node, verb string, args, line []byte) error {
	switch verb {
	case "hello":
		return w.hello(n, args, line)
	case "welcome":
		return w.welcome(n, args, line)
	case "drain":
		n.draining = true
		w.log(slog.LevelInfo, "origin draining", "origin", n.cfg.Name)
	case "ping":
		if len(args) == 0 || len(args) > frame.MaxTokenBytes {
			return fmt.Errorf("%w: the token of a ping has 1 to %d characters", errNotProtocol, frame.MaxTokenBytes)
		}
		w.pong(n, args)
	case "pong":
		if n.asked && string(args) == strconv.FormatUint(uint64(n.pingedAt), 10) {
			n.asked = false
			n.roundTrips.Observe(uint64(w.heardAt - n.pingSent))
		}
	case "credit":
		return w.credit(n, args)
	case "error":
		return n.refused(args)
	default:
		w.counters[stats.UnknownVerbs]++
	}
	return nil
}

// pongReserve bounds the bytes of pongs that wait on a link above its high-water mark.
const pongReserve = 32 << 10

// pong answers a ping. A link above its high-water mark owes a pong as well, because replies on other links may wait
// for it. pongReserve bounds that for an origin that keeps asking and does not read.
func (w *worker) pong(n *node, token []byte) {
	if n.link.Unsent() <= w.cfg.LinkHighWater {
		n.pongs = 0
	} else if n.pongs += frame.HeaderBytes + len("pong \n") + len(token); n.pongs > pongReserve {
		n.pongs = pongReserve
		return
	}
	w.control(n, "pong "+string(token)+"\n")
}

// refused returns the reason with which the origin closes the link. An origin that asks for a mac is older than the
// proof.
func (n *node) refused(reason []byte) error {
	switch proves := n.stage == stageProving && n.secret != nil; {
	case proves && bytes.Contains(reason, []byte("the mac in hello")):
		return fmt.Errorf("%w: %.200q (if it is an older version: see accept-old-proof)", errNotBelieved, reason)
	case proves && bytes.Contains(reason, []byte(" hello")):
		return fmt.Errorf("%w: %.200q", errNotBelieved, reason)
	}
	return fmt.Errorf("the origin says: %.200q", reason)
}

// hello answers the origin's hello with the edge's own, which proves that the edge knows the secret.
func (w *worker) hello(n *node, args, line []byte) error {
	if n.stage != stageGreeting {
		return errHelloAgain
	}
	h, err := frame.ParseHello(args)
	switch {
	case err != nil:
		return protocolError(err)
	case h.Version != 1:
		return errVersion
	case h.Max > 0:
		n.max = h.Max
	}
	n.takesQuery, n.window = h.TakesQuery, windowOf(&h)
	mine := frame.Hello{Version: 1, Name: w.cfg.Name, Nonce: randomNonce(), Max: frame.MaxContentsBytes, Streams: true}
	s := &linkProof{theirs: h}
	if n.secret = w.cfg.Secret; n.secret != nil {
		s.old, s.theirLine = w.cfg.OldProof, bytes.Clone(line)
		if s.old {
			mine.HasMAC = true
			mine.MAC = frame.LinkMAC(n.secret, "edge", &h.Nonce, &mine.Nonce, mine.Name)
		}
		s.mine, s.line = mine, frame.AppendHello(nil, &mine)
		mine.Proof, mine.HasProof = frame.LinkProof(n.secret, frame.EdgeHello, s.theirLine, s.line), true
	}
	n.handshake = s
	w.control(n, string(frame.AppendHello(nil, &mine)))
	n.stage = stageProving
	return nil
}

// linkProof is the state of a link between hello and welcome.
type linkProof struct {
	theirs frame.Hello

	// With a secret:
	mine            frame.Hello // without its proof
	theirLine, line []byte
	old             bool // the mac of older origins is accepted (accept-old-proof)
}

// check returns an error unless the welcome proves that the origin knows the secret and has seen the same two hellos.
func (s *linkProof) check(secret []byte, m *frame.Welcome, line []byte) error {
	switch {
	case m.HasProof:
		want := frame.LinkProof(secret, frame.OriginWelcome, s.theirLine, s.line, frame.Unproved(line))
		if frame.MACEqual(&m.Proof, &want) {
			return nil
		}
	case m.HasMAC && !s.old:
		return errOldOrigin
	case m.HasMAC:
		want := frame.LinkMAC(secret, "origin", &s.mine.Nonce, &s.theirs.Nonce, s.mine.Name)
		if frame.MACEqual(&m.MAC, &want) {
			return nil
		}
	}
	return errNoSecret
}

func (w *worker) welcome(n *node, args, line []byte) error {
	if n.stage != stageProving {
		return errHelloAgain
	}
	m, err := frame.ParseWelcome(args)
	if err != nil {
		return protocolError(err)
	}
	if n.secret != nil {
		if err := n.handshake.check(n.secret, &m, line); err != nil {
			return err
		}
	}
	about := []any{"origin", n.cfg.Name}
	theirs := n.handshake.theirs
	if n.secret != nil && !m.HasProof {
		about = append(about, "proof", "old")
		theirs.Instance = "" // the old proof does not cover it
	}
	if n.meet(theirs.Instance, theirs.Age) {
		about = append(about, "restarted", true)
	}
	n.handshake = nil
	n.stage, n.pingedAt, n.asked = stageUp, w.r.Now(), false
	n.health.linkUp(w.micros())
	n.link.Settled()
	w.counters[stats.LinksUp]++
	w.log(slog.LevelInfo, "link up", append(about, "waiting", n.away)...)
	w.beginReturn(n)
	return nil
}

// meet takes what an origin says about its instance, and reports whether that has replaced another one.
func (n *node) meet(instance string, age int) (restarted bool) {
	before := n.instance
	n.instance = instance
	switch {
	case instance == "" || age == 0:
		n.instance, n.newSince = "", 0
	case before != "" && instance != before:
		// It was at most this old when the link was connected. Ticks may be late, see lateTicks.
		ticks := uint32(age/loop.TickMillis) + 1 + lateTicks
		n.newSince = n.upSince - min(ticks, n.upSince)
		return true
	}
	return false
}

// bygone reports whether a request of a session came before its origin's instance began. The session is gone then: it
// lived in an earlier instance. That holds for sessions that were opened over other links or edges as well.
func (n *node) bygone(hold *table.Hold) bool {
	return hold.Since < n.newSince && hold.Flags&holdCreation == 0
}

// sendGone tells the origin that no client waits for a reply, and takes the hold away from its node. It also ends a
// creation that waits for an origin.
func (w *worker) sendGone(h table.Handle, hold *table.Hold) {
	if waits(hold) {
		w.creations.forget(hold)
	}
	if hold.Flags&holdOrphan != 0 {
		return
	}
	if w.conn(hold.Conn).phase() == phaseStream {
		w.sendEnd(h, hold, ws.CodeLost)
		return
	}
	n := w.byLink[hold.Link]
	w.takeBack(hold, false)
	if n.stage != stageUp {
		return
	}
	const size = len("gone ") + 16 + 1
	n.link.Batch = append(frame.AppendHeader(n.link.Batch, 0, size), "gone "...)
	n.link.Batch = append(frame.AppendID(n.link.Batch, uint64(h)), '\n')
	n.link.Dirty()
	w.counters[stats.FramesOut]++
}

// keepAlive pings an origin, and closes a link that stays silent. It also pings a busy one now and then, to measure the
// round trip.
func (w *worker) keepAlive(n *node) {
	silent := w.r.Now() - n.heardAt
	switch {
	case !n.link.Up():
	case n.stage == stageGreeting && silent >= helloTicks && !n.inquired:
		w.inquire(n)
	case silent >= w.times.ping:
		w.counters[stats.PingTimeouts]++
		n.link.Fail(w.breakLink(n, errSilent))
	case n.stage == stageUp && !n.pinged && w.r.Now()-n.pingedAt >= w.times.ping/3:
		n.pinged, n.asked, n.pingedAt = true, true, w.r.Now()
		w.control(n, "ping "+strconv.FormatUint(uint64(n.pingedAt), 10)+"\n")
		n.pingSent = w.r.Micros()
	}
}

// LinkDown gives each request that the node held a time at which it is answered with 503 (lose), so that clients try
// again. Their requests are answered from the session's cache when the origin is back (XEP-0124 section 14.3).
func (w *worker) LinkDown(l *loop.Link, why error) {
	n := w.byLink[l.Index]
	about := []any{"origin", n.cfg.Name, "reason", why.Error(), "held", n.held}
	var foreign *foreignError
	switch {
	case errors.As(why, &foreign):
		about = append(about, "address", n.cfg.Addr.String(), "what", foreign.found, "first_bytes", foreign.first)
	case n.stage == stageGreeting:
		about = append(about, "address", n.cfg.Addr.String(), "what", "no hello")
	}
	if n.stage == stageUp {
		n.lostAt = w.r.Now()
		n.health.linkDown()
		w.lose(n)
		w.creations.loseDeparted(n)
	}
	n.stage = stageDown
	w.r.LogLimited(&w.lostLog, slog.LevelWarn, "link lost", about...)
}

func (w *worker) LinkFailed(l *loop.Link, why error) {
	w.r.LogLimited(&w.linkLog, slog.LevelWarn, "no link to origin", "origin", l.Name, "reason", why.Error())
}

// A link whose other end sends no hello would stay silent until ping-timeout, because an HTTP server or an XMPP port
// waits for its client to speak first. After helloPatience an ordinary goroutine opens a second connection to the
// address. It sends something that is invalid in every protocol, and logs the answer. The link itself keeps waiting,
// because a busy origin may be late.

const (
	helloPatience   = 2 * time.Second
	inquiryPatience = time.Second      // for an answer
	inquiryInterval = 30 * time.Second // between two inquiries about an address
	inquiryQueue    = 8
)

var helloTicks = loop.Ticks(helloPatience)

// inquiry names an origin that sends no hello.
type inquiry struct {
	origin string
	at     netip.AddrPort
}

// inquire requests an inquiry. A full queue drops the request, and the next silent link asks again.
func (w *worker) inquire(n *node) {
	n.inquired = true
	select {
	case w.inquiries <- inquiry{n.cfg.Name, n.cfg.Addr}:
	default:
	}
}

// watchSilence makes the inquiries, one after the other, until ctx ends.
func watchSilence(ctx context.Context, inquiries <-chan inquiry, log *slog.Logger) {
	told := map[netip.AddrPort]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-inquiries:
			now := time.Now()
			for at, when := range told {
				if now.Sub(when) > inquiryInterval {
					delete(told, at)
				}
			}
			if _, recently := told[q.at]; recently {
				continue
			}
			told[q.at] = now
			if first, what := ask(ctx, q.at); what != "" && ctx.Err() == nil {
				log.Warn("no hello from origin", "origin", q.origin, "address", q.at.String(), "what", what,
					"first_bytes", frame.Quoted(first))
			}
		}
	}
}

// recordAlert is the first byte of a TLS alert.
const recordAlert = 0x15

// ask sends nonsense to an address. It returns the first bytes of the answer, and a guess at the protocol. Without a
// connection it returns "", because the links report that themselves.
func ask(ctx context.Context, at netip.AddrPort) (first []byte, what string) {
	dialer := net.Dialer{Timeout: inquiryPatience}
	c, err := dialer.DialContext(ctx, "tcp", at.String())
	if err != nil {
		return nil, ""
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	_ = c.SetDeadline(time.Now().Add(inquiryPatience))
	// An origin takes this for an edge that leaves. The empty lines end the head of an HTTP request.
	const nonsense = "error this edge asks what listens here\n"
	if _, err := c.Write(append(frame.Append(nil, 0, []byte(nonsense)), "\r\n\r\n"...)); err != nil {
		return nil, "closed without an answer"
	}
	first = make([]byte, frame.HeaderBytes+frame.MaxQuotedBytes)
	n, err := io.ReadAtLeast(c, first, frame.MaxQuotedBytes)
	first = first[:n]
	var late net.Error
	switch f, _, _, bad := frame.Parse(first, 0); {
	case n > 0 && bad == nil && f.ID == 0:
		return first, "a slow link listener"
	case n > 0 && first[0] == recordAlert:
		return first, "TLS alert: set tls for this origin"
	case n > 0:
		return first, frame.Foreign(first)
	case errors.As(err, &late) && late.Timeout():
		return nil, "nothing in 1 s"
	case speaksTLS(ctx, at):
		return nil, "TLS: set tls for this origin"
	}
	return nil, "closed without an answer"
}

// speaksTLS reports whether an address answers a TLS hello. The certificate does not matter, because nothing is sent.
func speaksTLS(ctx context.Context, at netip.AddrPort) bool {
	ctx, cancel := context.WithTimeout(ctx, inquiryPatience)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
	c, err := dialer.DialContext(ctx, "tcp", at.String())
	if err == nil {
		_ = c.Close()
		return true
	}
	var alert tls.AlertError
	return errors.As(err, &alert)
}
