// Package hangup catches SIGHUP from the first moment that a Go program can.
//
// An edge rereads its configuration on SIGHUP. Until it has registered for the signal with the runtime, the signal
// kills it. A logrotate script that sends one while the edge starts would then cost all its clients. main runs late,
// because the packages that it imports are initialised first, which takes milliseconds. This package imports little and
// its path sorts early, so Go initialises it before them. Only the time in which the kernel loads the program and the
// runtime starts remains, and no code of this program runs then.
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

// Leave restores the default action of SIGHUP, for a program that turned out not to be an edge.
func Leave() {
	signal.Stop(C)
}
