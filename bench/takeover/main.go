// Command takeover measures what upgrades of a busy edge cost its clients: the sessions of a chat stay, while one edge
// after the other takes over. It prints a Markdown table; --report keeps the load generator's report.
//
//	origin <--links-- edge 1, 2, 3, ... <--chat-- megaphone load
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"megaphone/bench/children"
	"megaphone/internal/typed"
)

type options struct {
	binary, report         string
	sessions, upgrades     int
	messages, jitter, wait int
	chat                   time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "bin/megaphone", "megaphone")
	flag.StringVar(&o.report, "report", "", "file for the load generator's report")
	flag.Var(typed.IntOr(&o.sessions, 50_000), "sessions", "BOSH sessions")
	flag.Var(typed.IntOr(&o.upgrades, 10), "upgrades", "upgrades in a row")
	flag.Var(typed.IntRate{Int: typed.IntOr(&o.messages, 1000)}, "messages", "messages a second")
	flag.Var(typed.IntOr(&o.jitter, 10), "jitter", "seconds of drain-jitter")
	flag.Var(typed.IntOr(&o.wait, 60), "wait", "seconds that a request is held")
	flag.DurationVar(&o.chat, "chat", 110*time.Second, "how long the chat lasts; the upgrades must be done by then")
	flag.Parse()
	children.Guard()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "takeover:", err)
		os.Exit(1)
	}
}

// process is a megaphone whose output is read line by line.
type process struct {
	*exec.Cmd
	lines chan string
	last  []string
}

func start(binary string, args ...string) (*process, error) {
	p := &process{Cmd: exec.Command(binary, args...), lines: make(chan string, 1000)}
	out, err := p.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.Stderr = p.Stdout
	if err := p.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			select {
			case p.lines <- s.Text():
			default: // the reader has gone
			}
		}
		_, _ = io.Copy(io.Discard, out)
	}()
	return p, nil
}

// says waits for a line with the given text.
func (p *process) says(text string, within time.Duration) (string, error) {
	late := time.After(within)
	for {
		select {
		case line, ok := <-p.lines:
			if p.last = append(p.last, line); len(p.last) > 20 {
				p.last = p.last[1:]
			}
			switch {
			case !ok:
				return "", fmt.Errorf("it ended without %q:\n%s", text, strings.Join(p.last, "\n"))
			case strings.Contains(line, text):
				return line, nil
			}
		case <-late:
			return "", fmt.Errorf("waited in vain for %q:\n%s", text, strings.Join(p.last, "\n"))
		}
	}
}

