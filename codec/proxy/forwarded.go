package proxy

import (
	"bytes"

	"megaphone/codec/internal/ascii"
)

// ForwardedHeader identifies the header in which proxies name the client that they forward for.
type ForwardedHeader uint8

// The supported headers. Only one of them is read at a time, because a proxy that writes one passes on the other as
// sent by its client.
const (
	ForwardedNone    ForwardedHeader = iota
	ForwardedFor                     // X-Forwarded-For: the customary list of addresses
	ForwardedElement                 // Forwarded (RFC 7239)
)

var forwardedNames = [...]string{ForwardedFor: "x-forwarded-for", ForwardedElement: "forwarded"}

// maxForwardedLines is the number of lines of the header that are kept, the last ones. HAProxy adds a line of its own,
// and chains of more than eight such proxies do not occur.
const maxForwardedLines = 8

// Hops are the addresses in the forwarding header of one request, from the right. Each proxy appends the address from
// which it received the request. Addresses to the right of an untrusted client therefore come from trusted proxies. The
// client may have invented everything to its left.
type Hops struct {
	lines  [maxForwardedLines][]byte
	n      int
	header ForwardedHeader
}

// Collect finds the lines of the header in head, a complete head accepted by http1.ParseHead: the first Bytes bytes of
// its input. It borrows head until the last Next.
func (h *Hops) Collect(head []byte, header ForwardedHeader) {
	h.n, h.header = 0, header
	name := forwardedNames[header]
	for p := afterLine(bytes.TrimLeft(head, "\r\n")); len(p) > len(name); p = afterLine(p) {
		if p[len(name)] != ':' || !ascii.EqualFold(p[:len(name)], name) {
			continue
		}
		value := p[len(name)+1:]
		if end := bytes.IndexByte(value, '\r'); end >= 0 {
			value = value[:end]
		}
		if h.n == maxForwardedLines {
			h.n = copy(h.lines[:], h.lines[1:])
		}
		h.lines[h.n] = value
		h.n++
	}
}

// afterLine returns the bytes after the first line of p.
func afterLine(p []byte) []byte { return p[bytes.IndexByte(p, '\n')+1:] }

// Next returns the next address from the right. It is not ok at the end, or if the address is unknown: a malformed
// element, "unknown", or an obfuscated identifier (RFC 7239 section 6). Iteration ends there, because anything further
// left cannot be told apart from inventions.
func (h *Hops) Next() (a Address, ok bool) {
	for h.n > 0 {
		line := &h.lines[h.n-1]
		element, rest, whole := lastElement(*line, h.header == ForwardedElement)
		if *line = rest; rest == nil {
			h.n--
		}
		if element = ascii.TrimSpace(element); whole && len(element) == 0 {
			// RFC 9110 section 5.6.1.2: "A recipient MUST parse and ignore a reasonable number of empty list elements".
			continue
		}
		node := element
		if h.header == ForwardedElement && whole {
			node, whole = forOf(element)
		}
		if whole {
			a, ok = parseNode(node, h.header == ForwardedFor)
		}
		if !ok {
			h.n = 0
		}
		return a, ok
	}
	return Address{}, false
}

// lastElement returns the text after the last comma of p, and the text before it, nil if there is none. If quoted is
// set, commas within quoted strings do not count. ok is false if a quote has no counterpart.
func lastElement(p []byte, quoted bool) (element, rest []byte, ok bool) {
	i := len(p)
	for i > 0 && p[i-1] != ',' {
		i--
		if quoted && p[i] == '"' {
			if i = openingQuote(p[:i]); i < 0 {
				return nil, nil, false
			}
		}
	}
	if i == 0 {
		return p, nil, true
	}
	return p[i:], p[: i-1 : i-1], true
}

// openingQuote returns the index of the last unescaped quote in p, -1 if there is none.
func openingQuote(p []byte) int {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] != '"' {
			continue
		}
		k := i
		for k > 0 && p[k-1] == '\\' {
			k--
		}
		if (i-k)%2 == 0 {
			return i
		}
	}
	return -1
}

// forOf returns the value of the parameter "for" of an element of Forwarded, without quotes. It is not ok if the
// element is malformed, or has no such parameter or several (RFC 7239 section 4: "MUST NOT occur more than once").
// White space around parameters is allowed, because headers have it everywhere.
func forOf(element []byte) (node []byte, ok bool) {
	for i := 0; i < len(element); {
		for i < len(element) && (element[i] == ';' || element[i] == ' ' || element[i] == '\t') {
			i++
		}
		from := i
		i = ascii.Skip(element, i, ascii.Token)
		switch {
		case i == len(element) && i == from:
			return node, ok
		case i == len(element) || i == from || element[i] != '=':
			return nil, false
		}
		name := element[from:i]
		i++
		value := element[i:]
		if i < len(element) && element[i] == '"' {
			end := closingQuote(element[i+1:])
			if end < 0 {
				return nil, false
			}
			value = element[i+1 : i+1+end]
			i += end + 2
		} else {
			if end := bytes.IndexByte(value, ';'); end >= 0 {
				value = value[:end]
			}
			i += len(value)
			value = ascii.TrimSpace(value)
		}
		for i < len(element) && (element[i] == ' ' || element[i] == '\t') {
			i++
		}
		if i < len(element) && element[i] != ';' {
			return nil, false
		}
		if ascii.EqualFold(name, "for") {
			if ok {
				return nil, false
			}
			node, ok = value, true
		}
	}
	return node, ok
}

// closingQuote returns the index of the first unescaped quote in p, -1 if there is none.
func closingQuote(p []byte) int {
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '"':
			return i
		case '\\':
			i++
		}
	}
	return -1
}

// parseNode parses an address with an optional port: 192.0.2.7, 192.0.2.7:80, [2001:db8::7], [2001:db8::7]:80, and, if
// bare is set, 2001:db8::7.
func parseNode(p []byte, bare bool) (a Address, ok bool) {
	if len(p) > 0 && p[0] == '[' {
		end := bytes.IndexByte(p, ']')
		if end < 0 || !okPort(p[end+1:]) || bytes.IndexByte(p[:end], ':') < 0 {
			return Address{}, false
		}
		return ParseAddress(p[1:end])
	}
	colon := bytes.IndexByte(p, ':')
	switch {
	case colon < 0:
		return ParseAddress(p)
	case bytes.IndexByte(p[colon+1:], ':') >= 0:
		if !bare {
			return Address{}, false
		}
		return ParseAddress(p)
	case !okPort(p[colon:]):
		return Address{}, false
	}
	return ParseAddress(p[:colon])
}

// okPort accepts nothing, or a colon and a port, which may be obfuscated (RFC 7239 section 6).
func okPort(p []byte) bool {
	if len(p) == 0 {
		return true
	}
	if p[0] != ':' || len(p) == 1 {
		return false
	}
	if p[1] == '_' {
		return len(p) > 2 && ascii.All(p[2:], ascii.Name)
	}
	return validPort(p[1:])
}
