package servers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"megaphone/tests/rig"
)

// linkedTo starts an edge whose only origin has the given keys besides its name.
func linkedTo(t *testing.T, secretFile, keys string) *rig.Process {
	t.Helper()
	return linkedFrom(t, "127.0.0.1:0", secretFile, keys)
}

func linkedFrom(t *testing.T, listen, secretFile, keys string) *rig.Process {
	t.Helper()
	file := filepath.Join(t.TempDir(), "edge.yml")
	text := fmt.Sprintf("listen: %s\nadmin: off\nreactors: %d\nmax-connections: 500\ncheck-host: off\n"+
		"secret-file: %s\norigins: [{name: a, %s}]\n", listen, edgeReactors, secretFile, keys)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return rig.Serve(t, "edge", "--config", file)
}

// TestEjabberdLinksOverTLS: two people talk over links with TLS, with both engines, while their edge is killed and
// replaced; each mistake of an edge is named in its log and no link comes up; a changed file counts without a reload.
func TestEjabberdLinksOverTLS(t *testing.T) {
	t.Parallel()
	file, secret := secretFile(t)
	pem := filepath.Join(t.TempDir(), "links.pem")
	writeCertificate(t, pem)
	first, err := os.ReadFile(pem)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, first, 0o600); err != nil {
		t.Fatal(err)
	}
	j := startEjabberd(t, "--certfile", pem, "--secret", secret)
	for _, engine := range engines {
		keys := fmt.Sprintf("address: '%s', tls: true, ca: %s, server-name: localhost", j.with(engine).link, ca)
		e := linkedTo(t, file, keys).Linked(edgeReactors)
		at := through(engine, e)
		alice, bob := logIn(t, at, "alice"), logIn(t, at, "bob")
		chatThrough(t, alice, bob, 100, func() {
			e.Kill()
			e = linkedFrom(t, e.Addr, file, keys).Linked(edgeReactors)
		})
		large := "<iq type='get' id='v' to='localhost' xmlns='jabber:client'><query xmlns='jabber:iq:version'>" +
			strings.Repeat(" ", 200_000) + "</query></iq>"
		if _, err := alice.exchange(large); err != nil {
			t.Errorf("%s: %v", engine, err)
		}
		alice.leave(t)
		bob.leave(t)
		e.Kill()
	}

	other := filepath.Join(t.TempDir(), "other.pem")
	writeCertificate(t, other)
	for _, test := range []struct{ name, keys, says string }{
		{"another name", "tls: true, ca: " + ca + ", server-name: b.example",
			"x509: certificate is valid for localhost"},
		{"another CA", "tls: true, ca: " + other + ", server-name: localhost",
			"x509: certificate signed by unknown authority"},
		{"plain", "", "set tls for this origin"},
	} {
		keys := fmt.Sprintf("address: '%s', %s", j.link, test.keys)
		e := linkedTo(t, file, strings.TrimSuffix(keys, ", "))
		e.Line(0, test.says)
		if strings.Contains(e.Text(), "link up") {
			t.Errorf("%s: the link is up", test.name)
		}
		e.Kill()
	}
	if n := j.stats()["ended_tls"]; n < 3 {
		t.Errorf("ended_tls is %d", n)
	}
	for _, line := range j.logged("TLS") {
		if strings.Contains(line, "SERVER ALERT") {
			t.Errorf("a record of Erlang's ssl: %s", line)
		}
	}

	next, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pem, next, 0o600); err != nil {
		t.Fatal(err)
	}
	j.number("begin ssl:clear_pem_cache(), 0 end") // what ssl does every two minutes
	linkedTo(t, file, fmt.Sprintf("address: '%s', tls: true, ca: %s, server-name: localhost", j.link, other)).
		Linked(edgeReactors)
}

