package tuning

import (
	"strconv"
	"strings"
	"testing"
	"unicode"

	"megaphone/fdtable"
)

// TestEveryKnobIsExplained: in full sentences, with formula and source, and once.
func TestEveryKnobIsExplained(t *testing.T) {
	seen := map[string]bool{}
	h := newHost(debian(t), Need{Sockets: 1_000_000})
	all := knobs(h)
	for _, k := range all {
		if seen[k.Name] {
			t.Errorf("%s is there twice", k.Name)
		}
		seen[k.Name] = true
		if k.Why == "" || !unicode.IsUpper(rune(k.Why[0])) && k.Why[0] < '0' || !strings.HasSuffix(k.Why, ".") {
			t.Errorf("%s: why is no sentence: %q", k.Name, k.Why)
		}
		if k.Source == "" || (k.Formula == "") != (k.want == nil) {
			t.Errorf("%s: formula %q, source %q", k.Name, k.Formula, k.Source)
		}
		if k.want == nil && k.Class != ReportOnly {
			t.Errorf("%s is a %s and wants nothing", k.Name, k.Class)
		}
	}
	for _, name := range []string{"fs.nr_open", "fs.file-max", "RLIMIT_NOFILE", "net.core.somaxconn",
		"net.ipv4.tcp_max_syn_backlog", "net.core.netdev_max_backlog", "net.ipv4.tcp_mem", "net.ipv4.tcp_rmem",
		"net.ipv4.tcp_wmem", "net.ipv4.tcp_max_orphans", "net.ipv4.tcp_max_tw_buckets", "net.ipv4.tcp_fin_timeout",
		"net.ipv4.tcp_tw_reuse", "net.ipv4.tcp_slow_start_after_idle", "net.ipv4.tcp_keepalive_time",
		"net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_migrate_req",
		"net.ipv4.ip_local_port_range", "net.netfilter.nf_conntrack_max", "vm.min_free_kbytes", "vm.max_map_count",
		"transparent_hugepage", "receive eth0", "transmit eth0", "interrupts eth0", "missed eth0", "cpu governor",
		"MemAvailable", "connection table"} {
		if !seen[name] {
			t.Errorf("%s is missing", name)
		}
	}
	if len(all) != len(seen) {
		t.Errorf("%d knobs, %d names", len(all), len(seen))
	}
}

// TestFormulas: the exact wanted values for some N.
func TestFormulas(t *testing.T) {
	for name, wanted := range map[string][4]string{ // for 1, 20,000, 1,000,000 and 999,999,999 sockets
		"fs.file-max":                    {">=16385", ">=41384", ">=1266384", ">=1250016382"},
		"fs.nr_open":                     {">=4097", ">=24096", ">=1004096", ">=1000004095"},
		"RLIMIT_NOFILE":                  {">=4097", ">=24096", ">=1004096", ">=1000004095"},
		"net.core.somaxconn":             {">=4096", ">=4096", ">=62500", ">=65535"},
		"net.ipv4.tcp_max_syn_backlog":   {">=4096", ">=4096", ">=62500", ">=65535"},
		"net.core.netdev_max_backlog":    {">=1000", ">=1000", ">=20000", ">=30000"},
		"net.netfilter.nf_conntrack_max": {">=1", ">=25000", ">=1250000", ">=1249999998"},
		"net.ipv4.tcp_mem": {">=0 >=1 >=1", ">=10000 >=20000 >=25000", ">=500000 >=1000000 >=1250000",
			">=499999999 >=999999999 >=1249999998"},
		"connection table":            {">=1", ">=20000", ">=1000000", ">=999999999"},
		"net.ipv4.tcp_max_orphans":    {">=1", ">=20000", ">=1000000", ">=999999999"},
		"net.ipv4.tcp_max_tw_buckets": {">=65536", ">=65536", ">=500000", ">=499999999"},
		"vm.min_free_kbytes":          {">=0", ">=1600", ">=80000", ">=512455"}, // a 64th of 32797152 KiB
		"MemAvailable":                {">=65544", ">=225672", ">=8072371", ">=8006901465"},
	} {
		for i, n := range []int{1, 20_000, 1_000_000, 999_999_999} {
			r := Examine(debian(t), Need{Sockets: n})
			if f := find(t, r, name); f.Wanted != wanted[i] {
				t.Errorf("%s for %d: %s, want %s", name, n, f.Wanted, wanted[i])
			}
		}
	}
}

