package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"megaphone/load"
)

func TestRun(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, v any) string {
		text, err := json.Marshal(v)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, name)
	}
	good := write("good.json", load.Report{Timeline: []load.Point{{Sessions: 1}, {Seconds: 1, Sessions: 2}}})
	var out bytes.Buffer
	if err := run([]string{good, dir}, &out); err != nil || out.String() != filepath.Join(dir, "sessions.svg")+"\n" {
		t.Errorf("%q, %v", &out, err)
	}
	for text, args := range map[string][]string{
		"two arguments":  {good},
		"no such file":   {filepath.Join(dir, "none.json"), dir},
		"not a report":   {write("list.json", []int{1}), dir},
		"has no figures": {write("empty.json", load.Report{}), dir},
	} {
		if err := run(args, &out); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v, not %q", args, err, text)
		}
	}
}
