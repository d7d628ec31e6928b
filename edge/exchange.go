package edge

import (
	"bytes"
	"strings"

	"megaphone/codec/boshbody"
	"megaphone/codec/http1"
	"megaphone/table"
)

// exchange handles the request at the start of p. n is its length, or 0 if it is incomplete. Then need is the least
// length of p that can make progress.
func (w *worker) exchange(c uint32, s *table.Conn, p []byte) (n, need int) {
	if phase(s.Phase) == phaseIdle && s.Scanned != 0 {
		w.head = http1.Head{} // it has that of another request
		w.refuseHTTP(c, s, http1.ErrBareCR)
		return len(p), 0
	}
	scanned := 0
	if phase(s.Phase) == phaseHead {
		scanned = int(s.Scanned)
	}
	h := &w.head
	ok, err := http1.ParseHead(h, p, scanned, &w.limits)
	switch {
	case err != nil:
		w.refuseHTTP(c, s, err)
		return len(p), 0
	case !ok:
		if phase(s.Phase) == phaseIdle {
			w.enter(c, s, phaseHead)
		}
		s.Scanned = uint32(len(p))
		return 0, 0
	}
	raw := p[h.Bytes:]
	end := h.ContentLength
	var at http1.Chunks
	if h.Chunked {
		if phase(s.Phase) == phaseBody { // resume where the last call stopped
			at = http1.Chunks{Raw: s.Scanned, Data: s.Decoded}
		}
		end, need, ok, err = http1.ScanChunks(&at, raw, &w.limits)
	} else {
		ok, need = len(raw) >= end, end
	}
	switch {
	case err != nil:
		w.refuseHTTP(c, s, err)
		return len(p), 0
	case !ok:
		w.awaitBody(c, s)
		s.Scanned, s.Decoded = at.Raw, at.Data
		return 0, h.Bytes + need
	}
	body := raw[:end]
	if h.Chunked {
		body = http1.DecodeChunks(body)
	}
	s.Scanned, s.Decoded = 0, 0
	w.counters[Requests]++
	if w.gate != nil && !w.findClient(c, p[:h.Bytes]) {
		w.counters[ForwardedUnknown]++
	}
	if w.leaving.draining {
		h.KeepAlive = false
	}
	if !h.KeepAlive {
		s.Phase = uint8(phaseLast)
	} else {
		s.Phase = uint8(phaseIdle)
	}
	w.sample(c, p[:h.Bytes])
	w.request(c, s, body)
	w.sampled = sampleUndecided
	return h.Bytes + end, 0
}

// awaitBody enters phaseBody once, and sends 100 Continue to a client that waits for it (RFC 9110 section 10.1.1). It
// sends none while earlier replies are due, because the interim response could be taken for one of them. The client
// then continues by itself.
func (w *worker) awaitBody(c uint32, s *table.Conn) {
	if phase(s.Phase) == phaseBody {
		return
	}
	w.enter(c, s, phaseBody)
	if w.head.ExpectContinue && w.head.Minor > 0 && s.Held == 0 {
		w.r.Write(c, []byte("HTTP/1.1 100 Continue\r\n\r\n"), nil)
	}
}

// request answers a complete request or hands it to an origin.
func (w *worker) request(c uint32, s *table.Conn, body []byte) {
	h := &w.head
	if w.gate != nil && !w.admits(c) {
		w.tooMany(c, s, body)
		return
	}
	if string(h.Path) != w.cfg.Path && !w.respell() {
		w.otherPath(c, s)
		return
	}
	switch h.Method {
	case http1.MethodPost:
		w.post(c, s, body)
	case http1.MethodOptions:
		w.preflight(c, s, false)
	case http1.MethodGet, http1.MethodHead:
		w.page(c, s, &w.fixed.about)
	default:
		w.counters[MethodRefused]++
		w.own(c, s, &w.fixed.method)
	}
}

// maxSpelling exceeds the length of a path of maxPath bytes with all of them escaped.
const maxSpelling = 1024

