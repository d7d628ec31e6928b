package tests

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"megaphone/tests/rig"
)

// TestAttackOriginOutOfMemory: clients fill the memory of their origin until it dies. The edge makes them try again,
// and continues with the origin that replaces it.
func TestAttackOriginOutOfMemory(t *testing.T) {
	// What clients may have the origin keep is more than it has; a session may have 1 MiB.
	const limit, victims, messages, bytes = 256 * rig.MiB, 450, 4, 200_000
	cmd := exec.Command(os.Args[0], strconv.Itoa(limit), rig.Binary, "origin", "--listen", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), roleVariable+"="+roleStarved)
	origin := rig.Launch(t, cmd)
	origin.Listening()
	e := rig.Serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "a="+origin.Addr, "--reactors", "2",
		"--max-connections", "500").Linked(2)
	before := e.Memory()

	c := rig.Connect(t, e.Addr)
	writer := rig.Create(t, c)
	writer.LogIn(t, "writer", c)
	var to []string
	for i := range victims {
		victim := rig.Connect(t, e.Addr)
		to = append(to, rig.Create(t, victim).LogIn(t, fmt.Sprint("victim", i), victim))
		victim.Close() // and never comes back
	}
	filled, status := 0, 200
	for ; status == 200 && filled < victims*messages; filled++ {
		c.Send(writer.Request("<message xmlns='jabber:client' type='chat' to='"+to[filled/messages]+"'><body>"+
			strings.Repeat("x", bytes)+"</body></message>") + writer.Ping())
		if filled > 0 { // the message has released the ping before it
			status = c.Get().StatusCode
		}
		if status == 200 { // and its ping has released the message
			status = c.Get().StatusCode
		}
	}
	if status != 503 {
		t.Errorf("the last answer is %d", status)
	}
	if code := origin.Wait(); code == 0 || !strings.Contains(origin.Text(), "out of memory") {
		t.Fatalf("the origin did not die of hunger after %d messages: exit %d", filled, code)
	}
	late := rig.Connect(t, e.Addr)
	late.Send(rig.PostText(rig.CreationText("localhost")))
	if late.Get().Want(t, 503, "").Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	rig.Serve(t, "origin", "--listen", origin.Addr)
	e.Until("new links", func(n map[string]int) bool { return n["links_up"] >= 4 })
	again := rig.Connect(t, e.Addr)
	again.Send(writer.Again(""))
	again.Get().Want(t, 200, "item-not-found")
	s := rig.Create(t, again)
	s.LogIn(t, "writer", again)
	again.Send(s.Ping())
	again.Get().Want(t, 200, s.Pong())
	if m := e.Memory(); m.Most-before.Now > attackBound {
		t.Errorf("the edge grew from %v to %v", before, m)
	}
}

// starvedMain limits the memory that this process may write to, and becomes the program.
func starvedMain(args []string) int {
	n, _ := strconv.ParseUint(args[0], 10, 64)
	if err := syscall.Setrlimit(syscall.RLIMIT_DATA, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
		fmt.Println("setrlimit:", err)
		return 1
	}
	fmt.Println(syscall.Exec(args[1], args[1:], os.Environ()))
	return 1
}
