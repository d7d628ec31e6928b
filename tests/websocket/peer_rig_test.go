package websocket

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	foreign "github.com/coder/websocket"

	"megaphone/codec/http1"
	"megaphone/codec/ws"
)

const (
	patience   = 20 * time.Second
	maxMessage = 1 << 20
)

// pipe returns the two ends of a connection in memory.
func pipe(t testing.TB) (a, b net.Conn) {
	a, b = net.Pipe()
	for _, c := range []net.Conn{a, b} {
		_ = c.SetDeadline(time.Now().Add(patience))
		t.Cleanup(func() { _ = c.Close() })
	}
	return a, b
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// stream is this project's end of a connection, a server's or a client's.
type stream struct {
	conn net.Conn
	ws.Stream
	input []byte
	buf   [4096]byte
}

// next returns the next event. Its payload is valid until the next call.
func (s *stream) next() (ws.Event, error) {
	for {
		e, n, ok, err := s.Next(s.input, maxMessage)
		payload := bytes.Clone(e.Payload)
		s.input = s.input[n:]
		switch {
		case err != nil:
			return ws.Event{}, err
		case ok:
			e.Payload = payload
			return e, nil
		}
		n, readErr := s.conn.Read(s.buf[:])
		if s.input = append(s.input, s.buf[:n]...); readErr != nil {
			return ws.Event{}, readErr
		}
	}
}

// echo serves a connection as an edge would: it answers messages with themselves, pings and close frames as RFC 6455
// demands, and faults with their close frame.
func echo(conn net.Conn) error {
	defer conn.Close()
	s := &stream{conn: conn}
	if err := s.answerHandshake(); err != nil {
		return err
	}
	for {
		e, err := s.next()
		var fault *ws.Error
		out := []byte(nil)
		switch {
		case errors.As(err, &fault):
			_, err = conn.Write(ws.AppendClose(nil, fault.Code, fault.Reason))
			return err
		case err != nil:
			return err
		case e.Opcode == ws.Close:
			_, err = conn.Write(ws.AppendClose(nil, e.Code, string(e.Payload)))
			return err
		case e.Opcode == ws.Ping:
			out = append(ws.AppendHeader(nil, ws.Pong, len(e.Payload)), e.Payload...)
		case e.Opcode == ws.Text:
			out = append(ws.AppendHeader(nil, ws.Text, len(e.Payload)), e.Payload...)
		}
		if _, err := conn.Write(out); err != nil {
			return err
		}
	}
}

func (s *stream) answerHandshake() error {
	var h http1.Head
	for scanned := 0; ; {
		ok, err := http1.ParseHead(&h, s.input, scanned, &http1.Limits{})
		switch {
		case err != nil:
			return err
		case ok:
			key, err := ws.ParseRequest(&h, s.input[:h.Bytes])
			if err != nil {
				return err
			}
			_, writeErr := s.conn.Write(ws.AppendAnswer(nil, key))
			s.input = s.input[h.Bytes:]
			return writeErr
		}
		scanned = len(s.input)
		n, readErr := s.conn.Read(s.buf[:])
		if s.input = append(s.input, s.buf[:n]...); readErr != nil {
			return readErr
		}
	}
}

// dialThrough lets the foreign client make its handshake on an existing connection.
type dialThrough struct{ conn net.Conn }

// upgraded is the connection after the handshake, with the bytes that have been read behind it.
type upgraded struct {
	io.Reader
	net.Conn
}

func (u upgraded) Read(p []byte) (int, error) { return u.Reader.Read(p) }

func (d dialThrough) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Write(d.conn); err != nil {
		return nil, err
	}
	in := bufio.NewReader(d.conn)
	response, err := http.ReadResponse(in, r)
	if err == nil {
		response.Body = upgraded{in, d.conn}
	}
	return response, err
}

// dialForeign connects the foreign client to echo.
func dialForeign(t testing.TB, compression foreign.CompressionMode) *foreign.Conn {
	t.Helper()
	near, far := pipe(t)
	served := make(chan error, 1)
	go func() { served <- echo(far) }()
	t.Cleanup(func() {
		_ = near.Close()
		<-served
	})
	return dialOn(t, near, compression)
}

// dialOn makes the foreign client's handshake on a connection.
func dialOn(t testing.TB, conn net.Conn, compression foreign.CompressionMode) *foreign.Conn {
	t.Helper()
	c, _, err := foreign.Dial(within(t), "ws://chat.example.org/ws", &foreign.DialOptions{
		HTTPClient:      &http.Client{Transport: dialThrough{conn}},
		Subprotocols:    []string{"mqtt", "xmpp"},
		CompressionMode: compression,
	})
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(maxMessage)
	return c
}

// one is a listener with one connection.
type one struct{ conns chan net.Conn }

func (l one) Accept() (net.Conn, error) {
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (l one) Close() error {
	close(l.conns)
	return nil
}

func (l one) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// dialOurs connects a client of this project to a foreign server that echoes in fragments of the given size.
func dialOurs(t testing.TB, fragment int) *stream {
	t.Helper()
	near, far := pipe(t)
	l := one{make(chan net.Conn, 1)}
	l.conns <- far
	ctx := within(t)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := foreign.Accept(w, r, &foreign.AcceptOptions{Subprotocols: []string{"xmpp"}})
		if err != nil {
			return
		}
		c.SetReadLimit(maxMessage)
		for {
			kind, message, err := c.Read(ctx)
			if err != nil {
				return
			}
			out, err := c.Writer(ctx, kind)
			if err != nil {
				return
			}
			for len(message) > 0 {
				n := min(len(message), fragment)
				_, _ = out.Write(message[:n])
				message = message[n:]
			}
			_ = out.Close()
		}
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	s := &stream{conn: near, Stream: ws.ClientStream()}
	if err := s.handshake(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stream) handshake() error {
	key := []byte("AAECAwQFBgcICQoLDA0ODw==")
	_, err := fmt.Fprintf(s.conn, "GET /ws HTTP/1.1\r\nHost: chat.example.org\r\nUpgrade: websocket\r\n"+
		"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n"+
		"Sec-WebSocket-Protocol: xmpp\r\n\r\n", key)
	if err != nil {
		return err
	}
	for !bytes.Contains(s.input, []byte("\r\n\r\n")) {
		n, err := s.conn.Read(s.buf[:])
		if s.input = append(s.input, s.buf[:n]...); err != nil {
			return err
		}
	}
	head, rest, _ := bytes.Cut(s.input, []byte("\r\n\r\n"))
	s.input = bytes.Clone(rest)
	if accept := "Sec-Websocket-Accept: " + string(ws.AppendAccept(nil, key)); !strings.HasPrefix(string(head),
		"HTTP/1.1 101 ") || !strings.Contains(string(head), accept) {
		return fmt.Errorf("answered with %q, want %s", head, accept)
	}
	return nil
}
