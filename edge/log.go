package edge

import (
	"context"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"megaphone/codec/http1"
	"megaphone/codec/ws"
	"megaphone/stats"
	"megaphone/table"
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
	bytes  int     // of the response's body
	close  ws.Code // of a WebSocket that has ended; 0 otherwise
	secured
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
			a.secured.add(&r)
			a.note.add(&r)
			if a.origin != "" {
				r.AddAttrs(slog.String("origin", a.origin), slog.Int64("held_ms", a.held.Milliseconds()))
			}
			if a.close != 0 {
				r.AddAttrs(slog.Int("close", int(a.close)))
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
	until uint32                // requests until the next one
	notes map[table.Handle]note // of sampled requests that are held
}

func newSampler(l *accessLog, every uint32) sampler {
	return sampler{log: l, every: every, until: every}
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

// sample decides whether the log gets a request, and notes its head if so.
func (s *sampler) sample(q *request) {
	q.sampled = sampleNo
	if !s.takes() {
		return
	}
	q.sampled = sampleYes
	h := &q.head
	q.note = note{method: cut(http1.RequestMethod(q.raw), maxNotedMethod), path: cut(h.Path, maxNotedPath),
		host: cut(h.Host, maxNotedHost), agent: cut(http1.HeaderValue(q.raw, "user-agent"), maxNotedAgent),
		reqID: string(http1.RequestID(q.raw))}
	if q.client != q.Peer {
		q.note.client = q.address()
	}
}

func cut(p []byte, most int) string { return strings.ToValidUTF8(string(p[:min(len(p), most)]), "?") }

// sampling is the decision on a request.
type sampling uint8

const (
	sampleUndecided sampling = iota // the request is incomplete
	sampleNo
	sampleYes
)

func (w *worker) logAccess(a access) {
	a.when = time.Now()
	select {
	case w.access.log.records <- a:
	default:
		w.counters[stats.AccessDropped]++
	}
}

// keepNote marks the hold of a sampled request, and keeps its note.
func (s *sampler) keepNote(q *request, h table.Handle, hold *table.Hold) {
	if q.sampled != sampleYes {
		return
	}
	hold.Flags |= holdSampled
	if s.notes == nil {
		s.notes = make(map[table.Handle]note)
	}
	if len(s.notes) < maxNotes {
		s.notes[h] = q.note
	}
}

// dropNote deletes the note of a hold that has been logged, or whose client has closed.
func (s *sampler) dropNote(h table.Handle, hold *table.Hold) {
	if hold.Flags&holdSampled != 0 {
		hold.Flags &^= holdSampled
		delete(s.notes, h)
	}
}

// logResponse logs a response with that many bytes of body, if the log gets it.
func (w *worker) logResponse(q *request, a *response, head []byte, bytes int) {
	switch {
	case q == nil && a.hold.Flags&holdSampled != 0:
		w.logHeld(a.handle, a.hold, head, bytes)
	case q != nil && w.access.log != nil:
		w.logOwn(q, head, bytes)
	}
}

// logHeld logs the answer to a sampled hold, from the origin or the edge.
func (w *worker) logHeld(h table.Handle, hold *table.Hold, head []byte, bytes int) {
	held := time.Duration(w.heldMicros(hold, w.r.Micros())) * time.Microsecond
	a := access{peer: w.r.Peer(hold.Conn), held: held, status: statusOf(head), bytes: bytes,
		secured: w.tls.of(hold.Conn), note: w.access.notes[h]}
	if hold.Link != linkNone {
		a.origin = w.byLink[hold.Link].cfg.Name
	}
	w.logAccess(a)
	w.access.dropNote(h, hold)
}

// logOwn logs an answer of the edge itself. It samples answers to incomplete requests, such as those with a malformed
// or late head.
func (w *worker) logOwn(q *request, head []byte, bytes int) {
	a := access{peer: w.r.Peer(q.index), bytes: bytes, secured: w.tls.of(q.index)}
	switch {
	case q.sampled == sampleYes:
		a.note = q.note
	case q.sampled == sampleNo || !w.access.takes():
		return
	}
	a.status = statusOf(head)
	w.logAccess(a)
}

// statusOf returns the status in a response head.
func statusOf(head []byte) int {
	const at = len("HTTP/1.1 ")
	status, _ := strconv.Atoi(string(head[at : at+3]))
	return status
}

const (
	refusalCheck    = time.Second
	refusalInterval = 10 * time.Second // between two records of one class
)

// refusalLog logs each class of refusals at most once per interval, with the number since the last record. It reads
// what the reactors have posted, so a flood of refusals costs them no log records.
type refusalLog struct {
	told stats.Counters               // the counts that were last logged
	when [stats.NumCounters]time.Time // and the times
}

// look logs the classes that have new refusals and are due.
func (l *refusalLog) look(now stats.Counters, at time.Time, log *slog.Logger) {
	for c, r := range stats.Refusals() {
		if r.Logged || now[c] == l.told[c] || at.Sub(l.when[c]) < refusalInterval {
			continue
		}
		level := slog.LevelInfo
		if r.Ours {
			level = slog.LevelWarn
		}
		log.Log(context.Background(), level, "refused", "reason", r.Reason, "count", now[c]-l.told[c], "what", r.What)
		l.told[c], l.when[c] = now[c], at
	}
}

// watchRefusals logs refusals until ctx ends, including the last ones.
func (e *Edge) watchRefusals(ctx context.Context) {
	l := new(refusalLog)
	tick := time.NewTicker(refusalCheck)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			l.look(e.Counters(), now, e.options.Log)
		case <-ctx.Done():
			l.look(e.Counters(), time.Now(), e.options.Log)
			return
		}
	}
}
