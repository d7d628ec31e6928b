package tests

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"megaphone/tests/rig"
)

// maxSecureHeldBytes bounds what a request that is held by https takes of a gateway, with the garbage of its handshake.
const maxSecureHeldBytes = 64 << 10

// TestMemoryOfSecureRequests: requests that are held at an https endpoint take a bounded part of the gateway each, and
// all are answered.
func TestMemoryOfSecureRequests(t *testing.T) {
	const first, all = 50, 450
	var held atomic.Int64
	release := make(chan struct{})
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			held.Add(1)
			<-release
		}
		w.Header().Set("Content-Type", "text/xml")
		_, _ = w.Write([]byte("<body " + rig.BOSHNS + "/>"))
	}))
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
		0o600); err != nil {
		t.Fatal(err)
	}
	g := rig.Serve(t, "origin", "--listen", "127.0.0.1:0", "--bosh", server.URL+"/http-bind", "--endpoint-ca", ca)
	e := rig.Serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "g="+g.Addr, "--reactors", "1",
		"--max-connections", "500").Linked(1)
	clients := make([]*rig.Client, 0, all)
	hold := func(n int) int {
		for len(clients) < n {
			c := rig.Connect(t, e.Addr)
			c.Send(rig.PostText(fmt.Sprintf("<body rid='1' sid='s%d' %s/>", len(clients), rig.BOSHNS)))
			clients = append(clients, c)
		}
		e.Until("held requests", func(map[string]int) bool { return int(held.Load()) == n })
		return g.Anonymous()
	}
	before := hold(first)
	each := (hold(all) - before) / (all - first)
	t.Logf("%d bytes each", each)
	if each > maxSecureHeldBytes {
		t.Errorf("a held request takes %d bytes, at most %d", each, maxSecureHeldBytes)
	}
	close(release)
	for _, c := range clients {
		c.Get().Want(t, 200, "<body")
	}
}

// TestEndpointCA: a file that is none is an error at the start, and so is the flag without a gateway.
func TestEndpointCA(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ args, says string }{
		{"--bosh https://h/x --endpoint-ca /no/file", "endpoint-ca: open /no/file: no such file"},
		{"--bosh https://h/x --endpoint-ca " + empty, "it has no certificate: give a PEM file"},
		{"--endpoint-ca " + empty, "applies to the gateway: add --bosh URL"},
		{"--bosh ftp://h/x", "only http and https"},
	} {
		args := append([]string{"origin", "--listen", "127.0.0.1:0"}, strings.Fields(test.args)...)
		if code, said := rig.Run(t, args...); code != 2 || !strings.Contains(said, test.says) {
			t.Errorf("%s: %d %s", test.args, code, said)
		}
	}
}
