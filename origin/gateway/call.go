package gateway

import (
	"strconv"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"megaphone/codec"
)

// fate is how a call ended.
type fate uint8

const (
	fateAnswered     fate = iota // there is a reply to deliver
	fateNotBOSH                  // there was one, which no BOSH client could read
	fateNoneBehind               // a proxy says that its server is away
	fateUnreachable              // no connection
	fateBroken                   // the connection ended before the whole reply
	fateLate                     // no reply in time
	fateTooLarge                 // a reply longer than it may be
	fateHeadTooLarge             // a reply with a head longer than it may be
	fateAborted                  // its client has gone
	fates            = iota
)

// untaken reports whether the endpoint may never have read a request that ended so.
func (f fate) untaken() bool {
	return f == fateNoneBehind || f == fateUnreachable || f == fateBroken || f == fateLate
}

// call is a request that is forwarded.
type call struct {
	link     replier
	id       uint64
	endpoint *endpoint
	wire     []byte // head and body as they are sent
	once     bool   // it must not be sent twice
	creation bool   // of a session
	legacy   bool   // which has no `ver`
	over     bool   // the engine's: it has been answered, or nobody waits
	done     bool   // the engine's: it has ended, or never will be sent

	// The order's.
	session *session // nil: it belongs to none
	next    *call    // in a list of its session
	rid     uint64
	before  uint64 // the rid that was the session's last
	at      int64  // ms, when it came; then when its reply did
	stage   stage
	read    bool // the endpoint has read it: there is a sign
	left    bool // it was last words, and has been sent
	passed  bool // its reply is not waited for
	fenced  bool // its reply waits for another link

	mu       sync.Mutex
	socket   *socket // while it may be aborted
	sent     bool    // wholly
	followed bool    // the engine is to know when it is sent
	unwanted bool    // nobody waits for a reply
	aborted  bool
	sentAt   int64         // us
	stop     chan struct{} // closed to interrupt a goroutine that waits for room

	// The goroutine's, until the call has ended.
	fresh    bool // its socket has not been used before
	resent   bool
	fate     fate
	status   int
	body     []byte // borrowed from response, mostly
	response *fasthttp.Response

	headBytes int // of the reply, when they are too many
	reserved  int // of the reply, in replyBudget

	answeredAt int64  // us
	key        uint64 // of the session that the reply creates; 0: none
	window     uint64 // of that one
	carries    bool   // the reply: payload, or the end of the session
	final      bool   // it is the session's last
	hasty      bool   // it waits for nothing: it is an error
}

// newWire builds the request in one piece: the copy of it that is sent, and sent again when the socket was stale. The
// bytes of the body from cut-suffix to cut are left out. The client's query follows the endpoint's own, if it has one.
func newWire(e *endpoint, r *codec.Request, cut, suffix int) []byte {
	const forwarded = "\r\nX-Forwarded-For: "
	n := len(r.Body) - suffix
	size := len(e.post) + len("?") + len(r.Query) + len(e.fields) + len("16777216") + len(forwarded) +
		len(r.Address) + len("\r\n\r\n") + n
	p := append(make([]byte, 0, size), e.post...)
	if len(r.Query) > 0 {
		p = append(append(p, e.mark), r.Query...)
	}
	p = strconv.AppendInt(append(p, e.fields...), int64(n), 10)
	if r.Address != nil {
		p = append(append(p, forwarded...), r.Address...)
	}
	p = append(p, "\r\n\r\n"...)
	return append(append(p, r.Body[:cut-suffix]...), r.Body[cut:]...)
}

// ended says that there is nothing left to do. A request that nobody waits for is sent all the same: a client that
// posts and leaves at once, as a page does that is closed, has said what it said. The mutex is held.
func (c *call) ended() bool { return c.aborted || c.unwanted && c.sent }

// attach gives the call a socket and the time that it may take; false when it has been aborted.
func (c *call) attach(s *socket, deadline time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended() {
		return false
	}
	s.conn.SetDeadline(deadline)
	c.socket = s
	return true
}

// wrote notes at what time (us) the request has left, if it has as a whole; more is false when that was all there was
// to do, and followed says that the engine is to know.
func (c *call) wrote(whole bool, now int64) (more, followed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent, c.sentAt = whole, now
	return !c.ended(), whole && c.followed
}

// whenSent returns the time (us) when the request left as a whole; 0 if it has not yet.
func (c *call) whenSent() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.sent {
		return 0
	}
	return c.sentAt
}

// follow is whenSent, but the engine is told if that is yet to come.
func (c *call) follow() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.sent {
		c.followed = true
		return 0
	}
	return c.sentAt
}

// detach takes the socket away from the call, after which it cannot be aborted; false when it has been.
func (c *call) detach() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.socket = nil
	return !c.ended()
}

// renew is detach for a call that is to be sent again.
func (c *call) renew() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.socket = nil
	if c.ended() {
		return false
	}
	c.sent = false
	return true
}

// leave says that nobody waits for a reply: as soon as the request is sent, the call's goroutine ends, and closes its
// socket, as the client closed its own.
func (c *call) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unwanted = true
	if c.sent {
		c.interrupt()
	}
}

// abort makes the call's goroutine end, and close its socket, whether the request is sent or not.
func (c *call) abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aborted = true
	c.interrupt()
}

// interrupt ends what the goroutine waits for. Closing the socket here might wait itself.
func (c *call) interrupt() {
	if c.socket != nil {
		c.socket.conn.SetDeadline(time.Unix(1, 0))
	}
	if c.stop != nil {
		close(c.stop)
		c.stop = nil
	}
}

// pause returns what is closed when a call that waits for something else than its socket is interrupted; false when it
// has been.
func (c *call) pause() (stop <-chan struct{}, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended() {
		return nil, false
	}
	c.stop = make(chan struct{})
	return c.stop, true
}

// resume ends a pause; false when the call has been interrupted.
func (c *call) resume() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop = nil
	return !c.ended()
}

// forgetReply releases what the reply took of memory.
func (g *Gateway) forgetReply(c *call) {
	g.replies.give(c, c.reserved)
	if c.response != nil {
		fasthttp.ReleaseResponse(c.response)
		c.response, c.body = nil, nil
	}
}
