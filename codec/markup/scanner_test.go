package markup

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"megaphone/codec/internal/codectest"
)

// scan returns the tokens of content up to the end tag of its element, one string for each, and the offset after it.
// Adjacent pieces of text are one token.
func scan(t testing.TB, p []byte) (tokens []string, end int, f Fault) {
	var s Scanner
	text := false
	add := func(isText bool, token string) {
		if isText && text {
			tokens[len(tokens)-1] += token
		} else {
			tokens = append(tokens, token)
		}
		text = isText
	}
	s.Reset(p, 0)
	for depth := 1; depth > 0; {
		if !s.Next() {
			return tokens, 0, s.Fault
		}
		if s.From != end {
			t.Fatalf("%q: a token at %d, the last one ended at %d", p, s.From, end)
		}
		switch s.Kind {
		case Text:
			add(true, "'"+string(AppendText(nil, p[s.From:s.To])))
		case CDATA:
			add(true, "'"+string(bytes.ReplaceAll(bytes.ReplaceAll(CDATAContents(p[s.From:s.To]), []byte("\r\n"),
				[]byte("\n")), []byte("\r"), []byte("\n"))))
		case End:
			depth--
			add(false, ">"+string(s.Name))
		case Start:
			token := "<" + string(s.Tag.Name)
			for {
				name, value, ok := s.Tag.Next()
				if !ok {
					break
				}
				token += " " + string(name) + "=" + string(AppendValue(nil, value))
			}
			if s.Tag.Fault != OK {
				return tokens, 0, s.Tag.Fault
			}
			add(false, token)
			if depth++; s.Tag.Empty {
				depth--
				add(false, ">"+string(s.Tag.Name))
			}
			s.To = s.Tag.End
		}
		end = s.To
	}
	return tokens, end, OK
}

var contentCases = []markupCase{
	{"nothing", "</a>", ">a"},
	{"text", "b</a>", "'b >a"},
	{"elements", "<b/><c:d>e</c:d></a>", "<b >b <c:d 'e >c:d >a"},
	{"references", "&lt;&#66;</a>", "'<B >a"},
	{"line ends", "b\r\nc\rd</a>", "'b\nc\nd >a"},
	{"brackets", "]]]>]<b/></a>", "syntax"},
	{"brackets that end nothing", "]] ]></a>", "']] ]> >a"},
	{"CDATA", "<![CDATA[<b/>&]]></a>", "'<b/>& >a"},
	{"empty CDATA", "<![CDATA[]]></a>", "' >a"},
	{"CDATA without end", "<![CDATA[</a>", "incomplete"},
	{"control in CDATA", "<![CDATA[\x00]]></a>", "character"},
	{"control in text", "\x1b</a>", "character"},
	{"no character in text", "\ufffe</a>", "character"},
	{"no character in CDATA", "<![CDATA[\uffff]]></a>", "character"},
	{"unknown entity", "&b;</a>", "reference"},
	{"comment", "<!--b--></a>", "comment"},
	{"instruction", "<?b?></a>", "instruction"},
	{"document type", "<!DOCTYPE b></a>", "document type"},
	{"space in an end tag", "</a\n>", ">a"},
	{"attribute in an end tag", "</a b=''>", "syntax"},
	{"no end", "<b></b>", "incomplete"},
	{"a fault in a tag", "<b c></a>", "syntax"},
}

func TestContent(t *testing.T) {
	g := codectest.NewPage(t)
	for _, c := range contentCases {
		t.Run(c.name, func(t *testing.T) {
			tokens, _, f := scan(t, g.Put(c.in))
			got := strings.Join(tokens, " ")
			if f != OK {
				got = faultNames[f]
			}
			if got = strings.ReplaceAll(got, "''", "'"); got != c.want {
				t.Errorf("%q:\n got %q\nwant %q", c.in, got, c.want)
			}
		})
	}
}

