package tuning

import (
	"fmt"
	"strconv"

	"megaphone/fdtable"
)

// Constants that the formulas add to N.
const (
	spareDescriptors = 4096  // of one table: usually more than Layout.Shared, and a round number in every report
	spareFiles       = 16384 // of the host: a desktop has that many open, a server fewer
)

// descriptorsFor returns the descriptors that a table for n sockets needs.
func descriptorsFor(n uint64) uint64 { return n + spareDescriptors }

// filesFor returns the files that a host with n sockets needs. The extra quarter is for other programs.
func filesFor(n uint64) uint64 { return n + n/4 + spareFiles }

// tooLow reports whether even private tables of that limit cannot hold n sockets.
func tooLow(limit, n uint64) bool {
	if limit == 0 {
		return false // unknown
	}
	one := int(min(limit, MaxSockets))
	tables := fdtable.UsualLayout.MostTables(one)
	room := one - fdtable.UsualLayout.Private()
	return tables < 1 || room < 1 || uint64(tables)*uint64(room) < n
}

// descriptorKnobs returns the bounds on the number of open files.
func descriptorKnobs(h *host) []knob {
	open, limit := Should, Should
	if h.need.OneTable {
		open, limit = Must, Must
	}
	if tooLow(h.descriptorLimit, h.n) {
		limit = Must
	}
	return []knob{{
		Name:  "fs.file-max",
		Class: Must,
		Why: "Each socket is an open file, and this bounds the files of the whole host. Beyond it accept " +
			"fails with ENFILE, and so does every other open of every program.",
		Formula: "N + N/4 + 16384",
		Source:  "Documentation/admin-guide/sysctl/fs.rst; proc(5)",
		want:    func(h *host) want { return want{atLeast(filesFor(h.n))} },
	}, {
		Name:  "fs.nr_open",
		Class: open,
		Why: "RLIMIT_NOFILE cannot be set above it: a unit with a larger LimitNOFILE does not start. It " +
			"matters if all sockets are in one descriptor table.",
		Formula: "N + 4096",
		Source:  "Documentation/admin-guide/sysctl/fs.rst; getrlimit(2)",
		want:    func(h *host) want { return want{atLeast(descriptorsFor(h.n))} },
	}, {
		Name:    "RLIMIT_NOFILE",
		Class:   limit,
		Why:     limitWhy(h),
		Formula: "N + 4096 in one table; with private tables any limit will do, but a low one needs more reactors",
		Source:  "getrlimit(2); systemd.exec(5), LimitNOFILE=; go doc megaphone/loop",
		want:    func(h *host) want { return want{atLeast(descriptorsFor(h.n))} },
		read: func(h *host) (string, bool) {
			return strconv.FormatUint(h.descriptorLimit, 10), h.descriptorLimit > 0
		},
		fix: func(set string) string {
			return "LimitNOFILE=" + set + " in the [Service] of the unit; in a shell, as root: ulimit -n " + set
		},
	}}
}

// limitWhy explains what N needs under the current limit. The limit is that of this process: a service has its unit's.
func limitWhy(h *host) string {
	const what = "It bounds one descriptor table: beyond it accept fails with EMFILE. "
	one := fdtable.UsualLayout
	one.Reactors = h.cpus
	room := int(min(h.descriptorLimit, MaxSockets)) - one.Shared()
	switch {
	case h.need.OneTable:
		return what + "With descriptor-tables off all sockets are in one."
	case tooLow(h.descriptorLimit, h.n):
		return what + "It is too low even for the maximum number of reactors with a table each."
	case h.descriptorLimit == 0 || h.need.Sockets <= room:
		return what + "With descriptor-tables auto each reactor gets its own table if the limit is too low."
	}
	cost := "at most one per core"
	tables := fdtable.UsualLayout.Tables(h.need.Sockets, int(min(h.descriptorLimit, MaxSockets)))
	if tables > h.cpus {
		cost = "and more reactors than cores cost throughput"
	}
	return what + fmt.Sprintf("With descriptor-tables auto the edge starts %d reactors for N, with a table of %d "+
		"each, %s.", max(tables, h.cpus), h.descriptorLimit, cost)
}
