package tests

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"megaphone/tests/rig"
)

// configFile writes a configuration file and returns its name.
func configFile(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "edge.yml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// secretFile makes a shared secret.
func secretFile(t testing.TB) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte("only the four of us know this\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestConfigFile(t *testing.T) {
	origin := rig.Serve(t, "origin", "--listen", "127.0.0.1:0")
	file := configFile(t, `
# All of an edge's keys may stand here.
listen: 127.0.0.1:0
path: /bosh
max-connections: 321
head-timeout: 3s
cors-origins: [https://chat.example.org]
origins:
  - name: a
    address: `+origin.Addr+`
    domains: [localhost]
`)
	e := rig.Serve(t, "edge", "--config", file).Linked(1)
	if line := e.Line(0, "edge started"); !strings.Contains(line, "max_connections=321") ||
		!strings.Contains(line, "path=/bosh") || !strings.Contains(line, `origins="a=`+origin.Addr+`"`) {
		t.Errorf("started as %s", line)
	}
	c := rig.Connect(t, e.Addr)
	c.Send(strings.Replace(rig.PostText(rig.CreationText("localhost")), "/http-bind", "/bosh", 1))
	c.Get().Want(t, 200, "<stream:features")
	c.Send(strings.Replace(rig.PostText(rig.CreationText("elsewhere.example")), "/http-bind", "/bosh", 1))
	c.Get().Want(t, 200, "remote-connection-failed") // no origin is there for this domain
	c.Send("OPTIONS /bosh HTTP/1.1\r\nHost: h\r\nOrigin: https://chat.example.org\r\n\r\n")
	if got := c.Get().Want(t, 200, "").Header.Get("Access-Control-Allow-Origin"); got != "https://chat.example.org" {
		t.Errorf("allowed web origin %q", got)
	}
}

func TestFlagsOverrideTheConfigFile(t *testing.T) {
	origin := rig.Serve(t, "origin", "--listen", "127.0.0.1:0")
	file := configFile(t, `
listen: 192.0.2.1:1
path: /bosh
max-connections: 321
cors-origins: ["https://a.example", "https://b.example"]
origins: [{name: x, address: "192.0.2.1:1"}, {name: y, address: "192.0.2.1:2"}]
`)
	e := rig.Serve(t, "edge", "--config", file, "--listen", "127.0.0.1:0", "--path", "/http-bind", "--origin",
		"a="+origin.Addr, "--cors-origins", "https://c.example", "--max-connections", "123").Linked(1)
	if line := e.Line(0, "edge started"); !strings.Contains(line, "max_connections=123") ||
		!strings.Contains(line, `origins="a=`+origin.Addr+`"`) {
		t.Errorf("started as %s", line)
	}
	c := rig.Connect(t, e.Addr)
	rig.Create(t, c)
	for _, web := range []struct {
		origin  string
		allowed bool
	}{{"https://a.example", false}, {"https://c.example", true}} {
		c.Send("OPTIONS /http-bind HTTP/1.1\r\nHost: h\r\nOrigin: " + web.origin + "\r\n\r\n")
		got := c.Get().Want(t, 200, "").Header.Get("Access-Control-Allow-Origin")
		if allowed := got == web.origin; allowed != web.allowed {
			t.Errorf("%s: allowed web origin %q", web.origin, got)
		}
	}
}

// TestBadConfigFile: the message has the file, the line and the key, so that it can be put right at once.
func TestBadConfigFile(t *testing.T) {
	const good = "listen: 127.0.0.1:0\norigins: [{name: a, address: '127.0.0.1:1'}]\n"
	for _, c := range []struct {
		name, text string
		says       []string
	}{
		{"unknown key", good + "max-conections: 5\n", []string{"edge.yml:3:1: max-conections: unknown key",
			"do you mean max-connections?", "3 | max-conections: 5\n    | ^"}},
		{"key twice", good + "path: /a\npath: /b\n", []string{"edge.yml:4:1: ", "path", "already"}},
		{"wrong type", good + "max-connections: many\n", []string{"edge.yml:3:18: max-connections: many: use 1 to"}},
		{"bad duration", good + "grace: soon\n", []string{"edge.yml:3:8: grace: soon: use 1s to 24h"}},
		{"no YAML", good + "path: [\n", []string{"edge.yml:3:7: "}},
		{"value out of range", good + "max-pipelined: 999\n",
			[]string{"edge.yml:3:16: max-pipelined: 999: use 1 to 200"}},
		{"unknown key of an origin", "listen: 127.0.0.1:0\norigins: [{name: a, adress: '127.0.0.1:1'}]\n",
			[]string{"edge.yml:2:21: origins[0].adress: unknown key: do you mean address?"}},
		{"no origins", "listen: 127.0.0.1:0\n", []string{"origins", "name at least one"}},
		{"origin without a port", "listen: 127.0.0.1:0\norigins: [{name: a, address: localhost}]\n",
			[]string{"edge.yml:2:30: origins[0].address: localhost: give host:port"}},
		{"port of the environment", "listen: 127.0.0.1:$PORT\norigins: [{name: a, address: '127.0.0.1:1'}]\n",
			[]string{"edge.yml:1:9: listen: 127.0.0.1:$PORT: write the value"}},
		{"socket without a directory", good + "admin-socket: /no/such/directory/s\n",
			[]string{"edge.yml:3:15: admin-socket: /no/such/directory/s: make the directory /no/such/directory"}},
		{"log that cannot be opened", good + "access-log: /no/such/log\n",
			[]string{"edge.yml:3:13: access-log: /no/such/log: no file can be created in /no/such"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := configFile(t, c.text)
			for _, args := range [][]string{{"edge", "--config", file}, {"edge", "--config", file, "--check-config"}} {
				code, said := rig.Run(t, args...)
				if code != 2 {
					t.Errorf("exit %d", code)
				}
				for _, s := range c.says {
					if !strings.Contains(said, s) {
						t.Errorf("no %q in\n%s", s, said)
					}
				}
			}
		})
	}
	t.Run("missing", func(t *testing.T) {
		code, said := rig.Run(t, "edge", "--config", "/nowhere/edge.yml")
		if code != 2 || !strings.Contains(said, "config: open /nowhere/edge.yml: no such file") {
			t.Errorf("exit %d, %s", code, said)
		}
	})
}

func TestCheckConfig(t *testing.T) {
	file := configFile(t, "origins: [{name: a, address: '127.0.0.1:1'}]\npath: /bosh\n")
	if code, said := rig.Run(t, "edge", "--config", file, "--check-config"); code != 0 || said != file+": ok" {
		t.Errorf("exit %d, %s", code, said)
	}
	for _, c := range []struct{ flag, value, says string }{
		{"--path", "bosh", "megaphone: path: bosh: give an absolute path"}, // no place: it is not from the file
		{"--max-pipelined", "0", "megaphone: max-pipelined: 0: use 1 to 200"},
		{"--origin", "b=host", "megaphone: origins[0].address: host: give host:port"},
	} {
		code, said := rig.Run(t, "edge", "--config", file, "--check-config", c.flag, c.value)
		if code != 2 || !strings.HasPrefix(said, c.says) {
			t.Errorf("%s %s: exit %d, %s", c.flag, c.value, code, said)
		}
	}
}

// TestPrintDefaults: what it prints can be used as it is, and its keys are the help's flags.
func TestPrintDefaults(t *testing.T) {
	code, text := rig.Run(t, "edge", "--print-defaults")
	if code != 0 {
		t.Fatalf("exit %d, %s", code, text)
	}
	file := configFile(t, text)
	if code, said := rig.Run(t, "edge", "--config", file, "--check-config"); code != 0 {
		t.Errorf("exit %d, %s", code, said)
	}
	_, help := rig.Run(t, "edge", "--help")
	for line := range strings.Lines(text) {
		key, _, isKey := strings.Cut(strings.TrimPrefix(line, "#"), ": ")
		if isKey && key != "" && !strings.ContainsAny(key, " (") && !strings.Contains(help, "--"+key+" ") {
			t.Errorf("no flag --%s in\n%s", key, help)
		}
	}
}

func TestLogFormatAndLevel(t *testing.T) {
	file := configFile(t, "log-format: json\nlisten: 127.0.0.1:0\norigins: [{name: a, address: '127.0.0.1:1'}]\n")
	e := rig.Serve(t, "edge", "--config", file)
	line := e.Line(0, "edge started")
	if !strings.HasPrefix(line, `{"time":`) || !strings.Contains(line, `"level":"INFO"`) {
		t.Errorf("logged %s", line)
	}
	e = rig.Start(t, "edge", "--config", file, "--log-level", "warn")
	e.Line(0, "no link to origin")
	e.Signal(os.Interrupt)
	if code := e.Wait(); code != 0 || strings.Contains(e.Text(), "INFO") {
		t.Errorf("exit %d, said %s", code, e.Text())
	}
}

// TestListeners: several at once, one of them a unix socket with its mode; --listen stands for all of them.
func TestListeners(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "edge.sock")
	file := configFile(t, `
listeners:
  - address: 127.0.0.1:0
  - address: '[::1]:0'
  - address: unix:`+socket+`
    mode: 0600
origins: [{name: a, address: '127.0.0.1:1'}]
`)
	e := rig.Serve(t, "edge", "--config", file)
	_, six, _ := strings.Cut(e.Line(0, "listening on [::1]:"), "listening on ")
	e.Line(0, "edge listening on unix:"+socket)
	for network, at := range map[string]string{"tcp4": e.Addr, "tcp6": six, "unix": socket} {
		c, err := net.Dial(network, at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "GET /http-bind HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		if answer, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
			t.Errorf("%s: %.40q, %v", at, answer, err)
		}
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	one := rig.Serve(t, "edge", "--config", file, "--listen", "127.0.0.1:0")
	if line := one.Line(0, "edge started"); strings.Contains(line, "unix:") {
		t.Errorf("--listen does not stand for all listeners: %s", line)
	}
	for entry, says := range map[string]string{
		"{address: 127.0.0.1}":             ":1:23: listeners[0].address: 127.0.0.1: give host:port",
		"{address: 'unix:sock'}":           ":1:23: listeners[0].address: unix:sock: give an absolute path",
		"{address: 'unix:/s', mode: 0999}": ":1:40: listeners[0].mode: 0999: give an octal mode, for example 0660",
		"{adress: 'unix:/s'}":              ":1:14: listeners[0].adress: unknown key: do you mean address?",
	} {
		bad := configFile(t, "listeners: ["+entry+"]\norigins: [{name: a, address: '127.0.0.1:1'}]\n")
		code, said := rig.Run(t, "edge", "--config", bad, "--check-config")
		if code != 2 || !strings.Contains(said, says) {
			t.Errorf("%s: exit %d, %s", entry, code, said)
		}
	}
}

// TestCheckConfigWarns: standard error has a warning for a doubtful value, and the file is still accepted.
func TestCheckConfigWarns(t *testing.T) {
	file := configFile(t, "listen: 127.0.0.1:0\norigins: [{name: a, address: '127.0.0.1:1'}]\nhold-timeout: 20s\n")
	code, said := rig.Run(t, "edge", "--config", file, "--check-config")
	if code != 0 || !strings.Contains(said, "warning: config: "+file+":3:15: hold-timeout: 20s: most clients") ||
		!strings.HasSuffix(said, file+": ok") {
		t.Errorf("exit %d: %s", code, said)
	}
	code, said = rig.Run(t, "edge", "--config", file, "--check-config", "--takeover")
	if code != 2 || !strings.Contains(said, "takeover-socket") {
		t.Errorf("exit %d: %s", code, said)
	}
}

// TestSecretsOfOrigins: what every user may write is refused, what every user may read is warned of, by every origin.
func TestSecretsOfOrigins(t *testing.T) {
	secret, accounts := secretFile(t), filepath.Join(t.TempDir(), "accounts")
	if err := os.WriteFile(accounts, []byte("anna:secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	embedded := []string{"origin", "--listen", "127.0.0.1:0", "--secret-file", secret, "--accounts", accounts}
	gateway := []string{"origin", "--listen", "127.0.0.1:0", "--secret-file", secret, "--bosh", "http://127.0.0.1:1/"}
	for _, c := range []struct {
		file, key string
		args      []string
	}{{secret, "secret-file", embedded}, {secret, "secret-file", gateway}, {accounts, "accounts", embedded}} {
		for mode, refused := range map[os.FileMode]bool{0o644: false, 0o602: true} {
			if err := os.Chmod(c.file, mode); err != nil {
				t.Fatal(err)
			}
			if refused {
				code, said := rig.Run(t, c.args...)
				const reason = "every user may write this file"
				if code != 2 || !strings.Contains(said, c.key) || !strings.Contains(said, reason) {
					t.Errorf("%v: exit %d: %s", c.args, code, said)
				}
			} else {
				rig.Serve(t, c.args...).Line(0, `msg="doubtful configuration" key=`+c.key)
			}
		}
		if err := os.Chmod(c.file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
