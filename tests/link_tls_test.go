package tests

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// pairFiles returns the files of a certificate for names.
func (a *authority) pairFiles(t testing.TB, names ...string) (certificate, key string) {
	t.Helper()
	words := strings.Fields(a.issue(t, ecdsaKey(t), names...))
	return words[2], words[4]
}

// secureOrigin starts an embedded origin with TLS on its links.
func secureOrigin(t *testing.T, names ...string) *rig.Process {
	t.Helper()
	c, k := newAuthority(t).pairFiles(t, names...)
	return rig.Serve(t, "origin", "--listen", "127.0.0.1:0", "--tls-cert", c, "--tls-key", k, "--secret-file",
		secretFile(t))
}

// edgeTo starts an edge whose only origin has the given keys besides its name.
func edgeTo(t *testing.T, keys string) *rig.Process {
	t.Helper()
	file := configFile(t, fmt.Sprintf("listen: 127.0.0.1:0\nadmin: off\nmax-connections: 500\ncheck-host: off\n"+
		"secret-file: %s\norigins: [{name: a, %s}]\n", secretFile(t), keys))
	return rig.Serve(t, "edge", "--config", file)
}

// TestLinksOverTLS: a session, and bodies as large as they may be, in both directions.
func TestLinksOverTLS(t *testing.T) {
	a := newAuthority(t)
	o := secureOrigin(t, "origin.example")
	e := edgeTo(t, fmt.Sprintf("address: '%s', tls: true, ca: %s, server-name: origin.example", o.Addr, a.ca))
	e.Linked(1)
	c := rig.Connect(t, e.Addr)
	c.Send(rig.PostText(rig.CreationText("localhost")))
	c.Get().Want(t, 200, "<stream:features")
	c.Send(rig.PostText("<body " + rig.BOSHNS + " rid='1' sid='none'>" + strings.Repeat("x", 200_000) + "</body>"))
	c.Get().Want(t, 200, "item-not-found")
	o.Kill()
	e.Line(0, "link lost")
}

// TestLinksThatAreNotVerified: each mistake has an error that names it, and no link comes up.
func TestLinksThatAreNotVerified(t *testing.T) {
	a := newAuthority(t)
	secured, plain := secureOrigin(t, "origin.example"), rig.Serve(t, "origin", "--listen", "127.0.0.1:0",
		"--secret-file", secretFile(t))
	other := filepath.Join(t.TempDir(), "other.pem")
	cmd := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
		"-keyout", filepath.Join(t.TempDir(), "k"), "-out", other, "-subj", "/CN=another", "-days", "1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, test := range []struct{ name, keys, says string }{
		{"another name", fmt.Sprintf("address: '%s', tls: true, ca: %s, server-name: b.example", secured.Addr, a.ca),
			"x509: certificate is valid for origin.example, not b.example"},
		{"the address", fmt.Sprintf("address: '%s', tls: true, ca: %s", secured.Addr, a.ca),
			"x509: cannot validate certificate for 127.0.0.1"},
		{"another CA", fmt.Sprintf("address: '%s', tls: true, ca: %s, server-name: origin.example", secured.Addr,
			other), "certificate signed by unknown authority"},
		{"a plain port", fmt.Sprintf("address: '%s', tls: true, ca: %s, server-name: origin.example", plain.Addr, a.ca),
			"the origin's port has no TLS"},
		{"TLS on a plain link", fmt.Sprintf("address: '%s'", secured.Addr), "TLS: set tls for this origin"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := edgeTo(t, test.keys)
			e.Line(0, test.says)
			if strings.Contains(e.Text(), "link up") {
				t.Error("the link is up")
			}
			e.Kill()
		})
	}
}

// TestOriginTLSFlags: mistakes are found at the start.
func TestOriginTLSFlags(t *testing.T) {
	c, k := newAuthority(t).pairFiles(t, "origin.example")
	for _, test := range []struct {
		args []string
		says string
	}{
		{[]string{"--tls-cert", c}, "tls-key: give the private key"},
		{[]string{"--tls-key", k}, "tls-cert: give the certificate"},
		{[]string{"--tls-cert", "/no/c", "--tls-key", k}, "tls-cert: /no/c: open /no/c: no such file"},
		{[]string{"--tls-cert", k, "--tls-key", k}, "tls-cert: "},
	} {
		code, said := rig.Run(t, append([]string{"origin", "--listen", "127.0.0.1:0"}, test.args...)...)
		if code != 2 || !strings.Contains(said, test.says) {
			t.Errorf("%q: %d %s", test.args, code, said)
		}
	}
}

