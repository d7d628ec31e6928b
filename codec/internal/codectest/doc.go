// Package codectest has the checks that the tests of all codec packages share.
package codectest
