package tests

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"megaphone/acme"
	"megaphone/admin"
	"megaphone/tests/rig"
)

// pebble is Let's Encrypt's CA for tests, with a DNS server in which every name is 127.0.0.1. Its module has a go.mod
// of its own.
type pebble struct {
	*rig.Process
	t                     *testing.T
	address, management   string
	certificate, key, dns string
	http, tls             string // the edge's addresses that it validates domains at
	life                  int    // of certificates, in seconds
	environment           []string
}

// pebbleTool returns the path of a program, which is built once.
func pebbleTool(t testing.TB, name string) string {
	t.Helper()
	cmd := exec.Command("go", "tool", "-modfile=tests/pebble/pebble.mod", "-n", name)
	cmd.Dir = ".."
	var says bytes.Buffer
	cmd.Stderr = &says
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, says.String())
	}
	return strings.TrimSpace(string(out))
}

// newPebble prepares a CA; Start starts it.
func newPebble(t *testing.T) *pebble {
	t.Helper()
	a := newAuthority(t)
	files := strings.Fields(a.issue(t, ecdsaKey(t), "localhost"))
	p := &pebble{t: t, address: freeAddr(t), management: freeAddr(t), certificate: files[2],
		key: files[4], http: freeAddr(t), tls: freeAddr(t), life: 7776000,
		environment: []string{"PEBBLE_VA_NOSLEEP=1"}}
	p.dns = freeAddr(t)
	dns := rig.Launch(t, exec.Command(pebbleTool(t, "pebble-challtestsrv"), "-dnsserver", p.dns, "-management",
		freeAddr(t), "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "", "-defaultIPv6", ""))
	awaitPort(t, dns, p.dns)
	return p
}

// start starts the CA.
func (p *pebble) start() *pebble {
	p.t.Helper()
	type object = map[string]any
	text, err := json.Marshal(object{"pebble": object{
		"listenAddress": p.address, "managementListenAddress": p.management, "certificate": p.certificate,
		"privateKey": p.key, "httpPort": portOf(p.t, p.http), "tlsPort": portOf(p.t, p.tls),
		"domainBlocklist": []string{"refused.example"}, "keyAlgorithm": "ecdsa",
		"retryAfter": object{"authz": 1, "order": 1},
		"profiles":   object{"default": object{"description": "tests", "validityPeriod": p.life}},
	}})
	if err != nil {
		p.t.Fatal(err)
	}
	name := filepath.Join(p.t.TempDir(), "pebble.json")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command(pebbleTool(p.t, "pebble"), "-config", name, "-dnsserver", p.dns)
	cmd.Env = append(os.Environ(), p.environment...)
	p.Process = rig.Launch(p.t, cmd)
	awaitPort(p.t, p.Process, p.address)
	awaitPort(p.t, p.Process, p.management)
	return p
}

// awaitPort waits until a program listens.
func awaitPort(t testing.TB, p *rig.Process, address string) {
	t.Helper()
	for deadline := time.Now().Add(rig.Patience); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v\n%s", err, p.Text())
		}
	}
}

func portOf(t testing.TB, address string) (port int) {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return a.Port
}

// roots returns the CA's present roots: it makes others at each start.
func (p *pebble) roots() *x509.CertPool {
	p.t.Helper()
	text := p.ask("GET", "/roots/0", "")
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(text)) {
		p.t.Fatalf("no root in %q", text)
	}
	return pool
}

// ask sends a request to the management interface.
func (p *pebble) ask(method, path, body string) string {
	p.t.Helper()
	client := &http.Client{Timeout: rig.Patience, Transport: &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: newAuthority(p.t).pool, ServerName: "localhost"}}}
	q, err := http.NewRequest(method, "https://"+p.management+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := client.Do(q)
	if err != nil {
		p.t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != 200 {
		p.t.Fatalf("%s: %d %s, %v", path, r.StatusCode, text, err)
	}
	return string(text)
}

// issuedEdge is an edge that gets its certificates from a pebble.
type issuedEdge struct {
	*rig.Process
	t           *testing.T
	file, state string
	at          string // its listener with TLS
}

// config writes the configuration of an edge with two listeners: one with TLS, one that redirects to it.
func (p *pebble) config(t *testing.T, domains string) *issuedEdge {
	t.Helper()
	e := &issuedEdge{t: t, state: filepath.Join(t.TempDir(), "state"), at: p.tls}
	e.file = configFile(t, fmt.Sprintf(`listeners:
  - address: %s
    tls:
      acme:
        domains: [%s]
        email: operator@example.org
        directory: https://localhost:%d/dir
        directory-ca: %s
  - address: %s
    https-redirect: 443
origins:
  - name: a
    address: %s
max-connections: 500
check-host: off
admin: 127.0.0.1:0
state-directory: %s
takeover-socket: %s
drain-jitter: 1s
`, p.tls, domains, portOf(t, p.address), newAuthority(t).ca, p.http, telling(t).addr, e.state,
		filepath.Join(t.TempDir(), "s")))
	return e
}

func (e *issuedEdge) start(args ...string) *issuedEdge {
	e.t.Helper()
	e.Process = rig.Serve(e.t, append([]string{"edge", "--config", e.file}, args...)...).Linked(1)
	return e
}

// present returns the certificate that the edge presents for a name.
func (e *issuedEdge) present(name string) *x509.Certificate {
	e.t.Helper()
	c, err := tls.Dial("tcp", e.at, &tls.Config{InsecureSkipVerify: true, ServerName: name})
	if err != nil {
		e.t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0]
}

// verify makes a verified request.
func (e *issuedEdge) verify(p *pebble, name string) {
	e.t.Helper()
	c, err := tls.Dial("tcp", e.at, &tls.Config{RootCAs: p.roots(), ServerName: name})
	if err != nil {
		e.t.Fatalf("%v\n%s", err, e.Text())
	}
	defer c.Close()
	fmt.Fprint(c, localPost(1, true))
	if text, err := io.ReadAll(c); err != nil || !strings.Contains(string(text), "told=") {
		e.t.Errorf("%q, %v", text, err)
	}
}

// acmeState returns what /status has of the edge's orders.
func (e *issuedEdge) acmeState() []acme.State {
	e.t.Helper()
	code, text := fetch(e.t, "http://"+shownAt(e.Process, "127.")+"/status")
	var s admin.Status
	if err := json.Unmarshal([]byte(text), &s); err != nil || code != 200 {
		e.t.Fatalf("%d %s, %v", code, text, err)
	}
	return s.ACME
}

// measured makes sure that /metrics has a line.
func (e *issuedEdge) measured(line string) {
	e.t.Helper()
	if _, text := fetch(e.t, "http://"+shownAt(e.Process, "127.")+"/metrics"); !strings.Contains(text, "\n"+line+"\n") {
		e.t.Errorf("no line %s in\n%s", line, text)
	}
}

// examined makes sure that doctor says something about the edge's file.
func (e *issuedEdge) examined(says ...string) {
	e.t.Helper()
	_, text := rig.Run(e.t, "doctor", "--sockets", "100", "--config", e.file)
	for _, s := range says {
		if !strings.Contains(text, s) {
			e.t.Errorf("doctor does not say %q:\n%s", s, text)
		}
	}
}
