// Package tuning lists the requirements of a Linux host for N sockets: every knob with its reason, formula and source,
// and the memory. It reads a host through an fs.FS, compares, and changes nothing. scripts/tune.sh sets values by the
// same formulas, and a test compares the two.
//
//	fs.FS (/proc, /sys) --> Host --+
//	                               +--> Examine --> Report: a Finding a knob, Budget, Fits
//	Need (N, descriptor tables) ---+
//
// N counts all sockets of the host: an edge's clients, and those of a load generator on the same machine.
//
// # Classes
//
//   - must: without it N sockets are refused, dropped or killed, so the host does not fit.
//   - should: N sockets fit without it, but with delays or less margin, usually when all of them come or go at once.
//   - report: shown and never changed. The right value depends on the hardware and on the host's other tasks.
//
// # What tuning must not do
//
//   - Lower values that are already better. A Want has a comparison for each field, and Merge keeps every field that
//     satisfies it.
//   - Confuse units: tcp_mem is in pages, tcp_rmem and tcp_wmem in bytes, min_free_kbytes in KiB. tcp_mem reserves
//     nothing: it is a ceiling for all sockets together.
//   - Raise the defaults of tcp_rmem and tcp_wmem. Guides for fast downloads do; here every slow client could take
//     that much.
//   - Set vm.min_free_kbytes to a large part of the memory: the kernel would kill processes to keep it free.
//   - Enable settings that other guides still recommend: tcp_tw_recycle (gone since 4.12, it broke clients behind NAT),
//     tcp_tw_reuse for incoming connections (it is for outgoing ones only), tcp_syncookies=0, tcp_abort_on_overflow=1.
//   - Treat missing values as wrong: a knob may be newer than the kernel, its module may not be loaded, and a network
//     namespace hides some.
//
// # Descriptor tables
//
// RLIMIT_NOFILE bounds a descriptor table, and an edge gives each reactor its own table if the limit is too low
// (package loop). So the limit is a must only if private tables are off. Otherwise a low limit costs throughput,
// because it takes more reactors than there are cores (56 of them: 90,000 requests/s in an echo, two: 119,000).
package tuning
