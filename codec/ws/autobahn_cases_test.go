package ws

import (
	"fmt"
	"strings"
)

// autobahnCase is a case of the Autobahn test suite, by its number. want has the events of the stream. A server echoes
// text, answers ping with pong and close with close, so its transcript follows from them; "fails N" closes with code N.
type autobahnCase struct {
	number string
	frames []frame
	want   string
}

// autobahnCases returns all cases of the families 1 to 7: framing, pings and pongs, reserved bits, opcodes,
// fragmentation, UTF-8, close handling. How a case cuts its octets does not matter here, because each is cut at every
// byte. Cases that send binary messages fail with 1003, because XMPP has none.
func autobahnCases() (cases []autobahnCase) {
	for _, family := range [][]autobahnCase{framingCases(), pingCases, reservedCases, opcodeCases, fragmentCases,
		textCases, sequenceCases(), closeCases, closeCodeCases()} {
		cases = append(cases, family...)
	}
	return cases
}

func text1(payload string) frame { return frame{opcode: 1, payload: payload} }

// 1.1.x: text of these lengths, 1.2.x: binary.
func framingCases() (cases []autobahnCase) {
	for i, n := range []int{0, 125, 126, 127, 128, 65535, 65536, 65536} {
		stars := strings.Repeat("*", n)
		cases = append(cases,
			autobahnCase{fmt.Sprintf("1.1.%d", i+1), []frame{text1(stars), {opcode: 8, payload: "\x03\xE8"}},
				"text " + quote(stars) + `; close 1000 ""`},
			autobahnCase{fmt.Sprintf("1.2.%d", i+1), []frame{{opcode: 2, payload: strings.Repeat("\xFE", n)}},
				"fails 1003"})
	}
	return cases
}

const odd = "\x00\xFF\xFE\xFD\xFC\xFB\x00\xFF"

var (
	fe125 = strings.Repeat("\xFE", 125)

	tenPings, tenEvents = func() (frames []frame, events string) {
		for i := range 10 {
			frames = append(frames, frame{opcode: 9, payload: fmt.Sprintf("payload-%d", i)})
			events += fmt.Sprintf("; ping \"payload-%d\"", i)
		}
		return frames, events[2:]
	}()
)

var pingCases = []autobahnCase{
	{"2.1", []frame{{opcode: 9}}, `ping ""`},
	{"2.2", []frame{{opcode: 9, payload: "Hello, world!"}}, `ping "Hello, world!"`},
	{"2.3", []frame{{opcode: 9, payload: odd}}, "ping " + quote(odd)},
	{"2.4", []frame{{opcode: 9, payload: fe125}}, "ping " + quote(fe125)},
	{"2.5", []frame{{opcode: 9, payload: fe125 + "\xFE"}}, "fails 1002"},
	{"2.6", []frame{{opcode: 9, payload: fe125}}, "ping " + quote(fe125)},
	{"2.7", []frame{{opcode: 10}}, `pong ""`},
	{"2.8", []frame{{opcode: 10, payload: "unsolicited pong payload"}}, `pong "unsolicited pong payload"`},
	{"2.9", []frame{{opcode: 10, payload: "unsolicited pong payload"}, {opcode: 9, payload: "ping payload"}},
		`pong "unsolicited pong payload"; ping "ping payload"`},
	{"2.10", tenPings, tenEvents},
	{"2.11", tenPings, tenEvents},
}

const (
	hello      = "Hello, world!"
	helloFails = `text "Hello, world!"; fails 1002`
)

var reservedCases = []autobahnCase{
	{"3.1", []frame{{opcode: 1, rsv: 1, payload: hello}}, "fails 1002"},
	{"3.2", []frame{text1(hello), {opcode: 1, rsv: 2, payload: hello}, {opcode: 9}}, helloFails},
	{"3.3", []frame{text1(hello), {opcode: 1, rsv: 3, payload: hello}, {opcode: 9}}, helloFails},
	{"3.4", []frame{text1(hello), {opcode: 1, rsv: 4, payload: hello}, {opcode: 9}}, helloFails},
	{"3.5", []frame{{opcode: 2, rsv: 5, payload: odd}}, "fails 1002"},
	{"3.6", []frame{{opcode: 9, rsv: 6, payload: hello}}, "fails 1002"},
	{"3.7", []frame{{opcode: 8, rsv: 7}}, "fails 1002"},
}

