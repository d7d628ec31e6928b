// Package programs starts bin/megaphone for benchmarks, as processes whose logs are files; these are not read while
// there is work to do.
package programs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"megaphone/internal/selfsigned"
)

// Program is a megaphone process that this program starts.
type Program struct {
	*exec.Cmd
	Log     string // its file
	Started time.Time
}

// startTime is how long a server may take until it listens, and has its links.
const startTime = 60 * time.Second

// Start starts bin/megaphone NAME; logs and standard output are in dir/NAME.log.
func Start(root, dir, name string, env []string, args ...string) (*Program, error) {
	p := &Program{Cmd: exec.Command(filepath.Join(root, "bin", "megaphone"), append([]string{name}, args...)...),
		Log: filepath.Join(dir, name+".log"), Started: time.Now()}
	f, err := os.Create(p.Log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p.Env = append(os.Environ(), env...)
	p.Stdout, p.Stderr = f, f
	p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return p, p.Cmd.Start()
}

// PID is its process ID.
func (p *Program) PID() int { return p.Process.Pid }

// Stop ends a server at once: it has nothing to keep. A nil program has not been started.
func (p *Program) Stop() {
	if p != nil {
		_ = p.Process.Kill()
		_ = p.Wait()
	}
}

// Await reads the log until done is content with it.
func (p *Program) Await(ctx context.Context, done func(log []byte) bool) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(startTime)
	for {
		text, err := os.ReadFile(p.Log)
		if err == nil && done(text) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-late:
			return fmt.Errorf("%s is not ready after %s:\n%s", filepath.Base(p.Log), startTime, text)
		}
		if err := p.Process.Signal(syscall.Signal(0)); err != nil || ended(p.PID()) {
			return fmt.Errorf("%s ended:\n%s", filepath.Base(p.Log), text)
		}
	}
}

// ended reports whether a child of this process has ended and waits to be reaped.
func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	i := bytes.LastIndexByte(stat, ')')
	return err != nil || i+2 >= len(stat) || stat[i+2] == 'Z'
}

var (
	listeningPattern = regexp.MustCompile(`(?m)^(?:origin|edge) listening on (\S+)$`)
	reactorsPattern  = regexp.MustCompile(` reactors=(\d+) `)
)

// Listening is where a server says that it listens.
func Listening(log []byte) string {
	if m := listeningPattern.FindSubmatch(log); m != nil {
		return string(m[1])
	}
	return ""
}

// Connections is what n sessions have at most: one each, and some second ones while they talk.
func Connections(n int) int { return n + n/32 + 1024 }

// Edge is an edge for a number of sessions that wait so long.
type Edge struct {
	Sessions int
	Wait     time.Duration
	Origin   string // the address of its link listener
	TLS      bool   // with a certificate made for it
}

// certificateLife exceeds the time of any benchmark.
const certificateLife = 7 * 24 * time.Hour

// listen returns the flags of the edge's listener, whose files are in dir.
func (e *Edge) listen(dir string) ([]string, error) {
	if !e.TLS {
		return []string{"--listen", "127.0.0.1:0"}, nil
	}
	made, err := selfsigned.Write(dir, "Megaphone benchmark", certificateLife)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "edge.yml")
	text := fmt.Sprintf("listeners:\n  - address: 127.0.0.1:0\n    tls:\n      certificates:\n"+
		"        - certificate: %q\n          key: %q\n", made.Certificate, made.Key)
	return []string{"--config", file}, os.WriteFile(file, []byte(text), 0o644)
}

// Start returns when each reactor of the edge has its link. Go's runtime writes a line to the log for each garbage
// collection.
func (e *Edge) Start(ctx context.Context, root, dir string) (p *Program, at string, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, "", err
	}
	args, err := e.listen(dir)
	if err != nil {
		return nil, "", err
	}
	args = append(args, "--origin", "o="+e.Origin, "--max-connections", strconv.Itoa(Connections(e.Sessions)),
		"--check-host", "off", "--hold-timeout", (e.Wait + time.Minute).String())
	p, err = Start(root, dir, "edge", []string{"GODEBUG=gctrace=1"}, args...)
	if err != nil {
		return nil, "", err
	}
	err = p.Await(ctx, func(log []byte) bool {
		m := reactorsPattern.FindSubmatch(log)
		at = Listening(log)
		return m != nil && at != "" && strconv.Itoa(bytes.Count(log, []byte(`"link up"`))) == string(m[1])
	})
	return p, at, err
}
