package http1

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"megaphone/internal/corpus"
)

const tokenClass = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"

var (
	referenceLine    = regexp.MustCompile("^(" + tokenClass + `) ([!"$-~]+) HTTP/([0-9])\.([0-9])$`)
	referenceField   = regexp.MustCompile("(?s)^(" + tokenClass + "):[ \t]*(.*?)[ \t]*$")
	referenceHost    = regexp.MustCompile(`^(\[[0-9a-fA-F.:]+\]|[-._~!$&'()*+,;=%0-9A-Za-z]*)(:[0-9]*)?$`)
	referenceTarget  = regexp.MustCompile(`^(?i:https?)://([^/?]+)([^?]*)(\?.*)?$`)
	referenceMethods = map[string]Method{"GET": MethodGet, "HEAD": MethodHead, "POST": MethodPost,
		"OPTIONS": MethodOptions}
	referenceList = regexp.MustCompile("[, \t]+")
)

// referenceHead is the plain version of ParseHead: it splits the head into lines and matches each. ok is false if the
// head must be refused; end is 0 if the head has no end.
func referenceHead(in []byte, lim Limits) (h Head, end int, ok bool) {
	start := 0
	for range maxEmptyLines {
		if bytes.HasPrefix(in[start:], []byte("\r\n")) {
			start += 2
		}
	}
	size := bytes.Index(in[start:], []byte("\r\n\r\n"))
	if size < 0 {
		return h, 0, false
	}
	end = start + size + 4
	lines := strings.Split(string(in[start:start+size]), "\r\n")
	for _, line := range lines {
		for i := range len(line) {
			if line[i] < ' ' && line[i] != '\t' || line[i] == 0x7F {
				return h, end, false
			}
		}
	}
	fields := map[string][]string{}
	for _, line := range lines[1:] {
		m := referenceField.FindStringSubmatch(line)
		if m == nil {
			return h, end, false
		}
		name := strings.ToLower(m[1])
		fields[name] = append(fields[name], m[2])
	}
	h, ok = referenceRequest(lines[0], fields)
	tooLarge := len(lines[0]) > lim.MaxRequestLineBytes || size-len(lines[0]) > lim.MaxHeaderBytes ||
		len(lines)-1 > lim.MaxHeaders || h.ContentLength > lim.MaxBodyBytes
	return h, end, ok && !tooLarge
}

func referenceRequest(line string, fields map[string][]string) (h Head, ok bool) {
	m := referenceLine.FindStringSubmatch(line)
	if m == nil || m[3] != "1" {
		return h, false
	}
	h.Method = referenceMethods[m[1]]
	if m[4] != "0" {
		h.Minor = 1
	}
	last := func(name string) []byte {
		if n := len(fields[name]); n > 0 {
			return []byte(fields[name][n-1])
		}
		return nil
	}
	h.Host, h.Origin, h.RequestHeaders = last("host"), last("origin"), last("access-control-request-headers")
	h.ContentEncoding = last("content-encoding")
	if len(fields["host"]) > 1 || h.Minor == 1 && h.Host == nil || !referenceHost.Match(h.Host) {
		return h, false
	}
	target := m[2]
	if a := referenceTarget.FindStringSubmatch(target); a != nil {
		if !referenceHost.MatchString(a[1]) || a[1][0] == ':' {
			return h, false
		}
		h.Host = []byte(a[1])
		target = "/" + strings.TrimPrefix(a[2], "/") + a[3]
	} else if target[0] != '/' && (target != "*" || h.Method != MethodOptions) {
		return h, false
	}
	path, query, has := strings.Cut(target, "?")
	if h.Path = []byte(path); has {
		h.Query = []byte(query)
	}
	return h, referenceFraming(&h, fields)
}

func referenceFraming(h *Head, fields map[string][]string) bool {
	lengths, codings := fields["content-length"], fields["transfer-encoding"]
	h.HasBody = len(lengths)+len(codings) > 0
	if len(lengths)+len(codings) > 1 {
		return false
	}
	for _, v := range lengths {
		n, err := strconv.ParseUint("0"+v, 10, 62)
		if h.ContentLength = int(n); err != nil || v == "" || strings.ContainsAny(v, "+-_") {
			return false
		}
	}
	for _, v := range codings {
		if h.Chunked = strings.EqualFold(v, "chunked"); !h.Chunked || h.Minor == 0 {
			return false
		}
	}
	for _, v := range fields["expect"] {
		if !strings.EqualFold(v, "100-continue") {
			return false
		}
		h.ExpectContinue = h.Minor == 1 && (h.Chunked || h.ContentLength > 0)
	}
	h.KeepAlive = h.Minor == 1
	closes := false
	for _, token := range referenceList.Split(strings.Join(fields["connection"], ","), -1) {
		h.KeepAlive = h.KeepAlive || strings.EqualFold(token, "keep-alive")
		closes = closes || strings.EqualFold(token, "close")
	}
	h.KeepAlive = h.KeepAlive && !closes
	return true
}

