package tuning

import (
	"strconv"
	"strings"
)

const (
	minMapCount = 65530 // the kernel's default
	thpFile     = "sys/kernel/mm/transparent_hugepage/enabled"
)

// minFreeFor is vm.min_free_kbytes: what a 50th of the sockets take, which is what a storm opens in a second, as the
// kernel cannot wait for memory when a packet arrives. Never more than a 64th of the memory.
func minFreeFor(n, memTotalKB uint64) uint64 { return min(n*4/50, memTotalKB/64) }

// memoryKnobs are the memory itself and how the kernel deals with it.
func memoryKnobs(h *Host) []Knob {
	return []Knob{{
		Name:  "MemAvailable",
		Class: Must,
		Why: "In KiB: what the budget for N sockets comes to, beside all that runs already. When an edge " +
			"already holds some of them, their part is no longer available, and this asks for too much.",
		Formula: "N x 8199 bytes + 64 MiB",
		Source:  "Documentation/filesystems/proc.rst; the memory budget below",
		want:    func(h *Host) Want { return Want{atLeast(NewBudget(h.need.Sockets).TotalBytes / 1024)} },
		read: func(h *Host) (string, bool) {
			return strconv.FormatUint(h.memAvailableKB, 10), h.memTotalKB > 0
		},
		fix: func(string) string { return "more memory, fewer sockets on this host, or fewer programs beside" },
	}, {
		Name:  "vm.min_free_kbytes",
		Class: Should,
		Why: "What the kernel keeps free for those who cannot wait, and a packet's arrival cannot: without, " +
			"packets are dropped in a storm. Too much of it is worse than too little.",
		Formula: "N x 4 KiB / 50, at most 1/64 of the memory",
		Source:  "Documentation/admin-guide/sysctl/vm.rst",
		want:    func(h *Host) Want { return Want{atLeast(minFreeFor(h.n, h.memTotalKB))} },
	}, {
		Name:  "vm.max_map_count",
		Class: Should,
		Why: "Mappings that one process may have. The edge needs a few for each reactor; the kernel's default " +
			"is enough, and some hardening guides lower it.",
		Formula: "65530",
		Source:  "Documentation/admin-guide/sysctl/vm.rst",
		want:    constant(atLeast(minMapCount)),
	}, {
		Name:  "transparent_hugepage",
		Class: Should,
		Why: "With always, a byte touched here and there in a large table or heap costs 2 MiB each, and the " +
			"edge's tables are touched slot by slot as clients come. Go asks for huge pages where they pay.",
		Formula: "madvise or never",
		Source:  "Documentation/admin-guide/mm/transhuge.rst",
		want:    constant(oneOf("madvise", "never")),
		read: func(h *Host) (string, bool) {
			text, ok := h.text(thpFile)
			if _, rest, bracketed := strings.Cut(text, "["); bracketed {
				text, _, _ = strings.Cut(rest, "]") // the one that is chosen
			}
			return text, ok
		},
		fix: func(set string) string {
			return "echo " + set + " > /" + thpFile + "; for good: transparent_hugepage=" + set +
				" on the kernel's command line"
		},
	}}
}
