package bosh

import (
	"strings"
	"testing"

	"megaphone/codec/markup"
)

const m1 = "<message xmlns='jabber:client' id='1'/>"

// bodies are valid and invalid contents of a request's <body>, with the payloads that the service gets.
var bodies = []struct {
	name    string
	content string   // between the start tag and the end of the input
	want    []string // nil: bad-request
}{
	{"nothing", `</body>`, []string{}},
	{"one", m1 + `</body>`, []string{m1}},
	{"two", m1 + m1 + `</body>`, []string{m1, m1}},
	{"white space around", "\r\n\t" + m1 + " \n</body>\n ", []string{m1}},
	{"text in a payload", `<a xmlns='x'>text</a></body>`, []string{`<a xmlns='x'>text</a>`}},
	{"nested", `<a xmlns='x'><b><c/></b></a></body>`, []string{`<a xmlns='x'><b><c/></b></a>`}},
	{"predefined entities", `<a xmlns='x'>&lt;&gt;&amp;&quot;&apos;</a></body>`,
		[]string{`<a xmlns='x'>&lt;&gt;&amp;&quot;&apos;</a>`}},
	{"character references", `<a xmlns='x' b='&#9;'>&#65;&#x1F600;</a></body>`,
		[]string{`<a xmlns='x' b='&#9;'>&#65;&#x1F600;</a>`}},
	{"CDATA in a payload", `<a xmlns='x'><![CDATA[<>&]]></a></body>`, []string{`<a xmlns='x'><![CDATA[<>&]]></a>`}},
	{"brackets", `<a xmlns='x'>]] ]>]</a></body>`, []string{`<a xmlns='x'>]] ]>]</a>`}},
	{"beyond ASCII", `<å xmlns='x' ö='ü'>😀</å></body>`, []string{`<å xmlns='x' ö='ü'>😀</å>`}},
	{"white space in tags", "<a xmlns = 'x'\n b=\"'\" ><c /></a ></body >",
		[]string{"<a xmlns = 'x'\n b=\"'\" ><c /></a >"}},
	{"default namespace", `<iq><q xmlns='y'/></iq></body>`, []string{`<iq xmlns='jabber:client'><q xmlns='y'/></iq>`}},
	{"default needed inside", `<x:a xmlns:x='x'><b/></x:a></body>`,
		[]string{`<x:a xmlns='jabber:client' xmlns:x='x'><b/></x:a>`}},
	{"default not needed", `<x:a xmlns:x='x'><x:b/></x:a></body>`, []string{`<x:a xmlns:x='x'><x:b/></x:a>`}},
	{"no namespace", `<a xmlns=''/></body>`, []string{`<a xmlns=''/>`}},
	{"prefix of the body", `<p:a p:b='1'/></body>`, []string{`<p:a xmlns:p='urn:p' p:b='1'/>`}},
	{"prefix declared again", `<p:a xmlns:p='other'/></body>`, []string{`<p:a xmlns:p='other'/>`}},
	{"xml:lang", `<a xmlns='x' xml:lang='en'/></body>`, []string{`<a xmlns='x' xml:lang='en'/>`}},
	{"same local name", `<a xmlns='x' xmlns:q='y' b='1' p:b='2' q:b='3'/></body>`,
		[]string{`<a xmlns:p='urn:p' xmlns='x' xmlns:q='y' b='1' p:b='2' q:b='3'/>`}},

	{"no end", m1, nil},
	{"partial element", `<a xmlns='x'></body>`, nil},
	{"partial tag", `<a xmlns='x'`, nil},
	{"wrong end", `<a xmlns='x'></b></body>`, nil},
	{"wrong prefix at the end", `<p:a></q:a></body>`, nil},
	{"body ends twice", `</body></body>`, nil},
	{"element after the body", `</body>` + m1, nil},
	{"text after the body", `</body>text`, nil},
	{"text", `text</body>`, nil},
	{"text between", m1 + `text` + m1 + `</body>`, nil},
	{"reference as text", `&#32;</body>`, nil},
	{"CDATA as text", `<![CDATA[ ]]></body>`, nil},
	{"comment", `<!-- --></body>`, nil},
	{"comment in a payload", `<a xmlns='x'><!-- --></a></body>`, nil},
	{"processing instruction", `<?a b?></body>`, nil},
	{"processing instruction in a payload", `<a xmlns='x'><?a b?></a></body>`, nil},
	{"DTD", `<!DOCTYPE a></body>`, nil},
	{"DTD in a payload", `<a xmlns='x'><!DOCTYPE a></a></body>`, nil},
	{"entity", `<a xmlns='x'>&nbsp;</a></body>`, nil},
	{"entity in a value", `<a xmlns='x' b='&nbsp;'/></body>`, nil},
	{"bare ampersand", `<a xmlns='x'>&</a></body>`, nil},
	{"reference to NUL", `<a xmlns='x'>&#0;</a></body>`, nil},
	{"reference to a surrogate", `<a xmlns='x'>&#xD800;</a></body>`, nil},
	{"reference too large", `<a xmlns='x'>&#x110000;</a></body>`, nil},
	{"reference without digits", `<a xmlns='x'>&#;</a></body>`, nil},
	{"endless reference", `<a xmlns='x'>&#1111111111111111111111</a></body>`, nil},
	{"control character", "<a xmlns='x'>\x01</a></body>", nil},
	{"control character in CDATA", "<a xmlns='x'><![CDATA[\x01]]></a></body>", nil},
	{"CDATA without end", "<a xmlns='x'><![CDATA[]]</a></body>", nil},
	{"bad UTF-8", "<a xmlns='x'>\xff</a></body>", nil},
	{"bad UTF-8 in a value", "<a xmlns='x' b='\xc3'/></body>", nil},
	{"bad UTF-8 in CDATA", "<a xmlns='x'><![CDATA[\xc3]]></a></body>", nil},
	{"bad UTF-8 in a name", "<a\xff xmlns='x'/></body>", nil},
	{"U+FFFE", "<a xmlns='x'>\uFFFE</a></body>", nil},
	{"end of CDATA in text", `<a xmlns='x'>]]></a></body>`, nil},
	{"less-than in a value", `<a xmlns='x' b='<'/></body>`, nil},
	{"no space between attributes", `<a xmlns='x'b='1'/></body>`, nil},
	{"no value", `<a xmlns='x' b/></body>`, nil},
	{"no quotes", `<a xmlns='x' b=1/></body>`, nil},
	{"quotes differ", `<a xmlns='x' b='1"/></body>`, nil},
	{"attribute twice", `<a xmlns='x' b='1' b='2'/></body>`, nil},
	{"attribute twice by namespace", `<a xmlns='x' xmlns:q='urn:p' p:b='1' q:b='2'/></body>`, nil},
	{"undeclared prefix", `<q:a/></body>`, nil},
	{"undeclared prefix of an attribute", `<a xmlns='x' q:b='1'/></body>`, nil},
	{"prefix out of scope", `<a xmlns='x'><b xmlns:q='q'/><q:c/></a></body>`, nil},
	{"prefix undone", `<a xmlns='x' xmlns:p=''/></body>`, nil},
	{"prefix xml bound to something", `<a xmlns='x' xmlns:xml='y'/></body>`, nil},
	{"prefix xmlns declared", `<a xmlns='x' xmlns:xmlns='y'/></body>`, nil},
	{"xml's namespace with another prefix", `<a xmlns:q='http://www.w3.org/XML/1998/namespace'/></body>`, nil},
	{"two colons", `<a:b:c xmlns:a='x'/></body>`, nil},
	{"name begins with a colon", `<:a xmlns='x'/></body>`, nil},
	{"name ends with a colon", `<p: xmlns='x'/></body>`, nil},
	{"name begins with a digit", `<1 xmlns='x'/></body>`, nil},
	{"too deep", strings.Repeat("<a>", maxDepth+1) + strings.Repeat("</a>", maxDepth+1) + `</body>`, nil},
	{"too many attributes", `<a ` + numbered(`a`, `='' `, markup.MaxAttributes+1) + `/></body>`, nil},
	{"too many declarations", `<a ` + numbered(`xmlns:a`, `='x' `, markup.MaxAttributes) + `/></body>`, nil},
}

