package load

import (
	"strings"
	"testing"
	"time"
)

func TestTargets(t *testing.T) {
	for _, test := range []struct {
		url, problem string
	}{
		{"http://127.0.0.1:5280/http-bind", ""},
		{"http://localhost/bosh?x=y", ""},
		{"http://10.1.2.3:5280/b", ""},
		{"http://192.168.0.1/b", ""},
		{"http://172.31.0.1/b", ""},
		{"http://169.254.1.1/b", ""},
		{"http://[::1]:5280/b", ""},
		{"http://[fd00::1]/b", ""},
		{"http://[fe80::1]/b", ""},
		{"http://192.0.2.1/b", "public address"},
		{"http://172.32.0.1/b", "public address"},
		{"http://100.64.0.1/b", "public address"},
		{"http://[2001:db8::1]/b", "public address"},
		{"http://0.0.0.0/b", "public address"},
		{"https://127.0.0.1/b", ""},
		{"ws://127.0.0.1/b", ""},
		{"WSS://127.0.0.1/b", ""},
		{"wss://192.0.2.1/b", "public address"},
		{"ftp://127.0.0.1/b", "ws:// and wss:// (WebSocket) are supported"},
		{"127.0.0.1:5280/b", "did you mean http://127.0.0.1:5280/b?"},
		{"localhost:5280/b", "did you mean http://localhost:5280/b?"},
		{"http://[::1/b", "not a URL"},
		{"http:///b", "no host"},
		{"http://127.0.0.1:99999/b", "port"},
		{"http://me:secret@127.0.0.1/b", "leave out"},
	} {
		_, err := resolveTarget(t.Context(), test.url, false)
		if (err == nil) != (test.problem == "") || err != nil && !strings.Contains(err.Error(), test.problem) {
			t.Errorf("%s: %v, want %q", test.url, err, test.problem)
		}
	}
	to, err := resolveTarget(t.Context(), "http://192.0.2.1:8080/b?c=d", true)
	if err != nil || to.at.String() != "192.0.2.1:8080" || to.path != "/b?c=d" || to.host != "192.0.2.1:8080" {
		t.Errorf("%+v, %v", to, err)
	}
}

func TestDomainOfATarget(t *testing.T) {
	for url, want := range map[string]string{
		"http://127.0.0.1:5280/b": "localhost", "http://[::1]/b": "localhost", "http://localhost/b": "localhost",
		"http://10.0.0.1/b": "10.0.0.1",
	} {
		to, err := resolveTarget(t.Context(), url, false)
		if err != nil || to.domain() != want {
			t.Errorf("%s: %s, %v", url, to.domain(), err)
		}
	}
}

func TestConfigSaysWhatIsWrong(t *testing.T) {
	for key, change := range map[string]func(c *Config){
		"target":     func(c *Config) { c.Target = "" },
		"scenario":   func(c *Config) { c.Scenario = "dance" },
		"login":      func(c *Config) { c.Login = "digest" },
		"needs":      func(c *Config) { c.Scenario = Chat },
		"two":        func(c *Config) { c.Scenario, c.Login, c.Sessions = Chat, LoginPlain, 1 },
		"trigger":    func(c *Config) { c.Trigger = "true" },
		"then":       func(c *Config) { c.Then, c.Login = "churn", LoginPlain },
		"twice":      func(c *Config) { c.Then, c.Login = "chat,broadcast,broadcast", LoginPlain },
		"chat=0":     func(c *Config) { c.Then, c.Login = "chat=0", LoginPlain },
		"can follow": func(c *Config) { c.Scenario, c.Then, c.Login = Storm, "chat", LoginPlain },
		"part":       func(c *Config) { c.Part = 1.5 },
		"duration":   func(c *Config) { c.Duration = time.Millisecond },
		"settle":     func(c *Config) { c.Settle = time.Millisecond },
		"patience":   func(c *Config) { c.Patience = time.Millisecond },
		"domain":     func(c *Config) { c.Domain = "a'b" },
		"password":   func(c *Config) { c.Password = "a\x00b" },
		"sessions":   func(c *Config) { c.Sessions = -1 },
		"rate":       func(c *Config) { c.Rate = -1 },
		"higher":     func(c *Config) { c.Sessions, c.Rate = 1e6, 0.5 },
		"wait":       func(c *Config) { c.Wait = 4000 },
		"messages":   func(c *Config) { c.Messages = -1 },
		"size":       func(c *Config) { c.Size = minSize - 1 },
		"tries":      func(c *Config) { c.Tries = 300 },
		"reactors":   func(c *Config) { c.Reactors = -1 },
		"carrier":    func(c *Config) { c.Transport = "carrier pigeon" },
		"websocket:": func(c *Config) { c.Transport = WebSocket },
		"bosh: the":  func(c *Config) { c.Target = "ws://127.0.0.1/b" },
		"libpurple":  func(c *Config) { c.Target, c.Transport, c.Retry = "ws://h/b", WebSocket, "stanza,libpurple" },
	} {
		c := Config{Target: "http://127.0.0.1/b"}.WithDefaults()
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestTransportOfATarget(t *testing.T) {
	for url, want := range map[string]Transport{"http://h/b": BOSH, "https://h/b": BOSH, "ws://h/b": WebSocket,
		"WSS://h/b": WebSocket, "": BOSH} {
		if got := (Config{Target: url}).WithDefaults().Transport; got != want {
			t.Errorf("%q: %s, want %s", url, got, want)
		}
	}
}
