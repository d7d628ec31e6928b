package servers

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// TestPortTakenAtTheStart: another program takes the port that the script has found free, before the server opens it.
// The script starts the server once more with other ports.
func TestPortTakenAtTheStart(t *testing.T) {
	for _, c := range []struct {
		name    string
		log     string
		program string // what the script starts
		option  string // of the program, when it is started to serve
		config  string
		port    string // in the configuration
	}{
		{"ejabberd", "log/ejabberd.log", "erl", "-mnesia", "ejabberd.yml",
			`port: (\d+)\n *ip: "127.0.0.1"\n *module: ejabberd_http\n`},
		{"ejabberd", "log/ejabberd.log", "erl", "-mnesia", "ejabberd.yml",
			`port: (\d+)\n *ip: "127.0.0.1"\n *module: mod_megaphone\n`},
		{"prosody", "prosody.log", "prosody", "--config", "prosody.cfg.lua", `http_ports = \{ (\d+) \}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t, c.name, c.log, nil)
			real, err := exec.LookPath(c.program)
			if err != nil {
				t.Fatal(err)
			}
			// Its first start waits until the port is taken.
			stand := t.TempDir()
			script := fmt.Sprintf("#!/bin/sh\ncase $* in *%s*)\n	! mkdir %[2]s/starting 2>/dev/null ||\n"+
				"		until [ -e %[2]s/go-on ]; do sleep 0.05; done ;;\nesac\nexec %[3]s \"$@\"\n",
				c.option, stand, real)
			if err := os.WriteFile(filepath.Join(stand, c.program), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			p.env = []string{"PATH=" + stand + ":" + os.Getenv("PATH")}
			port := func() string {
				data, _ := os.ReadFile(filepath.Join(p.dir, c.config))
				if m := regexp.MustCompile(c.port).FindSubmatch(data); m != nil {
					return string(m[1])
				}
				return ""
			}

			var taking sync.WaitGroup
			taken := ""
			taking.Go(func() {
				defer func() { _ = os.WriteFile(filepath.Join(stand, "go-on"), nil, 0o600) }()
				late := time.Now().Add(startTime / 2)
				for !exists(filepath.Join(stand, "starting")) && time.Now().Before(late) {
					<-time.After(10 * time.Millisecond)
				}
				taken = port()
				l, err := net.Listen("tcp", "127.0.0.1:"+taken)
				if err != nil {
					t.Error(err)
					return
				}
				t.Cleanup(func() { l.Close() })
			})
			p.start()
			taking.Wait()
			if now := port(); now == taken {
				t.Errorf("port %s is ours", taken)
			}
			conn := rig.Connect(t, p.addr)
			conn.Send(fmt.Sprintf("GET %s HTTP/1.0\r\nHost: h\r\n\r\n", p.path))
			conn.Get()
		})
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
