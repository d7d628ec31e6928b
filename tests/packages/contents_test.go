package packages

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"megaphone/tests/rig"
)

// wanted are the files of both packages; those of one only are marked with it. The documents, examples and pages of
// further commands come to them.
var wanted = []string{
	"/etc/megaphone/edge.yml",
	"/etc/megaphone/origin.env",
	"/usr/bin/megaphone",
	"/usr/lib/systemd/system/megaphone-edge.service",
	"/usr/lib/systemd/system/megaphone-edge.socket",
	"/usr/lib/systemd/system/megaphone-origin.service",
	"/usr/lib/sysusers.d/megaphone.conf",
	"/usr/sbin/megaphone-ejabberd-install",
	"/usr/sbin/megaphone-tune",
	"/usr/share/bash-completion/completions/megaphone",
	"/usr/share/doc/megaphone/changelog.gz",
	"/usr/share/doc/megaphone/copyright",
	"/usr/share/fish/vendor_completions.d/megaphone.fish",
	"/usr/share/megaphone/ejabberd/mod_megaphone/COPYING",
	"/usr/share/megaphone/ejabberd/mod_megaphone/README.md",
	"/usr/share/megaphone/ejabberd/mod_megaphone/README.txt",
	"/usr/share/megaphone/ejabberd/mod_megaphone/conf/mod_megaphone.yml",
	"/usr/share/megaphone/ejabberd/mod_megaphone/mod_megaphone.spec",
	"/usr/share/megaphone/grafana/megaphone.json",
	"/usr/share/megaphone/prometheus/megaphone.rules.yml",
	"/usr/share/man/man1/megaphone.1.gz",
	"/usr/share/man/man5/megaphone-edge.yml.5.gz",
	"/usr/share/man/man8/megaphone-edge.8.gz",
	"/usr/share/man/man8/megaphone-ejabberd-install.8.gz",
	"/usr/share/man/man8/megaphone-tune.8.gz",
	"deb /usr/share/doc/megaphone/changelog.Debian.gz",
	"deb /usr/share/lintian/overrides/megaphone",
	"deb /usr/share/zsh/vendor-completions/_megaphone",
	"rpm /usr/share/zsh/site-functions/_megaphone",
}

func TestContents(t *testing.T) {
	t.Parallel()
	var deb []string
	for line := range strings.Lines(run(t, "dpkg-deb", "-c", one(t, shared, older, "deb"))) {
		fields := strings.Fields(line)
		if name := fields[5]; !strings.HasSuffix(name, "/") {
			deb = append(deb, strings.TrimPrefix(name, "."))
		}
		if fields[1] != "root/root" || strings.Contains(fields[0][4:], "w") {
			t.Errorf("all is root's, and of nobody else to write: %s", line)
		}
	}
	wantFiles(t, "deb", deb)
	wantFiles(t, "rpm", strings.Fields(run(t, "rpm", "-qpl", one(t, shared, older, "rpm"))))
	for kind, list := range map[string]string{
		"deb": run(t, "dpkg-deb", "-I", one(t, shared, older, "deb"), "conffiles"),
		"rpm": run(t, "rpm", "-qp", "--configfiles", one(t, shared, older, "rpm")),
	} {
		if got := strings.Fields(list); !slices.Equal(got, wanted[:2]) {
			t.Errorf("%s: configuration files %q", kind, got)
		}
	}
}

