package edge

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"megaphone/codec/http1"
	"megaphone/stats"
)

// statusRow is a row of the table of statuses in BOSH.md.
type statusRow struct {
	name, statuses, fault, strophe string
	test                           string
}

func statusRows(t *testing.T) (rows []statusRow) {
	t.Helper()
	text, err := os.ReadFile("../BOSH.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), "| row | status | fault |")
	if !found {
		t.Fatal("BOSH.md has no table of statuses")
	}
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, "#") {
			break
		}
		cells := strings.Split(line, "|")
		if len(cells) < 11 || strings.HasPrefix(cells[1], "-") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, statusRow{cells[1], cells[2], cells[3], cells[5], cells[9]})
	}
	return rows
}

// strophe returns what Strophe.js 5 does with the request that a status answers (_onRequestStateChange in its bosh.ts).
func strophe(status string) string {
	n, err := strconv.Atoi(status)
	switch {
	case status == "closed", err == nil && n >= 500:
		return "again"
	case n >= 400:
		return "ends"
	case n == 200, n == 100:
		return "takes it"
	}
	return "loses it"
}

// TestStatusTable checks the table's own rule: a transient condition is never answered with a status that ends a
// session.
func TestStatusTable(t *testing.T) {
	listed := map[string]bool{}
	for _, r := range statusRows(t) {
		for status := range strings.SplitSeq(r.statuses, ", ") {
			listed[status] = true
			if got := strophe(status); got != r.strophe {
				t.Errorf("%s: with %s Strophe.js %q, not %q", r.name, status, got, r.strophe)
			}
		}
		switch {
		case r.fault != "passing" && r.fault != "lasting" && r.fault != "none":
			t.Errorf("%s: fault %q", r.name, r.fault)
		case r.fault == "passing" && r.strophe != "again":
			t.Errorf("%s: a transient condition is answered with %s", r.name, r.statuses)
		}
		if (r.test == "`TestStatuses`") != (statusTests[r.name] != nil) {
			t.Errorf("%s: its test is said to be %s, and TestStatuses has it: %v", r.name, r.test,
				statusTests[r.name] != nil)
		}
	}
	for _, e := range http1.Errors {
		if !listed[strconv.Itoa(e.Status)] {
			t.Errorf("%d is in no row", e.Status)
		}
	}
	f := newFixed(Config{}.values(t), nil)
	for _, d := range []document{f.about, f.notFound, f.method, f.readOnly, f.encoding, f.lengthRequired, f.late,
		f.busy} {
		status := strings.Fields(string(d.head.Append(nil, 0, http1.ConnectionDefault, nil)))[1]
		if !listed[status] {
			t.Errorf("%s is in no row", status)
		}
	}
}

// TestStatuses runs the edge's rows, and compares the statuses.
func TestStatuses(t *testing.T) {
	rows := statusRows(t)
	for name, meet := range statusTests {
		t.Run(name, func(t *testing.T) {
			i := slices.IndexFunc(rows, func(r statusRow) bool { return r.name == name })
			if i < 0 {
				t.Fatal("no row of BOSH.md")
			}
			if got := strings.Join(meet(t), ", "); got != rows[i].statuses {
				t.Fatalf("got %s, BOSH.md says %s", got, rows[i].statuses)
			}
		})
	}
}

// outcome is the status of a client's next response; "closed" when there is none.
func (c *client) outcome() string {
	c.t.Helper()
	r, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return "closed"
	}
	_, _ = io.Copy(io.Discard, r.Body)
	return strconv.Itoa(r.StatusCode)
}

// sends tests a row with clients that send texts to an edge with one origin, and lets time pass.
func sends(set func(c *Config), ticks int, texts ...string) func(t *testing.T) []string {
	return func(t *testing.T) (got []string) {
		for _, text := range texts {
			e, _ := one(t, set)
			c := connect(t, e)
			c.send(text)
			if ticks > 0 {
				c.taken(e)
				e.advance(ticks)
			}
			if s := c.outcome(); !slices.Contains(got, s) {
				got = append(got, s)
			}
		}
		return got
	}
}

func markedSessions(c *Config) { c.Tags, c.PingTimeout = "on", time.Hour }

func patient(c *Config) { c.PingTimeout = time.Hour }

// postWith returns a POST with other header lines, and without a length if they have none.
func postWith(lines, body string) string {
	return "POST /http-bind HTTP/1.1\r\nHost: h\r\n" + lines + "\r\n" + body
}

