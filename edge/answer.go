package edge

import (
	"megaphone/codec/boshbody"
	"megaphone/codec/http1"
	"megaphone/loop"
	"megaphone/table"
)

// document is a prepared response, without the header lines that let the requesting page read it (cors).
type document struct {
	head   http1.ResponseHead
	body   []byte
	public bool // every page may read it, whatever cors-origins says
}

// fixed is the edge's own answers. The reactors share it, and only read it.
type fixed struct {
	about    document
	pages    map[string]*document
	hostMeta *hostMeta // nil: not configured
	notFound, method, readOnly, encoding,
	lengthRequired, late, busy document
	errors   map[*http1.Error]*document
	refusals [][]byte // whole responses to surplus clients, which differ in Retry-After
}

func plain(status int, text string, headers ...string) document {
	headers = append(headers, "Content-Type: text/plain; charset=utf-8", "Cache-Control: no-store")
	return document{head: http1.NewResponseHead(status, headers...), body: []byte(text + "\n")}
}

func newFixed(cfg *Config) *fixed {
	f := &fixed{
		about: document{body: []byte(aboutPage),
			head: http1.NewResponseHead(200, "Content-Type: text/html; charset=utf-8", "Cache-Control: no-store")},
		pages:    map[string]*document{},
		hostMeta: newHostMeta(cfg.PublicURLs),
		notFound: plain(404, "Nothing here. The BOSH endpoint is "+cfg.Path),
		method: plain(405, "The BOSH endpoint takes POST; GET shows what it is.",
			"Allow: GET, HEAD, OPTIONS, POST"),
		readOnly:       plain(405, "This page can only be read.", "Allow: GET, HEAD"),
		encoding:       plain(415, "Send the body without a Content-Encoding.", "Accept-Encoding: identity"),
		lengthRequired: plain(411, "A POST needs a Content-Length or chunked coding."),
		// Not 408, because the rest may have been a session's request. Its client sends it again only after 503.
		late:   plain(503, "The request did not come in time."),
		busy:   plain(503, "There is no memory for the rest of the request; try again later."),
		errors: map[*http1.Error]*document{},
	}
	for path, p := range cfg.Pages {
		f.pages[path] = &document{body: p.Body, head: http1.NewResponseHead(200, "Content-Type: "+p.ContentType,
			"Cache-Control: no-cache", "X-Content-Type-Options: nosniff")}
	}
	for _, e := range http1.Errors {
		d := plain(e.Status, e.Reason)
		f.errors[e] = &d
	}
	d := plain(503, "Too many connections; try again later.")
	for _, line := range retryLines {
		p := d.head.Append(nil, len(d.body), http1.ConnectionClose, anyOriginLine, line)
		f.refusals = append(f.refusals, append(p, d.body...))
	}
	return f
}

const aboutPage = `<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>BOSH endpoint</title>
<h1>BOSH endpoint</h1>
<p>This address is for XMPP clients that speak BOSH
(<a href="https://xmpp.org/extensions/xep-0124.html">XEP-0124</a>): they POST here. It is served by Megaphone.</p>
</html>
`

// anyOriginLine is for answers to requests whose web origin is unknown.
var anyOriginLine = []byte(anyOrigin + "\r\n")

// own answers the request whose head has just been parsed with a document.
func (w *worker) own(c uint32, s *table.Conn, d *document) {
	w.answer(c, s, &d.head, d.body, w.corsFor(d))
}

// corsFor returns the header lines that let the requesting page read d.
func (w *worker) corsFor(d *document) []byte {
	return w.styles.corsOf(w.head.Origin, d.public).block
}

// answer sends the edge's own answer to the request whose head has just been parsed, in its turn. lines are further
// header lines, see http1.ResponseHead.Append. It borrows body and lines.
func (w *worker) answer(c uint32, s *table.Conn, head *http1.ResponseHead, body []byte, lines ...[]byte) {
	p := head.Append(w.scratch[:0], len(body), connectionOf(w.connFlags()), w.date, lines...)
	if w.head.Method == http1.MethodHead {
		body = nil // RFC 9110 section 9.3.2: a HEAD response has the length of the body, not the body
	}
	w.respond(c, s, p, body)
}

