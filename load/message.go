package load

import (
	"bytes"
	"strconv"
)

// The text of a message contains everything that accounting needs, in fields of 8 hexadecimal digits:
//
//	megaphone:RUN:KIND:AUTHOR:READER:SEQ:STAMP:xxxxx...
//
// RUN is random, so that messages left at the server by an earlier run do not count. AUTHOR and READER are numbers of
// sessions over all reactors. KIND is c for a chat or b for a broadcast.
const (
	messageMark  = "megaphone:"
	messageHead  = len(messageMark) + 9 + 2 + 4*9
	minSize      = messageHead
	kindChat     = 'c'
	kindToAll    = 'b'
	authorOffset = 11 // in a text without its mark, behind RUN and KIND
)

// message is a parsed text.
type message struct {
	run            uint32
	kind           byte
	author, reader uint32
	seq            uint32
	stamp          stamp
}

// appendMessage appends the text of m, size bytes long.
func appendMessage(dst []byte, m message, size int) []byte {
	dst = appendHex(append(dst, messageMark...), m.run)
	dst = append(dst, m.kind, ':')
	dst = appendHex(dst, m.author)
	dst = appendHex(dst, m.reader)
	dst = appendHex(dst, m.seq)
	dst = appendHex(dst, uint32(m.stamp))
	for range size - messageHead {
		dst = append(dst, 'x')
	}
	return dst
}

// nextMessage finds the next text of a message in p and returns it with the bytes behind it. ok is false if there is
// none.
func nextMessage(p []byte) (m message, rest []byte, ok bool) {
	for {
		i := bytes.Index(p, []byte(messageMark))
		if i < 0 {
			return m, nil, false
		}
		p = p[i+len(messageMark):]
		if m, ok = parseMessage(p); ok {
			return m, p[messageHead-len(messageMark):], true
		}
	}
}

// parseMessage parses a text behind its mark.
func parseMessage(p []byte) (m message, ok bool) {
	if len(p) < messageHead-len(messageMark) {
		return m, false
	}
	m.kind = p[9]
	if m.kind != kindChat && m.kind != kindToAll || p[10] != ':' {
		return m, false
	}
	var at uint32
	for _, f := range [...]struct {
		to   *uint32
		from int
	}{
		{&m.run, 0}, {&m.author, authorOffset}, {&m.reader, authorOffset + 9}, {&m.seq, authorOffset + 18},
		{&at, authorOffset + 27},
	} {
		if *f.to, ok = parseHex(p[f.from:]); !ok {
			return m, false
		}
	}
	m.stamp = stamp(at)
	return m, true
}

// appendHex appends 8 digits and a colon.
func appendHex(dst []byte, n uint32) []byte {
	const digits = "0123456789abcdef"
	for shift := 28; shift >= 0; shift -= 4 {
		dst = append(dst, digits[n>>shift&15])
	}
	return append(dst, ':')
}

// parseHex parses what appendHex appends.
func parseHex(p []byte) (n uint32, ok bool) {
	for _, c := range p[:8] {
		switch {
		case '0' <= c && c <= '9':
			n = n<<4 | uint32(c-'0')
		case 'a' <= c && c <= 'f':
			n = n<<4 | uint32(c-'a'+10)
		default:
			return 0, false
		}
	}
	return n, p[8] == ':'
}

func appendNumber(dst []byte, n uint64) []byte { return strconv.AppendUint(dst, n, 10) }
