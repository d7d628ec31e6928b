package record

import (
	"math"
	"strings"
	"testing"
)

// tlsVersions selects the suites of a case.
type tlsVersions uint8

const (
	tls12 tlsVersions = 1 << iota
	tls13
)

func (v tlsVersions) has(c *suite) bool {
	if c.tls13 {
		return v&tls13 != 0
	}
	return v&tls12 != 0
}

// fault is a violation by a peer.
type fault struct {
	name     string
	source   string // of the rule, and of its alert
	versions tlsVersions
	toClient bool // the peer is a server
	wire     func(t *testing.T, peer *end) []byte
	want     *Error
}

// record returns the bytes of one record.
func record(contentType byte, content string) func(*testing.T, *end) []byte {
	return func(_ *testing.T, peer *end) []byte { return peer.raw(contentType, content) }
}

// plain returns bytes that are not sealed.
func plain(wire string) func(*testing.T, *end) []byte {
	return func(*testing.T, *end) []byte { return []byte(wire) }
}

// changed returns a record whose byte at i is changed; i counts from the end if it is negative.
func changed(i int, xor byte) func(*testing.T, *end) []byte {
	return func(t *testing.T, peer *end) []byte {
		wire := peer.seal(t, "attack at dawn")
		wire[(i+len(wire))%len(wire)] ^= xor
		return wire
	}
}

// repeated returns a record n times, each sealed anew.
func repeated(contentType byte, content string, n int) func(*testing.T, *end) []byte {
	return func(_ *testing.T, peer *end) (wire []byte) {
		for range n {
			wire = append(wire, peer.raw(contentType, content)...)
		}
		return wire
	}
}

// Handshake messages.
const (
	wantsUpdate   = "\x18\x00\x00\x01\x01"
	updates       = "\x18\x00\x00\x01\x00"
	sessionTicket = "\x04\x00\x00\x05\x01\x02\x03\x04\x05"
	clientHello   = "\x01\x00\x00\x29\x03\x03 a random of 32 bytes is in here\x00\x00\x02\xc0\x2b\x01\x00"
	helloRequest  = "\x00\x00\x00\x00"
)

