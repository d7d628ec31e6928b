package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"megaphone/codec/ws"
)

// probeGoodbye is the time for a server to answer the end of the probe's session.
const probeGoodbye = time.Second

// webSocket is the WebSocket of a probe.
type webSocket struct {
	conn   net.Conn
	lines  lines
	random *rand.Rand
	stream ws.Stream
	in     []byte // input that is not consumed
}

// converseStream opens a WebSocket and a session, and ends both.
func (p *probe) converseStream(_ context.Context, conn net.Conn) error {
	patience := min(probeAnswer, p.cfg.Patience)
	_ = conn.SetDeadline(time.Now().Add(patience))
	w := &webSocket{conn: conn, lines: newLines(p.to, p.cfg), stream: ws.ClientStream(),
		random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
	if err := w.shake(); err != nil {
		return unanswered(err, "a WebSocket's handshake", patience)
	}
	if err := w.greet(p.cfg.Domain); err != nil {
		return unanswered(err, "the opening of a stream", patience)
	}
	_ = conn.SetDeadline(time.Now().Add(probeGoodbye))
	w.leave() // if that fails, the server ends the session later
	return nil
}

// unanswered explains an error of reading or writing. Others it returns.
func unanswered(err error, what string, patience time.Duration) error {
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("connected, but no answer to %s within %s", what, patience)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("connected, but the connection was closed without an answer to %s: is this a WebSocket?",
			what)
	case errors.Is(err, errStatusLine):
		return errors.New("the answer is not HTTP")
	}
	return err
}

// read reads more input.
func (w *webSocket) read() error {
	var room [4096]byte
	n, err := w.conn.Read(room[:])
	w.in = append(w.in, room[:n]...)
	if n > 0 {
		return nil
	}
	return err
}

// shake makes the handshake.
func (w *webSocket) shake() error {
	key := w.lines.key(w.random.Uint32(), w.random.Uint32(), 0)
	if _, err := w.conn.Write(w.lines.handshake(key)); err != nil {
		return err
	}
	for {
		u, n, err := parseUpgrade(w.in, key)
		switch {
		case err != nil:
			return err
		case n > 0 && u.status == http.StatusSwitchingProtocols:
			w.in = w.in[n:]
			return nil
		case n > 0:
			return w.judgeRefusal()
		}
		if err := w.read(); err != nil {
			return err
		}
	}
}

// judgeRefusal explains an answer other than 101.
func (w *webSocket) judgeRefusal() error {
	resp, err := http.ReadResponse(bufio.NewReader(io.MultiReader(bytes.NewReader(w.in), w.conn)),
		&http.Request{Method: http.MethodGet})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxReplyBytes)) // an error cuts the quotation only
	what := "nothing"
	if body = bytes.TrimSpace(body); len(body) > 0 {
		what = fmt.Sprintf("%.80q", body)
	}
	status := fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	switch {
	case resp.StatusCode == http.StatusServiceUnavailable:
		return fmt.Errorf("%w: it answers %s: does the edge have its origin, and does that take WebSockets?", errBusy,
			status)
	case resp.StatusCode == http.StatusNotFound:
		return fmt.Errorf("it answers %s (%s): is the path wrong? Most endpoints are at /xmpp-websocket or /ws", status,
			or(resp.Header.Get("Content-Type"), "no type"))
	case resp.StatusCode/100 == 3 && resp.Header.Get("Location") != "":
		return fmt.Errorf("it answers %s: is %s meant?", status, resp.Header.Get("Location"))
	}
	return fmt.Errorf("no WebSocket: it answers %s to the handshake, with %s: is it an endpoint of BOSH, whose URL "+
		"begins with http:// or https://?", status, what)
}

// greet opens a stream, and returns when the server's features have come.
func (w *webSocket) greet(domain string) error {
	if err := w.send(ws.Text, w.lines.open); err != nil {
		return err
	}
	for opened := false; ; {
		e, err := w.next()
		if err != nil {
			return err
		}
		switch name := string(localName(e.Payload)); {
		case e.Opcode == ws.Close:
			return judgeClose(&e)
		case e.Opcode != ws.Text:
		case name == "open" && !opened:
			opened = true
		case name == "features" && opened:
			return nil
		case name == "error":
			return judgeStreamError(e.Payload, domain)
		case name == "close":
			return errors.New("it closes the stream at once")
		default:
			return fmt.Errorf("it speaks WebSocket, but not XMPP: it answers the opening of a stream with %.40q",
				e.Payload)
		}
	}
}

func judgeClose(e *ws.Event) error {
	text := fmt.Sprintf("it closes the WebSocket at once: code %d", e.Code)
	if len(e.Payload) > 0 {
		text += fmt.Sprintf(", %q", e.Payload)
	}
	switch e.Code {
	case ws.CodeServiceRestart, ws.CodeTryAgainLater, ws.CodeGoingAway:
		return fmt.Errorf("%w: %s", errBusy, text)
	}
	return errors.New(text)
}

func judgeStreamError(p []byte, domain string) error {
	text := string(p[:min(len(p), 200)])
	if strings.Contains(text, "host-unknown") || strings.Contains(text, "improper-addressing") {
		return fmt.Errorf("it refuses the stream: it does not serve the domain %s: give another with --domain: %s",
			domain, text)
	}
	return fmt.Errorf("it ends the stream at once: %s", text)
}

// send sends one frame.
func (w *webSocket) send(o ws.Opcode, payload string) error {
	w.lines.frame(w.random, o, []byte(payload))
	_, err := w.conn.Write(w.lines.flush())
	return err
}

// next returns the next event, and answers pings. The event is valid until the next call.
func (w *webSocket) next() (ws.Event, error) {
	for {
		e, n, ok, fault := w.stream.Next(w.in, maxReplyBytes)
		w.in = w.in[n:]
		switch {
		case fault != nil:
			return e, fmt.Errorf("malformed frame: %s", fault.Reason)
		case ok && e.Opcode == ws.Ping:
			if err := w.send(ws.Pong, string(e.Payload)); err != nil {
				return e, err
			}
		case ok:
			return e, nil
		default:
			if err := w.read(); err != nil {
				return e, err
			}
		}
	}
}

// leave ends stream and WebSocket.
func (w *webSocket) leave() {
	err := w.send(ws.Text, "<close xmlns='"+nsFraming+"'/>")
	for err == nil {
		var e ws.Event
		e, err = w.next()
		if err == nil && (e.Opcode == ws.Close || string(localName(e.Payload)) == "close") {
			break
		}
	}
	_ = w.send(ws.Close, string(ws.AppendClosePayload(nil, ws.CodeNormal, "")))
}
