package load

import (
	"encoding/base64"
	"strconv"
)

const boshNS = " xmlns='http://jabber.org/protocol/httpbind'"

// writer builds BOSH requests from a session's state in one buffer. It can always build the same request again.
type writer struct {
	head     string // of every request, up to the value of Content-Length
	creation string // attributes of a creation request, behind the rid
	restart  string // attributes of a restart, behind the sid
	bind     string
	farewell string // the end of a terminate
	prefix   string // of user names
	password string
	login    Login
	run      uint32
	size     int // of a message's text

	buf  []byte
	text []byte
}

// headRoom returns the space before a body for its head, which is written when the body's length is known.
func (w *writer) headRoom() int { return len(w.head) + len("16777216\r\n\r\n") }

func newWriter(t *target, c *Config, run uint32) writer {
	farewell := "><presence xmlns='jabber:client' type='unavailable'/></body>"
	if c.Login == LoginNone {
		farewell = "/>"
	}
	return writer{
		head: "POST " + t.path + " HTTP/1.1\r\nHost: " + t.host +
			"\r\nContent-Type: text/xml; charset=utf-8\r\nContent-Length: ",
		creation: " to='" + c.Domain + "' wait='" + strconv.Itoa(c.Wait) + "' hold='1' ver='1.6' xml:lang='en'" +
			" xmpp:version='1.0' xmlns:xmpp='urn:xmpp:xbosh'" + boshNS + "/>",
		restart: " to='" + c.Domain + "' xml:lang='en' xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'" + boshNS + "/>",
		bind: "<iq xmlns='jabber:client' type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>" +
			"<resource>megaphone</resource></bind></iq>",
		prefix: c.UserPrefix, password: c.Password, login: c.Login, run: run, size: c.Size,
		farewell: farewell,
	}
}

// open begins the body of a request and leaves its start tag open.
func (w *writer) open(s *session, rid uint64) []byte {
	room := w.headRoom()
	if cap(w.buf) < room {
		w.buf = make([]byte, room, room+1024)
	}
	b := append(w.buf[:room], "<body rid='"...)
	b = strconv.AppendUint(b, rid, 10)
	b = append(b, '\'')
	if s.sidLen > 0 {
		b = append(append(append(b, " sid='"...), s.SID()...), '\'')
	}
	return b
}

// finish puts the head before a body. The request is valid until the next one is begun.
func (w *writer) finish(b []byte) []byte {
	w.buf = b
	room := w.headRoom()
	var digits [20]byte
	length := strconv.AppendInt(digits[:0], int64(len(b)-room), 10)
	from := room - len(w.head) - len(length) - len("\r\n\r\n")
	head := append(b[from:from], w.head...)
	head = append(head, length...)
	_ = append(head, "\r\n\r\n"...)
	return b[from:]
}

const ping = "<iq xmlns='jabber:client' type='get' id='ping'><ping xmlns='urn:xmpp:ping'/></iq></body>"

// plain returns a request of a kind that has neither messages nor a user name.
func (w *writer) plain(s *session, rid uint64, k kind) []byte {
	b := w.open(s, rid)
	switch k {
	case kindCreate:
		b = append(b, w.creation...)
	case kindRestart:
		b = append(b, w.restart...)
	case kindBind:
		b = append(append(append(append(b, boshNS...), '>'), w.bind...), "</body>"...)
	case kindPresence:
		b = append(append(b, boshNS...), "><presence xmlns='jabber:client'/></body>"...)
	case kindPoll:
		b = append(append(b, boshNS...), "/>"...)
	case kindPing:
		b = append(append(append(b, boshNS...), '>'), ping...)
	case kindTerminate:
		b = append(append(append(b, " type='terminate'"...), boshNS...), w.farewell...)
	default:
		panic("load: this kind of request has contents")
	}
	return w.finish(b)
}

// auth returns the request that logs session number n in.
func (w *writer) auth(s *session, rid uint64, n uint32) []byte {
	return w.closeMessages(w.appendAuth(w.openMessages(s, rid), s, n))
}

// appendAuth appends the element that begins the log-in of session number n.
func (w *writer) appendAuth(b []byte, s *session, n uint32) []byte {
	b = append(b, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='"...)
	if w.login == LoginAnonymous {
		return append(b, "ANONYMOUS'/>"...)
	}
	if w.login == LoginScram {
		bare, _ := w.firstBare(n, s.began)
		b = append(b, "SCRAM-SHA-1'>"...)
		b = base64.StdEncoding.AppendEncode(b, append([]byte("n,,"), bare...))
		return append(b, "</auth>"...)
	}
	w.text = append(append(w.text[:0], 0), w.prefix...)
	w.text = append(appendNumber(w.text, uint64(n)+1), 0)
	w.text = append(w.text, w.password...)
	b = append(b, "PLAIN'>"...)
	b = base64.StdEncoding.AppendEncode(b, w.text)
	return append(b, "</auth>"...)
}

// firstBare returns a client's first message of SCRAM without its first three characters, and the nonce in it, which is
// unique to the log-in.
func (w *writer) firstBare(n uint32, began stamp) (bare, nonce []byte) {
	bare = appendNumber(append([]byte("n="), w.prefix...), uint64(n)+1)
	bare = append(bare, ",r="...)
	from := len(bare)
	bare = appendHex(appendHex(bare, w.run), n)
	bare = appendHex(bare, uint32(began))
	return bare, bare[from:]
}

// proof returns the request that answers a challenge.
func (w *writer) proof(s *session, rid uint64, final []byte) []byte {
	return w.closeMessages(appendProof(w.openMessages(s, rid), final))
}

// appendProof appends the element that answers a challenge.
func appendProof(b, final []byte) []byte {
	b = append(b, "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"...)
	return append(base64.StdEncoding.AppendEncode(b, final), "</response>"...)
}

// openMessages begins a request with messages, closeMessages ends it.
func (w *writer) openMessages(s *session, rid uint64) []byte {
	return append(append(w.open(s, rid), boshNS...), '>')
}

func (w *writer) closeMessages(b []byte) []byte { return w.finish(append(b, "</body>"...)) }

// appendTo appends a message to the given address.
func (w *writer) appendTo(b []byte, jid []byte, m message) []byte {
	b = append(append(append(b, "<message xmlns='jabber:client' type='chat' to='"...), jid...), "'><body>"...)
	m.run = w.run
	b = appendMessage(b, m, w.size)
	return append(b, "</body></message>"...)
}
