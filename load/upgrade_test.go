package load

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"megaphone/codec/ws"
)

// TestParseUpgrade: each row is a whole answer. It is parsed in pieces of every size too, and the result is the same.
func TestParseUpgrade(t *testing.T) {
	t.Parallel()
	key := (&lines{}).key(1, 2, 3)
	good := string(ws.AppendAnswer(nil, key[:]))
	for _, test := range []struct {
		name, text string
		status     int
		retryAfter int
		err        error
	}{
		{"good", good, 101, 0, nil},
		{"names and values in other letters", strings.NewReplacer("Upgrade: websocket", "UPGRADE:WebSocket",
			"Connection: Upgrade", "connection: keep-alive, upgrade").Replace(good), 101, 0, nil},
		{"two of Connection", strings.Replace(good, "Connection: Upgrade",
			"Connection: Upgrade\r\nConnection: keep-alive", 1), 101, 0, nil},
		{"503", "HTTP/1.1 503 No\r\nRetry-After: 7\r\n\r\n", 503, 7, nil},
		{"no upgrade", strings.Replace(good, "Upgrade: websocket", "Upgrade: h2c", 1), 101, 0, errNotUpgraded},
		{"no connection", strings.Replace(good, "Connection: Upgrade", "Connection: close", 1), 101, 0, errNotUpgraded},
		{"another key's accept", strings.Replace(good, "Accept: ", "Accept: x", 1), 101, 0, errAccept},
		{"no accept", strings.Replace(good, "Accept", "Except", 1), 101, 0, errAccept},
		{"no protocol", strings.Replace(good, "Sec-WebSocket-Protocol: xmpp\r\n", "", 1), 101, 0, errNoXMPP},
		{"another protocol", strings.Replace(good, "xmpp", "mqtt", 1), 101, 0, errNoXMPP},
		{"extension", strings.Replace(good, "\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", 1),
			101, 0, errExtension},
		{"no HTTP", "220 mail.example ESMTP\r\n", 0, 0, errStatusLine},
		{"no status", "HTTP/1.1 abc\r\n\r\n", 0, 0, errStatusLine},
		{"nothing", "", 0, 0, nil},
	} {
		u, n, err := parseUpgrade([]byte(test.text), key)
		if !errors.Is(err, test.err) || u.status != test.status || u.retryAfter != test.retryAfter ||
			err == nil && n != len(test.text) {
			t.Errorf("%s: %+v, %d, %v", test.name, u, n, err)
		}
		for k := range len(test.text) {
			_, n, err := parseUpgrade([]byte(test.text[:k]), key)
			if n != 0 || err != nil && test.err != errStatusLine {
				t.Errorf("%s: the first %d bytes: %d, %v", test.name, k, n, err)
			}
		}
		if test.err == nil && test.text != "" {
			if _, n, err := parseUpgrade([]byte(test.text+"\x81\x00"), key); n != len(test.text) || err != nil {
				t.Errorf("%s with more behind it: %d, %v", test.name, n, err)
			}
		}
	}
	endless := "HTTP/1.1 101 X\r\n" + strings.Repeat("a: b\r\n", maxHeadBytes/6)
	if _, _, err := parseUpgrade([]byte(endless), key); !errors.Is(err, errHeadSize) {
		t.Errorf("an endless head: %v", err)
	}
}

// FuzzUpgrade: an answer is no longer than the input, is incomplete without its last byte, and is accepted only if it
// has the accept of the key.
func FuzzUpgrade(f *testing.F) {
	key := (&lines{}).key(1, 2, 3)
	f.Add(ws.AppendAnswer(nil, key[:]))
	f.Add([]byte("HTTP/1.1 503 No\r\nRetry-After: 7\r\n\r\n"))
	f.Add([]byte("220 mail.example ESMTP\r\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		u, n, err := parseUpgrade(p, key)
		if n < 0 || n > len(p) || n > 0 && err != nil {
			t.Fatalf("%d of %d bytes, %v", n, len(p), err)
		}
		if n == 0 {
			return
		}
		if _, n, err := parseUpgrade(p[:n-1], key); n != 0 || err != nil {
			t.Fatalf("without its last byte: %d bytes, %v", n, err)
		}
		if u.status == 101 && !bytes.Contains(p[:n], ws.AppendAccept(nil, key[:])) {
			t.Fatalf("accepted %q", p[:n])
		}
	})
}
