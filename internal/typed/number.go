// Package typed parses numbers and words as people type them: on command lines, in configuration files.
//
// A number may have separators between its thousands and a unit after it: 1000000, 1_000_000, 1,000,000, 1M, 1.5k,
// 64Ki. k, M, G and T are powers of 1,000; Ki, Mi, Gi and Ti are powers of 1,024. A rate may end in /s.
package typed

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// Errors for a value that is not a number. They do not mention the value, which the caller knows.
var (
	errNumber = errors.New("use a whole number, for example 1000, 10k or 1M")
	errRate   = errors.New("use a number per second, for example 1000, 10k or 8000/s")
)

// units are the multipliers. Longer names come first.
var units = []struct {
	name  string
	times float64
}{
	{"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"Ti", 1 << 40},
	{"k", 1e3}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12},
}

// maxWhole is the largest number up to which a float64 represents every whole number.
const maxWhole = 1 << 53

// ParseInt parses a whole number. 1.5k is one.
func ParseInt(s string) (int, error) {
	v, ok := parse(s)
	if !ok || v != math.Trunc(v) || math.Abs(v) > maxWhole {
		return 0, errNumber
	}
	return int(v), nil
}

// parseIntRate parses a whole number per second.
func parseIntRate(s string) (int, error) {
	v, err := ParseInt(strings.TrimSuffix(s, "/s"))
	if err != nil {
		return 0, errRate
	}
	return v, nil
}

// parseRate parses a number per second.
func parseRate(s string) (float64, error) {
	v, ok := parse(strings.TrimSuffix(s, "/s"))
	if !ok {
		return 0, errRate
	}
	return v, nil
}

func parse(s string) (v float64, ok bool) {
	times := 1.0
	for _, u := range units {
		if rest, found := strings.CutSuffix(s, u.name); found {
			s, times = strings.TrimSuffix(rest, " "), u.times
			break
		}
	}
	digits, ok := plain(s)
	if !ok {
		return 0, false
	}
	v, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return 0, false
	}
	product := v * times
	if r := math.Round(product); math.Abs(product-r) < 1e-6 { // 1.1k: no float64 is 1.1
		product = r
	}
	return product, !math.IsInf(product, 0)
}

// plain removes the separators of a number. It accepts only decimal digits with a point and an exponent, a part of what
// strconv accepts.
func plain(s string) (digits string, ok bool) {
	whole, rest := s, ""
	if i := strings.IndexAny(s, ".eE"); i >= 0 {
		whole, rest = s[:i], s[i:]
	}
	sign := ""
	if strings.HasPrefix(whole, "-") || strings.HasPrefix(whole, "+") {
		sign, whole = whole[:1], whole[1:]
	}
	whole, ok = ungroup(whole)
	if !ok || strings.Trim(rest, "0123456789.eE+-") != "" || strings.HasSuffix(rest, ".") {
		return "", false
	}
	return sign + whole + rest, true
}

// ungroup joins digits. Commas must precede groups of three; underscores may be anywhere between digits, as in Go.
func ungroup(s string) (string, bool) {
	for i, group := range strings.Split(s, ",") {
		if digits := strings.ReplaceAll(group, "_", ""); i > 0 && len(digits) != 3 ||
			strings.Contains(s, ",") && i == 0 && len(digits) > 3 {
			return "", false
		}
		if group == "" || strings.HasPrefix(group, "_") || strings.HasSuffix(group, "_") ||
			strings.Contains(group, "__") || strings.Trim(group, "0123456789_") != "" {
			return "", false
		}
	}
	return strings.NewReplacer(",", "", "_", "").Replace(s), true
}
