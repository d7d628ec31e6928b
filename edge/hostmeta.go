package edge

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/url"
	"strings"

	"megaphone/codec/http1"
)

// PublicURL is the URL of the BOSH service of an XMPP domain, for its clients to find (XEP-0156).
type PublicURL struct {
	Domain string // matched with the Host header; "": all others
	BOSH   string
}

const (
	maxPublicURLs = 1000
	maxDomain     = 255
)

// The paths of the two forms of one document (RFC 6415).
const (
	hostMetaXML  = "/.well-known/host-meta"
	hostMetaJSON = "/.well-known/host-meta.json"
)

// hostMeta is the documents of all domains.
type hostMeta struct {
	xml, json map[string]*document // by domain; "": for all others
}

// link is a way to connect. A service with several ways has a link for each.
type link struct {
	Rel  string `xml:"rel,attr" json:"rel"`
	Href string `xml:"href,attr" json:"href"`
}

func (p *PublicURL) links() []link {
	return []link{{"urn:xmpp:alt-connections:xbosh", p.BOSH}}
}

func newHostMeta(list []PublicURL) *hostMeta {
	if len(list) == 0 {
		return nil
	}
	m := &hostMeta{xml: map[string]*document{}, json: map[string]*document{}}
	for i := range list {
		p := &list[i]
		m.xml[p.Domain] = publicDocument("application/xrd+xml", p.xrd())
		m.json[p.Domain] = publicDocument("application/json", p.jrd())
	}
	return m
}

func publicDocument(contentType string, body []byte) *document {
	head := http1.NewResponseHead(200, "Content-Type: "+contentType, "Cache-Control: public, max-age=600",
		"X-Content-Type-Options: nosniff")
	return &document{head: head, body: append(body, '\n'), public: true}
}

// xrd returns the document as XML.
func (p *PublicURL) xrd() []byte {
	body, err := xml.MarshalIndent(struct {
		XMLName xml.Name `xml:"http://docs.oasis-open.org/ns/xri/xrd-1.0 XRD"`
		Links   []link   `xml:"Link"`
	}{Links: p.links()}, "", "  ")
	if err != nil {
		panic(err) // cannot fail for strings
	}
	body = bytes.ReplaceAll(body, []byte("></Link>"), []byte("/>")) // in a value > is escaped
	return append([]byte("<?xml version='1.0' encoding='utf-8'?>\n"), body...)
}

// jrd returns the document as JSON.
func (p *PublicURL) jrd() []byte {
	body, err := json.MarshalIndent(struct {
		Links []link `json:"links"`
	}{p.links()}, "", "  ")
	if err != nil {
		panic(err) // cannot fail for strings
	}
	return body
}

// find returns the document that h asks for. It returns nil for another path, or if its Host has none. It borrows h.
func (m *hostMeta) find(h *http1.Head) *document {
	if m == nil {
		return nil
	}
	var of map[string]*document
	switch string(h.Path) {
	case hostMetaXML:
		of = m.xml
	case hostMetaJSON:
		of = m.json
	default:
		return nil
	}
	var room [maxDomain]byte
	if d := of[string(appendHostName(room[:0], h.Host))]; d != nil {
		return d
	}
	return of[""]
}

// appendHostName appends the name in a Host header to dst in lower case, without port and trailing dot. A name longer
// than maxDomain matches none. It borrows host.
func appendHostName(dst, host []byte) []byte {
	if end := bytes.LastIndexByte(host, ':'); end > bytes.LastIndexByte(host, ']') {
		host = host[:end]
	}
	host = bytes.TrimSuffix(host, []byte("."))
	if len(host) > maxDomain {
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
	if domain == "" || len(domain) > maxDomain || strings.ContainsAny(domain, ":/@?#% ") {
		return domain, false
	}
	for i := range len(domain) {
		if domain[i] <= ' ' || domain[i] > '~' {
			return domain, false
		}
	}
	return string(appendHostName(nil, []byte(domain))), true
}

// normalPublicURLs returns list with its domains as in Host headers. It leaves those that Validate rejects unchanged.
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
