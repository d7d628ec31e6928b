package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"megaphone/admin"
	"megaphone/stats"
)

// busy returns an edge with large figures everywhere.
func busy() *admin.Status {
	s := &admin.Status{Name: "edge-1.example.org", Version: "v1.2.3-45-gabcdef0", Time: 2, UptimeSeconds: 12_345_678,
		Reasons: []string{"no link to an origin is up", "draining"}, Connections: 1_000_000, Holds: 1_000_000}
	s.Limits.MaxConnections = 16 << 20
	s.Counts[stats.Requests], s.Counts[stats.Accepted] = 123_456_789, 1_234_567
	s.Memory.Resident, s.Memory.Heap, s.Descriptors.Open = 8<<30, 1<<30, 1_004_096
	for _, r := range stats.Refusals() {
		s.Refusals = append(s.Refusals, admin.RefusalCount{Reason: r.Reason, What: r.What, Count: 1_234_567})
	}
	s.Origins = []admin.OriginStatus{{Name: "origin-1", Address: "origin-1.example.org:5279", LinksUp: 56, Links: 56,
		Draining: true, Held: 1_000_000, Unsent: 123_456_789}, {Name: "b", Address: "[2001:db8::1]:5279"}}
	return s
}

// TestTopFits: from 40 columns on every line fits, and the most important figures are there.
func TestTopFits(t *testing.T) {
	for columns := 40; columns <= 160; columns++ {
		look := topText(busy(), &admin.Status{Time: 1}, columns)
		for line := range strings.Lines(look) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > columns {
				t.Errorf("%d of %d columns: %s", n, columns, line)
			}
		}
		for _, want := range []string{"READY:", "held ", "requests/s ", "memory ", "refused/s ", "ORIGIN", "origin-1",
			"56/56 draining", "HELD", "REFUSED", stats.NotFound.Row().Refusal.Reason, "1,234,567"} {
			if !strings.Contains(look, want) {
				t.Errorf("%d columns: no %q in\n%s", columns, want, look)
			}
		}
		if wide := strings.Contains(look, "PING P50") && strings.Contains(look, "ADDRESS"); columns >= 100 && !wide {
			t.Errorf("%d columns have room for all:\n%s", columns, look)
		}
	}
}

// TestTopOfTLS: an edge with clients by TLS shows their handshakes, and one without shows nothing of TLS.
func TestTopOfTLS(t *testing.T) {
	now, before := busy(), &admin.Status{Time: 1}
	if look := topText(now, before, 120); strings.Contains(look, "full TLS/s") {
		t.Errorf("TLS without clients by TLS:\n%s", look)
	}
	now.Counts[stats.TLSStarted], now.Counts[stats.TLSFull], now.Counts[stats.TLSWaiting] = 9000, 7123, 321
	for columns := 40; columns <= 160; columns++ {
		look := topText(now, before, columns)
		for line := range strings.Lines(look) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > columns {
				t.Errorf("%d of %d columns: %s", n, columns, line)
			}
		}
		for _, want := range []string{"full TLS/s", "7,123", "resumed/s", "failed/s", "under way", "waiting", "321"} {
			if !strings.Contains(look, want) {
				t.Errorf("%d columns: no %q in\n%s", columns, want, look)
			}
		}
	}
}

// TestScreenCuts: a terminal gets no line that it would wrap, and no more lines than rows.
func TestScreenCuts(t *testing.T) {
	const look = "0123456789\nab\nc\n"
	for _, c := range []struct {
		columns, rows int
		raw           bool
		want          string
	}{
		{10, 4, true, "0123456789\r\nab\r\nc\r\n"},
		{4, 4, false, "0123\nab\nc\n"},
		{4, 3, true, "0123\r\nab\r\n"},
		{1, 2, true, "0\r\n"},
	} {
		var out bytes.Buffer
		s := &screen{out: &out, terminal: true, raw: c.raw, columns: c.columns, rows: c.rows}
		if err := s.draw(look); err != nil || out.String() != clearScreen+c.want {
			t.Errorf("%+v: %q, %v", c, out.String(), err)
		}
	}
	var pipe bytes.Buffer
	if err := (&screen{out: &pipe, columns: 4}).draw(look); err != nil || pipe.String() != look {
		t.Errorf("a pipe gets %q, %v", pipe.String(), err)
	}
}

// TestScreenMeasures: a size that is unavailable or zero leaves the last one.
func TestScreenMeasures(t *testing.T) {
	s := &screen{columns: 80, rows: 24}
	for _, c := range []struct {
		columns, rows int
		err           error
		want          int
	}{{100, 30, nil, 100}, {0, 0, nil, 100}, {50, 20, errors.New("gone"), 100}, {50, 20, nil, 50}} {
		s.size = func() (int, int, error) { return c.columns, c.rows, c.err }
		if s.measure(); s.columns != c.want {
			t.Errorf("%+v: %d columns", c, s.columns)
		}
	}
}

// TestKeys: only the keys that end top do so, and the end of input.
func TestKeys(t *testing.T) {
	for typed, rest := range map[string]string{"xyq!": "!", "Q!": "!", "\x03!": "!", "\x04": "", "abc": ""} {
		s := &screen{quit: make(chan struct{})}
		in := strings.NewReader(typed)
		s.keys(in)
		<-s.quit
		if left, _ := io.ReadAll(in); string(left) != rest {
			t.Errorf("%q: %q is left", typed, left)
		}
	}
}
