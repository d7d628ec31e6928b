package tests

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"megaphone/tests/rig"
)

// What a process writes may have a reader that has stopped, one that has gone, or a disk that is full.

// unread is a pipe that nothing is read from unless the test does.
type unread struct {
	t    *testing.T
	r, w *os.File
}

func newUnread(t *testing.T) *unread {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil { // blocking, as a shell's
		t.Fatal(err)
	}
	u := &unread{t, os.NewFile(uintptr(p[0]), "r"), os.NewFile(uintptr(p[1]), "w")}
	t.Cleanup(func() { u.r.Close(); u.w.Close() })
	if _, err := unix.FcntlInt(uintptr(p[1]), unix.F_SETPIPE_SZ, 4096); err != nil {
		t.Fatal(err)
	}
	return u
}

// fill leaves no room in it, over an open file of its own, as O_NONBLOCK would hold for the process as well.
func (u *unread) fill() *unread {
	u.t.Helper()
	own, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", u.w.Fd()), os.O_WRONLY, 0)
	if err != nil {
		u.t.Fatal(err)
	}
	defer own.Close()
	raw, err := own.SyscallConn()
	if err != nil {
		u.t.Fatal(err)
	}
	for _, size := range []int{512, 1} {
		for full := false; !full; {
			if err := raw.Write(func(fd uintptr) bool {
				_, err = unix.Write(int(fd), make([]byte, size))
				return true
			}); err != nil {
				u.t.Fatal(err)
			}
			full = err == unix.EAGAIN
		}
	}
	return u
}

// mute starts the binary with standard error, or with output set standard output, in an unread pipe.
func mute(t *testing.T, u *unread, output bool, env []string, args ...string) *rig.Process {
	t.Helper()
	cmd := exec.Command(rig.Binary, args...)
	if cmd.Stderr = u.w; output {
		cmd.Stdout, cmd.Stderr = u.w, nil
	}
	cmd.Env = append(os.Environ(), env...)
	return rig.Launch(t, cmd)
}

// ends demands that a process does, with an exit code.
func ends(t *testing.T, p *rig.Process, want int) {
	t.Helper()
	if code := p.Wait(); code != want {
		t.Errorf("exit code %d, want %d", code, want)
	}
}

