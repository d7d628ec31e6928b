package text

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func table() *Table {
	t := &Table{Right: []bool{false, false, true, true}}
	t.Add("NAME", "ADDRESS", "LINKS", "HELD")
	t.Add("a", "127.0.0.1:5279", "2/2", "10µs")
	return t
}

func TestTable(t *testing.T) {
	tb := table()
	tb.Rows[1].Below = []string{"why"}
	const want = "" +
		"NAME  ADDRESS         LINKS  HELD\n" +
		"a     127.0.0.1:5279    2/2  10µs\n" +
		"    why\n"
	if got := tb.String(); got != want || tb.Width() != 33 {
		t.Errorf("%d columns:\n%s", tb.Width(), got)
	}
}

// Drop removes columns in the order of the list, and none if the table fits. The others keep their alignment.
func TestTableDrops(t *testing.T) {
	for _, c := range []struct {
		columns int
		head    string
	}{
		{33, "NAME ADDRESS LINKS HELD"}, {32, "NAME ADDRESS LINKS"}, {20, "NAME LINKS"}, {12, "NAME LINKS"},
		{10, "LINKS"}, {1, "LINKS"},
	} {
		tb := table()
		tb.Drop(c.columns, 3, 1, 0)
		head, _, _ := strings.Cut(tb.String(), "\n")
		if got := strings.Join(strings.Fields(head), " "); got != c.head {
			t.Errorf("%d columns: %q, want %q", c.columns, got, c.head)
		}
		if last := len(tb.Right); tb.Right[last-1] != true {
			t.Errorf("%d columns: %v", c.columns, tb.Right)
		}
	}
}

func TestWrap(t *testing.T) {
	const s = "one two  three µµµµ incomprehensibilities five"
	for columns := 1; columns < 60; columns++ {
		lines := Wrap(s, columns)
		if strings.Join(lines, " ") != strings.Join(strings.Fields(s), " ") {
			t.Errorf("%d: %q", columns, lines)
		}
		for _, l := range lines {
			if utf8.RuneCountInString(l) > columns && strings.Contains(l, " ") {
				t.Errorf("%d: %q is too long", columns, l)
			}
		}
	}
	if got := Paragraph(strings.Repeat("word ", 30)); !strings.Contains(got, "\n    word") {
		t.Errorf("%q", got)
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		columns int
		want    string
	}{{9, "aµb"}, {3, "aµb"}, {2, "aµ"}, {0, ""}, {-1, ""}} {
		if got := Cut("aµb", c.columns); got != c.want {
			t.Errorf("%d: %q", c.columns, got)
		}
	}
}
