package http1

import "megaphone/codec/internal/ascii"

// Header lines that describe the message and its connection. The checks keep two readers of the same bytes from seeing
// different requests in them (RFC 9112 section 11.2, request smuggling).

// host handles a Host header. RFC 9112 section 3.2: "A server MUST respond with a 400 (Bad Request) status code to any
// HTTP/1.1 request message that lacks a Host header field and to any request message that contains more than one Host
// header field line or a Host header field with an invalid field value."
func (h *Head) host(value []byte) *Error {
	switch {
	case h.seen&seenHost != 0:
		return errHostRepeated
	case !validHost(value):
		return errHost
	}
	h.seen |= seenHost
	if h.seen&seenAuthority == 0 {
		h.Host = value
	}
	return nil
}

// length handles a Content-Length header. RFC 9110 section 8.6 lets a recipient treat equal repeated values as one;
// this parser does not.
func (h *Head) length(value []byte) *Error {
	switch {
	case h.seen&seenLength != 0:
		return errLengthRepeated
	case len(value) == 0 || !ascii.All(value, ascii.Digit):
		return errContentLength
	}
	h.seen |= seenLength
	n := 0
	for _, c := range value {
		if n > (maxInt-9)/10 {
			n = maxInt // stays there: too large, whatever the limit
			break
		}
		n = 10*n + int(c-'0')
	}
	h.ContentLength = n
	return nil
}

const maxInt = int(^uint(0) >> 1)

// coding handles a Transfer-Encoding header. RFC 9112 section 6.1: a server that receives a transfer coding that it
// does not understand SHOULD respond with 501. Section 6.3: it responds with 400 if chunked is not the last. An
// HTTP/1.0 request with the header must be treated "as if the framing is faulty".
func (h *Head) coding(value []byte) *Error {
	switch {
	case h.Minor == 0:
		return errCodingInOldHTTP
	case h.seen&seenCoding != 0:
		return errCodingRepeated
	case ascii.EqualFold(value, "chunked"):
		h.seen |= seenCoding
		return nil
	}
	const last = "chunked"
	if n := len(value) - len(last); n > 0 && ascii.EqualFold(value[n:], last) && isListBreak(value[n-1]) {
		return errTransferCoding
	}
	return errCodingNotChunked
}

func isListBreak(c byte) bool { return c == ',' || c == ' ' || c == '\t' }

// expect handles an Expect header (RFC 9110 section 10.1.1).
func (h *Head) expect(value []byte) *Error {
	if !ascii.EqualFold(value, "100-continue") {
		return errExpectation
	}
	h.seen |= seenExpect
	return nil
}

// connection handles a Connection header: a list of tokens without regard to case (RFC 9110 section 7.6.1).
func (h *Head) connection(value []byte) {
	for i := 0; i < len(value); i++ {
		if isListBreak(value[i]) {
			continue
		}
		from := i
		for i < len(value) && !isListBreak(value[i]) {
			i++
		}
		switch token := value[from:i]; {
		case ascii.EqualFold(token, "close"):
			h.seen |= seenClose
		case ascii.EqualFold(token, "keep-alive"):
			h.seen |= seenKeepAlive
		}
	}
}

// finish checks the combination of all header lines and sets the derived fields.
func (h *Head) finish(maxBody int) (ok bool, err *Error) {
	const both = seenLength | seenCoding
	switch {
	case h.Minor == 1 && h.seen&seenHost == 0:
		return false, errHostMissing
	case h.seen&both == both:
		// RFC 9112 section 6.1: such a message "might indicate an attempt to perform request smuggling [...] and ought
		// to be handled as an error".
		return false, errLengthAndCoding
	case h.ContentLength > maxBody:
		return false, errBodyTooLarge
	}
	h.Chunked = h.seen&seenCoding != 0
	h.HasBody = h.seen&both != 0
	// RFC 9112 section 9.3: close wins; HTTP/1.1 persists by default, HTTP/1.0 on request.
	h.KeepAlive = h.seen&seenClose == 0 && (h.Minor == 1 || h.seen&seenKeepAlive != 0)
	// RFC 9110 section 10.1.1: "A server that receives a 100-continue expectation in an HTTP/1.0 request MUST ignore
	// that expectation." Without a body the client does not wait.
	h.ExpectContinue = h.seen&seenExpect != 0 && h.Minor == 1 && (h.Chunked || h.ContentLength > 0)
	return true, nil
}
