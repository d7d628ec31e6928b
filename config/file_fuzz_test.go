package config

import (
	"errors"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// FuzzFile: any file either parses, or gives an error at a position that the file has. Parsed values pass the checks of
// their keys.
func FuzzFile(f *testing.F) {
	f.Add(Example())
	for _, s := range []string{"", "---\n", "a: b\n---\n", "a: b\n...\nc: d\n", "- a\n", "path: [\n",
		"origins: [{name: a}]\n", "? a\n: b\n", "a: &x b\npath: *x\n", "path: |\n  x\n", "<<: {path: /x}\n",
		"path: !!binary aGk=\n", "\t", "{", "grace: 1s # c\n"} {
		f.Add(s)
	}
	place := regexp.MustCompile(`^config: f:(\d+):(\d+): (?s:.)*\n  (\d+) \| (.*)\n +\| *\^$`)
	f.Fuzz(func(t *testing.T, text string) {
		cfg, file, err := parseFile("f", text)
		if err != nil {
			var key *KeyError
			if m := place.FindStringSubmatch(err.Error()); m != nil {
				line, _ := strconv.Atoi(m[1])
				lines := strings.Split(text, "\n")
				if line < 1 || m[3] != m[1] {
					t.Fatalf("the place is %q in\n%v", m[1:], err)
				}
				if line <= len(lines) && lines[line-1] != m[4] && !strings.Contains(lines[line-1], "\r") {
					t.Fatalf("line %d is %q, shown as %q", line, lines[line-1], m[4])
				}
			} else if errors.As(err, &key) {
				t.Fatalf("a mistake without a place: %v", err)
			}
			return
		}
		for i := range configKeys {
			k := &configKeys[i]
			if _, ok := file.places[k.Name]; !ok && !reflect.ValueOf(k.Value(&cfg)).Elem().IsZero() {
				t.Fatalf("%s has a value and no place", k.Name)
			} else if ok {
				if err := k.Check(&cfg); err != nil {
					t.Fatal(err)
				}
			}
		}
		_, err = cfg.parse()
		_ = file.Explain(err)
	})
}
