package http1

import (
	"strings"
	"testing"

	"megaphone/codec/internal/codectest"
)

func TestHeaderLookup(t *testing.T) {
	head := []byte("\r\nPOST /http-bind?x=1 HTTP/1.1\r\nHost: a.example\r\nUser-Agent:  Some Agent/1.0 \t\r\n" +
		"user-agent: second\r\nX-Empty:\r\nx-user-agent: no\r\n\r\n")
	if got := string(RequestMethod(head)); got != "POST" {
		t.Errorf("method %q", got)
	}
	for name, want := range map[string]string{"host": "a.example", "user-agent": "Some Agent/1.0", "x-empty": "",
		"agent": "", "post /http-bind?x=1 http/1.1\r\nhost": ""} {
		if got := string(HeaderValue(head, name)); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for n := range head { // no truncation panics
		HeaderValue(head[:n], "user-agent")
		RequestMethod(head[:n])
		RequestID(head[:n])
	}
}

func TestFields(t *testing.T) {
	head := []byte("\r\nGET /a:b HTTP/1.1\r\nHost: h:80\r\nA:\r\nHost-Name: \t a: b \r\nA: c\r\n\r\nB: body\r\n")
	const want = "Host=h:80 A= Host-Name=a: b A=c "
	got := ""
	for name, value := range Fields(head) {
		got += string(name) + "=" + string(value) + " "
	}
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for range Fields(head) {
		break
	}
	for n := range head { // no truncation panics
		for range Fields(head[:n]) {
		}
	}
	codectest.NoAllocs(t, "fields", func() {
		n := 0
		for name, value := range Fields(head) {
			n += len(name) + len(value)
		}
		HeaderValue(head, "a")
	})
}

func TestRequestID(t *testing.T) {
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	for lines, want := range map[string]string{
		"":                                   "",
		"X-Request-Id: 7f3c-01.a_B:+/=@\r\n": "7f3c-01.a_B:+/=@",
		"x-request-id: a\r\ntraceparent: 00-" + trace + "-00f067aa0ba902b7-01\r\n": "a",
		"X-Request-Id: a b\r\n":                             "",
		"X-Request-Id: a\"b\r\n":                            "",
		"X-Request-Id: \xC3\xA4\r\n":                        "",
		"X-Request-Id:\r\n":                                 "",
		"X-Request-Id: " + strings.Repeat("a", 64) + "\r\n": strings.Repeat("a", 64),
		"X-Request-Id: " + strings.Repeat("a", 65) + "\r\n": "",
		"X-Request-Id: a b\r\ntraceparent: 00-" + trace + "-00f067aa0ba902b7-01\r\n": trace,
		"traceparent: 00-" + trace + "-00f067aa0ba902b7-01\r\n":                      trace,
		"traceparent: 01-" + trace + "-00f067aa0ba902b7-01-more\r\n":                 trace,
		"traceparent: 00-" + trace + "-00f067aa0ba902b7-01-more\r\n":                 "",
		"traceparent: 01-" + trace + "-00f067aa0ba902b7-01more\r\n":                  "",
		"traceparent: ff-" + trace + "-00f067aa0ba902b7-01\r\n":                      "",
		"traceparent: 00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01\r\n":    "",
		"traceparent: 00-" + strings.ToUpper(trace) + "-00f067aa0ba902b7-01\r\n":     "",
		"traceparent: 00-" + trace + "-00f067aa0ba902b7-0x\r\n":                      "",
		"traceparent: 00-" + trace + "\r\n":                                          "",
	} {
		if got := string(RequestID([]byte("GET / HTTP/1.1\r\n" + lines + "\r\n"))); got != want {
			t.Errorf("%q: %q, want %q", lines, got, want)
		}
	}
}
