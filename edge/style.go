package edge

import (
	"encoding/base64"
	"fmt"
	"mime"
	"strings"

	"megaphone/codec/boshbody"
	"megaphone/codec/http1"
	"megaphone/stats"
	"megaphone/table"
)

const (
	maxContentTypes = 200 // distinct ones that a reactor remembers; it builds the heads of others for each reply
	usualContent    = "text/xml; charset=utf-8"
)

// style is how replies to one kind of client look: the Content-Type it asked for, and its web origin. Response heads
// are built on first use. A hold stores the style's number.
type style struct {
	heads map[int]*http1.ResponseHead // by status
	bosh  *http1.ResponseHead         // that of 200
	lines []string
}

// styles is a reactor's table of them: style number = content * origins + origin.
//
// A client chooses its content type when it opens a session. Every later request repeats it in the sid, which may be
// forged. So a content type is learnt once an origin has answered for a session that has it. Until then only the hold
// remembers it (worker.unlearnt), and the reply gets a style of its own. If the table is full, the least recently used
// type without a hold is forgotten.
type styles struct {
	allowed  []string       // web origins; nil: any
	cors     []cors         // by the number of the web origin: 0 if it is not in the list, or there is none
	public   cors           // replaces number 0 where every page may read the answer
	learnt   map[string]int // number of a content type, by base64url as in the sid
	contents []content
	list     []style
}

// content is a learnt content type. The first one is the usual one.
type content struct {
	encoded string // base64url, as in the sid
	text    string
	uses    int    // by holds; those of the usual one are not counted
	usedAt  uint32 // tick
}

// cors is the header lines with which the pages of one web origin may read an answer.
type cors struct {
	lines     []string
	block     []byte             // the same, for answers whose heads have no style
	preflight http1.ResponseHead // without Access-Control-Allow-Headers
}

// anyOrigin lets every page read an answer, except requests with credentials.
const anyOrigin = "Access-Control-Allow-Origin: *"

func newCORS(lines ...string) cors {
	preflight := append(lines[:len(lines):len(lines)], "Access-Control-Allow-Methods: GET, HEAD, POST, OPTIONS",
		"Access-Control-Max-Age: 86400", "Vary: Access-Control-Request-Headers")
	return cors{lines, []byte(strings.Join(lines, "\r\n") + "\r\n"), http1.NewResponseHead(200, preflight...)}
}

func newStyles(allowed []string) *styles {
	s := &styles{learnt: map[string]int{}, contents: []content{{text: usualContent}}}
	if allowed[0] == "*" {
		s.cors, s.public = []cors{newCORS(anyOrigin)}, newCORS(anyOrigin)
	} else {
		s.allowed, s.cors, s.public = allowed, []cors{newCORS("Vary: Origin")}, newCORS("Vary: Origin", anyOrigin)
		for _, a := range allowed {
			s.cors = append(s.cors, newCORS("Vary: Origin", "Access-Control-Allow-Origin: "+a,
				"Access-Control-Allow-Credentials: true"))
		}
	}
	s.list = make([]style, s.origins())
	return s
}

// origins returns the number of styles per content type: one per web origin, and one for all others.
func (s *styles) origins() int { return len(s.cors) }

// make returns the style of a content type for the web origin of the given number.
func (s *styles) make(text string, origin int) style {
	st := style{heads: map[int]*http1.ResponseHead{}}
	st.lines = append([]string{"Content-Type: " + text, "Cache-Control: no-store"}, s.cors[origin].lines...)
	if text != usualContent {
		// The client chose the type. A browser that was led here must not execute the reply.
		st.lines = append(st.lines, "X-Content-Type-Options: nosniff", "Content-Security-Policy: sandbox")
	}
	return st
}

// corsOf returns the header lines for a web origin. public is for answers that every page may read. It borrows origin.
func (s *styles) corsOf(origin []byte, public bool) *cors {
	n := s.number(origin)
	if n == 0 && public {
		return &s.public
	}
	return &s.cors[n]
}

// number returns the number of a web origin. It borrows origin.
func (s *styles) number(origin []byte) int {
	for i, a := range s.allowed {
		if string(origin) == a {
			return i + 1
		}
	}
	return 0
}

// allows reports whether the pages of a web origin may connect. It borrows origin.
func (s *styles) allows(origin []byte) bool { return s.allowed == nil || s.number(origin) > 0 }

// usual returns the number of the style for a web origin and the usual content type. It borrows origin.
func (s *styles) usual(origin []byte) uint16 { return uint16(s.number(origin)) }

// of returns the number of the style for a web origin and a content type as in the sid (empty: the usual one). For a
// type that has not been learnt, it returns the usual style and the type's base64url as unlearnt. It borrows both.
func (s *styles) of(origin, encoded []byte) (n uint16, unlearnt string) {
	if len(encoded) == 0 {
		return s.usual(origin), ""
	}
	if at, ok := s.learnt[string(encoded)]; ok {
		return uint16(at*s.origins() + s.number(origin)), ""
	}
	if _, ok := decodeContent(string(encoded)); ok {
		unlearnt = string(encoded)
	}
	return s.usual(origin), unlearnt
}

