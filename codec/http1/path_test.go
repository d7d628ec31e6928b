package http1

import (
	"regexp"
	"strings"
	"testing"

	"megaphone/codec/internal/ascii"
	"megaphone/codec/internal/codectest"
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
	// Dot segments (6.2.2.3), including the examples of section 5.2.4.
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
	// Invalid paths.
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
	g := codectest.NewPage(t)
	for _, c := range pathCases {
		if got := normalPath(c.in); got != c.want {
			t.Errorf("%q is %q, want %q", c.in, got, c.want)
		}
		p := g.Put(c.in)
		buf := make([]byte, 0, len(c.in))
		codectest.NoAllocs(t, c.in, func() { AppendNormalPath(buf, p) })
	}
}

var (
	referenceEscape = regexp.MustCompile(`%([0-9a-fA-F]{2})?`)
	unreservedClass = regexp.MustCompile(`^[A-Za-z0-9._~-]$`)
)

// referencePath is the plain version: RFC 3986 section 6.2.2.1 and 6.2.2.2 by a regular expression, then section 5.2.4
// literally, step by step.
func referencePath(in string) string {
	ok := strings.HasPrefix(in, "/")
	in = referenceEscape.ReplaceAllStringFunc(in, func(e string) string {
		if len(e) < 3 {
			ok = false
			return e
		}
		c := string([]byte{ascii.Unhex(e[1])<<4 | ascii.Unhex(e[2])})
		if unreservedClass.MatchString(c) {
			return c
		}
		return strings.ToUpper(e)
	})
	if !ok {
		return ""
	}
	out := ""
	for in != "" {
		switch {
		case strings.HasPrefix(in, "/./"):
			in = in[2:]
		case in == "/.":
			in = "/"
		case strings.HasPrefix(in, "/../"), in == "/..":
			in = "/" + strings.TrimPrefix(in[3:], "/")
			out = out[:max(0, strings.LastIndexByte(out, '/'))]
		default:
			end := 1 + strings.IndexByte(in[1:]+"/", '/')
			out, in = out+in[:end], in[end:]
		}
	}
	if len(out) > 1 && strings.HasSuffix(out, "/") && !strings.HasSuffix(out, "//") {
		out = out[:len(out)-1]
	}
	return out
}

// FuzzNormalPath: the normal form is that of the reference, the normal form of itself and of other spellings, and not
// longer than its input.
func FuzzNormalPath(f *testing.F) {
	for _, c := range pathCases {
		f.Add(c.in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got := normalPath(in)
		if want := referencePath(in); got != want {
			t.Fatalf("%q is %q, by the reference %q", in, got, want)
		}
		if got == "" {
			return
		}
		if len(got) > len(in) {
			t.Fatalf("%q became %q", in, got)
		}
		others := []string{got, "/x/.." + got, "/%2E" + got, strings.ReplaceAll(got, "a", "%61")}
		if !strings.HasSuffix(got, "/") {
			others = append(others, got+"/", got+"/.", got+"/x/%2e%2E")
		}
		for _, other := range others {
			if n := normalPath(other); n != got {
				t.Fatalf("%q is %q, %q is %q", in, got, other, n)
			}
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
	codectest.NoAllocs(t, "a list", func() { ValidTokens([]byte("a, b")) })
}
