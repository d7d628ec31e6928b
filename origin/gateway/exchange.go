package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	// headBytes is the size of a reader's buffer. A reply with a longer head is read through a buffer of
	// Config.MaxHeadBytes.
	headBytes = 8 << 10
	// measuredBytes bounds how much of an oversized head is read to log its length.
	measuredBytes = 4 << 20
)

// readers are buffers for replies. A call uses one from the first byte of a reply to its last, but not while it waits.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, headBytes) }}

// A call has one goroutine at a time: one connects and sends, none waits (waiting), and another one receives.

// connect is the first stage of a call without a socket. The call has the permission to connect one.
func (g *Gateway) connect(c *call) {
	s, err := g.dial(c.endpoint)
	if err != nil {
		g.pool.drop(nil)
		g.end(c, fateUnreachable)
		return
	}
	c.fresh = true
	g.exchange(c, s)
}

// exchange is the stage that sends the request and begins the wait.
func (g *Gateway) exchange(c *call, s *socket) {
	if !c.attach(s, time.Now().Add(g.cfg.ResponseTimeout)) {
		g.pool.put(c.endpoint, s, g.clock.Load())
		g.end(c, fateAborted)
		return
	}
	if !c.fresh && s.stale() {
		g.again(c, s)
		return
	}
	// An endpoint may answer and close before it has read everything. So a failure to send does not end the call yet.
	_, err := s.conn.Write(c.wire)
	more, followed := c.wrote(err == nil, g.micros())
	if followed {
		g.tell(func(d *completions) { d.sent = append(d.sent, c) }, c)
	}
	if !more {
		g.fail(c, s, fateAborted)
		return
	}
	g.wait(c, s)
}

// ended continues a call whose socket closed or timed out before the first byte of a reply.
func (g *Gateway) ended(c *call, s *socket, err error) {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		g.fail(c, s, fateLate)
	case c.fresh:
		g.fail(c, s, fateBroken)
	default:
		// The socket was probably closed while the request was in flight. Sending it again is safe, because a repeated
		// request of a session gets the first one's answer (XEP-0124 section 14.3).
		g.again(c, s)
	}
}

// again sends the call once more, on a fresh socket that replaces s.
func (g *Gateway) again(c *call, s *socket) {
	if !c.renew() {
		g.pool.drop(s)
		g.end(c, fateAborted)
		return
	}
	s.conn.Close()
	c.resent = true
	go g.connect(c)
}

// fail ends a call without a reply.
func (g *Gateway) fail(c *call, s *socket, f fate) {
	if !c.detach() {
		f = fateAborted
	}
	g.pool.drop(s)
	g.end(c, f)
}

// receive reads the reply: the head, then the body when there is room for it.
func (g *Gateway) receive(c *call, s *socket) {
	r := readers.Get().(*bufio.Reader)
	defer readers.Put(r)
	r.Reset(s.conn)
	defer r.Reset(nil)
	if !s.arrived(func() error { _, err := r.Peek(1); return err }) {
		g.wait(c, s)
		return
	}
	if _, err := r.Peek(1); err != nil {
		g.ended(c, s, err)
		return
	}
	resp := fasthttp.AcquireResponse()
	err := readHead(resp, r)
	if long := (*fasthttp.ErrSmallBuffer)(nil); errors.As(err, &long) {
		// The bytes of the head read so far are still in r.
		large := g.largeReaders.Get().(*bufio.Reader)
		defer g.largeReaders.Put(large)
		large.Reset(r)
		defer large.Reset(nil)
		if err = readHead(resp, large); errors.As(err, &long) {
			c.headBytes = measureHead(large)
		}
		r = large
	}
	if err == nil && !c.fresh && resp.StatusCode() == fasthttp.StatusRequestTimeout {
		// The server gave up waiting for a request just as this one came, so the socket counts as closed.
		fasthttp.ReleaseResponse(resp)
		g.again(c, s)
		return
	}
	if err == nil {
		if !g.replies.take(c, g.roomFor(resp, r)) {
			fasthttp.ReleaseResponse(resp)
			g.fail(c, s, fateAborted)
			return
		}
		err = readBody(resp, r, g.cfg.MaxReplyBytes)
	}
	if err == nil {
		g.replies.give(c, c.reserved-min(c.reserved, len(resp.Body())))
		c.response = resp
		keep := c.sent && !resp.ConnectionClose() && r.Buffered() == 0
		if c.detach() && keep {
			g.pool.put(c.endpoint, s, g.clock.Load())
		} else {
			g.pool.drop(s)
		}
		g.end(c, g.read(c, resp.StatusCode(), resp.Body()))
		return
	}
	fasthttp.ReleaseResponse(resp)
	g.replies.give(c, c.reserved)
	g.fail(c, s, unreadable(c, err))
}

