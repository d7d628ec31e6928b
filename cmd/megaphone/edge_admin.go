package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"megaphone/admin"
	"megaphone/edge"
)

// startAdmin shows e at the addresses that cfg names. A successor waits for those that its predecessor still has.
func startAdmin(cfg *edge.Config, e *edge.Edge, successor bool) (*admin.Server, error) {
	return admin.Start(admin.Config{Address: cfg.Admin, Socket: cfg.AdminSocket, Edge: e, Version: version,
		Draining: e.Draining, DrainNode: e.SetDraining, Wait: successor, Log: slog.Default()})
}

// openAccessLog gives cfg its access log. The file is appended to, so that it may be truncated by what rotates logs.
func openAccessLog(cfg *edge.Config) (closeLog func(), err error) {
	var out io.Writer
	closeLog = func() {}
	switch cfg.AccessLog {
	case "off", "":
		return closeLog, nil
	case "stderr":
		out = os.Stderr
	default:
		f, err := os.OpenFile(cfg.AccessLog, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
		if err != nil {
			return closeLog, usageError{fmt.Errorf("access-log: %w", err)}
		}
		out, closeLog = f, func() { _ = f.Close() }
	}
	if cfg.LogFormat == "json" {
		cfg.Access = slog.New(slog.NewJSONHandler(out, nil))
	} else {
		cfg.Access = slog.New(slog.NewTextHandler(out, nil))
	}
	return closeLog, nil
}
