package servers

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"megaphone/tests/rig"
)

var update = flag.Bool("update", false, "write the golden files of TestSessionsFiles anew")

// stock is what Debian has in its configuration, as far as the script looks at it. The last line ends in no newline.
const (
	stockCtl  = "# Erlang's options\n#ERL_PROCESSES=262144\n\nERL_OPTIONS=\"-env ERL_CRASH_DUMP_BYTES 0\"\n#."
	stockYAML = "loglevel: info\nhosts: [localhost]\nmodules:\n  mod_bosh: {}\n  mod_ping: {}\n"
	sharedKey = "0123456789abcdef0123456789abcdef"
)

// configured is a root directory with an ejabberd's configuration, for the script.
type configured struct {
	t                    *testing.T
	root, ctl, yaml, own string // own: ejabberd's own file, ejabberd.yml
	secret               string
}

func newConfigured(t *testing.T, ctl, own string) *configured {
	t.Helper()
	root := t.TempDir()
	c := &configured{t: t, root: root,
		ctl:    filepath.Join(root, "etc/ejabberd/ejabberdctl.cfg"),
		yaml:   filepath.Join(root, "etc/ejabberd/modules.d/mod_megaphone.yml"),
		own:    filepath.Join(root, "etc/ejabberd/ejabberd.yml"),
		secret: filepath.Join(t.TempDir(), "secret"),
	}
	c.write("etc/default/ejabberd", ctl)
	c.write("etc/ejabberd/ejabberd.yml", own)
	if err := os.Symlink("../default/ejabberd", c.ctl); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.secret, []byte(sharedKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *configured) write(name, text string) {
	c.t.Helper()
	file := filepath.Join(c.root, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
		c.t.Fatal(err)
	}
}

// run runs the script and returns its exit status and what it says.
func (c *configured) run(args ...string) (code int, out, errs string) {
	c.t.Helper()
	var said, complained bytes.Buffer
	cmd := exec.Command(installScript, append([]string{"--root", c.root}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+compilesOnce(c.t)+":"+os.Getenv("PATH"))
	cmd.Stdout, cmd.Stderr = &said, &complained
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		c.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), said.String(), complained.String()
}

// compilesOnce is a directory with an erlc that copies what the real one has made of the module for the script.
func compilesOnce(t *testing.T) string {
	t.Helper()
	dir, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// compiledDir is the directory of compiled, which is removed at the end.
var compiledDir string

var compiled = sync.OnceValues(func() (string, error) {
	root, err := os.MkdirTemp("", "megaphone-compiled-")
	if err != nil {
		return "", err
	}
	compiledDir = root
	if out, err := exec.Command(installScript, "--root", root).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	beams := filepath.Join(root, "var/lib/ejabberd/.ejabberd-modules/mod_megaphone/ebin/*.beam")
	script := "#!/bin/sh\nwhile [ \"$1\" != -o ]; do shift; done\nexec cp " + beams + " \"$2\"\n"
	return root, os.WriteFile(filepath.Join(root, "erlc"), []byte(script), 0o755)
})

// sessions runs it for N sessions, and demands that all goes well. It returns its remarks.
func (c *configured) sessions(n string) (out, remarks string) {
	c.t.Helper()
	code, out, remarks := c.run("--sessions", n, "--secret-file", c.secret)
	if code != 0 {
		c.t.Fatalf("--sessions %s: exit %d\n%s%s", n, code, out, remarks)
	}
	return out, remarks
}

// TestSessionsFiles: the lines for a million sessions are written, a second run changes nothing, another number
// replaces them, and --uninstall restores the files byte for byte.
func TestSessionsFiles(t *testing.T) {
	t.Parallel()
	for _, ctl := range []string{stockCtl, stockCtl + "\n", ""} {
		c := newConfigured(t, ctl, stockYAML)
		out, remarks := c.sessions("1M")
		if !strings.Contains(out, "ejabberdctl megaphone_doctor 1000000") ||
			!strings.Contains(remarks, "loglevel: info is three lines for each session") {
			t.Errorf("it says\n%s%s", out, remarks)
		}
		first := []string{read(t, c.ctl), read(t, c.yaml)}
		if ctl == stockCtl {
			golden(t, "ejabberdctl.cfg", first[0])
			golden(t, "mod_megaphone.yml", first[1])
		}
		if out, _ := c.sessions("1_000_000"); !strings.Contains(out, "nothing to do") {
			t.Errorf("the second time it says\n%s", out)
		}
		if out, _ := c.sessions("20k"); !strings.Contains(out, "configured for 20000 sessions") {
			t.Errorf("for fewer it says\n%s", out)
		}
		if text := read(t, c.ctl) + read(t, c.yaml); strings.Contains(text, "ERL_PROCESSES=1500000") ||
			strings.Contains(text, "max_held") || !strings.Contains(text, "max_awake: 5000\n") {
			t.Errorf("for fewer there is\n%s", text)
		}
		if code, out, _ := c.run(); code != 0 || !strings.Contains(out, "nothing to do") {
			t.Errorf("without --sessions: exit %d, %s", code, out)
		}
		c.sessions("1M")
		if again := []string{read(t, c.ctl), read(t, c.yaml)}; again[0] != first[0] || again[1] != first[1] {
			t.Errorf("there and back it is\n%s", strings.Join(again, "\n"))
		}
		if stat(t, c.ctl).Mode().Perm() != 0o640 || stat(t, c.yaml).Mode().Perm() != 0o640 {
			t.Error("the files have other modes")
		}
		if code, _, errs := c.run("--uninstall"); code != 0 {
			t.Errorf("--uninstall: exit %d, %s", code, errs)
		}
		if info, err := os.Lstat(c.ctl); err != nil || info.Mode().Type() != os.ModeSymlink || read(t, c.ctl) != ctl ||
			read(t, c.own) != stockYAML {
			t.Errorf("after --uninstall: %v, %v, %q", info.Mode(), err, read(t, c.ctl))
		}
		left, _ := filepath.Glob(filepath.Join(c.root, "etc/*/*megaphone*"))
		if len(left) != 0 {
			t.Errorf("left are %q", left)
		}
	}
}

// TestSessionsNoFile: without an ejabberdctl.cfg there is one, and after --uninstall there is none.
func TestSessionsNoFile(t *testing.T) {
	t.Parallel()
	c := newConfigured(t, "", stockYAML)
	if err := os.Remove(c.ctl); err != nil {
		t.Fatal(err)
	}
	c.sessions("1M")
	first := read(t, c.ctl)
	c.sessions("1M")
	if again := read(t, c.ctl); again != first || stat(t, c.ctl).Mode().Perm() != 0o644 {
		t.Errorf("the second time, %v:\n%s", stat(t, c.ctl).Mode(), again)
	}
	c.run("--uninstall")
	if _, err := os.Lstat(c.ctl); !os.IsNotExist(err) {
		t.Errorf("after --uninstall: %v", err)
	}
}

// TestSessionsLater: lines that come after the block are the operator's as well.
func TestSessionsLater(t *testing.T) {
	t.Parallel()
	c := newConfigured(t, stockCtl, stockYAML)
	c.sessions("1M")
	c.write("etc/default/ejabberd", read(t, c.ctl)+"MINE=1\n")
	c.sessions("2M")
	c.run("--uninstall")
	if text := read(t, c.ctl); text != stockCtl+"\nMINE=1\n" {
		t.Errorf("left is %q", text)
	}
}

// golden compares with a file of testdata/sessions.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata/sessions", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := read(t, file); got != want {
		t.Errorf("%s is\n%s\nwant\n%s", name, got, want)
	}
}

