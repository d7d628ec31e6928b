package main

import (
	"os"
	"slices"

	"megaphone/bench/machine"
	"megaphone/bench/programs"
)

// userBytes is what a session takes in the memory of all three processes, origin and load included, with room to spare.
const userBytes = 2500

// checkHost returns an error with a remedy if the host does not fit the largest number of sessions.
func checkHost(o *options) error {
	n := slices.Max(o.Sessions)
	if err := os.MkdirAll(o.files.Out, 0o755); err != nil {
		return err
	}
	if err := machine.Fits(n, programs.Connections(n), userBytes, 0); err != nil {
		return err
	}
	return machine.Tuned(o.files.Root, programs.Connections(n), o.files.Force, say)
}
