package chat

import (
	"megaphone/codec/markup"
	"megaphone/origin/bosh"
)

// stanzaError is a complete <error/> element (RFC 6120, section 8.3).
type stanzaError string

func newStanzaError(kind, condition string) stanzaError {
	return stanzaError("<error type='" + kind + "'><" + condition + " xmlns='" + nsStanzaError + "'/></error>")
}

var (
	errBadRequest         = newStanzaError("modify", "bad-request")
	errConflict           = newStanzaError("cancel", "conflict")
	errForbidden          = newStanzaError("auth", "forbidden")
	errItemNotFound       = newStanzaError("cancel", "item-not-found")
	errJIDMalformed       = newStanzaError("modify", "jid-malformed")
	errNotAcceptable      = newStanzaError("modify", "not-acceptable")
	errNotAllowed         = newStanzaError("cancel", "not-allowed")
	errNotImplemented     = newStanzaError("cancel", "feature-not-implemented")
	errRemoteNotFound     = newStanzaError("cancel", "remote-server-not-found")
	errResourceConstraint = newStanzaError("wait", "resource-constraint")
	errServiceUnavailable = newStanzaError("cancel", "service-unavailable")
)

// streamError is a complete <stream:error/> element (RFC 6120, section 4.9.3). It ends the session.
type streamError string

func newStreamError(condition string) streamError {
	return streamError("<stream:error xmlns:stream='" + nsStream + "'><" + condition + " xmlns='" + nsStreamError +
		"'/></stream:error>")
}

var (
	streamBadPrefix        = newStreamError("bad-namespace-prefix")
	streamConflict         = newStreamError("conflict")
	streamInvalidNamespace = newStreamError("invalid-namespace")
	streamNotAuthorized    = newStreamError("not-authorized")
	streamNotWellFormed    = newStreamError("not-well-formed")
	streamPolicyViolation  = newStreamError("policy-violation")
	streamUnsupportedType  = newStreamError("unsupported-stanza-type")
)

// fail ends c with a stream error: remote-stream-error with the error as payload (XEP-0206, section 7).
func (s *Service) fail(c *client, e streamError) {
	if c.state == stateEnded {
		return
	}
	s.stats.StreamErrors++
	out := c.out
	s.leave(c)
	out.Terminate(bosh.RemoteStreamError, []byte(e))
}

// refuse answers stanza e of c with an error. It never answers an error or a result (RFC 6120, section 8.3.1).
func (s *Service) refuse(c *client, e *element, problem stanzaError) {
	if string(e.kind) == "error" || (string(e.kind) == "result" && string(e.local) == "iq") {
		return
	}
	s.stats.StanzaErrors++
	b := append(s.buf[:0], '<')
	b = append(b, e.local...)
	b = append(b, " xmlns='"+nsClient+"' type='error'"...)
	b = appendReplyAddress(b, c, e, problem != errJIDMalformed)
	b = append(b, '>')
	b = append(b, problem...)
	b = append(b, "</"...)
	b = append(b, e.local...)
	b = append(b, '>')
	s.buf = b
	c.out.Send(b)
}

// appendReplyAddress appends the id, from and to of an answer to e. from is the address that the client wrote, so that
// the client recognises the answer even after using an alias of the domain.
func appendReplyAddress(b []byte, c *client, e *element, from bool) []byte {
	if e.id != nil {
		b = append(b, " id="...)
		b = markup.AppendQuoted(b, e.id)
	}
	if from && e.to != nil {
		b = append(b, " from="...)
		b = markup.AppendQuoted(b, e.to)
	}
	if c.state == stateBound {
		b = append(b, " to='"...)
		b = markup.AppendEscaped(b, c.jid)
		b = append(b, '\'')
	}
	return b
}
