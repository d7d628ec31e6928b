package chat

import (
	"bytes"
	"encoding/xml"
	"syscall"
	"testing"
)

// elementCases are the cases of TestElement and BenchmarkParseElement.
var elementCases = []struct {
	name, in, parent              string
	local, space, to, id, kind    string
	children                      int
	text                          string
	wantNoSpace, wantTo, wantKind bool
}{
	{name: "empty", in: `<presence/>`, local: "presence", wantNoSpace: true},
	{name: "message",
		in:    `<message xmlns='jabber:client' to='bob@example.org' type="chat" id='1'><body>hi</body></message>`,
		local: "message", space: "jabber:client", to: "bob@example.org", id: "1", kind: "chat", children: 1,
		wantTo: true, wantKind: true},
	{name: "white space", in: "<iq\n xmlns = 'jabber:client'\t to\r=\n\"a>b/c\" \n><a/> <b></b\n></iq >", local: "iq",
		space: "jabber:client", to: "a>b/c", children: 2, text: " ", wantTo: true},
	{name: "prefix", in: `<p:x xmlns:p="urn:p" xmlns="urn:q"/>`, local: "x", space: "urn:p"},
	{name: "prefix of the parent", in: `<p:x/>`, parent: `<y xmlns:p='urn:p' xmlns='urn:y'/>`, local: "x",
		space: "urn:p"},
	{name: "default of the parent", in: `<x/>`, parent: `<y xmlns='urn:y'/>`, local: "x", space: "urn:y"},
	{name: "default beside a prefixed parent", in: `<x/>`, parent: `<p:y xmlns:p='urn:p' xmlns='urn:y'/>`, local: "x",
		space: "urn:y"},
	{name: "prefix like the parent's", in: `<p:x/>`, parent: `<p:y xmlns:p='urn:p'/>`, local: "x", space: "urn:p"},
	{name: "text", in: `<t>a&lt;<b>no<c/></b>&#x20AC;&#65;<![CDATA[<&amp;>]]>z</t>`, local: "t",
		children: 1, text: "a<€A<&amp;>z", wantNoSpace: true},
	{name: "nested", in: `<a><a><a/></a><a></a></a>`, local: "a", children: 2, wantNoSpace: true},
	{name: "markup in data", in: `<a x='/a>'><![CDATA[</a>]]><b/></a>`, local: "a", children: 1,
		text: "</a>", wantNoSpace: true},
	{name: "empty to", in: `<iq to=''/>`, local: "iq", wantTo: true, wantNoSpace: true},
	{name: "namespaced attributes", in: `<iq x:to='a' xmlns:x='urn:x'/>`, local: "iq", wantNoSpace: true},
}

func TestElement(t *testing.T) {
	for _, tc := range elementCases {
		t.Run(tc.name, func(t *testing.T) {
			for n := 0; n < len(tc.in); n++ {
				walk(t, protected(t, tc.in[:n])) // cut anywhere: nothing beyond the end is read
			}
			p := protected(t, tc.in)
			var e, parent element
			var from *element
			if tc.parent != "" {
				if !parseElement(&parent, []byte(tc.parent), nil) {
					t.Fatal("parent")
				}
				from = &parent
			}
			if !parseElement(&e, p, from) {
				t.Fatal("not parsed")
			}
			for _, f := range []struct{ what, got, want string }{
				{"local", string(e.local), tc.local}, {"space", string(e.space), tc.space},
				{"to", string(e.to), tc.to}, {"id", string(e.id), tc.id}, {"type", string(e.kind), tc.kind},
				{"text", string(e.appendText(nil)), tc.text},
			} {
				if f.got != f.want {
					t.Errorf("%s: got %q, want %q", f.what, f.got, f.want)
				}
			}
			if (e.space == nil) != tc.wantNoSpace || (e.to != nil) != tc.wantTo || (e.kind != nil) != tc.wantKind {
				t.Errorf("absent attributes: space %v, to %v, kind %v", e.space, e.to, e.kind)
			}
			children := 0
			var child element
			for i, ok := e.child(&child, 0); ok; i, ok = e.child(&child, i) {
				children++
			}
			if children != tc.children || e.onlyChild(&child) != (tc.children == 1) {
				t.Errorf("%d children, want %d", children, tc.children)
			}
		})
	}
}

