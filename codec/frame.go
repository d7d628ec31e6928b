package codec

import "math/bits"

// The form of a frame on a link: length "|" id "|" contents. Length and id have fixed widths, so a frame can be
// measured from its first bytes alone and read by a person in any packet capture.
const (
	lengthDigits = 8
	idDigits     = 16

	// FrameHeaderBytes is the length of the header before the contents.
	FrameHeaderBytes = lengthDigits + 1 + idDigits + 1

	// MaxContentsBytes is the largest contents that the protocol allows.
	MaxContentsBytes = 16_777_216
)

// Frame is one message of a link. ID 0 is the link itself: control lines.
type Frame struct {
	ID       uint64
	Contents []byte
}

// FrameError is a violation of the link protocol. The link closes after it.
type FrameError struct {
	Reason string // one sentence, suitable for the protocol's "error" line
}

// Error returns the reason.
func (e *FrameError) Error() string { return e.Reason }

// Faults of a frame's header.
var (
	FrameErrLength    = &FrameError{"A frame's length is not 8 decimal digits."}
	FrameErrTooLarge  = &FrameError{"A frame is larger than this side accepts."}
	FrameErrID        = &FrameError{"A frame's connection ID is not 16 lower-case hexadecimal digits."}
	FrameErrSeparator = &FrameError{"A vertical bar is missing in a frame's header."}
)

// ParseFrame parses the frame at the start of p. It borrows p until return, and f.Contents borrows from p. If ok, the
// frame is the first n bytes of p. If not ok and err is nil, the frame is incomplete; call again once p has n bytes.
// max bounds the contents; 0 means MaxContentsBytes. A malformed header is detected at its first wrong byte, whatever
// follows.
func ParseFrame(p []byte, max int) (f Frame, n int, ok bool, err *FrameError) {
	if len(p) < FrameHeaderBytes {
		return Frame{}, FrameHeaderBytes, false, checkFrameHeader(p, max)
	}
	length, okLength := parseDecimal8(p)
	id, okID := parseHex16(p[lengthDigits+1:])
	if !okLength || !okID || length > orDefault(max, MaxContentsBytes) ||
		p[lengthDigits] != '|' || p[FrameHeaderBytes-1] != '|' {
		return Frame{}, 0, false, checkFrameHeader(p[:FrameHeaderBytes], max)
	}
	n = FrameHeaderBytes + length
	if len(p) < n {
		return Frame{}, n, false, nil
	}
	return Frame{id, p[FrameHeaderBytes:n]}, n, true, nil
}

// checkFrameHeader finds the first fault in p, a frame header or the beginning of one; nil if there is none.
func checkFrameHeader(p []byte, max int) *FrameError {
	length := 0
	for i, c := range p {
		switch {
		case i < lengthDigits:
			if class[c]&isDigit == 0 {
				return FrameErrLength
			}
			length = 10*length + int(c-'0')
			if i == lengthDigits-1 && length > orDefault(max, MaxContentsBytes) {
				return FrameErrTooLarge
			}
		case i == lengthDigits || i == FrameHeaderBytes-1:
			if c != '|' {
				return FrameErrSeparator
			}
		case class[c]&isLowerHex == 0:
			return FrameErrID
		}
	}
	return nil
}

// parseDecimal8 reads eight decimal digits at once: pairs, then fours, then eight, each in its own lane of one word.
func parseDecimal8(p []byte) (n int, ok bool) {
	x := load64(p)
	// A digit is 0x30-0x39: its upper half is 3, even after 6 has been added to it.
	const sixes, halves, threes = 0x0606060606060606, 0xF0F0F0F0F0F0F0F0, 0x3030303030303030
	if x&halves != threes || (x+sixes)&halves != threes {
		return 0, false
	}
	x &= 0x0F0F0F0F0F0F0F0F
	x = (x*10 + x>>8) & 0x00FF00FF00FF00FF
	x = (x*100 + x>>16) & 0x0000FFFF0000FFFF
	x = (x*10000 + x>>32) & 0xFFFFFFFF
	return int(x), true
}

// parseHex16 reads 16 lower-case hexadecimal digits.
func parseHex16(p []byte) (id uint64, ok bool) {
	wrong := uint16(isLowerHex)
	for _, c := range p[:idDigits] {
		id = id<<4 | uint64(unhex[c]&0x0F)
		wrong &= class[c]
	}
	return id, wrong != 0
}

// AppendFrame appends a whole frame to dst. It panics if contents is longer than MaxContentsBytes.
func AppendFrame(dst []byte, id uint64, contents []byte) []byte {
	return append(AppendFrameHeader(dst, id, len(contents)), contents...)
}

// AppendFrameHeader appends the header of a frame to dst; the caller appends exactly contentsBytes more. It panics if
// contentsBytes is negative or more than MaxContentsBytes.
func AppendFrameHeader(dst []byte, id uint64, contentsBytes int) []byte {
	if contentsBytes < 0 || contentsBytes > MaxContentsBytes {
		panic("codec: a frame larger than the protocol allows")
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
