// Package hangup takes SIGHUP from the first moment that a Go program can.
//
// An edge reads its configuration again on SIGHUP. Until it has told the runtime so, the signal ends it: a script for
// logrotate that happens to send one while the edge starts would cost all its clients. main comes late, because the
// packages that it imports are initialised first, which takes milliseconds. This package imports little and its path
// sorts early, so Go initialises it before those. What is left is the time in which the kernel loads the program and
// the runtime starts, in which nothing of ours runs.
package hangup

import (
	"os"
	"os/signal"
	"slices"
	"syscall"
)

// C delivers SIGHUP if edge is an argument of the program.
var C = make(chan os.Signal, 1)

func init() {
	if slices.Contains(os.Args, "edge") {
		signal.Notify(C, syscall.SIGHUP)
	}
}

// Leave lets SIGHUP end the program, which turned out not to be an edge.
func Leave() {
	signal.Stop(C)
}
