package packages

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// image makes the directory from which images are built.
func image(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "image")
	run(t, "../../scripts/image.sh", dir)
	return dir
}

// composeTool is the checker of the Compose Specification's own library.
const composeTool = "github.com/compose-spec/compose-go/v2/cmd"

// TestComposeFile: it follows the specification, its files exist, and the check finds mistakes.
func TestComposeFile(t *testing.T) {
	t.Parallel()
	dir := image(t)
	file := filepath.Join(dir, "compose.yml")
	check := func() (string, error) {
		return say("go", "tool", "-modfile=testdata/compose.mod", composeTool, "-format", "json", file)
	}
	out, err := check()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`(?m)(?:dockerfile: |- \./)([^:\n]+)`).FindAllStringSubmatch(string(text), -1)
	if len(named) != 3 {
		t.Errorf("files that are named: %q", named)
	}
	for _, m := range named {
		if _, err := os.Stat(filepath.Join(dir, m[1])); err != nil {
			t.Error(err)
		}
	}
	wrong := strings.Replace(string(text), "read_only: true", "read_onyl: true", 1)
	if err := os.WriteFile(file, []byte(wrong), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := check(); err == nil || !strings.Contains(out, "read_onyl") {
		t.Errorf("a wrong key: %v, %s", err, out)
	}
}

// TestCompose builds both images and runs them as compose.yml has it: the edge without root, rights or a file that it
// can write, healthy by its own check; two users chat over it; and both end by themselves when they are told to.
func TestCompose(t *testing.T) {
	t.Parallel()
	base, dir := debian(t), image(t)
	store, err := os.MkdirTemp("/var/tmp", "megaphone-images-") // an overlay's upper directory cannot be in an overlay
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(store) })
	before := owner(t, os.DevNull)
	run(t, "testdata/images.sh", base, dir, store)
	cgroup := newCgroup(t)
	t.Cleanup(func() { removeCgroup(t, cgroup) })
	out, err := say("testdata/compose.sh", dir, store, cgroup)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, want := range map[string]string{
		"uid":               "65532",
		"capabilities":      "0000000000000000 0000000000000000",
		"no new privileges": "1",
		"check":             "[CMD /usr/bin/megaphone health]",
		"version":           older,
		"read-only":         "true",
		"files":             "./etc/megaphone/edge.yml ./usr/bin/megaphone ",
		"links":             `[1-9]\d*`,
		"edge ended":        "0",
		"ejabberd ended":    "0",
	} {
		m := regexp.MustCompile(`(?m)^` + name + `: (.*)$`).FindStringSubmatch(out)
		if m == nil || m[1] != want && !regexp.MustCompile(`^(?:`+want+`)$`).MatchString(m[1]) {
			t.Errorf("%s is %q, want %s", name, m, want)
		}
	}
	if !strings.Contains(out, "nothing was lost, duplicated or out of order") {
		t.Errorf("no chat")
	}
	if after := owner(t, os.DevNull); after != before { // as happens where containers have a host's devices
		t.Errorf("%s was user %d's, and is user %d's", os.DevNull, before, after)
	}
	if t.Failed() {
		t.Log(out)
	}
}

func owner(t *testing.T, file string) uint32 {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Uid
}
