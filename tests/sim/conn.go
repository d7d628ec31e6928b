//go:build sim

package sim

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"megaphone/loop/sys"
)

// conn is a client's connection. The responses must come in the order of its requests.
type conn struct {
	c       *client
	end     *sys.Endpoint
	out, in []byte
	posts   []*post
	asked   int  // requests that were written here
	last    bool // no request may follow
	pending bool
	dead    bool
	made    bool          // connected
	heard   time.Duration // when it was connected, or the last response came
	wasCut  bool
	quits   bool // nothing follows, and nothing is awaited
	whole   int  // the length of the response that has begun; 0: not known yet
}

func newConn(c *client) *conn {
	n := &conn{c: c}
	at := c.w.sites[c.w.k.Rand.IntN(len(c.w.sites))].at
	n.end = c.w.k.Dial(address(2, c.id+1), at, func() { n.wake() })
	return n
}

// send writes a request.
func (n *conn) send(p *post) {
	w := n.c.w
	n.posts = append(n.posts, p)
	n.asked++
	var b strings.Builder
	if w.k.Chance(0.05) {
		b.WriteString("\r\n")
	}
	b.WriteString("POST /http-bind HTTP/1.1\r\nHost: a.test\r\nContent-Type: text/xml; charset=utf-8\r\n")
	if w.k.Chance(w.closes) {
		b.WriteString("Connection: close\r\n")
		n.last = true
	}
	if w.k.Chance(w.chunked) {
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		for rest := p.text; rest != ""; {
			i := 1 + w.k.Rand.IntN(len(rest))
			fmt.Fprintf(&b, "%x\r\n%s\r\n", i, rest[:i])
			rest = rest[i:]
		}
		b.WriteString("0\r\n\r\n")
	} else {
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(p.text), p.text)
	}
	n.out = append(n.out, b.String()...)
	w.k.Trace("post", n.c.id, int(p.rid), n.end.ID(), "")
	n.wake()
	if !n.quits {
		n.watch(p)
	}
}

// patience is the time after which a client takes a connection for dead that has an unanswered request. An edge answers
// earlier.
func (n *conn) watch(p *post) {
	w, tries := n.c.w, p.tries
	w.k.After(w.hold+45*time.Second, func() {
		if n.dead || p.conn != n || p.tries != tries {
			return
		}
		if w.mustAnswer(n) {
			w.fail("client %d has waited for the answer to rid %d since %.3f s", n.c.id, p.rid,
				(w.k.Now() - w.hold - 45*time.Second).Seconds())
		}
		n.abandon()
	})
}

// mustAnswer reports whether nothing but the edge can be late.
func (w *world) mustAnswer(n *conn) bool {
	return !n.wasCut && !n.c.slow && n.end.Connected() && len(n.out) == 0 && !w.jumps() && w.stallChance == 0 &&
		n.end.Unsent() == 0 && w.config.CreateWait < w.hold
}

func (n *conn) wake() {
	if n.pending || n.dead {
		return
	}
	n.pending = true
	k := n.c.w.k
	d := k.Upto(2 * time.Millisecond)
	if n.c.slow && !n.c.w.quiet {
		d = k.Upto(300 * time.Millisecond)
	}
	k.After(d, n.turn)
}

func (n *conn) turn() {
	n.pending = false
	if n.dead {
		return
	}
	switch {
	case n.quits && n.end.Failed():
		return
	case n.quits:
		n.write()
		return
	}
	if n.end.Failed() && n.end.Unread() == 0 {
		n.ended()
		n.abandon()
		return
	}
	if !n.made && n.end.Connected() {
		n.made, n.heard = true, n.c.w.k.Now()
	}
	if n.write() && n.read() && len(n.in) > 0 {
		n.responses()
	}
}

