package admin

import (
	"runtime"
	"runtime/debug"
	runtimemetrics "runtime/metrics"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"megaphone/edge"
	"megaphone/stats"
)

// Memory is the memory of the process, in bytes.
type Memory struct {
	Resident uint64 `json:"resident_bytes"`
	Virtual  uint64 `json:"virtual_bytes"`
	Heap     uint64 `json:"heap_bytes"`
}

// Descriptors counts all descriptor tables.
type Descriptors struct {
	Open uint64 `json:"open"`
	Max  uint64 `json:"max"`
}

// GoRuntime has figures of Go's runtime.
type GoRuntime struct {
	Goroutines     int     `json:"goroutines"`
	GCs            uint64  `json:"gc_cycles"`
	GCPauseSeconds float64 `json:"gc_pause_seconds"`
}

// readMemory reads /proc/self/stat.
func readMemory() (m Memory) {
	self, err := procfs.Self()
	if err != nil {
		return m
	}
	if stat, err := self.Stat(); err == nil {
		m.Virtual, m.Resident = uint64(stat.VirtualMemory()), uint64(stat.ResidentMemory())
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

// readDescriptors counts descriptors. /proc/self/fd shows the table that Go's threads share; for a reactor's private
// table only the connections and links are known.
func readDescriptors(v *edge.View) (d Descriptors) {
	if self, err := procfs.Self(); err == nil {
		n, _ := self.FileDescriptorsLen() // since Linux 6.2 this does not list a million names to count them
		d.Open = uint64(n)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil {
		d.Max = limit.Cur
	}
	if v.Private {
		d.Max *= uint64(len(v.Reactors))
		d.Open += v.Counters()[stats.OpenNow]
		for _, o := range v.Origins {
			for _, l := range o.Links {
				if l[stats.LinkUp] != 0 {
					d.Open++
				}
			}
		}
	}
	return d
}
