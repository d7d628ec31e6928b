package tests

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"megaphone/tests/rig"
)

// run runs a client with input, and returns what it prints.
func run(t *testing.T, input, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), rig.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// wantIn demands texts in the output of a client.
func wantIn(t *testing.T, out string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(out, text) {
			t.Errorf("no %q in\n%s", text, out)
		}
	}
}

// TestOpenSSL: versions and cipher suites, with two pipelined requests, and the same once more in a resumed session.
func TestOpenSSL(t *testing.T) {
	a := newAuthority(t)
	e, port := serveTLS(t, a.localCertificates(t), "")
	type variant struct{ version, option, suite string }
	var all []variant
	for _, suite := range []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"} {
		all = append(all, variant{"tls1_3", "-ciphersuites", suite})
	}
	for _, suite := range []string{"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
		"ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384",
		"ECDHE-RSA-CHACHA20-POLY1305"} {
		all = append(all, variant{"tls1_2", "-cipher", suite})
	}
	for _, v := range all {
		t.Run(v.suite, func(t *testing.T) {
			session := filepath.Join(t.TempDir(), "session")
			args := []string{"s_client", "-connect", "127.0.0.1:" + port, "-servername", "localhost", "-CAfile", a.ca,
				"-verify_return_error", "-verify_hostname", "localhost", "-ign_eof", "-alpn", "h2,http/1.1",
				"-" + v.version, v.option, v.suite}
			input := localPost(1, false) + localPost(2, true)
			for i, more := range []string{"-sess_out", "-sess_in"} {
				out := run(t, input, "openssl", append(args, more, session)...)
				wantIn(t, out, "Verify return code: 0 (ok)", "ALPN protocol: http/1.1",
					[]string{"New, ", "Reused, "}[i]+"TLSv1."+v.version[5:]+", Cipher is "+v.suite)
				if n := strings.Count(out, "<body told='127.0.0.1'/>"); n != 2 {
					t.Errorf("%d answers in\n%s", n, out)
				}
			}
		})
	}
	e.Until("handshakes", func(c map[string]int) bool {
		return c["tls_full"] == len(all) && c["tls_resumed"] == len(all)
	})
}

// TestOpenSSLHandshakes: variants of the handshake itself.
func TestOpenSSLHandshakes(t *testing.T) {
	a := newAuthority(t)
	e, port := serveTLS(t, a.localCertificates(t)+a.issue(t, ecdsaKey(t), "*.wild.example"), "")
	base := []string{"s_client", "-connect", "127.0.0.1:" + port, "-CAfile", a.ca, "-verify_return_error", "-ign_eof"}
	for name, args := range map[string][]string{
		"HelloRetryRequest": {"-groups", "X448:P-384", "-servername", "localhost"},
		"P-256":             {"-groups", "P-256", "-servername", "localhost"},
		"small records":     {"-max_send_frag", "512", "-servername", "localhost"},
		"no tickets":        {"-no_ticket", "-servername", "localhost"},
		"no middlebox":      {"-no_middlebox", "-servername", "localhost"},
		"no name":           {"-noservername"},
		"another name":      {"-servername", "unknown.example"},
		"wildcard": {"-servername", "chat.wild.example", "-verify_hostname",
			"chat.wild.example"},
		"padding":                            {"-record_padding", "1024", "-servername", "localhost"},
		"1.2 without extended master secret": {"-tls1_2", "-no_etm", "-servername", "localhost"},
	} {
		t.Run(name, func(t *testing.T) {
			out := run(t, localPost(1, true), "openssl", append(base, args...)...)
			wantIn(t, out, "<body told='127.0.0.1'/>", "Verify return code: 0 (ok)")
		})
	}
	for name, args := range map[string][]string{
		"TLS 1.1":       {"-tls1_1", "-cipher", "ALL:@SECLEVEL=0"},
		"CBC":           {"-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"},
		"RSA exchange":  {"-tls1_2", "-cipher", "AES128-GCM-SHA256"},
		"only HTTP/2":   {"-alpn", "h2"},
		"other version": {"-tls1", "-cipher", "ALL:@SECLEVEL=0"},
	} {
		cmd := exec.CommandContext(t.Context(), "openssl", append(base, args...)...)
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "alert") {
			t.Errorf("%s is accepted: %v\n%s", name, err, out)
		}
	}
	e.Until("refusals", func(c map[string]int) bool { return c["tls_no_common"] == 5 })
}

