package edge

import (
	"encoding/base64"
	"fmt"
	"mime"
	"strings"

	"megaphone/codec"
)

const (
	maxCORS         = 250
	maxContentTypes = 200 // distinct ones a reactor remembers; those beyond get the usual one, and are counted
	usualContent    = "text/xml; charset=utf-8"
)

// style is how replies to one kind of client look: which Content-Type it asked for, and which web origin it came from.
// Its response heads are prebuilt; a hold remembers the style's number.
type style struct {
	bosh   codec.ResponseHead          // 200
	others map[int]*codec.ResponseHead // other statuses that were needed
	lines  []string
}

// styles is a reactor's list of them: style number = content * origins + origin.
type styles struct {
	allowed  []string       // web origins; nil: any
	cors     []cors         // by the number of the web origin: 0 if it is not in the list, or there is none
	public   cors           // instead of number 0 where every page may read the answer
	contents map[string]int // by base64url as in the sid
	encoded  []string
	list     []style
	overflow *uint64
}

// cors is what answers to the pages of one web origin have in their heads so that these may read them.
type cors struct {
	lines     []string
	block     []byte             // the same, for answers whose heads are not of a style
	preflight codec.ResponseHead // lacks Access-Control-Allow-Headers
}

// anyOrigin lets every page read an answer, those that send credentials excepted.
const anyOrigin = "Access-Control-Allow-Origin: *"

func newCORS(lines ...string) cors {
	preflight := append(lines[:len(lines):len(lines)], "Access-Control-Allow-Methods: GET, HEAD, POST, OPTIONS",
		"Access-Control-Max-Age: 86400", "Vary: Access-Control-Request-Headers")
	return cors{lines, []byte(strings.Join(lines, "\r\n") + "\r\n"), codec.NewResponseHead(200, preflight...)}
}

func newStyles(allowed []string, overflow *uint64) *styles {
	s := &styles{contents: map[string]int{}, overflow: overflow}
	if allowed[0] == "*" {
		s.cors, s.public = []cors{newCORS(anyOrigin)}, newCORS(anyOrigin)
	} else {
		s.allowed, s.cors, s.public = allowed, []cors{newCORS("Vary: Origin")}, newCORS("Vary: Origin", anyOrigin)
		for _, a := range allowed {
			s.cors = append(s.cors, newCORS("Vary: Origin", "Access-Control-Allow-Origin: "+a,
				"Access-Control-Allow-Credentials: true"))
		}
	}
	s.addContent("", usualContent)
	return s
}

// origins is how many styles there are for one content type: none allowed, and one each.
func (s *styles) origins() int { return len(s.cors) }

func (s *styles) addContent(encoded, content string) int {
	n := len(s.encoded)
	s.encoded = append(s.encoded, encoded)
	s.contents[encoded] = n
	for i := range s.cors {
		st := style{others: map[int]*codec.ResponseHead{}}
		st.lines = append([]string{"Content-Type: " + content, "Cache-Control: no-store"}, s.cors[i].lines...)
		if n > 0 {
			// The type was the client's choice. A browser that were led here must not run what it is given.
			st.lines = append(st.lines, "X-Content-Type-Options: nosniff", "Content-Security-Policy: sandbox")
		}
		st.bosh = codec.NewResponseHead(200, st.lines...)
		s.list = append(s.list, st)
	}
	return n
}

// corsOf is what answers to a web origin have in their heads; public is for what every page may read. It borrows
// origin.
func (s *styles) corsOf(origin []byte, public bool) *cors {
	n := s.number(origin)
	if n == 0 && public {
		return &s.public
	}
	return &s.cors[n]
}

// number is the number of a web origin. It borrows origin.
func (s *styles) number(origin []byte) int {
	for i, a := range s.allowed {
		if string(origin) == a {
			return i + 1
		}
	}
	return 0
}

// of is the number of the style for a web origin and a content type as in the sid (empty: the usual one). It borrows
// both.
func (s *styles) of(origin, encoded []byte) uint16 {
	n := 0
	if len(encoded) > 0 {
		var known bool
		if n, known = s.contents[string(encoded)]; !known {
			n = s.learn(string(encoded))
		}
	}
	return uint16(n*s.origins() + s.number(origin))
}

// learn adds a content type that a sid names. The sid comes from the client, so what it says is checked again.
func (s *styles) learn(encoded string) int {
	content, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || !validContentType(string(content)) {
		return 0
	}
	if len(s.encoded) >= maxContentTypes {
		*s.overflow++
		return 0
	}
	return s.addContent(encoded, string(content))
}

// encodeContent is the form of a `content` attribute in a sid; "" for the usual one and for what no header may carry.
func encodeContent(content []byte) string {
	if len(content) == 0 || string(content) == usualContent || !validContentType(string(content)) {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(content)
}

func validContentType(s string) bool {
	if len(s) > codec.MaxSIDContentBytes {
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

func (s *styles) at(n uint16) *style { return &s.list[n] }

// contentOf is the content type of a style as it stands in sids.
func (s *styles) contentOf(n uint16) string { return s.encoded[int(n)/s.origins()] }

// retryLines are the Retry-After headers of the edge: clients that were refused together do not come back together.
var retryLines = func() (lines [][]byte) {
	const most = 8 // seconds
	for n := range most {
		lines = append(lines, fmt.Appendf(nil, "Retry-After: %d\r\n", n+1))
	}
	return lines
}()

// retryAfter returns the Retry-After header line of one answer. Every answer of the edge that has one has it from here.
func (w *worker) retryAfter() []byte { return retryLines[w.r.Rand().IntN(len(retryLines))] }

// retryLine returns the Retry-After header line of a reply with the given status, if it has one.
func (w *worker) retryLine(status int) []byte {
	if status == 503 || status == 429 {
		return w.retryAfter()
	}
	return nil
}

// head is the response head for a BOSH reply with the given status.
func (st *style) head(status int) *codec.ResponseHead {
	if status == 200 {
		return &st.bosh
	}
	h := st.others[status]
	if h == nil {
		made := codec.NewResponseHead(status, st.lines...)
		h = &made
		st.others[status] = h
	}
	return h
}
