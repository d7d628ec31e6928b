package bosh

// Condition is the reason why a session ended or was refused: a terminal binding condition of XEP-0124, section 17.2.
// The empty Condition means no error: an accepted session, or one that its client ended.
type Condition string

const (
	BadRequest             Condition = "bad-request"              // the request is not a BOSH body
	HostGone               Condition = "host-gone"                // the domain is no longer served here
	HostUnknown            Condition = "host-unknown"             // the domain is not served here
	ImproperAddressing     Condition = "improper-addressing"      // the request names no domain
	InternalServerError    Condition = "internal-server-error"    // a fault of this origin
	ItemNotFound           Condition = "item-not-found"           // no such session, rid, reply or key
	OtherRequest           Condition = "other-request"            // another request of the session ended it
	PolicyViolation        Condition = "policy-violation"         // too many requests, or too often
	RemoteConnectionFailed Condition = "remote-connection-failed" // the server behind cannot be reached
	RemoteStreamError      Condition = "remote-stream-error"      // a stream error, which is in the payload
	SeeOtherURI            Condition = "see-other-uri"            // the payload is the <uri/> to use instead
	SystemShutdown         Condition = "system-shutdown"          // shutting down
	UndefinedCondition     Condition = "undefined-condition"      // none of these; the payload says more
)

// legacyStatus returns the HTTP status that replaces c for a client without `ver` (XEP-0124, section 17.1). It returns
// 0 if there is none and the condition itself is sent, with 200.
func (c Condition) legacyStatus() int {
	switch c {
	case BadRequest:
		return 400
	case PolicyViolation:
		return 403
	case ItemNotFound:
		return 404
	}
	return 0
}
