package record

import (
	"io"
	"strconv"
)

// Alert is the description of an alert (RFC 8446 section 6, RFC 5246 section 7.2).
type Alert uint8

const (
	alertCloseNotify       Alert = 0
	alertUnexpectedMessage Alert = 10
	alertBadRecordMAC      Alert = 20
	alertRecordOverflow    Alert = 22
	alertIllegalParameter  Alert = 47
	alertDecodeError       Alert = 50
	alertProtocolVersion   Alert = 70
	alertInternalError     Alert = 80
	alertUserCanceled      Alert = 90
	alertNoRenegotiation   Alert = 100
)

// An alert is its level and its description.
const (
	alertBytes   = 2
	levelWarning = 1
	levelFatal   = 2
)

// PeerAlert is the end of a connection by a fatal alert of the peer.
type PeerAlert Alert

// Error names the alert by its number.
func (a PeerAlert) Error() string { return "the peer has sent alert " + strconv.Itoa(int(a)) }

// Error is a violation of the protocol by the peer, which ends the connection. There is one value for each kind.
type Error struct {
	Alert  Alert  // the alert that the peer gets
	Reason string // one sentence
}

// Error returns the reason.
func (e *Error) Error() string { return e.Reason }

// Faults of records.
var (
	errVersion     = &Error{alertProtocolVersion, "A record has another version than 3.3."}
	errType        = &Error{alertUnexpectedMessage, "A record has a type that is not allowed after the handshake."}
	errTooLong     = &Error{alertRecordOverflow, "A record is too long."}
	errPlainLong   = &Error{alertRecordOverflow, "The plaintext of a record is too long."}
	errMAC         = &Error{alertBadRecordMAC, "A record fails authentication."}
	errNoType      = &Error{alertUnexpectedMessage, "A record has only padding."}
	errEmpty       = &Error{alertUnexpectedMessage, "An alert or handshake record is empty."}
	errInterleaved = &Error{alertUnexpectedMessage, "A record comes between the parts of a handshake message."}
	errUseless     = &Error{alertUnexpectedMessage, "Too many records in a row without data."}
	errSequence    = &Error{alertInternalError, "The sequence numbers of the peer are used up."}
)

// Faults of alerts and handshake messages.
var (
	errAlertLength   = &Error{alertDecodeError, "An alert has not exactly two bytes."}
	errAlertLevel    = &Error{alertDecodeError, "An alert is neither a warning nor fatal."}
	errMessage       = &Error{alertUnexpectedMessage, "A handshake message is not allowed after the handshake."}
	errMessageLength = &Error{alertDecodeError, "A handshake message has an impossible length."}
	errUpdateRequest = &Error{alertIllegalParameter, "The request of a KeyUpdate is neither 0 nor 1."}
	errBehindUpdate  = &Error{alertUnexpectedMessage, "Bytes of the old key follow a KeyUpdate in its record."}
)

// takeAlert takes the contents of an alert record.
func (s *State) takeAlert(p []byte) error {
	switch len(p) {
	case 0:
		return errEmpty
	case alertBytes:
	default:
		return errAlertLength
	}
	level, alert := p[0], Alert(p[1])
	switch {
	case alert == alertCloseNotify:
		return io.EOF
	case s.suite().tls13 && alert != alertUserCanceled:
		return PeerAlert(alert) // RFC 8446 section 6: unknown ones and those of any level
	case s.suite().tls13 || level == levelWarning:
		return nil
	case level == levelFatal:
		return PeerAlert(alert)
	}
	return errAlertLevel
}
