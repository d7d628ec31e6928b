package ws

import (
	"crypto/sha1"
	"encoding/base64"

	"megaphone/codec/http1"
	"megaphone/codec/internal/ascii"
)

// Refusal is the answer to a request that does not begin a WebSocket. There is one value for each reason, so the answer
// to each can be built in advance. The framing of the connection is intact after it.
type Refusal struct {
	Status  int      // of the answer
	Headers []string // further lines of the answer, without line ends
	Reason  string   // one sentence for the author of the client, or for the operator of a proxy before the edge
}

// Error returns the reason.
func (r *Refusal) Error() string { return r.Reason }

// Reasons to refuse a handshake. RFC 9110 section 15.5.22: "The server MUST send an Upgrade header field in a 426
// response to indicate the required protocol(s)".
var (
	errMethod  = refusal(405, "A WebSocket begins with GET.", "Allow: GET")
	errOldHTTP = refusal(400, "A WebSocket begins with HTTP/1.1: is a proxy on the way that speaks HTTP/1.0?")
	errBody    = refusal(400, "A request that begins a WebSocket has no body.")
	errUpgrade = refusal(426,
		"Upgrade must list websocket. If the client sent it, have the proxies on the way pass it on.",
		"Upgrade: websocket")
	errConnection = refusal(400,
		"Connection must list Upgrade. If the client sent it, have the proxies on the way pass it on.")
	errVersion = refusal(426, "Sec-WebSocket-Version must be 13.", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
	errTwice   = refusal(400, "More than one Sec-WebSocket-Key or Sec-WebSocket-Version.")
	errKey     = refusal(400, "Sec-WebSocket-Key must be 16 bytes in base64.")
	errNotXMPP = refusal(400, "Sec-WebSocket-Protocol must list xmpp.")
)

// Refusals lists all refusals, so that the answers can be built in advance.
var Refusals []*Refusal

func refusal(status int, reason string, headers ...string) *Refusal {
	r := &Refusal{status, headers, reason}
	Refusals = append(Refusals, r)
	return r
}

const (
	// keyBytes is the length of 16 bytes in base64.
	keyBytes = 24
	// guid makes a server's accept differ from everything that a server without WebSocket says (section 1.3).
	guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	// protocol is the sub-protocol of RFC 7395.
	protocol = "xmpp"
)

// handshake is the part of a request that begins a WebSocket.
type handshake struct {
	key, version               []byte
	keys, versions             int
	upgrade, connection, speak bool // the header lists websocket, Upgrade, xmpp
}

// ParseRequest checks that a request begins a WebSocket for XMPP (RFC 6455 section 4.2.1, RFC 7395 section 3.1). h and
// head are those of a complete head accepted by http1.ParseHead. It borrows head until return, and key borrows from it.
// Extensions are declined, because the answer does not name any. The caller checks path and Origin.
func ParseRequest(h *http1.Head, head []byte) (key []byte, err *Refusal) {
	var r handshake
	for name, value := range http1.Fields(head) {
		r.field(name, value)
	}
	switch {
	case h.Method != http1.MethodGet:
		return nil, errMethod
	case h.Minor == 0:
		return nil, errOldHTTP
	case h.Chunked || h.ContentLength > 0:
		return nil, errBody
	case !r.upgrade:
		return nil, errUpgrade
	case !r.connection:
		return nil, errConnection
	case r.keys > 1 || r.versions > 1:
		// Sections 11.3.1 and 11.3.5: the header "MUST NOT appear more than once in an HTTP request".
		return nil, errTwice
	case string(r.version) != "13":
		// Section 4.4: "the server MUST respond with a |Sec-WebSocket-Version| header field [...] containing all
		// versions the server is willing to use", and with a status such as 426 (section 4.2.2).
		return nil, errVersion
	case !validKey(r.key):
		return nil, errKey
	case !r.speak:
		return nil, errNotXMPP
	}
	return r.key, nil
}

// field records one header line.
func (r *handshake) field(name, value []byte) {
	switch len(name) {
	case len("Upgrade"):
		r.upgrade = r.upgrade || ascii.EqualFold(name, "upgrade") && lists(value, "websocket")
	case len("Connection"):
		r.connection = r.connection || ascii.EqualFold(name, "connection") && lists(value, "upgrade")
	case len("Sec-WebSocket-Key"):
		if ascii.EqualFold(name, "sec-websocket-key") {
			r.key, r.keys = value, r.keys+1
		}
	case len("Sec-WebSocket-Version"):
		if ascii.EqualFold(name, "sec-websocket-version") {
			r.version, r.versions = value, r.versions+1
		}
	case len("Sec-WebSocket-Protocol"):
		r.speak = r.speak || ascii.EqualFold(name, "sec-websocket-protocol") && offers(value, protocol)
	}
}

// lists reports whether a list has the element, which is in lower case, in any case (RFC 9110 sections 7.6.1 and 7.8).
func lists(list []byte, lower string) bool {
	for len(list) > 0 {
		var element []byte
		if element, list = ascii.CutElement(list); ascii.EqualFold(element, lower) {
			return true
		}
	}
	return false
}

// offers reports whether a list has the protocol. The case of letters counts, because the answer must be one of the
// client's words (RFC 6455 section 4.1).
func offers(list []byte, protocol string) bool {
	for len(list) > 0 {
		var element []byte
		if element, list = ascii.CutElement(list); string(element) == protocol {
			return true
		}
	}
	return false
}

func validKey(key []byte) bool {
	if len(key) != keyBytes {
		return false
	}
	var decoded [keyBytes]byte
	n, err := base64.StdEncoding.Decode(decoded[:], key)
	return n == 16 && err == nil
}

// AppendAnswer appends the answer to a request with the given key to dst (section 4.2.2). The stream begins after it.
func AppendAnswer(dst, key []byte) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: "...)
	return append(AppendAccept(dst, key), "\r\nSec-WebSocket-Protocol: "+protocol+"\r\n\r\n"...)
}

// AppendAccept appends the value of Sec-WebSocket-Accept for a key to dst. A client compares it with the answer. It
// panics if the key does not have the length of a valid one.
func AppendAccept(dst, key []byte) []byte {
	var text [keyBytes + len(guid)]byte
	if len(key) != keyBytes {
		panic("ws: an answer to an invalid key")
	}
	copy(text[copy(text[:], key):], guid)
	sum := sha1.Sum(text[:])
	return base64.StdEncoding.AppendEncode(dst, sum[:])
}
