package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a megaphone of ours. What it logs is in a file: nobody reads it while there is work to do.
type process struct {
	*exec.Cmd
	log     string
	started time.Time
}

// startTime is how long a server may take until it listens, and has its links.
const startTime = 60 * time.Second

// start starts bin/megaphone; logs and standard output are in dir/name.log.
func start(o *options, dir, name string, env []string, args ...string) (*process, error) {
	p := &process{Cmd: exec.Command(filepath.Join(o.root, "bin", "megaphone"), append([]string{name}, args...)...),
		log: filepath.Join(dir, name+".log"), started: time.Now()}
	f, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p.Env = append(os.Environ(), env...)
	p.Stdout, p.Stderr = f, f
	p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return p, p.Start()
}

func (p *process) pid() int { return p.Process.Pid }

// stop ends a server at once: it has nothing to keep.
func (p *process) stop() {
	if p != nil {
		_ = p.Process.Kill()
		_ = p.Wait()
	}
}

// await reads the log until done is content with it.
func (p *process) await(ctx context.Context, done func(log []byte) bool) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(startTime)
	for {
		text, err := os.ReadFile(p.log)
		if err == nil && done(text) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-late:
			return fmt.Errorf("%s is not ready after %s:\n%s", filepath.Base(p.log), startTime, text)
		}
		if err := p.Process.Signal(syscall.Signal(0)); err != nil || ended(p.pid()) {
			return fmt.Errorf("%s ended:\n%s", filepath.Base(p.log), text)
		}
	}
}

// ended says that a process of ours waits to be waited for.
func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	i := bytes.LastIndexByte(stat, ')')
	return err != nil || i+2 >= len(stat) || stat[i+2] == 'Z'
}

var (
	listeningPattern = regexp.MustCompile(`(?m)^(?:origin|edge) listening on (\S+)$`)
	reactorsPattern  = regexp.MustCompile(` reactors=(\d+) `)
)

// listening is where a server says that it listens.
func listening(log []byte) string {
	if m := listeningPattern.FindSubmatch(log); m != nil {
		return string(m[1])
	}
	return ""
}

func originArgs(o *options, n int, listen string) []string {
	return []string{"--listen", listen, "--max-sessions", strconv.Itoa(n + 1000), "--max-wait", strconv.Itoa(o.Wait),
		"--inactivity", "120"}
}

// restart is a shell command that kills the origin and starts it again after a while.
func (o *options) restart(dir string, n int, origin *process, at string) string {
	return fmt.Sprintf("kill -9 %d; sleep %g; GOGC=%d exec '%s' origin %s >'%s' 2>&1", origin.pid(), o.Storm.Seconds(),
		o.GOGC, filepath.Join(o.root, "bin", "megaphone"), strings.Join(originArgs(o, n, at), " "),
		filepath.Join(dir, "origin-again.log"))
}

// startOrigin returns when the embedded origin listens.
func startOrigin(ctx context.Context, o *options, dir string, n int) (p *process, at string, err error) {
	p, err = start(o, dir, "origin", []string{"GOGC=" + strconv.Itoa(o.GOGC)}, originArgs(o, n, "127.0.0.1:0")...)
	if err != nil {
		return nil, "", err
	}
	err = p.await(ctx, func(log []byte) bool { at = listening(log); return at != "" })
	return p, at, err
}

// startEdge returns when each of the edge's reactors has its link. Go's runtime writes a line to the log for each
// garbage collection.
func startEdge(ctx context.Context, o *options, dir string, n int, origin string) (p *process, at string, err error) {
	p, err = start(o, dir, "edge", []string{"GODEBUG=gctrace=1"}, "--listen", "127.0.0.1:0", "--origin", "o="+origin,
		"--max-connections", strconv.Itoa(connections(n)), "--check-host", "off",
		"--hold-timeout", (time.Duration(o.Wait)*time.Second + time.Minute).String())
	if err != nil {
		return nil, "", err
	}
	err = p.await(ctx, func(log []byte) bool {
		m := reactorsPattern.FindSubmatch(log)
		at = listening(log)
		return m != nil && at != "" && strconv.Itoa(bytes.Count(log, []byte(`"link up"`))) == string(m[1])
	})
	return p, at, err
}
