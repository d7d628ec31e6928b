package packages

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"megaphone/tests/rig"
)

// documents is where both packages have theirs.
const documents = "usr/share/doc/megaphone"

// roots returns directories with the contents of the packages.
func roots(t *testing.T) map[string]string {
	t.Helper()
	deb, rpm := t.TempDir(), t.TempDir()
	run(t, "dpkg-deb", "-x", one(t, shared, older, "deb"), deb)
	run(t, "rpm", "--root", rpm, "--nodeps", "--noscripts", "-i", one(t, shared, older, "rpm"))
	return map[string]string{"deb": deb, "rpm": rpm}
}

// eachDocument calls f with every text that a package has for people.
func eachDocument(t *testing.T, root string, f func(name, text string)) {
	t.Helper()
	found := 0
	for _, dir := range []string{documents, "usr/share/megaphone"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(name, ".md") && !strings.HasSuffix(name, ".txt") {
				return err
			}
			text, err := os.ReadFile(name)
			found++
			f(name, string(text))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 15 {
		t.Fatalf("only %d documents in %s", found, root)
	}
}

var (
	fenced = regexp.MustCompile("(?ms)^```.*?^```")
	linked = regexp.MustCompile(`\]\(([^)\s#]+)[^)\s]*\)`)
	inRoot = regexp.MustCompile("/usr/(?:s?bin|lib/systemd|share)/[a-zA-Z0-9_./-]*megaphone[a-zA-Z0-9_./-]*")
)

// TestLinks: whatever a document of the packages links to is in the packages, and so are the files below /usr that it
// names.
func TestLinks(t *testing.T) {
	t.Parallel()
	for kind, root := range roots(t) {
		links, names := 0, 0
		eachDocument(t, root, func(name, text string) {
			for _, m := range linked.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
				if strings.Contains(m[1], "://") {
					continue
				}
				links++
				if _, err := os.Stat(filepath.Join(filepath.Dir(name), m[1])); err != nil {
					t.Errorf("%s: %s links to %s: %v", kind, name, m[1], err)
				}
			}
			for _, file := range inRoot.FindAllString(text, -1) {
				names++
				if _, err := os.Stat(filepath.Join(root, strings.TrimRight(file, "."))); err != nil {
					t.Errorf("%s: %s names %s: %v", kind, name, file, err)
				}
			}
		})
		if links < 50 || names == 0 {
			t.Errorf("%s: only %d links and %d names found", kind, links, names)
		}
	}
}

// TestCommandsNeedNoCheckout: the pages for operators tell them to run nothing that only a checkout has.
func TestCommandsNeedNoCheckout(t *testing.T) {
	t.Parallel()
	command := regexp.MustCompile(`(?m)^ {4,}(?:\S*/)?(megaphone-[a-z-]+)`)
	checkout := regexp.MustCompile(`(?m)^ {4,}.*\b(?:scripts|deploy)/`)
	for kind, root := range roots(t) {
		found := 0
		eachDocument(t, root, func(name, text string) {
			if !strings.Contains(name, "/docs/") {
				return
			}
			if line := checkout.FindString(text); line != "" {
				t.Errorf("%s: %s has people run %s", kind, name, line)
			}
			for _, m := range command.FindAllStringSubmatch(text, -1) {
				found++
				if _, err := os.Stat(filepath.Join(root, "usr/sbin", m[1])); err != nil {
					t.Errorf("%s: %s has people run %s: %v", kind, name, m[1], err)
				}
			}
		})
		if found < 3 {
			t.Errorf("%s: only %d commands of ours found", kind, found)
		}
	}
}

// TestDoctorNamesTheCommand: the doctor of a package names the tuning script as the package has it.
func TestDoctorNamesTheCommand(t *testing.T) {
	t.Parallel()
	host := rig.Extract(t, "../../tuning/testdata/debian.txtar")
	for kind, root := range roots(t) {
		out, _ := say(filepath.Join(root, "usr/bin/megaphone"), "doctor", "--root", host, "--sockets", "1000000")
		m := regexp.MustCompile(`To set what can be set:\s+(\S+) --sockets`).FindStringSubmatch(out)
		if m == nil {
			t.Fatalf("%s: doctor names no command:\n%s", kind, out)
		}
		if _, err := os.Stat(filepath.Join(root, "usr/sbin", m[1])); err != nil {
			t.Errorf("%s: doctor names %s: %v", kind, m[1], err)
		}
	}
}
