package tuning

import (
	"strconv"
	"strings"
)

const (
	minMapCount = 65530 // the kernel's default
	thpFile     = "sys/kernel/mm/transparent_hugepage/enabled"
)

// minFreeFor returns vm.min_free_kbytes: the memory of a 50th of the sockets, which a storm opens in a second. The
// kernel cannot wait for memory when a packet arrives. It is never more than a 64th of the memory.
func minFreeFor(n, memTotalKB uint64) uint64 { return min(n*4/50, memTotalKB/64) }

// memoryKnobs returns the knobs of the host's memory and its management by the kernel.
func memoryKnobs(h *host) []knob {
	return []knob{{
		Name:  "MemAvailable",
		Class: Must,
		Why: "In KiB: the budget for N sockets, on top of everything that already runs. If an edge already " +
			"holds some of them, the demand is too high by their part.",
		Formula: "N x 8199 bytes + 64 MiB",
		Source:  "Documentation/filesystems/proc.rst; the memory budget below",
		want:    func(h *host) want { return want{atLeast(NewBudget(h.need.Sockets).TotalBytes / 1024)} },
		read: func(h *host) (string, bool) {
			return strconv.FormatUint(h.memAvailableKB, 10), h.memTotalKB > 0
		},
		fix: func(string) string { return "more memory, fewer sockets on this host, or fewer other programs" },
	}, {
		Name:  "vm.min_free_kbytes",
		Class: Should,
		Why: "Memory that the kernel keeps free for allocations that cannot wait, such as for a packet's " +
			"arrival. Without it packets are dropped in a storm. Too much of it is worse than too little.",
		Formula: "N x 4 KiB / 50, at most 1/64 of the memory",
		Source:  "Documentation/admin-guide/sysctl/vm.rst",
		want:    func(h *host) want { return want{atLeast(minFreeFor(h.n, h.memTotalKB))} },
	}, {
		Name:  "vm.max_map_count",
		Class: Should,
		Why: "Maximum number of mappings of one process. The edge needs a few for each reactor. The " +
			"kernel's default is enough, but some hardening guides lower it.",
		Formula: "65530",
		Source:  "Documentation/admin-guide/sysctl/vm.rst",
		want:    constant(atLeast(minMapCount)),
	}, {
		Name:  "transparent_hugepage",
		Class: Should,
		Why: "With always, each byte touched in a large table or heap may cost 2 MiB, and clients touch " +
			"the edge's tables slot by slot. Go itself asks for huge pages where they pay.",
		Formula: "madvise or never",
		Source:  "Documentation/admin-guide/mm/transhuge.rst",
		want:    constant(oneOf("madvise", "never")),
		read: func(h *host) (string, bool) {
			text, ok := h.text(thpFile)
			if _, rest, bracketed := strings.Cut(text, "["); bracketed {
				text, _, _ = strings.Cut(rest, "]") // the chosen one
			}
			return text, ok
		},
		fix: func(set string) string {
			return "echo " + set + " > /" + thpFile + "; for good: transparent_hugepage=" + set +
				" on the kernel's command line"
		},
	}}
}
