package chat

import (
	"bytes"

	"mellium.im/xmpp/jid"

	"megaphone/codec/markup"
)

// maxPartBytes is the longest part of a JID (RFC 7622, section 3.1).
const maxPartBytes = 1023

// address is a JID that a client wrote in `to`, in canonical form. It is valid until the next parse and while the
// parsed bytes are.
type address struct {
	local    []byte // nil: the server itself
	resource []byte // nil: a bare JID
	ours     bool   // the domain is served here
	rooms    bool   // the domain is that of the rooms
}

// hosts holds the served domain, first, and its aliases, in canonical form.
type hosts []string

// serves reports whether domain is served here. Case of ASCII letters is ignored.
func (h hosts) serves(domain []byte) bool {
	for _, name := range h {
		if equalFold(name, domain) {
			return true
		}
	}
	return false
}

// servesRooms reports whether domain is that of the rooms. It has only one name, because clients learn it from the
// server.
func (h hosts) servesRooms(domain []byte) bool {
	n := len(roomsLabel)
	return len(domain) > n && equalFold(roomsLabel, domain[:n]) && equalFold(h[0], domain[n:])
}

// equalFold compares as DNS does: ASCII letters without case.
func equalFold(canonical string, b []byte) bool {
	if len(canonical) != len(b) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != canonical[i] {
			return false
		}
	}
	return true
}

// parse parses a JID from a raw attribute value. Nearly every JID is plain ASCII in canonical form at the served
// domain. parse accepts such a JID as it is, without allocating. Others pass through the PRECIS profiles of RFC 7622.
func (h hosts) parse(raw []byte) (a address, ok bool) {
	bare, local, resource := raw, []byte(nil), []byte(nil)
	// RFC 7622, section 3.1: first the '/', then the '@' before it.
	if i := bytes.IndexByte(bare, '/'); i >= 0 {
		bare, resource = bare[:i], bare[i+1:]
		if !isPlainResource(resource) {
			return h.parseSlow(raw)
		}
	}
	if i := bytes.IndexByte(bare, '@'); i >= 0 {
		local, bare = bare[:i], bare[i+1:]
		if !isPlainLocal(local) {
			return h.parseSlow(raw)
		}
	}
	// RFC 7622, section 3.2: a final dot does not count.
	bare = bytes.TrimSuffix(bare, []byte("."))
	switch {
	case h.serves(bare):
		return address{local: local, resource: resource, ours: true}, true
	case h.servesRooms(bare):
		return address{local: local, resource: resource, rooms: true}, true
	}
	return h.parseSlow(raw)
}

func (h hosts) parseSlow(raw []byte) (a address, ok bool) {
	j, err := jid.Parse(string(markup.AppendValue(nil, raw)))
	if err != nil {
		return address{}, false
	}
	a.ours = h.serves([]byte(j.Domainpart()))
	a.rooms = !a.ours && h.servesRooms([]byte(j.Domainpart()))
	if s := j.Localpart(); s != "" {
		a.local = []byte(s)
	}
	if s := j.Resourcepart(); s != "" {
		a.resource = []byte(s)
	}
	return a, true
}

// isPlainLocal reports whether the PRECIS profile UsernameCaseMapped leaves the localpart p unchanged. It accepts
// printable ASCII without capitals, without the characters that RFC 7622, section 3.3.1, excludes, and without
// references.
func isPlainLocal(p []byte) bool {
	for _, c := range p {
		if c <= ' ' || c >= 0x7f || 'A' <= c && c <= 'Z' {
			return false
		}
		switch c {
		case '"', '&', '\'', '/', ':', '<', '>', '@':
			return false
		}
	}
	return len(p) > 0 && len(p) <= maxPartBytes
}

// isPlainResource reports whether the profile OpaqueString leaves the resourcepart p unchanged.
func isPlainResource(p []byte) bool {
	for _, c := range p {
		if c < ' ' || c >= 0x7f || c == '&' {
			return false
		}
	}
	return len(p) > 0 && len(p) <= maxPartBytes
}

// canonicalLocal returns a name in the canonical form of a localpart.
func canonicalLocal(name string) (string, bool) {
	if isPlainLocal([]byte(name)) {
		return name, true
	}
	j, err := jid.New(name, "localhost", "")
	return j.Localpart(), err == nil && name != ""
}

// canonicalResource returns a name in the canonical form of a resourcepart.
func canonicalResource(name string) (string, bool) {
	if isPlainResource([]byte(name)) {
		return name, true
	}
	j, err := jid.New("", "localhost", name)
	return j.Resourcepart(), err == nil && name != ""
}

// canonicalDomain returns a name in the canonical form of a domainpart.
func canonicalDomain(name string) (string, bool) {
	j, err := jid.New("", name, "")
	return j.Domainpart(), err == nil
}
