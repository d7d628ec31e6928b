package tests

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"megaphone/tests/rig"
)

// TestAttackHalfOpen: the network between the edge and its clients fails silently, as when a phone loses its cell. The
// edge finds out by TCP keep-alive, or by missing acknowledgements, and releases their resources.
func TestAttackHalfOpen(t *testing.T) {
	const keepAlive = 1              // seconds before the first probe; then four, one a second
	const shortest = 2 * time.Second // no sooner than a lost probe or two
	const longest = 12 * time.Second // six would do
	far := namespaces(t)             // from here on this goroutine, and what it starts, is at the near end
	origin := rig.Serve(t, "origin", "--listen", "127.0.0.1:0", "--max-wait", "300")
	e := rig.Serve(t, "edge", "--listen", "0.0.0.0:0", "--origin", "a="+origin.Addr, "--reactors", "1",
		"--max-connections", "100", "--keep-alive", fmt.Sprint(keepAlive, "s")).Linked(1)
	_, port, _ := net.SplitHostPort(e.Addr)

	near := rig.Connect(t, "127.0.0.1:"+port)
	writer := rig.Create(t, near)
	writer.LogIn(t, "writer", near)
	waiting, idle, reader := far.connect(nearAddress+":"+port), far.connect(nearAddress+":"+port),
		far.connect(nearAddress+":"+port)
	held := rig.Create(t, waiting)
	waiting.Send(held.Request("")) // the edge waits for its origin, and says nothing
	idle.Send(rig.PostText("<body/>"))
	idle.Get() // the edge waits for the client
	s := rig.Create(t, reader)
	to := s.LogIn(t, "reader", reader)
	reader.Send(s.Request("")) // the edge will have something to say
	e.Until("held requests", func(c map[string]int) bool { return c["held_now"] == 2 && c["open_now"] == 4 })

	far.ip("link set far down")
	began := time.Now()
	near.Send(writer.Request("<message xmlns='jabber:client' type='chat' to='" + to + "'><body>hello</body></message>" +
		"<iq xmlns='jabber:client' type='get' id='x' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>"))
	near.Get().Want(t, 200, "id='x'")
	n := e.Until("the end of the three", func(c map[string]int) bool { return c["open_now"] == 1 })
	took := time.Since(began)
	if took < shortest || took > longest {
		t.Errorf("it took %v", took)
	}
	if n["gone"] != 1 || n["held_now"] != 0 || n["idle_timeouts"]+n["expired"]+n["write_stalls"] != 0 {
		t.Errorf("counters %v", n)
	}
	near.Send(writer.Ping())
	near.Get().Want(t, 200, writer.Pong())
	t.Logf("three silent clients were given up after %v at most", took.Round(100*time.Millisecond))
}

// The two ends of a wire between two network namespaces.
const nearAddress, farAddress = "192.0.2.1", "192.0.2.2"

// namespace is the far end. It belongs to a thread of its own, which does what it is told.
type namespace struct {
	t  *testing.T
	do chan func()
}

// namespaces takes the calling goroutine to a network namespace of its own, for good, and makes another one, with a
// wire between the two. They end with the test.
func namespaces(t *testing.T) *namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces take root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("there is no ip (Debian: iproute2)")
	}
	n := &namespace{t: t, do: make(chan func())}
	ready := make(chan error)
	var thread int
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		thread = unix.Gettid()
		ready <- err
		for f := range n.do {
			f()
		}
	}()
	if err := <-ready; err != nil {
		close(n.do)
		t.Skipf("no network namespaces here: %v", err)
	}
	t.Cleanup(func() { close(n.do) })
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"link set lo up", "link add near type veth peer name far",
		"addr add " + nearAddress + "/24 dev near", "link set near up", fmt.Sprint("link set far netns ", thread)} {
		ip(t, command)
	}
	n.ip("addr add " + farAddress + "/24 dev far")
	n.ip("link set far up")
	return n
}

// ip runs ip(8) at the far end.
func (n *namespace) ip(command string) {
	n.t.Helper()
	var out []byte
	var err error
	n.run(func() { out, err = exec.Command("ip", strings.Fields(command)...).CombinedOutput() })
	if err != nil {
		n.t.Fatalf("ip %s: %v: %s", command, err, out)
	}
}

func ip(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", command, err, out)
	}
}

// run waits until the far end has done f.
func (n *namespace) run(f func()) {
	done := make(chan struct{})
	n.do <- func() { f(); close(done) }
	<-done
}

// connect dials from the far end.
func (n *namespace) connect(addr string) *rig.Client {
	n.t.Helper()
	var c *rig.Client
	var err error
	n.run(func() { c, err = rig.Dial(n.t, addr) })
	if err != nil {
		n.t.Fatal(err)
	}
	return c
}
