package bosh

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"megaphone/codec/boshbody"
	"megaphone/internal/corpus"
)

// split treats a request's body as the engine does. It returns the payloads, or not ok.
func split(body string) (payloads []string, ok bool) {
	var x splitter
	var b boshbody.StartTag
	p := []byte(body)
	if boshbody.Parse(&b, p) != nil || !x.open(p, &b) || !x.children() {
		return nil, false
	}
	for i := range x.payloads {
		payloads = append(payloads, string(x.payload(i)))
	}
	return payloads, true
}

// tokens returns a document as encoding/xml reads it, one string per token.
func tokens(doc string) (list []string, err error) {
	d := xml.NewDecoder(strings.NewReader(doc))
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return list, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			s := "<" + t.Name.Space + " " + t.Name.Local
			for _, a := range t.Attr {
				if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" { // the names already contain their meaning
					s += fmt.Sprintf(" %s:%s=%q", a.Name.Space, a.Name.Local, a.Value)
				}
			}
			list = append(list, s)
		case xml.EndElement:
			list = append(list, ">")
		case xml.CharData:
			if n := len(list); n > 0 && strings.HasPrefix(list[n-1], "'") {
				list[n-1] += string(t)
			} else {
				list = append(list, "'"+string(t))
			}
		default:
			list = append(list, fmt.Sprintf("%T", t))
		}
	}
}

// check compares the splitter with encoding/xml, which accepts more and knows fewer letters.
func check(t *testing.T, content string) {
	const head = "<body rid='1' xmlns:p='urn:p' xmlns='" + bodyNamespace + "'>"
	payloads, ok := split(head + content + "</body>")
	whole, err := tokens(head + content + "</body>")
	if !ok {
		return
	}
	if err != nil {
		if strings.Contains(err.Error(), "invalid XML name") && !isASCII(content) {
			return // names of the fifth edition
		}
		t.Fatalf("encoding/xml does not accept %q: %v", content, err)
	}
	// Joined, the payloads equal the input, except for white space between them and the namespace that a payload
	// declares in its new place.
	var want []string
	depth := 0
	for _, tok := range whole[1 : len(whole)-1] {
		switch {
		case tok[0] == '<':
			depth++
		case tok[0] == '>':
			depth--
		case depth == 0:
			if strings.TrimSpace(tok[1:]) != "" {
				t.Fatalf("text between payloads passes in %q", content)
			}
			continue
		case tok[0] != '\'':
			t.Fatalf("%s passes in %q", tok, content)
		}
		want = append(want, strings.Replace(tok, "<"+bodyNamespace+" ", "<"+clientNamespace+" ", 1))
	}
	var got []string
	for _, p := range payloads {
		toks, err := tokens(p)
		if err != nil {
			t.Fatalf("payload %q of %q: %v", p, content, err)
		}
		if n := strings.Count(strings.Join(toks, "\n"), "\n") + 1; n < 2 {
			t.Fatalf("payload %q of %q is no element", p, content)
		}
		got = append(got, toks...)
		// An extracted payload is self-contained: it passes again unchanged.
		once, ok := split(head + p + "</body>")
		if !ok || len(once) != 1 || once[0] != p {
			t.Fatalf("payload %q of %q is %q when split again", p, content, once)
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Fatalf("%q\nsplit:\n%s\nencoding/xml:\n%s", content, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// TestSplitterAgainstEncodingXML checks the cases of row 6, and each of them with a changed or missing byte.
func TestSplitterAgainstEncodingXML(t *testing.T) {
	for _, c := range bodies {
		content := strings.TrimSuffix(strings.TrimRight(c.content, " \n"), "</body>")
		check(t, content)
		if len(content) > 200 {
			continue
		}
		for i := range len(content) {
			check(t, content[:i]+content[i+1:])
			for _, b := range "<>'& :" {
				check(t, content[:i]+string(b)+content[i+1:])
			}
		}
	}
}

func FuzzBodyPayload(f *testing.F) {
	corpus.Add(f)
	for _, c := range bodies {
		f.Add(strings.TrimSuffix(strings.TrimRight(c.content, " \n"), "</body>"))
	}
	f.Fuzz(check)
}

// TestSplitterIsLinear: four times the input takes about four times as long, whatever it contains. Sixteen times would
// be quadratic.
func TestSplitterIsLinear(t *testing.T) {
	best := func(content string) time.Duration {
		doc := []byte("<body rid='1' xmlns='" + bodyNamespace + "'>" + content + "</body>")
		var x splitter
		var body boshbody.StartTag
		least := time.Hour
		for range 10 {
			start := time.Now()
			boshbody.Parse(&body, doc)
			x.open(doc, &body)
			x.children()
			least = min(least, time.Since(start))
		}
		return least
	}
	for name, unit := range map[string]string{
		"open tags":    "<a>",
		"prefixes":     "<p:a xmlns:p='x'/>",
		"brackets":     "<a>]]]]]]]]]]]]]]]]</a>",
		"references":   "<a>&#1234;</a>",
		"long name":    "<" + strings.Repeat("a", 1000) + "/>",
		"many cdatas":  "<a><![CDATA[]]></a>",
		"open cdatas":  "<a><![CDATA[",
		"white space":  "<a                            b=''/>",
		"quote soup":   "<a b='\"\"\"\"\"\"\"\"' c=\"''''''\"/>",
		"declarations": "<a xmlns:a='1' xmlns:b='2' xmlns:c='3' a:a='' b:a='' c:a=''/>",
	} {
		n := 50_000/len(unit) + 1
		var one, four time.Duration
		linear := false
		for try := 0; try < 3 && !linear; try++ { // on a starved machine even the best of ten may be late once
			one, four = best(strings.Repeat(unit, n)), best(strings.Repeat(unit, 4*n))
			linear = four <= 10*one+time.Millisecond
		}
		if !linear {
			t.Errorf("%s: %d bytes take %v, four times as many %v", name, n*len(unit), one, four)
		}
	}
}

func BenchmarkSplitter(b *testing.B) {
	stanza := "<message to='juliet@example.com/balcony' type='chat' id='17' xmlns='jabber:client'><body>" +
		strings.Repeat("wherefore art thou ", 10) + "</body>" +
		"<active xmlns='http://jabber.org/protocol/chatstates'/></message>"
	doc := []byte("<body rid='1' xmlns='" + bodyNamespace + "'>" + stanza + "</body>")
	var x splitter
	var body boshbody.StartTag
	b.ReportAllocs()
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		if boshbody.Parse(&body, doc) != nil || !x.open(doc, &body) || !x.children() || len(x.payloads) != 1 {
			b.Fatal("not one payload")
		}
	}
}
