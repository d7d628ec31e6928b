package trials

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"megaphone/bench/children"
	"megaphone/internal/typed"
)

// ErrUnwell ends a run in which something went wrong that its tables tell of.
var ErrUnwell = errors.New("not all went well: see the tables")

// Say writes a line of progress to standard error.
type Say func(format string, args ...any)

// Sayer returns a Say whose lines begin with the name of a benchmark.
func Sayer(name string) Say {
	return func(format string, args ...any) { fmt.Fprintf(os.Stderr, name+": "+format+"\n", args...) }
}

// Main is the main function of a benchmark. It parses the arguments, runs until SIGINT or SIGTERM ends the context, and
// exits with status 1 if there is an error. No process is left behind (package children).
func Main[O any](say Say, parse func(args []string) (O, error), run func(ctx context.Context, options O) error) {
	children.Guard()
	o, err := parse(os.Args[1:])
	if err == nil {
		// Children have process groups of their own, so Ctrl-C reaches this process alone, which ends them.
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = run(ctx, o)
	}
	if err != nil {
		say("%v", err)
		os.Exit(1)
	}
}

// Flags are the flags of a benchmark whose results are files in a directory.
type Flags struct {
	Force bool   // run although the host is not ready
	With  string // results of earlier runs, comma-separated
	Out   string // directory of the results
	Root  string // directory of Megaphone's source
}

// Define defines the flags in fs. The results go to out by default.
func (f *Flags) Define(fs *flag.FlagSet, out string) {
	fs.BoolVar(&f.Force, "force", false, "run though the host is not made ready for it")
	fs.StringVar(&f.Out, "out", out, "`directory` for what was measured; it is made")
	fs.StringVar(&f.With, "with", "", "trials.json `files` of earlier runs to show beside this one, comma-separated")
	DefineRoot(fs, &f.Root)
}

// DefineRoot defines the flag of the directory with the binaries.
func DefineRoot(fs *flag.FlagSet, root *string) {
	fs.StringVar(root, "root", ".", "`directory` of Megaphone's source, built")
}

// Parse parses arguments that are flags only. It exits if a flag is wrong.
func Parse(fs *flag.FlagSet, args []string) error {
	_ = fs.Parse(args) // it exits
	if fs.NArg() > 0 {
		return fmt.Errorf("%q: there are only flags", fs.Args())
	}
	return nil
}

// Bounds of a trial's sessions. Two send messages to each other.
const (
	minSessions = 2
	maxSessions = 10_000_000
)

// ParseSessions parses comma-separated numbers of sessions.
func ParseSessions(list string) (all []int, err error) {
	for part := range strings.SplitSeq(list, ",") {
		n, err := typed.ParseInt(strings.TrimSpace(part))
		if err != nil || n < minSessions || n > maxSessions {
			return nil, fmt.Errorf("sessions: %q: give numbers from %d to %d, for example 1000,100k", list,
				minSessions, maxSessions)
		}
		all = append(all, n)
	}
	return all, nil
}
