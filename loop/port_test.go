package loop

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestOneLostProbeIsNotTheEnd: the kernel gives up an idle connection when the user timeout has passed and one probe is
// unanswered, whatever the number of probes is set to.
func TestOneLostProbeIsNotTheEnd(t *testing.T) {
	for _, keepAlive := range []time.Duration{0, time.Second, 30 * time.Second, 2 * time.Minute} {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := tune(fd, keepAlive); err != nil {
			t.Fatal(err)
		}
		get := func(name int) int {
			v, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, name)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		all := get(unix.TCP_KEEPIDLE) + get(unix.TCP_KEEPCNT)*get(unix.TCP_KEEPINTVL)
		if ms := get(unix.TCP_USER_TIMEOUT); ms < 1000*all {
			t.Errorf("keep-alive %v: the user timeout is %d ms, all probes take %d s", keepAlive, ms, all)
		}
	}
}
