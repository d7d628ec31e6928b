package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"

	"megaphone/admin"
)

// called returns the name under which users should run this program: megaphone if PATH finds it so, else the name it
// was started with, such as bin/megaphone.
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

// topCommand returns the command that shows the edge with the admin endpoint at an address or path.
func topCommand(at string) string {
	command := called() + " top"
	if at != admin.DefaultAddress {
		command += " --admin " + quoted(at)
	}
	return command
}

var plainWord = regexp.MustCompile(`^[-\w./:,@%+=]+$`)

// quoted returns a word quoted for a shell.
func quoted(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
