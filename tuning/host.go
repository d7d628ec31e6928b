package tuning

import (
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Need is the task of a host.
type Need struct {
	Sockets  int  // at once, of all programs on the host together
	OneTable bool // all of them in one descriptor table: the edge's descriptor-tables are off
	Dials    bool // the host opens many connections itself: it runs a TLS proxy, a gateway or a load generator
}

// MaxSockets is the largest Need.Sockets for which the formulas are intended; none of them overflows below it.
const MaxSockets = 999_999_999

// host reads a host's /proc and /sys below root, which is the file system's root or a tree like it.
type host struct {
	root fs.FS
	need Need

	n               uint64 // need.Sockets
	memTotalKB      uint64 // 0: unknown
	memAvailableKB  uint64 // free or reclaimable, within the limit of the control group
	cpus            int
	descriptorLimit uint64 // RLIMIT_NOFILE, hard: Go raises its own soft limit to that
}

func newHost(root fs.FS, need Need) *host {
	h := &host{root: root, need: need, n: uint64(need.Sockets), cpus: 1}
	h.memTotalKB = h.meminfo("MemTotal")
	h.memAvailableKB = min(h.meminfo("MemAvailable"), h.cgroupKB())
	h.cpus = max(1, len(h.list("sys/devices/system/cpu/online")))
	h.descriptorLimit = h.openFilesLimit()
	return h
}

// text returns a file's contents with single spaces; ok is false if the file is missing or unreadable.
func (h *host) text(name string) (text string, ok bool) {
	data, err := fs.ReadFile(h.root, name)
	if err != nil {
		return "", false
	}
	return strings.Join(strings.Fields(string(data)), " "), true
}

// lines returns the lines of a file, none if it cannot be read.
func (h *host) lines(name string) []string {
	data, err := fs.ReadFile(h.root, name)
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

// sysctlFile returns the file of a sysctl.
func sysctlFile(name string) string { return "proc/sys/" + strings.ReplaceAll(name, ".", "/") }

// meminfo returns a value of /proc/meminfo, in KiB as in the file.
func (h *host) meminfo(key string) uint64 {
	for _, line := range h.lines("proc/meminfo") {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			v, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return v
		}
	}
	return 0
}

// cgroupKB returns the memory that the control group (version 2) of this process may use, the largest number if there
// is no limit. The kernel's memory for sockets counts in it.
func (h *host) cgroupKB() uint64 {
	least := ^uint64(0)
	for _, line := range h.lines("proc/self/cgroup") {
		group, ok := strings.CutPrefix(line, "0::/")
		if !ok {
			continue
		}
		for dir := group; ; dir = path.Dir(dir) { // a parent's limit bounds its children
			text, _ := h.text(path.Join("sys/fs/cgroup", dir, "memory.max"))
			if v, err := strconv.ParseUint(text, 10, 64); err == nil {
				least = min(least, v/1024)
			}
			if dir == "." || dir == "" {
				break
			}
		}
	}
	return least
}

// openFilesLimit returns the hard RLIMIT_NOFILE of this process; 0: unknown.
func (h *host) openFilesLimit() uint64 {
	for _, line := range h.lines("proc/self/limits") {
		rest, ok := strings.CutPrefix(line, "Max open files")
		if fields := strings.Fields(rest); ok && len(fields) >= 2 {
			if v, err := strconv.ParseUint(fields[1], 10, 64); err == nil {
				return v
			}
		}
	}
	return 0
}

// list reads a list of numbers and ranges, such as 0-3,8.
func (h *host) list(name string) (numbers []int) {
	text, _ := h.text(name)
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(first)
		b := a
		if isRange && err == nil {
			b, err = strconv.Atoi(last)
		}
		if err != nil || b-a > 1<<16 {
			return nil
		}
		for ; a <= b; a++ {
			numbers = append(numbers, a)
		}
	}
	return numbers
}

// listening returns the TCP ports on the host that have a listener.
func (h *host) listening() (ports []uint64) {
	const listen = "0A" // TCP_LISTEN in /proc/net/tcp, proc(5)
	for _, name := range []string{"proc/net/tcp", "proc/net/tcp6"} {
		for _, line := range h.lines(name) {
			fields := strings.Fields(line)
			if len(fields) < 4 || fields[3] != listen {
				continue
			}
			_, hex, _ := strings.Cut(fields[1], ":")
			if port, err := strconv.ParseUint(hex, 16, 16); err == nil {
				ports = append(ports, port)
			}
		}
	}
	return ports
}

// entries returns the names in a directory, in order.
func (h *host) entries(dir string) (names []string) {
	list, _ := fs.ReadDir(h.root, dir)
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}
