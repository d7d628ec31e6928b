package http1

// Error is the refusal of a request because of its HTTP. There is one value for each reason, so the answer to each can
// be built in advance. After any of them the framing of the connection is lost or untrusted, so the connection closes
// after the answer.
type Error struct {
	Status int    // of the answer
	Reason string // one sentence for the author of the client
}

// Error returns the reason.
func (e *Error) Error() string { return e.Reason }

// Faults of a request's head or its chunked body.
var (
	errNotHTTP            = refusal(400, "This is not HTTP: if it is TLS, the port speaks plain HTTP.")
	errEmptyLines         = refusal(400, "Too many empty lines before the request line.")
	errBadRequestLine     = refusal(400, "The request line must be: method, one space, target, one space, HTTP/1.1.")
	errTarget             = refusal(400, "The request target must be a path or an http URL, without a user name.")
	errRequestLineTooLong = refusal(414, "The request line is too long.")
	errVersion            = refusal(505, "Only HTTP/1.1 and HTTP/1.0 are supported.")
	ErrBareCR             = refusal(400, "A CR without an LF in the head or in the framing of the body.")
	errBareLF             = refusal(400, "A line that ends with LF alone: lines end with CR LF.")
	errObsFold            = refusal(400, "A header line begins with white space: folded lines are not allowed.")
	errHeaderName         = refusal(400, "A header line must be a name of token characters, a colon, and a value.")
	errSpaceBeforeColon   = refusal(400, "White space between a header's name and its colon.")
	errHeaderValue        = refusal(400, "A control character in a header's value.")
	errHeadersTooLarge    = refusal(431, "The header lines are too long in total.")
	errTooManyHeaders     = refusal(431, "Too many header lines.")
	errHostMissing        = refusal(400, "An HTTP/1.1 request needs a Host header.")
	errHostRepeated       = refusal(400, "More than one Host header.")
	errHost               = refusal(400, "The host is not a name or address with an optional port.")
	errContentLength      = refusal(400, "Content-Length must be one decimal number.")
	errLengthRepeated     = refusal(400, "More than one Content-Length header.")
	errLengthAndCoding    = refusal(400, "Content-Length and Transfer-Encoding together.")
	errCodingRepeated     = refusal(400, "More than one Transfer-Encoding header.")
	errCodingInOldHTTP    = refusal(400, "Transfer-Encoding in an HTTP/1.0 request.")
	errCodingNotChunked   = refusal(400, "The last transfer coding of a request must be chunked.")
	errTransferCoding     = refusal(501, "The only supported transfer coding is chunked.")
	errExpectation        = refusal(417, "The only supported expectation is 100-continue.")
	errBodyTooLarge       = refusal(413, "The body is too large.")
	errChunkSize          = refusal(400, "A chunk must begin with its size in hexadecimal digits.")
	errChunkExtension     = refusal(400, "A chunk's extensions are malformed or too long.")
	errChunkEnd           = refusal(400, "A chunk's data must be followed by CR LF.")
	errTrailersTooLarge   = refusal(431, "The trailer section is too long.")
)

// Errors lists all errors of this package that have a status, so that answers to them can be built in advance.
var Errors []*Error

func refusal(status int, reason string) *Error {
	e := &Error{status, reason}
	Errors = append(Errors, e)
	return e
}
