package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"megaphone/bench/children"
	"megaphone/bench/machine"
)

// usage is what some processes have and have used, all together.
type usage struct {
	anon    int     // bytes of memory of their own: RssAnon
	sockets int     // descriptors that are sockets
	cpu     float64 // seconds
}

// pids are a server's processes.
func (r *running) pids() (list []int) {
	for _, cmd := range r.cmds {
		list = append(list, children.Family(cmd.Process.Pid)...)
	}
	return list
}

func usageOf(pids []int) (u usage) {
	for _, pid := range pids {
		var kib int
		_, _ = fmt.Sscan(machine.Field(fmt.Sprintf("/proc/%d/status", pid), "RssAnon"), &kib)
		u.anon += kib << 10
		u.cpu += cpuOf(pid)
		fds := fmt.Sprintf("/proc/%d/fd", pid)
		list, _ := os.ReadDir(fds)
		for _, fd := range list {
			if to, _ := os.Readlink(filepath.Join(fds, fd.Name())); strings.HasPrefix(to, "socket:") {
				u.sockets++
			}
		}
	}
	return u
}

// cpuOf adds user and system time, fields 14 and 15 of /proc/PID/stat, in ticks of 10 ms.
func cpuOf(pid int) (seconds float64) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return 0
	}
	for _, f := range fields[11:13] {
		n, _ := strconv.Atoi(string(f))
		seconds += float64(n) / 100
	}
	return seconds
}

func cpuOfAll(pids []int) (seconds float64) {
	for _, pid := range pids {
		seconds += cpuOf(pid)
	}
	return seconds
}
