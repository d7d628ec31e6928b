package tuning

import (
	"slices"
	"strconv"
	"strings"
)

// want is the wanted value of a knob, one term for each field.
type want []term

// term is one field's condition, in the form in which it is printed:
//
//	>=N    at least N      <=N    at most N      =N    N
//	a/b    one of these words, preferably the first      -    anything
type term struct {
	op    string // ">=", "<=", "=", "/" or "-"
	n     uint64
	words []string
}

func atLeast(n uint64) term      { return term{op: ">=", n: n} }
func atMost(n uint64) term       { return term{op: "<=", n: n} }
func exactly(n uint64) term      { return term{op: "=", n: n} }
func oneOf(words ...string) term { return term{op: "/", words: words} }

var anything = term{op: "-"}

func (w want) String() string {
	s := make([]string, len(w))
	for i, t := range w {
		s[i] = t.String()
	}
	return strings.Join(s, " ")
}

func (t term) String() string {
	switch t.op {
	case "-":
		return "-"
	case "/":
		return strings.Join(t.words, "/")
	}
	return t.op + strconv.FormatUint(t.n, 10)
}

// fulfilled reports whether a field's value satisfies the term. A value that is not a number satisfies no numeric term.
func (t term) fulfilled(field string) bool {
	switch t.op {
	case "-":
		return true
	case "/":
		return slices.Contains(t.words, field)
	}
	v, err := strconv.ParseUint(field, 10, 64)
	if err != nil {
		return false
	}
	switch t.op {
	case ">=":
		return v >= t.n
	case "<=":
		return v <= t.n
	}
	return v == t.n
}

// value returns the value for a field that does not satisfy the term.
func (t term) value() string {
	if t.op == "/" {
		return t.words[0]
	}
	return strconv.FormatUint(t.n, 10)
}

// merge returns the value to set instead of now: each field that is good already stays. ok reports whether all are
// good, so that there is nothing to set. For a value with another number of fields set is empty.
func (w want) merge(now string) (set string, ok bool) {
	fields := strings.Fields(now)
	if len(fields) != len(w) {
		return "", false
	}
	ok = true
	for i, t := range w {
		if !t.fulfilled(fields[i]) {
			fields[i], ok = t.value(), false
		}
	}
	return strings.Join(fields, " "), ok
}

func clamp(n, low, high uint64) uint64 { return min(max(n, low), high) }