var faults = []fault{
	// The header.
	{"version 3.1", "RFC 8446 5.2, RFC 5246 E.1", tls12 | tls13, false, changed(2, 2), errVersion},
	{"version 2.3", "RFC 8446 5.2, RFC 5246 E.1", tls12 | tls13, false, changed(1, 1), errVersion},
	{"type 19", "RFC 8446 5, RFC 5246 6", tls12 | tls13, false, plain("\x13\x03\x03\x00\x01"), errType},
	{"type 24", "RFC 8446 5, RFC 5246 6", tls12 | tls13, false, plain("\x18\x03\x03\x00\x01"), errType},
	{"HTTP without TLS", "RFC 8446 5, RFC 5246 6", tls12 | tls13, false, plain("GET / HTTP/1.1\r\n"), errType},
	{"alert in plaintext", "RFC 8446 5.2", tls13, false, plain("\x15\x03\x03\x00\x02\x02\x28"), errType},
	{"ChangeCipherSpec in plaintext", "RFC 8446 5", tls13, false, plain("\x14\x03\x03\x00\x01\x01"), errType},
	{"too long", "RFC 8446 5.2", tls13, false, plain("\x17\x03\x03\x41\x01"), errTooLong},
	{"too long", "RFC 5246 6.2.3", tls12, false, plain("\x17\x03\x03\x48\x01"), errTooLong},

	// Authentication.
	{"ciphertext changed", "RFC 8446 5.2, RFC 5246 7.2.2", tls12 | tls13, false, changed(-20, 1), errMAC},
	{"tag changed", "RFC 8446 5.2, RFC 5246 7.2.2", tls12 | tls13, false, changed(-1, 0x80), errMAC},
	{"nonce or ciphertext changed", "RFC 8446 5.2, RFC 5246 7.2.2", tls12 | tls13, false, changed(5, 1), errMAC},
	{"type changed", "RFC 5246 6.2.3.3", tls12, false, changed(0, 1), errMAC},
	{"length 0", "RFC 8446 5.2, RFC 5246 7.2.2", tls12 | tls13, false, plain("\x17\x03\x03\x00\x00"), errMAC},
	{"shorter than a tag", "RFC 8446 5.2, RFC 5246 7.2.2", tls12 | tls13, false,
		plain("\x17\x03\x03\x00\x0f123456789012345"), errMAC},
	{"a tag alone", "RFC 8446 5.2, RFC 5246 7.2.2", tls12 | tls13, false,
		plain("\x17\x03\x03\x00\x101234567890123456"), errMAC},
	{"in plaintext", "RFC 8446 5.2, RFC 5246 7.2.2", tls12 | tls13, false,
		plain("\x17\x03\x03\x00\x20" + strings.Repeat("x", 32)), errMAC},
	{"out of order", "RFC 8446 5.3, RFC 5246 6.1", tls12 | tls13, false, func(t *testing.T, peer *end) []byte {
		peer.seal(t, "lost")
		return peer.seal(t, "next")
	}, errMAC},
	{"under the next key too early", "RFC 8446 4.6.3", tls13, false, func(t *testing.T, peer *end) []byte {
		peer.update(t, false)
		return peer.seal(t, "next")
	}, errMAC},
	{"under the old key too late", "RFC 8446 4.6.3", tls13, false, func(t *testing.T, peer *end) []byte {
		return append(peer.raw(typeHandshake, updates), peer.seal(t, "next")...)
	}, errMAC},

	// The plaintext.
	{"plaintext too long", "RFC 8446 5.1, RFC 5246 6.2.1", tls12 | tls13, false,
		record(typeData, strings.Repeat("x", maxPlainBytes+1)), errPlainLong},
	{"plaintext too long with padding", "RFC 8446 5.4", tls13, false, func(_ *testing.T, peer *end) []byte {
		return peer.padded(typeData, strings.Repeat("x", maxPlainBytes), 1)
	}, errPlainLong},
	{"the longest record", "RFC 8446 5.4", tls13, false, func(_ *testing.T, peer *end) []byte {
		return peer.padded(typeData, strings.Repeat("x", maxPlainBytes), 256-tagBytes-1)
	}, errPlainLong},
	{"the longest record", "RFC 5246 6.2.1", tls12, false,
		record(typeData, strings.Repeat("x", maxPlainBytes+2048-explicitSize-tagBytes)), errPlainLong},
	{"no type", "RFC 8446 5.4", tls13, false, record(0, ""), errNoType},
	{"only padding", "RFC 8446 5.4", tls13, false, record(0, strings.Repeat("\x00", 100)), errNoType},
	{"type 24 inside", "RFC 8446 5", tls13, false, record(24, "x"), errType},
	{"ChangeCipherSpec", "RFC 8446 5, RFC 5246 7.1", tls12 | tls13, false, record(typeChangeCipherSpec, "\x01"),
		errType},

	// Alerts.
	{"empty alert", "RFC 8446 5.4, RFC 5246 6.2.1", tls12 | tls13, false, record(typeAlert, ""), errEmpty},
	{"alert of one byte", "RFC 8446 6, RFC 5246 7.2", tls12 | tls13, false, record(typeAlert, "\x02"), errAlertLength},
	{"two alerts", "RFC 8446 5.1, RFC 5246 7.2", tls12 | tls13, false, record(typeAlert, "\x01\x5a\x01\x00"),
		errAlertLength},
	{"alert of level 3", "RFC 5246 7.2", tls12, false, record(typeAlert, "\x03\x28"), errAlertLevel},

	// Handshake messages.
	{"empty handshake", "RFC 8446 5.4, RFC 5246 6.2.1", tls12 | tls13, false, record(typeHandshake, ""), errEmpty},
	{"empty handshake with padding", "RFC 8446 5.4", tls13, false, func(_ *testing.T, peer *end) []byte {
		return peer.padded(typeHandshake, "", 9)
	}, errEmpty},
	{"KeyUpdate, empty", "RFC 8446 6", tls13, false, record(typeHandshake, "\x18\x00\x00\x00"), errMessageLength},
	{"KeyUpdate of two bytes", "RFC 8446 6", tls13, false, record(typeHandshake, "\x18\x00\x00\x02\x00\x00"),
		errMessageLength},
	{"KeyUpdate of 16 MiB", "RFC 8446 6", tls13, false, record(typeHandshake, "\x18\xff\xff\xff"), errMessageLength},
	{"KeyUpdate with request 2", "RFC 8446 4.6.3", tls13, false, record(typeHandshake, "\x18\x00\x00\x01\x02"),
		errUpdateRequest},
	{"two KeyUpdates in a record", "RFC 8446 5.1", tls13, false, record(typeHandshake, updates+updates),
		errBehindUpdate},
	{"ticket behind a KeyUpdate", "RFC 8446 5.1", tls13, true, record(typeHandshake, updates+sessionTicket),
		errBehindUpdate},
	{"KeyUpdate", "RFC 5246 7.4", tls12, false, record(typeHandshake, updates), errMessage},
	{"ClientHello", "RFC 8446 4.1.2", tls13, false, record(typeHandshake, clientHello), errMessage},
	{"ClientHello to a client", "RFC 8446 4, RFC 5246 7.4", tls12 | tls13, true, record(typeHandshake, clientHello),
		errMessage},
	{"HelloRequest to a server", "RFC 5246 7.4.1.1", tls12 | tls13, false, record(typeHandshake, helloRequest),
		errMessage},
	{"HelloRequest", "RFC 8446 4", tls13, true, record(typeHandshake, helloRequest), errMessage},
	{"ticket to a server", "RFC 8446 4.6.1", tls12 | tls13, false, record(typeHandshake, sessionTicket), errMessage},
	{"ticket", "RFC 5077 3.3", tls12, true, record(typeHandshake, sessionTicket), errMessage},
	{"CertificateRequest", "RFC 8446 4.6.2", tls13, true, record(typeHandshake, "\x0d\x00\x00\x00"), errMessage},
	{"Finished", "RFC 8446 4, RFC 5246 7.4", tls12 | tls13, false, record(typeHandshake, "\x14"), errMessage},
	{"ticket behind a ticket to a server", "RFC 8446 4", tls13, true,
		record(typeHandshake, sessionTicket+sessionTicket+clientHello), errMessage},
	{"ticket too long", "RFC 8446 6", tls13, true, record(typeHandshake, "\x04\x10\x00\x00"), errMessageLength},
	{"ClientHello too long", "RFC 5246 7.2.2", tls12, false, record(typeHandshake, "\x01\x10\x00\x00"),
		errMessageLength},
	{"ClientHello too short", "RFC 5246 7.2.2", tls12, false, record(typeHandshake, "\x01\x00\x00\x28"),
		errMessageLength},
	{"ClientHellos without contents", "RFC 5246 7.2.2", tls12, false,
		record(typeHandshake, strings.Repeat("\x01\x00\x00\x00", 4096)), errMessageLength},
	{"HelloRequest with contents", "RFC 5246 7.4.1.1", tls12, true, record(typeHandshake, "\x00\x00\x00\x01\x00"),
		errMessageLength},
	{"data in a KeyUpdate", "RFC 8446 5.1", tls13, false, func(t *testing.T, peer *end) []byte {
		return append(peer.raw(typeHandshake, updates[:4]), peer.seal(t, "x")...)
	}, errInterleaved},
	{"close_notify in a KeyUpdate", "RFC 8446 5.1", tls13, false, func(_ *testing.T, peer *end) []byte {
		return append(peer.raw(typeHandshake, updates[:1]), peer.raw(typeAlert, "\x01\x00")...)
	}, errInterleaved},
	{"data in a ticket", "RFC 8446 5.1", tls13, true, func(t *testing.T, peer *end) []byte {
		return append(peer.raw(typeHandshake, sessionTicket[:8]), peer.seal(t, "x")...)
	}, errInterleaved},

	// Bounds.
	{"empty records", "RFC 8446 D.5", tls12 | tls13, false, repeated(typeData, "", maxUseless+1), errUseless},
	{"user_canceled", "RFC 8446 6.1", tls13, false, repeated(typeAlert, "\x01\x5a", maxUseless+1), errUseless},
	{"warnings", "RFC 5246 7.2.2", tls12, false, repeated(typeAlert, "\x01\x29", maxUseless+1), errUseless},
	{"renegotiations", "RFC 5246 7.2.2", tls12, false, repeated(typeHandshake, clientHello, maxUseless+1), errUseless},
	{"tickets", "RFC 8446 4.6.1", tls13, true, repeated(typeHandshake, sessionTicket, maxUseless+1), errUseless},
	{"KeyUpdates", "RFC 8446 4.6.3", tls13, false, func(t *testing.T, peer *end) (wire []byte) {
		for range maxUseless + 1 {
			wire = append(wire, peer.update(t, false)...)
		}
		return wire
	}, errUseless},
	{"sequence numbers used up", "RFC 8446 5.3, RFC 5246 6.1", tls12 | tls13, false,
		func(_ *testing.T, peer *end) []byte {
			peer.out().setSequence(math.MaxUint64 - 1)
			wire := peer.raw(typeData, "last")
			return append(wire, wire...)
		}, errSequence},
}
