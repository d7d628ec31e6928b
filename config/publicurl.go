package config

import (
	"bytes"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// PublicURL is the URLs of an XMPP domain, for its clients to find (XEP-0156).
type PublicURL struct {
	Domain    string // matched with the Host header; "": all others
	BOSH      string
	WebSocket string // "": none
}

const maxPublicURLs = 1000

// MaxDomain bounds an XMPP domain in bytes.
const MaxDomain = 255

// AppendHostName appends the name in a Host header to dst in lower case, without port and trailing dot. A name longer
// than MaxDomain matches none. It borrows host.
func AppendHostName(dst, host []byte) []byte {
	if end := bytes.LastIndexByte(host, ':'); end > bytes.LastIndexByte(host, ']') {
		host = host[:end]
	}
	host = bytes.TrimSuffix(host, []byte("."))
	if len(host) > MaxDomain {
		return dst
	}
	for _, c := range host {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}

// normalDomain returns a domain as in a Host header, in lower case; ok is false if no Host header can have it.
func normalDomain(domain string) (normal string, ok bool) {
	if ascii, err := asciiName(domain); err == nil {
		domain = ascii
	}
	if domain == "" || len(domain) > MaxDomain || strings.ContainsAny(domain, ":/@?#% ") {
		return domain, false
	}
	for i := range len(domain) {
		if domain[i] <= ' ' || domain[i] > '~' {
			return domain, false
		}
	}
	return string(AppendHostName(nil, []byte(domain))), true
}

// publicDomains are the domains of the entries so far.
type publicDomains map[string]bool

func parsePublicURLs(c *Config, _ *Values) error {
	if n := len(c.PublicURLs); n > maxPublicURLs {
		return bad("public-url", n, fmt.Sprintf("at most %d", maxPublicURLs))
	}
	c.PublicURLs = slices.Clone(c.PublicURLs)
	domains := publicDomains{}
	for i := range c.PublicURLs {
		if err := parseKeys(publicKeys, fmt.Sprintf("public-url[%d].", i), &c.PublicURLs[i], &domains); err != nil {
			return err
		}
	}
	return nil
}

// parsePublicDomain puts a domain into the form of Host headers.
func parsePublicDomain(p *PublicURL, domains *publicDomains) error {
	normal, ok := normalDomain(p.Domain)
	if ok {
		p.Domain = normal
	}
	switch {
	case p.Domain != "" && !ok:
		return bad("domain", p.Domain, "give an XMPP domain such as example.org, or leave it out for all others")
	case (*domains)[p.Domain]:
		return bad("domain", p.Domain, "duplicate domain: give each domain one entry")
	}
	(*domains)[p.Domain] = true
	return nil
}

func parsePublicBOSH(p *PublicURL, _ *publicDomains) error {
	return checkPublicURL("bosh", p.BOSH, "http", "https", "for example https://chat.example.org/http-bind")
}

func parsePublicWebSocket(p *PublicURL, _ *publicDomains) error {
	if p.WebSocket == "" {
		return nil
	}
	return checkPublicURL("websocket", p.WebSocket, "ws", "wss", "for example wss://chat.example.org/xmpp-websocket")
}

// checkPublicURL checks a URL that has one of two schemes.
func checkPublicURL(key, value, plain, secure, example string) error {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Scheme != plain && u.Scheme != secure || u.Hostname() == "" || u.Opaque != "":
		return bad(key, value, "give the URL that clients connect to, "+example)
	case u.User != nil || u.Fragment != "" || strings.ContainsAny(value, " \t\r\n"):
		return bad(key, value, "give a URL without user, fragment and white space, "+example)
	}
	return nil
}
