package bosh

import (
	"megaphone/codec/boshbody"
	"megaphone/codec/markup"
)

// The namespaces that the engine itself knows.
const (
	bodyNamespace   = boshbody.Namespace
	clientNamespace = "jabber:client"
	streamNamespace = "http://etherx.jabber.org/streams"
	xboshNamespace  = "urn:xmpp:xbosh"
	xmlNamespace    = "http://www.w3.org/XML/1998/namespace"
	xmlnsNamespace  = "http://www.w3.org/2000/xmlns/"
)

// declaration is a namespace declaration in scope; prefix is nil for the default namespace. Both borrow from the input;
// the URI is raw.
type declaration struct{ prefix, uri []byte }

// declare adds the namespace declarations among x.attributes to the scope (Namespaces in XML 1.0, section 3).
func (x *splitter) declare() bool {
	for i := range x.attributes {
		a := &x.attributes[i]
		prefix, ok := a.name.Declares()
		if !ok {
			continue
		}
		isXML := string(prefix) == "xml"
		switch {
		case string(prefix) == "xmlns", string(a.value) == xmlnsNamespace:
			return false
		case isXML != (string(a.value) == xmlNamespace):
			return false
		case len(prefix) > 0 && len(a.value) == 0:
			return false
		case len(x.scope) == maxDeclarations:
			return false
		case !isXML:
			x.scope = append(x.scope, declaration{prefix, a.value})
		}
	}
	return true
}

// find returns the index in x.scope of the declaration of prefix, or -1.
func (x *splitter) find(prefix []byte) int {
	for i := len(x.scope) - 1; i >= 0; i-- {
		if string(x.scope[i].prefix) == string(prefix) {
			return i
		}
	}
	return -1
}

// resolve checks that the prefixes of a payload's element and of x.attributes are declared. It records which outside
// declarations the payload uses.
func (x *splitter) resolve(element markup.Name) bool {
	if element.Prefix == nil {
		if x.find(nil) < x.rootScope {
			x.current.needsDefault = true
		}
	} else if !x.use(element.Prefix) {
		return false
	}
	for i := range x.attributes {
		if prefix := x.attributes[i].name.Prefix; prefix != nil && !x.use(prefix) {
			return false
		}
	}
	return true
}

// use records that the current payload uses prefix, which must be declared.
func (x *splitter) use(prefix []byte) bool {
	if s := string(prefix); s == "xml" || s == "xmlns" {
		return true
	}
	i := x.find(prefix)
	if i >= 0 && i < x.rootScope {
		x.current.uses |= 1 << i
	}
	return i >= 0
}

// distinct checks that no two of x.attributes, whose names differ, mean the same name under different prefixes for one
// namespace (Namespaces in XML 1.0, section 6.3). An attribute without a prefix is in no namespace.
func (x *splitter) distinct() bool {
	for i := 1; i < len(x.attributes); i++ {
		a := &x.attributes[i].name
		if a.Prefix == nil {
			continue
		}
		for j := range x.attributes[:i] {
			b := &x.attributes[j].name
			if b.Prefix == nil || string(a.Local) != string(b.Local) {
				continue
			}
			k, l := x.find(a.Prefix), x.find(b.Prefix)
			if k >= 0 && l >= 0 && string(x.scope[k].uri) == string(x.scope[l].uri) {
				return false
			}
		}
	}
	return true
}

// payload returns the i-th payload, which declares every namespace it uses. It is valid until the next call and while
// the input is.
func (x *splitter) payload(i int) []byte {
	c := &x.payloads[i]
	if !c.needsDefault && c.uses == 0 {
		return x.p[c.start:c.end:c.end]
	}
	x.out = append(x.out[:0], x.p[c.start:c.nameEnd]...)
	for k := range x.scope[:x.rootScope] {
		if c.uses&(1<<k) != 0 {
			x.out = append(x.out, " xmlns:"...)
			x.out = append(append(x.out, x.scope[k].prefix...), '=')
			x.out = markup.AppendQuoted(x.out, x.scope[k].uri)
		}
	}
	if c.needsDefault {
		x.out = append(x.out, " xmlns="...)
		x.out = markup.AppendQuoted(x.out, x.defaultNamespace())
	}
	return append(x.out, x.p[c.nameEnd:c.end]...)
}

// defaultNamespace returns the namespace of a payload's elements that have none of their own. The body's own namespace
// stands for jabber:client there (XEP-0206, section 2).
func (x *splitter) defaultNamespace() []byte {
	for k := range x.scope[:x.rootScope] {
		if d := &x.scope[k]; d.prefix == nil && len(d.uri) > 0 && string(d.uri) != bodyNamespace {
			return d.uri
		}
	}
	return []byte(clientNamespace)
}
