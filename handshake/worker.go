package handshake

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"runtime/debug"
	"time"

	"megaphone/record"
)

const (
	headerBytes = 5
	lengthAt    = 3 // in a record's header

	typeChangeCipherSpec = 20
	typeAlert            = 21
	typeHandshake        = 22
	typeData             = 23

	// maxRecordBytes is the longest record of TLS 1.2. crypto/tls checks the bound of TLS 1.3 itself.
	maxRecordBytes = headerBytes + 16384 + 2048

	// maxClientBytes bounds the records that a server takes from a client: one of the greatest length, and some more. A
	// usual hello has 0.5 to 3 KB. crypto/tls alone would collect up to 256 KiB, in a message of any type.
	maxClientBytes = headerBytes + 16384 + 4096

	// maxKeptOutput bounds the buffer that a worker keeps for its next handshake.
	maxKeptOutput = 16 << 10
)

// Errors of handshakes that do not come from crypto/tls.
var (
	errAborted = errors.New("the connection has ended")
	errSecrets = errors.New("crypto/tls has not given the secrets of the connection")
)

// ErrBehindFinished is a fault of the peer that crypto/tls has not reported.
var ErrBehindFinished = errors.New("handshake data follows the Finished message in its record")

// PanicError is a panic in crypto/tls.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic in a handshake: %v", e.Value) }

// Result is the outcome of a handshake.
type Result struct {
	Version, Suite uint16
	Resumed        bool
	ServerName     string // that the client has named
	Protocol       string // chosen by ALPN; "": none

	// Secrets are what a record.State starts with. They are valid until the worker is released.
	Secrets record.Handshake
}

// Worker makes one handshake after the other. See the package documentation.
type Worker struct {
	config *Config     // of the current handshake
	own    *tls.Config // a copy of it
	next   func() (struct{}, bool)
	yield  func(struct{}) bool
	stop   func()

	in      []byte // borrowed during a step
	used    int    // of in
	left    int    // of the record that crypto/tls is reading
	taken   int    // bytes of all records
	out     []byte
	aborted bool
	stopped bool // the coroutine has ended, or must

	conn    *tls.Conn
	state   tls.ConnectionState
	done    bool
	err     error
	tickets uint64
	secrets secrets
}

// newWorker makes a worker. It belongs to the calling goroutine.
func newWorker() *Worker {
	w := new(Worker)
	w.next, w.stop = iter.Pull(w.run)
	return w
}

// run is the coroutine.
func (w *Worker) run(yield func(struct{}) bool) {
	w.yield = yield
	defer func() { w.stopped = true }()
	for w.shakeHands() && !w.stopped && yield(struct{}{}) {
	}
}

// shakeHands makes one handshake. It reports whether another can follow.
func (w *Worker) shakeHands() (again bool) {
	defer func() {
		if v := recover(); v != nil {
			w.err, w.done = &PanicError{v, debug.Stack()}, true
		}
	}()
	if w.config.client {
		w.conn = tls.Client((*wire)(w), w.own)
	} else {
		w.conn = tls.Server((*wire)(w), w.own)
	}
	if w.err = w.conn.Handshake(); w.err == nil {
		w.state = w.conn.ConnectionState()
	}
	w.done = true
	return true
}

// begin readies the worker for a handshake with c.
func (w *Worker) begin(c *Config) {
	w.config, w.own = c, w.copyOf(c)
}

// copyOf returns a copy of c whose secrets come out in w. It is not kept for the next handshake, because it has private
// keys and ticket keys: a worker that is idle for days would keep those that others have replaced.
func (w *Worker) copyOf(c *Config) *tls.Config {
	own := c.base.Clone()
	own.KeyLogWriter = (*keyLog)(w)
	if !c.client {
		own.WrapSession = w.wrapSession
		own.UnwrapSession = w.unwrapSession
	}
	return own
}

// Fresh reports whether the handshake has had no step.
func (w *Worker) Fresh() bool { return w.conn == nil }

// Begin lets a client write its hello, which is then in Output.
func (w *Worker) Begin() { _, _ = w.Step(nil) }