// TestRenewedOrigin: an origin takes changed files without a restart. It names those that would not serve, and keeps
// the former certificate.
func TestRenewedOrigin(t *testing.T) {
	a := newAuthority(t)
	c, k := a.pairFiles(t, "one.example")
	o := rig.Serve(t, "origin", "--listen", "127.0.0.1:0", "--tls-cert", c, "--tls-key", k)
	c2, k2 := a.pairFiles(t, "two.example")
	for from, to := range map[string]string{c2: c, k2: k} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o600); err != nil {
			t.Fatal(err)
		}
		later := time.Now().Add(time.Second)
		if err := os.Chtimes(to, later, later); err != nil {
			t.Fatal(err)
		}
	}
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: rig.Patience}, Config: &tls.Config{RootCAs: a.pool,
		ServerName: "two.example"}}
	dial := func() {
		t.Helper()
		conn, err := d.Dial("tcp", o.Addr)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	dial()
	if err := os.WriteFile(c, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(c, later, later); err != nil {
		t.Fatal(err)
	}
	dial()
	o.Line(0, "certificate rejected, the old one stays")
}

// TestReloadOfLinkTLS: other keys end the link, and the next one has them.
func TestReloadOfLinkTLS(t *testing.T) {
	a := newAuthority(t)
	o := secureOrigin(t, "origin.example")
	secret := secretFile(t)
	file := filepath.Join(t.TempDir(), "edge.yml")
	write := func(name string) {
		text := fmt.Sprintf("listen: 127.0.0.1:0\nadmin: off\nmax-connections: 500\ncheck-host: off\nsecret-file: %s\n"+
			"origins: [{name: a, address: '%s', tls: true, ca: %s, server-name: %s}]\n", secret, o.Addr, a.ca, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("b.example")
	e := rig.Serve(t, "edge", "--config", file)
	e.Line(0, "not b.example")
	write("origin.example")
	e.Signal(syscall.SIGHUP)
	e.Line(0, "link up")
	from := e.Said()
	write("c.example")
	e.Signal(syscall.SIGHUP)
	e.Line(from, "the configuration changed its address or TLS")
	e.Line(from, "not c.example")
}

// TestLinksByHAProxy: OpenSSL, with session tickets behind the handshake, as in front of an ejabberd.
func TestLinksByHAProxy(t *testing.T) {
	a := newAuthority(t)
	o := rig.Serve(t, "origin", "--listen", "127.0.0.1:0", "--secret-file", secretFile(t))
	dir, at := t.TempDir(), freeAddr(t)
	c, k := a.pairFiles(t, "origin.example")
	var both []byte
	for _, name := range []string{c, k} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, text...)
	}
	pem := filepath.Join(dir, "links.pem")
	if err := os.WriteFile(pem, both, 0o600); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(name, fmt.Appendf(nil, "defaults\n\tmode tcp\n\ttimeout connect 5s\n\ttimeout client 1m\n"+
		"\ttimeout server 1m\nlisten links\n\tbind %s ssl crt %s ssl-min-ver TLSv1.3\n\tserver origin %s\n", at, pem,
		o.Addr), 0o600); err != nil {
		t.Fatal(err)
	}
	awaitPort(t, rig.Launch(t, exec.Command("haproxy", "-db", "-f", name)), at)
	e := edgeTo(t, fmt.Sprintf("address: '%s', tls: true, ca: %s, server-name: origin.example", at, a.ca)).Linked(1)
	client := rig.Connect(t, e.Addr)
	for range 20 {
		client.Send(rig.PostText("<body " + rig.BOSHNS + " rid='1' sid='none'>" + strings.Repeat("x", 100_000) +
			"</body>"))
		client.Get().Want(t, 200, "item-not-found")
	}
}