// end stops it, unless it has ended.
func (p *process) end() {
	_ = p.Process.Signal(os.Interrupt)
	_ = p.Wait()
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// run chats through an edge while successors take over from it, one after the other.
func run(o options) error {
	dir, err := os.MkdirTemp("", "bench-takeover")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if o.report == "" {
		o.report = filepath.Join(dir, "report.json")
	}
	origin, err := start(o.binary, "origin", "--listen", "127.0.0.1:0", "--anonymous")
	if err != nil {
		return err
	}
	defer origin.end()
	line, err := origin.says("listening on ", 10*time.Second)
	if err != nil {
		return err
	}
	_, at, _ := strings.Cut(line, "listening on ")
	front, err := freeAddr()
	if err != nil {
		return err
	}
	u := upgrades{binary: o.binary, args: o.edgeArgs(front, at, filepath.Join(dir, "socket"))}
	if u.edge, err = u.startEdge(); err != nil {
		return err
	}
	defer func() { u.edge.end() }()
	load, err := start(o.binary, o.loadArgs(front)...)
	if err != nil {
		return err
	}
	defer load.end()
	if _, err := load.says("chat ", 2*time.Minute); err != nil {
		return err
	}
	began := time.Now()
	for range o.upgrades {
		if err := u.upgrade(); err != nil {
			return err
		}
	}
	if d := time.Since(began); d > o.chat {
		return fmt.Errorf("the upgrades took %v, longer than the chat", d)
	}
	err = load.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	return show(o, u.took, load.ProcessState.ExitCode())
}

func (o *options) edgeArgs(front, origin, socket string) []string {
	return []string{"edge", "--listen", front, "--origin", "a=" + origin, "--max-connections",
		strconv.Itoa(o.sessions + o.sessions/5), "--takeover", "--takeover-socket", socket,
		"--drain-jitter", strconv.Itoa(o.jitter) + "s", "--check-host", "off"}
}

func (o *options) loadArgs(front string) []string {
	return []string{"load", "--target", "http://" + front + "/http-bind", "--scenario", "chat", "--login",
		"anonymous", "--sessions", strconv.Itoa(o.sessions), "--rate", "5000", "--messages", strconv.Itoa(o.messages),
		"--wait", strconv.Itoa(o.wait), "--duration", o.chat.String(), "--settle", "15s", "--report", o.report}
}

// upgrades are the edges of a run.
type upgrades struct {
	binary string
	args   []string // of each edge
	edge   *process // the one that serves
	took   []time.Duration
}

// startEdge returns an edge that serves.
func (u *upgrades) startEdge() (*process, error) {
	edge, err := start(u.binary, u.args...)
	if err != nil {
		return nil, err
	}
	if _, err := edge.says("edge listening on", 30*time.Second); err != nil {
		edge.end()
		return nil, err
	}
	return edge, nil
}

// upgrade starts a successor, and waits until its predecessor has ended.
func (u *upgrades) upgrade() error {
	old, since := u.edge, time.Now()
	next, err := u.startEdge()
	if err != nil {
		return err
	}
	u.edge = next
	served := time.Since(since)
	if err := old.Wait(); err != nil {
		return fmt.Errorf("the old edge: %w", err)
	}
	u.took = append(u.took, time.Since(since))
	fmt.Fprintf(os.Stderr, "upgrade %d: serves after %v, the old one has ended after %v\n", len(u.took),
		served.Round(time.Millisecond), u.took[len(u.took)-1].Round(time.Millisecond))
	return nil
}

func show(o options, took []time.Duration, code int) error {
	text, err := os.ReadFile(o.report)
	if err != nil {
		return err
	}
	var r struct {
		Sessions, Messages, Requests, Errors map[string]uint64
		Latencies                            map[string]map[string]float64
		Verdict                              struct{ Text string }
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return err
	}
	var longest time.Duration
	for _, d := range took {
		longest = max(longest, d)
	}
	ms := func(what string) string { return fmt.Sprintf("%.0f ms", r.Latencies["delivery"][what]/1000) }
	fmt.Printf("| | |\n|---|---|\n")
	for _, row := range [][2]any{
		{"sessions, upgrades in a row", fmt.Sprintf("%d, %d", r.Sessions["reached"], len(took))},
		{"longest time from a successor's start to its predecessor's end", longest.Round(time.Millisecond)},
		{"sessions lost", r.Sessions["lost"]},
		{"connections made", r.Requests["connections"]},
		{"connections refused", r.Errors["connection_refused"]},
		{"other troubles on the way", fmt.Sprint(r.Errors)},
		{"requests sent again", r.Requests["resent"]},
		{"messages sent, delivered", fmt.Sprintf("%d, %d", r.Messages["sent"], r.Messages["delivered"])},
		{"messages lost, twice, out of order", fmt.Sprintf("%d, %d, %d", r.Messages["lost"], r.Messages["duplicated"],
			r.Messages["reordered"])},
		{"delivery p50, p99, p99.9, longest", strings.Join([]string{ms("p50_us"), ms("p99_us"), ms("p999_us"),
			ms("max_us")}, ", ")},
		{"verdict", fmt.Sprintf("exit status %d: %s", code, r.Verdict.Text)},
	} {
		fmt.Printf("| %v | %v |\n", row[0], row[1])
	}
	if code != 0 {
		return errors.New("the load generator is not content")
	}
	return nil
}
