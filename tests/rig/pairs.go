package rig

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Pairs are people who send each other numbered messages, two and two, each over a session with two connections, with
// at most two requests at a time, as browsers do it. Replies are taken in the order in which they arrive, whatever
// their request ids are: as Strophe.js takes them.
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
	ready   [2]readiness
	busy    [2]bool
	input   [2][]byte
	sent    int
	last    int // number of the last message received
	account *Account
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
	return a
}

// gather logs all people in. An event of connection i of person n has the number 2n+i.
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
					one.ready[i] = readiness{epoll: epoll, fd: int(fd), number: int32(2*n + i)}
					err = one.ready[i].begin()
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

// readiness is a connection in an epoll set whose events come in the order in which the connections became readable.
// They are edge-triggered, because a level-triggered set keeps the place of a connection that was ready before.
type readiness struct {
	epoll, fd int
	number    int32
}

func (r readiness) begin() error {
	return unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, r.fd,
		&unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: r.number})
}

// renew gives up the place of a connection that has been read and to which nothing is on its way. It may have one: the
// rest of a reply that came while the first part was read makes it ready once more.
func (r readiness) renew() error {
	if err := unix.EpollCtl(r.epoll, unix.EPOLL_CTL_DEL, r.fd, nil); err != nil {
		return err
	}
	return r.begin()
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
	buf := make([]byte, 64<<10)
	for n := 1; n > 0; {
		_ = raw.Read(func(fd uintptr) bool {
			n, err = unix.Read(int(fd), buf)
			return true
		})
		switch {
		case err == unix.EAGAIN:
			return
		case err != nil || n == 0:
			t.Fatalf("%s: the connection has ended: %v", o.jid, err)
		}
		o.input[i] = append(o.input[i], buf[:n]...)
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
	if err := o.ready[i].renew(); err != nil {
		t.Fatal(err)
	}
	for _, m := range numbered.FindAllSubmatch(body, -1) {
		number, _ := strconv.Atoi(string(m[1]))
		switch {
		case number == o.last:
			o.account.Twice++
		case number != o.last+1:
			o.account.OutOfOrder++
		}
		o.last = number
		o.account.Received++
	}
	if bytes.Contains(body, []byte("type='terminate'")) {
		t.Fatalf("%s: %s", o.jid, body)
	}
	o.input[i] = o.input[i][:0]
}

// KeepBusy has other processes use the processors until the test ends, each for two minutes of processor time at most.
func KeepBusy(t testing.TB, processes int) {
	t.Helper()
	for range processes {
		Launch(t, exec.Command("sh", "-c", "ulimit -t 120; while :; do :; done"))
	}
}