var opcodeCases = []autobahnCase{
	{"4.1.1", []frame{{opcode: 3}}, "fails 1002"},
	{"4.1.2", []frame{{opcode: 4, payload: "reserved opcode payload"}}, "fails 1002"},
	{"4.1.3", []frame{text1(hello), {opcode: 5}, {opcode: 9}}, helloFails},
	{"4.1.4", []frame{text1(hello), {opcode: 6, payload: hello}, {opcode: 9}}, helloFails},
	{"4.1.5", []frame{text1(hello), {opcode: 7, payload: hello}, {opcode: 9}}, helloFails},
	{"4.2.1", []frame{{opcode: 11}}, "fails 1002"},
	{"4.2.2", []frame{{opcode: 12, payload: "reserved opcode payload"}}, "fails 1002"},
	{"4.2.3", []frame{text1(hello), {opcode: 13}, {opcode: 9}}, helloFails},
	{"4.2.4", []frame{text1(hello), {opcode: 14, payload: hello}, {opcode: 9}}, helloFails},
	{"4.2.5", []frame{text1(hello), {opcode: 15, payload: hello}, {opcode: 9}}, helloFails},
}

func begin(payload string) frame           { return frame{opcode: 1, payload: payload, more: true} }
func part(payload string, more bool) frame { return frame{payload: payload, more: more} }
func control(opcode byte, p string) frame  { return frame{opcode: opcode, payload: p} }
func twice(frames ...frame) []frame        { return append(frames, frames...) }

var (
	twoAndPing = []frame{begin("fragment1"), control(9, "ping payload"), part("fragment2", false)}
	pingFirst  = `ping "ping payload"; text "fragment1fragment2"`
	fiveParts  = []frame{begin("fragment1"), part("fragment2", true), control(9, "pongme 1!"), part("fragment3", true),
		part("fragment4", true), control(9, "pongme 2!"), part("fragment5", false)}
	fiveEvents = `ping "pongme 1!"; ping "pongme 2!"; text "fragment1fragment2fragment3fragment4fragment5"`
	nothing    = "non-continuation payload"
)

var fragmentCases = []autobahnCase{
	{"5.1", []frame{{opcode: 9, more: true, payload: "fragment1"}, part("fragment2", false)}, "fails 1002"},
	{"5.2", []frame{{opcode: 10, more: true, payload: "fragment1"}, part("fragment2", false)}, "fails 1002"},
	{"5.3", []frame{begin("fragment1"), part("fragment2", false)}, `text "fragment1fragment2"`},
	{"5.4", []frame{begin("fragment1"), part("fragment2", false)}, `text "fragment1fragment2"`},
	{"5.5", []frame{begin("fragment1"), part("fragment2", false)}, `text "fragment1fragment2"`},
	{"5.6", twoAndPing, pingFirst},
	{"5.7", twoAndPing, pingFirst},
	{"5.8", twoAndPing, pingFirst},
	{"5.9", []frame{part(nothing, false), text1(hello)}, "fails 1002"},
	{"5.10", []frame{part(nothing, false), text1(hello)}, "fails 1002"},
	{"5.11", []frame{part(nothing, false), text1(hello)}, "fails 1002"},
	{"5.12", []frame{part(nothing, true), text1(hello)}, "fails 1002"},
	{"5.13", []frame{part(nothing, true), text1(hello)}, "fails 1002"},
	{"5.14", []frame{part(nothing, true), text1(hello)}, "fails 1002"},
	{"5.15", []frame{begin("fragment1"), part("fragment2", false), part("fragment3", true), text1("fragment4")},
		`text "fragment1fragment2"; fails 1002`},
	{"5.16", twice(part("fragment1", true), begin("fragment2"), part("fragment3", false)), "fails 1002"},
	{"5.17", twice(part("fragment1", false), begin("fragment2"), part("fragment3", false)), "fails 1002"},
	{"5.18", []frame{begin("fragment1"), text1("fragment2")}, "fails 1002"},
	{"5.19", fiveParts, fiveEvents},
	{"5.20", fiveParts, fiveEvents},
}

const (
	greek = "\u03BA\u1F79\u03C3\u03BC\u03B5"
	mixed = "Hello-\u00B5@\u00DF\u00F6\u00E4\u00FC\u00E0\u00E1-UTF-8!!"
	// beyond is U+110000, which is wrong at its second byte.
	beyond    = "\xF4\x90\x80\x80"
	surrogate = greek + "\xED\xA0\x80edited"
)

// octets returns a message in fragments of one byte.
func octets(payload string) (frames []frame) {
	for i := range len(payload) {
		frames = append(frames, part(payload[i:i+1], i+1 < len(payload)))
	}
	frames[0].opcode = 1
	return frames
}