// TestListenerTLSOptions: ejabberd refuses a certfile that cannot serve, and says why.
func TestListenerTLSOptions(t *testing.T) {
	t.Parallel()
	j := startNode(t)
	config := filepath.Join(j.dir, "ejabberd.yml")
	good := read(t, config)
	pem := filepath.Join(t.TempDir(), "c.pem")
	writeCertificate(t, pem)
	certificate, _, _ := strings.Cut(read(t, pem), "-----BEGIN PRIVATE KEY-----")
	half := filepath.Join(t.TempDir(), "half.pem")
	if err := os.WriteFile(half, []byte(certificate), 0o600); err != nil {
		t.Fatal(err)
	}
	for options, want := range map[string]string{
		"certfile: /no/file.pem": "/no/file.pem",
		"certfile: " + config:    "certfile",
		"certfile: " + half:      "there is no private key in this file: append it to the certificate",
		"tls: perhaps":           "tls: Expected boolean",
	} {
		text := strings.Replace(good, "module: mod_megaphone\n", "module: mod_megaphone\n    "+options+"\n", 1)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := j.run(rig.Patience, "ctl", j.dir, "reload_config"); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", options, err)
		}
	}
	text := strings.Replace(good, "module: mod_megaphone\n", "module: mod_megaphone\n    tls: true\n", 1)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	j.stop()
	j.start()
	linkedTo(t, noSecret(t), fmt.Sprintf("address: '%s'", j.link)).Line(0, "link")
	if _, err := j.run(rig.Patience, "ctl", j.dir, "megaphone_doctor", "1000"); err == nil ||
		!strings.Contains(err.Error(), "tls without certfile") {
		t.Errorf("the doctor says %v", err)
	}
	if n := j.stats(); n["links"] != 0 || n["ended_tls"] == 0 {
		t.Errorf("without a file: %v", n)
	}
}

func noSecret(t *testing.T) string {
	t.Helper()
	file, _ := secretFile(t)
	return file
}

// TestGatewayByHTTPS: two people talk over a gateway to Prosody by https, a WebSocket comes by wss, and a certificate
// that is not verified is named in the log.
func TestGatewayByHTTPS(t *testing.T) {
	t.Parallel()
	p := startProsody(t, "--max-inactivity", inactivity)
	p.stop()
	port, pem := freePort(t), filepath.Join(t.TempDir(), "c.pem")
	writeCertificate(t, pem)
	config := filepath.Join(p.dir, "prosody.cfg.lua")
	text := strings.Replace(read(t, config), "https_ports = { }", fmt.Sprintf(
		"https_ports = { %s }\nhttps_interfaces = { \"127.0.0.1\" }\nhttps_ssl = { key = %q; certificate = %q }", port,
		pem, pem), 1)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p.start()
	file, _ := secretFile(t)
	url, ws := "https://localhost:"+port+"/http-bind", "wss://localhost:"+port+"/xmpp-websocket"
	g := serveGateway(t, file, url, "--endpoint-ca", pem, "--websocket", ws)
	e := serveEdge(t, 1, "g="+g.Addr, file)
	at := through("edge", e)
	alice, bob := logIn(t, at, "alice"), logIn(t, at, "bob")
	chatThrough(t, alice, bob, 100, func() {
		g.Kill()
		g = serveGateway(t, file, url, "--endpoint-ca", pem, "--websocket", ws, "--listen", g.Addr)
	})
	alice.leave(t)
	bob.leave(t)

	ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+e.Addr+"/xmpp-websocket", &websocket.DialOptions{
		Subprotocols: []string{"xmpp"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	const open = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>"
	if err := c.Write(ctx, websocket.MessageText, []byte(open)); err != nil {
		t.Fatal(err)
	}
	if _, got, err := c.Read(ctx); err != nil || !strings.HasPrefix(string(got), "<open ") {
		t.Fatalf("%q, %v", got, err)
	}

	wrong := serveGateway(t, file, "https://127.0.0.1:"+port+"/http-bind", "--endpoint-ca", pem)
	unknown := serveGateway(t, file, url, "--websocket", ws)
	for g, says := range map[*rig.Process]string{
		wrong:   "x509: cannot validate certificate for 127.0.0.1",
		unknown: "x509: certificate signed by unknown authority",
	} {
		e := serveEdge(t, 1, "g="+g.Addr, file)
		g.Line(0, says)
		answer(rig.Connect(t, e.Addr), rig.PostText(creation)).Want(t, 503, "")
		if g == unknown {
			if _, _, err := websocket.Dial(ctx, "ws://"+e.Addr+"/xmpp-websocket", &websocket.DialOptions{
				Subprotocols: []string{"xmpp"}}); err == nil {
				t.Error("a WebSocket to a server that is not verified")
			}
			line := g.Line(0, "no WebSocket to the server")
			if !strings.Contains(line, "x509: certificate signed by unknown authority") {
				t.Error(line)
			}
		}
	}
}