// learn adds a content type, and returns the number of its style for the web origin of style n. If the table is full it
// forgets one that no hold has; ok is false if there is none.
func (s *styles) learn(n uint16, encoded string) (style uint16, ok bool) {
	at, known := s.learnt[encoded]
	if !known {
		text, valid := decodeContent(encoded)
		if at = s.allocate(); !valid || at == 0 {
			return n, false
		}
		s.contents[at] = content{encoded: encoded, text: text}
		s.learnt[encoded] = at
	}
	return uint16(at*s.origins() + int(n)%s.origins()), true
}

// allocate makes room for a content type and returns its number, or 0 if all are in use.
func (s *styles) allocate() (at int) {
	if at = len(s.contents); at < maxContentTypes {
		s.contents = append(s.contents, content{})
		s.list = append(s.list, make([]style, s.origins())...)
		return at
	}
	at = 0
	for i := 1; i < len(s.contents); i++ {
		if c := &s.contents[i]; c.uses == 0 && (at == 0 || int32(c.usedAt-s.contents[at].usedAt) < 0) {
			at = i
		}
	}
	if at > 0 {
		delete(s.learnt, s.contents[at].encoded)
		clear(s.list[at*s.origins() : (at+1)*s.origins()])
	}
	return at
}

// use counts a hold that has style n.
func (s *styles) use(n uint16, now uint32) {
	if at := int(n) / s.origins(); at > 0 {
		s.contents[at].uses++
		s.contents[at].usedAt = now
	}
}

// drop undoes use, when the hold has ended.
func (s *styles) drop(n uint16) {
	if at := int(n) / s.origins(); at > 0 {
		s.contents[at].uses--
	}
}

// decodeContent is the inverse of encodeContent. It validates the type again, because the sid comes from the client.
func decodeContent(encoded string) (text string, ok bool) {
	p, err := base64.RawURLEncoding.DecodeString(encoded)
	return string(p), err == nil && validContentType(string(p)) && string(p) != usualContent
}

// encodeContent returns the form of a `content` attribute in a sid. It is "" for the usual one, and for one that no
// header may carry.
func encodeContent(content []byte) string {
	if len(content) == 0 || string(content) == usualContent || !validContentType(string(content)) {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(content)
}

func validContentType(s string) bool {
	if len(s) > boshbody.MaxSIDContentBytes {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	_, _, err := mime.ParseMediaType(s)
	return err == nil
}

func (s *styles) at(n uint16) *style {
	st := &s.list[n]
	if st.lines == nil {
		*st = s.make(s.contents[int(n)/s.origins()].text, int(n)%s.origins())
	}
	return st
}

// contentOf returns the content type of a style as in sids.
func (s *styles) contentOf(n uint16) string { return s.contents[int(n)/s.origins()].encoded }

// retryLines are the edge's Retry-After headers. They vary, so that clients refused together do not return together.
var retryLines = func() (lines [][]byte) {
	const most = 8 // seconds
	for n := range most {
		lines = append(lines, fmt.Appendf(nil, "Retry-After: %d\r\n", n+1))
	}
	return lines
}()

// corsFor returns the header lines that let the requesting page read d.
func (s *styles) corsFor(q *request, d *document) []byte {
	return s.corsOf(q.head.Origin, d.public).block
}

// usualHead returns the response head of the usual content type for the web origin of q.
func (s *styles) usualHead(q *request, status int) *http1.ResponseHead {
	return s.at(s.usual(q.head.Origin)).head(status)
}

// retryAfter returns the Retry-After header line of one answer. All such answers of the edge take it from here.
func (w *worker) retryAfter() []byte { return retryLines[w.r.Rand().IntN(len(retryLines))] }

// retryLine returns the Retry-After header line of a reply with the given status, or nil.
func (w *worker) retryLine(status int) []byte {
	if status == 503 || status == 429 {
		return w.retryAfter()
	}
	return nil
}

// head returns the response head for a BOSH reply with the given status.
func (st *style) head(status int) *http1.ResponseHead {
	if status == 200 && st.bosh != nil {
		return st.bosh
	}
	h := st.heads[status]
	if h == nil {
		made := http1.NewResponseHead(status, st.lines...)
		h = &made
		st.heads[status] = h
		if status == 200 {
			st.bosh = h
		}
	}
	return h
}

// unlearntStyle returns the style of the reply to a hold whose content type was unknown when it was parked. It learns
// the type now if the reply shows that there is a session. It borrows body.
func (w *worker) unlearntStyle(h table.Handle, hold *table.Hold, status int, body []byte) *style {
	encoded, ok := w.unlearnt[h]
	if !ok {
		return w.styles.at(hold.Style)
	}
	var b boshbody.StartTag
	wellBehaved := status == 200 && boshbody.ParseReply(&b, body) == nil && string(b.Type) != "terminate"
	if wellBehaved && (b.SID != nil || hold.Flags&holdCreation == 0) {
		if n, learnt := w.styles.learn(hold.Style, encoded); learnt {
			hold.Style = n
			w.styles.use(n, w.r.Now())
			delete(w.unlearnt, h)
			return w.styles.at(n)
		}
		w.counters[stats.ContentOverflow]++
	}
	text, _ := decodeContent(encoded)
	st := w.styles.make(text, int(hold.Style)%w.styles.origins())
	return &st
}

// contentOf returns the content type of a hold as in sids.
func (w *worker) contentOf(h table.Handle, hold *table.Hold) string {
	if encoded, ok := w.unlearnt[h]; ok {
		return encoded
	}
	return w.styles.contentOf(hold.Style)
}
