package bosh

// extras are the attributes of a request's <body> that boshbody.StartTag lacks. The slices borrow from the request.
type extras struct {
	ack, key, newkey, pause                     []byte
	from, lang, route, secure, version          []byte
	hasAck, hasKey, hasPause, restart, shutDown bool
}

// extras reads the attributes of the root, whose start tag has just been opened. typ is its type attribute.
func (x *splitter) extras(typ []byte) (e extras) {
	e.shutDown = string(typ) == "terminate"
	for i := range x.attributes {
		a := &x.attributes[i]
		if a.name.Prefix != nil {
			x.qualifiedExtra(&e, a)
			continue
		}
		switch string(a.name.Local) {
		case "ack":
			e.ack, e.hasAck = a.value, true
		case "key":
			e.key, e.hasKey = a.value, true
		case "newkey":
			e.newkey = a.value
		case "pause":
			e.pause, e.hasPause = a.value, true
		case "from":
			e.from = a.value
		case "route":
			e.route = a.value
		case "secure":
			e.secure = a.value
		}
	}
	return e
}

// qualifiedExtra reads an attribute with a prefix: xml:lang and those of XEP-0206. The prefix xmpp counts as declared,
// because some clients omit the declaration.
func (x *splitter) qualifiedExtra(e *extras, a *attribute) {
	if string(a.name.Prefix) == "xml" {
		if string(a.name.Local) == "lang" {
			e.lang = a.value
		}
		return
	}
	if k := x.find(a.name.Prefix); k >= 0 {
		if string(x.scope[k].uri) != xboshNamespace {
			return
		}
	} else if string(a.name.Prefix) != "xmpp" {
		return
	}
	switch string(a.name.Local) {
	case "restart":
		e.restart = isTrue(a.value)
	case "version":
		e.version = a.value
	}
}

// isTrue parses an XML Schema boolean.
func isTrue(value []byte) bool { return string(value) == "true" || string(value) == "1" }

// parseNumber parses a decimal number of at most max.
func parseNumber(value []byte, max uint64) (n uint64, ok bool) {
	const longest = 16 // digits of 2^53-1, the largest number in BOSH
	if len(value) == 0 || len(value) > longest {
		return 0, false
	}
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, n <= max
}
