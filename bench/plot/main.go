// Command plot draws the report of megaphone load as SVG: sessions, latencies, memory and CPU over time.
//
//	megaphone load --target URL --report report.json
//	go run ./bench/plot report.json plots
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"megaphone/load"
	"megaphone/load/chart"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	if len(args) != 2 {
		return fmt.Errorf("want two arguments, the report and a directory, not %d", len(args))
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	r := &load.Report{}
	if err := json.Unmarshal(text, r); err != nil {
		return fmt.Errorf("%s is not a report of megaphone load: %w", args[0], err)
	}
	files, err := chart.Report(r, args[1])
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s has no figures to draw", args[0])
	}
	_, err = fmt.Fprintln(out, strings.Join(files, "\n"))
	return err
}
