package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"megaphone/bench/programs"
)

func originArgs(o *options, n int, listen string) []string {
	return []string{"--listen", listen, "--max-sessions", strconv.Itoa(n + 1000), "--max-wait", strconv.Itoa(o.Wait),
		"--inactivity", "120"}
}

// restart is a shell command that kills the origin and starts it again after a while.
func (o *options) restart(dir string, n int, origin *programs.Program, at string) string {
	return fmt.Sprintf("kill -9 %d; sleep %g; GOGC=%d exec '%s' origin %s >'%s' 2>&1", origin.PID(), o.Storm.Seconds(),
		o.GOGC, filepath.Join(o.files.Root, "bin", "megaphone"), strings.Join(originArgs(o, n, at), " "),
		filepath.Join(dir, "origin-again.log"))
}

// startOrigin returns when the embedded origin listens.
func startOrigin(ctx context.Context, o *options, dir string, n int) (p *programs.Program, at string, err error) {
	p, err = programs.Start(o.files.Root, dir, "origin", []string{"GOGC=" + strconv.Itoa(o.GOGC)},
		originArgs(o, n, "127.0.0.1:0")...)
	if err != nil {
		return nil, "", err
	}
	err = p.Await(ctx, func(log []byte) bool { at = programs.Listening(log); return at != "" })
	return p, at, err
}