// TestOpenSSLKeyUpdate: the client changes its keys, and asks the edge to change those of the other direction.
func TestOpenSSLKeyUpdate(t *testing.T) {
	a := newAuthority(t)
	_, port := serveTLS(t, a.localCertificates(t), "")
	cmd := exec.Command("openssl", "s_client", "-connect", "127.0.0.1:"+port, "-servername", "localhost", "-CAfile",
		a.ca, "-tls1_3", "-crlf")
	p := rig.Launch(t, cmd)
	say := func(text string) {
		if _, err := io.WriteString(p.In, strings.ReplaceAll(text, "\r\n", "\n")); err != nil {
			t.Fatal(err)
		}
	}
	for i, key := range []string{"", "K\n", "k\n", "K\n", "K\n"} {
		from := p.Said()
		if key != "" {
			say(key)
			p.Line(from, "KEYUPDATE")
		}
		from = p.Said()
		say(localPost(i+1, false))
		p.Line(from, "Content-Length: ")
	}
	p.Kill()
}

// TestCurl: both versions, two requests on one connection, and an upgrade to HTTP/2 that does not happen.
func TestCurl(t *testing.T) {
	a := newAuthority(t)
	e, port := serveTLS(t, a.localCertificates(t), "")
	url := "https://localhost:" + port + "/http-bind"
	for _, version := range []string{"1.2", "1.3"} {
		out := run(t, "", "curl", "-sSv", "--noproxy", "*", "--http2", "--cacert", a.ca, "--resolve",
			"localhost:"+port+":127.0.0.1", "--tlsv"+version, "--tls-max", version, "-d",
			"<body rid='1' sid='s' "+rig.BOSHNS+"/>", url, url)
		wantIn(t, out, "ALPN: server accepted http/1.1", "SSL connection using TLSv"+version,
			"SSL certificate verify ok", "Re-using existing connection")
		if n := strings.Count(out, "<body told='127.0.0.1'/>"); n != 2 {
			t.Errorf("%d answers in\n%s", n, out)
		}
	}
	e.Until("handshakes", func(c map[string]int) bool { return c["tls_full"] == 2 && c["requests"] == 4 })
}

const nodeClient = `
const https = require('https'), fs = require('fs');
const [port, ca, version] = process.argv.slice(1);
const options = { host: 'localhost', port, ca: fs.readFileSync(ca), path: '/http-bind', method: 'POST',
  lookup: (name, options, done) => options.all ? done(null, [{ address: '127.0.0.1', family: 4 }])
    : done(null, '127.0.0.1', 4),
  minVersion: version, maxVersion: version };
const body = (rid) => "<body rid='" + rid + "' sid='s' xmlns='http://jabber.org/protocol/httpbind'/>";
let session;
const ask = (agent, rid) => new Promise((resolve, reject) => {
  const request = https.request({ ...options, agent, session }, (response) => {
    let text = '';
    const about = [response.socket.isSessionReused(), response.socket.getProtocol()].join(' ');
    response.on('data', (part) => { text += part; });
    response.on('end', () => resolve(text + ' ' + about));
  });
  request.on('socket', (socket) => socket.on('session', (s) => { session ??= s; }));
  request.on('error', reject);
  request.end(body(rid));
});
(async () => {
  const kept = new https.Agent({ keepAlive: true, maxSockets: 1 });
  for (let rid = 1; rid < 4; rid++) console.log('kept', await ask(kept, rid));
  kept.destroy();
  for (let rid = 4; rid < 6; rid++) console.log('new', await ask(new https.Agent({ maxCachedSessions: 0 }), rid));
})().catch((e) => { console.error(e); process.exit(1); });
`

// TestNode: Node.js, with a kept connection and resumed sessions.
func TestNode(t *testing.T) {
	a := newAuthority(t)
	_, port := serveTLS(t, a.localCertificates(t), "")
	for _, version := range []string{"TLSv1.2", "TLSv1.3"} {
		out := run(t, "", "node", "-e", nodeClient, port, a.ca, version)
		if n := strings.Count(out, "<body told='127.0.0.1'/>"); n != 5 {
			t.Errorf("%d answers in\n%s", n, out)
		}
		wantIn(t, out, "new <body told='127.0.0.1'/> true "+version)
	}
}

// TestGoClient: net/http, with kept connections, and resumed sessions.
func TestGoClient(t *testing.T) {
	a := newAuthority(t)
	e, port := serveTLS(t, a.localCertificates(t), "descriptor-tables: on\nreactors: 3\n") // each with its own table
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cache := tls.NewLRUClientSessionCache(4)
		for i := range 3 {
			transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.pool, ServerName: "localhost",
				MaxVersion: version, ClientSessionCache: cache}}
			client := &http.Client{Transport: transport, Timeout: rig.Patience}
			for rid := range 3 {
				r, err := client.Post("https://127.0.0.1:"+port+"/http-bind", "text/xml",
					strings.NewReader(fmt.Sprintf("<body rid='%d' sid='s' %s/>", rid+1, rig.BOSHNS)))
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(r.Body)
				if err != nil || string(text) != "<body told='127.0.0.1'/>" || r.TLS.DidResume != (i > 0) {
					t.Errorf("%q, %v, resumed %v", text, err, r.TLS.DidResume)
				}
				r.Body.Close()
			}
			transport.CloseIdleConnections()
		}
	}
	e.Until("handshakes", func(c map[string]int) bool { return c["tls_full"] == 2 && c["tls_resumed"] == 4 })
}

