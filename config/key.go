package config

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Key describes one key of T, a part of a configuration as written, and parses it into V. The parser of files, the
// checks, the flags, the commented example and what a reload may change all come from the tables of keys, so they
// cannot disagree.
type Key[T, V any] struct {
	Name string
	Flag string // its flag on the command line, if it has another name; "-": none
	Doc  string // for the flag's help and the example; the `word` in backquotes stands for the value
	Help string // the flag's help, if it differs
	More string // further sentences, for the example only

	// Value points to the key's field of c: *string, *int, *bool, *time.Duration, *[]string, *fs.FileMode, or a list
	// whose entries have their own keys.
	Value func(c *T) any

	// Parse checks the value that Min, Max and Words cannot, and parses it into v, where the keys before it are parsed
	// already. nil: the value is good as it is. It may put a text of c into its normal form.
	Parse func(c *T, v *V) error

	Min, Max int      // of an int; of a duration in seconds, where 0 and 0 are a second and a day
	Optional bool     // of an int: 0 means absent, though a file must not have it
	Rate     bool     // of an int that may have a trailing /s
	Words    []string // allowed values of a string
	Sample   string   // the value in the example where there is no default; the key is commented out there
	Reload   bool     // SIGHUP puts a new value in force; otherwise it takes a restart
}

// KeyError is an invalid value of a key, with a remedy.
type KeyError struct {
	Key    string // in a file: origins[1].address
	Value  any
	Remedy string
}

func (e *KeyError) Error() string { return fmt.Sprintf("%s: %v: %s", e.Key, e.Value, e.Remedy) }

func bad(key string, value any, remedy string) error { return &KeyError{key, value, remedy} }

// FlagName returns the name of the key's flag; "" without one.
func (k *Key[T, V]) FlagName() string {
	switch k.Flag {
	case "":
		return k.Name
	case "-":
		return ""
	}
	return k.Flag
}

// FlagHelp returns the flag's text in the command's help.
func (k *Key[T, V]) FlagHelp() string {
	if k.Help != "" {
		return k.Help
	}
	return k.Doc
}

// check reports whether the value in c is valid, and returns a remedy.
func (k *Key[T, V]) check(c *T) (remedy string, ok bool) {
	switch v := k.Value(c).(type) {
	case *int:
		return k.remedy(v), *v >= k.Min && *v <= k.Max
	case *time.Duration:
		least, most := k.seconds()
		return k.remedy(v), *v >= least && *v <= most
	case *string:
		return k.remedy(v), k.Words == nil || slices.Contains(k.Words, *v)
	}
	return "", true
}

// remedy returns a description of the valid values.
func (k *Key[T, V]) remedy(v any) string {
	switch v.(type) {
	case *int:
		return fmt.Sprintf("use %d to %d", k.Min, k.Max)
	case *time.Duration:
		least, most := k.seconds()
		return fmt.Sprintf("use %s to %s", short(least), short(most))
	case *string:
		if n := len(k.Words); n > 0 {
			return "use " + strings.Join(k.Words[:n-1], ", ") + " or " + k.Words[n-1]
		}
	}
	return ""
}

// seconds returns the bounds of a duration.
func (k *Key[T, V]) seconds() (least, most time.Duration) {
	if k.Max == 0 {
		return time.Second, 24 * time.Hour
	}
	return time.Duration(k.Min) * time.Second, time.Duration(k.Max) * time.Second
}

// short formats a duration without the trailing zero units of time.Duration.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Check returns a *KeyError if the value in c is invalid by itself. It takes zero literally, not as the default.
func (k *Key[T, V]) Check(c *T) error {
	v := k.Value(c)
	if n, isInt := v.(*int); isInt && k.Optional && *n == 0 {
		return nil
	}
	if remedy, ok := k.check(c); !ok {
		return bad(k.Name, reflect.ValueOf(v).Elem().Interface(), remedy)
	}
	return nil
}

// parseKeys checks the keys of c in the order of the table, and parses them into v. at is the path of c, with its dot.
func parseKeys[T, V any](keys []Key[T, V], at string, c *T, v *V) error {
	for i := range keys {
		k := &keys[i]
		err := k.Check(c)
		if err == nil && k.Parse != nil {
			err = k.Parse(c, v)
		}
		var key *KeyError
		if errors.As(err, &key) {
			key.Key = at + key.Key
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// text formats a value as in a file.
func text(v any) string {
	switch v := v.(type) {
	case *string:
		return quote(*v)
	case *int:
		return strconv.Itoa(*v)
	case *bool:
		return strconv.FormatBool(*v)
	case *time.Duration:
		return short(*v)
	case *fs.FileMode:
		return fmt.Sprintf("%#o", *v)
	case *[]string:
		quoted := make([]string, len(*v))
		for i, s := range *v {
			quoted[i] = quote(s)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	panic(fmt.Sprintf("config: no text for a %T", v))
}

func quote(s string) string {
	if s == "" || strings.ContainsAny(s, "*#'\"{}[],&!|>%@`") {
		return strconv.Quote(s)
	}
	return s
}
