package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// edge is a Megaphone edge of our own before a server.
type edge struct {
	cmd *exec.Cmd
	url string
	pid int
}

// linkTime is how long an edge may take to have all its links.
const linkTime = 20 * time.Second

var reactorsPattern = regexp.MustCompile(` reactors=(\d+) `)

// startEdge returns when each of the edge's reactors has its link.
func startEdge(ctx context.Context, o *options, link string, sessions int) (e *edge, err error) {
	cmd := exec.Command(filepath.Join(o.root, "bin", "megaphone"), "edge", "--listen", "127.0.0.1:0",
		"--origin", "ejabberd="+link, "--descriptor-tables", "off",
		"--max-connections", strconv.Itoa(sessions+spareDescriptors))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	log, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	e = &edge{cmd: cmd, pid: cmd.Process.Pid}
	var addr string
	if _, err := fmt.Fscanf(out, "edge listening on %s\n", &addr); err != nil {
		_ = cmd.Process.Kill()
		text, _ := io.ReadAll(log)
		e.stop()
		return nil, fmt.Errorf("the edge does not start: %s", text)
	}
	e.url = "http://" + addr + "/http-bind"
	linked := make(chan struct{})
	go watchLog(log, linked)
	select {
	case <-linked:
		return e, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-time.After(linkTime):
		err = errors.New("the edge has not all its links in time")
	}
	e.stop()
	return nil, err
}

// watchLog reads the edge's log to its end. It closes linked when all links are up, and passes on warnings.
func watchLog(log io.Reader, linked chan<- struct{}) {
	reactors, up := -1, 0 // a link can be up before the edge says how many there will be
	for lines := bufio.NewScanner(log); lines.Scan(); {
		line := lines.Text()
		if m := reactorsPattern.FindStringSubmatch(line); m != nil {
			reactors, _ = strconv.Atoi(m[1])
		}
		if strings.Contains(line, `"link up"`) {
			up++
		}
		if linked != nil && up == reactors {
			close(linked)
			linked = nil // a link that comes again is no news
		}
		if strings.Contains(line, "WARN") || strings.Contains(line, "ERROR") {
			say("the edge: %s", line)
		}
	}
}

func (e *edge) stop() {
	_ = e.cmd.Process.Kill() // it has nothing to keep
	_ = e.cmd.Wait()
}