func (w *worker) respond(c uint32, s *table.Conn, head, body []byte) {
	w.scratch = head
	if w.access.log != nil {
		w.logOwn(c, head, len(body))
	}
	if s.Held == 0 {
		w.r.Write(c, head, body)
		w.afterReply(c, s, phase(s.Phase) == phaseLast)
		return
	}
	h, hold, ok := w.holds.Park(s, c, w.r.Now())
	if !ok {
		panic("edge: Data took a request behind held ones although no hold was free")
	}
	hold.Flags = holdOrphan | w.connFlags()
	if phase(s.Phase) == phaseLast {
		hold.Flags |= holdClose
	}
	w.deliver(h, hold, c, s, head, body)
}

// refuse answers a request after which the connection cannot be used, in its turn, and closes. It borrows body and
// lines.
func (w *worker) refuse(c uint32, s *table.Conn, head *http1.ResponseHead, body []byte, lines ...[]byte) {
	s.Phase = uint8(phaseLast)
	w.respond(c, s, head.Append(w.scratch[:0], len(body), http1.ConnectionClose, w.date, lines...), body)
}

// refuseOwn is refuse with a document, for a request whose head may be incomplete. If the web origin is unknown, any
// page may read the answer.
func (w *worker) refuseOwn(c uint32, s *table.Conn, d *document, lines ...[]byte) {
	cors := anyOriginLine
	if w.head.Origin != nil {
		cors = w.corsFor(d)
	}
	w.refuse(c, s, &d.head, d.body, append(lines, cors)...)
}

func (w *worker) refuseHTTP(c uint32, s *table.Conn, err *http1.Error) {
	w.counters[HTTPErrors]++
	w.refuseOwn(c, s, w.fixed.errors[err])
}

// refusePart answers a partial request, in its turn, and drops its input. It parses the input again. Behind held
// requests an answer takes a hold. If none is free the connection is closed.
func (w *worker) refusePart(c uint32, s *table.Conn, d *document) {
	if s.Held > 0 && w.holds.Len() == w.holds.Cap() {
		w.r.Close(c)
		return
	}
	_, _ = http1.ParseHead(&w.head, w.r.Kept(c), 0, &w.limits)
	w.refuseOwn(c, s, d, w.retryAfter())
	w.r.DropInput(c)
	if w.r.IsOpen(c) {
		w.arm(c, s)
	}
}

// condition is a terminal binding condition (XEP-0124 section 17.2). legacy is the status that clients without `ver`
// get instead of 200 (section 17.1).
type condition struct {
	body   []byte
	legacy int
}

func terminal(name string, legacy int) *condition {
	return &condition{boshbody.Terminal(name), legacy}
}

var (
	conditionBadRequest       = terminal("bad-request", 400)
	conditionItemNotFound     = terminal("item-not-found", 404)
	conditionConnectionFailed = terminal("remote-connection-failed", 200)
)

// condition ends a session instead of the origin.
func (w *worker) condition(c uint32, s *table.Conn, what *condition, legacy bool) {
	status := 200
	if legacy {
		status = what.legacy
	}
	head := w.styles.at(w.styles.usual(w.head.Origin)).head(status)
	w.answer(c, s, head, what.body)
}

// unavailable answers a request whose node cannot take it now.
func (w *worker) unavailable(c uint32, s *table.Conn, v verdict, legacy bool) {
	switch v {
	case nodeGone:
		w.counters[NodeGone]++
		w.condition(c, s, conditionConnectionFailed, legacy)
		return
	case nodeBusy:
		w.counters[CreationsBusy]++
	case nodeFull:
		w.counters[LinkFull]++
	default:
		w.counters[Retries]++
	}
	w.answer(c, s, w.styles.at(w.styles.usual(w.head.Origin)).head(503), nil, w.retryAfter())
}

var _ loop.Handler = (*worker)(nil)
