// Package spread sums up what several rounds of a measurement have come to.
package spread

import (
	"fmt"
	"slices"
	"strings"
)

// Spread is the middle of some values, and how far they go apart.
type Spread struct{ Median, Min, Max float64 }

// Of sums up one value or more. The median of an even number of them is the mean of the two in the middle.
func Of(values []float64) Spread {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return Spread{Median: (v[(n-1)/2] + v[n/2]) / 2, Min: v[0], Max: v[n-1]}
}

// Text writes the spread as "median (min..max)", all with the given number of decimals and commas between thousands.
func (s Spread) Text(decimals int) string {
	return fmt.Sprintf("%s (%s..%s)", Number(s.Median, decimals), Number(s.Min, decimals), Number(s.Max, decimals))
}

// Number writes a number with so many decimals and commas between thousands.
func Number(x float64, decimals int) string {
	text := fmt.Sprintf("%.*f", decimals, x)
	whole, fraction, _ := strings.Cut(text, ".")
	first := len(whole) - 3
	for ; first > 0 && whole[first-1] != '-'; first -= 3 {
		whole = whole[:first] + "," + whole[first:]
	}
	if fraction != "" {
		return whole + "." + fraction
	}
	return whole
}