// unreadable returns the fate of a call whose reply could not be read.
func unreadable(c *call, err error) fate {
	var late net.Error
	switch {
	case c.headBytes > 0:
		return fateHeadTooLarge
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return fateTooLarge
	case errors.As(err, &late) && late.Timeout():
		return fateLate
	}
	return fateBroken
}

// maxInterim bounds the interim responses before a final one.
const maxInterim = 16

// readHead reads the head of a reply. It skips interim responses (RFC 9110 section 15.2).
func readHead(resp *fasthttp.Response, r *bufio.Reader) error {
	for range maxInterim {
		err := resp.Header.Read(r)
		if status := resp.StatusCode(); err != nil || status < 100 || status > 199 ||
			status == fasthttp.StatusSwitchingProtocols {
			return err
		}
	}
	return errInterim
}

var errInterim = errors.New("too many interim responses")

// bodyless reports whether a reply has no body whatever its head says (RFC 9112 section 6.3).
func bodyless(resp *fasthttp.Response) bool {
	s := resp.StatusCode()
	return s < 200 || s == fasthttp.StatusNoContent || s == fasthttp.StatusNotModified
}

// lastChunk ends a chunked reply without trailers.
var lastChunk = []byte("\r\n0\r\n\r\n")

// roomFor returns the room needed for a reply's body: its length if known from the head or already buffered, else the
// maximum.
func (g *Gateway) roomFor(resp *fasthttp.Response, r *bufio.Reader) int {
	n := resp.Header.ContentLength()
	switch there, _ := r.Peek(r.Buffered()); {
	case bodyless(resp), n > g.cfg.MaxReplyBytes: // not read
		return 0
	case n >= 0:
		return n
	case n == -1 && bytes.HasSuffix(there, lastChunk): // chunked, and all chunks are buffered
		return len(there)
	}
	return g.cfg.MaxReplyBytes
}

// readBody reads what follows the head.
func readBody(resp *fasthttp.Response, r *bufio.Reader, max int) error {
	if bodyless(resp) {
		return nil
	}
	chunked := resp.Header.ContentLength() == -1
	if err := resp.ReadBody(r, max); err != nil || !chunked {
		return err
	}
	return resp.Header.ReadTrailer(r)
}

// measureHead returns the length of a head. It reads at most measuredBytes, within the call's deadline.
func measureHead(r *bufio.Reader) (n int) {
	for n < measuredBytes {
		line, err := r.ReadSlice('\n')
		n += len(line)
		if err == nil && len(bytes.TrimRight(line, "\r\n")) == 0 || err != nil && err != bufio.ErrBufferFull {
			break
		}
	}
	return n
}

// end hands a call over to the engine.
func (g *Gateway) end(c *call, f fate) {
	c.fate = f
	c.answeredAt = g.micros()
	g.tell(func(d *completions) { d.calls = append(d.calls, c) }, c)
	g.running.Done()
}

// tell adds to the completions. The first addition requests a turn from the engine.
func (g *Gateway) tell(add func(*completions), c *call) {
	d := &g.done
	d.mu.Lock()
	first := len(d.calls)+len(d.sent) == 0
	add(d)
	d.mu.Unlock()
	if first {
		c.link.Wake()
	}
}
