package tests

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"megaphone/tests/rig"
)

func TestVersion(t *testing.T) {
	code, said := rig.Run(t, "version")
	if _, flag := rig.Run(t, "--version"); flag != said {
		t.Errorf("--version says %q, version %q", flag, said)
	}
	if code != 0 || !strings.HasPrefix(said, "megaphone "+rig.BuiltVersion+" go1.") ||
		!strings.HasSuffix(said, "linux/"+runtime.GOARCH) {
		t.Fatalf("exit %d, %q", code, said)
	}
}

// TestHelpTeaches checks that the help of each subcommand shows what a newcomer needs next.
func TestHelpTeaches(t *testing.T) {
	for _, c := range []struct {
		args  string
		shows []string
	}{
		{"", []string{"megaphone demo", "megaphone edge --listen", "megaphone origin --listen", "Exit status: 0"}},
		{"help", []string{"demo", "edge", "origin", "version", "--log-level"}},
		{"edge --help", []string{"--origin NAME=HOST:PORT", "--max-connections", "--descriptor-tables", "--secret-file",
			"--config", "RLIMIT_NOFILE", "SIGUSR1", "TLS", "(default 30s)", "Examples:", "503", "504", "414", "431",
			"--hold-timeout duration"}},
		{"origin --help", []string{"--listen host:port", "--secret-file", "--accounts", "--domain", "any password",
			"private network", "Examples:", "--bosh URL", "Prosody", "RLIMIT_NOFILE", "X-Forwarded-For", "503", "502"}},
		{"demo --help",
			[]string{"--listen host:port", "127.0.0.1:5280", "--accounts", "chat page", "not to the internet"}},
		{"doctor --help", []string{"--sockets", "--explain", "--json", "--root", "Exit status: 0", "megaphone-tune",
			"scripts/tune.sh", "must", "should", "report", "Examples:", "RLIMIT_NOFILE"}},
		{"version --help", []string{"megaphone version"}},
	} {
		t.Run(c.args, func(t *testing.T) {
			code, said := rig.Run(t, strings.Fields(c.args)...)
			if code != 0 {
				t.Fatalf("exit %d", code)
			}
			words := strings.Join(strings.Fields(said), " ") // lines may end anywhere
			for _, s := range c.shows {
				if !strings.Contains(words, s) {
					t.Errorf("no %q in\n%s", s, said)
				}
			}
		})
	}
}

// TestHelpFits: the help of every command fits the narrowest terminal that people have.
func TestHelpFits(t *testing.T) {
	for _, c := range []string{"", "help", "demo", "edge", "origin", "load", "doctor", "top", "version", "man",
		"completion", "completion bash"} {
		code, said := rig.Run(t, append(strings.Fields(c), "--help")...)
		if code != 0 || !strings.Contains(said, "Usage:") {
			t.Errorf("%s: exit %d, %s", c, code, said)
		}
		for line := range strings.Lines(said) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
				t.Errorf("%s --help: %d columns: %s", c, n, line)
			}
		}
	}
}

// TestNumbers: numbers are written as people do, wherever a flag takes one.
func TestNumbers(t *testing.T) {
	for _, args := range []string{
		"edge --check-config --origin a=127.0.0.1:1 --max-connections 1M --max-request-rate-per-address 100/s",
		"edge --check-config --origin a=127.0.0.1:1 --max-connections 1,000,000 --max-body-bytes 64Ki",
		"doctor --root " + debian(t) + " --sockets 10k",
	} {
		if code, said := rig.Run(t, strings.Fields(args)...); code != 0 {
			t.Errorf("%s: exit %d, %s", args, code, said)
		}
	}
	if _, r := doctor(t, "--root", debian(t), "--sockets", "1_000_000"); r.Sockets != 1_000_000 {
		t.Errorf("%d sockets", r.Sockets)
	}
}

// TestCompletion: shells ask the program what may follow.
func TestCompletion(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"__complete", "load", "--se"}, "--sessions"},
		{[]string{"__completeNoDesc", "do"}, "doctor"},
		{[]string{"__complete", "--log-level", "debug", "ed"}, "edge"},
		{[]string{"completion", "bash"}, "__complete"},
	} {
		if code, said := rig.Run(t, c.args...); code != 0 || !strings.Contains(said, c.says) {
			t.Errorf("%q: exit %d, no %q in %s", c.args, code, c.says, said)
		}
	}
}

