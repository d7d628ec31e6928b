package tests

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
)

const mib = 1 << 20

// memory is what a process has in RAM now, and the most it ever had since the last forget, in bytes.
type memory struct{ now, most int }

func (m memory) String() string {
	return fmt.Sprintf("%.1f MiB (at most %.1f)", float64(m.now)/mib, float64(m.most)/mib)
}

var memoryPattern = regexp.MustCompile(`(?m)^(VmRSS|VmHWM):\s+(\d+) kB$`)

func (p *process) memory() (m memory) {
	p.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, f := range memoryPattern.FindAllSubmatch(data, -1) {
		n, _ := strconv.Atoi(string(f[2]))
		if string(f[1]) == "VmRSS" {
			m.now = n << 10
		} else {
			m.most = n << 10
		}
	}
	if m.now == 0 || m.most == 0 {
		p.t.Fatalf("no memory figures in %s", data)
	}
	return m
}
