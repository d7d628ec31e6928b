// Package codectest has the checks that the tests of all codec packages share: memory with guards, allocations.
package codectest
