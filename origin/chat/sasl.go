package chat

import (
	"bytes"
	"encoding/base64"
	"unicode/utf8"

	"github.com/xdg-go/scram"

	"megaphone/codec/markup"
)

// failure is a SASL failure condition (RFC 6120, section 6.5). Conditions for encryption and for disabled, expired or
// weak credentials are omitted, because they cannot occur here.
type failure string

const (
	failureNone              failure = ""
	failureAborted           failure = "aborted"
	failureIncorrectEncoding failure = "incorrect-encoding"
	failureInvalidAuthzid    failure = "invalid-authzid"
	failureInvalidMechanism  failure = "invalid-mechanism"
	failureMalformedRequest  failure = "malformed-request"
	failureNotAuthorized     failure = "not-authorized"
	failureTemporary         failure = "temporary-auth-failure"
)

// login holds the state of all logins.
type login struct {
	accounts *Accounts // nil: the demo
	offered  mechanismSet
	servers  [mechanismCount]*scram.Server
}

func (l *login) init(cfg *Config) {
	l.accounts = cfg.Accounts
	l.offered = 1 << plain
	if cfg.demo() || cfg.Anonymous {
		l.offered |= 1 << anonymous
	}
	if l.accounts == nil {
		return // no secret that SCRAM could prove
	}
	l.offered |= l.accounts.has
	for _, m := range []mechanism{scramSHA256, scramSHA1} {
		// NewServer always returns a nil error.
		l.servers[m], _ = m.hash().NewServer(func(name string) (scram.StoredCredentials, error) {
			return l.accounts.credentials(m, name), nil
		})
	}
}

// features returns the stream features before authentication.
func (l *login) features() []byte {
	b := []byte("<stream:features xmlns:stream='" + nsStream + "'><mechanisms xmlns='" + nsSASL + "'>")
	for m := range mechanismCount {
		if l.offered.has(m) {
			b = append(b, "<mechanism>"+m.String()+"</mechanism>"...)
		}
	}
	return append(b, "</mechanisms></stream:features>"...)
}

// sasl processes an element of the SASL negotiation (RFC 6120, section 6.4).
func (s *Service) sasl(c *client, e *element) {
	if c.state != stateOpen {
		s.fail(c, streamPolicyViolation) // only once per stream
		return
	}
	var f failure
	switch string(e.local) {
	case "auth":
		f = s.saslAuth(c, e)
	case "response":
		f = s.saslResponse(c, e)
	case "abort":
		f = failureAborted
	default:
		s.fail(c, streamUnsupportedType)
		return
	}
	if f == failureNone {
		return
	}
	c.rare = nil
	c.failures++
	s.stats.LoginFailures++
	c.out.Send([]byte("<failure xmlns='" + nsSASL + "'><" + string(f) + "/></failure>"))
	if int(c.failures) >= s.cfg.MaxAttempts {
		s.fail(c, streamPolicyViolation) // RFC 6120, section 6.4.5
	}
}

// saslAuth begins a negotiation, and drops any earlier one.
func (s *Service) saslAuth(c *client, e *element) failure {
	c.rare = nil
	m, ok := mechanismNamed(e.attribute("mechanism"))
	if !ok || !s.login.offered.has(m) {
		return failureInvalidMechanism
	}
	data, given, f := s.saslData(e)
	if f != failureNone {
		return f
	}
	if !given && m != anonymous {
		// Without an initial response the client waits for an empty challenge (RFC 6120, section 6.4.2). ANONYMOUS is
		// an exception: XEP-0175 shows success at once, and Strophe.js throws on a challenge.
		*c.rarely() = rare{mech: m, waiting: true}
		c.out.Send([]byte("<challenge xmlns='" + nsSASL + "'/>"))
		return failureNone
	}
	return s.saslStep(c, m, data)
}

// saslResponse continues the negotiation.
func (s *Service) saslResponse(c *client, e *element) failure {
	if c.rare == nil {
		return failureMalformedRequest // answers no challenge
	}
	data, _, f := s.saslData(e)
	if f != failureNone {
		return f
	}
	if c.rare.waiting {
		m := c.rare.mech
		c.rare = nil
		return s.saslStep(c, m, data)
	}
	return s.scramFinal(c, data)
}

