package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"megaphone/config"
	"megaphone/internal/typed"
	"megaphone/loop"
	"megaphone/tuning"
)

// exitUnfit is the exit status of doctor for a host that does not fit.
const exitUnfit = 3

// statusError ends the program with a status, without a message.
type statusError int

func (s statusError) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// doctorOptions are the flags of doctor.
type doctorOptions struct {
	sockets       int
	tables, root  string
	json, explain bool
	dials         bool
	config        string
}

func newDoctor() *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor --sockets N",
		Short: "Check whether this host fits N sockets, what to set, and why",
		Long: `doctor reads /proc and /sys, compares each knob with what N sockets need, adds up the memory that
they take, and changes nothing. megaphone-tune (scripts/tune.sh in a checkout) sets what it asks for, by the same
formulas, and undoes it.

N is all sockets of the host: an edge's clients (its --max-connections), and those of a load generator that runs on
the same machine as well. The memory is what is available now, so ask before an edge runs, not beside it.

A knob is
  must     without it N sockets are refused, dropped or killed: the host does not fit
  should   N sockets fit without it, with less margin when all of them come or go at once
  report   shown only; what is right depends on hardware and on what else the host does
and its wanted value is one condition a field: >=N, <=N, =N, a word, or - for any. What is better already stays.

RLIMIT_NOFILE is that of this process, after its hard limit; a service has the LimitNOFILE of its unit. It is a must
only with --descriptor-tables off: otherwise the edge gives each reactor a table of its own where the limit is too low.

With --config it also reads an edge's file with its certificates: whether they serve, their names, chain and end, the
clock by which they are valid, and swap, to which keys could be written.

Exit status: 0  the host fits
             1  the host could not be examined
             2  a flag is wrong
             3  the host does not fit: a must is low, memory included; or the edge would not start with --config`,
		Example: `  megaphone doctor --sockets 1M
  megaphone doctor --sockets 1M --explain
  megaphone doctor --sockets 200k --descriptor-tables off --json |
      jq '.knobs[] | select(.state == "low")'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDoctor(o, cmd.OutOrStdout()) },
	}
	fs := cmd.Flags()
	fs.Var(typed.IntOr(&o.sockets, loop.DefaultMaxConnections), "sockets",
		"total of all programs on the host that count")
	fs.StringVar(&o.tables, "descriptor-tables", "auto", "the edge's setting: auto, on, off")
	fs.BoolVar(&o.dials, "dials", false,
		"the host opens many connections too: a TLS proxy, a gateway or a load generator is on it")
	fs.StringVar(&o.config, "config", "", "check the certificates of this `file` of an edge, too")
	fs.BoolVar(&o.explain, "explain", false, "explain every knob: its reason, formula and source")
	fs.BoolVar(&o.json, "json", false, "print the full report as JSON")
	fs.StringVar(&o.root, "root", "/", "`directory` with the proc and sys to read, such as a copy of another host's")
	return cmd
}

func runDoctor(o doctorOptions, out io.Writer) error {
	if o.sockets < 1 || o.sockets > tuning.MaxSockets {
		return usageError{fmt.Errorf("sockets: %d: use 1 to %d", o.sockets, tuning.MaxSockets)}
	}
	tables, err := loop.ParseTables(o.tables)
	if err != nil {
		return usageError{fmt.Errorf("descriptor-tables: %s: use auto, on or off", o.tables)}
	}
	if _, err := os.Stat(o.root + "/proc/sys"); err != nil {
		return fmt.Errorf("root: %w: is proc mounted?", err)
	}
	r := tuning.Examine(os.DirFS(o.root), tuning.Need{Sockets: o.sockets, OneTable: tables == loop.TablesOff,
		Dials: o.dials})
	var secured *tlsReport
	if o.config != "" {
		found, err := examineTLS(o.config, o.root)
		if err != nil {
			return err
		}
		secured = &found
	}
	if err := o.print(out, &r, secured); err != nil {
		return err
	}
	if !r.Fits || secured != nil && !secured.fits() {
		return statusError(exitUnfit)
	}
	return nil
}

// print writes both reports. secured may be nil.
func (o *doctorOptions) print(out io.Writer, r *tuning.Report, secured *tlsReport) error {
	if o.json {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(struct {
			*tuning.Report
			TLS *tlsReport `json:"tls,omitempty"`
		}{r, secured})
	}
	err := printReport(out, r, o.explain)
	if err == nil && secured != nil {
		err = secured.print(out)
	}
	return err
}

// warnHost logs a warning for each must that this host lacks for an edge's connections.
func warnHost(cfg *config.Values) {
	r := tuning.Examine(os.DirFS("/"),
		tuning.Need{Sockets: cfg.MaxConnections, OneTable: cfg.DescriptorTables == loop.TablesOff})
	for _, f := range r.Lacking(tuning.Must) {
		slog.Warn("host limit too low for max-connections",
			"knob", f.Name, "now", f.Now, "wanted", f.Wanted,
			"see", fmt.Sprintf("%s doctor --sockets %d", called(), cfg.MaxConnections))
	}
}
