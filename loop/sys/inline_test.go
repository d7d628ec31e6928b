//go:build !sim

package sys

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rare are the functions that are called once for a socket or a reactor, beside a system call of microseconds. They are
// too large for the compiler.
var rare = []string{"Dup", "Socket", "Accept4", "NewRand"}

// TestCallsCostNothing: the compiler inlines each function of sys.go but the rare ones.
func TestCallsCostNothing(t *testing.T) {
	source, err := os.ReadFile("sys.go")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "build", "-gcflags=-m", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	functions := regexp.MustCompile(`(?m)^func (\w+)\(`).FindAllSubmatch(source, -1)
	if len(functions) < 25 {
		t.Fatalf("sys.go has only %d functions", len(functions))
	}
	for _, f := range functions {
		name := string(f[1])
		inlined := strings.Contains(string(out), "can inline "+name+"\n")
		if inlined == slices.Contains(rare, name) {
			t.Errorf("%s: inlined is %v", name, inlined)
		}
	}
}
