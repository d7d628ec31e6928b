// Command bench measures requests a second and bytes a held connection, side by side in one run: a bare echo loop
// on the same reactors, the edge with an origin that only echoes, and the edge with the embedded origin. Each
// server is a process of its own; the rounds of the three alternate. It ends by itself.
package main

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"megaphone/bench/children"
	"megaphone/internal/typed"
)

var (
	role     = flag.String("role", "", "used by bench itself to start a server")
	behind   = flag.String("origin", "", "used by bench itself: where the origin listens")
	rounds   = number("rounds", 5, "rounds; medians and spread are taken over them")
	duration = flag.Duration("duration", 2*time.Second, "of one round of one server")
	conns    = number("connections", 128, "clients, each of which waits for its reply before it asks again")
	held     = number("held", 8000, "held connections for the bytes a connection")
)

// number makes a flag for a whole number.
func number(name string, value int, usage string) *int {
	n := new(int)
	flag.Var(typed.IntOr(n, value), name, usage)
	return n
}

func main() {
	flag.Parse()
	slog.SetLogLoggerLevel(slog.LevelError)
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	if *role != "" {
		return serve(*role, *behind)
	}
	children.Guard()
	servers, err := startAll()
	defer func() {
		for _, s := range servers {
			s.stop()
		}
	}()
	if err != nil {
		return err
	}
	if err := throughput(servers); err != nil {
		return err
	}
	return heldBytes()
}

// child is a server in a process of its own.
type child struct {
	name, addr string
	cmds       []*exec.Cmd
}

func (c *child) stop() {
	for i := len(c.cmds) - 1; i >= 0; i-- {
		_ = c.cmds[i].Process.Kill()
		_ = c.cmds[i].Wait()
	}
}

// spawn starts a server of the given role and returns where it listens.
func spawn(role, origin string) (addr string, cmd *exec.Cmd, err error) {
	cmd = exec.Command(os.Args[0], "-role", role, "-origin", origin)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	if _, err := fmt.Fscanln(out, &addr); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return "", nil, fmt.Errorf("%s did not start: %w", role, err)
	}
	return addr, cmd, nil
}

// startPair starts an edge with the given kind of origin behind it.
func startPair(name, originRole string) (*child, error) {
	at, o, err := spawn(originRole, "")
	if err != nil {
		return nil, err
	}
	c := &child{name: name, cmds: []*exec.Cmd{o}}
	addr, e, err := spawn("edge", at)
	if err != nil {
		c.stop()
		return nil, err
	}
	c.addr, c.cmds = addr, append(c.cmds, e)
	return c, nil
}

func startAll() (all []*child, err error) {
	addr, cmd, err := spawn("bare", "")
	if err != nil {
		return nil, err
	}
	all = append(all, &child{"bare echo loop", addr, []*exec.Cmd{cmd}})
	for _, p := range [][2]string{{"edge + echo origin", "echo"}, {"edge + embedded origin", "embedded"}} {
		c, err := startPair(p[0], p[1])
		if err != nil {
			return all, err
		}
		all = append(all, c)
	}
	return all, nil
}
