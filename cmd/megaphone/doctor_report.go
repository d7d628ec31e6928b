package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"megaphone/internal/text"
	"megaphone/tuning"
)

// wantedColumns is the width of the column of wanted values. A value of three numbers does not fit and goes below.
const wantedColumns = 14

// printReport writes tables for terminals. A knob that is too low has its reason and remedy below it.
func printReport(out io.Writer, r *tuning.Report, explain bool) error {
	var knobs, memory text.Table
	knobs.Add("", "knob", "now", "wanted")
	for _, f := range r.Knobs {
		row := text.Row{Cells: []string{mark(f), f.Name, or(f.Now, "-"), or(f.Wanted, "-")}}
		if len(f.Wanted) > wantedColumns {
			row.Cells[3], row.Below = "below", []string{"wanted: " + f.Wanted}
		}
		if explain || f.State == tuning.Low {
			row.Below = append(row.Below, remarks(f, explain)...)
		}
		knobs.Rows = append(knobs.Rows, row)
	}
	memory.Right = []bool{false, false, true, true}
	memory.Add("", "memory", "bytes a socket", "MiB in all")
	for _, l := range r.Budget.Lines {
		each := "-"
		if l.BytesPerSocket > 0 {
			each = strconv.FormatUint(l.BytesPerSocket, 10)
		}
		memory.Rows = append(memory.Rows, text.Row{Cells: []string{l.Where, l.Name, each, mib(l.TotalBytes)},
			Below: text.Wrap(l.Why, text.BelowColumns)})
	}
	memory.Rows = append(memory.Rows, text.Row{Cells: []string{"", "in all",
		strconv.FormatUint(r.Budget.BytesPerSocket, 10), mib(r.Budget.TotalBytes)},
		Below: text.Wrap("of "+mib(r.AvailableBytes)+" available; the worst moment, a reply queued on every socket",
			text.BelowColumns)})
	_, err := fmt.Fprintf(out, "%s\n%s\n%s\n", &knobs, &memory, verdict(r))
	return err
}

// remarks returns the lines below a row.
func remarks(f tuning.Finding, explain bool) []string {
	lines := text.Wrap(f.Why, text.BelowColumns)
	if explain && f.Formula != "" {
		lines = append(lines, text.Wrap("formula: "+f.Formula, text.BelowColumns)...)
	}
	if explain {
		lines = append(lines, text.Wrap("source: "+f.Source, text.BelowColumns)...)
	}
	if f.Fix == "" {
		return lines
	}
	for part := range strings.SplitAfterSeq("fix: "+f.Fix, "; ") { // commands stay whole, so that they can be copied
		lines = append(lines, text.Wrap(part, text.BelowColumns)...)
	}
	return lines
}

// mark returns a finding's result in one word.
func mark(f tuning.Finding) string {
	switch f.State {
	case tuning.Good:
		return "ok"
	case tuning.Absent:
		return "absent"
	case tuning.Low:
		if f.Class == tuning.Must {
			return "MUST"
		}
		return string(f.Class)
	}
	return "-"
}

// verdict returns whether the host fits, and what to do.
func verdict(r *tuning.Report) string {
	must, should := r.Lacking(tuning.Must), r.Lacking(tuning.Should)
	var s strings.Builder
	if r.Fits {
		fmt.Fprintf(&s, "This host fits %d sockets.", r.Sockets)
	} else {
		fmt.Fprintf(&s, "This host does NOT fit %d sockets, because of %s.", r.Sockets, names(must))
	}
	if len(should) > 0 {
		fmt.Fprintf(&s, " It would do better with other values of %s.", names(should))
	}
	lines := text.Wrap(s.String(), text.Columns)
	if len(must)+len(should) > 0 {
		tables := ""
		if r.OneTable {
			tables = " --descriptor-tables off"
		}
		lines = append(lines, "To set what can be set:",
			fmt.Sprintf("  %s --sockets %d%s --apply", tuneCommand(), r.Sockets, tables))
	}
	return strings.Join(lines, "\n")
}

// tuneCommand returns the tuning script for this binary: the package's, or the one in the checkout.
func tuneCommand() string {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return tuneInstalled
	}
	return tuneCommandOf(self)
}

const (
	tuneInstalled = "megaphone-tune"
	tuneCheckout  = "scripts/tune.sh"
)

// tuneCommandOf is tuneCommand for a binary. A binary copied elsewhere gets the package's name, which the documentation
// uses too.
func tuneCommandOf(binary string) string {
	if _, err := os.Stat(filepath.Join(filepath.Dir(filepath.Dir(binary)), tuneCheckout)); err == nil {
		return tuneCheckout
	}
	return tuneInstalled
}

func names(findings []tuning.Finding) string {
	s := make([]string, len(findings))
	for i, f := range findings {
		s[i] = f.Name
	}
	return strings.Join(s, ", ")
}

func mib(bytes uint64) string { return fmt.Sprintf("%.1f", float64(bytes)/(1<<20)) }
