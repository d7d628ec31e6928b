package tests

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"megaphone/codec/frame"
	"megaphone/tests/rig"
)

// The real HAProxy and nginx in front of an edge: the origin is told the address of who connected to them, and nothing
// that their client made up.

const haproxyConf = `
global
	nbthread 1
defaults
	mode %s
	timeout connect 10s
	timeout client 30s
	timeout server 30s
listen front
	bind %s
	%s
`

const nginxConf = `
daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr warn;
events { worker_connections 100; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen %[2]s;
		location / {
			proxy_pass http://%[3]s;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			%[4]s
		}
	}
}
`

// haproxy starts one in the given mode, with further lines, and returns where it listens.
func haproxy(t *testing.T, mode string, lines ...string) string {
	t.Helper()
	listen := freeAddress(t)
	return front(t, listen, fmt.Sprintf(haproxyConf, mode, listen, strings.Join(lines, "\n\t")), "haproxy", "-db", "-f")
}

// nginx starts one in front of an edge, with further lines for its location.
func nginx(t *testing.T, edge string, lines ...string) string {
	t.Helper()
	listen := freeAddress(t)
	conf := fmt.Sprintf(nginxConf, t.TempDir(), listen, edge, strings.Join(lines, "\n\t\t\t"))
	return front(t, listen, conf, "nginx", "-e", "stderr", "-c")
}

