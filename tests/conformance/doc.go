// Package conformance runs BoGo, BoringSSL's suite for TLS, with both sides of package secure, and with crypto/tls
// alone in the same configuration. Both must pass the same tests, and fail the others in the same way, except for the
// listed differences. A test that both fail must have a reason in a list, too.
//
// scripts/bogo.sh builds the suite from Debian's source package of BoringSSL, and make setup-test calls it. BoGo starts
// a program for each test: see shim.
package conformance