// metric is a metric of the edge that shows itself at an address.
func metric(t *testing.T, at, name string) int {
	t.Helper()
	_, text := fetch(t, "http://"+at+"/metrics")
	m := regexp.MustCompile(`(?m)^` + name + ` (\d+)`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no metric %s in\n%s", name, text)
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// TestUnreadLogOfAnEdge: its log takes nothing, but it reloads, feeds the watchdog, shows itself, drains when it is
// asked to, and ends at once when it is asked again.
func TestUnreadLogOfAnEdge(t *testing.T) {
	t.Parallel()
	at := freeAddr(t)
	text := "listen: 127.0.0.1:0\nadmin: " + at + "\norigins: [{name: a, address: '127.0.0.1:1'}]\nhead-timeout: 1m\n"
	file := configFile(t, text+"path: /one\n")
	m, u := newManager(t), newUnread(t)
	env := []string{"NOTIFY_SOCKET=" + m.path, "WATCHDOG_USEC=2000000"}
	e := mute(t, u, false, env, "edge", "--config", file)
	m.hears("READY=1")
	e.Listening()
	u.fill()
	e.Signal(syscall.SIGUSR1)
	for _, path := range []string{"/two", "/three"} {
		rewrite(t, file, text+"path: "+path+"\n")
		e.Signal(syscall.SIGHUP)
		m.reloads()
		c := rig.Connect(t, e.Addr)
		c.Send("GET " + path + " HTTP/1.1\r\nHost: h\r\n\r\n")
		c.Get().Want(t, 200, "BOSH")
		c.Close()
	}
	for range 4 {
		m.hears("WATCHDOG=1")
	}
	c := rig.Connect(t, e.Addr)
	c.Send("POST /three HTTP/1.1\r\n") // it is not idle for a minute
	waitFor(t, "the connection", func() bool { return metric(t, at, `megaphone_edge_accepted_connections_total`) == 3 })
	e.Signal(syscall.SIGTERM)
	m.hears("STOPPING=1")
	waitFor(t, "no listener", func() bool {
		_, err := tryConnect(e.Addr)
		return err != nil
	})
	e.Signal(syscall.SIGTERM)
	ends(t, e, 0)
}

// TestUnreadAccessLog: neither requests nor signals wait for it, wherever it goes.
func TestUnreadAccessLog(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "access")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for _, log := range []string{"stderr", fifo} {
		m, u := newManager(t), newUnread(t)
		file := configFile(t, "listen: 127.0.0.1:0\nadmin: off\norigins: [{name: a, address: '127.0.0.1:1'}]\n"+
			"access-log: "+log+"\n")
		e := mute(t, u, false, []string{"NOTIFY_SOCKET=" + m.path}, "edge", "--config", file)
		m.hears("READY=1")
		e.Listening()
		u.fill()
		c := rig.Connect(t, e.Addr)
		for range 2000 { // 200 KB, more than a FIFO holds
			c.Send("GET /http-bind HTTP/1.1\r\nHost: h\r\n\r\n")
			c.Get().Want(t, 200, "BOSH")
		}
		c.Close()
		for range 2 {
			e.Signal(syscall.SIGHUP)
			m.reloads()
		}
		e.Signal(syscall.SIGTERM)
		ends(t, e, 0)
	}
}

// TestUnreadLogInATakeover: neither the predecessor nor the successor waits for its log.
func TestUnreadLogInATakeover(t *testing.T) {
	t.Parallel()
	origin := rig.Serve(t, "origin", "--listen", "127.0.0.1:0", "--anonymous")
	args := []string{"edge", "--listen", freeAddr(t), "--origin", "a=" + origin.Addr, "--max-connections", "1000",
		"--admin", "off", "--drain-jitter", "1s", "--takeover-socket", filepath.Join(t.TempDir(), "s")}
	u := newUnread(t)
	old := mute(t, u, false, nil, args...)
	old.Listening()
	u.fill()
	next := mute(t, u, false, nil, append(args, "--takeover")...)
	next.Listening()
	ends(t, old, 0)
	rig.Create(t, rig.Connect(t, next.Addr))
	next.Signal(syscall.SIGTERM)
	ends(t, next, 0)
}

// TestUnreadLogOfAnOrigin: strangers at its port, whose links end, stop no session; nor does the log keep it from
// ending.
func TestUnreadLogOfAnOrigin(t *testing.T) {
	t.Parallel()
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		fmt.Fprintf(w, "<body sid='s' wait='60' %s/>", rig.BOSHNS)
	}))
	t.Cleanup(endpoint.Close)
	for name, args := range map[string][]string{"embedded": nil, "gateway": {"--bosh", endpoint.URL + "/http-bind"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newUnread(t)
			o := mute(t, u, false, nil, append([]string{"origin", "--listen", "127.0.0.1:0"}, args...)...)
			o.Listening()
			e := rig.Serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "a="+o.Addr, "--max-connections",
				"1000").Linked(1)
			u.fill()
			for range 300 {
				c, err := net.Dial("tcp", o.Addr)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = c.Write([]byte("x"))
				c.Close()
			}
			for range 3 {
				c := rig.Connect(t, e.Addr)
				rig.Create(t, c)
				c.Close()
			}
			o.Signal(syscall.SIGTERM)
			ends(t, o, 0)
		})
	}
}

// TestUnreadProgressOfALoad: the run continues, and SIGINT ends it with its report.
func TestUnreadProgressOfALoad(t *testing.T) {
	t.Parallel()
	edge, _ := edgeAndOrigin(t, "--max-connections", "1000")
	u, report := newUnread(t).fill(), filepath.Join(t.TempDir(), "report.json")
	load := mute(t, u, false, nil, "load", "--target", "http://"+edge.Addr+"/http-bind", "--sessions", "20",
		"--duration", "10m", "--report", report)
	edge.Until("the sessions", func(c map[string]int) bool { return c["held_now"] == 20 })
	load.Signal(os.Interrupt)
	load.Wait()
	if r := readReport(t, load, report); r.Sessions["reached"] != 20 || r.Verdict.Status != 130 {
		t.Errorf("%+v", r)
	}
}