// Step continues the handshake with the whole records at the start of in, and returns their length. in is borrowed
// until return. After done there is a Result, or an error. What follows the handshake in the input is not used.
func (w *Worker) Step(in []byte) (used int, done bool) {
	w.in, w.used, w.out = in, 0, w.out[:0]
	w.next()
	w.in = nil
	return w.used, w.done
}

// Output returns what the last step has written, valid until the next one.
func (w *Worker) Output() []byte { return w.out }

// Err returns the error of a handshake that is done.
func (w *Worker) Err() error { return w.err }

// Result returns the outcome of a handshake that is done without an error.
func (w *Worker) Result() (r Result, err error) {
	s := &w.state
	r = Result{Version: s.Version, Suite: s.CipherSuite, Resumed: s.DidResume, ServerName: s.ServerName,
		Protocol: s.NegotiatedProtocol}
	r.Secrets, err = w.secrets.of(w)
	return r, err
}

// reset ends a handshake, and forgets it.
func (w *Worker) reset() {
	if !w.done && w.conn != nil {
		w.aborted = true
		w.next()
	}
	w.secrets.wipe()
	w.config, w.own, w.conn, w.state, w.err = nil, nil, nil, tls.ConnectionState{}, nil
	w.aborted, w.done, w.left, w.taken, w.tickets = false, false, 0, 0, 0
	if w.out = w.out[:0]; cap(w.out) > maxKeptOutput {
		w.out = nil
	}
}

// end ends the coroutine.
func (w *Worker) end() {
	w.stopped, w.aborted = true, true
	w.stop()
	w.secrets.wipe()
}

// wire is the worker as crypto/tls's connection.
type wire Worker

// Read passes on the rest of a record, and waits for the next if there is none.
func (c *wire) Read(p []byte) (int, error) {
	for {
		if c.aborted {
			return 0, errAborted
		}
		rest := c.in[c.used:]
		if c.left == 0 {
			c.left = c.measure(rest)
			c.taken += c.left
		}
		if c.taken > maxClientBytes && !c.config.client {
			return copy(p, tooLong), nil
		}
		if c.left > 0 {
			n := copy(p, rest[:c.left]) // p may be shorter than the record
			c.left -= n
			c.used += n
			return n, nil
		}
		if !c.yield(struct{}{}) {
			return 0, errAborted
		}
	}
}

// tooLong is the header of a record that is too long in any state of a handshake. For it crypto/tls sends the alert
// record_overflow, under the keys that it has by then, and ends the handshake.
var tooLong = []byte{typeHandshake, 3, 3, 0xff, 0xff}

// measure returns the length of the whole record at the start of p, 0 if it is not whole. It takes note of the record.
// Other input is passed on whole, because crypto/tls has the alert for it.
func (c *wire) measure(p []byte) int {
	if len(p) < headerBytes {
		return 0
	}
	n := headerBytes + int(p[lengthAt])<<8 + int(p[lengthAt+1])
	if p[0] < typeChangeCipherSpec || p[0] > typeData || n > maxRecordBytes {
		return len(p)
	}
	if len(p) < n {
		return 0
	}
	c.secrets.in.see(p[:n])
	return n
}

// Write takes whole records.
func (c *wire) Write(p []byte) (int, error) {
	for rest := p; len(rest) >= headerBytes; {
		n := min(headerBytes+int(rest[lengthAt])<<8+int(rest[lengthAt+1]), len(rest))
		c.secrets.out.see(rest[:n])
		rest = rest[n:]
	}
	c.out = append(c.out, p...)
	return len(p), nil
}

func (c *wire) Close() error                     { return nil }
func (c *wire) LocalAddr() net.Addr              { return noAddr{} }
func (c *wire) RemoteAddr() net.Addr             { return noAddr{} }
func (c *wire) SetDeadline(time.Time) error      { return nil }
func (c *wire) SetReadDeadline(time.Time) error  { return nil }
func (c *wire) SetWriteDeadline(time.Time) error { return nil }

type noAddr struct{}

func (noAddr) Network() string { return "memory" }
func (noAddr) String() string  { return "memory" }

var _ io.ReadWriter = (*wire)(nil)
