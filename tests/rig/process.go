package rig

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Patience bounds every wait. It is for a loaded machine; nothing here takes that long otherwise.
const Patience = 30 * time.Second

// longest bounds the wait for a line of a process that says others meanwhile.
const longest = 4 * Patience

// Process is a running megaphone (or crowd) and all that it has said, standard output and log together.
type Process struct {
	T    testing.TB
	Cmd  *exec.Cmd
	In   io.WriteCloser
	Addr string // what it listens on, once it says so

	mu     sync.Mutex
	lines  []string
	more   chan struct{} // closed and replaced when a line came
	exited chan struct{}
}

// Start runs the binary with the given arguments.
func Start(t testing.TB, args ...string) *Process {
	t.Helper()
	return Launch(t, exec.Command(Binary, args...))
}

// Serve is start for what listens; it returns when it does.
func Serve(t testing.TB, args ...string) *Process {
	t.Helper()
	p := Start(t, args...)
	p.Listening()
	return p
}

// Launch starts any program as a Process. A standard stream that cmd has already is not read.
func Launch(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{T: t, Cmd: cmd, more: make(chan struct{}), exited: make(chan struct{})}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if cmd.Stdout == nil {
		cmd.Stdout = w
	}
	if cmd.Stderr == nil {
		cmd.Stderr = w
	}
	if p.In, err = cmd.StdinPipe(); err == nil {
		err = cmd.Start()
	}
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer r.Close()
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			p.mu.Lock()
			p.lines = append(p.lines, lines.Text())
			close(p.more)
			p.more = make(chan struct{})
			p.mu.Unlock()
		}
	}()
	go func() {
		<-read // all it has said is read before it counts as ended
		_ = cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-p.exited
		if t.Failed() {
			p.mu.Lock()
			defer p.mu.Unlock()
			t.Logf("%s %s said:\n%s", cmd.Path, strings.Join(cmd.Args[1:], " "),
				strings.Join(p.lines[max(0, len(p.lines)-30):], "\n"))
		}
	})
	return p
}

// Said is how many lines there are so far.
func (p *Process) Said() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.lines)
}

// Text is everything said so far.
func (p *Process) Text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// Line waits for a line with the given text, from line number from on.
func (p *Process) Line(from int, text string) string {
	p.T.Helper()
	late, atLast := time.After(Patience), time.After(longest)
	for exited := false; ; {
		p.mu.Lock()
		lines, more := p.lines[min(from, len(p.lines)):], p.more
		p.mu.Unlock()
		for _, l := range lines {
			if strings.Contains(l, text) {
				return l
			}
		}
		if exited {
			p.T.Fatalf("ended without saying %q", text)
		}
		from += len(lines)
		select {
		case <-more:
			late = time.After(Patience)
			continue
		case <-p.exited:
			exited = true
			continue
		case <-late:
		case <-atLast:
		}
		p.T.Fatalf("waited in vain for %q", text)
	}
}

// Listening waits until the process says where it listens.
func (p *Process) Listening() {
	p.T.Helper()
	line := p.Line(0, "listening")
	var said struct{ Address string }
	if json.Unmarshal([]byte(line), &said) == nil { // log-format: json
		p.Addr = said.Address
		return
	}
	_, p.Addr, _ = strings.Cut(p.Line(0, "listening on "), "listening on ")
}

// Signal sends one.
func (p *Process) Signal(s os.Signal) {
	p.T.Helper()
	if err := p.Cmd.Process.Signal(s); err != nil {
		p.T.Fatalf("signal: %v", err)
	}
}

// Wait waits for the end of the process and returns its exit code; -1: a signal ended it.
func (p *Process) Wait() int {
	p.T.Helper()
	select {
	case <-p.exited:
	case <-time.After(Patience):
		p.T.Fatal("the process does not end")
	}
	return p.Cmd.ProcessState.ExitCode()
}

// Kill ends the process at once and unasked.
func (p *Process) Kill() {
	p.T.Helper()
	p.Signal(os.Kill)
	p.Wait()
}

var counterPattern = regexp.MustCompile(`(\w+):(\d+)`)

// Counters has an edge log its counters. They are as of the reactors' last ticks, a tenth of a second ago at most. A
// counter that is not there is zero.
func (p *Process) Counters() map[string]int {
	p.T.Helper()
	from := p.Said()
	p.Signal(syscall.SIGUSR1)
	m := map[string]int{}
	_, list, _ := strings.Cut(p.Line(from, "msg=counters"), "map[")
	for _, c := range counterPattern.FindAllStringSubmatch(list, -1) {
		m[c[1]], _ = strconv.Atoi(c[2])
	}
	return m
}

// Until waits for counters that fulfil ok.
func (p *Process) Until(what string, ok func(c map[string]int) bool) map[string]int {
	p.T.Helper()
	late := time.After(Patience)
	tick := time.NewTicker(100 * time.Millisecond) // how often an edge brings them up to date
	defer tick.Stop()
	for {
		c := p.Counters()
		if ok(c) {
			return c
		}
		select {
		case <-tick.C:
		case <-late:
			p.T.Fatalf("waited in vain for %s: %v", what, c)
		}
	}
}

// Linked waits until an edge has n links.
func (p *Process) Linked(n int) *Process {
	p.T.Helper()
	p.Until("links", func(c map[string]int) bool { return c["links_up"] >= n })
	return p
}

// Run runs the binary to its end.
func Run(t testing.TB, args ...string) (code int, said string) {
	t.Helper()
	p := Start(t, args...)
	code = p.Wait()
	return code, p.Text()
}
