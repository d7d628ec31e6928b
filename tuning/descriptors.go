package tuning

import (
	"fmt"
	"strconv"
)

// What the formulas add to N.
const (
	SpareDescriptors = 4096  // of one table: as a rule more than Layout.Shared, and round in every report
	SpareFiles       = 16384 // of the host: a desktop has so many open, a server fewer
)

// descriptorsFor is what a table for n sockets needs.
func descriptorsFor(n uint64) uint64 { return n + SpareDescriptors }

// filesFor is what a host with n sockets needs: a quarter more is there for what the others on it open.
func filesFor(n uint64) uint64 { return n + n/4 + SpareFiles }

// MaxTables is how many reactors, and so private descriptor tables, an edge may have.
const MaxTables = 4096

// tooLow reports whether private tables of that limit cannot hold n sockets either.
func tooLow(limit, n uint64) bool {
	if limit == 0 {
		return false // not known
	}
	one := int(min(limit, MaxSockets))
	tables := min(MaxTables, (one-processDescriptors)/(UsualLayout.Listeners+1))
	room := one - UsualLayout.Private()
	return tables < 1 || room < 1 || uint64(tables)*uint64(room) < n
}

// descriptorKnobs bound how many files there can be.
func descriptorKnobs(h *Host) []Knob {
	open, limit := Should, Should
	if h.need.OneTable {
		open, limit = Must, Must
	}
	if tooLow(h.descriptorLimit, h.n) {
		limit = Must
	}
	return []Knob{{
		Name:  "fs.file-max",
		Class: Must,
		Why: "Each socket is an open file, and this bounds those of the whole host: beyond it accept fails " +
			"with ENFILE, and so does every other open of every program.",
		Formula: "N + N/4 + 16384",
		Source:  "Documentation/admin-guide/sysctl/fs.rst; proc(5)",
		want:    func(h *Host) Want { return Want{atLeast(filesFor(h.n))} },
	}, {
		Name:  "fs.nr_open",
		Class: open,
		Why: "RLIMIT_NOFILE cannot be set above it: a unit with a larger LimitNOFILE does not start. It " +
			"matters when all sockets are in one descriptor table.",
		Formula: "N + 4096",
		Source:  "Documentation/admin-guide/sysctl/fs.rst; getrlimit(2)",
		want:    func(h *Host) Want { return Want{atLeast(descriptorsFor(h.n))} },
	}, {
		Name:    "RLIMIT_NOFILE",
		Class:   limit,
		Why:     limitWhy(h),
		Formula: "N + 4096 in one table; with private tables any limit will do, and a higher one needs fewer reactors",
		Source:  "getrlimit(2); systemd.exec(5), LimitNOFILE=; go doc megaphone/loop",
		want:    func(h *Host) Want { return Want{atLeast(descriptorsFor(h.n))} },
		read: func(h *Host) (string, bool) {
			return strconv.FormatUint(h.descriptorLimit, 10), h.descriptorLimit > 0
		},
		fix: func(set string) string {
			return "LimitNOFILE=" + set + " in the [Service] of the unit; in a shell, as root: ulimit -n " + set
		},
	}}
}

// limitWhy says what N needs under the limit as it is. The limit is that of this process: a service has its unit's.
func limitWhy(h *Host) string {
	const what = "It bounds one descriptor table: beyond it accept fails with EMFILE. "
	one := UsualLayout
	one.Reactors = h.cpus
	room := int(min(h.descriptorLimit, MaxSockets)) - one.Shared()
	switch {
	case h.need.OneTable:
		return what + "With descriptor-tables off all sockets are in one."
	case tooLow(h.descriptorLimit, h.n):
		return what + "It is too low even with a table for each of as many reactors as there may be."
	case h.descriptorLimit == 0 || h.need.Sockets <= room:
		return what + "With descriptor-tables auto each reactor gets a table of its own where the limit is too low."
	}
	cost := "no more than there are cores"
	tables := UsualLayout.Tables(h.need.Sockets, int(min(h.descriptorLimit, MaxSockets)))
	if tables > h.cpus {
		cost = "and more reactors than cores cost throughput"
	}
	return what + fmt.Sprintf("With descriptor-tables auto the edge starts %d reactors for N, with a table of %d "+
		"each, %s.", max(tables, h.cpus), h.descriptorLimit, cost)
}
