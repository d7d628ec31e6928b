package admin

import (
	"log/slog"
	"sync"
	"testing"
	"time"

	"megaphone/acme"
	"megaphone/edge"
	"megaphone/stats"
)

// fakeEdge shows the view that a test sets.
type fakeEdge struct {
	mu sync.Mutex
	v  edge.View
}

func (f *fakeEdge) View() *edge.View {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.v
	v.At = time.Now()
	return &v
}

func (f *fakeEdge) set(change func(v *edge.View)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.v)
}

// healthy returns an edge of two reactors and two origins, with all links up.
func healthy() *fakeEdge {
	up := func() []stats.LinkFigures {
		return []stats.LinkFigures{{stats.LinkUp: 1, stats.LinkHolds: 3, stats.LinkUnsent: 5},
			{stats.LinkUp: 1, stats.LinkHolds: 4}}
	}
	times := func() stats.Distribution {
		return stats.Distribution{Bounds: []float64{0.5, 1}, Counts: []uint64{1, 2, 3}, Sum: 7.5}
	}
	return &fakeEdge{v: edge.View{Started: time.Now().Add(-time.Hour), Name: "edge-test",
		Reactors: make([]stats.Counters, 2), Holds: times(),
		Origins: []edge.OriginView{
			{Name: "a", Address: "10.0.0.1:5279", Links: up(), Creations: times(), RoundTrips: times()},
			{Name: "b", Address: "10.0.0.2:5279", Links: up(), Creations: times(), RoundTrips: times()},
		},
		ACME: []acme.State{{Domain: "chat.example.org", Directory: "https://ca.example/directory", Issued: true,
			Failures: 2, Error: "no route", Next: time.Unix(1800000000, 0)}},
		Certificates: []edge.CertificateView{{Listener: "0.0.0.0:443", File: "/etc/megaphone/fullchain.pem",
			Names: []string{"chat.example.org"}, NotAfter: time.Now().Add(40 * 24 * time.Hour)}},
		Limits: edge.Limits{MaxConnections: 1000, MaxHolds: 1250, MaxBufferedBytes: 1 << 20, LinkHighWater: 1 << 20}}}
}

// started returns a server that ends with the test.
func started(t testing.TB, cfg Config) *Server {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func (s *Server) listening() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.listeners)
}

func (s *Server) addr(i int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listeners[i].Addr().String()
}