// TestMistakes gives the command wrong input; the error names the key and a remedy. Exit code 2 is a mistake in the
// input, 1 a failure of the environment.
func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	short := file("short", "hunter2\n")
	accounts := file("accounts", "no colon here\n")
	const ok = "edge --listen 127.0.0.1:0 --origin a=127.0.0.1:1 "
	for _, c := range []struct {
		args   string
		code   int
		says   string
		remedy string
	}{
		{"bogus", 2, `unknown command "bogus"`, "Try `megaphone --help`"},
		{"laod --target http://127.0.0.1/", 2, `unknown command "laod": did you mean load?`, "Try `megaphone --help`"},
		{"--log-level debug egde --listen x", 2, `unknown command "egde": did you mean edge?`, "megaphone --help"},
		{"help laod", 2, `unknown command "laod": did you mean load?`, "Try `megaphone help --help`"},
		{"completion fish zsh", 2, `"zsh"`, "Try `megaphone completion fish --help`"},
		{"completion tcsh", 2, `"tcsh"`, "Try `megaphone completion --help`"},
		{"--verison", 2, "unknown flag: --verison: did you mean --version?", "Try `megaphone --help`"},
		{"load --session 5", 2, "unknown flag: --session: did you mean --sessions?", "Try `megaphone load --help`"},
		{"load -sessions 5", 2, "unknown flag: -sessions: did you mean --sessions?", "Try `megaphone load --help`"},
		{"load sessions=5", 2, `unexpected argument "sessions=5"`, "did you mean --sessions?"},
		{"load --sessions", 2, "--sessions: needs a value", "Try `megaphone load --help`"},
		{"load --=5", 2, "--=5: not a flag", "Try `megaphone load --help`"},
		{"load --sessions many", 2, "--sessions many: use a whole number", "10k or 1M"},
		{"load --rate fast", 2, "--rate fast: use a number per second", "8000/s"},
		{"load --rate 8000/m", 2, "--rate 8000/m: use a number per second", "8000/s"},
		{"load --duration 5", 2, "--duration 5: use a number with its unit", "30s or 5m"},
		{"load --presence=maybe", 2, "--presence maybe: use true or false", "megaphone load --help"},
		{"load --target localhost:5280/b", 2, "target: localhost:5280/b: give a URL", "did you mean http://"},
		{"man", 2, "0 arguments", "the directory to write into"},
		{"top --admin 127.0.0.1:1", 1, "no edge answers at 127.0.0.1:1: dial tcp", "is this its admin address"},
		{"load --wait 60s", 2, "--wait 60s: use a number of seconds", "Try `megaphone load --help`"},
		{"origin --inactivity 1m", 2, "--inactivity 1m: use a number of seconds", "Try `megaphone origin --help`"},
		{"edge --version", 2, "unknown flag: --version: did you mean megaphone --version?",
			"Try `megaphone edge --help`"},
		{"load --source here", 2, "--source here: ", "is not an IP address"},
		{"load --pid edge", 2, "--pid edge: ", "NAME=PID"},
		{"load --sessions 0", 2, "sessions: 0: use 1", "megaphone load --help"},
		{"load --target http://127.0.0.1:1/b --sessions 99999999", 2, "sessions: 99999999: use 1 to 67108864",
			"megaphone load --help"},
		{"doctor --sockets 1Mio", 2, "--sockets 1Mio: use a whole number", "Try `megaphone doctor --help`"},
		{"doctor --sockets 2G", 2, "sockets: 2000000000", "use 1 to 999999999"},
		{"top --interval soon", 2, "--interval soon: use a number with its unit", "Try `megaphone top --help`"},
		{"origin --max-sessions 1e", 2, "--max-sessions 1e: use a whole number", "Try `megaphone origin --help`"},
		{ok + "--max-request-rate-per-address often", 2,
			"--max-request-rate-per-address often: use a number per second", "Try `megaphone edge --help`"},
		{ok + `--cors-origins a"b`, 2, "--cors-origins a\"b: use a comma-separated list", "megaphone edge --help"},
		{"--bogus", 2, "unknown flag: --bogus", "megaphone --help"},
		{"--log-level loud version", 2, "log-level", "debug, info, warn or error"},
		{"doctor now", 2, `"now"`, "Try `megaphone doctor --help`"},
		{"doctor --sockets 0", 2, "sockets: 0", "use 1 to 999999999"},
		{"doctor --sockets 1000000000", 2, "sockets: 1000000000", "use 1 to 999999999"},
		{"doctor --descriptor-tables some", 2, "descriptor-tables: some", "auto, on or off"},
		{"doctor --root /nonexistent", 1, "/nonexistent", "is proc mounted?"},
		{"version now", 2, `"now"`, "Try `megaphone version --help`"},
		{"demo now", 2, `"now"`, "Try `megaphone demo --help`"},
		{"origin now", 2, `"now"`, "Try `megaphone origin --help`"},
		{"edge now", 2, `"now"`, "Try `megaphone edge --help`"},
		{"edge --bogus", 2, "unknown flag: --bogus", "megaphone edge --help"},
		{"edge --listen 127.0.0.1:0", 2, "origin", "a=127.0.0.1:5279"},
		{"edge --listen 127.0.0.1:0 --origin a", 2, "--origin", "NAME=HOST:PORT"},
		{"edge --listen 127.0.0.1:0 --origin a=", 2, "origin", "a=127.0.0.1:5279"},
		{"edge --listen 127.0.0.1:0 --origin a=host", 2, "origin", "a=127.0.0.1:5279"},
		{"edge --listen 127.0.0.1:0 --origin a/b=127.0.0.1:1", 2, "a/b", "letters, digits"},
		{"edge --listen 127.0.0.1:0 --origin a=127.0.0.1:1,a=127.0.0.1:2", 2, "origin", "rename one"},
		{ok + "--listen 127.0.0.1", 2, "listen: 127.0.0.1", "0.0.0.0:5280"},
		{ok + "--listen 127.0.0.1:99999", 2, "127.0.0.1:99999", "port"},
		{ok + "--listen 192.0.2.1:5280", 1, "192.0.2.1:5280", "cannot assign requested address"},
		{ok + "--max-connections 0", 2, "max-connections: 0", "use 1"},
		{ok + "--max-connections -1", 2, "max-connections: -1", "use 1 to"},
		{ok + "--max-connections many", 2, "--max-connections", "many"},
		{ok + "--descriptor-tables off --max-connections 16000000", 1, "max-connections is 16000000", "ulimit -n"},
		{ok + "--descriptor-tables on --reactors 1 --max-connections 16000000", 1, "max-connections is 16000000",
			"needed"},
		{ok + "--descriptor-tables some", 2, "descriptor-tables: some", "auto, on or off"},
		{ok + "--check-host maybe", 2, "check-host: maybe", "on or off"},
		{ok + "--node-tags maybe", 2, "node-tags: maybe", "auto, on or off"},
		{ok + "--node-tags off --origin b=127.0.0.1:2", 2, "node-tags: off", "auto or on"},
		{ok + "--path http-bind", 2, "path: http-bind", "/http-bind"},
		{ok + "--name a,b", 2, "name: a,b", "letters, digits"},
		{ok + "--path /a%", 2, "path: /a%", "%25"},
		{ok + "--public-url example.org=wss://example.org/ws", 2, "public-url example.org=wss://example.org/ws",
			"URL of BOSH"},
		{ok + "--public-url a:1=https://example.org/", 2, "public-url[0].domain: a:1", "example.org"},
		{ok + "--cors-origins example.org", 2, "cors-origins: example.org", "scheme://host"},
		{ok + "--cors-origins https://example.org/chat", 2, "cors-origins: https://example.org/chat", "without a path"},
		{ok + "--cors-origins *,https://example.org", 2, "cors-origins: *", "stands alone"},
		{ok + "--grace soon", 2, "--grace", "30s"},
		{ok + "--grace 30", 2, "--grace", "30s"},
		{ok + "--grace 0s", 2, "grace: 0s", "use 1s"},
		{ok + "--grace 100ms", 2, "grace: 100ms", "1s to 24h"},
		{ok + "--hold-timeout 48h", 2, "hold-timeout: 48h", "1s to 24h"},
		{ok + "--reactors 5000", 2, "reactors: 5000", "0 to 4096"},
		{ok + "--max-body-bytes 10", 2, "max-body-bytes: 10", "use 1024 to"},
		{ok + "--secret-file " + dir + "/none", 2, "secret-file", "head -c 32 /dev/urandom"},
		{ok + "--secret-file " + short, 2, "secret-file: " + short, "16 characters"},
		{"origin --listen 127.0.0.1:0 --secret-file " + dir + "/none", 2, "secret-file", "head -c 32 /dev/urandom"},
		{"origin --listen 127.0.0.1:0 --secret-file " + short, 2, "secret-file: " + short, "16 characters"},
		{"origin --listen 5279", 2, "listen: 5279", "127.0.0.1:5279"},
		{"origin --listen 127.0.0.1:0 --name a/b", 2, "name: a/b", "letters, digits"},
		{"origin --listen 127.0.0.1:0 --domain a/b", 2, `domain "a/b"`, "chat.example.org"},
		{"origin --listen 127.0.0.1:0 --accounts " + dir + "/none", 2, "accounts", "no such file"},
		{"origin --listen 127.0.0.1:0 --accounts " + accounts, 2, "accounts:1", "name:password"},
		{"origin --listen 127.0.0.1:0 --max-wait 0", 2, "max-wait: 0", "use 1 to"},
		{"origin --listen 127.0.0.1:0 --max-wait 4000", 2, "max-wait: 4000", "use 1 to 3600"},
		{"origin --listen 127.0.0.1:0 --inactivity -1", 2, "inactivity: -1", "use 1 to"},
		{"origin --listen 127.0.0.1:0 --max-sessions 0", 2, "max-sessions: 0", "use 1 to"},
		{"origin --listen 127.0.0.1:0 --max-body-bytes 1", 2, "max-body-bytes: 1", "use 256 to"},
		{"origin --listen 127.0.0.1:0 --bosh=", 2, "bosh: none", "http://127.0.0.1:5280/http-bind"},
		{"origin --listen 127.0.0.1:0 --bosh 127.0.0.1:5280", 2, "bosh: 127.0.0.1:5280",
			"http://127.0.0.1:5280/http-bind"},
		{"origin --listen 127.0.0.1:0 --bosh http://h/,http://h/", 2, "bosh: http://h/", "differently"},
		{"origin --listen 127.0.0.1:0 --bosh http://h/ --domain x", 2, "domain: x", "leave one of them out"},
		{"origin --listen 127.0.0.1:0 --bosh http://h/ --max-sockets 2000000", 2, "max-sockets: 2000000", "ulimit -n"},
		{"origin --listen 127.0.0.1:0 --bosh http://h/ --max-sockets 0", 2, "max-sockets: 0", "use 1"},
		{"origin --listen 127.0.0.1:0 --bosh http://h/ --grace 0s", 2, "grace: 0s", "use 1s"},
		{"origin --listen 5279 --bosh http://h/", 2, "listen: 5279", "127.0.0.1:5279"},
		{"origin --listen 127.0.0.1:0 --bosh http://h/ --secret-file " + short, 2, "secret-file: " + short,
			"16 characters"},
		{"origin --listen 127.0.0.1:0 --max-sockets 5", 2, "max-sockets: 5", "add --bosh URL"},
		{"demo --listen 5280", 2, "listen: 5280", "0.0.0.0:5280"},
		{"demo --secret-file " + short, 2, "secret-file: applies to other origins", "--origin NAME=HOST:PORT"},
		{"demo --origin a=127.0.0.1:1 --accounts " + accounts, 2,
			"accounts: applies to the embedded origin", "leave out"},
		{"demo --origin a=127.0.0.1:1 --secret-file " + short, 2, "secret-file: " + short, "16 characters"},
		{"demo --listen 127.0.0.1:0 --max-wait 0", 2, "max-wait: 0", "use 1 to"},
	} {
		t.Run(strings.ReplaceAll(c.args, dir, ""), func(t *testing.T) {
			code, said := rig.Run(t, strings.Fields(c.args)...)
			if code != c.code || !strings.Contains(said, c.says) || !strings.Contains(said, c.remedy) {
				t.Errorf("exit %d, want %d with %q and %q in\n%s", code, c.code, c.says, c.remedy, said)
			}
			for _, raw := range []string{"strconv", "invalid argument", "parse error", "Usage:", "invalid syntax"} {
				if strings.Contains(said, raw) {
					t.Errorf("%q in\n%s", raw, said)
				}
			}
			if strings.Contains(said, "goroutine ") || strings.Contains(said, "listening on") {
				t.Errorf("it went on: %s", said)
			}
		})
	}
}

// TestPortTaken starts a second instance on a first one's port. With SO_REUSEPORT it would otherwise take half of the
// connections without a word.
func TestPortTaken(t *testing.T) {
	first := rig.Serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "a=127.0.0.1:1", "--max-connections", "100")
	origin := rig.Serve(t, "origin", "--listen", "127.0.0.1:0")
	for _, c := range []struct{ args, says string }{
		{"edge --origin a=127.0.0.1:1 --max-connections 100 --listen " + first.Addr, "another process listens there"},
		{"demo --listen " + first.Addr, "another process listens there"},
		{"edge --origin a=127.0.0.1:1 --max-connections 100 --listen " + origin.Addr, "another process listens there"},
		{"origin --listen " + first.Addr, "address already in use"},
		{"origin --listen " + origin.Addr, "address already in use"},
	} {
		if code, said := rig.Run(t, strings.Fields(c.args)...); code != 1 || !strings.Contains(said, c.says) {
			t.Errorf("%s: exit %d, want 1 with %q in\n%s", c.args, code, c.says, said)
		}
	}
	c := rig.Connect(t, first.Addr)
	c.Send("GET /http-bind HTTP/1.1\r\nHost: h\r\n\r\n")
	c.Get().Want(t, 200, "BOSH")
}
