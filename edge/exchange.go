package edge

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"

	"megaphone/codec/boshbody"
	"megaphone/codec/http1"
	"megaphone/codec/proxy"
	"megaphone/config"
	"megaphone/stats"
)

// request is a client's request, until it is answered or held. A worker has one, which is passed by pointer. It borrows
// the input, so it is valid until exchange returns. Of an incomplete request only conn, head and client are set.
type request struct {
	conn    // on which it comes
	head    http1.Head
	raw     []byte            // the bytes of the head
	body    []byte            // without chunked coding
	tag     boshbody.StartTag // of the body, once it has been parsed
	suffix  boshbody.Suffix   // of its sid; for a creation, what the sid will get
	client  proxy.Address     // behind a trusted proxy, the one that the proxy names
	sampled sampling
	note    note // with sampleYes
}

// requestOn returns the worker's request, for one that comes on c.
func (w *worker) requestOn(c conn) *request {
	q := &w.request
	q.conn, q.client, q.sampled = c, c.Peer, sampleUndecided
	return q
}

// address returns the address of the client.
func (q *request) address() netip.Addr { return netip.AddrFrom16(q.client).Unmap() }

// exchange handles the request at the start of p. n is its length, or 0 if it is incomplete. Then need is the least
// length of p that can make progress.
func (w *worker) exchange(c conn, p []byte) (n, need int) {
	q := w.requestOn(c)
	n, need, ok := w.receive(q, p)
	if !ok {
		return n, need
	}
	c.EndRequest()
	w.counters[stats.Requests]++
	if w.gate != nil && !w.findClient(q, q.raw) {
		w.counters[stats.ForwardedUnknown]++
	}
	if w.leaving.draining || w.tls.worn(q.index) {
		q.head.KeepAlive = false
	}
	if q.head.KeepAlive {
		c.setPhase(phaseIdle)
	} else {
		c.setPhase(phaseLast)
	}
	w.access.sample(q)
	w.serve(q)
	return n, 0
}

// receive parses head and body at the start of p. ok is false if the request is incomplete, see exchange, or if it has
// been refused.
func (w *worker) receive(q *request, p []byte) (n, need int, ok bool) {
	c, h := q.conn, &q.head
	if c.phase() == phaseIdle && c.AfterCR() {
		*h = http1.Head{} // it has that of another request
		w.refuseHTTP(q, http1.ErrBareCR)
		return len(p), 0, false
	}
	scanned := 0
	if c.phase() == phaseHead {
		scanned = c.HeadScanned()
	}
	ok, err := http1.ParseHead(h, p, scanned, &w.limits)
	switch {
	case err != nil:
		w.refuseHTTP(q, err)
		return len(p), 0, false
	case !ok:
		if c.phase() == phaseIdle {
			w.enter(c, phaseHead)
		}
		c.SetHeadScanned(len(p))
		return 0, 0, false
	}
	rest := p[h.Bytes:]
	end := h.ContentLength
	var at http1.Chunks
	if h.Chunked {
		if c.phase() == phaseBody { // resume where the last call stopped
			at.Raw, at.Data = c.Chunks()
		}
		end, need, ok, err = http1.ScanChunks(&at, rest, &w.limits)
	} else {
		ok, need = len(rest) >= end, end
	}
	switch {
	case err != nil:
		w.refuseHTTP(q, err)
		return len(p), 0, false
	case !ok:
		w.awaitBody(q)
		c.SetChunks(at.Raw, at.Data)
		return 0, h.Bytes + need, false
	}
	q.raw, q.body = p[:h.Bytes], rest[:end]
	if h.Chunked {
		q.body = http1.DecodeChunks(q.body)
	}
	return h.Bytes + end, 0, true
}

// awaitBody enters phaseBody once, and sends 100 Continue to a client that waits for it (RFC 9110 section 10.1.1). It
// sends none while earlier replies are due, because the interim response could be taken for one of them. The client
// then continues by itself.
func (w *worker) awaitBody(q *request) {
	if q.phase() == phaseBody {
		return
	}
	w.enter(q.conn, phaseBody)
	if q.head.ExpectContinue && q.head.Minor > 0 && q.Held == 0 {
		w.r.Write(q.index, []byte("HTTP/1.1 100 Continue\r\n\r\n"), nil)
	}
}

// serve answers a complete request, or hands it to an origin. All kinds of requests are here.
func (w *worker) serve(q *request) {
	h := &q.head
	if w.gate != nil && !w.admits(q) {
		w.tooMany(q)
		return
	}
	if len(w.answers) > 0 && w.validate(q) {
		return
	}
	if w.redirects {
		if port := w.cfg.Listeners[w.r.ListenerOf(q.index)].HTTPSRedirect; port > 0 {
			w.redirect(q, port)
			return
		}
	}
	var page *document
	endpoint := string(h.Path) == w.cfg.Path || w.respell(h)
	if !endpoint {
		page = w.fixed.page(h)
	}
	reads, asks := h.Method == http1.MethodGet || h.Method == http1.MethodHead, h.Method == http1.MethodOptions
	switch {
	// The endpoint: BOSH, its preflights, and a page for people.
	case endpoint && h.Method == http1.MethodPost:
		w.post(q)
	case endpoint && asks:
		w.preflight(q, false)
	case endpoint && reads:
		w.counters[stats.Pages]++
		w.own(q, &w.fixed.about)
	case endpoint:
		w.counters[stats.MethodRefused]++
		w.own(q, &w.fixed.method)

	// The WebSocket endpoint.
	case string(h.Path) == w.cfg.WebSocketPath && !asks:
		w.upgrade(q)

	// All other paths: pages and host-meta, and preflights for them.
	case page != nil && reads:
		w.counters[stats.Pages]++
		w.own(q, page)
	case page != nil && page.public && asks:
		w.preflight(q, true)
	case asks && (h.Origin != nil || string(h.Path) == "*"): // also for unknown paths, to let the page read the 404
		w.preflight(q, false)
	case page != nil:
		w.counters[stats.MethodRefused]++
		w.own(q, &w.fixed.readOnly)
	default:
		w.counters[stats.NotFound]++
		w.own(q, &w.fixed.notFound)
	}
}