// TestGnuTLS: gnutls-cli in both versions, with each AEAD, resumed.
func TestGnuTLS(t *testing.T) {
	a := newAuthority(t)
	e, port := serveTLS(t, a.localCertificates(t), "")
	for _, version := range []string{"1.2", "1.3"} {
		for _, cipher := range []string{"AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305"} {
			priority := "NORMAL:-VERS-ALL:+VERS-TLS" + version + ":-CIPHER-ALL:+" + cipher
			cmd := exec.Command("gnutls-cli", "--x509cafile", a.ca, "--sni-hostname", "localhost",
				"--verify-hostname", "localhost", "--resume", "--priority", priority, "-p", port, "127.0.0.1")
			p := rig.Launch(t, cmd)
			p.Line(0, "This is a resumed session")
			if _, err := io.WriteString(p.In, localPost(1, true)); err != nil {
				t.Fatal(err)
			}
			p.Line(0, "<body told='127.0.0.1'/>")
			if code := p.Wait(); code != 0 {
				t.Errorf("exit status %d", code)
			}
			wantIn(t, p.Text(), "TLS"+version, cipher, "Peer has closed")
		}
	}
	e.Until("handshakes", func(c map[string]int) bool { return c["tls_resumed"] == 6 })
}

// TestJava: Java's TLS in both versions, resumed, with updates of keys, and its HTTP client.
func TestJava(t *testing.T) {
	a := newAuthority(t)
	e, port := serveTLS(t, a.localCertificates(t), "")
	out := run(t, "", "java", "testdata/TLSClient.java", port, a.ca)
	for _, suite := range []string{"TLSv1.3 TLS_AES_128_GCM_SHA256", "TLSv1.3 TLS_AES_256_GCM_SHA384",
		"TLSv1.3 TLS_CHACHA20_POLY1305_SHA256", "TLSv1.2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
		"TLSv1.2 TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLSv1.2 TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"} {
		second := suite + " 2 answers\n"
		if strings.HasPrefix(suite, "TLSv1.3") { // Java keeps no ticket without a lifetime, as Go's of TLS 1.2 are
			second = suite + " 2 answers resumed\n"
		}
		wantIn(t, out, suite+" 2 answers\n"+second)
	}
	wantIn(t, out, "KeyUpdate 20 answers\n", strings.Repeat("HttpClient HTTP_1_1 200 <body told='127.0.0.1'/>\n", 3))
	e.Until("handshakes", func(c map[string]int) bool { return c["tls_resumed"] == 3 && c["tls_full"] == 11 })
}

// TestSessionsResumeAfterATakeover: the successor opens the tickets of the edge that it replaces.
func TestSessionsResumeAfterATakeover(t *testing.T) {
	a := newAuthority(t)
	address := freeAddr(t)
	socket := filepath.Join(t.TempDir(), "s")
	file := configFile(t, fmt.Sprintf("listeners:\n  - address: %s\n    tls:\n      certificates:\n%s"+
		"origins:\n  - name: a\n    address: %s\nmax-connections: 500\ncheck-host: off\ntakeover-socket: %s\n"+
		"drain-jitter: 1s\n", address, a.localCertificates(t), telling(t).addr, socket))
	old := rig.Serve(t, "edge", "--config", file).Linked(1)
	cache := tls.NewLRUClientSessionCache(4)
	ask := func() (resumed bool) {
		c, err := tls.Dial("tcp", address, &tls.Config{RootCAs: a.pool, ServerName: "localhost",
			ClientSessionCache: cache})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, localPost(1, true))
		if text, err := io.ReadAll(c); err != nil || !strings.Contains(string(text), "told=") {
			t.Errorf("%q, %v", text, err)
		}
		return c.ConnectionState().DidResume
	}
	if ask() || !ask() {
		t.Error("no session")
	}
	next := rig.Serve(t, "edge", "--config", file, "--takeover")
	if code := old.Wait(); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	if !ask() {
		t.Error("the successor does not resume")
	}
	next.Until("resumption", func(c map[string]int) bool { return c["tls_resumed"] == 1 })
}

