package gateway

import (
	"bytes"
	"hash/maphash"
	"strconv"

	"megaphone/codec/boshbody"
)

// Statuses of the gateway's own answers, except the first.
const (
	statusOK          = 200
	statusBadGateway  = 502 // the endpoint's reply is unusable
	statusUnavailable = 503 // the client sends the same request again
	statusLate        = 504 // no reply in time
)

var emptyBody = []byte("<body xmlns='http://jabber.org/protocol/httpbind'/>")

// read converts an endpoint's response into the client's reply. It keeps body.
//
// It keeps statuses, and bodies that are BOSH's, without anything before the element. It drops other bodies, such as
// the error pages of web servers and proxies, because no BOSH client could read them. It also drops a session ID
// outside a creation's reply. Prosody repeats the ID in each reply, without the tags that edges and the gateway have
// appended.
func (g *Gateway) read(c *call, status int, body []byte) fate {
	var b boshbody.StartTag
	err := boshbody.ParseReply(&b, body)
	if err == nil && status/100 == 2 {
		status = 200 // Strophe.js accepts no other status for a reply, and would lose its payload
	}
	c.status, c.body = status, nil
	c.final = status >= 400 && status < 500
	c.hasty = status != statusOK
	switch {
	case status < 200 || status > 599:
		c.status = statusBadGateway
		return fateNotBOSH
	case err == nil:
		c.body = body[b.Start:]
		last := string(b.Type) == "terminate"
		c.final = c.final || last
		c.hasty = c.hasty || last && b.Condition != nil
		c.unknown = last && string(b.Condition) == "item-not-found"
		c.carries = last || !b.Empty && !bytes.HasPrefix(body[b.TagEnd:], []byte("</"))
		switch {
		case b.SID == nil:
		case !c.creation:
			c.body = withoutSID(c.body, b.SIDStart-b.Start, b.SIDEnd-b.Start)
		case status == statusOK:
			g.begin(c, &b)
		}
		return fateAnswered
	case noneBehind(status):
		c.status = statusUnavailable
		return fateNoneBehind
	case c.passes(status):
		c.status, c.final = statusUnavailable, false
		return fateAnswered
	case status >= 400, status == 200 && len(body) == 0:
		return fateAnswered
	}
	c.status = statusBadGateway // a page, or a redirection, which no BOSH client follows
	return fateNotBOSH
}

// excuse turns item-not-found into an empty reply. It is for a request that the endpoint took before, and whose answer
// it no longer has, because the socket of the request was lost and a newer request came first. Prosody forgets such an
// answer. Nothing else is lost: what it would have said comes with the newer request.
func (c *call) excuse() {
	c.status, c.body = statusOK, emptyBody
	c.unknown, c.final, c.hasty, c.carries = false, false, false, false
}

// passes reports whether a status without a BOSH body is a temporary fault of a web server before the endpoint: a
// client waited too long or came too often. Clients take any 4xx for the end of the session, which is unnecessary here.
// A creation that comes too often has no session to lose, as with the limits of an edge.
func (c *call) passes(status int) bool {
	return status == 408 || status == 425 || status == 429 && !c.creation
}

// begin records the session that a reply to a creation begins. It appends the endpoint's tag to the session ID if there
// are several endpoints.
func (g *Gateway) begin(c *call, b *boshbody.StartTag) {
	if !c.final {
		c.key = g.key(c.endpoint, b.SID)
		c.window, _ = strconv.ParseUint(string(b.Requests), 10, 32)
	}
	if len(g.endpoints) > 1 {
		at := b.SIDEnd - b.Start
		p := make([]byte, 0, len(c.body)+1+boshbody.TagBytes+1)
		p = boshbody.AppendSuffix(append(p, c.body[:at]...), c.endpoint.tag[:], c.legacy, "")
		c.body = append(p, c.body[at:]...)
	}
}

// key returns a session's key: a hash of its ID at its endpoint. Two sessions with the same key, one pair in 2^64,
// occasionally wait for each other.
func (g *Gateway) key(e *endpoint, sid []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(g.seed)
	h.Write(e.tag[:])
	h.Write(sid)
	return max(h.Sum64(), 1)
}

// withoutSID removes the sid attribute from a tag. from and to delimit its value. It moves the bytes before the
// attribute and returns a part of body.
func withoutSID(body []byte, from, to int) []byte {
	// Between the name and the value are only white space, "=" and a quote; before the name is white space.
	name := bytes.LastIndex(body[:from], []byte("sid")) - 1
	cut := to + len("'") - name
	copy(body[cut:], body[:name])
	return body[cut:]
}
