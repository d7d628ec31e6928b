// Package trials is the frame of a benchmark that makes one trial after the other. It has the main function and the
// flags, and keeps the results in files, from which later runs can show them beside their own.
package trials

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"megaphone/bench/machine"
)

// Save writes the trials of a run as JSON, with the options of the run and the machine.
func Save[T any](file, root string, options any, list []T) error {
	text, err := json.MarshalIndent(struct {
		Machine machine.Machine `json:"machine"`
		Options any             `json:"options"`
		Trials  []T             `json:"trials"`
	}{machine.This(root), options, list}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// Present saves the trials as trials.json in the directory of the results, and writes the table to standard output and
// to table.md beside them.
func Present[T any](f *Flags, options any, done []T, table string) error {
	if err := Save(filepath.Join(f.Out, "trials.json"), f.Root, options, done); err != nil {
		return err
	}
	fmt.Print(table)
	return os.WriteFile(filepath.Join(f.Out, "table.md"), []byte(table), 0o644)
}

// Earlier reads the trials of earlier runs. Files are comma-separated; "" has none.
func Earlier[T any](files string) (all []T, err error) {
	if files == "" {
		return nil, nil
	}
	for file := range strings.SplitSeq(files, ",") {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var run struct {
			Trials []T `json:"trials"`
		}
		if err := json.Unmarshal(text, &run); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, run.Trials...)
	}
	return all, nil
}
