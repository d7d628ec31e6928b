// Command shim lets BoGo, BoringSSL's suite for TLS, test package secure, as a server and as a client. BoGo starts it
// once per test, with a port and flags. It exits with 0 or 1, or with 89 if it does not know a flag. BoGo then skips
// the test.
//
//	BoGo <--TCP-- relay --TCP--> reactor with secure.Transport, or a tls.Conn: the reference
//
// BoGo's port takes connections, and a reactor's too, so the relay stands between them. It returns what it gets with
// each byte inverted, as BoGo demands.
package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"time"
)

// referenceVariable chooses the server of crypto/tls alone, if it is not empty.
const referenceVariable = "SHIM_REFERENCE"

// unimplemented is the exit status that has BoGo skip a test.
const unimplemented = 89

// patience bounds a connection. BoGo's own patience is 15 s.
const patience = 20 * time.Second

// options are BoGo's flags that the servers honour.
type options struct {
	port, cert, key string
	server          bool
	resumptions     int
	writesFirst     bool // "hello" once the handshake is over
	noTickets       bool
	minVersion      uint16
	maxVersion      uint16 // of a client
	hostName        string // of a client
	wantVersion     uint16
	wantNoSession   bool
	wantName        string
}

func parse(args []string) (*options, error) {
	o := &options{minVersion: tls.VersionTLS12, maxVersion: tls.VersionTLS13}
	fs := flag.NewFlagSet("shim", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&o.port, "port", "", "")
	fs.StringVar(&o.cert, "cert-file", "", "")
	fs.StringVar(&o.key, "key-file", "", "")
	fs.BoolVar(&o.server, "server", false, "")
	fs.IntVar(&o.resumptions, "resume-count", 0, "")
	fs.BoolVar(&o.writesFirst, "shim-writes-first", false, "")
	fs.BoolVar(&o.noTickets, "no-ticket", false, "")
	fs.BoolVar(&o.wantNoSession, "expect-session-miss", false, "")
	fs.StringVar(&o.wantName, "expect-server-name", "", "")
	lowest := fs.Int("min-version", 0, "")
	version := fs.Int("expect-version", 0, "")
	fs.StringVar(&o.hostName, "host-name", "test", "")
	highest := fs.Int("max-version", tls.VersionTLS13, "")
	without13 := fs.Bool("no-tls13", false, "")
	without12 := fs.Bool("no-tls12", false, "")
	for _, name := range []string{"no-ssl3", "no-tls1", "no-tls11", "enable-early-data",
		"on-resume-expect-reject-early-data"} {
		fs.Bool(name, false, "") // so it is in any case
	}
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if *without13 {
		*highest = tls.VersionTLS12
	}
	if o.maxVersion = uint16(*highest); o.server && o.maxVersion != tls.VersionTLS13 {
		return nil, errors.New("servers have no highest version")
	}
	if !o.server && (o.cert != "" || o.resumptions > 0 || *lowest > tls.VersionTLS12 || *without12 ||
		o.maxVersion < tls.VersionTLS12) {
		return nil, errors.New("clients have no certificate, no cache of sessions, and no lowest version")
	}
	o.minVersion, o.wantVersion = max(o.minVersion, uint16(*lowest)), uint16(*version)
	if *without12 {
		o.minVersion = tls.VersionTLS13
	}
	return o, nil
}

// outcome is what a server has to say about one connection.
type outcome struct {
	secured bool // the handshake is over
	version uint16
	resumed bool
	name    string
	err     error
}

// check compares an outcome with what BoGo demands.
func (o *options) check(got outcome) error {
	switch {
	case got.err != nil:
		return got.err
	case !got.secured:
		return errors.New("the connection has ended in the handshake")
	case o.wantVersion != 0 && o.wantVersion != got.version:
		return fmt.Errorf("version %x, want %x", got.version, o.wantVersion)
	case o.wantNoSession && got.resumed:
		return errors.New("resumed")
	case o.wantName != "" && o.wantName != got.name:
		return fmt.Errorf("server name %q, want %q", got.name, o.wantName)
	}
	return nil
}

func main() {
	if slices.Contains(os.Args, "-is-handshaker-supported") { // a process for handshakes, as BoringSSL has one
		fmt.Println("No")
		return
	}
	o, err := parse(os.Args[1:])
	if err != nil {
		os.Exit(unimplemented)
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run serves a connection, and then those that resume its session.
func run(o *options) error {
	var certificate tls.Certificate
	if o.server {
		var err error
		if certificate, err = tls.LoadX509KeyPair(o.cert, o.key); err != nil {
			return err
		}
	}
	start := startReactor
	if os.Getenv(referenceVariable) != "" {
		start = startReference
	}
	address, outcomes, err := start(o, certificate)
	if err != nil {
		return err
	}
	for range o.resumptions + 1 {
		if err := relay(o.port, address); err != nil {
			return err
		}
		select {
		case got := <-outcomes:
			if err := o.check(got); err != nil {
				return err
			}
		case <-time.After(patience):
			return errors.New("the server does not end the connection")
		}
	}
	return nil
}

// relay connects BoGo with the server, until both have ended.
func relay(port, address string) error {
	suite, err := dialSuite(port)
	if err != nil {
		return err
	}
	defer suite.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer server.Close()
	for _, c := range []net.Conn{suite, server} {
		_ = c.SetDeadline(time.Now().Add(patience))
	}
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{suite, server}, {server, suite}} {
		go func() {
			pass(way[0].(*net.TCPConn), way[1].(*net.TCPConn))
			done <- struct{}{}
		}()
	}
	<-done
	<-done
	return nil
}

// pass copies one direction up to its FIN. If the receiver has closed, the rest is read and dropped, because a reset
// would overtake the alert on its way to the sender.
func pass(from, to *net.TCPConn) {
	_, _ = io.Copy(to, from)
	_ = to.CloseWrite()
	_, _ = io.Copy(io.Discard, from)
}

// dialSuite connects to BoGo, which listens on either family.
func dialSuite(port string) (c net.Conn, err error) {
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return nil, err
	}
	for _, host := range []string{"::1", "127.0.0.1"} {
		if c, err = net.Dial("tcp", net.JoinHostPort(host, port)); err == nil {
			return c, nil
		}
	}
	return nil, err
}
