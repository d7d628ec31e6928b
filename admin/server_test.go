package admin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"megaphone/edge"
	"megaphone/stats"
)

const patience = 30 * time.Second

// ask sends one request to address, host:port or the path of a socket, with header lines "Name: value".
func ask(t *testing.T, address, method, path string, headers ...string) (status int, body string) {
	t.Helper()
	network, host := "tcp", address
	if strings.HasPrefix(address, "/") {
		network, host = "unix", "localhost"
	}
	c := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial(network, address) }}}
	r, err := http.NewRequest(method, "http://"+host+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
		}
		r.Header.Set(name, value)
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func obey(string, bool) error { return nil }

func TestReadyzSaysWhyNot(t *testing.T) {
	f := healthy()
	draining := false
	s := started(t, Config{Address: "127.0.0.1:0", Edge: f, Draining: func() bool { return draining }})
	check := func(status int, words ...string) {
		t.Helper()
		got, body := ask(t, s.addr(0), "GET", "/readyz")
		if got != status {
			t.Fatalf("%d %q, want %d", got, body, status)
		}
		for _, w := range words {
			if !strings.Contains(body, w) {
				t.Fatalf("%q, want %q in it", body, w)
			}
		}
	}
	check(200, "ready")
	f.set(func(v *edge.View) { v.Origins[0].Links[1][stats.LinkUp] = 0 })
	check(200) // this reactor still has the other origin
	f.set(func(v *edge.View) { v.Origins[1].Links[1][stats.LinkUp] = 0 })
	check(503, "reactor 1 has no link to any origin (a, b)")
	draining = true
	check(503, "draining", "reactor 1")
	if got, body := ask(t, s.addr(0), "GET", "/healthz"); got != 200 || body != "alive\n" {
		t.Fatalf("not ready is not dead: %d %q", got, body)
	}
}

func TestWhoMayDoWhat(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "admin.sock")
	var asked []string
	drain := func(origin string, on bool) error {
		if origin != "a" {
			return errors.New("origin: b: there is none of that name")
		}
		asked = append(asked, origin)
		return nil
	}
	s := started(t, Config{Address: "127.0.0.1:0", Edge: healthy(), DrainNode: drain})
	both := started(t, Config{Address: "127.0.0.1:0", Socket: socket, Edge: healthy(), DrainNode: drain})
	everywhere := started(t, Config{Address: "0.0.0.0:0", Edge: healthy(), DrainNode: obey})
	_, port, _ := net.SplitHostPort(everywhere.addr(0))
	open := "127.0.0.1:" + port
	for _, c := range []struct {
		name, at, method, path string
		status                 int
		headers                string
	}{
		{"page", s.addr(0), "GET", "/", 200, ""},
		{"metrics", s.addr(0), "GET", "/metrics", 200, ""},
		{"by name", s.addr(0), "GET", "/metrics", 200, "Host: localhost:5281"},
		{"rebound name", s.addr(0), "GET", "/status", 403, "Host: evil.example:5281"},
		{"no host", s.addr(0), "GET", "/status", 403, "Host: x"},
		{"over the socket any host", socket, "GET", "/status", 200, "Host: edge1"},
		{"open listener, a scraper's name", open, "GET", "/metrics", 200, "Host: edge1.example:5281"},
		{"open listener, profile by name", open, "GET", "/debug/pprof/cmdline", 403, "Host: edge1.example:5281"},
		{"open listener, order by name", open, "POST", "/drain?origin=a&on=true", 403, "Host: edge1.example:5281"},
		{"profile", s.addr(0), "GET", "/debug/pprof/cmdline", 200, ""},
		{"profile for a page", s.addr(0), "GET", "/debug/pprof/cmdline", 403, "Sec-Fetch-Site: cross-site"},
		{"profile for the address line", s.addr(0), "GET", "/debug/pprof/cmdline", 200, "Sec-Fetch-Site: none"},
		{"endless profile", s.addr(0), "GET", "/debug/pprof/profile?seconds=61", 400, ""},
		{"endless trace", s.addr(0), "GET", "/debug/pprof/trace?seconds=1e9", 400, ""},
		{"order", s.addr(0), "POST", "/drain?origin=a&on=true", 200, ""},
		{"order over the socket", socket, "POST", "/drain?origin=a&on=false", 200, ""},
		{"profile over the socket", socket, "GET", "/debug/pprof/cmdline", 200, ""},
		{"order beside the socket", both.addr(0), "POST", "/drain?origin=a&on=true", 403, ""},
		{"profile beside the socket", both.addr(0), "GET", "/debug/pprof/cmdline", 403, ""},
		{"metrics beside the socket", both.addr(0), "GET", "/metrics", 200, ""},
		{"order of a page", s.addr(0), "POST", "/drain?origin=a&on=true", 403, "Origin: http://evil.example"},
		{"order of an own page", s.addr(0), "POST", "/drain?origin=a&on=true", 403, "Origin: http://" + s.addr(0)},
		{"order of a form", s.addr(0), "POST", "/drain?origin=a&on=true", 403, "Sec-Fetch-Site: cross-site"},
		{"order of a page over the socket", socket, "POST", "/drain?origin=a&on=true", 403, "Origin: null"},
		{"order by GET", s.addr(0), "GET", "/drain?origin=a&on=true", 405, ""},
		{"unclear order", s.addr(0), "POST", "/drain?origin=a", 400, ""},
		{"unknown origin", s.addr(0), "POST", "/drain?origin=b&on=true", 404, ""},
		{"writing", s.addr(0), "PUT", "/status", 405, ""},
		{"nothing", s.addr(0), "GET", "/x", 404, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var headers []string
			if c.headers != "" {
				headers = append(headers, c.headers)
			}
			if got, body := ask(t, c.at, c.method, c.path, headers...); got != c.status {
				t.Errorf("%d %q, want %d", got, body, c.status)
			}
		})
	}
	if len(asked) != 2 {
		t.Errorf("drained %d times, want 2", len(asked))
	}
}

