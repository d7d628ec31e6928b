package secure

import (
	"errors"
	"net"

	"megaphone/handshake"
	"megaphone/loop"
)

// Failure is the kind of reason for which a connection has failed.
type Failure uint8

const (
	PlainHTTP    Failure = iota // the first bytes are a request in plaintext
	NotTLS                      // the first bytes are no hello
	NoCommon                    // client and server have no version, cipher suite or protocol in common
	ByPeer                      // the peer has sent an alert: it does not trust the certificate, for example
	BadHandshake                // another violation of the protocol
	BadRecord                   // a violation after the handshake
	Crowded                     // the client did not answer while others waited for a handshake
	Internal                    // an error of this program
)

// Header and alerts of records (RFC 8446 sections 5.1 and 6).
const (
	headerBytes   = 5
	maxHelloBytes = 16384 // of a record in plaintext

	typeAlert     = 21
	typeHandshake = 22

	alertUnexpectedMessage = 10
	alertRecordOverflow    = 22
	alertHandshakeFailure  = 40
	alertProtocolVersion   = 70
	alertInternalError     = 80
	alertNoProtocol        = 120
)

// Errors of a first record that does not reach crypto/tls.
var (
	errPlainHTTP = errors.New("a request in plaintext, on a listener for TLS")
	errNotTLS    = errors.New("the first bytes are no TLS handshake")
	errOverflow  = errors.New("the first record is too long")
)

// alert returns a fatal alert in plaintext.
func alert(code byte) []byte { return []byte{typeAlert, 3, 3, 0, 2, 2, code} }

// Refusal is for a client that a server cannot serve now: an alert in plaintext.
func Refusal() []byte { return alert(alertInternalError) }

// measure returns the length of the record at the start of p, 0 if it is not whole.
func measure(p []byte) (size int, why error) {
	switch {
	case len(p) == 0:
		return 0, nil
	case p[0] >= 'A' && p[0] <= 'Z':
		return 0, errPlainHTTP
	case p[0] != typeHandshake, len(p) > 1 && p[1] != 3:
		return 0, errNotTLS
	case len(p) < headerBytes:
		return 0, nil
	}
	size = headerBytes + int(p[3])<<8 + int(p[4])
	switch {
	case size > headerBytes+maxHelloBytes:
		return 0, errOverflow
	case size > len(p):
		return 0, nil
	}
	return size, nil
}

// refuse ends a connection whose first bytes are no hello.
func (t *Transport) refuse(c uint32, why error) (o loop.Opened) {
	kind := NotTLS
	switch {
	case why == errPlainHTTP && t.options.NotTLS != nil:
		kind, t.answer = PlainHTTP, append(t.answer, t.options.NotTLS...)
	case why == errOverflow:
		t.answer = append(t.answer, alert(alertRecordOverflow)...)
	default:
		t.answer = append(t.answer, alert(alertUnexpectedMessage)...)
	}
	t.set(c, stageEnded, 0)
	t.owner.Unsecured(c, kind, why)
	o.End = why
	return o
}

// failureOf returns the kind of an error of crypto/tls, which has written output.
func failureOf(err error, output []byte) Failure {
	var panicked *handshake.PanicError
	var op *net.OpError
	switch {
	case errors.As(err, &panicked):
		return Internal
	case errors.As(err, &op) && op.Op == "remote error":
		return ByPeer
	}
	switch alertIn(output) {
	case alertHandshakeFailure, alertProtocolVersion, alertNoProtocol:
		return NoCommon
	}
	return BadHandshake
}

// alertIn returns the alert in plaintext at the end of output, 0 if there is none.
func alertIn(output []byte) byte {
	if n := len(output) - headerBytes - 2; n >= 0 && output[n] == typeAlert && output[n+4] == 2 {
		return output[n+6]
	}
	return 0
}
