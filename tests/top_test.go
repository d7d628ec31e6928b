package tests

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"megaphone/tests/rig"
)

// terminal makes a pseudo-terminal of a size.
func terminal(t *testing.T, columns uint16) (master, slave *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	master = os.NewFile(uintptr(fd), "ptmx")
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	resize(t, master, columns)
	return master, slave
}

func resize(t *testing.T, master *os.File, columns uint16) {
	t.Helper()
	size := unix.Winsize{Row: 40, Col: columns}
	if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &size); err != nil {
		t.Fatal(err)
	}
}

func mode(t *testing.T, slave *os.File) *unix.Termios {
	t.Helper()
	was, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return was
}

// TestTopInATerminal: q, Ctrl-C and SIGTERM end top, and the terminal is left as it was each time. It follows the
// terminal's size.
func TestTopInATerminal(t *testing.T) {
	edge := rig.Serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "a=127.0.0.1:1", "--admin", "127.0.0.1:0",
		"--max-connections", "100")
	at := edge.Line(0, "admin started")
	_, at, _ = strings.Cut(at, "address=")
	for name, end := range map[string]func(p *os.Process, master *os.File){
		"q":       func(_ *os.Process, master *os.File) { _, _ = master.WriteString("q") },
		"Ctrl-C":  func(_ *os.Process, master *os.File) { _, _ = master.WriteString("\x03") },
		"SIGTERM": func(p *os.Process, _ *os.File) { _ = p.Signal(syscall.SIGTERM) },
	} {
		t.Run(name, func(t *testing.T) {
			master, slave := terminal(t, 100)
			before := mode(t, slave)
			cmd := exec.Command(rig.Binary, "top", "--admin", strings.TrimSpace(at), "--interval", "100ms")
			cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lost := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
			defer lost.Stop()
			seen := bufio.NewReader(master)
			until(t, seen, "PING P50")
			if reflect.DeepEqual(mode(t, slave), before) {
				t.Error("keys are not read as they are pressed")
			}
			resize(t, master, 40)
			until(t, seen, "HELD  CREATE P99\r\n")
			end(cmd.Process, master)
			if err := cmd.Wait(); err != nil {
				t.Errorf("top ended with %v", err)
			}
			if got := mode(t, slave); !reflect.DeepEqual(got, before) {
				t.Errorf("the terminal is %+v, and was %+v", got, before)
			}
		})
	}
}

// TestDemoNamesCommandsThatRun: what the demo says to type shows this demo, whatever its port and wherever the program.
func TestDemoNamesCommandsThatRun(t *testing.T) {
	demo := rig.Serve(t, "demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	command := strings.TrimSpace(demo.Line(0, " top --admin 127.0.0.1:"))
	said, err := exec.Command("/bin/sh", "-c", command+" --once --interval 100ms").CombinedOutput()
	if err != nil || !strings.Contains(string(said), "embedded") {
		t.Errorf("%s: %v, %s", command, err, said)
	}
}

// until reads on until a line has some text.
func until(t *testing.T, in *bufio.Reader, text string) {
	t.Helper()
	for {
		line, err := in.ReadString('\n')
		if strings.Contains(line, text) {
			return
		}
		if err != nil {
			t.Fatalf("no %q: %v", text, err)
		}
	}
}
