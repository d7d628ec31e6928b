package loop

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"megaphone/loop/sys"
	"megaphone/stats"
)

// LinkTransport stands between the plaintext of one connection of a link and the bytes of its socket, as Transport does
// for connections. The owner sees plaintext only. What Begin, Open and Close return is valid until the next call.
type LinkTransport interface {
	// Begin returns the bytes to send first.
	Begin() (first []byte)
	// Open takes the whole records at the start of p. Wait is not used. End is the reason for which the link ends.
	Open(p []byte) Opened
	// Seal appends to dst the records that carry p. It is called when Open has reported Ready.
	Seal(dst, p []byte) ([]byte, error)
	// Close returns the last bytes.
	Close() (last []byte)
	// End releases the state.
	End()
}

// maxSealedBytes is how much of a batch is sealed at once. The rest waits as plaintext until this has left.
const maxSealedBytes = 256 << 10

// maxRecordInput exceeds the length of a record.
const maxRecordInput = 17 << 10

var errLongRecord = errors.New("a record is too long")

// SetTransport sets what makes a LinkTransport for each connection from the next dial on. nil stands for plaintext.
func (l *Link) SetTransport(make func() LinkTransport) { l.newTransport = make }

// secureLink is the state of a link's connection with a LinkTransport.
type secureLink struct {
	LinkTransport
	raw    []byte // a record that is not whole
	sealed []byte // records, unsent from sent on
	sent   int
}

func (s *secureLink) unsent() int { return len(s.sealed) - s.sent }

// secure begins the handshake of a connection. It must end before the deadline of connecting.
func (l *Link) secure() {
	l.state = linkSecuring
	l.secured = &secureLink{LinkTransport: l.newTransport()}
	l.secured.sealed = append(l.secured.sealed, l.secured.Begin()...)
	l.watch(wantRead)
	l.writeRecords()
}

// readRecords reads once, and delivers the plaintext of whole records.
func (l *Link) readRecords() {
	r, s := l.r, l.secured
	kept := copy(r.read, s.raw)
	n, err := sys.Read(l.fd, r.read[kept:])
	r.counters[stats.LinkReads]++
	r.counters[stats.LinkBytesIn] += uint64(max(n, 0))
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return
	case err != nil:
		l.end(CauseReset)
		return
	case n == 0:
		l.end(CausePeer)
		return
	}
	p := r.read[:kept+n]
	o := s.Open(p)
	s.raw = append(s.raw[:0], p[o.Used:]...)
	s.sealed = append(s.sealed, o.Answer...)
	if o.End == nil && len(s.raw) > maxRecordInput {
		o.End = errLongRecord
	}
	if o.Ready {
		l.up()
	}
	if o.Plain > 0 && !l.ending {
		l.deliverPlain(p[:o.Plain])
	}
	switch {
	case l.ending:
	case o.End == io.EOF:
		l.writeRecords()
		l.end(CausePeer)
	case o.End != nil:
		l.writeRecords() // an alert
		if l.why = o.End; l.state == linkSecuring {
			l.why = fmt.Errorf("TLS with %s: %w", l.addr, o.End)
		}
		l.end(CauseError)
	case s.unsent() > 0:
		l.writeRecords()
	}
}

// deliverPlain delivers plaintext behind the kept input.
func (l *Link) deliverPlain(p []byte) {
	if l.input == nil {
		l.deliver(p)
		return
	}
	copy(l.room(len(p)), p)
	l.input.B = l.input.B[:len(l.input.B)+len(p)]
	if len(l.input.B) >= l.need {
		l.deliver(l.input.B)
	}
}

// writeRecords seals the batch and offers its records to the kernel. What it does not take leaves when there is room.
func (l *Link) writeRecords() {
	for more := true; more && !l.ending; {
		more = l.writeSealed()
	}
}

// writeSealed makes one write. It reports whether there is something left that the kernel may take now.
func (l *Link) writeSealed() (more bool) {
	s := l.secured
	if s.unsent() == 0 {
		s.sealed, s.sent = s.sealed[:0], 0
		if cap(s.sealed) > 2*maxSealedBytes {
			s.sealed = nil
		}
		if !l.sealBatch() {
			l.watch(wantRead)
			return false
		}
	}
	n, err := sys.Write(l.fd, s.sealed[s.sent:])
	l.r.counters[stats.LinkWrites]++
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		l.watch(wantRead | wantWrite)
		return false
	case err != nil:
		l.why = fmt.Errorf("write: %w", err)
		l.end(CauseReset)
		return false
	}
	l.r.counters[stats.LinkBytesOut] += uint64(n)
	s.sent += n
	if s.unsent() > 0 {
		l.watch(wantRead | wantWrite)
		return false
	}
	return true
}

// sealBatch seals the next part of the batch. It reports whether there was any.
func (l *Link) sealBatch() bool {
	n := min(len(l.Batch)-l.sent, maxSealedBytes)
	if l.state != linkUp || n == 0 {
		return false
	}
	var err error
	s := l.secured
	if s.sealed, err = s.Seal(s.sealed, l.Batch[l.sent:l.sent+n]); err != nil {
		l.why = err
		l.end(CauseError)
		return false
	}
	if l.sent += n; l.sent == len(l.Batch) {
		l.sent, l.Batch = 0, l.Batch[:0]
		if cap(l.Batch) > keepBatchBytes {
			l.Batch = nil
		}
	}
	return true
}

// endTransport makes one attempt to send the last bytes.
func (l *Link) endTransport() {
	s := l.secured
	if s == nil {
		return
	}
	if l.state == linkUp && s.unsent() == 0 {
		_, _ = sys.Write(l.fd, s.Close())
	}
	s.End()
	l.secured = nil
}
