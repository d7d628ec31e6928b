//go:build sim

package sim

import (
	"cmp"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"megaphone/loop/sys"
)

// seeds returns the first and the last seed of SIM_SEEDS, N or N-M. single is set for N.
func seeds(t *testing.T) (first, last uint64, single bool) {
	text := cmp.Or(os.Getenv("SIM_SEEDS"), "1-100000000")
	low, high, isRange := strings.Cut(text, "-")
	first, err := strconv.ParseUint(low, 10, 64)
	last = first
	if err == nil && isRange {
		last, err = strconv.ParseUint(high, 10, 64)
	}
	if err != nil || last < first {
		t.Fatalf("SIM_SEEDS is %q, not N or N-M", text)
	}
	return first, last, !isRange
}

// TestSeeds runs the seeds SIM_SEEDS, for SIM_TIME at most.
func TestSeeds(t *testing.T) {
	first, last, single := seeds(t)
	patience, err := time.ParseDuration(cmp.Or(os.Getenv("SIM_TIME"), "1000h"))
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("SIM_SEEDS")+os.Getenv("SIM_TIME") == "" {
		last = 100
	}
	if n, err := strconv.Atoi(os.Getenv("SIM_TRACE")); err == nil {
		HistoryLines = n
	}
	var sum Result
	n, began := 0, time.Now()
	for seed := first; seed <= last && time.Since(began) < patience; seed++ {
		r, f := Run(seed)
		n++
		sum.add(&r)
		if f != nil {
			t.Errorf("%v\n%s", f, f.Trace)
			if single {
				f = shrink(f, time.Minute, func(change func(s *swarm)) *Failure {
					_, f := run(seed, change)
					return f
				})
				t.Errorf("a smaller history: %v\n%s", f, f.Trace)
			}
			break
		}
		if single {
			t.Logf("%+v", r)
		}
	}
	t.Logf("%d seeds in %.1f s, %.1f simulated hours, %.1f per minute of CPU: %+v", n, time.Since(began).Seconds(),
		sum.Time.Hours(), sum.Time.Hours()/cpu(t).Minutes(), sum)
}

// TestShrinkKeepsTheCause: a history that fails because of two things is left with these.
func TestShrinkKeepsTheCause(t *testing.T) {
	var left swarm
	shrink(&Failure{}, time.Minute, func(change func(s *swarm)) *Failure {
		s := draw(sys.NewKernel(3))
		s.troubles, s.troubleEvery, s.faults.Again, s.numClients = slices.Clone(allTroubles), time.Second, 0.5, 20
		if change(&s); s.faults.Again == 0 || !slices.Contains(s.troubles, "reload") || s.numClients < 4 {
			return nil
		}
		left = s
		return &Failure{}
	})
	want := sys.Faults{Again: 0.5, Latency: left.faults.Latency}
	if left.faults != want || !slices.Equal(left.troubles, []string{"reload"}) || left.numClients != 5 ||
		left.numSites+left.numOrigins+left.reactors != 3 || left.pestEvery != 0 {
		t.Errorf("left are %+v", left)
	}
}

// cpu returns the processor time of this process.
func cpu(t *testing.T) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestOneSeedIsOneHistory: each run of a seed takes the same steps.
func TestOneSeedIsOneHistory(t *testing.T) {
	for seed := uint64(1); seed <= 20; seed++ {
		a, _ := Run(seed)
		b, _ := Run(seed)
		if a != b {
			t.Errorf("seed %d: %+v, then %+v", seed, a, b)
		}
	}
}
