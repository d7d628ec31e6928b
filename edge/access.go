package edge

import (
	"context"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"megaphone/table"
)

// accessLog writes a record for each request that was answered, or for each Nth. Like other records they go over a
// bounded queue to a goroutine, since a reactor does no Go I/O; the queue drops and counts. A record is a plain value,
// so logging takes no memory from the reactors; without an access log it costs them one comparison a request.
type accessLog struct {
	records chan access
	done    chan struct{}
	ending  sync.Once
}

// access is one answered request.
type access struct {
	when   time.Time
	peer   netip.Addr
	origin string        // "": the edge answered by itself
	held   time.Duration // from parking to here
	status int
	bytes  int // of the response's body
}

const accessQueueLength = 4096

func newAccessLog(to *slog.Logger) *accessLog {
	l := &accessLog{records: make(chan access, accessQueueLength), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		ctx := context.Background()
		for a := range l.records {
			r := slog.NewRecord(a.when, slog.LevelInfo, "answered", 0)
			r.AddAttrs(slog.String("peer", a.peer.String()), slog.Int("status", a.status), slog.Int("bytes", a.bytes))
			if a.origin != "" {
				r.AddAttrs(slog.String("origin", a.origin), slog.Duration("held", a.held))
			}
			_ = to.Handler().Handle(ctx, r)
		}
	}()
	return l
}

// accessPatience is for a log that takes nothing, as a pipe that nobody reads.
const accessPatience = time.Second

// stop writes out what is queued. No reactor may be running any more.
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
	until uint32 // the next one
}

func newSampler(l *accessLog, cfg *Config) sampler {
	n, _ := sampleOf(cfg.AccessSample) // Validate has seen it
	return sampler{l, n, n}
}

// takes says whether the request that is answered now is one for the log.
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

func (w *worker) logAccess(a access) {
	a.when = time.Now()
	select {
	case w.access.log.records <- a:
	default:
		w.counters[AccessDropped]++
	}
}

// logHeld notes the answer to a hold, whoever gives it.
func (w *worker) logHeld(hold *table.Hold, status, bytes int) {
	held := time.Duration(w.heldMicros(hold, w.r.Micros())) * time.Microsecond
	w.logAccess(access{peer: w.r.Peer(hold.Conn), origin: w.byLink[hold.Link].cfg.Name,
		held: held.Round(time.Millisecond), status: status, bytes: bytes})
}

// logOwn notes an answer of the edge's own, whose status is in its head.
func (w *worker) logOwn(c uint32, head []byte, bytes int) {
	const at = len("HTTP/1.1 ")
	status, _ := strconv.Atoi(string(head[at : at+3]))
	w.logAccess(access{peer: w.r.Peer(c), status: status, bytes: bytes})
}

// sampleOf reads 1/N.
func sampleOf(s string) (n uint32, ok bool) {
	text, ok := strings.CutPrefix(s, "1/")
	v, err := strconv.ParseUint(text, 10, 32)
	return uint32(v), ok && err == nil && v > 0
}

// validateAdmin checks the keys of what shows an edge.
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
