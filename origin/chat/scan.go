package chat

import "bytes"

// The scanner reads one element at a time, in place. It relies on well-formed input, which package bosh has checked. On
// malformed input it returns false, and never reads beyond its end.

// attribute is one attribute of a start tag. p[from:to] is all of it with the white space before it.
type attribute struct {
	name, value []byte // raw: references in value are not resolved
	from, to    int
}

func isSpace(b byte) bool { return b == ' ' || b == '\n' || b == '\t' || b == '\r' }

// nextAttribute reads the attribute of a start tag at p[i:]. It borrows p. ok is false at the end of the tag.
func nextAttribute(p []byte, i int) (a attribute, ok bool) {
	a.from = i
	for i < len(p) && isSpace(p[i]) {
		i++
	}
	start := i
	for i < len(p) && p[i] != '=' && p[i] != '>' && p[i] != '/' && !isSpace(p[i]) {
		i++
	}
	a.name = p[start:i]
	for i < len(p) && isSpace(p[i]) {
		i++
	}
	if i >= len(p) || p[i] != '=' || len(a.name) == 0 {
		return a, false
	}
	i++
	for i < len(p) && isSpace(p[i]) {
		i++
	}
	if i >= len(p) || (p[i] != '\'' && p[i] != '"') {
		return a, false
	}
	n := bytes.IndexByte(p[i+1:], p[i])
	if n < 0 {
		return a, false
	}
	a.value = p[i+1 : i+1+n]
	a.to = i + n + 2
	return a, true
}

// skipName returns the end of the name that begins at p[i].
func skipName(p []byte, i int) int {
	for i < len(p) && !isSpace(p[i]) && p[i] != '>' && p[i] != '/' {
		i++
	}
	return i
}

// tagEnd reads the end of a start tag at p[i:], after its last attribute.
func tagEnd(p []byte, i int) (end int, empty, ok bool) {
	for i < len(p) && isSpace(p[i]) {
		i++
	}
	if i < len(p) && p[i] == '/' {
		i++
		empty = true
	}
	if i >= len(p) || p[i] != '>' {
		return 0, false, false
	}
	return i + 1, empty, true
}

// markup is a kind of markup.
type markup uint8

const (
	markupNone  markup = iota // no more markup: the rest is text, or malformed
	markupStart               // a start tag
	markupEmpty               // an empty element's tag
	markupEnd                 // an end tag
	markupData                // a CDATA section
	markupOther               // a comment or processing instruction
)

var (
	cdataOpen    = []byte("<![CDATA[")
	cdataClose   = []byte("]]>")
	commentOpen  = []byte("<!--")
	commentClose = []byte("-->")
)

// nextMarkup finds the next markup at or after p[i:]; it is p[from:to].
func nextMarkup(p []byte, i int) (kind markup, from, to int) {
	n := bytes.IndexByte(p[i:], '<')
	if n < 0 || i+n+1 >= len(p) {
		return markupNone, len(p), len(p)
	}
	from = i + n
	rest := p[from:]
	switch {
	case rest[1] == '/':
		return closedBy(rest, from, markupEnd, 2, []byte(">"))
	case rest[1] == '?':
		return closedBy(rest, from, markupOther, 2, []byte("?>"))
	case bytes.HasPrefix(rest, cdataOpen):
		return closedBy(rest, from, markupData, len(cdataOpen), cdataClose)
	case bytes.HasPrefix(rest, commentOpen):
		return closedBy(rest, from, markupOther, len(commentOpen), commentClose)
	}
	i = skipName(p, from+1)
	for {
		a, ok := nextAttribute(p, i)
		if !ok {
			break
		}
		i = a.to
	}
	end, empty, ok := tagEnd(p, i)
	switch {
	case !ok:
		return markupNone, len(p), len(p)
	case empty:
		return markupEmpty, from, end
	}
	return markupStart, from, end
}

// closedBy returns markup that ends with the first mark after its opening.
func closedBy(rest []byte, from int, kind markup, opening int, mark []byte) (markup, int, int) {
	n := bytes.Index(rest[opening:], mark)
	if n < 0 {
		return markupNone, from + len(rest), from + len(rest)
	}
	return kind, from, from + opening + n + len(mark)
}

// elementEnd returns the end of the element whose start tag ends at to.
func elementEnd(p []byte, kind markup, to int) (end int, ok bool) {
	depth := 0
	for {
		switch kind {
		case markupNone:
			return 0, false
		case markupStart:
			depth++
		case markupEnd:
			depth--
		}
		if depth == 0 {
			return to, true
		}
		kind, _, to = nextMarkup(p, to)
	}
}
