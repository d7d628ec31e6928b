package tests

import (
	"bufio"
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

// patience bounds every wait. It is for a loaded machine; nothing here takes that long otherwise.
const patience = 30 * time.Second

// process is a running megaphone (or crowd) and all that it has said, standard output and log together.
type process struct {
	t    testing.TB
	cmd  *exec.Cmd
	in   io.WriteCloser
	addr string // what it listens on, once it says so

	mu     sync.Mutex
	lines  []string
	more   chan struct{} // closed and replaced when a line came
	exited chan struct{}
}

// start runs the binary with the given arguments.
func start(t testing.TB, args ...string) *process {
	t.Helper()
	return launch(t, exec.Command(binary, args...))
}

// serve is start for what listens; it returns when it does.
func serve(t testing.TB, args ...string) *process {
	t.Helper()
	p := start(t, args...)
	p.listening()
	return p
}

func launch(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, more: make(chan struct{}), exited: make(chan struct{})}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if p.in, err = cmd.StdinPipe(); err == nil {
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

// said is how many lines there are so far.
func (p *process) said() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.lines)
}

// text is everything said so far.
func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// line waits for a line with the given text, from line number from on.
func (p *process) line(from int, text string) string {
	p.t.Helper()
	late := time.After(patience)
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
			p.t.Fatalf("ended without saying %q", text)
		}
		from += len(lines)
		select {
		case <-more:
		case <-p.exited:
			exited = true
		case <-late:
			p.t.Fatalf("waited in vain for %q", text)
		}
	}
}

// listening waits until the process says where it listens.
func (p *process) listening() {
	p.t.Helper()
	_, p.addr, _ = strings.Cut(p.line(0, "listening on "), "listening on ")
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("signal: %v", err)
	}
}

// wait waits for the end of the process and returns its exit code; -1: a signal ended it.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Fatal("the process does not end")
	}
	return p.cmd.ProcessState.ExitCode()
}

// kill ends the process at once and unasked.
func (p *process) kill() {
	p.t.Helper()
	p.signal(os.Kill)
	p.wait()
}

var counterPattern = regexp.MustCompile(`(\w+):(\d+)`)

// counters has an edge log its counters. They are as of the reactors' last ticks, a tenth of a second ago at most. A
// counter that is not there is zero.
func (p *process) counters() map[string]int {
	p.t.Helper()
	from := p.said()
	p.signal(syscall.SIGUSR1)
	m := map[string]int{}
	_, list, _ := strings.Cut(p.line(from, "msg=counters"), "map[")
	for _, c := range counterPattern.FindAllStringSubmatch(list, -1) {
		m[c[1]], _ = strconv.Atoi(c[2])
	}
	return m
}

// until waits for counters that fulfil ok.
func (p *process) until(what string, ok func(c map[string]int) bool) map[string]int {
	p.t.Helper()
	late := time.After(patience)
	tick := time.NewTicker(100 * time.Millisecond) // how often an edge brings them up to date
	defer tick.Stop()
	for {
		c := p.counters()
		if ok(c) {
			return c
		}
		select {
		case <-tick.C:
		case <-late:
			p.t.Fatalf("waited in vain for %s: %v", what, c)
		}
	}
}

// linked waits until an edge has n links.
func (p *process) linked(n int) *process {
	p.t.Helper()
	p.until("links", func(c map[string]int) bool { return c["links_up"] >= n })
	return p
}

// run runs the binary to its end.
func run(t testing.TB, args ...string) (code int, said string) {
	t.Helper()
	p := start(t, args...)
	code = p.wait()
	return code, p.text()
}
