// Package lint checks the rules of the tree; go test ./internal/lint runs it. It holds tests only, and each rule has a
// second test that shows how it fails:
//
//	imports_test.go       imports run downward, and a layer may import only what it does import
//	api_test.go           other packages use each exported name
//	size_test.go          lines of 120 columns, functions of 70 lines
//	rigs_test.go          files that tests need, without tests of their own, have names that say so
//	english_test.go       phrases to avoid
//	documents_test.go     packages have comments; links and go doc in Markdown name something that exists
//	architecture_test.go  the table of failures names tests, and the picture of the road functions
//	attacks_test.go       the table of SECURITY.md names tests
//	statuses_test.go      the table of statuses in BOSH.md names tests
//	decisions_test.go     the form and the index of docs/decisions
package lint
