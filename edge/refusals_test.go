package edge

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestRefusalsAreLoggedOncePerIntervalWithTheirCount: and each class by itself.
func TestRefusalsAreLoggedOncePerIntervalWithTheirCount(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	v := &View{Reactors: make([]ReactorView, 2)}
	l := newRefusalLog()
	at := time.Unix(1_000_000, 0)
	step := func(after time.Duration, want ...string) {
		t.Helper()
		out.Reset()
		l.look(v, at.Add(after), log)
		if got := strings.Count(out.String(), "\n"); got != len(want) {
			t.Fatalf("after %v: %q, want %q", after, out.String(), want)
		}
		for _, w := range want {
			if !strings.Contains(out.String(), w) {
				t.Fatalf("after %v: %q, want %q", after, out.String(), want)
			}
		}
	}
	step(0)
	v.Reactors[0].Edge[NotFound] = 2
	v.Reactors[1].Edge[NotFound] = 1
	step(time.Second, `level=INFO msg=refused reason=not_found count=3`)
	v.Reactors[1].Edge[NotFound] = 100
	v.Reactors[1].Edge[TableFull] = 7
	step(2*time.Second, `level=WARN msg=refused reason=table_full count=7`)
	v.Reactors[1].Edge[NotFound] = 200
	step(10 * time.Second)
	step(11*time.Second, `reason=not_found count=199`)
	step(60 * time.Second)
}

// TestRefusalsReachTheLog: from a request to a record, when the edge stops.
func TestRefusalsReachTheLog(t *testing.T) {
	var out bytes.Buffer
	e := startEdge(t, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&out, nil)) }, newFakeOrigin(t, "a"))
	c := connect(t, e)
	c.send("GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n")
	c.get().want(t, 404, "")
	e.Advance(1)
	e.Stop()
	if !strings.Contains(out.String(), "msg=refused reason=not_found count=1") {
		t.Fatalf("the log has no word of it: %s", out.String())
	}
}
