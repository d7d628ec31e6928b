package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// server is an ejabberd of our own, in a directory of its own. It ends with us, however we end.
type server struct {
	script, dir string
	bosh        string // a URL
	link        map[way]string
	pid         int
}

// noBusyWait has schedulers of all three kinds sleep as soon as they have nothing to do.
const noBusyWait = "+sbwt none +sbwtdcpu none +sbwtdio none"

// startServer returns when ejabberd serves. What it leaves when it fails is gone as well.
func startServer(o *options) (s *server, err error) {
	dir, err := os.MkdirTemp("", "bench-ejabberd-")
	if err != nil {
		return nil, err
	}
	s = &server{script: filepath.Join(o.root, "scripts", "ejabberd.sh"), dir: dir, link: map[way]string{}}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	var flags []string
	if o.NoBusyWait {
		flags = append(flags, "ERL_FLAGS="+strings.TrimSpace(os.Getenv("ERL_FLAGS")+" "+noBusyWait))
	}
	said, err := s.do(flags, "start", "--owner", strconv.Itoa(os.Getpid()), "--module-options", o.Module)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(said) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch key {
		case "bosh":
			s.bosh = value
		case "link":
			s.link[megaphone] = value
		case "engine":
			s.link[engine] = value
		case "pid":
			s.pid, _ = strconv.Atoi(value)
		}
	}
	if s.bosh == "" || len(s.link) != 2 || s.pid == 0 {
		return nil, fmt.Errorf("scripts/ejabberd.sh does not say how to reach ejabberd: %q", said)
	}
	return s, nil
}

// do runs the script to its end, also when we are interrupted meanwhile: half a start could not be undone.
func (s *server) do(env []string, verb string, args ...string) (string, error) {
	cmd := exec.Command(s.script, append([]string{verb, s.dir}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var problem bytes.Buffer
	cmd.Stderr = &problem
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ejabberd %s: %w: %s%s", verb, err, out, problem.Bytes())
	}
	return string(out), nil
}

// eval has ejabberd evaluate Erlang expressions, and reads their value as fmt.Sscanf does.
func (s *server) eval(expressions, format string, into ...any) error {
	value, err := s.do(nil, "eval", expressions)
	if err != nil {
		return err
	}
	if _, err := fmt.Sscanf(value, format, into...); err != nil {
		return fmt.Errorf("%q in answer to %s: %w", value, expressions, err)
	}
	return nil
}

// processes is how many Erlang has, at this moment.
func (s *server) processes() (n int, err error) {
	return n, s.eval("erlang:system_info(process_count)", "%d", &n)
}

// memory is what Erlang has allocated, in bytes.
func (s *server) memory() (n uint64, err error) {
	return n, s.eval("erlang:memory(total)", "%d", &n)
}

// sockets counts those that the operating system has for it.
func (s *server) sockets() (n int, err error) {
	fds := fmt.Sprintf("/proc/%d/fd", s.pid)
	list, err := os.ReadDir(fds)
	if err != nil {
		return 0, err
	}
	for _, fd := range list {
		to, _ := os.Readlink(filepath.Join(fds, fd.Name())) // it may be closed by now
		if strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n, nil
}

// settleTime is how long Erlang takes to give back to the system what it used to start, some 30 MiB.
const settleTime = 12 * time.Second

// settle brings a node that has just been started to where it would be in the long run.
func (s *server) settle(ctx context.Context) error {
	var done string
	if err := s.eval("lists:foreach(fun erlang:garbage_collect/1, erlang:processes())", "%s", &done); err != nil {
		return err
	}
	return sleepUntil(ctx, time.Now().Add(settleTime))
}

func (s *server) stop() {
	if _, err := s.do(nil, "stop"); err != nil {
		say("%v", err)
		return
	}
	if err := os.RemoveAll(s.dir); err != nil {
		say("%v", err)
	}
}
