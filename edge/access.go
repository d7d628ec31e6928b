package edge

import (
	"context"
	"log/slog"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"megaphone/codec/http1"
	"megaphone/table"
	"megaphone/typed"
)

// accessLog writes a record for each answered request, or for each Nth.
//
// The records pass through a bounded queue to a goroutine, because a reactor does no Go I/O. A full queue drops records
// and counts them. A record is a plain value, so logging takes no memory from the reactors. Without an access log it
// costs them two comparisons per request. Only the heads of sampled requests are examined.
type accessLog struct {
	records chan access
	done    chan struct{}
	ending  sync.Once
	failed  atomic.Uint64 // records that could not be written
}

// access is one answered request.
type access struct {
	when   time.Time
	peer   netip.Addr
	origin string        // "": the edge answered by itself
	held   time.Duration // from parking to the answer
	status int
	bytes  int // of the response's body
	note
}

// note is the part of a request's head that goes into its access record. It is copied when a sampled request is
// complete, because the head is gone by the time a held request is answered.
type note struct {
	client                           netip.Addr // set if a trusted proxy names another one than the peer
	method, path, host, agent, reqID string
}

// Bounds of a note's texts, in bytes, and of the notes that a reactor keeps for its held requests: 3 MB in all. Records
// of held requests beyond that have no note.
const (
	maxNotedMethod = 16
	maxNotedPath   = 256
	maxNotedHost   = 128
	maxNotedAgent  = 256
	maxNotes       = 4096
)

const accessQueueLength = 4096

func newAccessLog(to *slog.Logger) *accessLog {
	l := &accessLog{records: make(chan access, accessQueueLength), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		ctx := context.Background()
		for a := range l.records {
			r := slog.NewRecord(a.when, slog.LevelInfo, "answered", 0)
			r.AddAttrs(slog.String("peer", a.peer.String()), slog.Int("status", a.status), slog.Int("bytes", a.bytes))
			a.note.add(&r)
			if a.origin != "" {
				r.AddAttrs(slog.String("origin", a.origin), slog.Int64("held_ms", a.held.Milliseconds()))
			}
			if to.Handler().Handle(ctx, r) != nil {
				l.failed.Add(1)
			}
		}
	}()
	return l
}

// add adds the texts that are set to a record.
func (n *note) add(r *slog.Record) {
	if n.client.IsValid() {
		r.AddAttrs(slog.String("client", n.client.String()))
	}
	for _, f := range [...]struct{ key, value string }{{"method", n.method}, {"path", n.path}, {"host", n.host},
		{"user_agent", n.agent}, {"request_id", n.reqID}} {
		if f.value != "" {
			r.AddAttrs(slog.String(f.key, f.value))
		}
	}
}

// accessPatience is for a log that accepts nothing, such as a pipe without a reader.
const accessPatience = time.Second

// stop writes the queued records. All reactors must have stopped.
func (l *accessLog) stop() {
	if l == nil {
		return
	}
	l.ending.Do(func() { close(l.records) })
	select {
	case <-l.done:
	case <-time.After(accessPatience):
	}
}

// sampler picks every Nth request of a reactor.
type sampler struct {
	log   *accessLog
	every uint32
	until uint32 // requests until the next one
}

func newSampler(l *accessLog, cfg *Config) sampler {
	n, _ := sampleOf(cfg.AccessSample) // Validate has checked it
	return sampler{l, n, n}
}

// takes reports whether the log gets the request that is answered now.
func (s *sampler) takes() bool {
	if s.log == nil {
		return false
	}
	if s.until--; s.until > 0 {
		return false
	}
	s.until = s.every
	return true
}

// sample decides whether the log gets the request whose head has just been parsed, and notes its head if so.
func (w *worker) sample(c uint32, head []byte) {
	w.sampled = sampleNo
	if !w.access.takes() {
		return
	}
	w.sampled = sampleYes
	h := &w.head
	w.note = note{method: cut(http1.RequestMethod(head), maxNotedMethod), path: cut(h.Path, maxNotedPath),
		host: cut(h.Host, maxNotedHost), agent: cut(http1.HeaderValue(head, "user-agent"), maxNotedAgent),
		reqID: string(http1.RequestID(head))}
	if client := w.client(c); client != w.r.Peer(c) {
		w.note.client = client
	}
}

func cut(p []byte, most int) string { return strings.ToValidUTF8(string(p[:min(len(p), most)]), "?") }

// sampling is the decision on the request being handled.
type sampling uint8

const (
	sampleUndecided sampling = iota // there is no request, or its head is incomplete
	sampleNo
	sampleYes
)

func (w *worker) logAccess(a access) {
	a.when = time.Now()
	select {
	case w.access.log.records <- a:
	default:
		w.counters[AccessDropped]++
	}
}

// keepNote marks the hold of a sampled request, and keeps its note.
func (w *worker) keepNote(h table.Handle, hold *table.Hold) {
	if w.sampled != sampleYes {
		return
	}
	hold.Flags |= holdSampled
	if w.notes == nil {
		w.notes = make(map[table.Handle]note)
	}
	if len(w.notes) < maxNotes {
		w.notes[h] = w.note
	}
}

// dropNote deletes the note of a hold that has been logged, or whose client has closed.
func (w *worker) dropNote(h table.Handle, hold *table.Hold) {
	if hold.Flags&holdSampled != 0 {
		hold.Flags &^= holdSampled
		delete(w.notes, h)
	}
}

// logHeld logs the answer to a sampled hold, from the origin or the edge.
func (w *worker) logHeld(h table.Handle, hold *table.Hold, status, bytes int) {
	held := time.Duration(w.heldMicros(hold, w.r.Micros())) * time.Microsecond
	a := access{peer: w.r.Peer(hold.Conn), held: held, status: status, bytes: bytes, note: w.notes[h]}
	if hold.Link != linkNone {
		a.origin = w.byLink[hold.Link].cfg.Name
	}
	w.logAccess(a)
	w.dropNote(h, hold)
}

// logOwn logs an answer of the edge itself, whose status is in its head. It samples answers to incomplete requests,
// such as those with a malformed or late head.
func (w *worker) logOwn(c uint32, head []byte, bytes int) {
	a := access{peer: w.r.Peer(c), bytes: bytes}
	switch {
	case w.sampled == sampleYes:
		a.note = w.note
	case w.sampled == sampleNo || !w.access.takes():
		return
	}
	const at = len("HTTP/1.1 ")
	a.status, _ = strconv.Atoi(string(head[at : at+3]))
	w.logAccess(a)
}

// sampleOf parses 1/N.
func sampleOf(s string) (n uint32, ok bool) {
	text, ok := strings.CutPrefix(s, "1/")
	v, err := typed.ParseInt(text)
	return uint32(v), ok && err == nil && v > 0 && v <= math.MaxUint32
}

// validateAdmin checks the keys for monitoring an edge.
func (c *Config) validateAdmin() error {
	if remedy := CheckAddress(c.Admin); remedy != "" && c.Admin != "auto" && c.Admin != "off" {
		return bad("admin", c.Admin, remedy+"; or auto, or off")
	}
	switch c.AccessLog {
	case "on", "yes", "true", "stdout":
		return bad("access-log", c.AccessLog, "give stderr, off, or the path of a file")
	}
	if _, ok := sampleOf(c.AccessSample); !ok {
		return bad("access-log-sample", c.AccessSample, "give 1/N, for example 1/100")
	}
	return nil
}
