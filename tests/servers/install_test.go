package servers

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"megaphone/tests/rig"
)

const (
	installScript = "../../scripts/ejabberd-install.sh"
	moduleSource  = "../../ejabberd/mod_megaphone"
)

// TestDebianInstall: the script puts the module where Debian's ejabberd looks for it, does nothing the second time,
// leaves the operator's configuration alone, and takes away what it put there.
func TestDebianInstall(t *testing.T) {
	root := t.TempDir()
	config := filepath.Join(root, "etc/ejabberd/modules.d/mod_megaphone.yml")
	install := func(want string, args ...string) {
		t.Helper()
		out, err := exec.Command(installScript, append([]string{"--root", root}, args...)...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Fatalf("install %v: %v\n%s", args, err, out)
		}
	}
	port, file := freePort(t), filepath.Join(t.TempDir(), "secret")
	install("systemctl restart ejabberd", "--port", port)
	before := read(t, config)
	install("the secret for edges: "+file, "--secret-file", file)
	install("nothing to do", "--port", "1", "--secret-file", file)
	if now := read(t, config); now != before {
		t.Errorf("the second time the configuration became\n%s", now)
	}
	if mode := stat(t, config).Mode().Perm(); mode != 0o640 {
		t.Errorf("the configuration, with its secret, has mode %o", mode)
	}

	j := newNode(t)
	j.env = []string{without, "CONTRIB_MODULES_CONF_DIR=" + filepath.Dir(config),
		"CONTRIB_MODULES_PATH=" + filepath.Join(root, "var/lib/ejabberd/.ejabberd-modules")}
	j.start()
	if list := j.ctl("modules_installed"); !strings.Contains(list, "mod_megaphone") {
		t.Errorf("installed are %q", list)
	}
	if mode := stat(t, file).Mode().Perm(); mode != 0o600 {
		t.Errorf("the secret has mode %o", mode)
	}
	j.ctl("register", "alice", "localhost", password)
	served(t, serveEdge(t, 1, "a=127.0.0.1:"+port, file))
	if n := j.stats()["links_opened"]; n != edgeReactors {
		t.Errorf("%d links", n)
	}

	install("is removed", "--uninstall")
	install("nothing to do", "--uninstall")
	if kept := read(t, config+".removed"); kept != before {
		t.Errorf("what is kept of the configuration is\n%s", kept)
	}
	j.stop()
	j.start()
	if _, err := j.run(rig.Patience, "ctl", j.dir, "megaphone_links"); err == nil {
		t.Error("without the module there is the command megaphone_links")
	}
}

