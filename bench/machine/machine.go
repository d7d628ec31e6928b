// Package machine says what machine figures come from.
package machine

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// Machine is where figures come from.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	GiB    int    `json:"memory_gib"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Commit string `json:"commit"`
}

// This is the machine that this process runs on, and the commit of a directory.
func This(root string) Machine {
	m := Machine{CPU: Field("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(), Go: runtime.Version()}
	var kib int
	_, _ = fmt.Sscan(Field("/proc/meminfo", "MemTotal"), &kib)
	m.GiB = (kib + 1<<19) >> 20
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	m.Kernel = strings.TrimSpace(string(release))
	if out, err := exec.Command("git", "-C", root, "describe", "--always", "--dirty").Output(); err == nil {
		m.Commit = strings.TrimSpace(string(out))
	}
	return m
}

func (m Machine) String() string {
	return fmt.Sprintf("%d cores (%s), %d GiB, Linux %s, %s, commit %s", m.Cores, m.CPU, m.GiB, m.Kernel, m.Go,
		m.Commit)
}

// Field is the value of the first line "key : value" of a file, or "".
func Field(file, key string) string {
	text, _ := os.ReadFile(file)
	for line := range bytes.Lines(text) {
		if name, value, ok := strings.Cut(string(line), ":"); ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
