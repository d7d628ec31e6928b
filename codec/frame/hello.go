package frame

import (
	"bytes"
	"strconv"

	"megaphone/codec/internal/ascii"
)

// errHello is the fault of a hello or a welcome.
var errHello = &Error{"The arguments of hello or welcome are malformed, repeated, or missing."}

// Hello is the first line that each side of a link sends. It identifies the sender.
type Hello struct {
	Version int      // of the protocol: 1
	Name    string   // of the origin or the edge; see ValidName
	Nonce   [16]byte // random, never used twice
	MAC     [32]byte // with HasMAC: the older proof, over the nonces and the name only (LinkMAC)
	HasMAC  bool
	Max     int // the largest contents that the sender accepts; 0: not stated, so MaxContentsBytes

	Proof    [32]byte // with HasProof: proves that the sender has the secret and wrote this whole line (LinkProof)
	HasProof bool

	// TakesQuery: the origin wants the query of the client's URL in requests (take=query).
	TakesQuery bool

	// Instance is what an origin's sessions live in: with another instance they are gone. It is in the form of a name,
	// and "" if not stated. Age is for how many milliseconds it has existed, at least; 0: not stated.
	Instance string
	Age      int

	// Streams: the sender takes streams (stream=1). Window is the number of unacknowledged bytes that the other end may
	// send to one stream; 0: not stated, so DefaultWindowBytes.
	Streams bool
	Window  int
}

// MaxAge is the largest age in a hello. Older instances state it.
const MaxAge = maxNumber

// Welcome is the origin's answer to the edge's hello.
type Welcome struct {
	MAC      [32]byte // as in Hello
	HasMAC   bool
	Proof    [32]byte
	HasProof bool
}

// maxNameBytes is the length of the longest name of an origin or an edge.
const maxNameBytes = 64

// ValidName reports whether name is a valid name of an origin or an edge: 1 to 64 of A-Z a-z 0-9 . _ -
func ValidName(name string) bool {
	if len(name) == 0 || len(name) > maxNameBytes {
		return false
	}
	for i := range len(name) {
		if !ascii.Is(name[i], ascii.Name) {
			return false
		}
	}
	return true
}

// Bits of the keys that have occurred in a line.
const (
	hasVersion = 1 << iota
	hasName
	hasNonce
	hasMAC
	hasMax
	hasTake
	hasProof
	hasInstance
	hasAge
	hasStream
	hasWindow
)

// ParseHello parses the arguments of a hello line. It borrows args until return. It copies the name and the
// instance, its only allocations. Unknown keys are ignored.
func ParseHello(args []byte) (Hello, *Error) {
	var h Hello
	seen := 0
	for a := (pairs{args}); ; {
		key, value, ok := a.next()
		if !ok {
			return Hello{}, errHello
		}
		if key == nil {
			break
		}
		bit := 0
		switch string(key) {
		case "version":
			bit = hasVersion
			h.Version, ok = parseNumber(value)
		case "name":
			bit = hasName
			ok = len(value) <= maxNameBytes && ascii.All(value, ascii.Name)
			if ok {
				h.Name = string(value)
			}
		case "nonce":
			bit = hasNonce
			ok = parseHexInto(h.Nonce[:], value)
		case "mac":
			bit, h.HasMAC = hasMAC, true
			ok = parseHexInto(h.MAC[:], value)
		case "max":
			bit = hasMax
			h.Max, ok = parseNumber(value)
			ok = ok && h.Max <= MaxContentsBytes
		case "take":
			bit = hasTake
			h.TakesQuery = takes(value, "query")
		case "instance":
			bit = hasInstance
			ok = ValidName(string(value))
			if ok {
				h.Instance = string(value)
			}
		case "age":
			bit = hasAge
			h.Age, ok = parseNumber(value)
		case "stream":
			bit = hasStream
			h.Streams = string(value) == "1" // others are reserved for later versions
		case "window":
			bit = hasWindow
			h.Window, ok = parseNumber(value)
		case "proof":
			bit, h.HasProof = hasProof, true
			ok = a.rest == nil && parseHexInto(h.Proof[:], value)
		}
		if !ok || seen&bit != 0 {
			return Hello{}, errHello
		}
		seen |= bit
	}
	const needed = hasVersion | hasName | hasNonce
	if seen&needed != needed {
		return Hello{}, errHello
	}
	return h, nil
}

