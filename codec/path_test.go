package codec

import (
	"net/url"
	"strings"
	"testing"
)

var pathCases = []struct{ in, want string }{ // "" is not ok
	{"/", "/"},
	{"/http-bind", "/http-bind"},
	{"/http-bind/", "/http-bind"},
	{"/http-bind//", "/http-bind//"},
	{"//http-bind", "//http-bind"},
	{"//", "//"},
	{"/a//b", "/a//b"},
	{"/a/b/", "/a/b"},
	// Unreserved characters, escaped or not (RFC 3986 section 6.2.2.2).
	{"/%68ttp%2Dbind", "/http-bind"},
	{"/http%2dbind", "/http-bind"},
	{"/%41%5A%61%7A%30%39%2D%2E%5F%7E", "/AZaz09-._~"},
	{"/HTTP-BIND", "/HTTP-BIND"},
	// All others stay escaped, in capitals (6.2.2.1).
	{"/%2fhttp-bind", "/%2Fhttp-bind"},
	{"/http-bind%2F", "/http-bind%2F"},
	{"/http-bind%00", "/http-bind%00"},
	{"/http-bind%0d%0a", "/http-bind%0D%0A"},
	{"/http-bind%3fa", "/http-bind%3Fa"},
	{"/a%5c..%5cb", "/a%5C..%5Cb"},
	{"/%c3%a9", "/%C3%A9"},
	{"/%2568", "/%2568"}, // decoded once
	{"/a;b=c@d:e!$&'()*+,", "/a;b=c@d:e!$&'()*+,"},
	// Dot segments (6.2.2.3), the examples of section 5.2.4 among them.
	{"/a/b/c/./../../g", "/a/g"},
	{"/./http-bind", "/http-bind"},
	{"/x/../http-bind", "/http-bind"},
	{"/../../http-bind", "/http-bind"},
	{"/x/%2E%2e/http-bind", "/http-bind"},
	{"/%2e/http-bind", "/http-bind"},
	{"/http-bind/.", "/http-bind"},
	{"/http-bind/x/..", "/http-bind"},
	{"/http-bind/x/../", "/http-bind"},
	{"/http-bind/..", "/"},
	{"/..", "/"},
	{"/.", "/"},
	{"//..", "/"},
	{"//../x", "/x"},
	{"/a//../b", "/a/b"},
	{"/...", "/..."},
	{"/.a/..b/c.", "/.a/..b/c."},
	{"/x%2f../a", "/x%2F../a"},
	// No paths.
	{"", ""}, {"*", ""}, {"http-bind", ""}, {"%2Fhttp-bind", ""},
	{"/%", ""}, {"/%6", ""}, {"/%6/8", ""}, {"/%g8", ""}, {"/%8g", ""}, {"/a%%41", ""}, {"/x%/../a", ""},
}

func normalPath(p string) string {
	got, ok := AppendNormalPath([]byte("before"), []byte(p))
	if !ok {
		got = got[:len("before")]
	}
	return strings.TrimPrefix(string(got), "before")
}

func TestNormalPath(t *testing.T) {
	g := newPage(t)
	for _, c := range pathCases {
		if got := normalPath(c.in); got != c.want {
			t.Errorf("%q is %q, want %q", c.in, got, c.want)
		}
		p := g.put(c.in)
		buf := make([]byte, 0, len(c.in))
		noAllocs(t, c.in, func() { AppendNormalPath(buf, p) })
	}
}

// FuzzNormalPath: the normal form is the normal form of itself and of all spellings of it, no longer than what it is
// made of, and means the same to the standard library.
func FuzzNormalPath(f *testing.F) {
	for _, c := range pathCases {
		f.Add(c.in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got := normalPath(in)
		if got == "" {
			if u, err := url.Parse(in); err == nil && strings.HasPrefix(in, "/") && !strings.ContainsAny(in, "?#") &&
				!strings.HasPrefix(in, "//") {
				t.Fatalf("%q has no normal form, and is the path %q to net/url", in, u.EscapedPath())
			}
			return
		}
		if len(got) > len(in) || got[0] != '/' {
			t.Fatalf("%q became %q", in, got)
		}
		if again := normalPath(got); again != got {
			t.Fatalf("%q became %q and then %q", in, got, again)
		}
		others := []string{"/x/.." + got, "/%2E" + got, strings.ReplaceAll(got, "a", "%61")}
		if !strings.HasSuffix(got, "/") {
			others = append(others, got+"/", got+"/.", got+"/x/%2e%2E")
		}
		for _, other := range others {
			if n := normalPath(other); n != got {
				t.Fatalf("%q is %q, %q is %q", in, got, other, n)
			}
		}
		// What is decoded is no more than what net/url decodes: a separator stays what it was.
		if a, err := url.PathUnescape(in); err == nil && !strings.Contains(a, "/.") {
			b, err := url.PathUnescape(got)
			if err != nil || strings.TrimSuffix(a, "/") != strings.TrimSuffix(b, "/") {
				t.Fatalf("%q means %q, %q means %q", in, a, got, b)
			}
		}
		if strings.Count(got, "/") > strings.Count(in, "/") {
			t.Fatalf("%q became %q, with more slashes", in, got)
		}
	})
}

func TestValidTokens(t *testing.T) {
	for in, want := range map[string]bool{
		"content-type": true, "content-type,traceparent,sentry-trace,baggage": true, "a, b ,\tc": true, " a ": true,
		"X-Requested-With": true, "*": true,
		"": false, " ": false, ",": false, "a,": false, ",a": false, "a,,b": false, "a b": false, "a:b": false,
		"a\x80": false, "a\"b\"": false, "a;b": false, "a\r\nb": false, "a\x00": false,
	} {
		if got := ValidTokens([]byte(in)); got != want {
			t.Errorf("%q: %v", in, got)
		}
	}
	noAllocs(t, "a list", func() { ValidTokens([]byte("a, b")) })
}