// TestPathsWithASlash: one slash at the end of a path makes no difference.
func TestPathsWithASlash(t *testing.T) {
	s := started(t, Config{Address: "127.0.0.1:0", Edge: healthy(), DrainNode: obey})
	for _, c := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/healthz/", 200, "alive"},
		{"GET", "/metrics/", 200, "megaphone_edge_"},
		{"GET", "/status/?x", 200, "{"},
		{"GET", "/%72eadyz/", 200, "ready"},
		{"POST", "/drain/?origin=a&on=true", 200, "drain true"},
		{"GET", "/drain/", 405, "use POST"},
		{"GET", "/debug/pprof/", 200, "goroutine?debug=1"},
		{"GET", "/debug/pprof", 200, "goroutine?debug=1"}, // by a redirection
		{"GET", "/x/", 404, "/metrics"},
	} {
		if got, body := ask(t, s.addr(0), c.method, c.path); got != c.status || !strings.Contains(body, c.body) {
			t.Errorf("%s %s: %d %.200q", c.method, c.path, got, body)
		}
	}
}

func TestOrdersFromOtherHostsAreRefused(t *testing.T) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		ip := a.(*net.IPNet).IP
		if ip.IsLoopback() || ip.To4() == nil {
			continue
		}
		s := started(t, Config{Address: ip.String() + ":0", Edge: healthy(), DrainNode: obey})
		if got, _ := ask(t, s.addr(0), "POST", "/drain?origin=a&on=true"); got != 403 {
			t.Errorf("a command from %s: %d", ip, got)
		}
		if got, _ := ask(t, s.addr(0), "GET", "/debug/pprof/"); got != 403 {
			t.Errorf("a profile for %s: %d", ip, got)
		}
		if got, _ := ask(t, s.addr(0), "GET", "/metrics"); got != 200 {
			t.Errorf("metrics for %s: %d", ip, got)
		}
		return
	}
	t.Skip("this host has no other address than loopback")
}

