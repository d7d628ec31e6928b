package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// shortBody is what wrk sends, about what a client does that polls. The origin echoes it.
const shortBody = "<body rid='1573741820' sid='a4d1c9f2b37e08d65a91' xmlns='http://jabber.org/protocol/httpbind'/>"

// writeScripts writes what makes wrk post: over connections that are kept, and over a new one for each request.
func writeScripts(dir string) error {
	for name, header := range map[string]string{"keep.lua": "keep-alive", "close.lua": "close"} {
		text := fmt.Sprintf("wrk.method = 'POST'\nwrk.body = [[%s]]\nwrk.headers['Content-Type'] = '%s'\n"+
			"wrk.headers['Connection'] = '%s'\n", shortBody, textXML, header)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// measured is what a run of wrk has come to.
type measured struct {
	perSecond float64
	p99Millis float64
	server    float64 // CPU seconds for 100,000 requests: the server's
	origin    float64 // and the origin's
	errors    int     // requests without a good answer
}

var (
	requestsPattern = regexp.MustCompile(`(?m)^\s*(\d+) requests in ([0-9.]+)(ms|s|m)`)
	p99Pattern      = regexp.MustCompile(`(?m)^\s*99%\s+([0-9.]+)(us|ms|s|m)\s*$`)
	socketPattern   = regexp.MustCompile(`Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
	statusPattern   = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
)

// ask runs wrk with a script.
func (r *running) ask(ctx context.Context, o *options, b *back, path, script string, connections int) (
	m measured, err error) {
	pids := r.pids()
	scheme := "http://"
	if r.tls {
		scheme = "https://"
	}
	server, origin := cpuOfAll(pids), cpuOf(b.cmd.Process.Pid)
	seconds := strconv.Itoa(int(o.duration.Round(time.Second).Seconds()))
	cmd := exec.CommandContext(ctx, "wrk", "-t2", "-c"+strconv.Itoa(connections), "-d"+seconds+"s", "--timeout", "10s",
		"--latency", "-s", filepath.Join(o.dir, script), scheme+r.addr+path)
	cmd.WaitDelay = time.Second // when wrk was ended, what it has started may still have its output
	out, err := cmd.CombinedOutput()
	if err != nil {
		return m, fmt.Errorf("wrk: %w: %s", err, out)
	}
	server, origin = cpuOfAll(pids)-server, cpuOf(b.cmd.Process.Pid)-origin
	return m, m.read(string(out), server, origin)
}

func (m *measured) read(out string, server, origin float64) error {
	n, p99 := requestsPattern.FindStringSubmatch(out), p99Pattern.FindStringSubmatch(out)
	if n == nil || p99 == nil {
		return fmt.Errorf("wrk says: %s", out)
	}
	requests, _ := strconv.ParseFloat(n[1], 64)
	m.perSecond = requests / (millis(n[2], n[3]) / 1000)
	m.p99Millis = millis(p99[1], p99[2])
	for _, pattern := range []*regexp.Regexp{socketPattern, statusPattern} {
		for i, text := range pattern.FindStringSubmatch(out) {
			if i > 0 {
				k, _ := strconv.Atoi(text)
				m.errors += k
			}
		}
	}
	if requests == 0 {
		return fmt.Errorf("not one request was answered: %s", out)
	}
	m.server, m.origin = server/requests*1e5, origin/requests*1e5
	return nil
}

// p99 is the 99th percentile of times, in milliseconds.
func p99(times []time.Duration) float64 {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return float64(times[(len(times)-1)*99/100]) / 1e6
}

func millis(number, unit string) float64 {
	x, _ := strconv.ParseFloat(number, 64)
	return x * map[string]float64{"us": 0.001, "ms": 1, "s": 1000, "m": 60_000}[unit]
}
