package link

import (
	"log/slog"
	"net"
	"strings"
	"testing"

	"megaphone/codec/frame"
	"megaphone/internal/corpus"
)

// bench returns a link without goroutines: tests feed it bytes and look at the handler's calls.
func bench(cfg Config) (*edgeLink, *handler) {
	h := &handler{}
	cfg = cfg.withDefaults()
	cfg.Log = slog.New(slog.DiscardHandler)
	s := &Server{cfg: cfg, log: cfg.Log, handler: h, links: map[*edgeLink]struct{}{}, clock: systemClock()}
	conn, other := net.Pipe()
	other.Close()
	l := &edgeLink{server: s, conn: conn, name: "edge-1", free: make(chan *batch, batchesPerLink)}
	l.hello.Max = frame.MaxContentsBytes
	l.out.init(cfg.HighWaterBytes, cfg.MaxUnsentBytes)
	l.opened()
	return l, h
}

// feed gives the link bytes in pieces of up to step bytes, as the reader and the engine do.
func feed(l *edgeLink, p []byte, step int) {
	b := &batch{}
	for len(p) > 0 && !l.ended {
		n := min(step, len(p))
		b.buf = append(b.buf, p[:n]...)
		p = p[n:]
		end, need, err := wholeFrames(b.buf, l.server.cfg.MaxContentsBytes)
		if b.end = end; end > 0 {
			l.take(b)
			<-l.free
			b.buf = append([]byte(nil), b.buf[end:]...)
		}
		if err != nil {
			l.end(faultGrammar)
		} else if need <= len(b.buf) {
			panic("wholeFrames asks for bytes that are there")
		}
	}
}

// check feeds the same bytes whole and in pieces. Both must produce the same calls of the handler and the same end of
// the link.
func check(t *testing.T, p []byte) {
	whole, wholeHandler := bench(Config{MaxContentsBytes: 4096})
	feed(whole, p, len(p))
	want := strings.Join(wholeHandler.told, "\n")
	live := len(whole.live)
	if int64(live) != whole.server.stats.Live {
		t.Fatalf("%d ids are live, %d are counted", live, whole.server.stats.Live)
	}
	for _, step := range []int{1, 7, 26} {
		l, h := bench(Config{MaxContentsBytes: 4096})
		feed(l, p, step)
		if got := strings.Join(h.told, "\n"); got != want {
			t.Fatalf("in pieces of %d bytes the handler was told\n%s\nwhole\n%s", step, got, want)
		}
		if l.ended != whole.ended || l.server.stats.Ended != whole.server.stats.Ended || len(l.live) != live {
			t.Fatalf("in pieces of %d bytes the link ends as %v, whole as %v",
				step, l.server.stats.Ended, whole.server.stats.Ended)
		}
	}
}

func FuzzLink(f *testing.F) {
	corpus.Add(f)
	framed := func(id uint64, contents string) string { return string(frame.Append(nil, id, []byte(contents))) }
	for _, seed := range []string{
		"", "0", "00000004|0000000000000001|<a/>",
		framed(1, "<a/>") + framed(2, "::1 <b/>") + framed(0, "gone 0000000000000001\n"),
		framed(1, "<a/>") + framed(1, "<a/>"), framed(0, "release all\nping x\nfrob\n") + framed(3, "<a/>"),
		framed(1, "<a/>") + framed(0, "release 0000000000000001 0000000000000002\n") + "0000000x",
		framed(0, "hello\n"), framed(0, ""),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(check)
}
