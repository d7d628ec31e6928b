package main

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestVisits: a client with a cache resumes, one without does not, and an answer that is not 200 is an error.
func TestVisits(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != boshPath {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.Copy(w, r.Body)
	}))
	defer s.Close()
	addr := s.Listener.Addr().String()
	request := strings.Replace(post(boshPath, shortBody), "\r\n", "\r\nConnection: close\r\n", 1)
	for _, w := range ways {
		config := clientConfig(w.version, nil)
		if w.resumed {
			config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		}
		for i := range 3 {
			if resumed, err := visit(addr, request, config); err != nil || resumed != (w.resumed && i > 0) {
				t.Errorf("%s, visit %d: resumed %v, %v", w.name, i, resumed, err)
			}
		}
	}
	other := strings.Replace(request, boshPath, "/other", 1)
	if _, err := visit(addr, other, clientConfig(tls.VersionTLS13, nil)); err == nil {
		t.Error("404 is taken for an answer")
	}
	s.Close()
	if _, err := visit(addr, request, clientConfig(tls.VersionTLS13, nil)); err == nil {
		t.Error("there is no server")
	}
}

// TestHandshakesAreOfTheirKind: figures of full handshakes are not taken for those of resumed sessions.
func TestHandshakesAreOfTheirKind(t *testing.T) {
	for _, test := range []struct {
		done, resumed int64
		way           way
		good          bool
	}{
		{0, 0, way{}, false},
		{1000, 0, way{}, true},
		{1000, 1, way{}, false},
		{1000, 0, way{resumed: true}, false},
		{1000, 1000 - freshConnections, way{resumed: true}, true},
	} {
		var a comers
		a.done.Store(test.done)
		a.resumed.Store(test.resumed)
		a.problem.Store(errors.New("refused"))
		if err := a.check(test.way); (err == nil) != test.good {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// TestConfigurations: every file of a kind is complete.
func TestConfigurations(t *testing.T) {
	for _, k := range tlsKinds {
		s := &settings{Dir: t.TempDir(), Listen: "127.0.0.1:1", Port: "1", Origin: "127.0.0.1:2", OriginPort: "2",
			Links: "127.0.0.1:3", Certificate: "/c.pem", Clients: 10, Descriptors: 20, Connections: 5}
		if err := k.configure(s); err != nil {
			t.Fatal(err)
		}
		for _, name := range k.files {
			text, err := os.ReadFile(filepath.Join(s.Dir, name))
			if err != nil || !strings.Contains(string(text), "/c.pem") || strings.Contains(string(text), "{{") {
				t.Errorf("%s: %v\n%s", name, err, text)
			}
		}
	}
}

// TestPercentile: p99 is in milliseconds, and of no times it is 0.
func TestPercentile(t *testing.T) {
	var times []time.Duration
	for i := range 100 {
		times = append(times, time.Duration(100-i)*time.Millisecond)
	}
	if got := p99(times); got != 99 || p99(nil) != 0 {
		t.Error(got)
	}
}

// TestCertificate: the file has a certificate that fits its key.
func TestCertificate(t *testing.T) {
	dir := t.TempDir()
	if err := writeCertificate(dir); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, certificateFile)
	if _, err := tls.LoadX509KeyPair(file, file); err != nil {
		t.Error(err)
	}
}
