package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"

	"megaphone/admin"
	"megaphone/edge"
)

// startAdmin shows e at the addresses that cfg names. A successor waits for those that its predecessor still has.
func startAdmin(cfg *edge.Config, e *edge.Edge, successor bool) (*admin.Server, error) {
	return admin.Start(admin.Config{Address: cfg.Admin, Socket: cfg.AdminSocket, Edge: e, Version: version,
		Draining: e.Draining, DrainNode: e.SetDraining, Wait: successor, Log: slog.Default(),
		LogDropped: toStderr.Dropped})
}

// accessFile is an access log's file, which what rotates logs may move away.
type accessFile struct {
	path string
	file atomic.Pointer[os.File] // written to by the log's own goroutine, for as long as that takes
}

// Write writes to the file that the path has now. The end of one that is being written to has the record written to the
// next one.
func (a *accessFile) Write(p []byte) (int, error) {
	for {
		f := a.file.Load()
		if n, err := f.Write(p); !errors.Is(err, os.ErrClosed) || f == a.file.Load() {
			return n, err
		}
	}
}

// reopen goes on in the file that has the path now. If there can be none, it goes on in the old one.
func (a *accessFile) reopen() {
	if a == nil {
		return
	}
	f, err := edge.OpenAccessLog(a.path)
	if err != nil {
		slog.Error("access log not reopened", "path", a.path, "error", err)
		return
	}
	_ = a.file.Swap(f).Close() // it waits for no write
}

func (a *accessFile) close() {
	if a != nil {
		_ = a.file.Load().Close()
	}
}

// openAccessLog gives cfg its access log. The file is appended to, so it may also be truncated. Without a file of its
// own f is nil, and ready for use.
func openAccessLog(cfg *edge.Config) (f *accessFile, err error) {
	var out io.Writer
	switch cfg.AccessLog {
	case "off", "":
		return nil, nil
	case "stderr":
		out = standardError
	default:
		file, err := edge.OpenAccessLog(cfg.AccessLog)
		if err != nil {
			return nil, usageError{fmt.Errorf("access-log: %w", err)}
		}
		f = &accessFile{path: cfg.AccessLog}
		f.file.Store(file)
		out = f
	}
	if cfg.LogFormat == "json" {
		cfg.Access = slog.New(slog.NewJSONHandler(out, nil))
	} else {
		cfg.Access = slog.New(slog.NewTextHandler(out, nil))
	}
	return f, nil
}
