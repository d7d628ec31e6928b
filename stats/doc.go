// Package stats has one table of all figures of an edge, counted, measured or shown, a row each (table.go).
// /metrics, /status, the records of counters and refusals in the log, and docs/metrics.md are derived from the rows.
// Tests check that the dashboard, the alerts, the documents and the admin page name no others; `megaphone top` names
// them by constants.
//
// A reactor counts in a plain array of its own (Counters): an addition at a constant place, without locks. The edge on
// the reactor has another, and each counts only what it sees itself, so a reader adds the two. Once per tick the array
// is copied to a Board of atomic cells, from which other goroutines read. So figures are a tick old, and reading them
// costs a reactor nothing. LinkFigures, OriginFigures and Histograms are posted in the same way. An EdgeFigure is
// computed when it is read.
//
// Counting, observing and posting allocate nothing.
package stats
