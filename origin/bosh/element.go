package bosh

// Checker checks elements that do not come in a <body>, as a Service expects them. It reuses its scratch space.
type Checker struct {
	x   splitter
	buf []byte
}

// Element checks that text is one well-formed element, and returns it in the form of Service.Stanza. The result is
// valid until the next call.
func (c *Checker) Element(text []byte) (element []byte, ok bool) {
	c.buf = append(append(append(c.buf[:0], bodyOpen+">"...), text...), bodyClose...)
	if cap(c.buf) > maxKeptScratch {
		defer func() { c.buf = nil }()
	}
	if !c.x.openAt(c.buf, 0) || !c.x.children() || len(c.x.payloads) != 1 {
		return nil, false
	}
	return c.x.payload(0), true
}

// maxKeptScratch is the largest scratch space that a Checker keeps.
const maxKeptScratch = 1 << 20
