package frame

import (
	"math/bits"

	"megaphone/codec/internal/ascii"
)

// The form of a frame on a link: length "|" id "|" contents. Length and id have fixed widths, so a frame can be
// measured from its first bytes alone and read by a person in any packet capture.
const (
	lengthDigits = 8
	idDigits     = 16

	// HeaderBytes is the length of the header before the contents.
	HeaderBytes = lengthDigits + 1 + idDigits + 1

	// MaxContentsBytes is the largest contents that the protocol allows.
	MaxContentsBytes = 16_777_216
)

// Frame is one message of a link. ID 0 is the link itself: control lines.
type Frame struct {
	ID       uint64
	Contents []byte
}

// Error is a violation of the link protocol. The link closes after it.
type Error struct {
	Reason string // one sentence, suitable for the protocol's "error" line
}

// Error returns the reason.
func (e *Error) Error() string { return e.Reason }

// Faults of a frame's header.
var (
	errLength    = &Error{"A frame's length is not 8 decimal digits."}
	errTooLarge  = &Error{"A frame is larger than this side accepts."}
	errID        = &Error{"A frame's connection ID is not 16 lower-case hexadecimal digits."}
	errSeparator = &Error{"A vertical bar is missing in a frame's header."}
)

// Parse parses the frame at the start of p. It borrows p until return, and f.Contents borrows from p. If ok, the
// frame is the first n bytes of p. If not ok and err is nil, the frame is incomplete; call again once p has n bytes.
// max bounds the contents; 0 means MaxContentsBytes. A malformed header is detected at its first wrong byte, whatever
// follows.
func Parse(p []byte, max int) (f Frame, n int, ok bool, err *Error) {
	if max == 0 {
		max = MaxContentsBytes
	}
	if len(p) < HeaderBytes {
		return Frame{}, HeaderBytes, false, checkHeader(p, max)
	}
	length, okLength := ascii.ParseDecimal8(p)
	id, okID := ascii.ParseHex16(p[lengthDigits+1:])
	if !okLength || !okID || length > max ||
		p[lengthDigits] != '|' || p[HeaderBytes-1] != '|' {
		return Frame{}, 0, false, checkHeader(p[:HeaderBytes], max)
	}
	n = HeaderBytes + length
	if len(p) < n {
		return Frame{}, n, false, nil
	}
	return Frame{id, p[HeaderBytes:n]}, n, true, nil
}

// checkHeader finds the first fault in p, a frame header or the beginning of one; nil if there is none.
func checkHeader(p []byte, max int) *Error {
	length := 0
	for i, c := range p {
		switch {
		case i < lengthDigits:
			if !ascii.Is(c, ascii.Digit) {
				return errLength
			}
			length = 10*length + int(c-'0')
			if i == lengthDigits-1 && length > max {
				return errTooLarge
			}
		case i == lengthDigits || i == HeaderBytes-1:
			if c != '|' {
				return errSeparator
			}
		case !ascii.Is(c, ascii.LowerHex):
			return errID
		}
	}
	return nil
}

// Append appends a whole frame to dst. It panics if contents is longer than MaxContentsBytes.
func Append(dst []byte, id uint64, contents []byte) []byte {
	return append(AppendHeader(dst, id, len(contents)), contents...)
}

// AppendHeader appends the header of a frame to dst; the caller appends exactly contentsBytes more. It panics if
// contentsBytes is negative or more than MaxContentsBytes.
func AppendHeader(dst []byte, id uint64, contentsBytes int) []byte {
	if contentsBytes < 0 || contentsBytes > MaxContentsBytes {
		panic("frame: a frame larger than the protocol allows")
	}
	var h [lengthDigits + 1]byte
	n := uint(contentsBytes)
	for i := lengthDigits - 1; i >= 0; i-- {
		h[i] = byte('0' + n%10)
		n /= 10
	}
	h[lengthDigits] = '|'
	return append(AppendID(append(dst, h[:]...), id), '|')
}

// AppendID appends a connection ID to dst: 16 lower-case hexadecimal digits.
func AppendID(dst []byte, id uint64) []byte {
	const digits = "0123456789abcdef"
	var h [idDigits]byte
	for i := range h {
		id = bits.RotateLeft64(id, 4)
		h[i] = digits[id&0x0F]
	}
	return append(dst, h[:]...)
}
