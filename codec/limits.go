package codec

// Limits bounds what a request may cost before it is refused. The zero value of a field means its default.
type Limits struct {
	MaxRequestLineBytes int // the request line without its CR LF; more is answered with 414
	MaxHeaderBytes      int // all header lines, each with its CR LF; more is answered with 431
	MaxHeaders          int // header lines; more is answered with 431
	MaxBodyBytes        int // the body, decoded; at most MaxContentsBytes; more is answered with 413
}

const (
	// DefaultMaxRequestLineBytes is half of what RFC 9112 section 3 recommends (8,000 bytes): a BOSH endpoint has one
	// short path, and the length is what a stranger can make an edge keep for each connection.
	DefaultMaxRequestLineBytes = 4096

	// DefaultMaxHeaderBytes leaves room for the cookies of a large site (browsers keep 4 KiB a cookie, and a
	// BOSH path below a site gets all of them).
	DefaultMaxHeaderBytes = 16384

	// DefaultMaxHeaders is three times what browsers send.
	DefaultMaxHeaders = 64

	// DefaultMaxBodyBytes is the largest stanza that ejabberd takes from clients by default (max_stanza_size 256 KiB).
	DefaultMaxBodyBytes = 262144
)

const (
	// maxEmptyLines is how many empty lines are skipped before a request line. RFC 9112 section 2.2 asks for at least
	// one; old clients send one after the body of a POST.
	maxEmptyLines = 4

	// maxChunkLineBytes bounds the line of a chunk's size with its extensions. 16 digits would do; no client of
	// BOSH is known to send extensions (RFC 9112 section 7.1.1 asks for a limit).
	maxChunkLineBytes = 256

	// maxTrailerBytes bounds the trailer section, which is dropped. While it is incomplete it is scanned again with
	// every piece that arrives, so it is small.
	maxTrailerBytes = 1024
)

// maxRawBytes bounds a chunked body with its framing: twice the body, so that chunks of 6 bytes and more fit, and the
// trailers. Chunks of one byte each cost six, and nobody means well who fills a body with them.
func maxRawBytes(maxBody int) int { return 2*maxBody + 4096 }

// WithDefaults is l with every zero replaced by the default.
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