// saslData decodes the text of e. given is false if there is none; a lone "=" is an empty one (RFC 6120, 6.4.2).
func (s *Service) saslData(e *element) (data []byte, given bool, f failure) {
	s.text = e.appendText(s.text[:0])
	text := bytes.TrimSpace(s.text)
	switch {
	case len(text) == 0:
		return nil, false, failureNone
	case len(text) == 1 && text[0] == '=':
		return nil, true, failureNone
	}
	data = make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Strict().Decode(data, text)
	if err != nil || bytes.ContainsAny(text, "\r\n") {
		return nil, true, failureIncorrectEncoding
	}
	return data[:n], true, failureNone
}

// saslStep processes the initial response of a mechanism.
func (s *Service) saslStep(c *client, m mechanism, data []byte) failure {
	switch m {
	case plain:
		return s.plain(c, data)
	case anonymous:
		// The client's trace information (RFC 4505) is not kept.
		if !utf8.Valid(data) {
			return failureMalformedRequest
		}
		return s.anonymous(c)
	}
	return s.scramFirst(c, m, data)
}

// plain implements RFC 4616: [authzid] NUL authcid NUL passwd.
func (s *Service) plain(c *client, data []byte) failure {
	parts := bytes.Split(data, []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 || len(parts[2]) == 0 || !utf8.Valid(data) {
		return failureMalformedRequest
	}
	name, ok := canonicalLocal(string(parts[1]))
	switch {
	case !ok || isAnonymousName(name):
		return failureNotAuthorized
	case s.login.accounts != nil && !s.login.accounts.check(name, string(parts[2])):
		return failureNotAuthorized
	case !s.mayBe(name, string(parts[0])):
		return failureInvalidAuthzid
	}
	return s.success(c, name, nil, false)
}

// mayBe reports whether name may act as authzid. It may only act as itself, written as its bare JID or, by old clients,
// its name.
func (s *Service) mayBe(name, authzid string) bool {
	if authzid == "" {
		return true
	}
	a, ok := s.hosts.parse(markup.AppendEscaped(nil, authzid))
	if ok && a.ours && string(a.local) == name && a.resource == nil {
		return true
	}
	local, ok := canonicalLocal(authzid)
	return ok && local == name
}

func (s *Service) anonymous(c *client) failure {
	for {
		name := anonymousPrefix + s.randomName(anonymousBytes)
		if s.online[name] == nil {
			return s.success(c, name, nil, true)
		}
	}
}

// scramFirst answers RFC 5802's client-first-message with the server-first-message.
func (s *Service) scramFirst(c *client, m mechanism, data []byte) failure {
	conversation := s.login.servers[m].NewConversation()
	challenge, err := conversation.Step(string(data))
	if err != nil {
		return failureMalformedRequest
	}
	*c.rarely() = rare{mech: m, scram: conversation}
	b := append(s.buf[:0], "<challenge xmlns='"+nsSASL+"'>"...)
	b = base64.StdEncoding.AppendEncode(b, []byte(challenge))
	b = append(b, "</challenge>"...)
	s.buf = b
	c.out.Send(b)
	return failureNone
}

// scramFinal verifies the proof in the client-final-message.
func (s *Service) scramFinal(c *client, data []byte) failure {
	conversation := c.rare.scram
	final, err := conversation.Step(string(data))
	if err != nil || !conversation.Valid() {
		return failureNotAuthorized
	}
	name, ok := canonicalLocal(conversation.Username())
	switch {
	case !ok:
		return failureNotAuthorized
	case !s.mayBe(name, conversation.AuthzID()):
		return failureInvalidAuthzid
	}
	return s.success(c, name, []byte(final), false)
}

// success ends the negotiation. The client then restarts the stream.
func (s *Service) success(c *client, name string, additional []byte, anonymous bool) failure {
	if s.stats.Users >= s.cfg.MaxUsers {
		return failureTemporary
	}
	c.rare = nil
	c.state = stateAuthenticated
	c.anonymous = anonymous
	c.jid = name + "@" + s.domain
	c.nameEnd, c.bareEnd = uint16(len(name)), uint16(len(c.jid))
	s.stats.Logins++
	b := append(s.buf[:0], "<success xmlns='"+nsSASL+"'>"...)
	b = base64.StdEncoding.AppendEncode(b, additional)
	b = append(b, "</success>"...)
	s.buf = b
	c.out.Send(b)
	return failureNone
}
