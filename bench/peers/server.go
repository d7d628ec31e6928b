package main

import (
	"context"
	"embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"

	"megaphone/bench/children"
)

//go:embed conf
var conf embed.FS

// settings are what the templates in conf have room for.
type settings struct {
	Dir, Listen, Origin      string
	Links, Certificate       string // the origin's links, and the file with the certificate and its key
	Root                     bool   // this user is root
	Spare                    int    // another free port
	Port, OriginPort         string
	Clients                  int // connections for a server with one descriptor for each
	Descriptors, Connections int // RLIMIT_NOFILE, and how many connections a proxy with two for each can have
}

// kind is a way to serve.
type kind struct {
	name     string
	path     string
	files    []string // of conf, which the programs read
	programs func(o *options, s *settings, b *back) [][]string
	version  []string
	holds    func(o *options) int
	pace     int // held requests that it takes a second; of more Pushpin answers some with 502, others never
	tls      bool
	alone    bool // it holds without the origin, which then cannot tell how many there are
}

const (
	boshPath = "/http-bind"
	gripPath = "/grip"
)

const (
	fast = 3000
	slow = 300
)

func peerHolds(o *options) int { return o.held }
func fewHolds(o *options) int  { return min(o.held, 5000) } // at its pace more would take too long

var kinds = []kind{
	{
		name: "edge", path: boshPath, pace: fast, holds: func(o *options) int { return o.edgeHeld },
		version: []string{"bin/megaphone", "version"},
		programs: func(o *options, s *settings, b *back) [][]string {
			return [][]string{{filepath.Join(o.root, "bin", "megaphone"), "edge", "--listen", s.Listen, "--origin",
				"o=" + b.links, "--descriptor-tables", "off", "--max-connections", strconv.Itoa(s.Clients),
				"--hold-timeout", "1h", "--check-host", "off"}}
		},
	},
	{
		name: "nginx", path: boshPath, pace: fast, holds: peerHolds, version: []string{"nginx", "-v"},
		files: []string{"nginx.conf"},
		programs: func(_ *options, s *settings, _ *back) [][]string {
			return [][]string{{"nginx", "-e", s.Dir + "/nginx.log", "-p", s.Dir, "-c", s.Dir + "/nginx.conf"}}
		},
	},
	{
		name: "haproxy", path: boshPath, pace: fast, holds: peerHolds, version: []string{"haproxy", "-v"},
		files: []string{"haproxy.cfg"},
		programs: func(_ *options, s *settings, _ *back) [][]string {
			return [][]string{{"haproxy", "-db", "-f", s.Dir + "/haproxy.cfg"}}
		},
	},
	{
		name: "pushpin", path: boshPath, pace: slow, holds: fewHolds, version: []string{"pushpin", "--version"},
		files: pushpinFiles, programs: pushpin,
	},
	{
		name: "pushpin-grip", path: gripPath, pace: slow, holds: fewHolds, version: []string{"condure", "--version"},
		alone: true, files: pushpinFiles, programs: pushpin,
	},
}

var pushpinFiles = []string{"pushpin.conf", "routes", "zurl.conf"}

func pushpin(_ *options, s *settings, _ *back) [][]string {
	return [][]string{{"zurl", "--config=" + s.Dir + "/zurl.conf"}, {"pushpin", "--config=" + s.Dir + "/pushpin.conf"}}
}

// kindsOf returns the kinds that take TLS, or those that do not.
func kindsOf(tls bool) []kind {
	if tls {
		return tlsKinds
	}
	return kinds
}

func names(tls bool) (list []string) {
	for _, k := range kindsOf(tls) {
		list = append(list, k.name)
	}
	return list
}

// running is a server at work.
type running struct {
	cmds []*exec.Cmd
	addr string
	log  string
	tls  bool
}

// descriptors is RLIMIT_NOFILE.
func descriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	return int(limit.Cur)
}

// start returns when the server answers.
func (k *kind) start(ctx context.Context, o *options, b *back) (*running, error) {
	dir, err := os.MkdirTemp(o.dir, k.name+"-")
	if err != nil {
		return nil, err
	}
	s, err := newSettings(o, b, dir)
	if err != nil {
		return nil, err
	}
	if err := k.configure(s); err != nil {
		return nil, err
	}
	r := &running{addr: s.Listen, log: filepath.Join(dir, "log"), tls: k.tls}
	log, err := os.Create(r.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	for _, args := range k.programs(o, s, b) {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if strings.HasPrefix(args[0], o.root) {
			cmd.Dir = ""
		}
		if err := cmd.Start(); err != nil {
			r.stop()
			return nil, err
		}
		r.cmds = append(r.cmds, cmd)
	}
	if err := r.await(ctx, k.path); err != nil {
		r.stop()
		text, _ := os.ReadFile(r.log)
		return nil, fmt.Errorf("%w:\n%s", err, text)
	}
	return r, nil
}

func newSettings(o *options, b *back, dir string) (*settings, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	n, port := descriptors(), strconv.Itoa(ports[0])
	s := &settings{Dir: dir, Listen: "127.0.0.1:" + port, Port: port, Spare: ports[1], Origin: b.http, Links: b.links,
		Certificate: filepath.Join(o.dir, certificateFile), Root: os.Geteuid() == 0, Descriptors: n, Clients: n - 200,
		Connections: n/2 - 100}
	_, s.OriginPort, err = net.SplitHostPort(b.http)
	return s, err
}

// configure writes the configuration into the directory.
func (k *kind) configure(s *settings) error {
	for _, name := range k.files {
		t, err := template.ParseFS(conf, "conf/"+name)
		if err != nil {
			return err
		}
		f, err := os.Create(filepath.Join(s.Dir, name))
		if err != nil {
			return err
		}
		if err := t.Execute(f, s); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	if !slices.Equal(k.files, pushpinFiles) {
		return nil
	}
	// The internal part of Pushpin's configuration is the package's own, but zurl's is this benchmark's.
	text, err := os.ReadFile("/usr/lib/pushpin/internal.conf")
	if err != nil {
		return err
	}
	ours := strings.ReplaceAll(string(text), "ipc:///var/run/zurl/", "ipc://{rundir}/{ipc_prefix}")
	return os.WriteFile(filepath.Join(s.Dir, "internal.conf"), []byte(ours), 0o644)
}

// freePorts returns ports without a listener.
func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// startTime is how long a server may take until it answers.
const startTime = 20 * time.Second

// await asks until there is a good answer.
func (r *running) await(ctx context.Context, path string) error {
	var err error
	for end := time.Now().Add(startTime); time.Now().Before(end) && ctx.Err() == nil; {
		if err = r.askOnce(path); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("no answer within %s: %w", startTime, err)
}

// stop ends all programs, with what they have started: Pushpin has condure in a process group of its own.
func (r *running) stop() { children.Stop(3*time.Second, r.cmds...) }
