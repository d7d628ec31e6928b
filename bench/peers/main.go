// Command peers measures other proxies beside the edge, on the same work, in turns: nginx, HAProxy, and Pushpin with
// condure and zurl.
//
//	wrk, held requests --HTTP--> nginx, HAProxy, Pushpin --HTTP--> origin
//	                   --HTTP--> edge -----links--------->
//
// The origin is one process that speaks both protocols and treats both alike: it echoes a body, or keeps the request
// until it is told to release all. The peers are configured as well as possible, in case of doubt in their favour; see
// conf. scripts/bench-peers.sh installs the missing packages, builds and runs it. scripts/bench-tls.sh does the same
// with --tls: clients come by TLS, and hitch is measured instead of Pushpin.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"megaphone/bench/children"
	"megaphone/internal/typed"
)

// options are the flags.
type options struct {
	rounds      int
	duration    time.Duration
	connections []int
	held        int // by each peer
	edgeHeld    int
	only        string
	tls         bool
	root, dir   string
}

func parseOptions(args []string) (*options, error) {
	o := &options{}
	name := "bench-peers.sh"
	if slices.Contains(args, "--tls") {
		name = "bench-tls.sh"
	}
	fs := flag.NewFlagSet(name, flag.ExitOnError)
	fs.Var(typed.IntOr(&o.rounds, 3), "rounds", "rounds; medians and spread are taken over them")
	fs.DurationVar(&o.duration, "duration", 5*time.Second,
		"of each measurement of requests; 1,024 clients with TLS need 5s")
	connections := fs.String("connections", "64,256,1024", "numbers of connections that ask, comma-separated")
	fs.Var(typed.IntOr(&o.held, 9000), "held", "requests that each peer holds; it has two sockets for each")
	fs.Var(typed.IntOr(&o.edgeHeld, 15000), "edge-held", "requests that the edge holds; it has one socket for each")
	fs.BoolVar(&o.tls, "tls", false, "clients come by TLS, and the edge holds as many requests as the others")
	fs.StringVar(&o.only, "only", "", "servers to measure, comma-separated (default all): "+
		strings.Join(names(false), ", ")+"; with --tls: "+strings.Join(names(true), ", "))
	fs.StringVar(&o.root, "root", ".", "`directory` of Megaphone's source, built")
	_ = fs.Parse(args) // it exits
	for part := range strings.SplitSeq(*connections, ",") {
		n, err := typed.ParseInt(strings.TrimSpace(part))
		if err != nil || n < 1 {
			return nil, fmt.Errorf("connections: %q: give numbers, for example 64,256", *connections)
		}
		o.connections = append(o.connections, n)
	}
	if fs.NArg() > 0 || o.rounds < 1 || o.duration < time.Second || o.held < 1 || o.edgeHeld < 1 {
		return nil, errors.New("give flags only, rounds and held from 1, and a duration from 1s")
	}
	return o, nil
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == originRole {
		fail(serveOrigin())
		return
	}
	children.Guard()
	o, err := parseOptions(os.Args[1:])
	if err == nil {
		// Our children are in process groups of their own: Ctrl-C is for us, and we end them.
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = run(ctx, o)
	}
	fail(err)
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-peers:", err)
		os.Exit(1)
	}
}

// prepare makes the directory with what the programs read.
func (o *options) prepare() (err error) {
	if o.dir, err = os.MkdirTemp("", "bench-peers-"); err != nil {
		return err
	}
	err = writeScripts(o.dir)
	if o.tls && err == nil {
		o.edgeHeld = o.held
		err = writeCertificate(o.dir)
	}
	if err != nil {
		os.RemoveAll(o.dir)
	}
	return err
}

// run goes through all servers in turn, round after round.
func run(ctx context.Context, o *options) (err error) {
	if err := o.prepare(); err != nil {
		return err
	}
	defer os.RemoveAll(o.dir)
	back, err := startOrigin(filepath.Join(o.dir, "origin.log"))
	if err != nil {
		return err
	}
	defer back.stop()
	var all []*server
	for _, k := range kindsOf(o.tls) {
		if o.only == "" || strings.Contains(","+o.only+",", ","+k.name+",") {
			all = append(all, &server{kind: k})
		}
	}
	for round := range o.rounds {
		for _, s := range all {
			say("round %d of %d: %s", round+1, o.rounds, s.name)
			err := s.turn(ctx, o, back)
			if ctx.Err() != nil {
				printTables(o, all)
				return fmt.Errorf("interrupted in round %d", round+1)
			}
			if err != nil { // the results of the others are still useful
				say("%s: %v", s.name, err)
				s.wrong = append(s.wrong, fmt.Sprintf("round %d: %v", round+1, err))
			}
		}
	}
	printTables(o, all)
	return nil
}

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench-peers: "+format+"\n", args...)
}
