package main

import (
	"fmt"
	"strings"
)

// textTable is rows of cells in aligned columns.
type textTable struct {
	right []bool // columns whose cells stand at the right
	rows  []textRow
}

// textRow has lines below it, which are indented and no part of the columns.
type textRow struct{ cells, below []string }

const (
	columnGap   = "  "
	belowIndent = "          "
)

func (t *textTable) String() string {
	var widths []int
	for _, r := range t.rows {
		for i, c := range r.cells {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len(c))
		}
	}
	var s strings.Builder
	for _, r := range t.rows {
		var line strings.Builder
		for i, c := range r.cells {
			width := -widths[i]
			if i < len(t.right) && t.right[i] {
				width = widths[i]
			}
			fmt.Fprintf(&line, "%*s%s", width, c, columnGap)
		}
		fmt.Fprintln(&s, strings.TrimRight(line.String(), " "))
		for _, b := range r.below {
			fmt.Fprintln(&s, belowIndent+b)
		}
	}
	return s.String()
}

// wrap breaks text between words.
func wrap(text string, columns int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > columns {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