func wantFiles(t *testing.T, kind string, got []string) {
	t.Helper()
	var want []string
	for _, name := range wanted {
		if only, rest, ok := strings.Cut(name, " "); !ok {
			want = append(want, name)
		} else if only == kind {
			want = append(want, rest)
		}
	}
	modules, err := filepath.Glob("../../ejabberd/mod_megaphone/src/*.erl")
	if err != nil || len(modules) == 0 {
		t.Fatalf("modules: %q, %v", modules, err)
	}
	for _, m := range modules {
		want = append(want, "/usr/share/megaphone/ejabberd/mod_megaphone/src/"+filepath.Base(m))
	}
	documents := regexp.MustCompile(
		`^/usr/share/(man/man1/megaphone-|doc/megaphone/((docs|bench|deploy|examples)/|[A-Z]+\.md$|ejabberd$))`)
	got = slices.DeleteFunc(got, documents.MatchString)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: files\n%s\nwant\n%s", kind, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestReproducible: the same commit gives the same packages.
func TestReproducible(t *testing.T) {
	t.Parallel()
	again := t.TempDir()
	if err := build(older, again); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"deb", "rpm"} {
		a, err := os.ReadFile(one(t, shared, older, kind))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(one(t, again, older, kind))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("two builds of the %s differ", kind)
		}
	}
}

