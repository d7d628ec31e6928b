package load

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// usage is the memory and CPU time of a process, read from /proc.
type usage struct {
	rss, anon, pss uint64
	cpu            float64 // seconds since it started
}

// clockTicks is USER_HZ, which is 100 on every current Linux.
const clockTicks = 100

// readUsage reads a process's memory and CPU time. Only goroutines on ordinary threads may call it, because a reactor
// with a private descriptor table cannot use Go's I/O. With pss it also reads the proportional share, for which the
// kernel walks all pages of the process.
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

// procBytes returns the value of a line "key N kB", in bytes.
func procBytes(text []byte, key string) uint64 {
	for line := range bytes.Lines(text) {
		if value, ok := bytes.CutPrefix(line, []byte(key)); ok {
			n, _ := strconv.ParseUint(strings.TrimSuffix(string(bytes.TrimSpace(value)), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}

// parseStat returns the sum of user and system time: fields 14 and 15. It counts from behind the command's name, which
// may contain spaces.
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
