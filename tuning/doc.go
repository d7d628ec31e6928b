// Package tuning knows what a Linux host needs to keep N sockets: every knob with its reason, formula and source, and
// the memory that they take. It reads a host through an fs.FS, compares, and changes nothing; scripts/tune.sh is the
// one that sets values, by the same formulas, and a test holds the two together.
//
//	fs.FS (/proc, /sys) --> Host --+
//	                               +--> Examine --> Report: a Finding a knob, Budget, Fits
//	Need (N, descriptor tables) ---+
//
// N is all sockets of the host: an edge's clients, and those of a load generator on the same machine as well.
//
// # Classes
//
//   - must: without it N sockets are refused, dropped or killed, so the host does not fit.
//   - should: N sockets fit without it, with more loss of time or less margin, as a rule when all of them come or
//     go at once.
//   - report: shown and never changed. What is right depends on hardware and on what else the host does.
//
// # What tuning must not do
//
//   - Lower what is better already. A Want says how each field compares, and Merge keeps every field that does.
//   - Take the units of one knob for those of another: tcp_mem is in pages, tcp_rmem and tcp_wmem in bytes,
//     min_free_kbytes in KiB. Nothing is reserved by tcp_mem: it is a ceiling for all sockets together.
//   - Raise the defaults of tcp_rmem and tcp_wmem. Guides for fast downloads do; here every slow client could take
//     so much.
//   - Set vm.min_free_kbytes to a good part of the memory: the kernel would kill processes to keep it free.
//   - Turn on what other guides still ask for: tcp_tw_recycle (gone since 4.12, it broke clients behind NAT),
//     tcp_tw_reuse for incoming connections (it is for outgoing ones only), tcp_syncookies=0,
//     tcp_abort_on_overflow=1.
//   - Treat what is not there as wrong: a knob may be younger than the kernel, its module may not be loaded, and in
//     a network namespace some are not to be seen.
//
// # Descriptor tables
//
// RLIMIT_NOFILE bounds a descriptor table, and an edge gives each reactor one of its own when the limit is too low
// (package loop). So the limit is a must only where that is switched off; elsewhere a low one costs throughput, as it
// takes more reactors than there are cores (56 of them: 90,000 requests/s in an echo, two: 119,000).
package tuning