// redirect sends the client to the same URL with https (RFC 9110 section 15.4.9: with the same method and body).
func (w *worker) redirect(q *request, port uint16) {
	h := &q.head
	w.counters[stats.Redirects]++
	var room [config.MaxDomain]byte
	host := config.AppendHostName(room[:0], h.Host)
	if len(host) == 0 || len(h.Path) == 0 || h.Path[0] != '/' {
		w.own(q, &w.fixed.notHTTPS)
		return
	}
	at := append([]byte("Location: https://"), host...)
	if port != 443 {
		at = strconv.AppendUint(append(at, ':'), uint64(port), 10)
	}
	at = append(at, h.Path...)
	if len(h.Query) > 0 {
		at = append(append(at, '?'), h.Query...)
	}
	d := &w.fixed.moved
	w.answer(q, &d.head, d.body, append(at, "\r\n"...), w.styles.corsFor(q, d))
}

// maxSpelling exceeds the length of a path of maxPath bytes with all of them escaped.
const maxSpelling = 1024

// respell puts the path into its normal form and reports whether it is the endpoint's now. A path of more than
// maxSpelling bytes matches nothing.
func (w *worker) respell(h *http1.Head) bool {
	if len(h.Path) > maxSpelling {
		return false
	}
	if p, ok := http1.AppendNormalPath(w.path[:0], h.Path); ok {
		h.Path = p
	}
	return string(h.Path) == w.cfg.Path
}

var (
	// What a page may send if it does not name its headers.
	usualHeaders = []byte("Content-Type, Content-Encoding, Authorization, X-Requested-With")
	allowHeaders = []byte("Access-Control-Allow-Headers: ")
	endOfLine    = []byte("\r\n")
)

// maxRequestHeaders exceeds what a page with every known tracing library asks for.
const maxRequestHeaders = 2048

// preflight answers a CORS preflight (Fetch standard section 3.2.2), cacheable for a day. The page may send any
// headers, because the edge examines few and keeps none. public is for a document that every page may read.
func (w *worker) preflight(q *request, public bool) {
	w.counters[stats.Preflights]++
	names := q.head.RequestHeaders
	if len(names) > maxRequestHeaders || !http1.ValidTokens(names) {
		names = usualHeaders
	}
	to := w.styles.corsOf(q.head.Origin, public)
	w.answer(q, &to.preflight, nil, allowHeaders, names, endOfLine)
}

// post hands a BOSH request to its origin.
func (w *worker) post(q *request) {
	switch {
	case !q.head.HasBody:
		w.counters[stats.LengthRequired]++
		w.refuseOwn(q, &w.fixed.lengthRequired)
		return
	case compressed(q.head.ContentEncoding):
		w.counters[stats.EncodingRefused]++
		w.own(q, &w.fixed.encoding)
		return
	}
	err := boshbody.Parse(&q.tag, q.body)
	creates := q.tag.SID == nil
	switch {
	case err != nil:
		w.counters[stats.BadBodies]++
		q.suffix = boshbody.Suffix{Legacy: creates && q.tag.Ver == nil}
		w.condition(q, conditionBadRequest)
	case creates:
		w.create(q)
	default:
		w.forward(q)
	}
}

// forward sends a request of a session to its origin.
func (w *worker) forward(q *request) {
	n := w.originOf(q)
	if n == nil && w.expecting(w.r.Now()) {
		w.unavailable(q, nodeAway)
		return
	}
	if n == nil {
		w.counters[stats.UnknownTags]++
		w.condition(q, conditionItemNotFound)
		return
	}
	verdict := w.verdict(n, w.r.Now())
	switch {
	case w.mayWait(q.conn, n, verdict):
		if !w.wait(q, n) {
			w.unavailable(q, nodeAway) // rather than before those that wait on its connection
		}
	case verdict != nodeReady:
		w.unavailable(q, verdict)
	default:
		w.park(q, n, 0)
	}
}

// originOf returns the origin of a session's request, or nil if the edge has none with its tag. It sets q.suffix.
func (w *worker) originOf(q *request) (n *node) {
	x, found := boshbody.ParseSuffix(q.tag.SID, w.tags)
	switch {
	case !w.tags:
		n = w.sole
		if !found {
			x = boshbody.Suffix{}
		}
	case found:
		n = w.nodes.byTag(x.Tag)
	}
	if n == nil && w.tags && w.plain != "" {
		n, x = w.untagged(q.tag.SID)
	}
	q.suffix = x
	return n
}

// untagged returns the node of the sessions that are older than tags, and the suffix of such a sid.
func (w *worker) untagged(sid []byte) (*node, boshbody.Suffix) {
	x, found := boshbody.ParseSuffix(sid, false)
	if !found {
		x = boshbody.Suffix{}
	}
	return w.nodes.named(w.plain), x
}

// compressed reports whether a Content-Encoding would have to be undone. Other values are ignored, because libpurple
// puts the media type there.
func compressed(encoding []byte) bool {
	for part := range bytes.SplitSeq(encoding, []byte(",")) {
		switch strings.ToLower(string(bytes.TrimSpace(part))) {
		case "gzip", "x-gzip", "deflate", "compress", "x-compress", "br", "zstd":
			return true
		}
	}
	return false
}