// TestLintian: neither an error nor a warning, but for those that lintian-overrides has with its reasons, and no page
// of the manual that its formatter has something to say about.
func TestLintian(t *testing.T) {
	t.Parallel()
	out, err := say("lintian", "--allow-root", "--fail-on", "error,warning", one(t, shared, older, "deb"))
	if err != nil || strings.Contains(out, "groff") || strings.Contains(out, "manpage") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestVersion: binary and packages have the version of the changelog's last release, below the Unreleased section.
func TestVersion(t *testing.T) {
	t.Parallel()
	changelog, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	headings := regexp.MustCompile(`(?m)^## (\S+)(?: - \d{4}-\d\d-\d\d)?$`).FindAllSubmatch(changelog, -1)
	if len(headings) < 2 || string(headings[0][1]) != "Unreleased" ||
		!regexp.MustCompile(`^\d+\.\d+\.\d+$`).Match(headings[1][1]) {
		t.Fatalf("headings of CHANGELOG.md: %q", headings)
	}
	release := string(headings[1][1])
	if rest, ok := strings.CutPrefix(older, release); !ok || rest != "" && rest[0] != '+' {
		t.Errorf("version.sh says %s, and CHANGELOG.md %s", older, release)
	}
	deb := one(t, shared, older, "deb")
	if got := strings.TrimSpace(run(t, "dpkg-deb", "-f", deb, "Version")); got != older+"-1" {
		t.Errorf("the version of the .deb is %s, want %s", got, older)
	}
	if got := run(t, "rpm", "-qp", "--queryformat", "%{VERSION}", one(t, shared, older, "rpm")); got != older {
		t.Errorf("the version of the .rpm is %s, want %s", got, older)
	}
	root := t.TempDir()
	run(t, "dpkg-deb", "-x", deb, root)
	if said := run(t, filepath.Join(root, "usr/bin/megaphone"), "version"); !strings.HasPrefix(said,
		"megaphone "+older+" ") {
		t.Errorf("the binary says %s, want %s", said, older)
	}
}

// TestVersionScript: without git the version is CHANGELOG.md's; it shows a commit without that tag, and uncommitted
// changes.
func TestVersionScript(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sh := func(line string) string {
		t.Helper()
		named := `cd "$0"; git() { command git -c user.name=a -c user.email=a@b "$@"; }; `
		return strings.TrimSpace(run(t, "sh", "-ec", named+line, dir))
	}
	script, err := os.ReadFile("../../scripts/version.sh")
	if err != nil {
		t.Fatal(err)
	}
	sh("mkdir scripts; echo '## Unreleased' >CHANGELOG.md")
	if err := os.WriteFile(filepath.Join(dir, "scripts/version.sh"), script, 0o755); err != nil {
		t.Fatal(err)
	}
	if said := sh("scripts/version.sh 2>&1 || true"); !strings.Contains(said, "CHANGELOG.md has no heading") {
		t.Errorf("without a release it says %s", said)
	}
	for _, step := range []struct{ do, want string }{
		{"printf '## 1.2.3 - 2026-01-02\n## 1.2.2 - 2026-01-01\n' >>CHANGELOG.md", `1\.2\.3`},
		{"git init -q; git add .; git commit -qm first", `1\.2\.3\+\d{14}\.g[0-9a-f]+`},
		{"git tag v1.2.2", `1\.2\.3\+\d{14}\.g[0-9a-f]+`},
		{"git tag v1.2.3", `1\.2\.3`},
		{"echo more >>CHANGELOG.md", `1\.2\.3\+\d{14}\.g[0-9a-f]+\.dirty`},
	} {
		sh(step.do)
		if said := sh("scripts/version.sh"); !regexp.MustCompile("^" + step.want + "$").MatchString(said) {
			t.Errorf("after %s it is %s, want %s", step.do, said, step.want)
		}
	}
}

// TestManual: what the pages say is the program's own.
func TestManual(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	run(t, "dpkg-deb", "-x", one(t, shared, older, "deb"), root)
	for page, says := range map[string][]string{
		"man1/megaphone.1.gz":      {"Megaphone " + older, "megaphone-edge(8)", "In production:    megaphone edge"},
		"man8/megaphone-edge.8.gz": {"--takeover-socket", `"*", or`, "megaphone-edge.yml(5)", "megaphone(1)"},

		"man8/megaphone-tune.8.gz":             {"--sockets N --persist", "EXIT STATUS"},
		"man8/megaphone-ejabberd-install.8.gz": {"--secret-file FILE", "--sessions N", "EXIT STATUS"},

		"man5/megaphone-edge.yml.5.gz": {"#takeover-socket: /run/megaphone/takeover.sock", "grace: 30s", `["*"]`},
	} {
		text := run(t, "env", "MANWIDTH=200", "LC_ALL=C.UTF-8", "man", "-l", filepath.Join(root, "usr/share/man", page))
		for _, s := range says {
			if !strings.Contains(text, s) {
				t.Errorf("%s does not say %q:\n%s", page, s, text)
			}
		}
	}
	first := filepath.Join(root, "usr/share/man/man1/megaphone.1.gz")
	text := run(t, "env", "MANWIDTH=1000", "LC_ALL=C.UTF-8", "man", "-l", first)
	others := regexp.MustCompile(`(megaphone-[a-z.]+)\((\d)\)`).FindAllStringSubmatch(text, -1)
	if len(others) < 5 {
		t.Errorf("only %q are referred to", others)
	}
	for _, o := range others {
		if _, err := os.Stat(filepath.Join(root, "usr/share/man/man"+o[2], o[1]+"."+o[2]+".gz")); err != nil {
			t.Errorf("a page that is not there is referred to: %v", err)
		}
	}
}

// TestSysctlExample: it is what the tuning script finds lacking on a stock Debian.
func TestSysctlExample(t *testing.T) {
	t.Parallel()
	root := rig.Extract(t, "../../tuning/testdata/debian.txtar")
	run(t, "../../scripts/tune.sh", "--root", root, "--sockets", "1000000", "--persist")
	want := settings(t, filepath.Join(root, "etc/sysctl.d/90-megaphone.conf"))
	if got := settings(t, "../../deploy/sysctl/60-megaphone.conf"); !slices.Equal(got, want) {
		t.Errorf("settings\n%q, want\n%q", got, want)
	}
}

func settings(t *testing.T, name string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			all = append(all, strings.TrimSpace(line))
		}
	}
	slices.Sort(all)
	return all
}

func TestShellCheck(t *testing.T) {
	t.Parallel()
	run(t, "shellcheck", "-x", "-P", "../..", "../../scripts/package.sh", "../../scripts/version.sh",
		"../../scripts/ejabberd-install.sh",
		"../../deploy/package/postinst", "../../deploy/package/prerm", "../../deploy/package/postrm",
		"../../scripts/image.sh", "../../deploy/container/ejabberd.sh", "testdata/guest.sh", "testdata/debian.sh",
		"testdata/images.sh", "testdata/compose.sh", "testdata/podman.env.sh")
}
