package boshbody

import (
	"bytes"
	"encoding/xml"
	"strings"
	"testing"

	"megaphone/codec/internal/codectest"
	"megaphone/internal/corpus"
)

// scanBody returns the result of Parse, or ParseReply, as text.
func scanBody(t testing.TB, p []byte, reply bool) string {
	b := StartTag{SID: []byte("left over from the last request"), HasRID: true, Empty: true, SIDEnd: 9}
	parse := Parse
	if reply {
		parse = ParseReply
	}
	err := parse(&b, p)
	codectest.Inside(t, p, b.SID, b.To, b.Type, b.Content, b.Ver, b.Wait, b.Hold, b.Requests, b.Condition)
	if err != nil {
		return "refused: " + err.Error()
	}
	if p[b.Start] != '<' || p[b.TagEnd-1] != '>' || b.Empty != (p[b.TagEnd-2] == '/') ||
		string(b.SID) != string(p[b.SIDStart:b.SIDEnd]) || (b.SID == nil) != (b.SIDEnd == 0) {
		t.Errorf("%q: tag at %d to %d, sid at %d to %d", p, b.Start, b.TagEnd, b.SIDStart, b.SIDEnd)
	}
	return describeBody(&b, p)
}

func (c *bodyCase) outcome() string {
	if c.err != nil {
		return "refused: " + c.err.Reason
	}
	return c.want
}

func TestBodyCases(t *testing.T) {
	g := codectest.NewPage(t)
	for _, c := range bodyCases {
		t.Run(c.name, func(t *testing.T) {
			p := g.Put(c.in)
			if got := scanBody(t, p, c.reply); got != c.outcome() {
				t.Fatalf("%q:\n got %s\nwant %s", c.in, got, c.outcome())
			}
			if c.reply {
				var b StartTag
				if err := Parse(&b, p); err != ErrNoRID && err != ErrRID {
					t.Errorf("%q as a request: %v", c.in, err)
				}
			}
			if c.err != nil {
				return
			}
			// A body cut off before the end of the tag is refused; a cut after it makes no difference.
			var b StartTag
			ParseReply(&b, p)
			for k := range b.TagEnd {
				if got := scanBody(t, g.Put(c.in[:k]), c.reply); !strings.HasPrefix(got, "refused") {
					t.Fatalf("%q, cut off at %d: %s", c.in, k, got)
				}
			}
			want := strings.TrimSuffix(c.want, c.in[b.TagEnd:])
			if got := scanBody(t, g.Put(c.in[:b.TagEnd]), c.reply); got != want {
				t.Errorf("the tag alone:\n got %s\nwant %s", got, want)
			}
		})
	}
}

// Quotes and the order of attributes do not matter.
func TestBodyFormDoesNotMatter(t *testing.T) {
	attributes := []string{"rid='7'", "sid='a'", "to='b'", "xmlns='" + Namespace + "'", "xml:lang='en'", "ver='1.6'"}
	const want = "0 rid=7 sid=a to=b ver=1.6 |"
	for range attributes {
		attributes = append(attributes[1:], attributes[0])
		in := "<body " + strings.Join(attributes, " ") + ">"
		for _, form := range []string{in, strings.ReplaceAll(in, "'", `"`), strings.ReplaceAll(in, " ", "\r\n\t")} {
			if got := scanBody(t, []byte(form), false); got != want {
				t.Errorf("%s: %s", form, got)
			}
		}
	}
}

// An old client is answered with a status instead of a condition, so its ver must be known even after an error.
func TestBodyKeepsAttributesOnError(t *testing.T) {
	for _, in := range []string{
		"<body sid='s' ver='1.6'" + ns + "/>",
		"<body sid='s' ver='1.6' rid='x'" + ns + "/>",
		"<body sid='s' ver='1.6' rid='1'/>",
	} {
		var b StartTag
		if err := Parse(&b, []byte(in)); err == nil || string(b.Ver) != "1.6" || string(b.SID) != "s" {
			t.Errorf("%s: %v, ver %q, sid %q", in, err, b.Ver, b.SID)
		}
	}
}

