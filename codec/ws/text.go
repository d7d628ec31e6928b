package ws

import "unicode/utf8"

// text is the state of a text that arrives in pieces: between characters, or within one. The zero value is the start.
type text uint8

// The states of a text, named for the bytes that must follow (RFC 3629 section 4).
const (
	textWhole text = iota // the text may end here
	textTail1             // 80-BF
	textTail2             // 80-BF twice
	textTail3             // 80-BF three times
	textE0                // A0-BF, tail: less would be overlong
	textED                // 80-9F, tail: more would be a surrogate
	textF0                // 90-BF, two tails: less would be overlong
	textF4                // 80-8F, two tails: more would be beyond U+10FFFF
	textBad               // not UTF-8
)

// next returns the state after the byte c. It finds a fault at the first byte that no character can have there.
func (t text) next(c byte) text {
	switch {
	case t == textWhole:
		return lead(c)
	case t == textTail1 && c >= 0x80 && c <= 0xBF:
		return textWhole
	case t == textTail2 && c >= 0x80 && c <= 0xBF, t == textE0 && c >= 0xA0 && c <= 0xBF,
		t == textED && c >= 0x80 && c <= 0x9F:
		return textTail1
	case t == textTail3 && c >= 0x80 && c <= 0xBF, t == textF0 && c >= 0x90 && c <= 0xBF,
		t == textF4 && c >= 0x80 && c <= 0x8F:
		return textTail2
	}
	return textBad
}

// lead returns the state after the first byte of a character.
func lead(c byte) text {
	switch {
	case c < 0x80:
		return textWhole
	case c >= 0xC2 && c <= 0xDF:
		return textTail1
	case c == 0xE0:
		return textE0
	case c == 0xED:
		return textED
	case c >= 0xE1 && c <= 0xEF:
		return textTail2
	case c == 0xF0:
		return textF0
	case c >= 0xF1 && c <= 0xF3:
		return textTail3
	case c == 0xF4:
		return textF4
	}
	return textBad
}

// advance returns the state after p. Only characters that p does not hold whole go through next byte by byte.
func (t text) advance(p []byte) text {
	for len(p) > 0 && t != textWhole {
		if t = t.next(p[0]); t == textBad {
			return textBad
		}
		p = p[1:]
	}
	n := wholeCharacters(p)
	if !utf8.Valid(p[:n]) {
		return textBad
	}
	for _, c := range p[n:] {
		t = t.next(c)
	}
	return t
}

// wholeCharacters returns the length of p without the character at its end whose last bytes are missing.
func wholeCharacters(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		switch c := p[len(p)-n]; {
		case c < 0x80, c >= 0xC0 && c < 0xE0 && n >= 2, c >= 0xE0 && c < 0xF0 && n >= 3:
			return len(p)
		case c >= 0xC0:
			return len(p) - n
		}
	}
	return len(p)
}
