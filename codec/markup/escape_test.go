package markup

import (
	"encoding/xml"
	"strings"
	"testing"
)

// checkEscapes checks that text which is escaped can be read again, as a value in either quotes and as text.
func checkEscapes(t *testing.T, text string) {
	for _, r := range text {
		if !isChar(r) {
			return
		}
	}
	text = strings.ToValidUTF8(text, "")
	escaped := string(AppendEscaped(nil, text))
	for _, quote := range []string{"'", `"`} {
		p := []byte("<a b=" + quote + escaped + quote + ">" + escaped + "</a>")
		var s Scanner
		s.Reset(p, 0)
		s.Next()
		_, value, ok := s.Tag.Next()
		if !ok {
			t.Fatalf("%q: fault %d", p, s.Tag.Fault)
		}
		if got := string(AppendValue(nil, value)); got != text {
			t.Fatalf("%q, escaped as a value and back: %q", text, got)
		}
		if quoted := string(AppendQuoted(nil, value)); !strings.Contains(quoted, escaped) {
			t.Fatalf("%q quoted: %s", value, quoted)
		}
		var read struct {
			B    string `xml:"b,attr"`
			Text string `xml:",chardata"`
		}
		if err := xml.Unmarshal(p, &read); err != nil || read.B != text || read.Text != text {
			t.Fatalf("%q: encoding/xml reads %q and %q: %v", p, read.B, read.Text, err)
		}
		if text == "" {
			continue
		}
		if !s.Next() || s.Kind != Text || string(AppendText(nil, p[s.From:s.To])) != text {
			t.Fatalf("%q, escaped as text and back: kind %d, fault %d", text, s.Kind, s.Fault)
		}
	}
}

func TestEscapes(t *testing.T) {
	for _, text := range []string{"", "plain", `<&>'"`, "\t\r\n", "\u00e9\U0001F600", "]]>"} {
		checkEscapes(t, text)
	}
}

func TestResolve(t *testing.T) {
	for _, c := range []struct{ in, value, text string }{
		{"a\tb\nc\r\nd\re", "a b c d e", "a\tb\nc\nd\ne"},
		{"&#9;&#10;&#13;&lt;&#x20AC;", "\t\n\r<\u20ac", "\t\n\r<\u20ac"},
		{"&amp;lt;", "&lt;", "&lt;"},
	} {
		if got := string(AppendValue(nil, []byte(c.in))); got != c.value {
			t.Errorf("value %q: %q", c.in, got)
		}
		if got := string(AppendText(nil, []byte(c.in))); got != c.text {
			t.Errorf("text %q: %q", c.in, got)
		}
	}
}

func TestQuotes(t *testing.T) {
	for in, want := range map[string]string{`a`: `'a'`, `it's`: `"it's"`, `"a"`: `'"a"'`, ``: `''`} {
		if got := string(AppendQuoted(nil, []byte(in))); got != want {
			t.Errorf("%s: %s, not %s", in, got, want)
		}
	}
}