// TestDebianInstallSecret: a secret that is there is taken; one that cannot be, or is not the listener's, is refused
// with its reason, and nothing is changed for it.
func TestDebianInstallSecret(t *testing.T) {
	dir := t.TempDir()
	file, config := filepath.Join(dir, "secret"), filepath.Join(dir, "etc/ejabberd/modules.d/mod_megaphone.yml")
	for _, c := range []struct {
		secret, says string
		code         int
	}{
		{"short", "its first line must be a secret of 16 characters or more", 1},
		{`sixteen or more "quoted" ones`, "use letters, digits and +/=_.- only", 1},
		{"\xFF\xFE0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00", "save it as UTF-8", 1},
		{"\uFEFFshort\r", "its first line must be a secret of 16 characters or more", 1},
		{"\uFEFF 0123456789abcdef+/=_.-\t\r\na comment", "configured: " + config, 0},
		{"another-0123456789", "is not the secret of " + config, 1},
		{"0123456789abcdef+/=_.-", "nothing to do", 0},
		{"\uFEFF0123456789abcdef+/=_.-\r", "nothing to do", 0},
	} {
		if err := os.WriteFile(file, []byte(c.secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(installScript, "--root", dir, "--secret-file", file)
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(string(out), c.says) {
			t.Errorf("%q: exit %d, %s, want %d and %q", c.secret, code, out, c.code, c.says)
		}
	}
	if text := read(t, config); !strings.Contains(text, `secret: "0123456789abcdef+/=_.-"`) {
		t.Errorf("the listener's is not the secret of the file:\n%s", text)
	}
	if out, err := exec.Command(installScript, "--ipp", "1").CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "--ipp: there is no such option") {
		t.Errorf("a wrong option: %v, %s", err, out)
	}
}

// TestDebianInstallFullDisk: a configuration that cannot be written whole stays as it is.
func TestDebianInstallFullDisk(t *testing.T) {
	if err := exec.Command("unshare", "-rm", "true").Run(); err != nil {
		t.Skip("no namespaces here:", err)
	}
	root := t.TempDir()
	if out, err := exec.Command(installScript, "--root", root).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const script = `set -e
	cd "$1/etc/ejabberd"
	cp modules.d/mod_megaphone.yml "$1/yml"
	mount -t tmpfs -o size=64k tmpfs "$1/etc/ejabberd"
	cd "$1/etc/ejabberd"
	mkdir modules.d
	cp "$1/yml" modules.d/mod_megaphone.yml
	seq -f "# line %010.0f" 2000 >ejabberdctl.cfg
	cp ejabberdctl.cfg "$1/before"
	code=0
	"$2" --root "$1" --sessions 1M || code=$?
	cmp ejabberdctl.cfg "$1/before"
	echo "exit $code, there are" *`
	path, err := filepath.Abs(installScript)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("unshare", "-rm", "sh", "-c", script, "sh", root, path).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "ejabberdctl.cfg stays as it is") ||
		!strings.Contains(string(out), "exit 1, there are ejabberdctl.cfg modules.d\n") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestModuleInstall: ejabberdctl installs the module from its source, and takes it away.
func TestModuleInstall(t *testing.T) {
	j := newNode(t)
	j.env = []string{without}
	sources := filepath.Join(j.dir, ".ejabberd-modules/sources/mod_megaphone")
	if err := os.MkdirAll(sources, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(sources, os.DirFS(moduleSource)); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	config := filepath.Join(sources, "conf/mod_megaphone.yml")
	text := strings.Replace(read(t, config), "port: 5279", "port: "+port, 1)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	j.start()
	if out := j.ctl("module_check", "mod_megaphone"); strings.Contains(out, "rror") {
		t.Errorf("module_check says %s", out)
	}
	for range 2 {
		j.ctl("module_install", "mod_megaphone")
		if n, there := j.stats()["links"]; n != 0 || !there {
			t.Errorf("counters %v", j.stats())
		}
		served(t, serveEdge(t, 1, "a=127.0.0.1:"+port, ""))
		j.ctl("module_uninstall", "mod_megaphone")
		if _, err := j.run(rig.Patience, "ctl", j.dir, "megaphone_stats"); err == nil {
			t.Error("without the module there is the command megaphone_stats")
		}
	}
}

// TestListenerOptions: a mistake in an option is reported with its key and a remedy, and ejabberd continues unchanged.
// An option of an earlier version is taken, and the log says that it has no effect.
func TestListenerOptions(t *testing.T) {
	j := startNode(t)
	config := filepath.Join(j.dir, "ejabberd.yml")
	good := read(t, config)
	for option, want := range map[string]string{
		`secret: "too short"`:         "listen->3->secret: the secret must have 16 characters or more",
		`max_contents: 5`:             "max_contents: Expected integer from 1024 to 16777216, got: 5",
		`max_held: 0`:                 "max_held: Expected positive integer, got: 0",
		`name: "a b"`:                 "name: String 'a b' doesn't match",
		`ping_timeout: -1`:            "ping_timeout: Expected positive integer",
		`sekret: "0123456789abcdef0"`: "Unknown option: sekret. Did you mean secret?",
	} {
		text := strings.Replace(good, "module: mod_megaphone\n", "module: mod_megaphone\n    "+option+"\n", 1)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := j.run(rig.Patience, "ctl", j.dir, "reload_config")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", option, err)
		}
	}
	if n := j.stats()["links"]; n != 0 {
		t.Errorf("%d links", n)
	}
	text := strings.Replace(good, "module: mod_megaphone\n", "module: mod_megaphone\n    max_unsent: 1048576\n", 1)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	j.ctl("reload_config")
	for late := time.Now().Add(rig.Patience); len(j.logged("max_unsent has no effect")) == 0; {
		if time.Now().After(late) {
			t.Fatal("the log does not say that max_unsent has no effect")
		}
		<-time.After(50 * time.Millisecond) // the log is written now and then
	}
}

// served logs a user in over an edge.
func served(t *testing.T, edge *rig.Process) {
	t.Helper()
	c := rig.Connect(t, edge.Addr)
	defer c.Close()
	c.Send(rig.PostText(creation))
	c.Get().Want(t, 200, "<mechanism>PLAIN</mechanism>")
	edge.Kill()
}

func read(t testing.TB, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func stat(t testing.TB, file string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return info
}
