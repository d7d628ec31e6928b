package edge

import (
	"bytes"
	"encoding/json"
	"encoding/xml"

	"megaphone/codec/http1"
	"megaphone/config"
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

func links(p *config.PublicURL) []link {
	return []link{{"urn:xmpp:alt-connections:xbosh", p.BOSH}}
}

func newHostMeta(list []config.PublicURL) *hostMeta {
	if len(list) == 0 {
		return nil
	}
	m := &hostMeta{xml: map[string]*document{}, json: map[string]*document{}}
	for i := range list {
		p := &list[i]
		m.xml[p.Domain] = publicDocument("application/xrd+xml", xrd(p))
		m.json[p.Domain] = publicDocument("application/json", jrd(p))
	}
	return m
}

func publicDocument(contentType string, body []byte) *document {
	head := http1.NewResponseHead(200, "Content-Type: "+contentType, "Cache-Control: public, max-age=600",
		"X-Content-Type-Options: nosniff")
	return &document{head: head, body: append(body, '\n'), public: true}
}

// xrd returns the document as XML.
func xrd(p *config.PublicURL) []byte {
	body, err := xml.MarshalIndent(struct {
		XMLName xml.Name `xml:"http://docs.oasis-open.org/ns/xri/xrd-1.0 XRD"`
		Links   []link   `xml:"Link"`
	}{Links: links(p)}, "", "  ")
	if err != nil {
		panic(err) // cannot fail for strings
	}
	body = bytes.ReplaceAll(body, []byte("></Link>"), []byte("/>")) // in a value > is escaped
	return append([]byte("<?xml version='1.0' encoding='utf-8'?>\n"), body...)
}

// jrd returns the document as JSON.
func jrd(p *config.PublicURL) []byte {
	body, err := json.MarshalIndent(struct {
		Links []link `json:"links"`
	}{links(p)}, "", "  ")
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
	var room [config.MaxDomain]byte
	if d := of[string(config.AppendHostName(room[:0], h.Host))]; d != nil {
		return d
	}
	return of[""]
}
