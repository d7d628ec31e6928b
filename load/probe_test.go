package load

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const body = "<body xmlns='http://jabber.org/protocol/httpbind' "

// probeOf probes a server with the given handler.
func probeOf(t *testing.T, handle http.HandlerFunc) error {
	t.Helper()
	s := httptest.NewServer(handle)
	defer s.Close()
	return Probe(t.Context(), Config{Target: s.URL + "/b", Patience: time.Second})
}

func answer(status int, contentType, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

func TestProbeSaysWhatAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		handle http.HandlerFunc
		says   string
	}{
		{answer(404, "text/html", "<html>"), "404 Not Found (text/html)"},
		{answer(403, "text/plain", "go away"), `403 Forbidden to a session's creation, with "go away"`},
		{answer(502, "text/plain", ""), "502 Bad Gateway to a session's creation, with nothing"},
		{answer(200, "text/html", "<!DOCTYPE html><html><p>Hello"), "no BOSH endpoint (text/html"},
		{answer(200, "text/xml", "<body sid='a'/>"), "no BOSH endpoint"},
		{answer(200, "text/xml", ""), "no BOSH endpoint"},
		{answer(200, "text/xml", body+"/>"), "no sid"},
		{answer(200, "text/xml", body+"sid='"+strings.Repeat("x", maxSIDBytes+1)+"'/>"), "too long"},
		{answer(200, "text/xml", body+"type='terminate' condition='host-unknown'/>"), "domain localhost"},
		{answer(200, "text/xml", body+"type='terminate' condition='policy-violation'/>"), "condition policy-violation"},
		{answer(200, "text/xml", body+"type='terminate'/>"), "condition left out"},
		{http.RedirectHandler("/other", http.StatusMovedPermanently).ServeHTTP, "is /other meant?"},
		{func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, "closed without an answer"},
		{func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}, "no answer to a session's creation within 1s"},
	} {
		err := probeOf(t, c.handle)
		if !errors.Is(err, errProbe) || !strings.Contains(err.Error(), c.says) ||
			!strings.Contains(err.Error(), "/b: ") {
			t.Errorf("%v, want %q", err, c.says)
		}
	}
}

// TestProbeWaitsForTheServer: the probe retries a server that is not ready yet, and gives up on one that never is.
func TestProbeWaitsForTheServer(t *testing.T) {
	t.Parallel()
	for _, ready := range []int64{3, 1000} {
		var n atomic.Int64
		err := probeOf(t, func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) < ready {
				w.WriteHeader(503)
				return
			}
			_, _ = io.WriteString(w, body+"sid='a'/>")
		})
		if ready < 10 && err != nil || ready > 10 && (!errors.Is(err, errProbe) || n.Load() != probeRetries+1) {
			t.Errorf("ready at the request %d: %v after %d", ready, err, n.Load())
		}
	}
}

// TestProbeEndsItsSession: the probe ends its session, even if each response ends its connection.
func TestProbeEndsItsSession(t *testing.T) {
	t.Parallel()
	for _, closes := range []bool{false, true} {
		var said []string
		err := probeOf(t, func(w http.ResponseWriter, r *http.Request) {
			text, _ := io.ReadAll(r.Body)
			said = append(said, string(text))
			if closes {
				w.Header().Set("Connection", "close")
			}
			_, _ = io.WriteString(w, body+"sid='a'/>")
		})
		if err != nil || len(said) != 2 || !strings.Contains(said[0], " to='localhost'") ||
			!strings.Contains(said[1], "sid='a' type='terminate'") {
			t.Errorf("%v, %q", err, said)
		}
	}
}

func TestProbeOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := "http://" + l.Addr().String() + "/b"
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "220 mail.example ESMTP\r\n")
			c.Close()
		}
	}()
	if err := Probe(t.Context(), Config{Target: target}); !errors.Is(err, errProbe) {
		t.Errorf("a mail server: %v", err)
	}
	l.Close()
	if err := Probe(t.Context(), Config{Target: target}); !errors.Is(err, errProbe) ||
		!strings.Contains(err.Error(), "nothing listens on "+l.Addr().String()) {
		t.Errorf("nothing: %v", err)
	}
	for _, from := range []string{"192.0.2.1", "127.0.0.2"} {
		f := newFake(t)
		err := Probe(t.Context(), Config{Target: f.url(),
			Sources: []netip.Addr{netip.MustParseAddr("127.0.0.3"), netip.MustParseAddr(from)}})
		if from == "127.0.0.2" && err != nil || from != "127.0.0.2" && (err == nil ||
			!strings.Contains(err.Error(), "--source 192.0.2.1: this host does not have")) {
			t.Errorf("from %s: %v", from, err)
		}
	}
	if err := Probe(t.Context(), Config{Target: "http://192.0.2.1/b"}); !errors.Is(err, ErrTarget) {
		t.Errorf("a public address: %v", err)
	}
}

func TestProbeIsInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		cancel()
		<-r.Context().Done()
	}))
	defer s.Close()
	if err := Probe(ctx, Config{Target: s.URL}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
