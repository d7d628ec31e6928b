package gateway

import (
	"bytes"
	"hash/maphash"
	"strconv"

	"megaphone/codec"
)

// Statuses that the gateway answers with itself, all but the first.
const (
	statusOK          = 200
	statusBadGateway  = 502 // the endpoint's reply is none
	statusUnavailable = 503 // the client sends the same request again
	statusLate        = 504 // no reply in time
)

// read makes of an endpoint's response what the client is to get. It keeps body.
//
// Statuses are kept, and so are bodies if they are BOSH's, without what stands before the element. Others, such as the
// error pages of web servers and proxies, are nothing that a BOSH client could read: they stay here. So does a session
// ID that is not a creation's: Prosody repeats it in each reply, without what edges and we have appended to it.
func (g *Gateway) read(c *call, status int, body []byte) fate {
	var b codec.Body
	err := codec.ParseReplyBody(&b, body)
	if err == nil && status/100 == 2 {
		status = 200 // Strophe.js takes no other for a reply, and loses what is in it
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

// passes reports whether a status without a BOSH body is a fault that may pass, from a web server before the endpoint:
// a client that waited too long or came too often. Clients take any 4xx for the end of the session, and there need not
// be one; a creation that comes too often has none to lose, as with the limits of an edge.
func (c *call) passes(status int) bool {
	return status == 408 || status == 425 || status == 429 && !c.creation
}

// begin notes which session a reply to a creation begins, and appends the endpoint's tag to its ID if there are others.
func (g *Gateway) begin(c *call, b *codec.Body) {
	if !c.final {
		c.key = g.key(c.endpoint, b.SID)
		c.window, _ = strconv.ParseUint(string(b.Requests), 10, 32)
	}
	if len(g.endpoints) > 1 {
		at := b.SIDEnd - b.Start
		p := make([]byte, 0, len(c.body)+1+codec.TagBytes+1)
		p = codec.AppendSuffix(append(p, c.body[:at]...), c.endpoint.tag[:], c.legacy, "")
		c.body = append(p, c.body[at:]...)
	}
}

// key is what a session is known by: a hash of its ID at its endpoint. Two with the same key, one pair in 2^64, wait
// for each other now and then.
func (g *Gateway) key(e *endpoint, sid []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(g.seed)
	h.Write(e.tag[:])
	h.Write(sid)
	return max(h.Sum64(), 1)
}

// withoutSID takes the attribute out of a tag, given where its value is. It moves what stands before it, and returns a
// part of body.
func withoutSID(body []byte, from, to int) []byte {
	// Between the name and the value are only white space, "=" and a quote; in front of the name is white space.
	name := bytes.LastIndex(body[:from], []byte("sid")) - 1
	cut := to + len("'") - name
	copy(body[cut:], body[:name])
	return body[cut:]
}