// numbered returns n copies of a, a number, b.
func numbered(a, b string, n int) string {
	var s strings.Builder
	for i := range n {
		s.WriteString(a + strings.Repeat("x", i) + b)
	}
	return s.String()
}

// TestRow06OneWellFormedBody: no comments, PIs, DTD, entities, text, partial elements (section 6).
func TestRow06OneWellFormedBody(t *testing.T) {
	for _, c := range bodies {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Config{})
			cl := r.open("")
			cl.rid++
			head := "<body rid='1001' sid='" + cl.sid + "' xmlns:p='urn:p' xmlns='" + bodyNamespace + "'>"
			id := r.post(head + c.content)
			if c.want == nil {
				r.want(id, condition(BadRequest))
				if len(r.svc.stanzas) > 0 {
					t.Errorf("the service got %q of a body that is bad", r.svc.stanzas)
				}
				cl.wantGone()
				return
			}
			r.wantHeld(id)
			if got := strings.Join(r.svc.stanzas, "|"); got != strings.Join(c.want, "|") {
				t.Errorf("the service got\n%s\nwant\n%s", got, strings.Join(c.want, "|"))
			}
		})
	}
}

// TestRow06Truncated: every proper prefix of a valid body is invalid.
func TestRow06Truncated(t *testing.T) {
	for _, c := range bodies {
		if c.want == nil {
			continue
		}
		whole := "<body rid='1001' xmlns:p='urn:p' xmlns='" + bodyNamespace + "'>" + strings.TrimRight(c.content, " \n")
		for n := range len(whole) {
			if _, ok := split(whole[:n]); ok {
				t.Errorf("%s: %q passes", c.name, whole[:n])
			}
		}
		if _, ok := split(whole); !ok {
			t.Errorf("%s: %q does not pass", c.name, whole)
		}
	}
}

