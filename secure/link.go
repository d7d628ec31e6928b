package secure

import (
	"errors"
	"fmt"

	"megaphone/handshake"
	"megaphone/loop"
	"megaphone/record"
)

// maxLinkHandshakes bounds the handshakes of a reactor's links under way. It has fewer links.
const maxLinkHandshakes = 128

// Links is TLS on the links of one reactor, as their client. Its goroutine must make all calls.
type Links struct{ pool *handshake.Pool }

// NewLinks makes it.
func NewLinks() *Links { return &Links{handshake.NewPool(maxLinkHandshakes)} }

// New returns the TLS of one connection, in TLS 1.3 only, because its keys can be updated.
func (s *Links) New(c *handshake.Config) loop.LinkTransport { return &link{of: s, config: c} }

// link is the TLS of a link's connection. It has its keys on the heap, because links are few.
type link struct {
	of     *Links
	config *handshake.Config
	worker *handshake.Worker // nil: the handshake is over
	keys   record.State
	live   record.Live
	answer []byte
	began  bool // the peer has sent a record
	asked  bool // to update its keys
}

// errNoKeys is the reason if a link's keys cannot protect another record.
var errNoKeys = errors.New("TLS keys of the link are used up")

func (l *link) Begin() []byte {
	if l.worker = l.of.pool.Take(l.config); l.worker == nil {
		return nil // its handshake times out
	}
	l.worker.Begin()
	return l.worker.Output()
}

func (l *link) Open(p []byte) (o loop.Opened) {
	l.answer = l.answer[:0]
	if l.worker != nil {
		if o = l.shake(p); !o.Ready {
			o.Answer = l.answer
			return o
		}
	}
	next := l.keys.Open(&l.live, p[o.Used:], l.answer)
	l.answer = next.Answer
	o.Plain = copy(p, p[o.Used:o.Used+next.Plain])
	o.Used += next.Used
	o.Answer, o.End = l.answer, next.End
	return o
}

// shake continues the handshake.
func (l *link) shake(p []byte) (o loop.Opened) {
	if !l.began && len(p) > 0 {
		if l.began = true; p[0] < firstRecordType || p[0] > lastRecordType {
			o.End = fmt.Errorf("the origin's port has no TLS: it sends %.16q", p)
			return o
		}
	}
	used, done := l.worker.Step(p)
	o.Used = used
	l.answer = append(l.answer, l.worker.Output()...)
	if !done {
		return o
	}
	err := l.worker.Err()
	if err == nil {
		var result handshake.Result
		if result, err = l.worker.Result(); err == nil {
			err = l.keys.Start(&result.Secrets)
		}
	}
	l.release()
	o.End, o.Ready = err, err == nil
	return o
}

// The types of records with which an answer to a hello can begin: alerts and handshake messages.
const (
	firstRecordType = 21
	lastRecordType  = 22
)

// Seal also updates keys that have protected much, and asks the peer once to do the same.
func (l *link) Seal(dst, p []byte) ([]byte, error) {
	ok := true
	switch worn := l.keys.Worn(); {
	case !worn:
		l.asked = false
	case !l.asked:
		dst, ok = l.update(dst)
	}
	if ok {
		dst, ok = l.keys.Seal(&l.live, dst, p, nil)
	}
	if !ok {
		return dst, errNoKeys
	}
	return dst, nil
}

func (l *link) update(dst []byte) (sealed []byte, ok bool) {
	l.asked = true
	return l.keys.Update(&l.live, dst, true)
}

func (l *link) Close() []byte {
	l.answer = l.keys.Close(&l.live, l.answer[:0])
	return l.answer
}

func (l *link) End() {
	l.release()
	l.keys.Clear()
}

func (l *link) release() {
	if l.worker != nil {
		l.of.pool.Release(l.worker)
		l.worker = nil
	}
}
