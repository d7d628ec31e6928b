package tuning

import (
	"strings"
	"testing"
)

// TestSettingAllMakesItFit: setting everything that a report proposes makes the host fit, and the report proposes
// nothing that was good.
func TestSettingAllMakesItFit(t *testing.T) {
	for _, n := range []int{1, 5_000, 100_000, 1_000_000, 3_000_000} {
		need := Need{Sockets: n, OneTable: true}
		before := Examine(debian(t), need)
		set := fakeTree{"proc/self/limits": "Max open files  4096 " + find(t, before, "RLIMIT_NOFILE").Set + " files\n"}
		for _, f := range before.Knobs {
			if f.Class == ReportOnly || f.Name == "RLIMIT_NOFILE" || f.Name == "MemAvailable" {
				continue
			}
			if f.State == Good && f.Set != f.Now {
				t.Errorf("%s is good and would be set from %s to %s", f.Name, f.Now, f.Set)
			}
			set[fileOf(f.Name)] = f.Set + "\n"
		}
		after := Examine(with(t, debian(t), set), need)
		if !after.Fits || len(after.Lacking(Should)) > 0 {
			t.Errorf("%d sockets: lacking %v, %v", n, after.Lacking(Must), after.Lacking(Should))
		}
		for _, f := range after.Knobs {
			if f.State == Good && f.Fix != "" {
				t.Errorf("%s is good and has a fix: %s", f.Name, f.Fix)
			}
		}
	}
}

// TestEachMustDecides: with any must low the host does not fit, with any should low it does.
func TestEachMustDecides(t *testing.T) {
	need := Need{Sockets: 1_000}
	if r := Examine(debian(t), need); !r.Fits {
		t.Fatalf("lacking %v", r.Lacking(Must))
	}
	for _, f := range Examine(debian(t), need).Knobs {
		if f.Name == "MemAvailable" || f.Name == "RLIMIT_NOFILE" || f.Wanted == "" || f.State == Absent ||
			f.Class == ReportOnly {
			continue
		}
		low := "0"
		if strings.ContainsAny(f.Wanted, "<=") && !strings.Contains(f.Wanted, ">") {
			low = "99999999"
		}
		text := strings.TrimSpace(strings.Repeat(low+" ", len(strings.Fields(f.Now))))
		if f.Name == "vm.min_free_kbytes" {
			text = "79"
		}
		r := Examine(with(t, debian(t), fakeTree{fileOf(f.Name): text}), need)
		got := find(t, r, f.Name)
		if got.State != Low || got.Fix == "" || !strings.Contains(got.Fix, strings.Fields(got.Set)[0]) {
			t.Errorf("%s %q: %s, fix %q", f.Name, text, got.State, got.Fix)
		}
		if r.Fits != (f.Class != Must) {
			t.Errorf("%s (%s) is low, fits: %v", f.Name, f.Class, r.Fits)
		}
	}
	r := Examine(with(t, debian(t), fakeTree{"proc/meminfo": "MemTotal: 100000 kB\nMemAvailable: 70000 kB\n"}), need)
	if r.Fits || find(t, r, "MemAvailable").State != Low {
		t.Errorf("70 MB are enough for %d sockets: %+v", need.Sockets, find(t, r, "MemAvailable"))
	}
}

// TestNothingThere: a host without readable values lacks nothing that could be reported, and nothing panics.
func TestNothingThere(t *testing.T) {
	for name, root := range map[string]fakeTree{
		"empty": {},
		"nonsense": {"proc/meminfo": "MemTotal: much\n\n", "proc/self/limits": "Max open files\nMax open files x y z\n",
			"proc/self/cgroup": "0::/a/b\nrubbish\n", "sys/devices/system/cpu/online": "0-x,,7",
			"proc/interrupts":             "\n\n1:\n",
			"sys/class/net/eth0/device/x": "", "sys/class/net/eth0/queues/x": "zz\n",
			"sys/kernel/mm/transparent_hugepage/enabled": "[", "proc/sys/net/ipv4/tcp_mem": "1 2\n",
			"proc/sys/net/core/somaxconn": "\n"},
	} {
		r := Examine(fakeHost(root), Need{Sockets: 1_000_000})
		for _, f := range r.Knobs {
			if f.State == Good || f.State == Low && f.Class == Must {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if !r.Fits {
			t.Errorf("%s: does not fit for want of %v", name, r.Lacking(Must))
		}
	}
}
