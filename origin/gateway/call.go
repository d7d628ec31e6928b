package gateway

import (
	"strconv"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"megaphone/codec"
	"megaphone/origin/link"
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
	fateAborted                  // nobody waits for it any more
	fates            = iota
)

// call is a request that is forwarded.
type call struct {
	link     *link.Link
	id       uint64
	endpoint *endpoint
	wire     []byte // head and body as they are sent
	creation bool   // of a session
	legacy   bool   // which has no `ver`
	over     bool   // the engine's: it has been answered, or nobody waits

	mu       sync.Mutex
	socket   *socket // while it may be aborted
	sent     bool    // wholly
	unwanted bool    // nobody waits for a reply
	aborted  bool

	// The goroutine's, until the call has ended.
	fresh    bool // its socket has not been used before
	resent   bool
	fate     fate
	status   int
	body     []byte // borrowed from response, mostly
	response *fasthttp.Response

	headBytes int // of the reply, when they are too many
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

// wrote notes whether the request has left as a whole; false when that was all there was to do.
func (c *call) wrote(whole bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = whole
	return !c.ended()
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
}
