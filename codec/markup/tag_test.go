package markup

import (
	"fmt"
	"strings"
	"testing"

	"megaphone/codec/internal/codectest"
)

// readTag returns a start tag as text, or its fault.
func readTag(t testing.TB, p []byte) string {
	var tag Tag
	if f := tag.Open(p, 0); f != OK {
		return faultNames[f]
	}
	codectest.Inside(t, p, tag.Name)
	s := string(p[1:tag.NameEnd])
	for {
		name, value, ok := tag.Next()
		if !ok {
			break
		}
		codectest.Inside(t, p, name, value)
		if end := tag.ValueFrom + len(value); string(p[tag.ValueFrom:end]) != string(value) || tag.To != end+1 {
			t.Errorf("%q: value %q at %d, attribute up to %d", p, value, tag.ValueFrom, tag.To)
		}
		n := Split(name)
		s += fmt.Sprintf("|%s:%s=%s", n.Prefix, n.Local, value)
	}
	if tag.Fault != OK {
		return faultNames[tag.Fault]
	}
	if tag.Empty {
		s += "|/"
	}
	return s + string(p[tag.End:])
}

var faultNames = [...]string{OK: "ok", Incomplete: "incomplete", Syntax: "syntax", Character: "character",
	Reference: "reference", Repeated: "repeated", TooMany: "too many", Declaration: "declaration",
	Outside: "outside", Comment: "comment", Instruction: "instruction", DocumentType: "document type"}

type markupCase struct{ name, in, want string }

var tagCases = []markupCase{
	{"name", "<a>", "a"},
	{"empty element", "<a/>", "a|/"},
	{"what follows is not read", "<a>\x00<", "a\x00<"},
	{"prefixes", "<p:a q:b='c'>", "p:a|q:b=c"},
	{"white space", "<a\n b\t= 'c'\r\nd =\n\"e\" />", "a|:b=c|:d=e|/"},
	{"quotes in quotes", `<a b='"' c="'">`, `a|:b="|:c='`},
	{"marks in a value", "<a b='/>]]>'>", "a|:b=/>]]>"},
	{"references stay", "<a b='&lt;&#65;&#x10FFFF;&amp;&gt;&quot;&apos;'>",
		"a|:b=&lt;&#65;&#x10FFFF;&amp;&gt;&quot;&apos;"},
	{"empty value", "<a b=''>", "a|:b="},
	{"names beyond ASCII", "<\u00e9\u0301 \U00010000x='\ufffd'>", "\u00e9\u0301|:\U00010000x=\ufffd"},
	{"names that differ by prefix", "<a b='1' p:b='2'>", "a|:b=1|p:b=2"},
	{"64 attributes", "<a" + attributes(64) + ">",
		"a" + strings.NewReplacer(" ", "|:", "''", "").Replace(attributes(64))},
	{"65 attributes", "<a" + attributes(65) + ">", "too many"},
	{"no name", "< a>", "syntax"},
	{"digit first", "<1>", "syntax"},
	{"a rune that begins no name", "<\u0301>", "syntax"},
	{"a rune of no name", "<a\u00d7>", "syntax"},
	{"two colons", "<a:b:c>", "syntax"},
	{"no prefix", "<:a>", "syntax"},
	{"no local name", "<a:>", "syntax"},
	{"no space between attributes", "<a b='c'd='e'>", "syntax"},
	{"no value", "<a b>", "syntax"},
	{"no quotes", "<a b=c>", "syntax"},
	{"slash alone", "<a / >", "syntax"},
	{"'<' in a value", "<a b='<'>", "syntax"},
	{"control in a value", "<a b='\x01'>", "character"},
	{"no character", "<a b='\uffff'>", "character"},
	{"broken UTF-8 in a value", "<a b='\xff'>", "character"},
	{"broken UTF-8 in a name", "<a\xc3(>", "character"},
	{"a surrogate", "<a b='\xed\xa0\x80'>", "character"},
	{"unknown entity", "<a b='&nbsp;'>", "reference"},
	{"entity without semicolon", "<a b='&lt '>", "reference"},
	{"ampersand", "<a b='a & b'>", "reference"},
	{"reference to no character", "<a b='&#0;'>", "reference"},
	{"reference to a surrogate", "<a b='&#xD800;'>", "reference"},
	{"reference beyond Unicode", "<a b='&#99999999999999999999;'>", "reference"},
	{"reference without digits", "<a b='&#;'>", "reference"},
	{"hexadecimal without x", "<a b='&#A;'>", "reference"},
	{"repeated", "<a b='1' c='' b='1'>", "repeated"},
	{"repeated with a prefix", "<a p:b='1' p:b='2'>", "repeated"},
	{"value without end", "<a b='>", "incomplete"},
	{"nothing", "<", "incomplete"},
}

