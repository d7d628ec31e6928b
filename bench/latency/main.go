// Command latency measures how soon a demo that has little to do answers: session creations one after the other, at
// random pauses, over one kept connection or over a fresh one each. Given several binaries it takes turns with them and
// prints a Markdown table.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"megaphone/bench/children"
	"megaphone/internal/typed"
)

var (
	binaries = flag.String("binaries", "bin/megaphone", "megaphone `files`, comma-separated: they take turns")
	rounds   = number("rounds", 5, "rounds")
	count    = number("count", 500, "creations a round, over each kind of connection")
	pause    = flag.Duration("pause", 3*time.Millisecond, "mean pause between two")
)

// late is longer than a client should wait on an idle machine: half the time after which sysmon looks at idle slots.
const late = 5 * time.Millisecond

// number makes a flag for a whole number.
func number(name string, value int, usage string) *int {
	n := new(int)
	flag.Var(typed.IntOr(n, value), name, usage)
	return n
}

func main() {
	flag.Parse()
	children.Guard()
	if err := run(strings.Split(*binaries, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "latency:", err)
		os.Exit(1)
	}
}

func run(binaries []string) error {
	kinds := []string{"kept", "fresh"}
	took := map[string][]time.Duration{}
	for range *rounds {
		for _, binary := range binaries {
			for _, kind := range kinds {
				d, err := measure(binary, kind == "kept")
				if err != nil {
					return fmt.Errorf("%s: %w", binary, err)
				}
				took[binary+kind] = append(took[binary+kind], d...)
			}
		}
	}
	fmt.Printf("| binary | connection | p50 | p90 | p99 | most | over %s |\n|---|---|---|---|---|---|---|\n", late)
	for _, binary := range binaries {
		for _, kind := range kinds {
			d := took[binary+kind]
			slices.Sort(d)
			at := func(share float64) time.Duration {
				return d[int(share*float64(len(d)-1))].Round(10 * time.Microsecond)
			}
			first, _ := slices.BinarySearch(d, late)
			fmt.Printf("| %s | %s | %s | %s | %s | %s | %d of %d |\n", binary, kind, at(.5), at(.9), at(.99), at(1),
				len(d)-first, len(d))
		}
	}
	return nil
}

var listening = regexp.MustCompile(`listening on (\S+)`)

// measure starts a demo and returns how long each creation took.
func measure(binary string, keep bool) ([]time.Duration, error) {
	demo := exec.Command(binary, "demo", "--listen", "127.0.0.1:0", "--admin", "off")
	out, err := demo.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := demo.Start(); err != nil {
		return nil, err
	}
	defer func() {
		_ = demo.Process.Kill()
		_ = demo.Wait()
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	at := listening.FindStringSubmatch(line)
	if err != nil || at == nil {
		return nil, fmt.Errorf("the demo says %q: %w", line, err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: !keep}, Timeout: 10 * time.Second}
	var took []time.Duration
	for n := range *count {
		d, err := create(client, "http://"+at[1]+"/http-bind", n)
		if err != nil {
			return nil, err
		}
		took = append(took, d)
		time.Sleep(time.Duration(rand.Int64N(2*int64(*pause) + 1)))
	}
	return took, nil
}

// create opens a session and returns how long that took.
func create(client *http.Client, url string, n int) (time.Duration, error) {
	body := fmt.Sprintf("<body rid='%d' to='localhost' ver='1.6' wait='60' hold='1' "+
		"xmlns='http://jabber.org/protocol/httpbind'/>", 1000+n)
	start := time.Now()
	response, err := client.Post(url, "text/xml", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	reply, err := io.ReadAll(response.Body)
	took := time.Since(start)
	if err == nil && !strings.Contains(string(reply), " sid=") {
		err = errors.New("no session: " + string(reply))
	}
	return took, err
}
