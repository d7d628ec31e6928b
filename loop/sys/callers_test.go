//go:build !sim

package sys

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReactorsCallOnlyThis: package loop has no system call, clock or random number of its own that a simulation would
// miss.
func TestReactorsCallOnlyThis(t *testing.T) {
	source, err := os.ReadFile("sys.go")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{`time\.Now`, `time\.Since`, `time\.After`, `rand\.New\w*`, `runtime\.GOMAXPROCS`}
	for _, f := range regexp.MustCompile(`(?m)^func (\w+)\(`).FindAllSubmatch(source, -1) {
		names = append(names, `unix\.`+string(f[1]))
	}
	calls := regexp.MustCompile(`\b(` + strings.Join(names, "|") + `)\(`)
	files, err := filepath.Glob("../*.go")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if found := calls.FindString(string(text)); found != "" && !strings.HasSuffix(name, "_test.go") {
			t.Errorf("%s has %s...)", name, found)
		}
	}
}