func TestSkipElement(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"<b/>rest", "<b/>"},
		{"<b c='>'><d/><![CDATA[</b>]]>e<f></f></b></a>", "<b c='>'><d/><![CDATA[</b>]]>e<f></f></b>"},
		{"<b><c></b>", ""},
		{"<b c></b>", ""},
	} {
		for _, read := range []bool{false, true} {
			var s Scanner
			s.Reset([]byte(c.in), 0)
			s.Next()
			if read {
				drain(&s.Tag)
			}
			got := ""
			if s.SkipElement() {
				got = c.in[s.From:s.To]
			}
			if got != c.want || got == "" && s.Fault == OK {
				t.Errorf("%q: %q, not %q, fault %d", c.in, got, c.want, s.Fault)
			}
		}
	}
}

// xmlTokens returns the tokens of content as encoding/xml finds them.
func xmlTokens(p []byte) (tokens []string, err error) {
	d := xml.NewDecoder(bytes.NewReader(append([]byte("<a>"), p...)))
	if _, err := d.RawToken(); err != nil {
		return nil, err
	}
	name := func(n xml.Name) string {
		if n.Space == "" {
			return n.Local
		}
		return n.Space + ":" + n.Local
	}
	text := false
	for depth := 1; depth > 0; {
		token, err := d.RawToken()
		if err != nil {
			return tokens, err
		}
		isText := false
		switch token := token.(type) {
		case xml.StartElement:
			depth++
			s := "<" + name(token.Name)
			for _, a := range token.Attr {
				s += " " + name(a.Name) + "=" + a.Value
			}
			tokens = append(tokens, s)
		case xml.EndElement:
			depth--
			tokens = append(tokens, ">"+name(token.Name))
		case xml.CharData:
			isText = true
			if text {
				tokens[len(tokens)-1] += "'" + string(token)
			} else {
				tokens = append(tokens, "'"+string(token))
			}
		default:
			return nil, fmt.Errorf("%T", token)
		}
		text = isText
	}
	return tokens, nil
}

// space maps what encoding/xml does not normalize in values.
var space = strings.NewReplacer("\t", " ", "\n", " ", "\r", " ", "'", "")

// compare checks that encoding/xml finds the same tokens, and that accepted content cut off anywhere is Incomplete,
// with the same tokens up to there.
func compare(t *testing.T, p []byte) {
	tokens, end, f := scan(t, p)
	if f != OK {
		return
	}
	want, err := xmlTokens(p[:end])
	if err != nil && !errors.Is(err, io.EOF) {
		if strings.Contains(err.Error(), "invalid XML name") || strings.Contains(err.Error(), "expected ") {
			for _, c := range p {
				if c >= 0x80 {
					return // names of the fifth edition, which encoding/xml does not know
				}
			}
		}
		t.Fatalf("%q is accepted, and encoding/xml finds: %v", p[:end], err)
	}
	if got, want := space.Replace(strings.Join(tokens, "|")), space.Replace(strings.Join(want, "|")); got != want {
		t.Fatalf("%q:\nhere:         %q\nencoding/xml: %q", p, got, want)
	}
	whole := strings.Join(tokens, "|")
	for k := range end {
		tokens, _, f := scan(t, p[:k:k])
		if got := strings.Join(tokens, "|"); f != Incomplete || !strings.HasPrefix(whole, got) {
			t.Fatalf("%q cut off at %d: %q, fault %d", p, k, got, f)
		}
	}
}

func TestContentAgainstXML(t *testing.T) {
	for _, c := range contentCases {
		compare(t, []byte(c.in))
	}
	for _, c := range tagCases {
		compare(t, []byte(c.in+"</x></y></a>"))
	}
}

// FuzzContent checks the properties of compare, and those of escapes.
func FuzzContent(f *testing.F) {
	for _, c := range contentCases {
		f.Add([]byte(c.in))
	}
	for _, c := range tagCases {
		f.Add([]byte(c.in + "</a>"))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) > 2000 {
			return // cutting it at every byte would be quadratic
		}
		compare(t, p)
		checkEscapes(t, string(p))
	})
}
