package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"megaphone/internal/textfile"
	"megaphone/internal/unixsocket"
	"megaphone/loop"
)

// Preflight returns a *KeyError for the first key that would keep the edge from starting on this host, for reasons that
// a parser cannot see: files, directories, addresses. It binds no port and creates no file. It does not check whether a
// port is taken, because a running edge may have it.
//
// A directory below /run may be missing unless starting is set, because a service manager creates it
// (RuntimeDirectory=). With starting, it does not check client addresses, because the edge may inherit their sockets.
func (v *Values) Preflight(starting bool) error {
	for _, b := range v.bounds {
		switch {
		case starting && (!b.unix || strings.HasPrefix(b.key, "listen")):
		case !b.unix:
			if err := loop.CheckAddress(b.text); err != nil {
				return bad(b.key, b.text, "cannot listen: "+err.Error())
			}
		case !starting && missingRun(b.text) != "":
		default:
			if err := unixsocket.Check(b.text); err != nil {
				return bad(b.key, b.text, err.Error())
			}
		}
	}
	if err := checkLogFile(v.AccessLog); err != nil {
		return bad("access-log", v.AccessLog, err.Error())
	}
	return v.checkState(starting)
}

// missingRun returns the directory of a socket if it is missing and a service manager may still create it.
func missingRun(path string) string {
	dir := filepath.Dir(path)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) && (strings.HasPrefix(dir, "/run/") ||
		strings.HasPrefix(dir, "/var/run/")) {
		return dir
	}
	return ""
}

// OpenAccessLog opens an access log for appending. It returns an error at once for a FIFO without a reader.
func OpenAccessLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY|unix.O_NONBLOCK, 0o640)
	if errors.Is(err, unix.ENXIO) {
		return nil, errors.New("no process reads this FIFO: start the reader first")
	}
	return f, err
}

// checkLogFile returns the error with which OpenAccessLog would fail. It creates no file.
func checkLogFile(path string) error {
	if path == "off" || path == "stderr" || path == "" {
		return nil
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		dir := filepath.Dir(path)
		if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
			return fmt.Errorf("no file can be created in %s (%w): create the directory, or choose another", dir, err)
		}
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return errors.New("this is a directory: give a file")
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, unix.ENXIO):
		return errors.New("no process reads this FIFO: start the reader first")
	case err != nil:
		return fmt.Errorf("it is not writable (%s): change its owner, or choose another file", reasonOf(err))
	}
	return f.Close()
}

// usualWait is the wait that Converse.js, Strophe.js and libpurple request.
const usualWait = 60 * time.Second

// Warnings returns a *KeyError for each valid value that is probably a mistake.
func (v *Values) Warnings() (all []error) {
	warn := func(key string, value any, remedy string) { all = append(all, bad(key, value, remedy)) }
	if v.HoldTimeout <= usualWait {
		warn("hold-timeout", v.HoldTimeout, fmt.Sprintf("most clients ask for a wait of %v, so polls would end with "+
			"504: use more than the longest wait that the origins allow", usualWait))
	}
	for i, l := range v.Config.Listeners {
		if text := everything(l.TrustedProxies); text != "" {
			warn(fmt.Sprintf("listeners[%d].trusted-proxies", i), text,
				"every client could forge its address: give the proxies' own networks")
		}
	}
	if text := everything(v.Config.LimitExempt); text != "" {
		warn("limit-exempt", text, "no address would be limited: leave the limits out instead")
	}
	if v.SecretFile != "" && textfile.ReadableByAll(v.SecretFile) {
		warn("secret-file", v.SecretFile, "every user may read the secret: chmod o-r it")
	}
	if v.OldProof {
		warn("accept-old-proof", v.Config.OldProof, "an origin's hello is not protected: turn it off once all "+
			"origins have been upgraded")
	}
	addresses := map[string]string{}
	for i, o := range v.Origins {
		if other, twice := addresses[o.Address]; twice {
			warn(fmt.Sprintf("origins[%d].address", i), o.Address, fmt.Sprintf("%q has the same address: "+
				"leave one out", other))
		}
		addresses[o.Address] = o.Name
	}
	for _, b := range v.bounds {
		if b.unix && missingRun(b.text) != "" {
			warn(b.key, b.text,
				missingRun(b.text)+" is missing: the service manager must create it (RuntimeDirectory=)")
		}
	}
	v.tlsWarnings(warn)
	return append(all, v.limitWarnings()...)
}

// limitWarnings checks the descriptor limit of this process. The service's limit may differ.
func (v *Values) limitWarnings() []error {
	err := loop.Config{Listen: make([]loop.Listener, len(v.Listeners)), MaxConnections: v.MaxConnections,
		Links: v.MaxLinks(), Reactors: v.Reactors, Tables: v.DescriptorTables}.Check()
	if err != nil {
		return []error{bad("max-connections", v.MaxConnections, err.Error())}
	}
	return nil
}

// everything returns the first of the networks that covers all of IPv4 or of IPv6.
func everything(networks []string) string {
	for _, text := range networks {
		if strings.HasSuffix(text, "/0") {
			return text
		}
	}
	return ""
}