const (
	listener   = "listen:\n  -\n    port: 5279\n    module: mod_megaphone\n    secret: \"" + sharedKey + "\"\n"
	moduleLine = "modules:\n  mod_megaphone: {}\n"
)

// TestSessionsOwn: what an operator has set stays, and is named if it is too little. Everything else is written.
func TestSessionsOwn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		ctl, own, yaml string
		remarks        []string // and no others
		has, hasNot    []string // lines of the script in both files
	}{
		{name: "enough processes", ctl: "ERL_PROCESSES=2000000\n", hasNot: []string{"ERL_PROCESSES=1500000"}},
		{name: "too few processes", ctl: "export ERL_PROCESSES=\"600000\" # for now\n",
			remarks: []string{"ERL_PROCESSES: 600000 stays, because you have set it; 1000000 sessions need 1500000"},
			hasNot:  []string{"ERL_PROCESSES=1500000"}},
		{name: "processes as a flag", ctl: "ERL_OPTIONS=\"+P 600000\"\n",
			remarks: []string{"ERL_PROCESSES: 600000 stays"}, hasNot: []string{"ERL_PROCESSES=1500000"}},
		{name: "commented out", ctl: "#ERL_PROCESSES=600000\n # +sbwt long\n",
			has: []string{"ERL_PROCESSES=1500000", "+sbwt none"}},
		{name: "flags", ctl: "ERL_OPTIONS='+sbwt long +MHas aoffcaobf'\n",
			remarks: []string{"+sbwt long of your ejabberdctl.cfg or vm.args stays; +sbwt none would be better here"},
			has: []string{`ERL_OPTIONS="$ERL_OPTIONS +MHsmbcs 256 +MHlmbcs 512"`,
				`ERL_OPTIONS="$ERL_OPTIONS +sbwtdcpu none +sbwtdio none"`}},
		{name: "few ports", ctl: "ERL_MAX_PORTS=1024\n", remarks: []string{"ERL_MAX_PORTS: 1024 stays"}},
		{name: "log and pings", own: "loglevel: debug\nmodules:\n  mod_ping:\n    send_pings: true\n",
			remarks: []string{"loglevel: debug is three lines", "send_pings wakes every session"}},
		{name: "log level nowhere", own: "hosts: [localhost]\n", has: []string{"\nloglevel: warning\n"}},
		{name: "log level somewhere", own: "include_config_file: /etc/x.yml\nmodules: {mod_ping: {send_pings: true}}\n",
			remarks: []string{"send_pings wakes every session"}, hasNot: []string{"loglevel"}},
		{name: "log level in quotes", own: "'loglevel': \"info\"\n", remarks: []string{"loglevel: info is three lines"},
			hasNot: []string{"loglevel"}},
		{name: "log level as a macro", own: "loglevel: 'LEVEL'\n", hasNot: []string{"loglevel"}},
		{name: "another configuration", ctl: "EJABBERD_CONFIG_PATH=/etc/other.yml\n",
			remarks: []string{"/etc/other.yml is not there: loglevel should be warning in it"},
			hasNot:  []string{"loglevel"}},
		{name: "engine", yaml: listener + "    engine: ejabberd\n" + moduleLine,
			remarks: []string{"engine: ejabberd stays; engine: megaphone takes a third of the processes"},
			has:     []string{"ERL_PROCESSES=3500000", "max_held: 1250000", "sleep_after"},
			hasNot:  []string{"engine: megaphone\n"}},
		{name: "item that begins with its module",
			yaml: "listen:\n- module: mod_megaphone\n  max_held: 5\n  request_handlers:\n    - x\n  port: 1\n" +
				"  secret: \"" + sharedKey + "\"\n- port: 2\n  engine: ejabberd_http\n  module: other\n" + moduleLine,
			remarks: []string{"max_held: 5 stays; one link may have to hold the requests of all sessions: make it 125"},
			has:     []string{"\n  engine: megaphone\n"}, hasNot: []string{"max_held: 1250000"}},
		{name: "options", yaml: listener + "modules:\n    mod_megaphone:\n      # my\n         sleep_after: 1 minute\n",
			has: []string{"\n         max_awake: 50000\n"}, hasNot: []string{"sleep_after: 2 seconds"}},
		{name: "no sleep", yaml: listener + "modules:\n  mod_megaphone:\n    sleep_after: infinity # why\n",
			remarks: []string{"sleep_after: infinity stays; a session that sleeps takes a quarter of the memory"},
			has:     []string{"\n    max_awake: 50000\n"}, hasNot: []string{"sleep_after: 2 seconds"}},
		{name: "options in braces", yaml: listener + "modules:\n  mod_megaphone: {sleep_after: 5 seconds}\n",
			remarks: []string{"mod_megaphone: {sleep_after: 5 seconds} stays; for the sessions add"},
			hasNot:  []string{"max_awake:"}},
		{name: "module elsewhere", yaml: listener,
			remarks: []string{"no modules: mod_megaphone; give yours   sleep_after: 2 seconds"}},
		{name: "listener elsewhere", yaml: "# secret:\nsecret: \"" + sharedKey + "\"\n" + moduleLine,
			remarks: []string{"no listener has module: mod_megaphone; give yours   engine: megaphone"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			own := c.own
			if own == "" {
				own = "loglevel: warning\n"
			}
			d := newConfigured(t, c.ctl, own)
			if c.yaml != "" {
				d.write("etc/ejabberd/modules.d/mod_megaphone.yml", c.yaml)
			}
			_, remarks := d.sessions("1000000")
			if n := strings.Count(remarks, "\n"); n != len(c.remarks) {
				t.Errorf("%d remarks:\n%s", n, remarks)
			}
			for _, part := range c.remarks {
				if !strings.Contains(remarks, part) {
					t.Errorf("it does not say %q:\n%s", part, remarks)
				}
			}
			ctl, yaml := read(t, d.ctl), read(t, d.yaml)
			for _, part := range c.has {
				if !strings.Contains(ctl+yaml, part) {
					t.Errorf("there is no %q in\n%s%s", part, ctl, yaml)
				}
			}
			for _, part := range c.hasNot {
				if strings.Contains(ctl+yaml, part) {
					t.Errorf("there is %q in\n%s%s", part, ctl, yaml)
				}
			}
			if !strings.HasPrefix(ctl, c.ctl) || read(t, d.own) != own {
				t.Errorf("the operator's own files are\n%s%s", ctl, read(t, d.own))
			}
			d.sessions("1000000")
			if read(t, d.ctl) != ctl || read(t, d.yaml) != yaml {
				t.Errorf("the second time they are\n%s%s", read(t, d.ctl), read(t, d.yaml))
			}
			if c.yaml != "" {
				if mine := outside(yaml); mine != c.yaml {
					t.Errorf("of the operator's lines are left\n%s", mine)
				}
			}
		})
	}
}

