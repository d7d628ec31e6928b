package tests

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// crowd is a process of many clients, each with a connection and a session of its own. It obeys its standard input:
//
//	hold        connect, open a session, and send a request that its origin holds; "ok" when all have sent theirs
//	terminate   end the sessions over the same connections, behind the held requests, and wait for both answers; "ok"
//	close       close the connections, as browsers do whose user leaves; "ok"
type crowd struct{ *rig.Process }

const (
	// crowdAddresses is how many source addresses a crowd spreads over: an address has no more ports than 28,232
	// (net.ipv4.ip_local_port_range), and looking for a free one takes long when most are taken.
	crowdAddresses = 8
	// crowdWorkers connect at the same time.
	crowdWorkers = 32
)

// newCrowd starts crowd number i, of n clients of addr.
func newCrowd(t testing.TB, i, n int, addr string) *crowd {
	t.Helper()
	cmd := exec.Command(os.Args[0], addr, strconv.Itoa(n), strconv.Itoa(1+i*crowdAddresses))
	cmd.Env = append(os.Environ(), roleVariable+"="+roleCrowd)
	return &crowd{rig.Launch(t, cmd)}
}

// tell gives an order; obeyed waits until it has been carried out.
func (k *crowd) tell(order string) (obeyed func()) {
	k.T.Helper()
	from := k.Said()
	if _, err := io.WriteString(k.In, order+"\n"); err != nil {
		k.T.Fatal(err)
	}
	return func() {
		k.T.Helper()
		if got := k.Line(from, " "); got != "ok "+order {
			k.T.Fatalf("crowd: %s", got)
		}
	}
}

// crowdMain is the crowd's own process.
func crowdMain(args []string) int {
	n, _ := strconv.Atoi(args[1])
	first, _ := strconv.Atoi(args[2])
	members := make([]member, n)
	for i := range members {
		members[i].from = fmt.Sprintf("127.0.1.%d:0", first+i%crowdAddresses)
		members[i].to = args[0]
	}
	orders := map[string]func(m *member) error{
		"hold": (*member).hold, "terminate": (*member).terminate, "close": (*member).close,
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if err := forAll(members, orders[in.Text()]); err != nil {
			fmt.Println("failed:", err)
			return 1
		}
		fmt.Println("ok", in.Text())
	}
	return 0
}

// forAll has a few workers do something with all members, and returns the first error.
func forAll(members []member, do func(m *member) error) (first error) {
	var wg sync.WaitGroup
	var once sync.Once
	for w := range crowdWorkers {
		wg.Go(func() {
			for i := w; i < len(members); i += crowdWorkers {
				if err := do(&members[i]); err != nil {
					once.Do(func() { first = fmt.Errorf("client %d of %d: %w", i, len(members), err) })
					return
				}
			}
		})
	}
	wg.Wait()
	return first
}

// member is one of a crowd's clients.
type member struct {
	from, to string
	conn     net.Conn
	session  rig.Session
}

func (m *member) hold() error {
	local, err := net.ResolveTCPAddr("tcp", m.from)
	if err != nil {
		return err
	}
	dialer := net.Dialer{LocalAddr: local, Timeout: rig.Patience, KeepAlive: -1}
	if m.conn, err = dialer.Dial("tcp", m.to); err != nil {
		return err
	}
	if err := m.send(rig.PostText(rig.CreationText("localhost"))); err != nil {
		return err
	}
	text, err := m.read(m.reader())
	if err != nil {
		return fmt.Errorf("creation: %w", err)
	}
	found := rig.SIDPattern.FindStringSubmatch(text)
	if found == nil {
		return fmt.Errorf("no sid in %q", text)
	}
	m.session = rig.Session{SID: found[1], RID: 1000}
	return m.send(m.session.Request(""))
}

func (m *member) terminate() error {
	if err := m.send(m.session.End()); err != nil {
		return err
	}
	r := m.reader()
	text := ""
	for range 2 {
		more, err := m.read(r)
		if err != nil {
			return fmt.Errorf("terminate: %w", err)
		}
		text += more
	}
	if !strings.Contains(text, "type='terminate'") {
		return fmt.Errorf("not terminated: %q", text)
	}
	return m.conn.Close()
}

func (m *member) close() error { return m.conn.Close() }

func (m *member) send(s string) error {
	_ = m.conn.SetDeadline(time.Now().Add(rig.Patience))
	_, err := io.WriteString(m.conn, s)
	return err
}

// reader is for one exchange: nothing is ever behind the answers that a member waits for.
func (m *member) reader() *bufio.Reader { return bufio.NewReaderSize(m.conn, 1024) }

func (m *member) read(r *bufio.Reader) (string, error) {
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != 200 {
		err = errors.New(resp.Status)
	}
	return string(text), err
}

// limited is a command under a lower limit of descriptors. The limit must be there when the program starts: an edge
// reads it once, and nothing but the program itself can lower it before.
func limited(limit int, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], append([]string{strconv.Itoa(limit), name}, args...)...)
	cmd.Env = append(os.Environ(), roleVariable+"="+roleLimited)
	return cmd
}

// limitedMain lowers the limit, for good, and becomes the program.
func limitedMain(args []string) int {
	n, _ := strconv.ParseUint(args[0], 10, 64)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
		fmt.Println("setrlimit:", err)
		return 1
	}
	fmt.Println(syscall.Exec(args[1], args[1:], os.Environ()))
	return 1
}
