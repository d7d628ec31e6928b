package bosh

import (
	"bytes"
	"strconv"

	"megaphone/codec/markup"
)

// The parts of a reply.
const (
	bodyOpen      = "<body xmlns='" + bodyNamespace + "'"
	bodyClose     = "</body>"
	declareStream = " xmlns:stream='" + streamNamespace + "'"
	streamPrefix  = "<stream:"
)

// Constant replies.
var (
	emptyReply       = []byte(bodyOpen + "/>")
	terminateReply   = []byte(bodyOpen + " type='terminate'/>")
	recoverableReply = []byte(bodyOpen + " type='error'/>")
)

// resourceConstraint is the XMPP error for an exceeded limit (RFC 6120, section 4.9.3.17).
var (
	resourceConstraint      = []byte("<resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>")
	resourceConstraintError = []byte("<stream:error>" + string(resourceConstraint) + "</stream:error>")
)

// draft builds a reply: first the attributes, then the payloads. All replies share its buffer.
type draft struct {
	buf     []byte
	content bool // the start tag is complete
}

// begin starts a reply.
func (d *draft) begin() {
	d.buf = append(d.buf[:0], bodyOpen...)
	d.content = false
}

// attribute adds an attribute. name includes the characters around it, as in " sid='".
func (d *draft) attribute(name, value string) {
	d.buf = append(d.buf, name...)
	d.buf = markup.AppendEscaped(d.buf, value)
	d.buf = append(d.buf, '\'')
}

// number adds a numeric attribute.
func (d *draft) number(name string, value uint64) {
	d.buf = append(d.buf, name...)
	d.buf = strconv.AppendUint(d.buf, value, 10)
	d.buf = append(d.buf, '\'')
}

// terminate adds the attributes of a reply that ends a session.
func (d *draft) terminate(c Condition) {
	d.buf = append(d.buf, " type='terminate'"...)
	if c != "" {
		d.attribute(" condition='", string(c))
	}
}

// endTag ends the start tag. Payloads follow.
func (d *draft) endTag(stream bool) {
	if stream {
		d.buf = append(d.buf, declareStream...)
	}
	d.buf = append(d.buf, '>')
	d.content = true
}

// payload adds a payload. Call it after endTag.
func (d *draft) payload(p []byte) { d.buf = append(d.buf, p...) }

// end returns the reply, which is valid until the next begin.
func (d *draft) end() []byte {
	if d.content {
		d.buf = append(d.buf, bodyClose...)
	} else {
		d.buf = append(d.buf, "/>"...)
	}
	return d.buf
}

// needsStream reports whether a payload uses the prefix that the body must then declare (XEP-0206, section 2).
func needsStream(payload []byte) bool { return bytes.HasPrefix(payload, []byte(streamPrefix)) }

// terminal returns the reply that ends a session with condition c. For a legacy client it returns an HTTP status
// instead if there is one. The body is valid until the next begin.
func (d *draft) terminal(c Condition, payload []byte, legacy bool) (status int, body []byte) {
	if status := c.legacyStatus(); legacy && status != 0 {
		return status, nil
	}
	if c == "" && len(payload) == 0 {
		return statusOK, terminateReply
	}
	d.begin()
	d.terminate(c)
	if len(payload) > 0 {
		d.endTag(needsStream(payload))
		d.payload(payload)
	}
	return statusOK, d.end()
}

// statusOK is the HTTP status of every reply but a legacy client's error.
const statusOK = 200
