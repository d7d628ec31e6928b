package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"

	"megaphone/admin"
)

// called is the first word of a command that a message tells people to type: megaphone if that is this program, else
// the way it was called, such as bin/megaphone.
func called() string {
	own, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	if path, err := exec.LookPath("megaphone"); err == nil && sameFile(path, own) {
		return "megaphone"
	}
	return quoted(os.Args[0])
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// topCommand shows the edge whose admin endpoint is at an address or path.
func topCommand(at string) string {
	command := called() + " top"
	if at != admin.DefaultAddress {
		command += " --admin " + quoted(at)
	}
	return command
}

var plainWord = regexp.MustCompile(`^[-\w./:,@%+=]+$`)

// quoted is a word as a shell takes it.
func quoted(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
