package admin

import (
	"os"
	"runtime"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"megaphone/edge"
	"megaphone/loop"
)

// Memory is the process's, in bytes.
type Memory struct {
	Resident uint64 `json:"resident_bytes"`
	Virtual  uint64 `json:"virtual_bytes"`
	Heap     uint64 `json:"heap_bytes"`
}

// Descriptors are those of all descriptor tables.
type Descriptors struct {
	Open uint64 `json:"open"`
	Max  uint64 `json:"max"`
}

// GoRuntime is what Go's runtime says of itself.
type GoRuntime struct {
	Goroutines     int     `json:"goroutines"`
	GCs            uint64  `json:"gc_cycles"`
	GCPauseSeconds float64 `json:"gc_pause_seconds"`
}

// readMemory reads /proc/self/statm: total and resident, in pages.
func readMemory() (m Memory) {
	data, err := os.ReadFile("/proc/self/statm")
	if fields := strings.Fields(string(data)); err == nil && len(fields) > 1 {
		total, _ := strconv.ParseUint(fields[0], 10, 64)
		resident, _ := strconv.ParseUint(fields[1], 10, 64)
		page := uint64(os.Getpagesize())
		m.Virtual, m.Resident = total*page, resident*page
	}
	return m
}

func heapBytes() uint64 {
	sample := []runtimemetrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	runtimemetrics.Read(sample)
	return sample[0].Value.Uint64()
}

func cpuSeconds() float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// readGo reads the runtime's own figures, without stopping the world.
func readGo(m *Memory) (g GoRuntime) {
	var gc debug.GCStats
	debug.ReadGCStats(&gc)
	m.Heap = heapBytes()
	return GoRuntime{Goroutines: runtime.NumGoroutine(), GCs: uint64(gc.NumGC), GCPauseSeconds: gc.PauseTotal.Seconds()}
}

// readDescriptors counts. /proc/self/fd shows the table that Go's threads share; of a reactor's private one only the
// connections and links are known.
func readDescriptors(v *edge.View) (d Descriptors) {
	if dir, err := os.Open("/proc/self/fd"); err == nil {
		names, _ := dir.Readdirnames(-1)
		_ = dir.Close()
		d.Open = uint64(len(names))
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil {
		d.Max = limit.Cur
	}
	if v.Private {
		d.Max *= uint64(len(v.Reactors))
		d.Open += v.Loop(loop.OpenNow)
		for _, o := range v.Origins {
			for _, l := range o.Links {
				if l.Up {
					d.Open++
				}
			}
		}
	}
	return d
}