// front runs a program with a configuration until it listens.
func front(t *testing.T, listen, conf string, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := exec.LookPath(args[0])
	if err != nil {
		program = "/usr/sbin/" + args[0] // where Debian has it, and the PATH of users has not
	}
	rig.Launch(t, exec.Command(program, append(args[1:], file)...))
	for late := time.Now().Add(rig.Patience); ; {
		c, err := net.Dial("tcp", listen)
		if err == nil {
			c.Close()
			return listen
		}
		if !errors.Is(err, syscall.ECONNREFUSED) || time.Now().After(late) {
			t.Fatalf("%s does not listen: %v (scripts/setup.sh test installs it)", args[0], err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// freeAddress returns an address without a listener.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// telling is an origin that answers each request with the address it was told.
func telling(t *testing.T) *scripted {
	return newScripted(t, "a", func(l *scriptedLink) {
		for {
			f, ok := l.frame()
			if !ok {
				return
			}
			if f.ID == 0 {
				continue
			}
			r, err := frame.ParseRequest(f.Contents)
			if err != nil {
				return
			}
			l.write(frame.AppendReply(nil, f.ID, 200, fmt.Appendf(nil, "<body told='%s'/>", r.Address)))
		}
	})
}

// behind starts an edge with one listener that trusts 127.0.0.1, which is where the programs in front of it come from.
func behind(t *testing.T, listener, rest string) *rig.Process {
	t.Helper()
	file := configFile(t, fmt.Sprintf("listeners:\n  - address: 127.0.0.1:0\n    trusted-proxies: [127.0.0.1]\n%s"+
		"origins:\n  - name: a\n    address: %s\nmax-connections: 500\ncheck-host: off\n%s",
		listener, telling(t).addr, rest))
	return rig.Serve(t, "edge", "--config", file).Linked(1)
}

// connectAs connects from an address of the loopback network.
func connectAs(t *testing.T, from, to string) *rig.Client {
	t.Helper()
	return rig.ConnectFrom(t, net.ParseIP(from), to)
}

// told sends a request from an address, with header lines that lie about it, and demands the address that the origin
// should get.
func told(t *testing.T, from, to, want string) {
	t.Helper()
	c := connectAs(t, from, to)
	const lies = "X-Forwarded-For: 203.0.113.66\r\nX-Forwarded-For: 203.0.113.67, 127.0.0.1\r\n" +
		"Forwarded: for=203.0.113.68\r\nForwarded: for=203.0.113.69;by=\"\r\nX-Real-IP: 203.0.113.70\r\n"
	for _, headers := range []string{"", lies, lies} {
		post := strings.Replace(rig.PostText("<body rid='1' sid='s' "+rig.BOSHNS+"/>"), "\r\n", "\r\n"+headers, 1)
		c.Send(post)
		c.Get().Want(t, 200, "told='"+want+"'")
	}
}

// shut demands that the connection is closed without a word.
func shut(t *testing.T, c *rig.Client) {
	t.Helper()
	if said, err := io.ReadAll(c.R); len(said) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("in place of the end: %q, %v", said, err)
	}
}

func TestBehindHAProxyWithProxyProtocol(t *testing.T) {
	for _, test := range []struct{ takes, sends string }{
		{"v1", "send-proxy"},
		{"v2", "send-proxy-v2 check inter 100ms"}, // a check is a LOCAL connection
		{"v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id,ssl"},
		{"any", "send-proxy"},
		{"any", "send-proxy-v2"},
	} {
		t.Run(test.takes+" "+test.sends, func(t *testing.T) {
			e := behind(t, "    proxy-protocol: "+test.takes+"\n", "")
			at := haproxy(t, "tcp", "server e "+e.Addr+" "+test.sends)
			told(t, "127.0.0.7", at, "127.0.0.7")
			told(t, "127.0.0.8", at, "127.0.0.8")
			if strings.Contains(test.sends, "check") {
				e.Until("checks", func(c map[string]int) bool { return c["accepted"] >= 6 })
			}
			if c := e.Counters(); c["proxy_malformed"]+c["proxy_untrusted"] != 0 {
				t.Errorf("refused: %v", c)
			}
			// A connection that bypasses the balancer, or has no header, is refused.
			header := "PROXY TCP4 203.0.113.7 127.0.0.1 1 2\r\n"
			c := connectAs(t, "127.0.0.9", e.Addr)
			_, _ = io.WriteString(c, header)
			shut(t, c)
			c = rig.Connect(t, e.Addr)
			c.Send(rig.PostText("<body rid='1' sid='s' " + rig.BOSHNS + "/>"))
			shut(t, c)
			e.Until("refusals", func(c map[string]int) bool {
				return c["proxy_untrusted"] == 1 && c["proxy_malformed"] == 1
			})
		})
	}
	t.Run("the other version", func(t *testing.T) {
		e := behind(t, "    proxy-protocol: v2\n", "")
		at := haproxy(t, "tcp", "server e "+e.Addr+" send-proxy")
		c := rig.Connect(t, at)
		c.Send(rig.PostText("<body rid='1' sid='s' " + rig.BOSHNS + "/>"))
		shut(t, c)
		e.Until("a refusal", func(c map[string]int) bool { return c["proxy_malformed"] >= 1 })
	})
}

func TestBehindHAProxyWithForwardedFor(t *testing.T) {
	e := behind(t, "", "")
	at := haproxy(t, "http", "option forwardfor", "server e "+e.Addr)
	told(t, "127.0.0.7", at, "127.0.0.7")
	told(t, "127.0.0.8", at, "127.0.0.8")
	told(t, "127.0.0.9", e.Addr, "127.0.0.9") // past it
}

func TestBehindNginx(t *testing.T) {
	for _, test := range []struct{ listener, adds string }{
		{"", "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"},
		{"", "proxy_set_header X-Forwarded-For $remote_addr;"},
		{"    forwarded-header: forwarded\n", `proxy_set_header Forwarded "$http_forwarded, for=$remote_addr";`},
		{"    forwarded-header: forwarded\n", `proxy_set_header Forwarded "for=\"$remote_addr:$remote_port\"";`},
	} {
		t.Run(test.adds, func(t *testing.T) {
			e := behind(t, test.listener, "")
			at := nginx(t, e.Addr, test.adds)
			told(t, "127.0.0.7", at, "127.0.0.7")
			told(t, "127.0.0.8", at, "127.0.0.8")
			told(t, "127.0.0.9", e.Addr, "127.0.0.9") // past it
		})
	}
}

// TestBehindHAProxyBeforeNginx: a balancer on the outside, a web server behind it, and the edge behind that.
func TestBehindHAProxyBeforeNginx(t *testing.T) {
	e := behind(t, "", "")
	inner := nginx(t, e.Addr, "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;")
	told(t, "127.0.0.7", haproxy(t, "http", "option forwardfor", "server n "+inner), "127.0.0.7")
}

// TestLimitsBehindHAProxy: behind a balancer the limits are the clients', and not the balancer's.
func TestLimitsBehindHAProxy(t *testing.T) {
	e := behind(t, "    proxy-protocol: any\n", "max-connections-per-address: 2\nreactors: 2\n")
	at := haproxy(t, "tcp", "server e "+e.Addr+" send-proxy-v2")
	ask := func(from string, status int) {
		t.Helper()
		c := connectAs(t, from, at)
		c.Send(rig.PostText("<body rid='1' sid='s' " + rig.BOSHNS + "/>"))
		c.Get().Want(t, status, "")
	}
	for _, from := range []string{"127.0.0.7", "127.0.0.8", "127.0.0.9"} {
		for _, status := range []int{200, 200, 503, 503} {
			ask(from, status)
		}
	}
	e.Until("refusals", func(c map[string]int) bool { return c["address_connections"] == 6 })
}
