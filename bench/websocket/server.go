package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"megaphone/bench/node"
	"megaphone/bench/programs"
	"megaphone/load"
)

// server is one of those that are measured.
type server struct {
	name, heading string
	parts         []string // names of its processes
	start         func(ctx context.Context, o *options, dir string, r *running) error
}

// running is a server at work.
type running struct {
	url, domain string
	processes   []load.Process
	stops       []func()
}

// stop ends the processes, the last one first.
func (r *running) stop() {
	for i := len(r.stops) - 1; i >= 0; i-- {
		r.stops[i]()
	}
}

const (
	edgeName     = "edge"
	originName   = "origin"
	libraryName  = "library"
	ejabberdName = "ejabberd"
)

var servers = []server{
	{edgeName, "edge and embedded origin", []string{edgeName, originName}, startEdge},
	{libraryName, "chat on coder/websocket", []string{libraryName}, startLibrary},
	{ejabberdName, "ejabberd_http_ws", []string{ejabberdName}, startEjabberd},
}

func names() (list []string) {
	for _, s := range servers {
		list = append(list, s.name)
	}
	return list
}

func startEdge(ctx context.Context, o *options, dir string, r *running) error {
	origin, err := programs.Start(o.files.Root, dir, originName, nil, "--listen", "127.0.0.1:0")
	if err != nil {
		return err
	}
	r.stops = append(r.stops, origin.Stop)
	at := ""
	if err := origin.Await(ctx, func(log []byte) bool { at = programs.Listening(log); return at != "" }); err != nil {
		return err
	}
	edge, target, err := (&programs.Edge{Sessions: o.Sessions, Wait: time.Minute, Origin: at}).Start(ctx, o.files.Root,
		dir)
	r.stops = append(r.stops, edge.Stop)
	if err != nil {
		return err
	}
	r.url, r.domain = "ws://"+target+"/xmpp-websocket", "localhost"
	r.processes = []load.Process{{Name: edgeName, PID: edge.PID()}, {Name: originName, PID: origin.PID()}}
	return nil
}

func startEjabberd(_ context.Context, o *options, _ string, r *running) error {
	n, err := node.Start(o.files.Root, node.NoBusyWait+" "+node.Allocators, "--loglevel", "warning", "--modules",
		"mod_stream_mgmt: {}")
	if err != nil {
		return err
	}
	r.stops = append(r.stops, func() {
		if err := n.Kill(); err != nil {
			say("%v", err)
		}
	})
	r.url, r.domain = n.Socket, "anon.localhost"
	r.processes = []load.Process{{Name: ejabberdName, PID: n.PID}}
	return nil
}

var libraryPattern = regexp.MustCompile(`(?m)^library listening on (\S+)$`)

// startLibrary starts this program in another role.
func startLibrary(ctx context.Context, _ *options, dir string, r *running) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p := &programs.Program{Cmd: exec.Command(self, libraryRole), Log: filepath.Join(dir, libraryName+".log")}
	f, err := os.Create(p.Log)
	if err != nil {
		return err
	}
	defer f.Close()
	p.Stdout, p.Stderr, p.SysProcAttr = f, f, &syscall.SysProcAttr{Setpgid: true}
	if err := p.Cmd.Start(); err != nil {
		return err
	}
	r.stops = append(r.stops, p.Stop)
	at := ""
	err = p.Await(ctx, func(log []byte) bool {
		if m := libraryPattern.FindSubmatch(log); m != nil {
			at = string(m[1])
		}
		return at != ""
	})
	if err != nil {
		return fmt.Errorf("library: %w", err)
	}
	r.url, r.domain = "ws://"+at+"/", "localhost"
	r.processes = []load.Process{{Name: libraryName, PID: p.PID()}}
	return nil
}