// ended fails if the edge has ended the connection instead of answering a request, or did not take it, and nothing else
// can be the cause.
func (n *conn) ended() {
	w := n.c.w
	switch {
	case !n.made && n.end.Refused() && !w.mayBeDown():
		w.fail("client %d was refused by the system of an edge", n.c.id)
	case len(n.posts) == 0, n.last, n.c.slow, n.wasCut, !n.made, w.cutsOff(), w.jumps(), w.faults.Late > 0,
		w.faults.Accept > 0, w.config.MaxBufferedBytes > 0, w.stallChance > 0:
	case w.k.Now()-n.heard > w.config.IdleTimeout-5*time.Second:
	case n.asked == len(n.posts) && w.mayBeFull(): // see read
	default:
		w.fail("client %d lost its connection before the answer to rid %d", n.c.id, n.posts[0].rid)
	}
}

func (n *conn) write() (ok bool) {
	for len(n.out) > 0 {
		p := n.out
		if n.c.slow && !n.c.w.quiet {
			p = p[:min(len(p), 1+n.c.w.k.Rand.IntN(200))]
		}
		m, err := n.end.Write(p)
		switch {
		case err == unix.EAGAIN || err == unix.ENOTCONN:
			return true
		case err != nil:
			n.out = nil // an answer may have come before the reset
			return true
		}
		n.out = append(n.out[:0], n.out[m:]...)
		if n.c.slow && !n.c.w.quiet {
			n.wake()
			return true
		}
	}
	if n.quits && n.end.Connected() {
		_ = n.end.CloseWrite()
	}
	return true
}

func (n *conn) read() (ok bool) {
	var buf [4 << 10]byte
	p := buf[:]
	if n.c.slow && !n.c.w.quiet {
		p = p[:1+n.c.w.k.Rand.IntN(len(p))]
	}
	m, err := n.end.Read(p)
	switch {
	case err == unix.EAGAIN || err == unix.ENOTCONN:
		return false
	case err != nil || m == 0:
		// A refusal without a slot is written once, because a new connection has room for it in a real kernel.
		refused := n.asked == len(n.posts) && n.c.w.mayBeFull()
		if err == nil && len(n.in) > 0 && !n.end.Failed() && !n.c.w.cutsOff() && !n.c.slow && !n.wasCut && !refused {
			n.c.w.fail("client %d got a part of a response: %.100q", n.c.id, n.in)
		}
		n.ended()
		n.abandon()
		return false
	}
	n.in = append(n.in, p[:m]...)
	n.wake()
	return true
}

// responses takes the whole responses.
func (n *conn) responses() {
	w := n.c.w
	for !n.dead && len(n.in) >= n.whole {
		head, _, ok := bytes.Cut(n.in, []byte("\r\n\r\n"))
		if !ok {
			if len(n.in) >= 9 && !bytes.HasPrefix(n.in, []byte("HTTP/1.1 ")) {
				w.fail("client %d got no response: %.100q", n.c.id, n.in)
			}
			return
		}
		status, length, last := n.head(string(head))
		if n.whole = len(head) + 4 + length; len(n.in) < n.whole {
			return
		}
		text := string(n.in[len(head)+4 : n.whole])
		n.in = append(n.in[:0], n.in[n.whole:]...)
		n.whole, n.last = 0, n.last || last
		if len(n.posts) == 0 {
			if status == 503 && n.asked == 0 {
				n.abandon() // the table is full
				return
			}
			w.fail("client %d got a response without a request: %s %.100q", n.c.id, head, text)
		}
		p := n.posts[0]
		n.posts = n.posts[1:]
		p.conn, n.heard = nil, w.k.Now()
		n.c.answered(p, status, text)
		if last && !n.dead && len(n.in) > 0 {
			w.fail("client %d got bytes behind the last response: %.100q", n.c.id, n.in)
		}
	}
}

// head reads the head of a response.
func (n *conn) head(text string) (status, length int, last bool) {
	lines := strings.Split(text, "\r\n")
	status, err := strconv.Atoi(lines[0][len("HTTP/1.1 "):][:3])
	length = -1
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		switch strings.ToLower(name) {
		case "content-length":
			length, _ = strconv.Atoi(value)
		case "connection":
			last = value == "close"
		}
	}
	if err != nil || length < 0 {
		n.c.w.fail("client %d got a bad head: %q", n.c.id, text)
	}
	return status, length, last
}

// abandon closes the connection.
func (n *conn) abandon() {
	if n.dead {
		return
	}
	n.dead = true
	n.end.Close()
	if !n.quits {
		n.c.lost(n)
	}
}
