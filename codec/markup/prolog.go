package markup

import (
	"bytes"

	"megaphone/codec/internal/ascii"
)

// Prolog finds the < of the root element, after an optional byte order mark, white space, and an XML declaration. XML
// forbids white space before the declaration; it does no harm here.
func Prolog(p []byte) (root int, f Fault) {
	const mark = "\xEF\xBB\xBF"
	i := 0
	if len(p) >= len(mark) && string(p[:len(mark)]) == mark {
		i = len(mark)
	}
	i = SkipSpace(p, i)
	if isDeclaration(p, i) {
		if i, f = skipDeclaration(p, i); f != OK {
			return i, f
		}
		i = SkipSpace(p, i)
	}
	switch {
	case i == len(p):
		return i, Incomplete
	case p[i] != '<':
		return i, Outside
	case i+1 == len(p):
		return i, Incomplete
	}
	return i, forbidden(p, i)
}

// forbidden returns a fault if the < at p[i] begins what XMPP forbids. p[i+1] must exist.
func forbidden(p []byte, i int) Fault {
	switch {
	case p[i+1] == '?':
		return Instruction
	case p[i+1] != '!':
		return OK
	case i+2 < len(p) && p[i+2] == '-':
		return Comment
	}
	return DocumentType
}

func isDeclaration(p []byte, i int) bool {
	const open = "<?xml"
	return len(p)-i > len(open) && string(p[i:i+len(open)]) == open && ascii.Is(p[i+len(open)], ascii.Space)
}

// skipDeclaration skips <?xml version='1.0' encoding='UTF-8' standalone='yes'?> at p[i:] (XML 1.0 section 2.8: version
// first, the other two optional, in this order).
func skipDeclaration(p []byte, i int) (end int, f Fault) {
	stage := 0
	for i += len("<?xml"); ; {
		k := SkipSpace(p, i)
		if k+1 < len(p) && p[k] == '?' && p[k+1] == '>' && stage > 0 {
			return k + 2, OK
		}
		if k == i {
			return k, Declaration
		}
		nameEnd := ascii.Skip(p, k, ascii.XMLName)
		from, to, f := skipValue(p, nameEnd)
		if f != OK {
			return nameEnd, Declaration
		}
		value := p[from:to]
		i = to + 1
		switch name := string(p[k:nameEnd]); {
		case name == "version" && stage < 1 && isVersion(value):
			stage = 1
		case name == "encoding" && stage == 1 && ascii.EqualFold(value, "utf-8"):
			stage = 2
		case name == "standalone" && stage > 0 && stage < 3 && (string(value) == "yes" || string(value) == "no"):
			stage = 3
		default:
			return i, Declaration
		}
	}
}

// isVersion checks "1." digits, because a processor of XML 1.0 accepts any 1.x document (XML 1.0 section 2.8).
func isVersion(p []byte) bool {
	return len(p) > 2 && bytes.HasPrefix(p, []byte("1.")) && ascii.All(p[2:], ascii.Digit)
}
