package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"megaphone/bench/spread"
)

// throughput runs closed loops of clients against each server in turn, round after round.
func throughput(servers []*child) error {
	rates, cpu := make([][]float64, len(servers)), make([][]float64, len(servers))
	for range *rounds {
		for i, s := range servers {
			n, used, err := round(s)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			rates[i] = append(rates[i], float64(n)/duration.Seconds())
			cpu[i] = append(cpu[i], used/float64(n)*1e6)
		}
	}
	fmt.Printf("Requests a second: %d connections, one request of about 300 bytes each at a time, "+
		"%d rounds of %v each,\nclients on the same cores.\n", *conns, *rounds, *duration)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "server\tmedian/s\tmin/s\tmax/s\tof bare\tserver CPU us/request\t")
	bare := spread.Of(rates[0]).Median
	for i, s := range servers {
		r := spread.Of(rates[i])
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t%.2f\t%.1f\t\n", s.name, r.Median, r.Min, r.Max, r.Median/bare,
			spread.Of(cpu[i]).Median)
	}
	return w.Flush()
}

// round is one server's turn. used is the CPU time of its processes in seconds.
func round(s *child) (n int, used float64, err error) {
	clients := make([]*client, *conns)
	for i := range clients {
		if clients[i], err = dial(s.addr); err != nil {
			return 0, 0, err
		}
		defer clients[i].Close()
		if s.name == "edge + embedded origin" {
			if err := clients[i].logIn(); err != nil {
				return 0, 0, err
			}
		}
	}
	before := cpuSeconds(s)
	var wg sync.WaitGroup
	var mu sync.Mutex
	until := time.Now().Add(*duration)
	for _, c := range clients {
		wg.Go(func() {
			k, e := c.run(until)
			mu.Lock()
			defer mu.Unlock()
			if n += k; e != nil {
				err = e
			}
		})
	}
	wg.Wait()
	return n, cpuSeconds(s) - before, err
}

// heldBytes opens connections with a held request each through a fresh edge, and prints what its memory grew by.
func heldBytes() error {
	s, err := startPair("edge", "echo")
	if err != nil {
		return err
	}
	defer s.stop()
	edge := s.cmds[1].Process.Pid
	before := memory(edge)
	clients := make([]*client, *held)
	for i := range clients {
		c, err := dial(s.addr)
		if err != nil {
			return fmt.Errorf("connection %d: %w (the limit of descriptors?)", i, err)
		}
		defer c.Close()
		clients[i] = c
		if err := c.send(" to='localhost' wait='60' hold='1'", ""); err != nil {
			return err
		}
	}
	// A last request that is answered has gone through both reactors' queues, or nearly: then all are parked.
	last, err := dial(s.addr)
	if err != nil {
		return err
	}
	defer last.Close()
	if _, err := last.ask("", pingPayload); err != nil {
		return err
	}
	grown := memory(edge) - before
	fmt.Printf("\nHeld: %d connections with one held request each. The edge's resident memory grew by %d KiB, "+
		"%d bytes a connection,\nfrom %d KiB; it has a socket of the kernel for each besides.\n",
		*held, grown>>10, grown / *held, before>>10)
	return nil
}

// cpuSeconds is the CPU time of a server's processes so far: fields 14 and 15 of /proc/PID/stat, in ticks of 10 ms.
func cpuSeconds(s *child) (sum float64) {
	for _, c := range s.cmds {
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.Process.Pid))
		_, after, _ := strings.Cut(string(data), ") ")
		f := strings.Fields(after)
		for _, i := range []int{11, 12} {
			n, _ := strconv.ParseFloat(f[i], 64)
			sum += n / 100
		}
	}
	return sum
}

// memory is the resident anonymous memory of a process in bytes.
func memory(pid int) int {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, after, _ := strings.Cut(string(data), "RssAnon:")
	n, _ := strconv.Atoi(strings.Fields(after)[0])
	return n << 10
}