var statusTests = map[string]func(t *testing.T) []string{
	"unknown-session": sends(markedSessions, 0, postText(empty("s1", 1))),
	"old-client":      sends(markedSessions, 0, postText("<nonsense/>"), postText(empty("s1.00000000l", 1))),
	"bad-body":        sends(nil, 0, postText("<body sid='s1' "+ns+"/>"), postText("<body ver='1.6' "+ns+"/>")),
	"malformed": sends(nil, 0, "POST /http-bind HTTP/1.1\r\nnonsense\r\n\r\n",
		postWith("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "")),
	"other-path":  sends(nil, 0, "POST /other HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"),
	"method":      sends(nil, 0, "PUT /http-bind HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"),
	"no-length":   sends(nil, 0, postWith("", "")),
	"compressed":  sends(nil, 0, postText(empty("s1", 1), "Content-Encoding: gzip\r\n")),
	"expectation": sends(nil, 0, postText(empty("s1", 1), "Expect: a-reply\r\n")),
	"long-line":   sends(nil, 0, "POST /"+strings.Repeat("x", 5000)+" HTTP/1.1\r\n\r\n"),
	"large-head":  sends(nil, 0, postText(empty("s1", 1), "X: "+strings.Repeat("x", 20_000)+"\r\n")),
	"coding":      sends(nil, 0, postWith("Transfer-Encoding: gzip, chunked\r\n", "")),
	"version":     sends(nil, 0, "POST /http-bind HTTP/2.0\r\n\r\n"),
	"large-body": sends(nil, 0, postWith("Content-Length: 9999999\r\n", ""),
		postWith("Transfer-Encoding: chunked\r\n", "fffff\r\n")),
	"late-head": sends(patient, 101, "POST /http-bind HTTP/1.1\r\nHos"),
	"late-body": sends(patient, 301, postWith("Content-Length: 99\r\n", ""),
		postWith("Content-Length: 99\r\n", "<body sid='s1' rid='1' "),
		postWith("Transfer-Encoding: chunked\r\n", "5\r\n<bo")),
	"continue": sends(nil, 0, postWith("Content-Length: 99\r\nExpect: 100-continue\r\n", "")),
	"idle":     sends(func(c *Config) { patient(c); c.IdleTimeout = time.Second }, 10, "\r\n"),
	"reply": func(t *testing.T) []string {
		e, l := one(t, nil)
		c := connect(t, e)
		c.post(empty("s1", 1))
		l.reply(l.next().id, "<body/>")
		return []string{c.outcome()}
	},
	"pages": sends(nil, 0, "GET /http-bind HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"),
	"too-often": func(t *testing.T) []string {
		e, l := one(t, func(c *Config) { c.AddressRequestRate, c.AddressRequestBurst = 1, 1 })
		c := connect(t, e)
		c.post(empty("s1", 1))
		l.reply(l.next().id, "<body/>")
		c.outcome()
		c.post(empty("s1", 2))
		return []string{c.outcome()}
	},
	"creations-too-often": func(t *testing.T) []string {
		e, l := one(t, func(c *Config) { c.AddressRequestRate, c.AddressRequestBurst = 1, 1 })
		c := connect(t, e)
		c.post(empty("s1", 1))
		l.reply(l.next().id, "<body/>")
		c.outcome()
		c.post(creation("ver='1.6'"))
		return []string{c.outcome()}
	},
	"creation-not-answered": func(t *testing.T) []string {
		e, l := one(t, func(c *Config) { patient(c); c.CreateTimeout = 2 * time.Second })
		c := connect(t, e)
		c.post(creation("ver='1.6'"))
		l.next()
		e.advance(20)
		return []string{c.outcome()}
	},
	"no-room": func(t *testing.T) []string {
		e, l := few(t, func(c *Config) { c.CreateWait, c.MaxWaitingCreations = time.Second, 1 })
		for range 2 {
			connect(t, e).post(creation("ver='1.6'"))
			l.next()
		}
		c := connect(t, e)
		c.post(creation("ver='1.6'"))
		waitingNow(t, e, 1)
		busy := connect(t, e)
		busy.post(creation("ver='1.6'"))
		atOnce := busy.outcome()
		e.advance(10)
		if late := c.outcome(); late != atOnce {
			return []string{atOnce, late}
		}
		return []string{atOnce}
	},
	"origin-away": func(t *testing.T) []string {
		o := newFakeOrigin(t, "a")
		e := startEdge(t, nil, o)
		l := o.link()
		until(t, e, stats.LinksUp, 1)
		c := connect(t, e)
		c.post(empty("s1", 1))
		l.next()
		o.l.Close()
		l.Close()
		awaiting(t, e, 1)
		e.advance(1)
		held := c.outcome()
		c.post(empty("s1", 2))
		awaiting(t, e, 1)
		e.advance(100)
		if again := c.outcome(); again != held {
			return []string{held, again}
		}
		return []string{held}
	},
	"origin-gone": func(t *testing.T) []string {
		o := newFakeOrigin(t, "a")
		o.l.Close()
		e := startEdge(t, nil, o)
		e.advance(310)
		c := connect(t, e)
		c.post(empty("s1", 1))
		return []string{c.outcome()}
	},
	"not-answered": func(t *testing.T) []string {
		e, l := one(t, func(c *Config) { patient(c); c.HoldTimeout = 20 * time.Second })
		c := connect(t, e)
		c.post(empty("s1", 1))
		l.next()
		e.advance(200)
		return []string{c.outcome()}
	},
	"drain": func(t *testing.T) []string {
		e, l := one(t, func(c *Config) { c.DrainJitter, c.DrainTimeout = time.Second, 4*time.Second })
		c := connect(t, e)
		c.post(empty("s1", 1))
		l.next()
		drain(t, e, context.Background())
		e.advance(40)
		return []string{c.outcome()}
	},
	"over-budget": func(t *testing.T) []string {
		e, _ := one(t, func(c *Config) { c.MaxBufferedBytes = 256 << 10 })
		c := connect(t, e)
		for sent := 0; sent < 250_000; sent += 1000 {
			text := strings.Repeat("x", 1000)
			if sent == 0 {
				text = fmt.Sprintf("POST /http-bind HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", 260_000)
			}
			if _, err := c.Write([]byte(text)); err != nil {
				break
			}
		}
		return []string{c.outcome()}
	},
}
