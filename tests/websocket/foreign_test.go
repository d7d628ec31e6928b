package websocket

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	foreign "github.com/coder/websocket"

	"megaphone/codec/ws"
)

// messages have the lengths at which a header changes its form, and characters of all lengths.
var messages = []string{"", "a", strings.Repeat("b", 125), strings.Repeat("c", 126), strings.Repeat("d", 127),
	strings.Repeat("e", 65535), strings.Repeat("f", 65536), strings.Repeat("<message/>", 20000),
	"\u00E4\u20AC\U0001F600 \u0000", strings.Repeat("\u20AC", 50000)}

// send writes a message of the foreign client in fragments of the given sizes, the last one with the rest.
func send(t testing.TB, c *foreign.Conn, message string, sizes ...int) {
	t.Helper()
	out, err := c.Writer(within(t), foreign.MessageText)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range sizes {
		n = min(n, len(message))
		if _, err := out.Write([]byte(message[:n])); err != nil {
			t.Fatal(err)
		}
		message = message[n:]
	}
	if _, err := out.Write([]byte(message)); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

func receive(t testing.TB, c *foreign.Conn, want string) {
	t.Helper()
	kind, got, err := c.Read(within(t))
	if err != nil || kind != foreign.MessageText || string(got) != want {
		t.Fatalf("%v of %d bytes, want %d: %v", kind, len(got), len(want), err)
	}
}

func TestForeignClient(t *testing.T) {
	for _, mode := range []foreign.CompressionMode{foreign.CompressionDisabled, foreign.CompressionContextTakeover} {
		c := dialForeign(t, mode)
		if c.Subprotocol() != "xmpp" {
			t.Errorf("the protocol is %q", c.Subprotocol())
		}
		for _, m := range messages {
			send(t, c, m)
			receive(t, c, m)
			send(t, c, m, 1, 2, 3, 0, 1000)
			receive(t, c, m)
		}
		heard := c.CloseRead(within(t))
		if err := c.Ping(within(t)); err != nil {
			t.Error(err)
		}
		if err := c.Close(foreign.StatusNormalClosure, "bye"); err != nil {
			t.Error(err)
		}
		<-heard.Done()
	}
}

func TestForeignClientIsTold(t *testing.T) {
	for _, c := range []struct {
		kind    foreign.MessageType
		message string
		want    ws.Code
	}{
		{foreign.MessageBinary, "a", ws.CodeUnsupportedData},
		{foreign.MessageText, "a\xED\xA0\x80", ws.CodeInvalidPayload},
		{foreign.MessageText, strings.Repeat("a", maxMessage+1), ws.CodeTooLarge},
	} {
		conn := dialForeign(t, foreign.CompressionDisabled)
		done := make(chan error, 1)
		go func() { // the server may end before it has read all
			done <- conn.Write(within(t), c.kind, []byte(c.message))
		}()
		_, _, err := conn.Read(within(t))
		var closed foreign.CloseError
		if !errors.As(err, &closed) || closed.Code != foreign.StatusCode(c.want) || closed.Reason == "" {
			t.Errorf("%d: %v", c.want, err)
		}
		_ = conn.CloseNow()
		<-done
	}
}

// TestForeignClientReadsClose: the foreign client understands each code and reason that an edge may send.
func TestForeignClientReadsClose(t *testing.T) {
	for _, want := range ws.Errors {
		near, far := pipe(t)
		done := make(chan error, 1)
		go func() {
			s := &stream{conn: far}
			err := s.answerHandshake()
			if err == nil {
				_, err = far.Write(ws.AppendClose(nil, want.Code, want.Reason))
			}
			if err == nil {
				_, err = s.next() // the client echoes it
			}
			done <- err
		}()
		c := dialOn(t, near, foreign.CompressionDisabled)
		_, _, err := c.Read(within(t))
		var closed foreign.CloseError
		if !errors.As(err, &closed) || closed.Code != foreign.StatusCode(want.Code) || closed.Reason != want.Reason {
			t.Errorf("%d %s: %v", want.Code, want.Reason, err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func (s *stream) write(t testing.TB, o ws.Opcode, payload string, key uint32) {
	t.Helper()
	if _, err := s.conn.Write(ws.AppendMasked(nil, o, []byte(payload), key)); err != nil {
		t.Fatal(err)
	}
}

func (s *stream) want(t testing.TB, o ws.Opcode, payload string) {
	t.Helper()
	e, err := s.next()
	if err != nil || e.Opcode != o || string(e.Payload) != payload {
		t.Fatalf("opcode %d, %d bytes, want opcode %d, %d bytes: %v", e.Opcode, len(e.Payload), o, len(payload), err)
	}
}

func TestForeignServer(t *testing.T) {
	for _, fragment := range []int{7, 1 << 20} {
		s := dialOurs(t, fragment)
		for i, m := range messages {
			if fragment == 7 && len(m) > 10000 {
				continue
			}
			s.write(t, ws.Text, m, uint32(i)*0x9E3779B9)
			s.want(t, ws.Text, m)
		}
		s.write(t, ws.Ping, "ping", 0x01020304)
		s.want(t, ws.Pong, "ping")
		s.write(t, ws.Close, string(ws.AppendClosePayload(nil, ws.CodeGoingAway, "bye")), 0xFFFFFFFF)
		if e, err := s.next(); err != nil || e.Opcode != ws.Close || e.Code != ws.CodeGoingAway {
			t.Errorf("%v, %v", e, err)
		}
	}
}

// FuzzForeign: each end reads the messages of the other, in any fragments and with any key, and refuses other text.
func FuzzForeign(f *testing.F) {
	for _, m := range []string{"", "a", "\u00E4\u20AC\U0001F600", "\xFF", strings.Repeat("<message/>", 30)} {
		f.Add([]byte(m), uint8(1), uint8(2), uint32(0x01020304))
	}
	f.Fuzz(func(t *testing.T, message []byte, first, second uint8, key uint32) {
		message = message[:min(len(message), 10000)]
		valid := strings.ToValidUTF8(string(message), "?")
		s := dialOurs(t, 1+int(first))
		s.write(t, ws.Text, valid, key)
		s.want(t, ws.Text, valid)

		c := dialForeign(t, foreign.CompressionDisabled)
		send(t, c, valid, int(first), int(second))
		receive(t, c, valid)
		if valid != string(message) {
			done := make(chan error, 1)
			go func() { done <- c.Write(within(t), foreign.MessageText, message) }()
			if _, _, err := c.Read(within(t)); foreign.CloseStatus(err) != foreign.StatusInvalidFramePayloadData {
				t.Fatal(fmt.Errorf("%q: %w", message, err))
			}
			_ = c.CloseNow()
			<-done
		}
		_ = c.CloseNow()
	})
}