// outside is a text without the script's blocks, and with the lines that they replace.
func outside(text string) string {
	var mine strings.Builder
	inside := false
	for line := range strings.Lines(text) {
		switch {
		case strings.Contains(line, "# megaphone-ejabberd-install: begin"):
			inside = true
			if _, was, ok := strings.Cut(line, ", in place of:"); ok {
				mine.WriteString(was)
			}
		case strings.Contains(line, "# megaphone-ejabberd-install: end"):
			inside = false
		case !inside:
			mine.WriteString(line)
		}
	}
	return mine.String()
}

// TestSessionsRefused: what cannot be done is refused with its reason, and nothing is changed.
func TestSessionsRefused(t *testing.T) {
	t.Parallel()
	for _, n := range []string{"", "0", "-1", "many", "1e6", "1.5", "1__000", "1,00", "30000001", "0.0001k", "1 000"} {
		c := newConfigured(t, stockCtl, stockYAML)
		code, _, errs := c.run("--sessions", n)
		want := "--sessions: " + n + ": give the sessions of this node, 1 to 30000000"
		if n == "" {
			want = "--sessions: its value is missing"
		}
		if code != 2 || !strings.Contains(errs, want) {
			t.Errorf("--sessions %s: exit %d, %s", n, code, errs)
		}
		if read(t, c.ctl) != stockCtl {
			t.Errorf("--sessions %s changes something", n)
		}
	}
	half := stockCtl + "\n# megaphone-ejabberd-install: begin --sessions 5\nERL_PROCESSES=5\nmine\n"
	c := newConfigured(t, half, stockYAML)
	for _, args := range [][]string{{"--sessions", "1M"}, {"--uninstall"}} {
		code, _, errs := c.run(args...)
		if code != 1 || !strings.Contains(errs, `-install: end" is missing`) || read(t, c.ctl) != half {
			t.Errorf("%q with half a block: exit %d, %s", args, code, errs)
		}
	}
	if _, err := os.Stat(c.yaml); !os.IsNotExist(err) {
		t.Errorf("the listener is written: %v", err)
	}
	code, _, errs := c.run("--sessions", "1M", "--uninstall")
	if code != 2 || !strings.Contains(errs, "not with --uninstall") {
		t.Errorf("both: exit %d, %s", code, errs)
	}

	outer := newConfigured(t, stockCtl, stockYAML)
	file := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.WriteFile(file, []byte(stockCtl), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(outer.ctl); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, outer.ctl); err != nil {
		t.Fatal(err)
	}
	code, _, errs = outer.run("--sessions", "1M")
	if code != 1 || !strings.Contains(errs, "outside of "+outer.root) || read(t, file) != stockCtl {
		t.Errorf("a link out of the root: exit %d, %s", code, errs)
	}
}

