package rig

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Pairs are people who send each other numbered messages, two and two, each over a session with two connections, with
// at most two requests at a time, as browsers do it. Replies count in the order in which they arrived at the network
// interface, by the kernel's time stamps, whatever their request ids are. The order in which the connections became
// readable is nearly always the same, but a starved machine may keep back one processor's packets.
type Pairs struct {
	Addr     string   // of the BOSH endpoint
	Names    []string // of accounts; several people may share one
	Pairs    int
	Messages int // each way
	Rate     int // messages a second of each person
}

// Account is what became of the messages.
type Account struct{ Received, OutOfOrder, Twice int }

// person is one end of a pair.
type person struct {
	*Session
	jid     string
	other   *person
	conns   [2]*Client
	busy    [2]bool
	input   [2][]byte
	stamp   [2]time.Time // when the last bytes of the input arrived
	sent    int
	replies []reply
	account *Account
}

// reply is one with messages.
type reply struct {
	arrived time.Time
	numbers []int // of the messages
}

// Talk has them all send and receive every message, within a time that bounds it, and returns the account.
func (p Pairs) Talk(t testing.TB, within time.Duration) (a Account) {
	t.Helper()
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(epoll)
	people := p.gather(t, epoll, &a)
	start := time.Now()
	events := make([]unix.EpollEvent, 64)
	for a.Received < len(people)*p.Messages {
		elapsed := time.Since(start)
		if elapsed > within {
			t.Fatalf("after %s %d of %d messages have come: %+v", within, a.Received, len(people)*p.Messages, a)
		}
		due := min(p.Messages, int(elapsed.Seconds()*float64(p.Rate)))
		for _, one := range people {
			one.speak(due)
		}
		n, err := unix.EpollWait(epoll, events, 2)
		if err != nil && err != unix.EINTR {
			t.Fatal(err)
		}
		for _, e := range events[:max(n, 0)] { // in the order in which they became readable
			people[e.Fd/2].listen(t, int(e.Fd%2))
		}
	}
	for _, one := range people {
		one.review(t)
	}
	return a
}

// gather logs all people in. An event of connection i of person n has the number 2n+i. Events are edge-triggered: a
// level-triggered set keeps the place of a connection that was ready before, so it may swap two.
func (p Pairs) gather(t testing.TB, epoll int, a *Account) (people []*person) {
	t.Helper()
	for n := range 2 * p.Pairs {
		one := &person{conns: [2]*Client{Connect(t, p.Addr), Connect(t, p.Addr)}, account: a}
		one.Session = Create(t, one.conns[0])
		one.jid = one.LogIn(t, p.Names[n%len(p.Names)], one.conns[0], one.conns[1])
		if n%2 == 1 {
			one.other, people[n-1].other = people[n-1], one
		}
		for i, c := range one.conns {
			_ = c.SetDeadline(time.Time{})
			raw, err := c.SyscallConn()
			if err == nil {
				_ = raw.Control(func(fd uintptr) {
					err = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
						unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, int(fd),
							&unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(2*n + i)}))
				})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		people = append(people, one)
	}
	return people
}

// speak sends due messages if a connection is free for them, and otherwise keeps one request held.
func (o *person) speak(due int) {
	free := rand.IntN(2)
	if o.busy[free] {
		free = 1 - free
	}
	if o.busy[free] || o.sent == due && (o.busy[0] || o.busy[1]) {
		return
	}
	var text strings.Builder
	for ; o.sent < due; o.sent++ {
		fmt.Fprintf(&text, "<message xmlns='jabber:client' type='chat' to='%s'><body>number %d.</body></message>",
			o.other.jid, o.sent+1)
	}
	o.busy[free] = true
	o.conns[free].Send(o.Request(text.String()))
}

var (
	numbered      = regexp.MustCompile(`number (\d+)\.`)
	contentLength = regexp.MustCompile(`(?i)\r\ncontent-length: *(\d+)\r\n`)
)

// read reads all that is there.
func (o *person) read(t testing.TB, i int) {
	raw, err := o.conns[i].SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	buf, about := make([]byte, 64<<10), make([]byte, 128)
	for n := 1; n > 0; {
		size := 0
		_ = raw.Read(func(fd uintptr) bool {
			n, size, _, _, err = unix.Recvmsg(int(fd), buf, about, 0)
			return true
		})
		switch {
		case err == unix.EAGAIN:
			return
		case err != nil || n == 0:
			t.Fatalf("%s: the connection has ended: %v", o.jid, err)
		}
		o.input[i] = append(o.input[i], buf[:n]...)
		messages, err := unix.ParseSocketControlMessage(about[:size])
		if err != nil || len(messages) != 1 || messages[0].Header.Type != unix.SCM_TIMESTAMPNS {
			t.Fatalf("no time stamp: %v, %v", messages, err)
		}
		stamp := messages[0].Data // a struct timespec of 64-bit values
		o.stamp[i] = time.Unix(int64(binary.NativeEndian.Uint64(stamp)), int64(binary.NativeEndian.Uint64(stamp[8:])))
	}
}

// listen takes a reply that is whole.
func (o *person) listen(t testing.TB, i int) {
	o.read(t, i)
	head, body, whole := bytes.Cut(o.input[i], []byte("\r\n\r\n"))
	if !whole {
		return
	}
	m := contentLength.FindSubmatch(append(head, "\r\n"...))
	if m == nil || !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
		t.Fatalf("%s: %s", o.jid, o.input[i])
	}
	if size, _ := strconv.Atoi(string(m[1])); len(body) < size {
		return
	}
	o.busy[i] = false
	r := reply{arrived: o.stamp[i]}
	for _, m := range numbered.FindAllSubmatch(body, -1) {
		number, _ := strconv.Atoi(string(m[1]))
		r.numbers = append(r.numbers, number)
	}
	if len(r.numbers) > 0 {
		o.replies = append(o.replies, r)
		o.account.Received += len(r.numbers)
	}
	if bytes.Contains(body, []byte("type='terminate'")) {
		t.Fatalf("%s: %s", o.jid, body)
	}
	o.input[i] = o.input[i][:0]
}

// review accounts for the messages in the order of their arrival.
func (o *person) review(t testing.TB) {
	slices.SortStableFunc(o.replies, func(a, b reply) int { return a.arrived.Compare(b.arrived) })
	last, before := 0, time.Time{}
	for _, r := range o.replies {
		for _, number := range r.numbers {
			switch {
			case number == last:
				o.account.Twice++
			case number != last+1:
				o.account.OutOfOrder++
				t.Logf("%s: message %d came %s after message %d", o.jid, number, r.arrived.Sub(before), last)
			}
			last, before = number, r.arrived
		}
	}
}

// KeepBusy has other processes use the processors until the test ends, each for two minutes of processor time at most.
func KeepBusy(t testing.TB, processes int) {
	t.Helper()
	for range processes {
		Launch(t, exec.Command("sh", "-c", "ulimit -t 120; while :; do :; done"))
	}
}
