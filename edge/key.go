package edge

import (
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Key is one key of a configuration file and all that is known of it. The parser, the checks, the flags, the commented
// example and what a reload may change all come from the tables of keys, so none of them can say something else.
type Key[T any] struct {
	Name string
	Flag string // its flag on the command line, if that has another name; "-": it has none
	Doc  string // what it is, for the flag's help and the example; the `word` in backquotes stands for the value
	Help string // the flag's help, if that is another
	More string // further sentences, for the example only

	// Value points to the key's field of c: *string, *int, *bool, *time.Duration, *[]string, *fs.FileMode, or a list of
	// something that has keys of its own.
	Value func(c *T) any

	Min, Max int      // of an int; of a duration in seconds, where 0 and 0 are a second and a day
	Rate     bool     // of an int that may be written with /s behind it
	Words    []string // of a string that is one of a few words
	Sample   string   // the value in the example where there is no default; the key is commented out there
	Reload   bool     // SIGHUP puts a new value in force; otherwise that takes a restart
}

// KeyError says what is wrong with a key's value, and what would do.
type KeyError struct {
	Key    string // in a file: origins[1].address
	Value  any
	Remedy string
}

func (e *KeyError) Error() string { return fmt.Sprintf("%s: %v: %s", e.Key, e.Value, e.Remedy) }

func bad(key string, value any, remedy string) error { return &KeyError{key, value, remedy} }

// FlagName is the name of the key's flag; "" without one.
func (k *Key[T]) FlagName() string {
	switch k.Flag {
	case "":
		return k.Name
	case "-":
		return ""
	}
	return k.Flag
}

// FlagHelp is what the command's help says of the flag.
func (k *Key[T]) FlagHelp() string {
	if k.Help != "" {
		return k.Help
	}
	return k.Doc
}

// check says whether the value in c is one that the key may have.
func (k *Key[T]) check(c *T) (remedy string, ok bool) {
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

// remedy is what would do as a value of the key.
func (k *Key[T]) remedy(v any) string {
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

// seconds are the bounds of a duration.
func (k *Key[T]) seconds() (least, most time.Duration) {
	if k.Max == 0 {
		return time.Second, 24 * time.Hour
	}
	return time.Duration(k.Min) * time.Second, time.Duration(k.Max) * time.Second
}

// short is a duration without the zeros that time.Duration puts behind it.
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

// Check says what is wrong with the value in c by itself. Zero is no default here.
func (k *Key[T]) Check(c *T) error {
	if remedy, ok := k.check(c); !ok {
		return bad(k.Name, reflect.ValueOf(k.Value(c)).Elem().Interface(), remedy)
	}
	return nil
}

// text is a value as it stands in a file.
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
	panic(fmt.Sprintf("edge: no text for a %T", v))
}

func quote(s string) string {
	if s == "" || strings.ContainsAny(s, "*#'\"{}[],&!|>%@`") {
		return strconv.Quote(s)
	}
	return s
}