// TestDoctorOfStock: an ejabberd as it comes is told what it lacks, by exit status as well.
func TestDoctorOfStock(t *testing.T) {
	t.Parallel()
	j := startNode(t)
	_, err := j.run(rig.Patience, "ctl", j.dir, "megaphone_doctor", "1M")
	if err == nil {
		t.Fatal("it fits a million sessions")
	}
	for _, part := range []string{
		"ok    versions    ejabberd 23.01",
		"warn  listener    engine: ejabberd at " + j.said["link"] + "; wanted: engine: megaphone",
		"warn  held        max_held 250000, 0 links now; wanted: 1250000 or more",
		"ok    mod_bosh    max_inactivity 30 s",
		"warn  sleep       works, and is off for localhost, anon.localhost, demo.localhost",
		"ok    mod_ping ",
		"fail  processes   process_limit 262144; wanted: 3500000 or more; remedy: ERL_PROCESSES=3500000",
		"warn  carriers    Erlang's own for eheap_alloc, binary_alloc",
		"warn  spinning    +sbwt medium, +sbwtdcpu medium, +sbwtdio medium; wanted: none",
		"warn  loglevel    info; wanted: warning",
		"ok    sm_db_type  mnesia",
		"fail  memory ", "wanted: 82064 MiB",
		"This node does NOT fit 1000000 sessions, because of processes, memory.",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("it does not say %q:\n%v", part, err)
		}
	}
	config := filepath.Join(j.dir, "ejabberd.yml")
	text := strings.Replace(read(t, config), "mod_ping: {}", "mod_ping: {send_pings: true}", 1)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	j.ctl("reload_config")
	said := j.ctl("megaphone_doctor", "1000")
	if !strings.Contains(said, "warn  mod_ping    send_pings for localhost, ") ||
		!strings.Contains(said, "This node fits 1000 sessions. It would do better with other values of listener, ") {
		t.Errorf("of a thousand it says\n%s", said)
	}
	for _, n := range []string{"0", "many", ""} {
		_, err := j.run(rig.Patience, "ctl", j.dir, "megaphone_doctor", n)
		if err == nil || !strings.Contains(err.Error(), "give the sessions of this node, 1 to 30000000") {
			t.Errorf("of %q it says %v", n, err)
		}
	}
}

