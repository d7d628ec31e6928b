package boshbody

import (
	"bytes"

	"megaphone/codec/internal/ascii"
)

// skipProlog finds the '<' of the first element, after an optional byte order mark, white space, and an XML
// declaration. XML forbids white space before the declaration; it does no harm here.
func skipProlog(p []byte) (start int, err *Error) {
	const mark = "\xEF\xBB\xBF"
	i := 0
	if len(p) >= len(mark) && string(p[:len(mark)]) == mark {
		i = len(mark)
	}
	i = ascii.Skip(p, i, ascii.Space)
	if isDeclaration(p, i) {
		if i, err = skipDeclaration(p, i); err != nil {
			return 0, err
		}
		i = ascii.Skip(p, i, ascii.Space)
	}
	switch {
	case i == len(p):
		return 0, ErrNoElement
	case p[i] != '<':
		return 0, ErrText
	case i+1 == len(p):
		return 0, ErrNoElement
	}
	switch p[i+1] {
	case '?':
		return 0, ErrInstruction
	case '!':
		if i+2 < len(p) && p[i+2] == '-' {
			return 0, ErrComment
		}
		return 0, ErrDTD
	}
	return i, nil
}

func isDeclaration(p []byte, i int) bool {
	const open = "<?xml"
	return len(p)-i > len(open) && string(p[i:i+len(open)]) == open && ascii.Is(p[i+len(open)], ascii.Space)
}

// skipDeclaration skips <?xml version='1.0' encoding='UTF-8' standalone='yes'?> at p[i:] (XML 1.0 section 2.8: version
// first, the other two optional, in this order).
func skipDeclaration(p []byte, i int) (end int, err *Error) {
	i += len("<?xml")
	stage := 0
	for {
		k := ascii.Skip(p, i, ascii.Space)
		if k+1 < len(p) && p[k] == '?' && p[k+1] == '>' && stage > 0 {
			return k + 2, nil
		}
		if k == i {
			return 0, ErrDeclaration
		}
		nameEnd := ascii.Skip(p, k, ascii.XMLName)
		from, to, err := skipValueIn(p, nameEnd)
		if err != nil {
			return 0, ErrDeclaration
		}
		value := p[from:to]
		switch name := string(p[k:nameEnd]); {
		case name == "version" && stage < 1 && validXMLVersion(value):
			stage = 1
		case name == "encoding" && stage == 1 && ascii.EqualFold(value, "utf-8"):
			stage = 2
		case name == "standalone" && stage > 0 && stage < 3 && (string(value) == "yes" || string(value) == "no"):
			stage = 3
		default:
			return 0, ErrDeclaration
		}
		i = to + 1
	}
}

// validXMLVersion checks "1." digits, because a processor of XML 1.0 accepts any 1.x document (XML 1.0 section 2.8).
func validXMLVersion(p []byte) bool {
	return len(p) > 2 && bytes.HasPrefix(p, []byte("1.")) && ascii.All(p[2:], ascii.Digit)
}

// parseRoot parses "<body" or "<prefix:body" at p[start:]; i is the index after it.
func parseRoot(p []byte, start int) (prefix []byte, i int, err *Error) {
	from := start + 1
	i, err = skipName(p, from)
	if err != nil {
		return nil, 0, err
	}
	local := p[from:i]
	if colon := bytes.IndexByte(local, ':'); colon >= 0 {
		prefix, local = local[:colon], local[colon+1:]
	}
	if string(local) != "body" {
		return nil, 0, ErrRoot
	}
	return prefix, i, nil
}
