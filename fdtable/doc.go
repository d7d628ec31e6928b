// Package fdtable divides the descriptors of a process into tables.
//
// RLIMIT_NOFILE bounds one descriptor table. Linux gives a thread its own table with unshare(CLONE_FILES), so a process
// of n such threads holds n times the limit. Layout computes how many tables a number of connections takes, and which
// descriptors of a table are not for clients. Unshare gives the calling thread its table. Package loop has the rules
// for code that runs on such a thread.
package fdtable
