package ws

import (
	"strings"
	"testing"

	"megaphone/codec/http1"
	"megaphone/codec/internal/codectest"
	"megaphone/internal/corpus"
)

const (
	sampleKey    = "dGhlIHNhbXBsZSBub25jZQ=="     // of RFC 6455 section 1.3
	sampleAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" // likewise
)

// request returns a handshake. Each change replaces the line of that name, removes it if it has no value, or adds it.
func request(changes ...string) string {
	lines := []string{"Host: h", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: " + sampleKey, "Sec-WebSocket-Protocol: xmpp"}
	start := "GET /ws HTTP/1.1"
	for _, change := range changes {
		name, value, isHeader := strings.Cut(change, ": ")
		if !isHeader {
			start = change
			continue
		}
		at := -1
		for i, line := range lines {
			if strings.HasPrefix(line, name+": ") {
				at = i
			}
		}
		switch {
		case at < 0:
			lines = append(lines, change)
		case value == "":
			lines = append(lines[:at], lines[at+1:]...)
		default:
			lines[at] = change
		}
	}
	return start + "\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

var handshakeCases = []struct {
	name string
	in   string
	err  *Refusal
}{
	{name: "the least", in: request()},
	{name: "Firefox", in: request("Connection: keep-alive, Upgrade", "Sec-WebSocket-Extensions: permessage-deflate",
		"Origin: https://chat.example.org", "Cache-Control: no-cache")},
	{name: "Chromium", in: request("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")},
	{name: "other case", in: strings.NewReplacer("Upgrade: websocket", "upgrade: WebSocket", "Connection: Upgrade",
		"CONNECTION: upgrade", "Sec-WebSocket-", "sec-websocket-").Replace(request())},
	{name: "lists", in: request("Upgrade: h2c, websocket", "Connection: close,\tUPGRADE",
		"Sec-WebSocket-Protocol: soap , xmpp,mqtt")},
	{name: "lists in several lines", in: request("A: 1\r\nUpgrade: h2c", "B: 2\r\nConnection: TE",
		"C: 3\r\nSec-WebSocket-Protocol: mqtt", "Sec-WebSocket-Protocol: soap\r\nSec-WebSocket-Protocol: xmpp")},
	{name: "a length of nothing", in: request("Content-Length: 0")},
	{name: "a key with all characters", in: request("Sec-WebSocket-Key: +/09azAZ+/09azAZ+/09aw==")},
	{name: "HTTP/1.2", in: request("GET /ws HTTP/1.2")},

	{name: "POST", in: request("POST /ws HTTP/1.1"), err: errMethod},
	{name: "HEAD", in: request("HEAD /ws HTTP/1.1"), err: errMethod},
	{name: "get", in: request("get /ws HTTP/1.1"), err: errMethod},
	{name: "HTTP/1.0", in: request("GET /ws HTTP/1.0"), err: errOldHTTP},
	{name: "a body", in: request("Content-Length: 1"), err: errBody},
	{name: "a chunked body", in: request("Transfer-Encoding: chunked"), err: errBody},
	{name: "no Upgrade", in: request("Upgrade: "), err: errUpgrade},
	{name: "another Upgrade", in: request("Upgrade: h2c"), err: errUpgrade},
	{name: "an Upgrade that only begins so", in: request("Upgrade: websockets, websocket/13"), err: errUpgrade},
	{name: "a page", in: "GET /ws HTTP/1.1\r\nHost: h\r\n\r\n", err: errUpgrade},
	{name: "no Connection", in: request("Connection: "), err: errConnection},
	{name: "another Connection", in: request("Connection: keep-alive, Upgrades"), err: errConnection},
	{name: "no version", in: request("Sec-WebSocket-Version: "), err: errVersion},
	{name: "version 8", in: request("Sec-WebSocket-Version: 8"), err: errVersion},
	{name: "version 130", in: request("Sec-WebSocket-Version: 130"), err: errVersion},
	{name: "version 013", in: request("Sec-WebSocket-Version: 013"), err: errVersion},
	{name: "two versions", in: request("Sec-WebSocket-Version: 13, 8"), err: errVersion},
	{name: "two lines of versions", in: request("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8"),
		err: errTwice},
	{name: "no key", in: request("Sec-WebSocket-Key: "), err: errKey},
	{name: "two keys", in: request("Sec-WebSocket-Key: " + sampleKey + "\r\nSec-WebSocket-Key: " + sampleKey),
		err: errTwice},
	{name: "a key of 15 bytes", in: request("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j"), err: errKey},
	{name: "a key of 17 bytes", in: request("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTE="), err: errKey},
	{name: "a key of 18 bytes", in: request("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTEx"), err: errKey},
	{name: "a key without its end", in: request("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"), err: errKey},
	{name: "a key in the other base64", in: request("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub2-_ZQ=="), err: errKey},
	{name: "a key with a space", in: request("Sec-WebSocket-Key: dGhlIHNhbXBs ZSBub25jZQ=="), err: errKey},
	{name: "no protocol", in: request("Sec-WebSocket-Protocol: "), err: errNotXMPP},
	{name: "another protocol", in: request("Sec-WebSocket-Protocol: mqtt, xmpp2"), err: errNotXMPP},
	{name: "the protocol in capitals", in: request("Sec-WebSocket-Protocol: XMPP"), err: errNotXMPP},
}

func parse(t testing.TB, head []byte) (key []byte, err *Refusal) {
	t.Helper()
	var h http1.Head
	if ok, err := http1.ParseHead(&h, head, 0, &http1.Limits{}); !ok || err != nil {
		t.Fatalf("%q: %v", head, err)
	}
	return ParseRequest(&h, head[:h.Bytes])
}

func TestHandshakeCases(t *testing.T) {
	page := codectest.NewPage(t)
	met := map[*Refusal]bool{}
	for _, c := range handshakeCases {
		t.Run(c.name, func(t *testing.T) {
			for _, before := range []string{"", "\r\n"} {
				p := page.Put(before + c.in)
				key, err := parse(t, p)
				codectest.Inside(t, p, key)
				if err != c.err || (err == nil) != (len(key) == keyBytes) {
					t.Fatalf("%q: %q, %v, want %v", c.in, key, err, c.err)
				}
			}
		})
		met[c.err] = true
	}
	for _, r := range Refusals {
		if !met[r] {
			t.Errorf("no case for: %s", r.Reason)
		}
		if http1.NewResponseHead(r.Status, r.Headers...); r.Status < 400 || r.Error() != r.Reason {
			t.Errorf("%s: status %d", r.Reason, r.Status)
		}
	}
}

func TestAnswer(t *testing.T) {
	const want = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + sampleAccept + "\r\nSec-WebSocket-Protocol: xmpp\r\n\r\n"
	if got := string(AppendAnswer([]byte("before"), []byte(sampleKey))); got != "before"+want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := string(AppendAccept(nil, []byte(sampleKey))); got != sampleAccept {
		t.Errorf("%q, want %q", got, sampleAccept)
	}
	defer func() {
		if recover() == nil {
			t.Error("an answer to half a key")
		}
	}()
	AppendAccept(nil, []byte(sampleKey[:12]))
}

func TestHandshakeAllocatesNothing(t *testing.T) {
	buf := make([]byte, 0, 1024)
	for _, c := range handshakeCases {
		head := []byte(c.in)
		var h http1.Head
		http1.ParseHead(&h, head, 0, &http1.Limits{})
		codectest.NoAllocs(t, c.name, func() {
			if key, err := ParseRequest(&h, head); err == nil {
				AppendAnswer(buf, key)
			}
		})
	}
}

// FuzzHandshake: a request that is accepted has what it needs, by a simple search, and one without it is refused.
func FuzzHandshake(f *testing.F) {
	corpus.Add(f)
	for _, c := range handshakeCases {
		f.Add([]byte(c.in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var h http1.Head
		if ok, _ := http1.ParseHead(&h, in, 0, &http1.Limits{}); !ok {
			return
		}
		head := in[:h.Bytes]
		key, err := ParseRequest(&h, head)
		codectest.Inside(t, head, key)
		lower := strings.ToLower(string(head))
		for _, needed := range []string{"get ", "upgrade:", "websocket", "connection:", "sec-websocket-version:", "13",
			"sec-websocket-key:", "sec-websocket-protocol:", "xmpp"} {
			if err == nil && !strings.Contains(lower, needed) {
				t.Fatalf("%q is accepted without %s", head, needed)
			}
		}
		if err == nil && (len(key) != keyBytes || strings.Count(lower, "\nsec-websocket-key:") != 1 || h.Chunked) {
			t.Fatalf("%q is accepted with the key %q", head, key)
		}
		var again http1.Head
		const end = "\r\n\r\n"
		more := append([]byte(strings.TrimSuffix(string(head), end)), "\r\nX-More: y"+end...)
		if ok, _ := http1.ParseHead(&again, more, 0, &http1.Limits{}); ok {
			if key2, err2 := ParseRequest(&again, more); err2 != err || string(key2) != string(key) {
				t.Fatalf("%q: %v; with a line more %v", head, err, err2)
			}
		}
	})
}

func BenchmarkHandshake(b *testing.B) {
	head := []byte(handshakeCases[1].in)
	var h http1.Head
	http1.ParseHead(&h, head, 0, &http1.Limits{})
	dst := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		key, err := ParseRequest(&h, head)
		if err != nil {
			b.Fatal(err)
		}
		dst = AppendAnswer(dst[:0], key)
	}
}
