package edge

import (
	"bytes"
	"encoding/json"
	"encoding/xml"

	"megaphone/codec/boshbody"
	"megaphone/codec/http1"
	"megaphone/codec/ws"
	"megaphone/config"
	"megaphone/stats"
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
	lengthRequired, late, busy, moved, notHTTPS document

	// Of the WebSocket endpoint.
	foreignSite, pipelined, noStreams document
	handshakes                        map[*ws.Refusal]*document

	notTLS   []byte // a whole response
	errors   map[*http1.Error]*document
	refusals [][]byte // whole responses to surplus clients, which differ in Retry-After
}

func plain(status int, text string, headers ...string) document {
	headers = append(headers, "Content-Type: text/plain; charset=utf-8", "Cache-Control: no-store")
	return document{head: http1.NewResponseHead(status, headers...), body: []byte(text + "\n")}
}

func newFixed(cfg *config.Values, pages map[string]Page) *fixed {
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

		foreignSite: plain(403, "The pages of this site may not connect here."),
		pipelined:   plain(400, "A WebSocket begins on a connection without pending requests."),
		noStreams:   plain(503, "The servers here do not take WebSockets. Use BOSH at "+cfg.Path),
		handshakes:  map[*ws.Refusal]*document{},

		moved:    plain(308, "Use https."),
		notHTTPS: plain(400, "This port only redirects to https, and the request has no Host."),
		notTLS:   notTLS(),
	}
	for _, r := range ws.Refusals {
		d := plain(r.Status, r.Reason, r.Headers...)
		f.handshakes[r] = &d
	}
	for path, p := range pages {
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

// page returns the document at the path of h, or nil.
func (f *fixed) page(h *http1.Head) *document {
	if page := f.pages[string(h.Path)]; page != nil {
		return page
	}
	return f.hostMeta.find(h)
}

// response is the answer to one request. It borrows its slices.
type response struct {
	conn
	handle table.Handle // of the request's hold
	hold   *table.Hold  // nil: it has none

	head       *http1.ResponseHead
	connection http1.Connection
	body       []byte
	headOnly   bool // RFC 9110 section 9.3.2: a HEAD response has the length of the body, not the body
}

// respond sends a response in the turn of its request, and then those that waited for it. Every response to a request
// leaves through here. q is the request if it is being handled, and nil if it is held. lines are further header lines,
// see http1.ResponseHead.Append. In a response they would need memory.
func (w *worker) respond(q *request, a *response, lines ...[]byte) {
	head := a.head.Append(w.scratch[:0], len(a.body), a.connection, w.date, lines...)
	w.scratch = head
	body := a.body
	if a.headOnly {
		body = nil
	}
	w.logResponse(q, a, head, len(body))
	c := a.conn
	if a.hold == nil && c.Held > 0 {
		w.holdTurn(a)
	}
	if a.hold == nil {
		w.r.Write(c.index, head, body)
		w.afterReply(c, c.phase() == phaseLast)
		return
	}
	if first, _ := w.holds.First(c.Conn); first != a.handle {
		head = append(head, body...)
		w.scratch = head[:0]
		a.hold.SetStowed(w.r.Stow(c.index, head))
		a.hold.Flags |= holdReady
		return
	}
	w.r.Write(c.index, head, body)
	last := a.hold.Flags&holdClose != 0
	w.unpark(c, a.hold)
	w.afterReply(c, w.respondStowed(c, last))
}

// holdTurn takes a hold for a response that must wait for those to earlier requests.
func (w *worker) holdTurn(a *response) {
	h, hold, ok := w.holds.Park(a.Conn, a.index, w.r.Now())
	if !ok {
		panic("edge: Data took a request behind held ones although no hold was free")
	}
	hold.Flags = holdOrphan
	if a.phase() == phaseLast {
		hold.Flags |= holdClose
	}
	a.handle, a.hold = h, hold
}

// respondStowed writes the stowed responses whose turn has come, unless last ended the connection. It reports whether
// the connection's last response has been written.
func (w *worker) respondStowed(c conn, last bool) bool {
	for c.Held > 0 && !last {
		_, next := w.holds.First(c.Conn)
		if next.Flags&holdReady == 0 {
			break
		}
		w.r.Write(c.index, w.r.Stowed(next.Stowed()), nil)
		last = next.Flags&holdClose != 0
		w.r.Unstow(next.Stowed())
		w.unpark(c, next)
	}
	return last
}

// afterReply ends the connection, or resumes reading.
func (w *worker) afterReply(c conn, last bool) {
	switch {
	case !w.r.IsOpen(c.index):
	case last:
		w.hangUp(c)
	case w.tls != nil && c.phase() == phaseLast:
		w.arm(c) // see refusePart
	default:
		w.arm(c)
		w.r.Resume(c.index)
	}
}

// answerHold responds to a held request. It borrows body.
func (w *worker) answerHold(h table.Handle, hold *table.Hold, status int, body []byte) {
	c := w.conn(hold.Conn)
	w.leaving.markLast(h, hold, c)
	style := w.styles.at(hold.Style)
	if len(w.unlearnt) > 0 {
		style = w.unlearntStyle(h, hold, status, body)
	}
	switch {
	case status == 204 || status == 304:
		body = nil // RFC 9110 section 6.4.1: no content; a body would be taken for the next response
	case status == 200 && hold.Flags&holdCreation != 0:
		body = w.creationReply(h, hold, body)
	}
	w.respond(nil, &response{conn: c, handle: h, hold: hold, head: style.head(status), body: body,
		connection: connectionOf(hold.Flags)}, w.retryLine(status))
}

// own answers a request with a document.
func (w *worker) own(q *request, d *document) {
	w.answer(q, &d.head, d.body, w.styles.corsFor(q, d))
}

// answer sends the edge's own answer to a complete request. It borrows body and lines.
func (w *worker) answer(q *request, head *http1.ResponseHead, body []byte, lines ...[]byte) {
	w.respond(q, &response{conn: q.conn, head: head, body: body, connection: connectionOf(q.holdFlags()),
		headOnly: q.head.Method == http1.MethodHead}, lines...)
}

// refuse answers a request after which the connection cannot be used, and closes. It borrows body and lines.
func (w *worker) refuse(q *request, head *http1.ResponseHead, body []byte, lines ...[]byte) {
	q.setPhase(phaseLast)
	w.respond(q, &response{conn: q.conn, head: head, body: body, connection: http1.ConnectionClose},
		lines...)
}

// refuseOwn is refuse with a document, for a request whose head may be incomplete. If the web origin is unknown, any
// page may read the answer.
func (w *worker) refuseOwn(q *request, d *document, lines ...[]byte) {
	cors := anyOriginLine
	if q.head.Origin != nil {
		cors = w.styles.corsFor(q, d)
	}
	w.refuse(q, &d.head, d.body, append(lines, cors)...)
}

func (w *worker) refuseHTTP(q *request, err *http1.Error) {
	w.counters[stats.HTTPErrors]++
	w.refuseOwn(q, w.fixed.errors[err])
}

// refusePart answers a partial request, and drops its input. It parses the input again. Behind held requests an answer
// takes a hold. If none is free the connection is closed.
func (w *worker) refusePart(c conn, d *document) {
	if c.Held > 0 && w.holds.Len() == w.holds.Cap() {
		w.r.Close(c.index)
		return
	}
	q := w.requestOn(c)
	_, _ = http1.ParseHead(&q.head, w.r.Kept(c.index), 0, &w.limits)
	w.refuseOwn(q, d, w.retryAfter())
	w.r.DropInput(c.index)
	if !w.r.IsOpen(c.index) {
		return
	}
	if w.tls != nil {
		w.r.Pause(c.index) // for good, because a part of a record may have been dropped
	}
	w.arm(c)
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

// condition ends a session instead of the origin. q.suffix tells whether its client is a legacy one.
func (w *worker) condition(q *request, what *condition) {
	status := 200
	if q.suffix.Legacy {
		status = what.legacy
	}
	w.answer(q, w.styles.usualHead(q, status), what.body)
}

// unavailable answers a request whose node cannot take it now.
func (w *worker) unavailable(q *request, v verdict) {
	if v == nodeGone {
		w.counters[stats.NodeGone]++
		w.condition(q, conditionConnectionFailed)
		return
	}
	w.retryLater(q, v)
}

// retryLater refuses a request with 503, because its node cannot take it now.
func (w *worker) retryLater(q *request, v verdict) {
	switch v {
	case nodeGone:
		w.counters[stats.NodeGone]++
	case nodeBusy:
		w.counters[stats.CreationsBusy]++
	case nodeFull:
		w.counters[stats.LinkFull]++
	default:
		w.counters[stats.Retries]++
	}
	w.answer(q, w.styles.usualHead(q, 503), nil, w.retryAfter())
}

// The paths of the two forms of one document (RFC 6415).
const (
	hostMetaXML  = "/.well-known/host-meta"
	hostMetaJSON = "/.well-known/host-meta.json"
)

// hostMeta is the documents of all domains.
type hostMeta struct {
	xml, json map[string]*document // by domain; "": for all others
}

// link is a way to connect. A service with several ways has a link for each.
type link struct {
	Rel  string `xml:"rel,attr" json:"rel"`
	Href string `xml:"href,attr" json:"href"`
}

func links(p *config.PublicURL) []link {
	all := []link{{"urn:xmpp:alt-connections:xbosh", p.BOSH}}
	if p.WebSocket != "" {
		all = append(all, link{"urn:xmpp:alt-connections:websocket", p.WebSocket})
	}
	return all
}

func newHostMeta(list []config.PublicURL) *hostMeta {
	if len(list) == 0 {
		return nil
	}
	m := &hostMeta{xml: map[string]*document{}, json: map[string]*document{}}
	for i := range list {
		p := &list[i]
		m.xml[p.Domain] = publicDocument("application/xrd+xml", xrd(p))
		m.json[p.Domain] = publicDocument("application/json", jrd(p))
	}
	return m
}

func publicDocument(contentType string, body []byte) *document {
	head := http1.NewResponseHead(200, "Content-Type: "+contentType, "Cache-Control: public, max-age=600",
		"X-Content-Type-Options: nosniff")
	return &document{head: head, body: append(body, '\n'), public: true}
}

// xrd returns the document as XML.
func xrd(p *config.PublicURL) []byte {
	body, err := xml.MarshalIndent(struct {
		XMLName xml.Name `xml:"http://docs.oasis-open.org/ns/xri/xrd-1.0 XRD"`
		Links   []link   `xml:"Link"`
	}{Links: links(p)}, "", "  ")
	if err != nil {
		panic(err) // cannot fail for strings
	}
	body = bytes.ReplaceAll(body, []byte("></Link>"), []byte("/>")) // in a value > is escaped
	return append([]byte("<?xml version='1.0' encoding='utf-8'?>\n"), body...)
}

// jrd returns the document as JSON.
func jrd(p *config.PublicURL) []byte {
	body, err := json.MarshalIndent(struct {
		Links []link `json:"links"`
	}{links(p)}, "", "  ")
	if err != nil {
		panic(err) // cannot fail for strings
	}
	return body
}

// find returns the document that h asks for. It returns nil for another path, or if its Host has none. It borrows h.
func (m *hostMeta) find(h *http1.Head) *document {
	if m == nil {
		return nil
	}
	var of map[string]*document
	switch string(h.Path) {
	case hostMetaXML:
		of = m.xml
	case hostMetaJSON:
		of = m.json
	default:
		return nil
	}
	var room [config.MaxDomain]byte
	if d := of[string(config.AppendHostName(room[:0], h.Host))]; d != nil {
		return d
	}
	return of[""]
}
