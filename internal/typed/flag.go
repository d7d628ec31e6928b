package typed

import "strconv"

// Int is a flag for a whole number. It implements Value of packages flag and pflag.
type Int struct{ To *int }

// Type returns the word for a value in the help.
func (Int) Type() string { return "number" }

// Set parses s.
func (f Int) Set(s string) (err error) { return set(f.To, s, ParseInt) }

func (f Int) String() string {
	if f.To == nil { // package flag calls it on a zero value
		return "0"
	}
	return strconv.Itoa(*f.To)
}

// IntRate is a flag for a whole number per second.
type IntRate struct{ Int }

// Set parses s.
func (f IntRate) Set(s string) error { return set(f.To, s, parseIntRate) }

// Rate is a flag for a number per second.
type Rate struct{ To *float64 }

// Type returns the word for a value in the help.
func (Rate) Type() string { return "number" }

// Set parses s.
func (f Rate) Set(s string) error { return set(f.To, s, parseRate) }

func (f Rate) String() string {
	if f.To == nil {
		return "0"
	}
	return strconv.FormatFloat(*f.To, 'f', -1, 64)
}

func set[T any](to *T, s string, parse func(string) (T, error)) error {
	v, err := parse(s)
	if err == nil {
		*to = v
	}
	return err
}

// IntOr returns a flag for to with a default.
func IntOr(to *int, value int) Int {
	*to = value
	return Int{to}
}

// RateOr returns a flag for to with a default.
func RateOr(to *float64, value float64) Rate {
	*to = value
	return Rate{to}
}
