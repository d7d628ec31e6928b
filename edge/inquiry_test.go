package edge

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"megaphone/config"
	"megaphone/stats"
)

// recorder is a log whose lines a test can wait for.
type recorder struct {
	mu    sync.Mutex
	text  bytes.Buffer
	wrote chan struct{}
}

func newRecorder() *recorder { return &recorder{wrote: make(chan struct{}, 1)} }

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case r.wrote <- struct{}{}:
	default:
	}
	return r.text.Write(p)
}

// all returns the log so far.
func (r *recorder) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// line waits for the first line that contains text.
func (r *recorder) line(t *testing.T, text string) string {
	t.Helper()
	late := time.After(patience)
	for {
		all := r.all()
		for line := range strings.Lines(all) {
			if strings.Contains(line, text) {
				return line
			}
		}
		select {
		case <-r.wrote:
		case <-late:
			t.Fatalf("no %s in\n%s", text, all)
		}
	}
}

func (r *recorder) count(text string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Count(r.text.String(), text)
}

// serveRaw runs f for each connection to the address that it returns.
func serveRaw(t *testing.T, f func(c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); f(c) }()
		}
	}()
	return l.Addr().String()
}

// afterInput sends text after the first input.
func afterInput(text string) func(c net.Conn) {
	return func(c net.Conn) {
		if _, err := c.Read(make([]byte, 256)); err == nil {
			_, _ = io.WriteString(c, text)
			_, _ = io.Copy(io.Discard, c)
		}
	}
}

// TestWrongPortIsNamed: two seconds after the link is connected, the log names what listens at an origin's address.
func TestWrongPortIsNamed(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	for _, c := range []struct{ name, address, what, first string }{
		{"an HTTP server", web.Listener.Addr().String(), "what=HTTP", `HTTP/1.1 400 Bad Request`},
		{"a TLS alert", serveRaw(t, afterInput("\x15\x03\x03\x00\x02\x02\x0A")),
			`what="TLS alert: set tls for this origin"`, `\\x15\\x03\\x03`},
		{"an XMPP server", serveRaw(t, afterInput("<?xml version='1.0'?><stream:stream>")),
			`what="XMPP stream"`, "<?xml"},
		{"a mute one", serveRaw(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), `what="nothing in 1 s"`, ""},
		{"one that hangs up", serveRaw(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }),
			`what="closed without an answer"`, ""},
		{"nonsense", serveRaw(t, afterInput("\x00\x01\x02")), "what=unknown", `\\x00\\x01\\x02`},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := newRecorder()
			e := startEdge(t, func(cfg *Config) {
				cfg.Origins = []config.Origin{{Name: "a", Address: c.address}}
				cfg.Log = slog.New(slog.NewTextHandler(log, nil))
			})
			for late := time.Now().Add(patience); e.Counter(stats.LinkConnects) == 0; e.advance(1) {
				if time.Now().After(late) {
					t.Fatal("no link")
				}
			}
			e.advance(int(helloTicks) + 1)
			line := log.line(t, "no hello from origin")
			for _, want := range []string{"origin=a", "address=" + c.address, c.what, c.first} {
				if !strings.Contains(line, want) {
					t.Errorf("no %s in %s", want, line)
				}
			}
		})
	}
}

// TestForeignBytesAreNamed: a server that speaks first is named when its link breaks.
func TestForeignBytesAreNamed(t *testing.T) {
	log := newRecorder()
	address := serveRaw(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.2 "+strings.Repeat("x", 200)+"\r\n")
		_, _ = io.Copy(io.Discard, c)
	})
	startEdge(t, func(cfg *Config) {
		cfg.Origins = []config.Origin{{Name: "a", Address: address}}
		cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	})
	line := log.line(t, "link lost")
	for _, want := range []string{"did not begin with hello: it looks like SSH", "address=" + address, "what=SSH",
		`first_bytes="\"SSH-2.0-OpenSSH_9.2 xxx`} {
		if !strings.Contains(line, want) {
			t.Errorf("no %s in %s", want, line)
		}
	}
	if len(line) > 400 {
		t.Errorf("%d bytes of log: %s", len(line), line)
	}
}

// TestInquiriesAreLimited: there is one inquiry per address and interval, however many links are silent.
func TestInquiriesAreLimited(t *testing.T) {
	log := newRecorder()
	address := serveRaw(t, afterInput("HTTP/1.1 400 Bad Request\r\n\r\n"))
	queue := make(chan inquiry)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		watchSilence(ctx, queue, slog.New(slog.NewTextHandler(log, nil)))
		close(ended)
	}()
	for range 20 {
		queue <- inquiry{"a", netip.MustParseAddrPort(address)}
	}
	cancel()
	<-ended
	if n := log.count("no hello from origin"); n != 1 {
		t.Errorf("%d records", n)
	}
}
