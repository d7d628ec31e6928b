package codec

// Chunks is how far ScanChunks has come in a body with chunked transfer coding; zero at its start. Between two calls
// it is all there is to remember, and fits a table slot.
type Chunks struct {
	Raw  uint32 // offset of the next chunk-size line
	Data uint32 // bytes of decoded body before it
}

// ScanChunks moves c on over p, all bytes of the body so far, and changes none of them. It borrows p until return. When
// ok, the body with its trailers is p[:end]; DecodeChunks makes a plain body of it. When not ok and without error,
// calling again can bring something new once p has need bytes.
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
			return 0, 0, false, ErrBodyTooLarge
		case to < len(p) && p[to] != '\r', to+1 < len(p) && p[to+1] != '\n':
			return 0, 0, false, ErrChunkEnd
		case to+2 > len(p):
			return 0, to + 2, false, nil
		}
		c.Raw, c.Data = uint32(to+2), c.Data+uint32(size)
	}
}

// parseChunkLine parses the line of a chunk's size at p[i:]; from is where the data begin, 0 when the line is not
// complete or malformed.
func parseChunkLine(p []byte, i, maxSize int) (size, from int, err *Error) {
	full := len(p)-i >= maxChunkLineBytes+2
	if full {
		p = p[:i+maxChunkLineBytes+2]
	}
	k := i
	for ; k < len(p) && unhex[p[k]] != 0xFF; k++ {
		size = size<<4 | int(unhex[p[k]])
		if size > maxSize {
			return 0, 0, ErrBodyTooLarge
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
		return 0, 0, ErrChunkExtension
	}
	return 0, 0, nil
}

// skipExtensions skips *( BWS ";" BWS name [ BWS "=" BWS value ] ) at p[i:]. What they say is not looked at, but an LF
// inside them is an error: where a chunk begins must not be a matter of taste (RFC 9112 section 7.1.1 and 2.2).
func skipExtensions(p []byte, i int) (end int, err *Error) {
	k := i
	for k < len(p) && (p[k] == ' ' || p[k] == '\t') {
		k++
	}
	switch {
	case k == len(p):
		return k, nil
	case p[k] == ';':
		return skipValue(p, k), nil
	case k > i:
		return 0, ErrChunkExtension // white space that no extension follows
	}
	return k, nil
}

// badChunkLine is the error for a byte that may not stand in the line of a chunk's size.
func badChunkLine(c byte, inExtensions bool) *Error {
	if inExtensions {
		return misplaced(c, ErrChunkExtension)
	}
	return misplaced(c, ErrChunkSize)
}

// skipTrailers finds the end of the body behind its last chunk; 0 when there is more to come. Trailers are held to the
// same grammar as header lines and then forgotten: RFC 9112 section 7.1.2 lets a recipient discard them.
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
		return ErrTrailersTooLarge
	}
	return nil
}

// DecodeChunks moves the data of all chunks of p together, at its start, and gives that part. p is a whole chunked
// body as ScanChunks found it, p[:end]; anything else is an error of the program. It overwrites p.
func DecodeChunks(p []byte) []byte {
	n := 0
	for i := 0; ; {
		size, from, err := parseChunkLine(p, i, len(p)-i)
		if err != nil || from == 0 || from+size > len(p) {
			panic("codec: DecodeChunks of what ScanChunks has not accepted")
		}
		if size == 0 {
			return p[:n]
		}
		n += copy(p[n:], p[from:from+size])
		i = from + size + 2
	}
}
