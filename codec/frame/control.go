package frame

import (
	"bytes"

	"megaphone/codec/internal/ascii"
)

// Faults of control lines.
var (
	errLine    = &Error{"A control line does not end with LF."}
	errVerb    = &Error{"A control line does not begin with a verb of lower-case letters, digits and '-'."}
	errArgs    = &Error{"The arguments of a control line are empty, or have control characters."}
	errControl = &Error{"A control line's connection ID is not 16 lower-case hexadecimal digits, or is zero."}
)

const maxVerbBytes = 32

// MaxTokenBytes is the maximum length of the token of "ping" and "pong". The minimum is 1.
const MaxTokenBytes = 64

// NextLine cuts the first line off the contents of a control frame. It borrows contents until return, and its results
// borrow from contents. args is the text after the first space, nil if there is none. If not ok and err is nil,
// contents is empty: there are no more lines.
func NextLine(contents []byte) (verb, args, rest []byte, ok bool, err *Error) {
	if len(contents) == 0 {
		return nil, nil, nil, false, nil
	}
	end := bytes.IndexByte(contents, '\n')
	if end < 0 {
		return nil, nil, nil, false, errLine
	}
	line, rest := contents[:end], contents[end+1:]
	n := ascii.Skip(line, 0, ascii.Verb)
	switch {
	case n == 0 || n > maxVerbBytes || n < len(line) && line[n] != ' ':
		return nil, nil, nil, false, errVerb
	case n < len(line):
		args = line[n+1:]
		if len(args) == 0 || ascii.SkipValue(args, 0) != len(args) {
			return nil, nil, nil, false, errArgs
		}
	}
	return line[:n], args, rest, true, nil
}

// NextID cuts the first connection ID off the arguments of "gone" or "release". It borrows args until return, and rest
// borrows from args. If not ok and err is nil, args is empty: there are no more IDs.
func NextID(args []byte) (id uint64, rest []byte, ok bool, err *Error) {
	if len(args) == 0 {
		return 0, nil, false, nil
	}
	if len(args) < idDigits {
		return 0, nil, false, errControl
	}
	id, ok = ascii.ParseHex16(args)
	rest = args[idDigits:]
	if !ok || id == 0 || len(rest) == 1 || len(rest) > 0 && rest[0] != ' ' {
		return 0, nil, false, errControl
	}
	if len(rest) > 0 {
		rest = rest[1:]
	}
	return id, rest, true, nil
}

// pairs iterates over arguments of the form "key=value key=value ...", separated by single spaces. Unknown keys are
// reserved for later versions; a key must not occur twice.
type pairs struct{ rest []byte }

// next returns the next pair; key is nil at the end.
func (a *pairs) next() (key, value []byte, ok bool) {
	if a.rest == nil {
		return nil, nil, true
	}
	pair := a.rest
	a.rest = nil
	if end := bytes.IndexByte(pair, ' '); end >= 0 {
		pair, a.rest = pair[:end], pair[end+1:]
	}
	n := ascii.Skip(pair, 0, ascii.Verb)
	if n == 0 || n >= len(pair)-1 || pair[n] != '=' {
		return nil, nil, false
	}
	return pair[:n], pair[n+1:], true
}
