package packages

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// maxExposure bounds the result of `systemd-analyze security`, on its scale of 0 (none) to 10. The rest is the network,
// which the services are for.
const maxExposure = 1.5

func TestUnits(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	run(t, "dpkg-deb", "-x", one(t, shared, older, "deb"), root)
	units, err := filepath.Glob(filepath.Join(root, "usr/lib/systemd/system/*"))
	if err != nil || len(units) != 3 {
		t.Fatalf("%q, %v", units, err)
	}
	// verify wants the binary where the unit says that it is, and the manual installed.
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		here := strings.ReplaceAll(string(text), "/usr/bin/megaphone", filepath.Join(root, "usr/bin/megaphone"))
		if err := os.WriteFile(unit, []byte(here), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out := run(t, "systemd-analyze", append([]string{"verify", "--man=no"}, units...)...); out != "" {
		t.Error(out)
	}
	overall := regexp.MustCompile(`Overall exposure level for .*: ([0-9.]+)`)
	for _, unit := range units {
		if strings.HasSuffix(unit, ".socket") {
			continue
		}
		out := run(t, "systemd-analyze", "security", "--no-pager", "--offline=true", unit)
		found := overall.FindStringSubmatch(out)
		if found == nil {
			t.Fatalf("no verdict:\n%s", out)
		}
		if level, err := strconv.ParseFloat(found[1], 64); err != nil || level > maxExposure {
			t.Errorf("%s: exposure %s, at most %v:\n%s", filepath.Base(unit), found[1], maxExposure, out)
		}
	}
}