var textCases = []autobahnCase{
	{"6.1.1", []frame{text1("")}, `text ""`},
	{"6.1.2", []frame{begin(""), part("", true), part("", false)}, `text ""`},
	{"6.1.3", []frame{begin(""), part("middle frame payload", true), part("", false)}, `text "middle frame payload"`},
	{"6.2.1", []frame{text1(mixed)}, "text " + quote(mixed)},
	{"6.2.2", []frame{begin(mixed[:13]), part(mixed[13:], false)}, "text " + quote(mixed)},
	{"6.2.3", octets(mixed), "text " + quote(mixed)},
	{"6.2.4", octets(greek), "text " + quote(greek)},
	{"6.3.1", []frame{text1(surrogate)}, "fails 1007"},
	{"6.3.2", octets(surrogate), "fails 1007"},
	{"6.4.1", []frame{begin(greek), part(beyond, true), part("edited", false)}, "fails 1007"},
	{"6.4.2", []frame{begin(greek + beyond[:1]), part(beyond[1:2], true), part(beyond[2:]+"edited", false)},
		"fails 1007"},
	{"6.4.3", []frame{text1(greek + beyond + "edited")}, "fails 1007"},
	{"6.4.4", []frame{text1(greek + beyond + "edited")}, "fails 1007"},
}

// sequences are the families from 6.5 on, which follow Markus Kuhn's UTF-8 stress test. A text that begins with "!" is
// not UTF-8 without it.
var sequences = [][]string{
	{"hello$world", "hello\u00A2world", "hello\u20ACworld", "hello\U00024B62world", greek},
	{"!" + greek[:1], greek[:2], "!" + greek[:3], "!" + greek[:4], greek[:5], "!" + greek[:6], greek[:7],
		"!" + greek[:8], greek[:9], "!" + greek[:10], greek},
	{"\x00", "\xC2\x80", "\xE0\xA0\x80", "\xF0\x90\x80\x80"},
	{"!\xF8\x88\x80\x80\x80", "!\xFC\x84\x80\x80\x80\x80"},
	{"\x7F", "\xDF\xBF", "\xEF\xBF\xBF", "\xF4\x8F\xBF\xBF"},
	{"!\xF7\xBF\xBF\xBF", "!\xFB\xBF\xBF\xBF\xBF", "!\xFD\xBF\xBF\xBF\xBF\xBF"},
	{"\xED\x9F\xBF", "\xEE\x80\x80", "\xEF\xBF\xBD", "\xF4\x8F\xBF\xBF", "!\xF4\x90\x80\x80"},
	{"!\x80", "!\xBF", "!\x80\xBF", "!\x80\xBF\x80", "!\x80\xBF\x80\xBF", "!\x80\xBF\x80\xBF\x80",
		"!\x80\xBF\x80\xBF\x80\xBF", "!" + span(0x80, 0xBE, "")},
	{"!" + span(0xC0, 0xDE, " "), "!" + span(0xE0, 0xEE, " "), "!" + span(0xF0, 0xF6, " "), "!" + span(0xF8, 0xFA, " "),
		"!" + span(0xFC, 0xFC, " ")},
	{"!\xC0", "!\xE0\x80", "!\xF0\x80\x80", "!\xF8\x80\x80\x80", "!\xFC\x80\x80\x80\x80", "!\xDF", "!\xEF\xBF",
		"!\xF7\xBF\xBF", "!\xFB\xBF\xBF\xBF", "!\xFD\xBF\xBF\xBF\xBF"},
	{"!\xC0\xE0\x80\xF0\x80\x80\xF8\x80\x80\x80\xFC\x80\x80\x80\x80" +
		"\xDF\xEF\xBF\xF7\xBF\xBF\xFB\xBF\xBF\xBF\xFD\xBF\xBF\xBF\xBF"},
	{"!\xFE", "!\xFF", "!\xFE\xFE\xFF\xFF"},
	{"!\xC0\xAF", "!\xE0\x80\xAF", "!\xF0\x80\x80\xAF", "!\xF8\x80\x80\x80\xAF", "!\xFC\x80\x80\x80\x80\xAF"},
	{"!\xC1\xBF", "!\xE0\x9F\xBF", "!\xF0\x8F\xBF\xBF", "!\xF8\x87\xBF\xBF\xBF", "!\xFC\x83\xBF\xBF\xBF\xBF"},
	{"!\xC0\x80", "!\xE0\x80\x80", "!\xF0\x80\x80\x80", "!\xF8\x80\x80\x80\x80", "!\xFC\x80\x80\x80\x80\x80"},
	{"!\xED\xA0\x80", "!\xED\xAD\xBF", "!\xED\xAE\x80", "!\xED\xAF\xBF", "!\xED\xB0\x80", "!\xED\xBE\x80",
		"!\xED\xBF\xBF"},
	{"!\xED\xA0\x80\xED\xB0\x80", "!\xED\xA0\x80\xED\xBF\xBF", "!\xED\xAD\xBF\xED\xB0\x80", "!\xED\xAD\xBF\xED\xBF\xBF",
		"!\xED\xAE\x80\xED\xB0\x80", "!\xED\xAE\x80\xED\xBF\xBF", "!\xED\xAF\xBF\xED\xB0\x80",
		"!\xED\xAF\xBF\xED\xBF\xBF"},
	{"\uFFFE", "\uFFFF", "\U0001FFFE", "\U0001FFFF", "\U0002FFFE", "\U0002FFFF", "\U0003FFFE", "\U0003FFFF",
		"\U0004FFFE", "\U0004FFFF", "\U0005FFFE", "\U0005FFFF", "\U0006FFFE", "\U0006FFFF", "\U0007FFFE", "\U0007FFFF",
		"\U0008FFFE", "\U0008FFFF", "\U0009FFFE", "\U0009FFFF", "\U000AFFFE", "\U000AFFFF", "\U000BFFFE", "\U000BFFFF",
		"\U000CFFFE", "\U000CFFFF", "\U000DFFFE", "\U000DFFFF", "\U000EFFFE", "\U000EFFFF", "\U000FFFFE", "\U000FFFFF",
		"\U0010FFFE", "\U0010FFFF"},
	{"\uFFF9", "\uFFFA", "\uFFFB", "\uFFFC", "\uFFFD", "\uFFFE", "\uFFFF"},
}