func attributes(n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, " a%d=''", i)
	}
	return s.String()
}

// drain reads the attributes.
func drain(t *Tag) {
	for ok := true; ok; {
		_, _, ok = t.Next()
	}
}

func TestTags(t *testing.T) {
	g := codectest.NewPage(t)
	for _, c := range tagCases {
		t.Run(c.name, func(t *testing.T) {
			if got := readTag(t, g.Put(c.in)); got != c.want {
				t.Errorf("%q:\n got %q\nwant %q", c.in, got, c.want)
			}
		})
	}
}

var prologCases = []markupCase{
	{"nothing before", "<a/>", "0"},
	{"a byte order mark", "\xEF\xBB\xBF<a/>", "3"},
	{"white space", " \t\r\n<a/>", "4"},
	{"a declaration", "<?xml version='1.0' encoding='utf-8' standalone='yes' ?>\n<a/>", "57"},
	{"nothing", "", "incomplete"},
	{"'<' alone", "<", "incomplete"},
	{"text", "a<b/>", "outside"},
	{"comment", "<!--a--><b/>", "comment"},
	{"instruction", "<?a?><b/>", "instruction"},
	{"document type", "<!DOCTYPE a><a/>", "document type"},
	{"another encoding", "<?xml version='1.0' encoding='latin1'?><a/>", "declaration"},
	{"no version", "<?xml encoding='utf-8'?><a/>", "declaration"},
	{"declaration without end", "<?xml version='1.0'", "declaration"},
	{"half a name", "<?xml versio", "declaration"},
}

// TestReuseAfterAFault: nothing of longer input is left in a Tag or a Scanner, and a fault stays.
func TestReuseAfterAFault(t *testing.T) {
	for _, in := range []string{"<", "<1", "<a", "<a:", "<\xff", "<a b"} {
		var s Scanner
		s.Reset([]byte("<first attribute='and a long value'></first>"), 0)
		for s.Next() {
		}
		s.Reset([]byte(in), 0)
		for range 3 {
			if s.Next() {
				drain(&s.Tag)
			}
		}
		if s.Fault == OK {
			t.Errorf("%q: no fault", in)
		}
		want := s.Fault
		if _, _, ok := s.Tag.Next(); ok || s.Next() || s.Fault != want {
			t.Errorf("%q: a token after fault %d", in, want)
		}
	}
}

func TestProlog(t *testing.T) {
	g := codectest.NewPage(t)
	for _, c := range prologCases {
		root, f := Prolog(g.Put(c.in))
		got := faultNames[f]
		if f == OK {
			got = fmt.Sprint(root)
		}
		if got != c.want {
			t.Errorf("%s: %q: %s, not %s", c.name, c.in, got, c.want)
		}
	}
}

func TestNothingAllocates(t *testing.T) {
	for _, c := range tagCases {
		p := []byte(c.in)
		codectest.NoAllocs(t, c.name, func() {
			var tag Tag
			tag.Open(p, 0)
			drain(&tag)
		})
	}
	for _, c := range contentCases {
		p := []byte(c.in)
		codectest.NoAllocs(t, c.name, func() {
			var s Scanner
			for s.Reset(p, 0); s.Next(); {
			}
		})
	}
}

func BenchmarkTag(b *testing.B) {
	p := []byte("<message to='juliet@example.com/balcony' type='chat' id='17' xmlns='jabber:client'>")
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		var tag Tag
		tag.Open(p, 0)
		drain(&tag)
		if tag.Fault != OK {
			b.Fatal(tag.Fault)
		}
	}
}
