package http1

// Limits bounds the cost of a request. The zero value of a field means its default.
type Limits struct {
	MaxRequestLineBytes int // the request line without its CR LF; beyond it the answer is 414
	MaxHeaderBytes      int // all header lines, each with its CR LF; beyond it the answer is 431
	MaxHeaders          int // header lines; beyond it the answer is 431
	MaxBodyBytes        int // the body, decoded; at most the contents of a frame; beyond it the answer is 413
}

const (
	// DefaultMaxRequestLineBytes is half of what RFC 9112 section 3 recommends (8,000 bytes). A BOSH endpoint has one
	// short path, and any stranger can make an edge keep that many bytes per connection.
	DefaultMaxRequestLineBytes = 4096

	// DefaultMaxHeaderBytes leaves room for the cookies of a large site. Browsers keep up to 4 KiB per cookie, and a
	// BOSH path below a site gets all of them.
	DefaultMaxHeaderBytes = 16384

	// DefaultMaxHeaders is three times the number of headers that browsers send.
	DefaultMaxHeaders = 64

	// DefaultMaxBodyBytes is the largest stanza that ejabberd accepts from clients by default (max_stanza_size 256
	// KiB).
	DefaultMaxBodyBytes = 262144
)

const (
	// maxEmptyLines is the number of empty lines that are skipped before a request line. RFC 9112 section 2.2 asks for
	// at least one; old clients send one after the body of a POST.
	maxEmptyLines = 4

	// maxChunkLineBytes bounds a chunk-size line with its extensions. 16 digits would do; no BOSH client is known to
	// send extensions (RFC 9112 section 7.1.1 asks for a limit).
	maxChunkLineBytes = 256

	// maxTrailerBytes bounds the trailer section, which is dropped. It is small because an incomplete section is
	// scanned again with every piece that arrives.
	maxTrailerBytes = 1024
)

// maxRawBytes bounds a chunked body with its framing: twice the body, so that chunks of 6 bytes and more fit, and the
// trailers. A chunk of one byte costs six, and only an attacker fills a body with such chunks.
func maxRawBytes(maxBody int) int { return 2*maxBody + 4096 }

// WithDefaults returns l with every zero replaced by the default.
func (l Limits) WithDefaults() Limits {
	l.MaxRequestLineBytes = orDefault(l.MaxRequestLineBytes, DefaultMaxRequestLineBytes)
	l.MaxHeaderBytes = orDefault(l.MaxHeaderBytes, DefaultMaxHeaderBytes)
	l.MaxHeaders = orDefault(l.MaxHeaders, DefaultMaxHeaders)
	l.MaxBodyBytes = orDefault(l.MaxBodyBytes, DefaultMaxBodyBytes)
	return l
}

func orDefault(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}