// writeHead writes an equivalent head in another form.
func writeHead(h *Head) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s", [...]string{"PUT", "GET", "HEAD", "POST", "OPTIONS"}[h.Method], h.Path)
	if h.Query != nil {
		fmt.Fprintf(&b, "?%s", h.Query)
	}
	fmt.Fprintf(&b, " HTTP/1.%d\r\n", h.Minor)
	if h.Chunked {
		b.WriteString("transfer-encoding:\tChunked \r\n")
	} else if h.HasBody {
		fmt.Fprintf(&b, "content-length: 00%d\r\n", h.ContentLength)
	}
	if h.ExpectContinue {
		b.WriteString("EXPECT:100-Continue\r\n")
	}
	connection := "close"
	if h.KeepAlive {
		connection = "Keep-Alive"
	}
	fmt.Fprintf(&b, "Connection: x, %s\r\n", connection)
	for _, f := range []struct {
		name  string
		value []byte
	}{{"hosT", h.Host}, {"oriGin", h.Origin}, {"access-control-REQUEST-headers", h.RequestHeaders},
		{"content-ENCODING", h.ContentEncoding}} {
		if f.value != nil {
			fmt.Fprintf(&b, "%s:%s\r\n", f.name, f.value)
		}
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

func compareWithReference(t *testing.T, in []byte, lim Limits) {
	t.Helper()
	var h Head
	ok, err := ParseHead(&h, in, 0, &lim)
	want, end, wantOK := referenceHead(in, lim.WithDefaults())
	switch {
	case ok != wantOK:
		t.Fatalf("%q: accepted %v (%v), by the reference %v", in, ok, err, wantOK)
	case end > 0 && !ok && err == nil:
		t.Fatalf("%q: not complete, though its blank line is there", in)
	case !ok:
		return
	case h.Bytes != end || describe(&h) != describe(&want):
		t.Fatalf("%q:\n      got %d bytes: %s\nreference %d bytes: %s", in, h.Bytes, describe(&h), end, describe(&want))
	}
	again := writeHead(&h)
	var copied Head
	big := Limits{MaxRequestLineBytes: 1 << 20, MaxHeaderBytes: 1 << 20, MaxBodyBytes: lim.MaxBodyBytes}
	if ok, err := ParseHead(&copied, again, 0, &big); !ok || describe(&copied) != describe(&h) {
		t.Fatalf("%q\nwritten again as %q\n  is %s (%v)\nwas %s", in, again, describe(&copied), err, describe(&h))
	}
}

func TestHeadCasesAgainstReference(t *testing.T) {
	for _, c := range headCases {
		t.Run(c.name, func(t *testing.T) { compareWithReference(t, []byte(c.in), c.lim) })
	}
}

func FuzzHead(f *testing.F) {
	corpus.Add(f)
	for _, c := range headCases {
		f.Add([]byte(c.in), uint16(20))
	}
	f.Fuzz(func(t *testing.T, in []byte, k uint16) {
		lim := Limits{MaxRequestLineBytes: 200, MaxHeaderBytes: 400, MaxHeaders: 12, MaxBodyBytes: 5000}
		compareWithReference(t, in, lim)
		cut := min(int(k), len(in))
		got := outcome(t, in[:cut], 0, &lim)
		if got == "not complete" {
			got = outcome(t, in, cut, &lim)
		}
		// A fault before the end of the head may stay undetected in pieces, but never beyond its end.
		whole := outcome(t, in, 0, &lim)
		if got != whole && (got != "not complete" || bytes.Contains(bytes.TrimLeft(in, "\r\n"), []byte("\r\n\r\n"))) {
			t.Fatalf("%q, split at %d:\n got %s\nwhole %s", in, cut, got, whole)
		}
	})
}