func TestAddressInUse(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "admin.sock")
	first := started(t, Config{Address: "127.0.0.1:0", Socket: socket, Edge: healthy()})
	at := first.addr(0)
	for _, cfg := range []Config{{Address: at}, {Socket: socket}} {
		if s, err := Start(cfg); err == nil {
			s.Stop()
			t.Errorf("a second one started at %+v", cfg)
		}
	}
	second := started(t, Config{Address: at, Socket: socket, Wait: true, Edge: healthy()})
	first.Stop()
	late, look := time.After(patience), time.NewTicker(time.Millisecond)
	defer look.Stop()
	for n := 0; n < 2; {
		select {
		case <-late:
			t.Fatal("the one that waited has not taken over")
		case <-look.C:
		}
		second.mu.Lock()
		n = len(second.listeners)
		second.mu.Unlock()
	}
	for _, a := range []string{at, socket} {
		if got, _ := ask(t, a, "GET", "/healthz"); got != 200 {
			t.Errorf("%s: %d", a, got)
		}
	}
}

// poor is a listener that lacks descriptors at first.
type poor struct {
	net.Listener
	lacks int
}

func (p *poor) Accept() (net.Conn, error) {
	if p.lacks--; p.lacks >= 0 {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return p.Listener.Accept()
}

// TestAcceptSurvivesWantOfDescriptors: operators need the endpoint most when descriptors run out.
func TestAcceptSurvivesWantOfDescriptors(t *testing.T) {
	s := started(t, Config{Edge: healthy()})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.serve(endpoint{network: "tcp"}, &poor{l, 1})
	if got, _ := ask(t, l.Addr().String(), "GET", "/healthz"); got != 200 {
		t.Errorf("%d", got)
	}
}

// TestSocketOfADeadProcessIsTakenOver and is for its user and group.
func TestSocketOfADeadProcessIsTakenOver(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	started(t, Config{Socket: socket, Edge: healthy()})
	if got, _ := ask(t, socket, "GET", "/healthz"); got != 200 {
		t.Errorf("%d", got)
	}
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != socketMode {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestSocketReplacesNoFile: admin-socket names a file by mistake.
func TestSocketReplacesNoFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Start(Config{Socket: file, Edge: healthy(), Wait: true, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		s.Stop()
	}
	if err == nil || !strings.Contains(err.Error(), "admin-socket: "+file+": there is a file") {
		t.Errorf("over a file: %v", err)
	}
	if text, _ := os.ReadFile(file); string(text) != "text" {
		t.Errorf("the file now holds %q", text)
	}
}

// TestSocketOfTheService is in the directory that systemd has made, if there is one, and no reason not to start.
func TestSocketOfTheService(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", "")
	if none := started(t, Config{Socket: "auto", Edge: healthy()}); none.Address() != "" || none.commandSocket != "" {
		t.Errorf("without a directory it is at %q", none.Address())
	}
	dir := t.TempDir()
	t.Setenv("RUNTIME_DIRECTORY", dir+":/run/other")
	socket := filepath.Join(dir, "admin.sock")
	first := started(t, Config{Socket: "auto", Edge: healthy()})
	if got, _ := ask(t, socket, "GET", "/healthz"); got != 200 {
		t.Fatalf("status %d", got)
	}
	second := started(t, Config{Address: "127.0.0.1:0", Socket: "auto", Edge: healthy(), DrainNode: obey})
	if got, body := ask(t, second.addr(0), "POST", "/drain?origin=a&on=true"); got != 403 ||
		!strings.Contains(body, socket) {
		t.Errorf("a command: %d %q, want 403 with %s", got, body, socket)
	}
	first.Stop()
	late := time.Now().Add(patience)
	for second.listening() < 2 {
		if time.Now().After(late) {
			t.Fatal("the second one does not follow the first")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got, _ := ask(t, socket, "POST", "/drain?origin=a&on=true"); got != 200 {
		t.Errorf("a command over the socket: %d", got)
	}
	t.Setenv("RUNTIME_DIRECTORY", filepath.Join(dir, "missing"))
	started(t, Config{Address: "127.0.0.1:0", Socket: "auto", Edge: healthy()})
}