// An origin's tag is cut off and appended at the end of the sid.
func TestBodySIDPlace(t *testing.T) {
	in := []byte("<body rid='1' sid='abc.k3x9'" + ns + "/>")
	var b StartTag
	if err := Parse(&b, in); err != nil {
		t.Fatal(err)
	}
	cut := string(in[:b.SIDEnd-len(".k3x9")]) + string(in[b.SIDEnd:])
	if want := "<body rid='1' sid='abc'" + ns + "/>"; cut != want {
		t.Errorf("%s, not %s", cut, want)
	}
}

func TestParseBodyAllocatesNothing(t *testing.T) {
	for _, c := range bodyCases {
		var b StartTag
		p := []byte(c.in)
		codectest.NoAllocs(t, c.name, func() {
			Parse(&b, p)
			ParseReply(&b, p)
		})
	}
}

// compareWithXML checks an accepted body against a complete XML parser, which must find the same element and values.
func compareWithXML(t *testing.T, p []byte) {
	t.Helper()
	var b StartTag
	if Parse(&b, p) != nil {
		return
	}
	d := xml.NewDecoder(bytes.NewReader(p[b.Start:b.TagEnd]))
	token, err := d.Token()
	start, ok := token.(xml.StartElement)
	if err != nil || !ok {
		// encoding/xml does not know the names of the fifth edition.
		if isASCII(p[b.Start:b.TagEnd]) {
			t.Fatalf("%q is accepted, and is not XML: %v", p[b.Start:b.TagEnd], err)
		}
		return
	}
	if start.Name.Local != "body" || start.Name.Space != Namespace {
		t.Fatalf("%q is accepted, and its name is %v", p, start.Name)
	}
	values := map[string][]byte{"sid": b.SID, "to": b.To, "type": b.Type, "content": b.Content, "ver": b.Ver,
		"wait": b.Wait, "hold": b.Hold, "requests": b.Requests, "condition": b.Condition}
	for _, a := range start.Attr {
		value, known := values[a.Name.Local]
		if !known || a.Name.Space != "" {
			continue
		}
		if !bytes.ContainsAny(value, "&\r") && a.Value != string(value) || value == nil {
			t.Fatalf("%q: %s is %q, not %q", p, a.Name.Local, a.Value, value)
		}
		delete(values, a.Name.Local)
	}
	for name, value := range values {
		if value != nil {
			t.Fatalf("%q: there is no %s, though %q was found", p, name, value)
		}
	}
}

func isASCII(p []byte) bool {
	for _, c := range p {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

func TestBodyCasesAgainstXML(t *testing.T) {
	for _, c := range bodyCases {
		t.Run(c.name, func(t *testing.T) { compareWithXML(t, []byte(c.in)) })
	}
}

func FuzzBody(f *testing.F) {
	corpus.Add(f)
	for _, c := range bodyCases {
		f.Add([]byte(c.in), []byte("<x/>"))
	}
	f.Fuzz(func(t *testing.T, in, payload []byte) {
		compareWithXML(t, in)
		got := scanBody(t, in, false)
		reply := scanBody(t, in, true)
		var b StartTag
		err := Parse(&b, in)
		if got != reply && err != ErrNoRID && err != ErrRID {
			t.Fatalf("%q\nas a request: %s\nas a reply:   %s", in, got, reply)
		}
		if err != nil {
			return
		}
		// The bytes after the tag do not affect it.
		other := append(bytes.Clone(in[:b.TagEnd]), payload...)
		want := strings.TrimSuffix(got, string(in[b.TagEnd:])) + string(payload)
		if got := scanBody(t, other, false); got != want {
			t.Fatalf("%q\nwith another payload: %s\nwant: %s", in, got, want)
		}
		// A valid tag stays valid whatever white space precedes it.
		bare := in[b.Start:]
		moved := append([]byte("\xEF\xBB\xBF\r\n<?xml version='1.0' encoding='UTF-8'?>\n"), bare...)
		if from, to := scanBody(t, bare, false), scanBody(t, moved, false); from[strings.IndexByte(from, ' '):] !=
			to[strings.IndexByte(to, ' '):] {
			t.Fatalf("%q: %s, behind a declaration: %s", bare, from, to)
		}
	})
}

func BenchmarkParseBody(b *testing.B) {
	for _, c := range bodyCases {
		if !c.bench {
			continue
		}
		b.Run(c.name, func(b *testing.B) {
			p := []byte(c.in)
			var body StartTag
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				if err := ParseReply(&body, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
