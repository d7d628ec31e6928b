package edge

import (
	"megaphone/codec"
	"megaphone/loop"
	"megaphone/table"
)

// document is a response that is known beforehand.
type document struct {
	head codec.ResponseHead
	body []byte
}

// fixed is the edge's own answers, made once and shared by the reactors, which only read them.
type fixed struct {
	about document
	pages map[string]*document
	notFound, method, readOnly, encoding,
	lengthRequired, timeout document
	errors  map[*codec.Error]*document
	refusal []byte // the whole response to a client that is one too many
}

// anyOrigin is on all of these, also when cors-origins is a list: they say the same to everybody, so no page may learn
// too much from them. Answers that a client acts on, such as 503, have the header of their style.
const anyOrigin = "Access-Control-Allow-Origin: *"

func plain(status int, text string, headers ...string) document {
	headers = append(headers, "Content-Type: text/plain; charset=utf-8", "Cache-Control: no-store", anyOrigin)
	return document{codec.NewResponseHead(status, headers...), []byte(text + "\n")}
}

func newFixed(cfg *Config) *fixed {
	f := &fixed{
		about: document{codec.NewResponseHead(200, "Content-Type: text/html; charset=utf-8", "Cache-Control: no-store",
			anyOrigin), []byte(aboutPage)},
		pages:    map[string]*document{},
		notFound: plain(404, "Nothing here. The BOSH endpoint is "+cfg.Path),
		method: plain(405, "The BOSH endpoint takes POST; GET shows what it is.",
			"Allow: GET, HEAD, OPTIONS, POST"),
		readOnly:       plain(405, "This page can only be read.", "Allow: GET, HEAD"),
		encoding:       plain(415, "Send the body without a Content-Encoding.", "Accept-Encoding: identity"),
		lengthRequired: plain(411, "A POST needs a Content-Length or chunked coding."),
		timeout:        plain(408, "The request did not come in time."),
		errors:         map[*codec.Error]*document{},
	}
	for path, p := range cfg.Pages {
		f.pages[path] = &document{codec.NewResponseHead(200, "Content-Type: "+p.ContentType, "Cache-Control: no-cache",
			"X-Content-Type-Options: nosniff"), p.Body}
	}
	for _, e := range codec.Errors {
		d := plain(e.Status, e.Reason)
		f.errors[e] = &d
	}
	d := plain(503, "Too many connections; try again later.", retryAfter)
	f.refusal = append(d.head.Append(nil, len(d.body), codec.ConnectionClose, nil), d.body...)
	return f
}

const aboutPage = `<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>BOSH endpoint</title>
<h1>BOSH endpoint</h1>
<p>This address is for XMPP clients that speak BOSH
(<a href="https://xmpp.org/extensions/xep-0124.html">XEP-0124</a>): they POST here. It is served by Megaphone.</p>
</html>
`

// answer sends the edge's own answer to the request whose head has just been parsed, in its turn. It borrows body.
func (w *worker) answer(c uint32, s *table.Conn, head *codec.ResponseHead, body []byte) {
	p := head.Append(w.scratch[:0], len(body), connectionOf(w.connFlags()), w.date)
	if w.head.Method == codec.MethodHead {
		body = nil // RFC 9110 section 9.3.2: its length is told, itself it is not sent
	}
	w.respond(c, s, p, body)
}

func (w *worker) respond(c uint32, s *table.Conn, head, body []byte) {
	w.scratch = head
	if w.access.takes() {
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

// refuse answers what cannot be gone on with, in its turn, and closes. It borrows body.
func (w *worker) refuse(c uint32, s *table.Conn, head *codec.ResponseHead, body []byte) {
	s.Phase = uint8(phaseLast)
	w.respond(c, s, head.Append(w.scratch[:0], len(body), codec.ConnectionClose, w.date), body)
}

func (w *worker) refuseHTTP(c uint32, s *table.Conn, err *codec.Error) {
	w.counters[HTTPErrors]++
	d := w.fixed.errors[err]
	w.refuse(c, s, &d.head, d.body)
}

// condition names what a terminal binding condition says (XEP-0124 section 17.2), with the status that clients without
// `ver` get in place of 200 (section 17.1).
type condition struct {
	body   []byte
	legacy int
}

func terminal(name string, legacy int) *condition {
	return &condition{codec.Terminal(name), legacy}
}

var (
	conditionBadRequest       = terminal("bad-request", 400)
	conditionItemNotFound     = terminal("item-not-found", 404)
	conditionConnectionFailed = terminal("remote-connection-failed", 200)
)

// condition ends a session in the origin's place.
func (w *worker) condition(c uint32, s *table.Conn, what *condition, legacy bool) {
	status := 200
	if legacy {
		status = what.legacy
	}
	head := w.styles.at(w.styles.of(w.head.Origin, nil)).head(status)
	w.answer(c, s, head, what.body)
}

// unavailable answers a request whose node cannot take it now.
func (w *worker) unavailable(c uint32, s *table.Conn, v verdict, legacy bool) {
	switch v {
	case nodeGone:
		w.counters[NodeGone]++
		w.condition(c, s, conditionConnectionFailed, legacy)
		return
	case nodeFull:
		w.counters[LinkFull]++
	default:
		w.counters[Retries]++
	}
	w.answer(c, s, w.styles.at(w.styles.of(w.head.Origin, nil)).head(503), nil)
}

var _ loop.Handler = (*worker)(nil)
