package tests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
	origin := serve(t, "origin", "--listen", "127.0.0.1:0")
	file := configFile(t, `
# All of an edge's keys may stand here.
listen: 127.0.0.1:0
path: /bosh
max-connections: 321
head-timeout: 3s
cors-origins: [https://chat.example.org]
origins:
  - name: a
    address: `+origin.addr+`
    domains: [localhost]
`)
	e := serve(t, "edge", "--config", file).linked(1)
	if line := e.line(0, "edge started"); !strings.Contains(line, "max_connections=321") ||
		!strings.Contains(line, "path=/bosh") || !strings.Contains(line, `origins="a=`+origin.addr+`"`) {
		t.Errorf("started as %s", line)
	}
	c := connect(t, e.addr)
	c.send(strings.Replace(postText(creationText("localhost")), "/http-bind", "/bosh", 1))
	c.get().want(t, 200, "<stream:features")
	c.send(strings.Replace(postText(creationText("elsewhere.example")), "/http-bind", "/bosh", 1))
	c.get().want(t, 200, "remote-connection-failed") // no origin is there for this domain
	c.send("OPTIONS /bosh HTTP/1.1\r\nHost: h\r\nOrigin: https://chat.example.org\r\n\r\n")
	if got := c.get().want(t, 200, "").Header.Get("Access-Control-Allow-Origin"); got != "https://chat.example.org" {
		t.Errorf("allowed web origin %q", got)
	}
}

func TestFlagsOverrideTheConfigFile(t *testing.T) {
	origin := serve(t, "origin", "--listen", "127.0.0.1:0")
	file := configFile(t, `
listen: 192.0.2.1:1
path: /bosh
max-connections: 321
cors-origins: ["https://a.example", "https://b.example"]
origins: [{name: x, address: "192.0.2.1:1"}, {name: y, address: "192.0.2.1:2"}]
`)
	e := serve(t, "edge", "--config", file, "--listen", "127.0.0.1:0", "--path", "/http-bind", "--origin",
		"a="+origin.addr, "--cors-origins", "https://c.example", "--max-connections", "123").linked(1)
	if line := e.line(0, "edge started"); !strings.Contains(line, "max_connections=123") ||
		!strings.Contains(line, `origins="a=`+origin.addr+`"`) {
		t.Errorf("started as %s", line)
	}
	c := connect(t, e.addr)
	create(t, c)
	for _, web := range []struct {
		origin  string
		allowed bool
	}{{"https://a.example", false}, {"https://c.example", true}} {
		c.send("OPTIONS /http-bind HTTP/1.1\r\nHost: h\r\nOrigin: " + web.origin + "\r\n\r\n")
		got := c.get().want(t, 200, "").Header.Get("Access-Control-Allow-Origin")
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
		{"unknown key", good + "max-conections: 5\n", []string{"edge.yml", "[3:", "max-conections", "unknown field"}},
		{"key twice", good + "path: /a\npath: /b\n", []string{"edge.yml", "[4:", "path", "already"}},
		{"wrong type", good + "max-connections: many\n", []string{"edge.yml", "[3:", "max-connections: many"}},
		{"bad duration", good + "grace: soon\n", []string{"edge.yml", "grace: soon", "30s or 5m"}},
		{"no YAML", good + "path: [\n", []string{"edge.yml", "[3:"}},
		{"value out of range", good + "max-pipelined: 999\n", []string{"max-pipelined: 999", "use 1 to 200"}},
		{"unknown key of an origin", "listen: 127.0.0.1:0\norigins: [{name: a, adress: '127.0.0.1:1'}]\n",
			[]string{"edge.yml", "[2:", "adress"}},
		{"no origins", "listen: 127.0.0.1:0\n", []string{"origins", "name at least one"}},
		{"origin without a port", "listen: 127.0.0.1:0\norigins: [{name: a, address: localhost}]\n",
			[]string{"a=localhost", "NAME=HOST:PORT"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, said := run(t, "edge", "--config", configFile(t, c.text))
			if code != 2 {
				t.Errorf("exit %d", code)
			}
			for _, s := range c.says {
				if !strings.Contains(said, s) {
					t.Errorf("no %q in\n%s", s, said)
				}
			}
		})
	}
	t.Run("missing", func(t *testing.T) {
		code, said := run(t, "edge", "--config", "/nowhere/edge.yml")
		if code != 2 || !strings.Contains(said, "config: open /nowhere/edge.yml: no such file") {
			t.Errorf("exit %d, %s", code, said)
		}
	})
}
