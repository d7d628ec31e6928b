package packages

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The packages have two versions: that of this checkout, and one that comes after it.
var older, newer = "", "100.0.0~rc1"

// shared is seen at the same path by guests: the packages are in it. Guests have a /tmp of their own.
var shared string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		said, err := exec.Command("../../scripts/version.sh").Output()
		if err != nil {
			fmt.Fprintln(os.Stderr, "version.sh:", err)
			return 1
		}
		older = strings.TrimSpace(string(said))
		if shared, err = os.MkdirTemp("/var/tmp", "megaphone-packages-"); err == nil {
			defer os.RemoveAll(shared)
			if err = build(older, shared); err == nil {
				err = build(newer, shared)
			}
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// build has package.sh build packages of a version, which is its default for older.
func build(version, dir string) error {
	cmd := exec.Command("../../scripts/package.sh", dir)
	if version != older {
		cmd.Env = append(os.Environ(), "VERSION="+version)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("package.sh: %w\n%s", err, out)
	}
	return nil
}

// one is the package of a version in dir.
func one(t *testing.T, dir, version, kind string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "megaphone?"+version+"*."+kind))
	if err != nil || len(found) != 1 {
		t.Fatalf("packages of %s: %q, %v", version, found, err)
	}
	return found[0]
}

// run demands that a program ends well, and returns what it has said, standard error last.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := say(name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func say(name string, args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	return out.String() + errs.String(), err
}
