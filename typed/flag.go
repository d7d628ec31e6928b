package typed

import "strconv"

// Int is a flag of package flag or pflag for a whole number. It implements their Value.
type Int struct{ To *int }

// Type returns the word that the help shows for a value.
func (Int) Type() string { return "number" }

// Set reads s.
func (f Int) Set(s string) (err error) { return set(f.To, s, ParseInt) }

func (f Int) String() string {
	if f.To == nil { // package flag asks a zero value
		return "0"
	}
	return strconv.Itoa(*f.To)
}

// IntRate is a flag for a whole number a second.
type IntRate struct{ Int }

// Set reads s.
func (f IntRate) Set(s string) error { return set(f.To, s, ParseIntRate) }

// Rate is a flag for a number a second.
type Rate struct{ To *float64 }

// Type returns the word that the help shows for a value.
func (Rate) Type() string { return "number" }

// Set reads s.
func (f Rate) Set(s string) error { return set(f.To, s, ParseRate) }

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

// IntOr makes a flag for to with a default.
func IntOr(to *int, value int) Int {
	*to = value
	return Int{to}
}

// RateOr makes a flag for to with a default.
func RateOr(to *float64, value float64) Rate {
	*to = value
	return Rate{to}
}
