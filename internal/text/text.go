// Package text lays out tables and sentences for a terminal.
package text

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Columns is the width of all output unless a terminal has another.
const Columns = 80

// Table is rows of cells in aligned columns.
type Table struct {
	Right []bool // right-aligned columns
	Rows  []Row
}

// Row has cells, and indented lines below them that are not part of the columns.
type Row struct{ Cells, Below []string }

const (
	gap    = "  "
	indent = "    "
)

// BelowColumns is the room for the lines below a row.
const BelowColumns = Columns - len(indent)

// Add appends a row of cells.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, Row{Cells: cells}) }

func (t *Table) widths() (widths []int) {
	for _, r := range t.Rows {
		for i, c := range r.Cells {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	return widths
}

// Width returns the width of the widest row, without the lines below.
func (t *Table) Width() (sum int) {
	for i, w := range t.widths() {
		if i > 0 {
			sum += len(gap)
		}
		sum += w
	}
	return sum
}

// Drop removes columns, in the order of list, until the table fits into columns.
func (t *Table) Drop(columns int, list ...int) {
	for k, i := range list {
		if t.Width() <= columns {
			return
		}
		for _, gone := range list[:k] {
			if gone < list[k] {
				i--
			}
		}
		for r := range t.Rows {
			if cells := t.Rows[r].Cells; i < len(cells) {
				t.Rows[r].Cells = append(cells[:i:i], cells[i+1:]...)
			}
		}
		if i < len(t.Right) {
			t.Right = append(t.Right[:i:i], t.Right[i+1:]...)
		}
	}
}

func (t *Table) String() string {
	widths := t.widths()
	var s strings.Builder
	for _, r := range t.Rows {
		var line strings.Builder
		for i, c := range r.Cells {
			width := -widths[i]
			if i < len(t.Right) && t.Right[i] {
				width = widths[i]
			}
			fmt.Fprintf(&line, "%*s%s", width, c, gap)
		}
		fmt.Fprintln(&s, strings.TrimRight(line.String(), " "))
		for _, b := range r.Below {
			fmt.Fprintln(&s, indent+b)
		}
	}
	return s.String()
}

// Wrap breaks text between words into lines of at most columns. A longer word gets its own line.
func Wrap(text string, columns int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > columns {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// Paragraph wraps text to Columns. All lines but the first are indented.
func Paragraph(text string) string {
	return strings.Join(Wrap(text, Columns-len(indent)), "\n"+indent)
}

// Cut cuts a line after columns.
func Cut(line string, columns int) string {
	if utf8.RuneCountInString(line) <= columns {
		return line
	}
	return string([]rune(line)[:max(columns, 0)])
}