func TestElementRefused(t *testing.T) {
	for _, in := range []string{
		"", "x", "<", "<>", "< a/>", "</a>", "<a", "<a/", "<:/>", "<a b/>", "<a b=/>", "<a b=c/>", "<a b='/>",
		"<a b='c'", "<a to='1' to='2'/>",
		"<a from='1' from='2'/>", "<a id='1' id='2'/>", "<a xmlns='1' xmlns='2'/>", "<a / >",
	} {
		var e element
		if parseElement(&e, protected(t, in), nil) {
			t.Errorf("%q was taken", in)
		}
	}
}

// walk visits all of an element, whatever it is.
func walk(t *testing.T, p []byte) {
	var e, child element
	if !parseElement(&e, p, nil) {
		return
	}
	e.appendText(nil)
	e.attribute("xmlns")
	for i, ok := e.child(&child, 0); ok; i, ok = e.child(&child, i) {
		if child.tagEnd > len(child.raw) {
			t.Fatalf("%q: a tag that ends outside of its element", p)
		}
		walk(t, child.raw)
	}
}

// protected copies s to the end of a page before an inaccessible one.
func protected(t testing.TB, s string) []byte {
	t.Helper()
	page := syscall.Getpagesize()
	size := (len(s) + page) / page * page
	m, err := syscall.Mmap(-1, 0, size+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(m) })
	if err := syscall.Mprotect(m[size:], syscall.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	p := m[size-len(s) : size : size]
	copy(p, s)
	return p
}

// TestForward: the forwarded stanza is well-formed, and all other bytes are unchanged.
func TestForward(t *testing.T) {
	for _, tc := range []struct{ in, want, stripped string }{
		{`<message/>`, `<message xmlns='jabber:client' from='F'/>`, `<message xmlns='jabber:client' from='F'/>`},
		{`<message id="1" to='T' from='X' a='b' xmlns='jabber:client'><b>&lt;</b></message>`,
			`<message xmlns='jabber:client' from='F' id="1" to='T' a='b'><b>&lt;</b></message>`,
			`<message xmlns='jabber:client' from='F' a='b'><b>&lt;</b></message>`},
		{"<message xmlns='jabber:client'\n\tfrom = \"X\"\n/>", "<message xmlns='jabber:client' from='F'\n/>",
			"<message xmlns='jabber:client' from='F'\n/>"},
		{`<message xmlns:from='x' from:to='y' to='T'></message>`,
			`<message xmlns='jabber:client' from='F' xmlns:from='x' from:to='y' to='T'></message>`,
			`<message xmlns='jabber:client' from='F' xmlns:from='x' from:to='y'></message>`},
	} {
		var e element
		if !parseElement(&e, []byte(tc.in), nil) {
			t.Fatalf("%s: not parsed", tc.in)
		}
		if got := string(appendForwarded(nil, &e, "F")); got != tc.want {
			t.Errorf("got  %s\nwant %s", got, tc.want)
		}
		if got := string(appendRest(appendStart(nil, &e, "F"), &e, cutNames)); got != tc.stripped {
			t.Errorf("got  %s\nwant %s", got, tc.stripped)
		}
	}
}

// isWellFormed reports whether p is one element by encoding/xml, and by bosh's rules: no comments and the like.
func isWellFormed(p []byte) bool {
	d := xml.NewDecoder(bytes.NewReader(p))
	depth, elements := 0, 0
	for {
		token, err := d.RawToken()
		if err != nil {
			return elements == 1 && depth == 0 && err.Error() == "EOF" && xml.Unmarshal(p, new(any1)) == nil
		}
		switch token := token.(type) {
		case xml.StartElement:
			if depth == 0 {
				elements++
			}
			depth++
			seen := map[xml.Name]bool{}
			for _, a := range token.Attr {
				if seen[a.Name] {
					return false
				}
				seen[a.Name] = true
			}
		case xml.EndElement:
			depth--
		case xml.CharData:
			if depth == 0 {
				return false
			}
		default:
			return false
		}
	}
}

// any1 matches any element.
type any1 struct {
	XMLName xml.Name
	Attrs   []xml.Attr `xml:",any,attr"`
	Inner   string     `xml:",innerxml"`
}

func BenchmarkParseElement(b *testing.B) {
	for _, tc := range elementCases {
		b.Run(tc.name, func(b *testing.B) {
			p := []byte(tc.in)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				var e element
				if !parseElement(&e, p, nil) {
					b.Fatal("not parsed")
				}
			}
		})
	}
}