// TestRenewedByAClientOfACME: files that change under a running edge are in force within seconds, without a signal.
func TestRenewedByAClientOfACME(t *testing.T) {
	a := newAuthority(t)
	lines := a.issue(t, ecdsaKey(t), "localhost")
	e, port := serveTLS(t, lines, "")
	next := a.issue(t, ecdsaKey(t), "localhost", "new.example")
	from, to := strings.Fields(next), strings.Fields(lines)
	for _, i := range []int{2, 4} {
		text, err := os.ReadFile(from[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to[i], text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e.Line(0, "certificates renewed")
	c, err := tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{RootCAs: a.pool, ServerName: "new.example"})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// TestDemoOverTLS: what the demo says of its certificate is true, and load reaches it.
func TestDemoOverTLS(t *testing.T) {
	demo := rig.Serve(t, "demo", "--tls", "--listen", "127.0.0.1:0", "--admin", "off")
	demo.Line(0, "Ctrl-C ends it")
	command := strings.Fields(demo.Line(0, "curl --cacert "))
	wantIn(t, run(t, "", command[0], append([]string{"-sS", "--noproxy", "*"}, command[1:]...)...), "BOSH endpoint")
	for _, kind := range []string{"full", "resume", "1.2", "1.2-resume"} {
		code, said := rig.Run(t, "load", "--target", "https://"+demo.Addr+"/http-bind", "--tls", kind, "--ca",
			command[2], "--sessions", "100", "--login", "anonymous", "--scenario", "chat",
			"--duration", "2s", "--wait", "5")
		if code != 0 || !strings.Contains(said, "handshake") {
			t.Errorf("%s: exit status %d\n%s", kind, code, said)
		}
	}
	demo.Signal(os.Interrupt)
	demo.Wait()
	if _, err := os.Stat(command[2]); err == nil {
		t.Error("the certificate is still there")
	}
}

// TestDoctorOfCertificates: doctor reads the certificates of an edge's file.
func TestDoctorOfCertificates(t *testing.T) {
	a := newAuthority(t)
	const rest = "origins: [{name: a, address: '127.0.0.1:1'}]\n"
	secured := "listeners:\n  - address: 127.0.0.1:0\n    tls:\n      certificates:\n"
	lines := a.issue(t, ecdsaKey(t), "chat.example", "www.chat.example")
	for _, test := range []struct {
		name, file string
		code       int
		says       []string
	}{
		{"good", secured + lines + rest, 0, []string{"ECDSA", "chat.example www.chat.example", "do not trust it",
			"it expires in 0 days"}},
		{"missing", strings.Replace(secured+lines+rest, "c.pem", "none.pem", 1), 3,
			[]string{"would not start", "no such file"}},
		{"plain", rest, 0, []string{"No listener of the file has TLS"}},
	} {
		code, said := rig.Run(t, "doctor", "--sockets", "10", "--config", configFile(t, test.file))
		if code != test.code {
			t.Errorf("%s: exit status %d\n%s", test.name, code, said)
		}
		wantIn(t, strings.Join(strings.Fields(said), " "), test.says...)
	}
	_, said := rig.Run(t, "doctor", "--sockets", "10", "--json", "--config", configFile(t, secured+lines+rest))
	wantIn(t, said, `"tls": {`, `"names": [`, `"fits": true`)
}

// TestTLSBehindABalancer: HAProxy passes the bytes of TLS on, behind a PROXY header, and the edge ends TLS. The origin
// gets the client's own address.
func TestTLSBehindABalancer(t *testing.T) {
	a := newAuthority(t)
	for _, sends := range []string{"send-proxy", "send-proxy-v2"} {
		file := configFile(t, fmt.Sprintf("listeners:\n  - address: 127.0.0.1:0\n    proxy-protocol: any\n"+
			"    trusted-proxies: [127.0.0.1]\n    tls:\n      certificates:\n%sorigins:\n  - name: a\n"+
			"    address: %s\nmax-connections: 500\ncheck-host: off\n", a.localCertificates(t), telling(t).addr))
		e := rig.Serve(t, "edge", "--config", file).Linked(1)
		at := haproxy(t, "tcp", "server e "+e.Addr+" "+sends)
		for _, from := range []string{"127.0.0.7", "127.0.0.8"} {
			d := tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}},
				Config: &tls.Config{RootCAs: a.pool, ServerName: "localhost"}}
			c, err := d.DialContext(t.Context(), "tcp", at)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(c, localPost(1, false)+localPost(2, true))
			text, err := io.ReadAll(c)
			if n := strings.Count(string(text), "told='"+from+"'"); err != nil || n != 2 {
				t.Errorf("%s: %d answers in %q, %v", sends, n, text, err)
			}
			c.Close()
		}
	}
}
