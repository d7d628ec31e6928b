package servers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// The recipes of deploy/recipes, which docs/ quotes, run unchanged except for the parts that are replaced here: ports,
// addresses, paths, users, and the number of descriptors.

// render writes a recipe into dir with each old text replaced by the new one that follows it.
func render(t *testing.T, dir, name string, pairs ...string) (file string) {
	t.Helper()
	text := read(t, filepath.Join("../../deploy/recipes", name))
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("%s has no %q", name, pairs[i])
		}
	}
	file = filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(strings.NewReplacer(pairs...).Replace(text)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// chain is an edge with the recipe's file before an origin, and the certificate of whatever is put in front.
type chain struct {
	edge      *rig.Process
	address   string // of its TCP listener
	dir       string // has the edge's sockets, and the certificate with its key
	authority *x509.CertPool
}

const certificateName = "chat.example.org"

func newChain(t *testing.T, origin, secretFile string) *chain {
	t.Helper()
	dir, err := os.MkdirTemp("", "recipes-") // a short path: those of sockets have 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	c := &chain{dir: dir, authority: x509.NewCertPool()}
	file := render(t, dir, "edge.yml",
		"/run/megaphone", dir,
		"10.0.0.1:5280", "127.0.0.1:0",
		"10.0.0.0/24", "127.0.0.1",
		"10.0.0.2:5279", origin,
		"/etc/megaphone/secret", secretFile,
		"max-connections: 50000", "max-connections: 500")
	c.edge = rig.Serve(t, "edge", "--config", file, "--check-host", "off").Linked(1)
	_, c.address, _ = strings.Cut(c.edge.Line(0, "listening on 127.0.0.1"), "listening on ")
	c.certify(t)
	return c
}

// certify makes a certificate for a week that is its own authority.
func (c *chain) certify(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	plan := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: certificateName},
		DNSNames: []string{certificateName}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(7 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	cert, err := x509.CreateCertificate(rand.Reader, plan, plan, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	if err := os.WriteFile(filepath.Join(c.dir, "chat.pem"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	c.authority.AppendCertsFromPEM(text)
}

// front starts what ends TLS.
type front func(t *testing.T, c *chain) *rig.Process

var fronts = map[string]front{
	"haproxy":      func(t *testing.T, c *chain) *rig.Process { return haproxy(t, c, "unix@"+c.dir+"/proxy.sock") },
	"haproxy afar": func(t *testing.T, c *chain) *rig.Process { return haproxy(t, c, c.address) },
	"haproxy web":  haproxyWeb,
	"nginx":        nginx,
	"hitch":        hitch,
}

// asRoot is a text if root runs the tests. Then the programs run as an unprivileged user, whom only the group of the
// edge's sockets admits, as it should be.
func asRoot(text string) string {
	if os.Getuid() == 0 {
		return text
	}
	return ""
}

func haproxy(t *testing.T, c *chain, server string) *rig.Process {
	at := freePort(t)
	return launch(t, at, "haproxy", "-db", "-f", render(t, c.dir, "haproxy.cfg",
		"user haproxy", asRoot("user nobody"),
		"group megaphone", asRoot("group root"),
		"maxconn 50000", "maxconn 500",
		"bind :443", "bind 127.0.0.1:"+at,
		"/etc/haproxy/chat.pem", c.dir+"/chat.pem",
		"unix@/run/megaphone/proxy.sock", server))
}

func haproxyWeb(t *testing.T, c *chain) *rig.Process {
	at := freePort(t)
	return launch(t, at, "haproxy", "-db", "-f", render(t, c.dir, "haproxy-web.cfg",
		"user haproxy", asRoot("user nobody"),
		"group megaphone", asRoot("group root"),
		"maxconn 50000", "maxconn 500",
		"bind :443", "bind 127.0.0.1:"+at,
		"/etc/haproxy/chat.pem", c.dir+"/chat.pem",
		"/run/megaphone", c.dir,
		"127.0.0.1:8080", "127.0.0.1:"+freePort(t)))
}

func nginx(t *testing.T, c *chain) *rig.Process {
	at := freePort(t)
	elsewhere := "access_log off;" // what Debian's has where only root may write
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		elsewhere += " " + kind + "_temp_path " + filepath.Join(c.dir, kind) + ";"
	}
	return launch(t, at, "nginx", "-e", "stderr", "-g", "daemon off;", "-c",
		render(t, c.dir, "nginx.conf",
			"user www-data megaphone;", asRoot("user nobody root;"),
			"/run/nginx.pid", c.dir+"/nginx.pid",
			"worker_rlimit_nofile 110000", "worker_rlimit_nofile 2000",
			"worker_connections 50000", "worker_connections 1000",
			"/run/megaphone", c.dir,
			"listen 443", "listen 127.0.0.1:"+at,
			"/etc/nginx/chat.pem", c.dir+"/chat.pem",
			"access_log off;", elsewhere))
}

func hitch(t *testing.T, c *chain) *rig.Process {
	at := freePort(t)
	return launch(t, at, "hitch", "--config", render(t, c.dir, "hitch.conf",
		"[*]:443", "[127.0.0.1]:"+at,
		"/run/megaphone", c.dir,
		"/etc/hitch/chat.pem", c.dir+"/chat.pem",
		"workers = 4", "workers = 1",
		`user = "_hitch"`, asRoot(`user = "nobody"`),
		`group = "megaphone"`, asRoot(`group = "root"`)))
}

// launch runs a program until it listens, and later ends it as an operator would, its workers with it.
func launch(t *testing.T, port, program string, args ...string) *rig.Process {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + program) // where Debian has it, and the PATH of users has not
	}
	if err != nil {
		t.Fatalf("%v: scripts/setup.sh test installs it", err)
	}
	p := rig.Launch(t, exec.Command(path, args...))
	t.Cleanup(func() {
		_ = p.Cmd.Process.Signal(syscall.SIGTERM)
		p.Wait()
	})
	p.Addr = net.JoinHostPort("127.0.0.1", port)
	for late := time.Now().Add(rig.Patience); ; {
		c, err := net.Dial("tcp", p.Addr)
		if err == nil {
			c.Close()
			return p
		}
		if time.Now().After(late) {
			t.Fatalf("%s does not listen: %v", program, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// overTLS is a door to a TLS server for clients that speak none: through it they come from the address from.
func (c *chain) overTLS(t *testing.T, from, to string) (address string) {
	t.Helper()
	door, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { door.Close() })
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: rig.Patience}
	config := &tls.Config{RootCAs: c.authority, ServerName: certificateName, NextProtos: []string{"http/1.1"}}
	go func() {
		for {
			inside, err := door.Accept()
			if err != nil {
				return
			}
			outside, err := tls.DialWithDialer(dialer, "tcp", to, config)
			if err != nil {
				t.Errorf("TLS: %v", err)
				inside.Close()
				continue
			}
			go func() {
				_, _ = io.Copy(outside, inside)
				outside.Close()
			}()
			go func() {
				_, _ = io.Copy(inside, outside)
				inside.Close()
			}()
		}
	}()
	return door.Addr().String()
}

// logIn has alice log in at localhost over TLS from an address. Her session stays.
func (c *chain) logIn(t *testing.T, from, to string) {
	t.Helper()
	at := rig.Connect(t, c.overTLS(t, from, to))
	s := rig.Create(t, at)
	s.LogIn(t, "alice", at)
	at.Send(s.Ping())
	for !strings.Contains(at.Get().Want(t, 200, "<body").Text, s.Pong()) {
		at.Send(s.Request(""))
	}
}

// weigh logs what each held request takes of the memory of the program that ends TLS.
func (c *chain) weigh(t *testing.T, p *rig.Process) {
	t.Helper()
	const held = 300
	door, before := c.overTLS(t, "127.0.0.13", p.Addr), p.Anonymous()
	for range held {
		at := rig.Connect(t, door)
		at.Send(rig.Create(t, at).Request(""))
	}
	c.edge.Until("held requests", func(n map[string]int) bool { return n["held_now"] >= held })
	t.Logf("%d bytes (RssAnon) a held request", (p.Anonymous()-before)/held)
}

// TestEjabberdRecipe: users who log in over TLS, through each of the programs that may end it, have their own address
// in ejabberd.
func TestEjabberdRecipe(t *testing.T) {
	t.Parallel()
	root, secret := t.TempDir(), "what only the edges know, 16 characters or more"
	if out, err := exec.Command(installScript, "--root", root).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	port, conf := freePort(t), t.TempDir()
	if err := os.Rename(render(t, conf, "ejabberd.yml", "10.0.0.2", "127.0.0.1", "5279", port),
		filepath.Join(conf, "mod_megaphone.yml")); err != nil {
		t.Fatal(err)
	}
	j := newNode(t)
	j.env = []string{without, "CONTRIB_MODULES_CONF_DIR=" + conf,
		"CONTRIB_MODULES_PATH=" + filepath.Join(root, "var/lib/ejabberd/.ejabberd-modules")}
	j.start()
	j.ctl("register", "alice", "localhost", password)
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newChain(t, "127.0.0.1:"+port, file)
	for name, start := range fronts {
		t.Run(name, func(t *testing.T) {
			p := start(t, c)
			for _, from := range []string{"127.0.0.11", "127.0.0.12"} {
				c.logIn(t, from, p.Addr)
				if users := j.ctl("connected_users_info"); !strings.Contains(users, from) {
					t.Errorf("nobody from %s among\n%s", from, users)
				}
			}
			j.ctl("kick_user", "alice", "localhost")
			c.weigh(t, p)
		})
	}
}

// prosodyBase is a Prosody as it comes, with what tests need: a private directory, and a module that tells who logs in.
const prosodyBase = `run_as_root = true
daemonize = false
data_path = "DIR/data"
pidfile = "DIR/prosody.pid"
log = { { levels = { min = "info" }, to = "file", filename = "DIR/prosody.log" } }
c2s_ports = { }
s2s_ports = { }
c2s_require_encryption = false
authentication = "internal_hashed"
plugin_paths = { "DIR" }
modules_enabled = { "roster", "saslauth", "disco", "ping", "teller" }
modules_disabled = { "s2s", "posix" }

VirtualHost "localhost"

Include "DIR/prosody.cfg.lua.d/*.cfg.lua"
`

const prosodyTeller = `module:hook("authentication-success", function(event)
	module:log("info", "logged in from <%s>", event.session.ip)
end)
`

// TestProsodyRecipe: the same for Prosody with the gateway beside it.
func TestProsodyRecipe(t *testing.T) {
	t.Parallel()
	p := newPeer(t, "prosody", "prosody.log", nil)
	parts := filepath.Join(p.dir, "prosody.cfg.lua.d")
	if err := os.MkdirAll(parts, 0o755); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	render(t, parts, "prosody.cfg.lua", "5280", port, "example.org", "localhost")
	for name, text := range map[string]string{"port": port, "mod_teller.lua": prosodyTeller,
		"prosody.cfg.lua": strings.ReplaceAll(prosodyBase, "DIR", p.dir)} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.start()
	if _, err := p.run(rig.Patience, "adduser", p.dir, "alice", password); err != nil {
		t.Fatal(err)
	}
	file, _ := secretFile(t)
	c := newChain(t, serveGateway(t, file, p.url()).Addr, file)
	c.logIn(t, "127.0.0.11", fronts["nginx"](t, c).Addr)
	if log := read(t, filepath.Join(p.dir, "prosody.log")); !strings.Contains(log, "logged in from <127.0.0.11>") {
		t.Errorf("nobody logged in from 127.0.0.11:\n%s", log)
	}
}