// takes reports whether name is in a comma-separated list. Other items are reserved for later versions.
func takes(list []byte, name string) bool {
	for part := range bytes.SplitSeq(list, []byte(",")) {
		if string(part) == name {
			return true
		}
	}
	return false
}

// AppendHello appends a hello line with its LF to dst. It panics if the name or a number is invalid.
func AppendHello(dst []byte, h *Hello) []byte {
	if !ValidName(h.Name) || h.Version < 1 || h.Version > maxNumber || h.Max < 0 || h.Max > MaxContentsBytes ||
		h.Instance != "" && !ValidName(h.Instance) || h.Age < 0 || h.Age > MaxAge || h.Window < 0 ||
		h.Window > maxNumber {
		panic("frame: a hello that the other side would refuse")
	}
	dst = append(dst, "hello version="...)
	dst = strconv.AppendInt(dst, int64(h.Version), 10)
	dst = append(dst, " name="...)
	dst = append(dst, h.Name...)
	dst = append(dst, " nonce="...)
	dst = appendHex(dst, h.Nonce[:])
	if h.HasMAC {
		dst = append(dst, " mac="...)
		dst = appendHex(dst, h.MAC[:])
	}
	if h.Max > 0 {
		dst = append(dst, " max="...)
		dst = strconv.AppendInt(dst, int64(h.Max), 10)
	}
	if h.TakesQuery {
		dst = append(dst, " take=query"...)
	}
	if h.Instance != "" {
		dst = append(append(dst, " instance="...), h.Instance...)
	}
	if h.Age > 0 {
		dst = strconv.AppendInt(append(dst, " age="...), int64(h.Age), 10)
	}
	if h.Streams {
		dst = append(dst, " stream=1"...)
	}
	if h.Window > 0 {
		dst = strconv.AppendInt(append(dst, " window="...), int64(h.Window), 10)
	}
	return appendProof(dst, h.HasProof, &h.Proof)
}

// appendProof ends a line with its proof, if it has one, and its LF.
func appendProof(dst []byte, has bool, proof *[32]byte) []byte {
	if has {
		dst = appendHex(append(dst, " proof="...), proof[:])
	}
	return append(dst, '\n')
}

// ParseWelcome parses the arguments of a welcome line. It borrows args until return. Unknown keys are ignored.
func ParseWelcome(args []byte) (Welcome, *Error) {
	var w Welcome
	for a := (pairs{args}); ; {
		key, value, ok := a.next()
		switch {
		case !ok:
			return Welcome{}, errHello
		case key == nil:
			return w, nil
		case string(key) == "mac":
			ok = !w.HasMAC && parseHexInto(w.MAC[:], value)
			w.HasMAC = true
		case string(key) == "proof":
			ok = a.rest == nil && parseHexInto(w.Proof[:], value)
			w.HasProof = true
		}
		if !ok {
			return Welcome{}, errHello
		}
	}
}

// AppendWelcome appends a welcome line with its LF to dst.
func AppendWelcome(dst []byte, w *Welcome) []byte {
	dst = append(dst, "welcome"...)
	if w.HasMAC {
		dst = append(dst, " mac="...)
		dst = appendHex(dst, w.MAC[:])
	}
	return appendProof(dst, w.HasProof, &w.Proof)
}

const maxNumber = 999_999_999

// parseNumber reads a decimal number from 1 to maxNumber, without leading zeros.
func parseNumber(p []byte) (n int, ok bool) {
	if len(p) == 0 || len(p) > 9 || p[0] == '0' || !ascii.All(p, ascii.Digit) {
		return 0, false
	}
	for _, c := range p {
		n = 10*n + int(c-'0')
	}
	return n, true
}

// parseHexInto reads exactly len(dst) bytes in lower-case hexadecimal digits.
func parseHexInto(dst, p []byte) bool {
	if len(p) != 2*len(dst) || !ascii.All(p, ascii.LowerHex) {
		return false
	}
	for i := range dst {
		dst[i] = ascii.Unhex(p[2*i])<<4 | ascii.Unhex(p[2*i+1])
	}
	return true
}

func appendHex(dst, p []byte) []byte {
	const digits = "0123456789abcdef"
	for _, c := range p {
		dst = append(dst, digits[c>>4], digits[c&0x0F])
	}
	return dst
}
