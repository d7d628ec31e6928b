package edge

import (
	"slices"
	"strings"

	"megaphone/handshake"
)

// serverNames numbers the cipher suites and server names of a worker's connections, so that a connection needs only a
// note of 27 bits. Names of certificates keep their numbers. Others are those of wildcards and invented ones: clients
// could make up any number of either, so only the last ones are kept, and neither kind replaces another.
type serverNames struct {
	suites   []uint16
	exact    []string
	numbers  map[string]uint32 // of exact
	wild     recentNames
	invented recentNames
}

// The bounds of a worker's names.
const (
	maxServerNames   = 1024 // of certificates; those beyond it are shown like invented ones
	maxWildNames     = 1024
	maxInventedNames = 256
	maxServerName    = 128 // bytes
)

// A note: the index of the suite and 1, whether the session was resumed, the kind of the name, and its number.
const (
	maxSuites    = 15
	noteResumed  = 1 << 4
	noteKindBit  = 5
	noteKindMask = 3
	noteNameBit  = 7
	noteNameMask = 1<<20 - 1
)

// Kinds of names.
const (
	nameNone = iota
	nameExact
	nameWild
	nameInvented
)

// note returns the note of a connection. covered and exact are those of handshake.Config.Covers.
func (n *serverNames) note(r *handshake.Result, covered, exact bool) (note uint32) {
	i := slices.Index(n.suites, r.Suite)
	if i < 0 && len(n.suites) < maxSuites {
		i, n.suites = len(n.suites), append(n.suites, r.Suite)
	}
	note = uint32(i + 1)
	if r.Resumed {
		note |= noteResumed
	}
	kind, number := n.number(r.ServerName, covered, exact)
	return note | kind<<noteKindBit | number<<noteNameBit
}

// number returns the kind of a name and its number.
func (n *serverNames) number(name string, covered, exact bool) (kind, number uint32) {
	if name == "" {
		return nameNone, 0
	}
	name = strings.ToLower(cut([]byte(name), maxServerName))
	if exact {
		if i, known := n.numbers[name]; known {
			return nameExact, i
		}
		if len(n.exact) < maxServerNames {
			if n.numbers == nil {
				n.numbers = map[string]uint32{}
			}
			i := uint32(len(n.exact))
			n.exact, n.numbers[name] = append(n.exact, name), i
			return nameExact, i
		}
	} else if covered {
		return nameWild, n.wild.number(name, maxWildNames)
	}
	return nameInvented, n.invented.number(name, maxInventedNames)
}

func (n *serverNames) secured(note uint32) (s secured) {
	if i := note & maxSuites; i > 0 && int(i) <= len(n.suites) {
		s.suite = n.suites[i-1]
	}
	s.resumed = note&noteResumed != 0
	switch number := note >> noteNameBit & noteNameMask; note >> noteKindBit & noteKindMask {
	case nameExact:
		s.name = n.exact[number]
	case nameWild:
		s.name = n.wild.name(number)
	case nameInvented:
		s.name = n.invented.name(number)
	}
	return s
}

// recentNames keeps the last names, a power of two of them. A name that has been replaced is not shown.
type recentNames struct {
	names   []recentName // by number, modulo its length
	numbers map[string]uint32
	next    uint32
}

type recentName struct {
	name   string
	number uint32
}

// number returns the number of a name. A new one replaces the oldest of most. The number has the bits of a note.
func (r *recentNames) number(name string, most int) uint32 {
	if i, known := r.numbers[name]; known {
		return i
	}
	if r.numbers == nil {
		r.names, r.numbers = make([]recentName, most), map[string]uint32{}
	}
	i := r.next
	r.next = (i + 1) & noteNameMask
	old := &r.names[int(i)%most]
	delete(r.numbers, old.name)
	*old = recentName{name, i}
	r.numbers[name] = i
	return i
}

// name returns the name with a number, or "" if another one has replaced it.
func (r *recentNames) name(number uint32) string {
	if of := r.names[int(number)%len(r.names)]; of.number == number {
		return of.name
	}
	return ""
}
