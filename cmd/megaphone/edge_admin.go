package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"

	"megaphone/admin"
	"megaphone/config"
	"megaphone/edge"
)

// startAdmin serves e's admin endpoint at the addresses of cfg. A successor waits for addresses that its predecessor
// still uses.
func startAdmin(cfg *config.Values, e *edge.Edge, successor bool) (*admin.Server, error) {
	return admin.Start(admin.Config{Address: cfg.Admin, Socket: cfg.AdminSocket, Edge: e, Version: version,
		Draining: e.Draining, DrainNode: e.SetDraining, Wait: successor, Log: slog.Default(),
		LogDropped: toStderr.Dropped})
}

// accessFile is the file of an access log. Log rotation may move it away.
type accessFile struct {
	path string
	file atomic.Pointer[os.File] // only the log's goroutine writes to it, and may block
}

// Write writes to the file that currently has the path. If reopen closes the file during a write, Write repeats the
// record in the new file.
func (a *accessFile) Write(p []byte) (int, error) {
	for {
		f := a.file.Load()
		if n, err := f.Write(p); !errors.Is(err, os.ErrClosed) || f == a.file.Load() {
			return n, err
		}
	}
}

// reopen switches to the file that now has the path. If it cannot be opened, the old file stays in use.
func (a *accessFile) reopen() {
	if a == nil {
		return
	}
	f, err := config.OpenAccessLog(a.path)
	if err != nil {
		slog.Error("access log not reopened", "path", a.path, "error", err)
		return
	}
	_ = a.file.Swap(f).Close() // does not wait for a pending write
}

func (a *accessFile) close() {
	if a != nil {
		_ = a.file.Load().Close()
	}
}

// openAccessLog opens cfg's access log for options. It appends to the file, so the file may also be truncated. f is
// nil, and ready for use, if the log has no file of its own.
func openAccessLog(cfg *config.Values, options *edge.Options) (f *accessFile, err error) {
	var out io.Writer
	switch cfg.AccessLog {
	case "off", "":
		return nil, nil
	case "stderr":
		out = standardError
	default:
		file, err := config.OpenAccessLog(cfg.AccessLog)
		if err != nil {
			return nil, usageError{fmt.Errorf("access-log: %w", err)}
		}
		f = &accessFile{path: cfg.AccessLog}
		f.file.Store(file)
		out = f
	}
	if cfg.LogFormat == "json" {
		options.Access = slog.New(slog.NewJSONHandler(out, nil))
	} else {
		options.Access = slog.New(slog.NewTextHandler(out, nil))
	}
	return f, nil
}
