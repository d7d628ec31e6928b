package http1

import "megaphone/codec/internal/ascii"

// Chunks is the progress of ScanChunks in a body with chunked transfer coding; zero at its start. It is the only state
// between two calls, and fits a table slot.
type Chunks struct {
	Raw  uint32 // offset of the next chunk-size line
	Data uint32 // bytes of decoded body before it
}

// ScanChunks advances c over p, all bytes of the body so far, and changes none of them. It borrows p until return. If
// ok, the body with its trailers is p[:end], and DecodeChunks turns it into a plain body. If not ok and err is nil, the
// body is incomplete; call again once p has need bytes.
//
//	chunked-body = *chunk last-chunk trailer-section CRLF        RFC 9112 section 7.1
//	chunk        = size [ extensions ] CRLF data CRLF
//	last-chunk   = 1*"0" [ extensions ] CRLF
func ScanChunks(c *Chunks, p []byte, lim *Limits) (end, need int, ok bool, err *Error) {
	maxBody := orDefault(lim.MaxBodyBytes, DefaultMaxBodyBytes)
	for {
		size, from, err := parseChunkLine(p, int(c.Raw), maxBody-int(c.Data))
		switch {
		case err != nil:
			return 0, 0, false, err
		case from == 0:
			return 0, len(p) + 1, false, nil
		case size == 0:
			if end, err = skipTrailers(p, from); end > 0 || err != nil {
				return end, 0, end > 0, err
			}
			return 0, len(p) + 1, false, nil
		}
		to := from + size
		switch {
		case to+2 > maxRawBytes(maxBody):
			return 0, 0, false, errBodyTooLarge
		case to < len(p) && p[to] != '\r', to+1 < len(p) && p[to+1] != '\n':
			return 0, 0, false, errChunkEnd
		case to+2 > len(p):
			return 0, to + 2, false, nil
		}
		c.Raw, c.Data = uint32(to+2), c.Data+uint32(size)
	}
}

// parseChunkLine parses the chunk-size line at p[i:]. from is the start of the data, 0 if the line is incomplete or
// malformed.
func parseChunkLine(p []byte, i, maxSize int) (size, from int, err *Error) {
	full := len(p)-i >= maxChunkLineBytes+2
	if full {
		p = p[:i+maxChunkLineBytes+2]
	}
	k := i
	for ; k < len(p) && ascii.Unhex(p[k]) != 0xFF; k++ {
		size = size<<4 | int(ascii.Unhex(p[k]))
		if size > maxSize {
			return 0, 0, errBodyTooLarge
		}
	}
	ext := k
	if k < len(p) && k > i {
		if k, err = skipExtensions(p, k); err != nil {
			return 0, 0, err
		}
	}
	switch {
	case k+1 < len(p) && k > i && p[k] == '\r':
		if p[k+1] != '\n' {
			return 0, 0, ErrBareCR
		}
		return size, k + 2, nil
	case k < len(p) && (k == i || p[k] != '\r'):
		return 0, 0, badChunkLine(p[k], k > ext)
	case full:
		return 0, 0, errChunkExtension
	}
	return 0, 0, nil
}

// skipExtensions skips *( BWS ";" BWS name [ BWS "=" BWS value ] ) at p[i:]. It ignores their contents, but an LF
// inside them is an error, because readers must agree on where a chunk begins (RFC 9112 section 7.1.1 and 2.2).
func skipExtensions(p []byte, i int) (end int, err *Error) {
	k := i
	for k < len(p) && (p[k] == ' ' || p[k] == '\t') {
		k++
	}
	switch {
	case k == len(p):
		return k, nil
	case p[k] == ';':
		return ascii.SkipValue(p, k), nil
	case k > i:
		return 0, errChunkExtension // white space without an extension after it
	}
	return k, nil
}

// badChunkLine returns the error for an illegal byte in a chunk-size line.
func badChunkLine(c byte, inExtensions bool) *Error {
	if inExtensions {
		return misplaced(c, errChunkExtension)
	}
	return misplaced(c, errChunkSize)
}

// skipTrailers finds the end of the body after its last chunk; 0 if the trailers are incomplete. Trailers must have the
// syntax of header lines. They are discarded, as RFC 9112 section 7.1.2 allows.
func skipTrailers(p []byte, i int) (end int, err *Error) {
	full := len(p)-i >= maxTrailerBytes+2
	if full {
		p = p[:i+maxTrailerBytes+2]
	}
	for i < len(p) {
		if p[i] == '\r' {
			switch {
			case i+1 == len(p):
				return 0, trailersUnfinished(full)
			case p[i+1] != '\n':
				return 0, ErrBareCR
			}
			return i + 2, nil
		}
		f, err := parseField(p, i)
		if f.next == 0 {
			if err == nil {
				err = trailersUnfinished(full)
			}
			return 0, err
		}
		i = f.next
	}
	return 0, trailersUnfinished(full)
}

func trailersUnfinished(full bool) *Error {
	if full {
		return errTrailersTooLarge
	}
	return nil
}

// DecodeChunks joins the data of all chunks at the start of p and returns that part. It overwrites p. It panics if p is
// not a whole chunked body as accepted by ScanChunks, p[:end].
func DecodeChunks(p []byte) []byte {
	n := 0
	for i := 0; ; {
		size, from, err := parseChunkLine(p, i, len(p)-i)
		if err != nil || from == 0 || from+size > len(p) {
			panic("http1: DecodeChunks of input that ScanChunks has not accepted")
		}
		if size == 0 {
			return p[:n]
		}
		n += copy(p[n:], p[from:from+size])
		i = from + size + 2
	}
}