// TestDoctorOfSessions: a node with what the script writes for 200,000 sessions starts and serves, and the doctor would
// have nothing otherwise. So the two have the same formulas.
func TestDoctorOfSessions(t *testing.T) {
	t.Parallel()
	c := newConfigured(t, stockCtl, stockYAML)
	port := freePort(t)
	if code, out, errs := c.run("--port", port, "--secret-file", c.secret, "--sessions", "200k"); code != 0 {
		t.Fatalf("exit %d\n%s%s", code, out, errs)
	}
	flags, err := exec.Command("sh", "-ec", `. "$0"; echo "+P $ERL_PROCESSES $ERL_OPTIONS"`, c.ctl).Output()
	if err != nil {
		t.Fatal(err)
	}
	j := newNode(t, "--modules", "mod_stream_mgmt: {}")
	j.env = []string{without, "CONTRIB_MODULES_CONF_DIR=" + filepath.Dir(c.yaml),
		"CONTRIB_MODULES_PATH=" + filepath.Join(c.root, "var/lib/ejabberd/.ejabberd-modules"),
		"ERL_ZFLAGS=" + strings.TrimSpace(string(flags))}
	j.start()
	config := filepath.Join(j.dir, "ejabberd.yml")
	text := strings.Replace(read(t, config), "loglevel: info", "loglevel: warning", 1)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	j.ctl("reload_config")
	j.ctl("register", "alice", "localhost", password)
	served(t, serveEdge(t, 1, "a=127.0.0.1:"+port, c.secret))
	said := j.ctl("megaphone_doctor", "200k")
	asks := regexp.MustCompile("`ejabberdctl megaphone_doctor 200000` asks for ([0-9,]+) MiB").
		FindStringSubmatch(read(t, "../../docs/capacity.md"))
	if asks == nil || !strings.Contains(said, "(wanted: "+strings.ReplaceAll(asks[1], ",", "")+" MiB, ") {
		t.Errorf("docs/capacity.md: the memory for 200000 sessions is %q; the doctor says\n%s", asks, said)
	}
	for line := range strings.Lines(said) {
		if !strings.HasPrefix(line, "ok ") && line != "This node fits 200000 sessions.\n" {
			t.Errorf("it says %s", line)
		}
	}
	if stats := j.stats(); stats["sleep_works"] != 1 {
		t.Errorf("counters %v", stats)
	}
}
