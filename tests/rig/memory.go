package rig

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// MiB is 1,048,576 bytes.
const MiB = 1 << 20

// Memory is what a process has in RAM now, and the most it ever had since the last forget, in bytes.
type Memory struct{ Now, Most int }

func (m Memory) String() string {
	return fmt.Sprintf("%.1f MiB (at most %.1f)", float64(m.Now)/MiB, float64(m.Most)/MiB)
}

var memoryPattern = regexp.MustCompile(`(?m)^(VmRSS|VmHWM):\s+(\d+) kB$`)

// Memory is what the process has now.
func (p *Process) Memory() (m Memory) {
	p.T.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
	if err != nil {
		p.T.Fatal(err)
	}
	for _, f := range memoryPattern.FindAllSubmatch(data, -1) {
		n, _ := strconv.Atoi(string(f[2]))
		if string(f[1]) == "VmRSS" {
			m.Now = n << 10
		} else {
			m.Most = n << 10
		}
	}
	if m.Now == 0 || m.Most == 0 {
		p.T.Fatalf("no memory figures in %s", data)
	}
	return m
}

var anonymousPattern = regexp.MustCompile(`(?m)^RssAnon:\s+(\d+) kB$`)

// Anonymous is what the process and its children have in RAM that is no file's, in bytes.
func (p *Process) Anonymous() (sum int) {
	p.T.Helper()
	pid := strconv.Itoa(p.Cmd.Process.Pid)
	children, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	if err != nil {
		p.T.Fatal(err)
	}
	for _, id := range append(strings.Fields(string(children)), pid) {
		data, err := os.ReadFile("/proc/" + id + "/status")
		f := anonymousPattern.FindSubmatch(data)
		if err != nil || f == nil {
			p.T.Fatalf("no memory figures of process %s: %v", id, err)
		}
		n, _ := strconv.Atoi(string(f[1]))
		sum += n << 10
	}
	return sum
}
