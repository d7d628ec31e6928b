package bosh

// Condition is why a session ended, or was never opened: a terminal binding condition of XEP-0124, section 17.2.
// The empty Condition means that nothing is wrong: a session accepted, or one that ended as its client asked.
type Condition string

// The terminal binding conditions.
const (
	BadRequest             Condition = "bad-request"              // what the client sent is not a BOSH body
	HostGone               Condition = "host-gone"                // the domain is no longer served here
	HostUnknown            Condition = "host-unknown"             // the domain is not served here
	ImproperAddressing     Condition = "improper-addressing"      // no domain was named
	InternalServerError    Condition = "internal-server-error"    // our own fault
	ItemNotFound           Condition = "item-not-found"           // no such session, rid, reply or key
	OtherRequest           Condition = "other-request"            // another request of the session ended it
	PolicyViolation        Condition = "policy-violation"         // too many requests, or too often
	RemoteConnectionFailed Condition = "remote-connection-failed" // the server behind cannot be reached
	RemoteStreamError      Condition = "remote-stream-error"      // a stream error, which is in the payload
	SeeOtherURI            Condition = "see-other-uri"            // the payload is a <uri/> to go to
	SystemShutdown         Condition = "system-shutdown"          // going down
	UndefinedCondition     Condition = "undefined-condition"      // none of these; the payload says more
)

// legacyStatus is the HTTP status that stands for c where the client is so old that it sent no `ver` (XEP-0124,
// section 17.1); 0 where there is none and the condition itself is sent, with 200.
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