// span returns the bytes from first to last, with the separator after each.
func span(first, last byte, separator string) (s string) {
	for c := first; ; c++ {
		if s += string([]byte{c}) + separator; c == last {
			return s
		}
	}
}

func sequenceCases() (cases []autobahnCase) {
	for i, family := range sequences {
		for k, payload := range family {
			c := autobahnCase{fmt.Sprintf("6.%d.%d", i+5, k+1), []frame{text1(payload)}, "text " + quote(payload)}
			if bad, ok := strings.CutPrefix(payload, "!"); ok {
				c.frames[0].payload, c.want = bad, "fails 1007"
			}
			cases = append(cases, c)
		}
	}
	return cases
}

func closing(payload string) frame { return frame{opcode: 8, payload: payload} }

var (
	normal   = closing("\x03\xE8")
	large    = strings.Repeat("BAsd7&jh23", 26215)[:256<<10]
	stars123 = strings.Repeat("*", 123)
)

var closeCases = []autobahnCase{
	{"7.1.1", []frame{text1("Hello World!"), normal}, `text "Hello World!"; close 1000 ""`},
	{"7.1.2", []frame{normal, closing("")}, `close 1000 ""`},
	{"7.1.3", []frame{normal, {opcode: 9}}, `close 1000 ""`},
	{"7.1.4", []frame{normal, text1("Hello World!")}, `close 1000 ""`},
	{"7.1.5", []frame{begin("fragment1"), normal, part("fragment2", false)}, `close 1000 ""`},
	{"7.1.6", []frame{text1(large), text1("Hello World!"), normal, {opcode: 9}},
		"text " + quote(large) + `; text "Hello World!"; close 1000 ""`},
	{"7.3.1", []frame{closing("")}, `close 1005 ""`},
	{"7.3.2", []frame{closing("a")}, "fails 1002"},
	{"7.3.3", []frame{normal}, `close 1000 ""`},
	{"7.3.4", []frame{closing("\x03\xE8Hello World!")}, `close 1000 "Hello World!"`},
	{"7.3.5", []frame{closing("\x03\xE8" + stars123)}, "close 1000 " + quote(stars123)},
	{"7.3.6", []frame{closing("\x03\xE8" + stars123 + "*")}, "fails 1002"},
	{"7.5.1", []frame{closing("\x03\xE8" + surrogate)}, "fails 1007"},
}

// 7.7.x: codes that are echoed. 7.9.x: codes that are refused. 7.13.x: codes that Autobahn leaves open.
func closeCodeCases() (cases []autobahnCase) {
	for _, family := range []struct {
		number string
		valid  bool
		codes  []int
	}{
		{"7.7", true, []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999}},
		{"7.9", false, []int{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999}},
		{"7.13", false, []int{5000, 65535}},
	} {
		for i, code := range family.codes {
			want := "fails 1002"
			if family.valid {
				want = fmt.Sprintf("close %d \"\"", code)
			}
			cases = append(cases, autobahnCase{fmt.Sprintf("%s.%d", family.number, i+1),
				[]frame{closing(string([]byte{byte(code >> 8), byte(code)}))}, want})
		}
	}
	return cases
}
