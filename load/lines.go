package load

import (
	"encoding/base64"
	"encoding/binary"
	"math/rand/v2"

	"megaphone/codec/ws"
)

const (
	nsFraming = "urn:ietf:params:xml:ns:xmpp-framing"
	nsSM      = "urn:xmpp:sm:3"
)

// lines builds what a client sends over WebSocket, in two buffers.
type lines struct {
	request string // the handshake, up to its key
	open    string // the element that begins a stream
	enable  string // the element that enables stream management

	text []byte // an element, or the payload of a control frame
	out  []byte // frames
}

func newLines(t *target, c *Config) lines {
	resume := " resume='true'"
	if c.Login == LoginAnonymous {
		resume = "" // each log-in has an account of its own, and only the same account may resume
	}
	return lines{
		request: "GET " + t.path + " HTTP/1.1\r\nHost: " + t.host + "\r\n" +
			"Connection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: xmpp\r\nSec-WebSocket-Key: ",
		open:   "<open xmlns='" + nsFraming + "' to='" + c.Domain + "' version='1.0' xml:lang='en'/>",
		enable: "<enable xmlns='" + nsSM + "'" + resume + "/>",
	}
}

// webSocketKey is a Sec-WebSocket-Key: 16 bytes in base64.
type webSocketKey [24]byte

// key returns the key of a handshake, which is computed again when its answer comes.
func (l *lines) key(run, n uint32, began stamp) (key webSocketKey) {
	var random rand.PCG
	random.Seed(uint64(run)<<32|uint64(n), uint64(began))
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], random.Uint64())
	binary.LittleEndian.PutUint64(b[8:], random.Uint64())
	base64.StdEncoding.Encode(key[:], b[:])
	return key
}

// handshake returns the request that begins a WebSocket. It is valid until the next call.
func (l *lines) handshake(key webSocketKey) []byte {
	l.out = append(append(append(l.out[:0], l.request...), key[:]...), "\r\n\r\n"...)
	return l.flush()
}

// frame adds a frame to those that flush returns. It borrows p.
func (l *lines) frame(r *rand.Rand, o ws.Opcode, p []byte) {
	l.out = ws.AppendMasked(l.out, o, p, r.Uint32())
}

// flush returns the frames since the last call. They are valid until the next frame.
func (l *lines) flush() []byte {
	out := l.out
	l.out = l.out[:0]
	return out
}
