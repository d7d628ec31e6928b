package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// machine is where the figures come from.
type machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	GiB    int    `json:"memory_gib"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Commit string `json:"commit"`
}

func thisMachine(root string) machine {
	m := machine{CPU: field("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(), Go: runtime.Version()}
	var kib int
	_, _ = fmt.Sscan(field("/proc/meminfo", "MemTotal"), &kib)
	m.GiB = (kib + 1<<19) >> 20
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	m.Kernel = strings.TrimSpace(string(release))
	if out, err := exec.Command("git", "-C", root, "describe", "--always", "--dirty").Output(); err == nil {
		m.Commit = strings.TrimSpace(string(out))
	}
	return m
}

func (m machine) String() string {
	return fmt.Sprintf("%d cores (%s), %d GiB, Linux %s, %s, commit %s", m.Cores, m.CPU, m.GiB, m.Kernel, m.Go,
		m.Commit)
}

// field is the value of the first line "key : value" of a file, or "".
func field(file, key string) string {
	text, _ := os.ReadFile(file)
	for line := range bytes.Lines(text) {
		if name, value, ok := strings.Cut(string(line), ":"); ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
