package edge

import (
	"encoding/base64"
	"mime"

	"megaphone/codec"
)

const (
	maxCORS         = 250
	maxContentTypes = 200 // distinct ones a reactor remembers; those beyond get the usual one, and are counted
	usualContent    = "text/xml; charset=utf-8"
	retryAfter      = "Retry-After: 2"
)

// style is how replies to one kind of client look: which Content-Type it asked for, and which web origin it came from.
// Its response heads are prebuilt; a hold remembers the style's number.
type style struct {
	bosh   codec.ResponseHead          // 200
	allow  codec.ResponseHead          // the answer to a preflight
	others map[int]*codec.ResponseHead // other statuses that were needed
	lines  []string
}

// styles is a reactor's list of them: style number = content * origins + origin.
type styles struct {
	allowed  []string       // web origins; nil: any
	contents map[string]int // by base64url as in the sid
	encoded  []string
	list     []style
	overflow *uint64
}

func newStyles(cors []string, overflow *uint64) *styles {
	s := &styles{contents: map[string]int{}, overflow: overflow}
	if cors[0] != "*" {
		s.allowed = cors
	}
	s.addContent("", usualContent)
	return s
}

// origins is how many styles there are for one content type: none allowed, and one each.
func (s *styles) origins() int { return len(s.allowed) + 1 }

func (s *styles) addContent(encoded, content string) int {
	n := len(s.encoded)
	s.encoded = append(s.encoded, encoded)
	s.contents[encoded] = n
	for i := range s.origins() {
		st := style{others: map[int]*codec.ResponseHead{}}
		var cors []string
		switch {
		case s.allowed == nil:
			cors = []string{anyOrigin}
		case i == 0:
			cors = []string{"Vary: Origin"}
		default:
			cors = []string{"Vary: Origin", "Access-Control-Allow-Origin: " + s.allowed[i-1],
				"Access-Control-Allow-Credentials: true"}
		}
		st.lines = append([]string{"Content-Type: " + content, "Cache-Control: no-store"}, cors...)
		if n > 0 {
			// The type was the client's choice. A browser that were led here must not run what it is given.
			st.lines = append(st.lines, "X-Content-Type-Options: nosniff", "Content-Security-Policy: sandbox")
		}
		st.bosh = codec.NewResponseHead(200, st.lines...)
		st.allow = codec.NewResponseHead(200, append(cors[:len(cors):len(cors)],
			"Access-Control-Allow-Methods: POST, OPTIONS",
			"Access-Control-Allow-Headers: Content-Type, Content-Encoding, Authorization, X-Requested-With",
			"Access-Control-Max-Age: 86400")...)
		s.list = append(s.list, st)
	}
	return n
}

// of is the number of the style for a web origin and a content type as in the sid (empty: the usual one). It borrows
// both.
func (s *styles) of(origin, encoded []byte) uint16 {
	o := 0
	for i, a := range s.allowed {
		if string(origin) == a {
			o = i + 1
		}
	}
	n := 0
	if len(encoded) > 0 {
		var known bool
		if n, known = s.contents[string(encoded)]; !known {
			n = s.learn(string(encoded))
		}
	}
	return uint16(n*s.origins() + o)
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

// head is the response head for a BOSH reply with the given status.
func (st *style) head(status int) *codec.ResponseHead {
	if status == 200 {
		return &st.bosh
	}
	h := st.others[status]
	if h == nil {
		lines := st.lines
		if status == 503 || status == 429 {
			lines = append(lines[:len(lines):len(lines)], retryAfter)
		}
		made := codec.NewResponseHead(status, lines...)
		h = &made
		st.others[status] = h
	}
	return h
}
