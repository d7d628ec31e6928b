package config

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"
)

// PublicURL is the URL of the BOSH service of an XMPP domain, for its clients to find (XEP-0156).
type PublicURL struct {
	Domain string // matched with the Host header; "": all others
	BOSH   string
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

// normalPublicURLs returns list with its domains as in Host headers. It leaves those that Values rejects unchanged.
func normalPublicURLs(list []PublicURL) []PublicURL {
	var normal []PublicURL
	for _, p := range list {
		if domain, ok := normalDomain(p.Domain); ok {
			p.Domain = domain
		}
		normal = append(normal, p)
	}
	return normal
}

func (c *Config) validatePublicURLs() error {
	const example = "for example https://chat.example.org/http-bind"
	if n := len(c.PublicURLs); n > maxPublicURLs {
		return bad("public-url", n, fmt.Sprintf("at most %d", maxPublicURLs))
	}
	taken := map[string]bool{}
	for i, p := range c.PublicURLs {
		at := fmt.Sprintf("public-url[%d].", i)
		u, err := url.Parse(p.BOSH)
		_, isDomain := normalDomain(p.Domain)
		switch {
		case p.Domain != "" && !isDomain:
			return bad(at+"domain", p.Domain, "give an XMPP domain such as example.org, or leave it out for all others")
		case taken[p.Domain]:
			return bad(at+"domain", p.Domain, "duplicate domain: give each domain one entry")
		case err == nil && (u.Scheme == "ws" || u.Scheme == "wss"):
			return bad(at+"bosh", p.BOSH, "WebSocket is not served here: give the URL of BOSH, "+example)
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "":
			return bad(at+"bosh", p.BOSH, "give the URL that clients connect to, "+example)
		case u.User != nil || u.Fragment != "" || strings.ContainsAny(p.BOSH, " \t\r\n"):
			return bad(at+"bosh", p.BOSH, "give a URL without user, fragment and white space, "+example)
		}
		taken[p.Domain] = true
	}
	return nil
}
