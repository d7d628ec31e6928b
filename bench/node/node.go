// Package node starts real ejabberds for benchmarks: Debian's, by scripts/ejabberd.sh, with mod_megaphone.
package node

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Node is an ejabberd of our own, in a directory of its own. It ends with us, however we end.
type Node struct {
	BOSH   string // the URL of its own mod_bosh
	Socket string // and of its own WebSocket
	Link   string // the address of mod_megaphone's listener with ejabberd's engine
	Engine string // and with its own
	PID    int
	Dir    string

	root string
}

// NoBusyWait has schedulers of all three kinds sleep as soon as they have nothing to do.
const NoBusyWait = "+sbwt none +sbwtdcpu none +sbwtdio none"

// Allocators keep what logging in takes for a moment from holding on to large pieces of memory. The module's installer
// writes the same.
const Allocators = "+MHas aoffcaobf +MBas aoffcaobf +MHlmbcs 512 +MBlmbcs 512 +MHsmbcs 256 +MBsmbcs 256"

// OperatorsModules are those that operators have besides the ones of scripts/ejabberd.yml.
const OperatorsModules = `mod_caps: {}
mod_carboncopy: {}
mod_last: {}
mod_mam:
  default: always
mod_private: {}
mod_pubsub:
  plugins: [flat, pep]
mod_push: {}
mod_vcard: {}`

// Start returns when ejabberd serves. flags are erl's, args those of scripts/ejabberd.sh. What it leaves when it fails
// is gone as well.
func Start(root, flags string, args ...string) (n *Node, err error) {
	dir, err := os.MkdirTemp("", "bench-ejabberd-")
	if err != nil {
		return nil, err
	}
	n = &Node{Dir: dir, root: root}
	defer func() {
		if err != nil {
			_ = n.Stop()
		}
	}()
	if err := n.compileHelper(); err != nil {
		return nil, err
	}
	var env []string
	if flags != "" {
		env = append(env, "ERL_FLAGS="+strings.TrimSpace(os.Getenv("ERL_FLAGS")+" "+flags))
	}
	said, err := n.do(env, "start", append([]string{"--owner", strconv.Itoa(os.Getpid())}, args...)...)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(said) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch key {
		case "bosh":
			n.BOSH = value
		case "websocket":
			n.Socket = value
		case "link":
			n.Link = value
		case "engine":
			n.Engine = value
		case "pid":
			n.PID, _ = strconv.Atoi(value)
		}
	}
	if n.BOSH == "" || n.Link == "" || n.Engine == "" || n.PID == 0 {
		return nil, fmt.Errorf("scripts/ejabberd.sh does not say how to reach ejabberd: %q", said)
	}
	return n, nil
}

// compileHelper puts megaphone_bench where ejabberd finds it.
func (n *Node) compileHelper() error {
	ebin := filepath.Join(n.Dir, "ebin")
	if err := os.Mkdir(ebin, 0o755); err != nil {
		return err
	}
	source := filepath.Join(n.root, "bench", "node", "megaphone_bench.erl")
	if out, err := exec.Command("erlc", "-o", ebin, source).CombinedOutput(); err != nil {
		return fmt.Errorf("erlc: %w: %s (make setup-test installs it)", err, out)
	}
	return nil
}

// do runs the script to its end, also when we are interrupted meanwhile: half a start could not be undone.
func (n *Node) do(env []string, verb string, args ...string) (string, error) {
	script := filepath.Join(n.root, "scripts", "ejabberd.sh")
	cmd := exec.Command(script, append([]string{verb, n.Dir}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var problem bytes.Buffer
	cmd.Stderr = &problem
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ejabberd %s: %w: %s%s", verb, err, out, problem.Bytes())
	}
	return string(out), nil
}

// Eval has ejabberd evaluate Erlang expressions, and reads their value as fmt.Sscanf does.
func (n *Node) Eval(expressions, format string, into ...any) error {
	value, err := n.do(nil, "eval", expressions)
	if err != nil {
		return err
	}
	if _, err := fmt.Sscanf(value, format, into...); err != nil {
		return fmt.Errorf("%q in answer to %s: %w", value, expressions, err)
	}
	return nil
}

// Processes is how many Erlang has, at this moment.
func (n *Node) Processes() (count int, err error) {
	return count, n.Eval("erlang:system_info(process_count)", "%d", &count)
}

// Memory is what Erlang has allocated, in bytes.
func (n *Node) Memory() (bytes uint64, err error) {
	return bytes, n.Eval("erlang:memory(total)", "%d", &bytes)
}

// Sockets counts those that the operating system has for it.
func (n *Node) Sockets() (count int, err error) {
	fds := fmt.Sprintf("/proc/%d/fd", n.PID)
	list, err := os.ReadDir(fds)
	if err != nil {
		return 0, err
	}
	for _, fd := range list {
		to, _ := os.Readlink(filepath.Join(fds, fd.Name())) // it may be closed by now
		if strings.HasPrefix(to, "socket:") {
			count++
		}
	}
	return count, nil
}

// Collect collects the garbage of all processes. Call it before there are sessions: it walks all processes.
func (n *Node) Collect() error {
	var done string
	return n.Eval("lists:foreach(fun erlang:garbage_collect/1, erlang:processes())", "%s", &done)
}

// Kill ends it at once.
func (n *Node) Kill() error {
	if _, err := n.do(nil, "kill"); err != nil {
		return err
	}
	return os.RemoveAll(n.Dir)
}

// Stop ends it as an operator would.
func (n *Node) Stop() error {
	if _, err := n.do(nil, "stop"); err != nil {
		return err
	}
	return os.RemoveAll(n.Dir)
}
