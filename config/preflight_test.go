package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// checked returns what --check-config finds in a file.
func checked(t *testing.T, text string) (warnings []string, err error) {
	t.Helper()
	cfg, file, err := parseFile("edge.yml", text)
	if err != nil {
		return nil, err
	}
	v, err := cfg.Values()
	if err != nil {
		return nil, file.Explain(err)
	}
	if err := v.Preflight(false); err != nil {
		return nil, file.Explain(err)
	}
	for _, w := range v.Warnings() {
		warnings = append(warnings, file.Explain(w).Error())
	}
	return warnings, nil
}

const anOrigin = "origins: [{name: a, address: '127.0.0.1:5279'}]\n"

// TestWhatCannotStartIsRefused: each error has its line, its key, and a remedy.
func TestWhatCannotStartIsRefused(t *testing.T) {
	dir := t.TempDir()
	file, fifo := filepath.Join(dir, "file"), filepath.Join(dir, "fifo")
	open := filepath.Join(dir, "open")
	for _, err := range []error{os.WriteFile(file, []byte("a secret of sixteen characters\n"), 0o600),
		unix.Mkfifo(fifo, 0o600), os.WriteFile(open, []byte("a secret of sixteen characters\n"), 0o600),
		os.Chmod(open, 0o666)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for line, want := range map[string]string{
		"listen: 127.0.0.1:$PORT":        "listen: 127.0.0.1:$PORT: write the value",
		"listen: ${HOST}:5280":           "environment variables",
		"listen: 127.0.0.1:http":         `the port "http" is not a number: use 0 to 65535`,
		"listen: 127.0.0.1:65536":        "the port 65536 is out of range",
		"listen: 127.0.0.1:-1":           "the port -1 is out of range",
		"listen: 127.0.0.1:+80":          "is not a number",
		"listen: 127.0.0.1":              "give host:port",
		"listen: '::1:5280'":             "or [::1]:5280",
		"listen: http://127.0.0.1:5280":  "give host:port",
		"listen: 127.0.0.256:5280":       `"127.0.0.256" is neither an IP address nor a host name`,
		"listen: 'a b:5280'":             "nor a host name",
		"listen: 'a..b:5280'":            "nor a host name",
		"listen: 192.0.2.1:5280":         "no interface of this host has the address",
		"listen: no-such-host.invalid:1": "cannot listen",
		"listeners: [{address: '127.0.0.1:5280'}, {address: '127.0.0.1:5280'}]": "listeners[1].address: " +
			"127.0.0.1:5280: listeners[0].address has 127.0.0.1:5280 already: choose another",
		"listeners: [{address: '0.0.0.0:5280'}, {address: '127.0.0.1:5280'}]":   "already: choose another",
		"listeners: [{address: ':5280'}, {address: '127.0.0.1:5280'}]":          "already: choose another",
		"listeners: [{address: '[::]:5280'}, {address: '0.0.0.0:5280'}]":        "already: choose another",
		"listeners: [{address: 'unix:/run/a'}, {address: 'unix:/run/a'}]":       "already: choose another",
		"listeners: [{address: 'unix:" + dir + "/none/s'}]":                     "make the directory " + dir + "/none",
		"listeners: [{address: 'unix:" + file + "'}]":                           "only a stale socket is replaced",
		"listeners: [{address: 'unix:" + dir + strings.Repeat("x", 100) + "'}]": "at most 107 bytes",
		"admin: 127.0.0.1:5280":                         "admin: 127.0.0.1:5280: listen has 127.0.0.1:5280 already",
		"admin: localhost:admin":                        `the port "admin" is not a number`,
		"admin: 192.0.2.1:5281":                         "no interface of this host has the address",
		"admin-socket: " + file:                         "admin-socket: " + file + ": there is a file",
		"admin-socket: " + dir:                          "there is a directory",
		"admin-socket: " + dir + "/no/s":                "make the directory",
		"takeover-socket: " + file:                      "takeover-socket: " + file + ": there is a file",
		"takeover-socket: " + file + "/s":               "is not a directory",
		"admin-socket: /run/s\ntakeover-socket: /run/s": "takeover-socket: /run/s: admin-socket has /run/s already",
		"access-log: " + dir:                            "access-log: " + dir + ": this is a directory",
		"access-log: " + dir + "/none/log":              "no file can be created in",
		"access-log: " + fifo:                           "no process reads this FIFO",
		"access-log: on":                                "give stderr, off, or the path of a file",
		"secret-file: " + dir:                           "secret-file: " + dir + ": is a directory",
		"secret-file: " + dir + "/none":                 "no such file: make one with",
		"secret-file: " + open:                          "every user may write this file",
		"origins: [{name: a, address: 'x:$PORT'}]":      "origins[0].address: x:$PORT: write the value",
		"origins: [{name: a, address: '127.0.0.1:0'}]":  "the port 0 is out of range: use 1 to 65535",
		"origins: [{name: a, address: ':5279'}]":        "say which host, for example 127.0.0.1:5279",
		"origins: [{name: a, address: '10.0.0.2.9:1'}]": "neither an IP address nor a host name",
		"origins: [{address: 'dns:a b:1'}]":             "neither an IP address nor a host name",
		"origins: [{address: 'dns+srv:a b'}]":           "name SRV records",
	} {
		text := line + "\n"
		if !strings.HasPrefix(line, "origins") {
			text = anOrigin + text
		}
		_, err := checked(t, text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", line, err, want)
			continue
		}
		if at := fmt.Sprintf("edge.yml:%d:", strings.Count(text, "\n")); !strings.Contains(err.Error(), at) {
			t.Errorf("%s: no %s in\n%v", line, at, err)
		}
	}
}

func TestWhatStartsIsTaken(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	for _, line := range []string{
		"listen: :5280", "listen: '[::1]:5280'", "listen: localhost:5280", "listen: 127.0.0.1:0",
		"listeners: [{address: '127.0.0.1:0'}, {address: '127.0.0.1:0'}]",
		"listeners: [{address: '127.0.0.1:5280'}, {address: '127.0.0.2:5280'}, {address: 'unix:" + dir + "/s'}]",
		"access-log: " + log, "access-log: /dev/null", "access-log: stderr",
		"admin: off\nadmin-socket: " + dir + "/a\ntakeover-socket: " + dir + "/t",
		"admin: localhost:5281",
	} {
		if warnings, err := checked(t, anOrigin+line+"\n"); err != nil || warnings != nil {
			t.Errorf("%s: %v, %q", line, err, warnings)
		}
	}
	for _, o := range []string{"{name: a, address: 'origin_1.example.org.:5279'}", "{address: 'dns:o.example:1'}",
		"{name: a, address: '[2001:db8::1]:5279'}", "{address: 'dns+srv:_megaphone._tcp.example.org'}"} {
		if warnings, err := checked(t, "origins: ["+o+"]\n"); err != nil || warnings != nil {
			t.Errorf("%s: %v, %q", o, err, warnings)
		}
	}
	if _, err := os.Stat(log); err == nil {
		t.Error("the check has made the access log")
	}
}

// TestRunningEdgeIsNoProblem: the sockets of a running edge do not fail the check of its file.
func TestRunningEdgeIsNoProblem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(fd)
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"admin-socket: " + path, "listen: 'unix:" + path + "'"} {
		if _, err := checked(t, anOrigin+key+"\n"); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// TestDoubtfulValuesAreWarnedOf: the edge starts with them.
func TestDoubtfulValuesAreWarnedOf(t *testing.T) {
	readable := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(readable, []byte("a secret of sixteen characters\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(readable, 0o644); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"hold-timeout: 60s": "hold-timeout: 1m0s: most clients ask for a wait of 1m0s",
		"listeners: [{address: '127.0.0.1:1', trusted-proxies: [10.0.0.0/8, 0.0.0.0/0]}]": "listeners[0]." +
			"trusted-proxies: 0.0.0.0/0: every client could forge its address",
		"listeners: [{address: '127.0.0.1:1', trusted-proxies: ['::/0']}]": "listeners[0].trusted-proxies: ::/0",
		"limit-exempt: ['::/0']":            "limit-exempt: ::/0",
		"secret-file: " + readable:          "secret-file: " + readable + ": every user may read the secret",
		"accept-old-proof: on":              "accept-old-proof: on: an origin's hello is not protected",
		"admin-socket: /run/megaphone-no/a": "/run/megaphone-no is missing: the service manager must create it",
	} {
		warnings, err := checked(t, anOrigin+line+"\n")
		if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], want) ||
			!strings.Contains(warnings[0], "edge.yml:2:") {
			t.Errorf("%s: %v, %q", line, err, warnings)
		}
	}
	const twice = "origins: [{name: a, address: '127.0.0.1:1'}, {name: b, address: '127.0.0.1:1'}]\n"
	warnings, err := checked(t, twice)
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], `"a" has the same address`) {
		t.Errorf("%v, %q", err, warnings)
	}
}
