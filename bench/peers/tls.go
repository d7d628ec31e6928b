package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"megaphone/internal/selfsigned"
)

// certificateFile has a certificate and its key, as HAProxy and hitch want them.
const certificateFile = "both.pem"

// tlsKinds are the ways to serve clients that come by TLS. Behind the edge are links, and behind the others HTTP.
var tlsKinds = []kind{
	{
		name: "edge", path: boshPath, pace: fast, tls: true, holds: peerHolds, files: []string{"tls-edge.yml"},
		version: []string{"bin/megaphone", "version"},
		programs: func(o *options, s *settings, _ *back) [][]string {
			return [][]string{{filepath.Join(o.root, "bin", "megaphone"), "edge", "--config", s.Dir + "/tls-edge.yml"}}
		},
	},
	{
		name: "nginx", path: boshPath, pace: fast, tls: true, holds: peerHolds, files: []string{"tls-nginx.conf"},
		version: []string{"nginx", "-v"},
		programs: func(_ *options, s *settings, _ *back) [][]string {
			return [][]string{{"nginx", "-e", s.Dir + "/nginx.log", "-p", s.Dir, "-c", s.Dir + "/tls-nginx.conf"}}
		},
	},
	{
		name: "haproxy", path: boshPath, pace: fast, tls: true, holds: peerHolds, files: []string{"tls-haproxy.cfg"},
		version: []string{"haproxy", "-v"},
		programs: func(_ *options, s *settings, _ *back) [][]string {
			return [][]string{{"haproxy", "-db", "-f", s.Dir + "/tls-haproxy.cfg"}}
		},
	},
	{
		name: "hitch", path: boshPath, pace: fast, tls: true, holds: peerHolds, files: []string{"tls-hitch.conf"},
		version: []string{"hitch", "--version"},
		programs: func(_ *options, s *settings, _ *back) [][]string {
			return [][]string{{"hitch", "--config", s.Dir + "/tls-hitch.conf", "--quiet"}}
		},
	},
}

// writeCertificate makes the certificate that all servers have: self-signed, ECDSA P-256.
func writeCertificate(dir string) error {
	made, err := selfsigned.Write(dir, "Megaphone benchmark", 48*time.Hour)
	if err != nil {
		return err
	}
	certificate, err := os.ReadFile(made.Certificate)
	if err != nil {
		return err
	}
	key, err := os.ReadFile(made.Key)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, certificateFile), append(certificate, key...), 0o600)
}

// clientConfig is the same for all servers: X25519, because OpenSSL 3.0 has no key exchange with ML-KEM.
func clientConfig(version uint16, sessions tls.ClientSessionCache) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", MinVersion: version, MaxVersion: version,
		CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256}, ClientSessionCache: sessions}
}

// way is a kind of handshake.
type way struct {
	name    string
	version uint16
	resumed bool
}

var ways = []way{
	{"full handshake of TLS 1.3", tls.VersionTLS13, false},
	{"resumed session of TLS 1.3", tls.VersionTLS13, true},
	{"full handshake of TLS 1.2", tls.VersionTLS12, false},
}

// comers are clients that come and leave: a connection, a handshake, one request, and the end.
type comers struct {
	done, failed, resumed atomic.Int64
	problem               atomic.Value // error: one of those that failed
}

// come measures new connections, freshConnections at a time.
func (r *running) come(ctx context.Context, o *options, b *back, path string, w way) (m measured, err error) {
	pids := r.pids()
	server, origin, began := cpuOfAll(pids), cpuOf(b.cmd.Process.Pid), time.Now()
	ctx, cancel := context.WithTimeout(ctx, o.duration)
	defer cancel()
	var all comers
	var group sync.WaitGroup
	var mu sync.Mutex
	var times []time.Duration
	for range freshConnections {
		group.Go(func() {
			config := clientConfig(w.version, nil)
			if w.resumed {
				config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			}
			mine := all.one(ctx, r.addr, path, config)
			mu.Lock()
			times = append(times, mine...)
			mu.Unlock()
		})
	}
	group.Wait()
	took, n := time.Since(began).Seconds(), float64(all.done.Load())
	if err := all.check(w); err != nil {
		return m, err
	}
	return measured{perSecond: n / took, p99Millis: p99(times), errors: int(all.failed.Load()),
		server: (cpuOfAll(pids) - server) / n * 1e5, origin: (cpuOf(b.cmd.Process.Pid) - origin) / n * 1e5}, nil
}

// check returns an error if the connections were not what they should have been.
func (a *comers) check(w way) error {
	n := a.done.Load()
	if n == 0 {
		return fmt.Errorf("%s: none has succeeded: %v", w.name, a.problem.Load())
	}
	// The first of each client cannot be resumed, nor the one after a failure.
	full := n - a.resumed.Load()
	if most := 2 * (freshConnections + a.failed.Load()); w.resumed && full > most || !w.resumed && full < n {
		return fmt.Errorf("%s: of %d handshakes %d are full", w.name, n, full)
	}
	return nil
}

// one comes again and again until ctx is over, and returns how long each time took.
func (a *comers) one(ctx context.Context, addr, path string, config *tls.Config) (times []time.Duration) {
	request := strings.Replace(post(path, shortBody), "\r\n", "\r\nConnection: close\r\n", 1)
	for ctx.Err() == nil {
		began := time.Now()
		resumed, err := visit(addr, request, config)
		if err != nil {
			a.failed.Add(1)
			a.problem.Store(err)
			time.Sleep(10 * time.Millisecond) // a server that refuses all is not flooded
			continue
		}
		times = append(times, time.Since(began))
		a.done.Add(1)
		if resumed {
			a.resumed.Add(1)
		}
	}
	return times
}

// visit makes one connection, with one request.
func visit(addr, request string, config *tls.Config) (resumed bool, err error) {
	raw, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return false, err
	}
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	c := tls.Client(raw, config)
	defer c.Close()
	if _, err := io.WriteString(c, request); err != nil {
		return false, err
	}
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return false, errors.New(response.Status)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return c.ConnectionState().DidResume, err
}
