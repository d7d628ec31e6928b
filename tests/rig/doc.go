// Package rig is what the tests that run the built binary share: the binary itself, processes that are watched line by
// line, an HTTP client that does just what it is told, and BOSH sessions over it. Every wait is bounded by Patience.
package rig
