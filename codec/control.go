package codec

import "bytes"

// What may be wrong with control lines.
var (
	FrameErrLine    = &FrameError{"A control line does not end with LF."}
	FrameErrVerb    = &FrameError{"A control line does not begin with a verb of lower-case letters, digits and '-'."}
	FrameErrArgs    = &FrameError{"The arguments of a control line are empty, or have control characters."}
	FrameErrControl = &FrameError{"A control line's connection ID is not 16 lower-case hexadecimal digits, or is zero."}
)

const maxVerbBytes = 32

// NextLine takes the first line off the contents of a control frame. It borrows contents until return, and so do
// its results after it. args is what follows the first space, nil when there is none. When not ok and without error,
// contents is empty: there is no further line.
func NextLine(contents []byte) (verb, args, rest []byte, ok bool, err *FrameError) {
	if len(contents) == 0 {
		return nil, nil, nil, false, nil
	}
	end := bytes.IndexByte(contents, '\n')
	if end < 0 {
		return nil, nil, nil, false, FrameErrLine
	}
	line, rest := contents[:end], contents[end+1:]
	n := skip(line, 0, isVerb)
	switch {
	case n == 0 || n > maxVerbBytes || n < len(line) && line[n] != ' ':
		return nil, nil, nil, false, FrameErrVerb
	case n < len(line):
		args = line[n+1:]
		if len(args) == 0 || skipValue(args, 0) != len(args) {
			return nil, nil, nil, false, FrameErrArgs
		}
	}
	return line[:n], args, rest, true, nil
}

// NextID takes the first connection ID off the arguments of "gone" or "release". It borrows args until return, and so
// does rest after it. When not ok and without error, args is empty: there is no further ID.
func NextID(args []byte) (id uint64, rest []byte, ok bool, err *FrameError) {
	if len(args) == 0 {
		return 0, nil, false, nil
	}
	if len(args) < idDigits {
		return 0, nil, false, FrameErrControl
	}
	id, ok = parseHex16(args)
	rest = args[idDigits:]
	if !ok || id == 0 || len(rest) == 1 || len(rest) > 0 && rest[0] != ' ' {
		return 0, nil, false, FrameErrControl
	}
	if len(rest) > 0 {
		rest = rest[1:]
	}
	return id, rest, true, nil
}

// pairs walks over the arguments "key=value key=value ...", one space between two. Keys that are not known are for
// later versions; a key must not be there twice.
type pairs struct{ rest []byte }

// next is the next pair; its key is nil when there is none left.
func (a *pairs) next() (key, value []byte, ok bool) {
	if a.rest == nil {
		return nil, nil, true
	}
	pair := a.rest
	a.rest = nil
	if end := bytes.IndexByte(pair, ' '); end >= 0 {
		pair, a.rest = pair[:end], pair[end+1:]
	}
	n := skip(pair, 0, isVerb)
	if n == 0 || n >= len(pair)-1 || pair[n] != '=' {
		return nil, nil, false
	}
	return pair[:n], pair[n+1:], true
}