// TestUnreadOutput: a service's standard output takes nothing; it serves, and ends when it is asked to.
func TestUnreadOutput(t *testing.T) {
	t.Parallel()
	m, u := newManager(t), newUnread(t).fill()
	env := []string{"NOTIFY_SOCKET=" + m.path}
	at := freeAddr(t)
	e := mute(t, u, true, env, "edge", "--listen", at, "--origin", "a=127.0.0.1:1", "--admin", "off")
	m.hears("READY=1")
	c := rig.Connect(t, at)
	c.Send("GET /http-bind HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	c.Get().Want(t, 200, "BOSH")
	c.Close()
	o := mute(t, u, true, nil, "origin", "--listen", "127.0.0.1:0")
	demoAt := freeAddr(t)
	d := mute(t, u, true, nil, "demo", "--listen", demoAt, "--admin", "off")
	waitFor(t, "the demo", func() bool {
		resp, err := http.Get("http://" + demoAt + "/")
		return err == nil && resp.Body.Close() == nil && resp.StatusCode == 200
	})
	for _, p := range []*rig.Process{e, o, d} {
		p.Signal(syscall.SIGTERM)
		ends(t, p, 0)
	}
}

// TestUnreadSummary: a run whose report is not read waits for the reader, until it is told to end.
func TestUnreadSummary(t *testing.T) {
	t.Parallel()
	edge, _ := edgeAndOrigin(t, "--max-connections", "1000")
	for _, to := range []string{"report.json", "-"} {
		u, report := newUnread(t).fill(), to
		if to != "-" {
			report = filepath.Join(t.TempDir(), to)
		}
		load := mute(t, u, true, nil, "load", "--target", "http://"+edge.Addr+"/http-bind", "--sessions", "20",
			"--duration", "1s", "--report", report, "--log-format", "json")
		load.Line(0, `"phase":"leaving"`)
		if to != "-" {
			waitFor(t, "the report", func() bool { info, err := os.Stat(report); return err == nil && info.Size() > 0 })
		}
		load.Signal(os.Interrupt)
		load.Wait()
	}
}

// TestFullDisk: if nothing can be written, nothing stops, and lost records are counted.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	start := func(args ...string) *rig.Process {
		cmd := exec.Command(rig.Binary, args...)
		cmd.Stdout, cmd.Stderr = full, full
		return rig.Launch(t, cmd)
	}
	link, at, admin := freeAddr(t), freeAddr(t), freeAddr(t)
	o := start("origin", "--listen", link)
	e := start("edge", "--listen", at, "--origin", "a="+link, "--admin", admin, "--access-log", "/dev/full")
	waitFor(t, "a session", func() bool {
		for _, addr := range []string{at, admin} {
			if _, err := tryConnect(addr); err != nil {
				return false
			}
		}
		c := rig.Connect(t, at)
		defer c.Close()
		c.Send(rig.PostText(rig.CreationText("localhost")))
		return c.Get().StatusCode == 200
	})
	for _, name := range []string{"megaphone_edge_log_dropped_total", "megaphone_edge_access_log_dropped_total"} {
		waitFor(t, name, func() bool { return metric(t, admin, name) > 0 })
	}
	for _, p := range []*rig.Process{e, o} {
		p.Signal(syscall.SIGTERM)
		ends(t, p, 0)
	}
}

// TestNoOutputAtAll: neither standard output nor standard error takes anything, because their reader has stopped or the
// disk is full. An edge reloads, feeds the watchdog, and is taken over; a gateway serves; a load writes its report.
func TestNoOutputAtAll(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { full.Close() })
	for name, out := range map[string]*os.File{"unread": newUnread(t).fill().w, "full disk": full} {
		t.Run(name, func(t *testing.T) {
			start := func(m *manager, args ...string) *rig.Process {
				cmd := exec.Command(rig.Binary, args...)
				cmd.Stdout, cmd.Stderr = out, out
				if m != nil {
					cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+m.path, "WATCHDOG_USEC=2000000")
				}
				return rig.Launch(t, cmd)
			}
			server := rig.Serve(t, "demo", "--listen", "127.0.0.1:0", "--admin", "off")
			link, at := freeAddr(t), freeAddr(t)
			gateway := start(nil, "origin", "--listen", link, "--bosh", "http://"+server.Addr+"/http-bind")
			text := "listen: " + at + "\nadmin: off\norigins: [{name: a, address: '" + link + "'}]\n" +
				"drain-jitter: 1s\ntakeover-socket: " + filepath.Join(t.TempDir(), "s") + "\nmax-connections: 1000\n"
			file := configFile(t, text+"path: /one\n")
			first, second := newManager(t), newManager(t)
			edge := start(first, "edge", "--config", file)
			first.hears("READY=1")
			rewrite(t, file, text+"path: /two\n")
			edge.Signal(syscall.SIGHUP)
			first.reloads()
			for range 2 {
				first.hears("WATCHDOG=1")
			}
			next := start(second, "edge", "--config", file, "--takeover")
			second.hears("READY=1")
			ends(t, edge, 0)
			report := filepath.Join(t.TempDir(), "report.json")
			load := start(nil, "load", "--target", "http://"+at+"/two", "--sessions", "20", "--duration", "1s",
				"--report", report)
			waitFor(t, "the report", func() bool { info, err := os.Stat(report); return err == nil && info.Size() > 0 })
			if out == full {
				ends(t, load, 1) // its summary could not be written
			} else {
				load.Signal(os.Interrupt) // its summary waits for a reader
				load.Wait()
			}
			if text, err := os.ReadFile(report); err != nil || !regexp.MustCompile(`"reached": ?20\b`).Match(text) {
				t.Errorf("%v: %s", err, text)
			}
			for _, p := range []*rig.Process{next, gateway} {
				p.Signal(syscall.SIGTERM)
				ends(t, p, 0)
			}
		})
	}
}