// respell puts the path into its normal form and reports whether it is the endpoint's now. A path of more than
// maxSpelling bytes matches nothing.
func (w *worker) respell() bool {
	h := &w.head
	if len(h.Path) > maxSpelling {
		return false
	}
	if p, ok := http1.AppendNormalPath(w.path[:0], h.Path); ok {
		h.Path = p
	}
	return string(h.Path) == w.cfg.Path
}

func (w *worker) otherPath(c uint32, s *table.Conn) {
	h := &w.head
	page := w.fixed.pages[string(h.Path)]
	if page == nil {
		page = w.fixed.hostMeta.find(h)
	}
	asks := h.Method == http1.MethodOptions
	switch {
	case page != nil && (h.Method == http1.MethodGet || h.Method == http1.MethodHead):
		w.page(c, s, page)
	case asks && page != nil && page.public:
		w.preflight(c, s, true)
	case asks && (h.Origin != nil || string(h.Path) == "*"): // also for unknown paths, to let the page read the 404
		w.preflight(c, s, false)
	case page != nil:
		w.counters[MethodRefused]++
		w.own(c, s, &w.fixed.readOnly)
	default:
		w.counters[NotFound]++
		w.own(c, s, &w.fixed.notFound)
	}
}

func (w *worker) page(c uint32, s *table.Conn, d *document) {
	w.counters[Pages]++
	w.own(c, s, d)
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
func (w *worker) preflight(c uint32, s *table.Conn, public bool) {
	w.counters[Preflights]++
	names := w.head.RequestHeaders
	if len(names) > maxRequestHeaders || !http1.ValidTokens(names) {
		names = usualHeaders
	}
	to := w.styles.corsOf(w.head.Origin, public)
	w.answer(c, s, &to.preflight, nil, allowHeaders, names, endOfLine)
}

// post hands a BOSH request to its origin.
func (w *worker) post(c uint32, s *table.Conn, body []byte) {
	h, b := &w.head, &w.body
	switch {
	case !h.HasBody:
		w.counters[LengthRequired]++
		w.refuseOwn(c, s, &w.fixed.lengthRequired)
		return
	case compressed(h.ContentEncoding):
		w.counters[EncodingRefused]++
		w.own(c, s, &w.fixed.encoding)
		return
	}
	if err := boshbody.Parse(b, body); err != nil {
		w.counters[BadBodies]++
		w.condition(c, s, conditionBadRequest, b.Ver == nil && b.SID == nil)
		return
	}
	if b.SID == nil {
		w.create(c, s, body)
		return
	}
	w.forward(c, s, body)
}

// forward sends a request of a session to its origin.
func (w *worker) forward(c uint32, s *table.Conn, body []byte) {
	x, found := boshbody.ParseSuffix(w.body.SID, w.tags)
	var n *node
	switch {
	case !w.tags:
		n = w.sole
		if !found {
			x = boshbody.Suffix{}
		}
	case found:
		n = w.byTag(x.Tag)
	}
	if n == nil && w.tags && w.plain != "" {
		n, x = w.untagged(w.body.SID)
	}
	switch {
	case n == nil && w.expecting():
		w.unavailable(c, s, nodeAway, x.Legacy)
		return
	case n == nil:
		w.counters[UnknownTags]++
		w.condition(c, s, conditionItemNotFound, x.Legacy)
		return
	}
	verdict := w.verdict(n)
	switch {
	case w.mayWait(s, n, verdict) && w.wait(c, s, n, body, x.Bytes, x.Content):
	case verdict != nodeReady:
		w.unavailable(c, s, verdict, x.Legacy)
	default:
		w.park(c, s, n, body, x.Bytes, x.Content, 0)
	}
}

// untagged returns the node of the sessions that are older than tags, and the suffix of such a sid.
func (w *worker) untagged(sid []byte) (*node, boshbody.Suffix) {
	x, found := boshbody.ParseSuffix(sid, false)
	if !found {
		x = boshbody.Suffix{}
	}
	return w.named(w.plain), x
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
