package gateway

import (
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pairs returns n sockets and the descriptors of their other ends.
func pairs(t *testing.T, n int) (near []*socket, far []int) {
	t.Helper()
	for range n {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
		near, far = append(near, &socket{fd: fds[0]}), append(far, fds[1])
	}
	return near, far
}

// waitingEntry is a call that waits on a socket in the model; call is nil if none does.
type waitingEntry struct {
	call  *call
	until int64
}

// takeLate takes all late calls, and compares them with those of the model, which are near's.
func takeLate(t *testing.T, w *waiting, model []waitingEntry, near []*socket, now int64) {
	t.Helper()
	for c, s := w.late(now); c != nil; c, s = w.late(now) {
		oldest, at := -1, -1
		for i, e := range model {
			if e.call != nil && (oldest < 0 || e.until < model[oldest].until) {
				oldest = i
			}
			if e.call == c {
				at = i
			}
		}
		if until := model[oldest].until; until > now {
			t.Fatalf("late at %d, its time is %d", now, until)
		}
		if at < 0 || near[at] != s || model[at].until != model[oldest].until {
			t.Fatal("late before an older one, or not waiting")
		}
		model[at] = waitingEntry{}
	}
	for _, e := range model {
		if e.call != nil && e.until <= now {
			t.Fatal("a late call still waits")
		}
	}
}

// TestWaitingModel: calls wait, get replies, are interrupted and become late in random order. Each leaves once, for the
// reason that the model has.
func TestWaitingModel(t *testing.T) {
	const sockets = 40
	clean(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	begun := make(chan *call, sockets)
	w, err := newWaiting(slog.Default(), func(c *call, _ *socket) { begun <- c })
	if err != nil {
		t.Fatal(err)
	}
	near, far := pairs(t, sockets)
	model := make([]waitingEntry, sockets)
	now := int64(0)
	for range 5_000 {
		i := random.IntN(sockets)
		now += random.Int64N(3)
		e := &model[i]
		switch {
		case e.call == nil:
			*e = waitingEntry{&call{}, now + 100}
			if err := w.add(e.call, near[i], e.until); err != nil {
				t.Fatal(err)
			}
		case random.IntN(2) == 0: // another call on this socket must not be interrupted for it
			if c, _ := w.take(near[i].fd, &call{}); c != nil {
				t.Fatal("the wrong call was taken")
			}
			if c, s := w.take(near[i].fd, e.call); c != e.call || s != near[i] {
				t.Fatal("an interrupted call did not wait")
			}
			*e = waitingEntry{}
		default:
			if _, err := unix.Write(far[i], []byte("x")); err != nil {
				t.Fatal(err)
			}
			select {
			case c := <-begun:
				if c != e.call {
					t.Fatal("the reply to another call has begun")
				}
			case <-time.After(patience):
				t.Fatal("no reply has begun")
			}
			if c, _ := w.take(near[i].fd, nil); c != nil {
				t.Fatal("it still waits")
			}
			if _, err := unix.Read(near[i].fd, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			*e = waitingEntry{}
		}
		takeLate(t, w, model, near, now)
	}
	for i, e := range model {
		if e.call != nil {
			w.take(near[i].fd, e.call)
		}
	}
	if w.slots[0].next != 0 || w.slots[0].prev != 0 {
		t.Error("the list is not empty")
	}
	w.close()
}

// TestWaitingSeesAnEnd: a socket that its endpoint closes is a reply that begins, like any other.
func TestWaitingSeesAnEnd(t *testing.T) {
	clean(t)
	begun := make(chan *call, 1)
	w, err := newWaiting(slog.Default(), func(c *call, _ *socket) { begun <- c })
	if err != nil {
		t.Fatal(err)
	}
	near, far := pairs(t, 1)
	want := &call{}
	if err := w.add(want, near[0], 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Shutdown(far[0], unix.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	select {
	case c := <-begun:
		if c != want {
			t.Error("another call")
		}
	case <-time.After(patience):
		t.Error("no event")
	}
	w.close()
}