// TestDroppedRecordsAreCounted, as a metric, and in the log as soon as it is read again.
func TestDroppedRecordsAreCounted(t *testing.T) {
	t.Parallel()
	u, at := newUnread(t), freeAddr(t)
	e := mute(t, u, false, nil, "edge", "--listen", "127.0.0.1:0", "--origin", "a=127.0.0.1:1", "--admin", at)
	e.Listening()
	u.fill()
	client := http.Client{Timeout: rig.Patience}
	order := func() {
		resp, err := client.Post("http://"+at+"/drain?origin=a&on=true", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	const orders = 1500
	for range orders {
		order()
	}
	const name = "megaphone_edge_log_dropped_total"
	dropped := metric(t, at, name)
	if dropped == 0 || dropped > orders {
		t.Errorf("%d records of %d are dropped", dropped, orders)
	}
	lines := bufio.NewScanner(u.r)
	said := 0
	for lines.Scan() && said == 0 {
		if _, count, ok := strings.Cut(lines.Text(), `msg="log records dropped" count=`); ok {
			said, _ = strconv.Atoi(count)
		}
	}
	if said < dropped {
		t.Errorf("the log says that %d records are dropped, the metric %d", said, dropped)
	}
	go func() { _, _ = io.Copy(io.Discard, u.r) }()
	e.Signal(syscall.SIGTERM)
	ends(t, e, 0)
}

// TestLogWithoutAReader: one that has gone ends no service.
func TestLogWithoutAReader(t *testing.T) {
	t.Parallel()
	u, at := newUnread(t), freeAddr(t)
	e := mute(t, u, false, nil, "edge", "--listen", "127.0.0.1:0", "--origin", "a=127.0.0.1:1", "--admin", at)
	e.Listening()
	metric(t, at, "megaphone_edge_log_dropped_total")
	u.r.Close()
	e.Signal(syscall.SIGUSR1)
	waitFor(t, "a lost record", func() bool { return metric(t, at, "megaphone_edge_log_dropped_total") > 0 })
	e.Signal(syscall.SIGTERM)
	ends(t, e, 0)
}

// TestCrashIntoAnUnreadLog: the runtime's report of a crash does not keep the process from ending.
func TestCrashIntoAnUnreadLog(t *testing.T) {
	t.Parallel()
	const crashed = 2
	u := newUnread(t)
	e := mute(t, u, false, nil, "edge", "--listen", "127.0.0.1:0", "--origin", "a=127.0.0.1:1", "--admin", "off")
	e.Listening()
	u.fill()
	e.Signal(syscall.SIGQUIT)
	ends(t, e, crashed)

	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0) // as the journal's
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(p[0]), "ours"), os.NewFile(uintptr(p[1]), "theirs")
	defer ours.Close()
	defer theirs.Close()
	cmd := exec.Command(rig.Binary, "edge", "--listen", "127.0.0.1:0", "--origin", "a=127.0.0.1:1", "--admin", "off")
	var s unix.Stat_t
	if err := unix.Fstat(p[1], &s); err != nil {
		t.Fatal(err)
	}
	cmd.Stderr, cmd.Env = theirs, append(os.Environ(), fmt.Sprintf("JOURNAL_STREAM=%d:%d", s.Dev, s.Ino))
	e = rig.Launch(t, cmd)
	e.Listening()
	for err == nil {
		err = unix.Sendto(p[1], make([]byte, 1024), unix.MSG_DONTWAIT, nil)
	}
	e.Signal(syscall.SIGQUIT)
	ends(t, e, crashed)
}

// TestManagerThatDoesNotRead: a service manager that has stopped stops no edge.
func TestManagerThatDoesNotRead(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for err == nil {
		err = unix.Sendto(fd, []byte("X"), 0, &unix.SockaddrUnix{Name: m.path})
	}
	e := m.run("", nil, []string{"WATCHDOG_USEC=400000"}, "edge", "--listen", "127.0.0.1:0", "--origin",
		"a=127.0.0.1:1", "--admin", "off")
	from := e.Said()
	e.Line(0, "edge started")
	e.Signal(syscall.SIGUSR1)
	e.Line(from, "msg=counters")
	e.Signal(syscall.SIGTERM)
	ends(t, e, 0)
}