// TestFormulasKeepTheirRelations for many N: a container is larger than its contents, and more sockets never need less.
func TestFormulasKeepTheirRelations(t *testing.T) {
	var before []uint64
	for n := uint64(1); n <= MaxSockets; n = n*3/2 + 1 {
		low, pressure, high := tcpPagesFor(n)
		values := []uint64{descriptorsFor(n), filesFor(n), backlogFor(n), netdevFor(n), low, pressure, high,
			timeWaitFor(n), minFreeFor(n, 32<<20), NewBudget(int(n)).TotalBytes}
		for i, v := range before {
			if values[i] < v {
				t.Errorf("value %d for %d sockets is %d, less than %d for fewer", i, n, values[i], v)
			}
		}
		before = values
		if !(low <= pressure && pressure <= high) {
			t.Errorf("tcp_mem for %d: %d %d %d", n, low, pressure, high)
		}
		others := fdtable.Layout{Reactors: 100, Listeners: 1, Links: 16}.Shared()
		if descriptorsFor(n) < n+uint64(others) || filesFor(n) < descriptorsFor(n) {
			t.Errorf("%d sockets: %d descriptors, %d files", n, descriptorsFor(n), filesFor(n))
		}
		if backlogFor(n) > maxBacklog || minFreeFor(n, 32<<20) > 32<<20/64 {
			t.Errorf("%d sockets: backlog %d, min_free %d", n, backlogFor(n), minFreeFor(n, 32<<20))
		}
	}
}

// TestDescriptorLimit: the limit is a must only in one table; otherwise the report explains what N needs.
func TestDescriptorLimit(t *testing.T) {
	tree := func(limit int) fakeTree {
		return fakeTree{"proc/self/limits": "Max open files     1024     " + strconv.Itoa(limit) + "     files\n"}
	}
	for _, c := range []struct {
		limit, sockets int
		oneTable       bool
		class          Class
		state          State
		says           string
	}{
		{20_000, 1_000_000, false, Should, Low, "the edge starts 53 reactors for N, with a table of 20000 each"},
		{20_000, 1_000_000, true, Must, Low, "all sockets are in one"},
		{20_000, 15_000, false, Should, Good, "gets its own table if the limit is too low"},
		{20_000, 15_000, true, Must, Good, "all sockets are in one"},
		{4096, 1_000_000, false, Should, Low, "the edge starts 280 reactors for N, with a table of 4096 each"},
		{1024, 1_000_000, false, Must, Low, "too low even for the maximum number of reactors"},
		{339, 1_000_000, false, Must, Low, "too low even for the maximum number of reactors"},
		{64, 1_000_000, false, Must, Low, "too low even for the maximum number of reactors"},
		{64, 1_000_000, true, Must, Low, "EMFILE"},
	} {
		r := Examine(fakeHost(tree(c.limit)), Need{Sockets: c.sockets, OneTable: c.oneTable})
		f := find(t, r, "RLIMIT_NOFILE")
		if f.Class != c.class || f.State != c.state || !strings.Contains(f.Why, c.says) {
			t.Errorf("%+v: %s, %s, %q", c, f.Class, f.State, f.Why)
		}
	}
}

// TestPortRange: a host that dials gets its ports above those with listeners (5222, 15672, 40960, and 11000 over IPv6
// in the tree; the 20000 there is a client's). The range of other hosts stays.
func TestPortRange(t *testing.T) {
	const name = "net.ipv4.ip_local_port_range"
	if f := find(t, Examine(debian(t), Need{Sockets: 1_000_000}), name); f.Class != ReportOnly || f.State != Shown {
		t.Errorf("without dialling: %+v", f)
	}
	f := find(t, Examine(debian(t), Need{Sockets: 1_000_000, Dials: true}), name)
	if f.Class != Should || f.Wanted != "<=15673 >=60999" || f.Set != "15673 60999" {
		t.Errorf("with dialling: %+v", f)
	}
}
