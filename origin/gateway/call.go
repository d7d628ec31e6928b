package gateway

import (
	"strconv"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"megaphone/codec/frame"
	"megaphone/origin/link"
)

// fate is how a call ended.
type fate uint8

const (
	fateAnswered     fate = iota // a reply to deliver
	fateNotBOSH                  // a reply that no BOSH client could read
	fateNoneBehind               // a proxy reports that its server is unreachable
	fateUnreachable              // no connection
	fateBroken                   // the connection ended before the whole reply
	fateLate                     // no reply in time
	fateTooLarge                 // a reply above the size limit
	fateHeadTooLarge             // a reply whose head is above the size limit
	fateAborted                  // its client has disconnected
	fates            = iota
)

// untaken reports whether the endpoint may never have read a request with this fate.
func (f fate) untaken() bool {
	return f == fateNoneBehind || f == fateUnreachable || f == fateBroken || f == fateLate
}

// call is a forwarded request.
type call struct {
	link     link.Replier
	id       uint64
	endpoint *endpoint
	wire     []byte // head and body as sent
	once     bool   // it must not be sent twice
	creation bool   // it creates a session
	legacy   bool   // a creation without `ver`
	over     bool   // owned by the engine: answered, or no client waits
	done     bool   // owned by the engine: ended, or will never be sent

	// Owned by the order.
	session *session // nil: it belongs to none
	next    *call    // in a list of its session
	rid     uint64
	before  uint64 // the session's previous highest rid
	bridges int64  // it was sent after its successor, which had been sent early: the session's early then
	at      int64  // ms, when it arrived; then when its reply did
	stage   stage
	read    bool // there is evidence that the endpoint has read it
	left    bool // last words that have been sent
	passed  bool // its reply is no longer waited for
	fenced  bool // its reply waits for another link

	mu       sync.Mutex
	socket   *socket // set while the call may be aborted
	sent     bool    // completely
	followed bool    // tell the engine when it is sent
	unwanted bool    // no client waits for the reply
	aborted  bool
	sentAt   int64         // us
	stop     chan struct{} // closed to interrupt a goroutine that waits for room

	// Owned by the goroutine until the call has ended.
	fresh    bool // its socket has not been used before
	resent   bool
	fate     fate
	status   int
	body     []byte // usually borrowed from response
	response *fasthttp.Response

	headBytes int // of the reply, if its head is too large
	reserved  int // bytes of the reply in replyBudget

	answeredAt int64  // us
	key        uint64 // of the session that the reply creates; 0: none
	window     uint64 // window of that session
	carries    bool   // the reply has payload or ends the session
	final      bool   // the reply is the session's last
	hasty      bool   // the reply is an error, which waits for nothing
	unknown    bool   // the reply is item-not-found
}

// newWire builds the request in one piece. The same copy is sent again if the socket was stale. It omits the bytes of
// the body from cut-suffix to cut. The client's query follows the endpoint's own, if the URL has one.
func newWire(e *endpoint, r *frame.Request, cut, suffix int) []byte {
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

// ended reports whether the call has nothing left to do. A request without a waiting client is still sent, because a
// page that is being closed posts its last words and leaves at once. The caller holds the mutex.
func (c *call) ended() bool { return c.aborted || c.unwanted && c.sent }

// attach gives the call a socket and a deadline. It returns false if the call has been aborted.
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

// wrote records the time (us) of sending and whether the whole request was sent. more is false if the call has nothing
// left to do. followed tells the caller to notify the engine.
func (c *call) wrote(whole bool, now int64) (more, followed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent, c.sentAt = whole, now
	return !c.ended(), whole && c.followed
}

// whenSent returns the time (us) at which the whole request was sent, or 0 if it has not been sent yet.
func (c *call) whenSent() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.sent {
		return 0
	}
	return c.sentAt
}

// follow is whenSent, but also requests a notification of the engine if the request has not been sent yet.
func (c *call) follow() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.sent {
		c.followed = true
		return 0
	}
	return c.sentAt
}

// detach takes the socket from the call, which then cannot be aborted. It returns false if the call has been aborted.
func (c *call) detach() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.socket = nil
	return !c.ended()
}

// renew is detach for a call that will be sent again.
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

// hasEnded is ended for a caller without the mutex.
func (c *call) hasEnded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended()
}

// leave records that no client waits for a reply. Once the request is sent, the call ends and its socket is closed, as
// the client closed its own. leave returns the socket for Gateway.interrupt, or nil.
func (c *call) leave() *socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unwanted = true
	if !c.sent {
		return nil
	}
	return c.interrupt()
}

// abort makes the call end and close its socket, even if the request is not sent. It returns the socket for
// Gateway.interrupt, or nil.
func (c *call) abort() *socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aborted = true
	return c.interrupt()
}

// interrupt ends what the call's goroutine waits for. It does not close the socket, because that might block. It
// returns the socket, which may be waiting without a goroutine.
func (c *call) interrupt() *socket {
	if c.socket != nil {
		c.socket.conn.SetDeadline(time.Unix(1, 0))
	}
	if c.stop != nil {
		close(c.stop)
		c.stop = nil
	}
	return c.socket
}

// pause returns a channel that is closed when a call is interrupted while it waits for something other than its socket.
// It returns false if the call has been interrupted already.
func (c *call) pause() (stop <-chan struct{}, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended() {
		return nil, false
	}
	c.stop = make(chan struct{})
	return c.stop, true
}

// resume ends a pause. It returns false if the call has been interrupted.
func (c *call) resume() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop = nil
	return !c.ended()
}

// forgetReply releases the memory of the reply.
func (g *Gateway) forgetReply(c *call) {
	g.replies.give(c, c.reserved)
	if c.response != nil {
		fasthttp.ReleaseResponse(c.response)
		c.response, c.body = nil, nil
	}
}
