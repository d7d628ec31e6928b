package load

import (
	"bytes"
	"log/slog"

	"megaphone/codec/ws"
	"megaphone/loop"
)

// The errors of an answer to a WebSocket's handshake, besides those of a response.
const (
	errNotUpgraded malformed = "the answer 101 does not switch to WebSocket: Upgrade or Connection is missing"
	errAccept      malformed = "the answer 101 has a wrong Sec-WebSocket-Accept: is it that of a cache?"
	errNoXMPP      malformed = "the server speaks WebSocket, but not XMPP: its answer 101 lacks " +
		"Sec-WebSocket-Protocol: xmpp (RFC 7395)"
	errExtension malformed = "the answer 101 has an extension that was not asked for"
)

// upgrade is the answer to a handshake.
type upgrade struct {
	status     int
	retryAfter int // seconds, 0 if absent
}

// httpMark begins every response.
const httpMark = "HTTP/1."

// parseUpgrade parses the head of the answer to the handshake with a key (RFC 6455 section 4.1). n is its length, or 0
// if it is incomplete. A status other than 101 is no error.
func parseUpgrade(p []byte, key webSocketKey) (u upgrade, n int, err error) {
	if k := min(len(p), len(httpMark)); string(p[:k]) != httpMark[:k] {
		return u, 0, errStatusLine
	}
	end := bytes.Index(p, []byte("\r\n\r\n"))
	if end < 0 {
		if len(p) > maxHeadBytes {
			return u, 0, errHeadSize
		}
		return u, 0, nil
	}
	if u.status, _, err = parseStatus(p[:end+2]); err != nil {
		return u, 0, err
	}
	var room [32]byte
	var upgrades, connects, accepted, speaks, extended bool
	for _, rest, _ := bytes.Cut(p[:end+2], newLine); len(rest) > 0; {
		var name, value []byte
		switch name, value, rest = cutField(rest); {
		case is(name, "upgrade"):
			upgrades = is(value, "websocket")
		case is(name, "connection"):
			connects = connects || has(value, "upgrade")
		case is(name, "sec-websocket-accept"):
			accepted = bytes.Equal(value, ws.AppendAccept(room[:0], key[:]))
		case is(name, "sec-websocket-protocol"):
			speaks = string(value) == "xmpp"
		case is(name, "sec-websocket-extensions"):
			extended = true
		case is(name, "retry-after"):
			u.retryAfter, _ = parseDecimal(value)
		}
	}
	switch {
	case u.status != 101:
		return u, end + 4, nil
	case !upgrades || !connects:
		return u, 0, errNotUpgraded
	case !accepted:
		return u, 0, errAccept
	case !speaks:
		return u, 0, errNoXMPP
	case extended:
		return u, 0, errExtension
	}
	return u, end + 4, nil
}

// upgraded takes the answer to the handshake of session i. consumed is 0 if it is incomplete. If it is a refusal, all
// of p is consumed.
func (w *streaming) upgraded(c, i uint32, p []byte) (consumed, need int) {
	s := &w.sessions[i]
	u, n, err := parseUpgrade(p, w.lines.key(w.write.run, w.number(i), s.began))
	switch {
	case err != nil:
		w.counters[cMalformed]++
		w.r.LogLimited(&w.oddLog, slog.LevelWarn, "malformed answer to handshake", "reason", err.Error())
		w.hangUp(i, ws.CodeNone)
		w.lost(i, 0)
	case n == 0:
		return 0, len(p) + 1
	case u.status >= 500 || u.status == 429:
		w.counters[cUnavailable]++
		w.hangUp(i, ws.CodeNone)
		w.lost(i, uint32(u.retryAfter)*1000/loop.TickMillis)
	case u.status != 101:
		w.counters[cRejected]++
		w.r.LogLimited(&w.endLog, slog.LevelWarn, "handshake refused", "status", u.status)
		w.end(i, true)
	default:
		w.r.Conn(c).Phase = uint8(connStream)
		w.counters[cStreams]++
		w.counters[cOpenNow]++
		w.ask(i, kindCreate, 0, 0)
		return n, 0
	}
	return len(p), 0
}
