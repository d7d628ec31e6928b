// Package sim is deterministic simulation of edges.
package sim
