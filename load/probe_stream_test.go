package load

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"megaphone/codec/ws"
)

// probeStream probes a fake.
func probeStream(ctx context.Context, f *streamFake) error {
	return Probe(ctx, Config{Target: f.url(), Login: LoginPlain, Patience: time.Second,
		Log: slog.New(slog.DiscardHandler)})
}

func TestProbeOfAStream(t *testing.T) {
	t.Parallel()
	f := newStreamFake(t)
	f.ping = time.Millisecond
	if err := probeStream(t.Context(), f); err != nil || f.n != 1 {
		t.Errorf("%v after %d handshakes", err, f.n)
	}
}

// TestProbeSaysWhatAnswersAHandshake: errors that name the problem.
func TestProbeSaysWhatAnswersAHandshake(t *testing.T) {
	t.Parallel()
	const upgrade = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	for _, test := range []struct{ answer, says string }{
		{httpText(404, "Content-Type: text/html\r\n"), "404 Not Found (text/html): is the path wrong?"},
		{httpText(301, "Location: wss://elsewhere/\r\n"), "is wss://elsewhere/ meant?"},
		{"HTTP/1.1 400 Bad Request\r\nContent-Length: 7\r\n\r\ngo away",
			`no WebSocket: it answers 400 Bad Request to the handshake, with "go away"`},
		{httpText(200, ""), "no WebSocket: it answers 200 OK to the handshake, with nothing"},
		{"220 mail.example ESMTP\r\n", "the answer is not HTTP"},
		{"HTTP/1.1 101 Sw", "closed without an answer to a WebSocket's handshake"},
		{"HTTP/1.1 101 Switching Protocols\r\n\r\n", "does not switch to WebSocket"},
		{upgrade + "\r\n", "wrong Sec-WebSocket-Accept"},
	} {
		f := newStreamFake(t)
		f.answer = func(int) string { return test.answer }
		if err := probeStream(t.Context(), f); !errors.Is(err, errProbe) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%v, want %q", err, test.says)
		}
	}
}

// TestProbeSaysWhatEndsAStream: each row has what a server sends instead of its <open/>.
func TestProbeSaysWhatEndsAStream(t *testing.T) {
	t.Parallel()
	text := func(s string) string { return string(ws.AppendHeader(nil, ws.Text, len(s))) + s }
	for _, test := range []struct{ sends, says string }{
		{closeFrame(ws.CodePolicy, "go away"), `it closes the WebSocket at once: code 1008, "go away"`},
		{closeFrame(ws.CodeNone, ""), "code 1005"},
		{text("<stream:error xmlns:stream='x'><host-unknown/></stream:error>"),
			"it does not serve the domain localhost"},
		{text("<stream:error xmlns:stream='x'><conflict/></stream:error>"),
			"it ends the stream at once: <stream:error"},
		{text("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"), "it closes the stream at once"},
		{text("{}"), "it speaks WebSocket, but not XMPP"},
		{"\x82\x01a", "malformed frame: XMPP is text"},
		{"", "no answer to the opening of a stream within 1s"},
	} {
		f := newStreamFake(t)
		f.script = func(c *streamClient, _ string) streamAct {
			_, _ = io.WriteString(c.conn, test.sends)
			return actDone
		}
		if err := probeStream(t.Context(), f); !errors.Is(err, errProbe) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%v, want %q", err, test.says)
		}
	}
}

// TestProbeWaitsForAStream: the probe tries again while the server has no room or restarts.
func TestProbeWaitsForAStream(t *testing.T) {
	t.Parallel()
	f := newStreamFake(t)
	f.answer = func(n int) string {
		if n < 2 {
			return httpText(503, "")
		}
		return ""
	}
	f.script = func(c *streamClient, _ string) streamAct {
		if f.n == 3 {
			_, _ = io.WriteString(c.conn, closeFrame(ws.CodeTryAgainLater, ""))
			return actDone
		}
		return actUsually
	}
	if err := probeStream(t.Context(), f); err != nil || f.n != 4 {
		t.Errorf("%v after %d handshakes", err, f.n)
	}
}
