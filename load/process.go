package load

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// usage is what a process has and has used, as /proc says.
type usage struct {
	rss, anon, pss uint64
	cpu            float64 // seconds since it started
}

// clockTicks is USER_HZ, which is 100 on every Linux of today.
const clockTicks = 100

// readUsage reads a process's memory and CPU time. Only goroutines on ordinary threads may do so: a reactor with a
// private descriptor table does no I/O of Go's. With pss also the proportional share is read, for which the kernel
// walks all pages of the process.
func readUsage(pid int, pss bool) (u usage, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	u.rss, u.anon = procBytes(status, "VmRSS:"), procBytes(status, "RssAnon:")
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	if u.cpu, err = parseStat(stat); err != nil {
		return u, err
	}
	if pss {
		if rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid)); err == nil {
			u.pss = procBytes(rollup, "Pss:")
		}
	}
	return u, nil
}

// procBytes finds a line "key   N kB".
func procBytes(text []byte, key string) uint64 {
	for line := range bytes.Lines(text) {
		if value, ok := bytes.CutPrefix(line, []byte(key)); ok {
			n, _ := strconv.ParseUint(strings.TrimSuffix(string(bytes.TrimSpace(value)), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}

// parseStat adds user and system time: fields 14 and 15, counted behind the command's name, which may have spaces.
func parseStat(text []byte) (seconds float64, err error) {
	end := bytes.LastIndexByte(text, ')')
	fields := bytes.Fields(text[end+1:])
	if end < 0 || len(fields) < 13 {
		return 0, fmt.Errorf("%.80q is not a process's stat", text)
	}
	for _, f := range fields[11:13] {
		n, err := strconv.ParseUint(string(f), 10, 64)
		if err != nil {
			return 0, err
		}
		seconds += float64(n) / clockTicks
	}
	return seconds, nil
}