// TestRow06Root checks the input around the root, and the root's tag.
func TestRow06Root(t *testing.T) {
	for _, c := range []struct {
		body string
		ok   bool
	}{
		{"\uFEFF<?xml version='1.0' encoding='UTF-8'?>\n" +
			"<body rid='9' to='a' ver='1.6' xmlns='" + bodyNamespace + "'/> \n", true},
		{"<h:body rid='9' to='a' ver='1.6' xmlns:h='" + bodyNamespace + "'></h:body>", true},
		{"<body rid='9' to='a' ver='1.6' xmlns='" + bodyNamespace + "' a='&bad;'/>", false},
		{"<body rid='9' to='a' ver='1.6' xmlns='" + bodyNamespace + "' rid='9'/>", false},
		{"<body rid='9' to='a' ver='1.6' xmlns='" + bodyNamespace + "'/>text", false},
		{"<body rid='9' to='a' ver='1.6' xmlns='" + bodyNamespace + "'/><a/>", false},
		{"<body rid='9' to='a' ver='1.6' xmlns='wrong'/>", false},
		{"<!-- --><body rid='9' to='a' ver='1.6' xmlns='" + bodyNamespace + "'/>", false},
		{"<nobody rid='9' to='a' ver='1.6' xmlns='" + bodyNamespace + "'/>", false},
		{"<body to='a' ver='1.6' xmlns='" + bodyNamespace + "'/>", false},
		{"", false},
	} {
		r := newRig(t, Config{})
		id := r.post(c.body)
		if got := r.wire.replies[id].body; (attr(got, "sid") != "") != c.ok {
			t.Errorf("%s\ngot %s", c.body, got)
		} else if !c.ok && got != condition(BadRequest) {
			t.Errorf("%s\ngot %s", c.body, got)
		}
	}
}

// TestRow06TooLarge: the size of a request is bounded.
func TestRow06TooLarge(t *testing.T) {
	r := newRig(t, Config{MaxBodyBytes: 1000})
	c := r.open("")
	r.wantHeld(c.send("", "<a xmlns='x'>"+strings.Repeat("a", 700)+"</a>"))
	r.want(c.send("", "<a xmlns='x'>"+strings.Repeat("a", 1000)+"</a>"), condition(BadRequest))
}

// TestRow06ForeignDefaultNamespace: a prefixed root leaves the default namespace to the payloads.
func TestRow06ForeignDefaultNamespace(t *testing.T) {
	r := newRig(t, Config{})
	c := r.open("")
	r.post(`<h:body xmlns:h='` + bodyNamespace + `' xmlns="it's" rid='1001' sid='` + c.sid + `'><a><b/></a></h:body>`)
	if want := `<a xmlns="it's"><b/></a>`; len(r.svc.stanzas) != 1 || r.svc.stanzas[0] != want {
		t.Errorf("got %q, want %q", r.svc.stanzas, want)
	}
}
