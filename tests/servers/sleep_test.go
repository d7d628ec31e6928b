package servers

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// asleep waits until n sessions are asleep and none is awake.
func (j *ejabberd) asleep(n int) {
	j.t.Helper()
	late := time.Now().Add(rig.Patience)
	for {
		stats := j.stats()
		if stats["asleep"] == n && stats["awake"] == 0 {
			return
		}
		if time.Now().After(late) {
			j.t.Fatalf("%d sessions are not asleep: %v", n, stats)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// crowd logs n users of the demo's domain in, where any name will do.
func crowd(t *testing.T, at endpoint, n int) (users []*chatter) {
	t.Helper()
	c := rig.Connect(t, at.addr)
	defer c.Close()
	for i := range n {
		s := rig.CreateAt(t, c, "demo.localhost")
		name := fmt.Sprintf("user%d", i)
		users = append(users, &chatter{name: name, jid: s.LogIn(t, name, c), addr: at.addr, session: s})
	}
	return users
}

// allAnswer demands that each of the users' sessions continues, over connections that are closed again.
func allAnswer(t *testing.T, users []*chatter) {
	t.Helper()
	for _, u := range users {
		body, err := u.exchange(strings.Replace(ping, "to='localhost'", "to='demo.localhost'", 1))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(body, "id='ping'") {
			u.until(t, "id='ping'")
		}
		u.hangUp()
	}
}

// until exchanges with empty requests until an answer has the text.
func (c *chatter) until(t *testing.T, text string) string {
	t.Helper()
	for {
		body, err := c.exchange("")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(body, text) {
			return body
		}
	}
}

const presence = "<presence xmlns='jabber:client'/>"

// TestSleep: what sessions asleep are sent reaches them, and what others ask of them they answer; what only looks at
// them lets them sleep.
func TestSleep(t *testing.T) {
	t.Parallel()
	file, secret := secretFile(t)
	j := startEjabberd(t, "--secret", secret, "--max-inactivity", "120", "--module-options", "{sleep_after: 50 ms}")
	at := through("edge", serveEdge(t, 1, "a="+j.link, file))
	base := j.census()
	alice, bob := logIn(t, at, accounts[0]), logIn(t, at, accounts[1])
	for _, u := range []*chatter{alice, bob} {
		if _, err := u.exchange(presence); err != nil {
			t.Fatal(err)
		}
	}
	users := crowd(t, at, 20)
	n := 2 + len(users)
	j.asleep(n)

	woken := j.stats()["woken"]
	if list := j.ctl("connected_users"); strings.Count(list, "\n") < n-1 {
		t.Errorf("connected are\n%s", list)
	}
	if now := j.stats(); now["woken"] != woken || now["asleep"] != n {
		t.Errorf("looking at sessions wakes them: %v", now)
	}

	// This one asks each session for its presence.
	if list := j.ctl("connected_users_info"); strings.Count(list, "\n") < n-1 {
		t.Errorf("connected are\n%s", list)
	}
	talk(t, alice, bob)
	j.asleep(n)
	presenceReachesSleepers(t, j, at, alice, bob, n)

	j.asleep(n)
	j.ctl("kick_user", bob.name, "localhost")
	for body := ""; !strings.Contains(body, "type='terminate'"); {
		var err error
		if body, err = bob.insist(bob.session.Request("")); err != nil {
			t.Fatal(err)
		}
	}
	j.asleep(n - 1)
	checkStates(j)

	for range 2 {
		j.ctl("restart_module", "demo.localhost", "mod_megaphone")
		allAnswer(t, users)
		j.asleep(n - 1)
	}
	// The timers of sessions that are awake go off while the module is stopped.
	checkStates(j)
	j.number("begin gen_mod:stop_module(<<\"demo.localhost\">>, mod_megaphone), timer:sleep(500), " +
		"gen_mod:start_module(<<\"demo.localhost\">>, mod_megaphone), 1 end")
	j.asleep(n - 1)
	alice.leave(t)
	for _, u := range users {
		u.leave(t)
	}
	j.back(base)
	if log := read(t, filepath.Join(j.dir, "log/ejabberd.log")); strings.Contains(log, "[error]") ||
		strings.Contains(log, "Unexpected") {
		t.Error("there are errors in the log")
	}
}

// presenceReachesSleepers makes alice and bob contacts of each other. All n sessions sleep before and in between.
func presenceReachesSleepers(t *testing.T, j *ejabberd, at endpoint, alice, bob *chatter, n int) {
	t.Helper()
	roster := func(user, contact string) {
		j.ctl("add_rosteritem", user, "localhost", contact, "localhost", contact, "", "both")
	}
	roster(alice.name, bob.name)
	alice.until(t, "jabber:iq:roster")
	roster(bob.name, alice.name)
	bob.until(t, "jabber:iq:roster")
	j.asleep(n)
	if _, err := bob.exchange("<presence xmlns='jabber:client'><show>away</show></presence>"); err != nil {
		t.Fatal(err)
	}
	alice.until(t, "<show>away</show>")
	j.asleep(n)
	// A second client of bob's asks for presence: alice's session answers from its sleep.
	again := logIn(t, at, bob.name)
	if body, err := again.exchange(presence); err != nil || !strings.Contains(body, "from='"+alice.jid+"'") {
		again.until(t, "from='"+alice.jid+"'")
	}
	again.leave(t)
	if who := j.ctl("get_presence", bob.name, "localhost"); !strings.Contains(who, "away") {
		t.Errorf("bob's presence is %q", who)
	}
}

// TestSleepBytes: on this ejabberd and Erlang, whichever they are, a session that is asleep takes little more than a
// kilobyte, again after it was woken, and what woke it is answered.
func TestSleepBytes(t *testing.T) {
	t.Parallel()
	const n, most = 20, 1500
	j := startNode(t, "--max-inactivity", "120", "--module-options", "{sleep_after: 50 ms}")
	users := crowd(t, through("edge", serveEdge(t, 1, "a="+j.with("megaphone").link, "")), n)
	for _, before := range []string{"at first", "again"} {
		j.asleep(n)
		bytes := j.number(`lists:max([0 | [element(2, process_info(P, memory)) || P <- processes(),
			{dictionary, D} <- [process_info(P, dictionary)],
			lists:member({'$initial_call', {mod_megaphone_sleep, asleep, 0}}, D)]])`)
		if bytes == 0 || bytes > most {
			t.Errorf("%s, a session that is asleep takes %d bytes, and at most %d are wanted", before, bytes, most)
		}
		t.Logf("%s: %d bytes", before, bytes)
		allAnswer(t, users)
	}
	j.asleep(n)
	version, err := j.run(rig.Patience, "eval", j.dir,
		`{ejabberd_option:version(), list_to_binary(erlang:system_info(otp_release))}`)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("ejabberd and OTP: %s", strings.TrimSpace(version))
}

// checkStates has each session pack and unpack its state, whatever its client has done, in its own process.
func checkStates(j *ejabberd) {
	j.t.Helper()
	if n := j.number(`length([sys:replace_state(P, fun(S) -> S = mod_megaphone_pack:unpack(mod_megaphone_pack:pack(S))
		end) || P <- processes(), {dictionary, D} <- [process_info(P, dictionary)],
		lists:member({'$initial_call', {mod_megaphone_sleep, asleep, 0}}, D)])`); n == 0 {
		j.t.Error("no session has a state")
	}
}

// upgradable starts one without the module and installs it by ejabberd's own means.
func upgradable(t *testing.T, options ...string) (j *ejabberd, port string) {
	t.Helper()
	j = newNode(t, append(options, "--max-inactivity", "120")...)
	j.env = []string{without}
	sources := filepath.Join(j.dir, ".ejabberd-modules/sources/mod_megaphone")
	if err := os.MkdirAll(sources, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(sources, os.DirFS(moduleSource)); err != nil {
		t.Fatal(err)
	}
	port = freePort(t)
	config := filepath.Join(sources, "conf/mod_megaphone.yml")
	text := strings.Replace(read(t, config), "port: 5279", "port: "+port, 1)
	text = strings.Replace(text, "mod_megaphone: {}", "mod_megaphone:\n    sleep_after: 50 ms", 1)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	j.start()
	j.ctl("module_install", "mod_megaphone")
	return j, port
}

// TestSleepUpgrade: the module is replaced under sleeping sessions, twice, and every one of them continues.
func TestSleepUpgrade(t *testing.T) {
	t.Parallel()
	j, port := upgradable(t)
	edge := serveEdge(t, 1, "a=127.0.0.1:"+port, "")
	const n = 100
	users := crowd(t, through("edge", edge), n)
	for range 2 {
		j.asleep(n)
		j.ctl("module_upgrade", "mod_megaphone")
		edge.Linked(edgeReactors)
		allAnswer(t, users)
	}
	j.asleep(n)
	// Without the module they sleep on in code of ejabberd's, and wake for any message.
	j.ctl("module_uninstall", "mod_megaphone")
	left := j.number(`length([P || P <- processes(), {current_function, {erlang, hibernate, 3}} <-
		[process_info(P, current_function)], {dictionary, D} <- [process_info(P, dictionary)],
		lists:member({'$initial_call', {xmpp_stream_in, init, 1}}, D)])`)
	if left != n {
		t.Errorf("%d sessions of %d sleep on without the module", left, n)
	}
	if loaded := j.number(`length([M || M <- [mod_megaphone_sleep, mod_megaphone_pack, mod_megaphone_awake],
		erlang:module_loaded(M)])`); loaded != 0 {
		t.Errorf("%d modules are left that sessions slept in", loaded)
	}
	j.ctl("module_install", "mod_megaphone")
	edge.Linked(edgeReactors)
	allAnswer(t, users)
	j.asleep(n)
}

// TestSleepBounded: of 300 sessions that are asleep and sent a message at once, no more than 20 are awake at any time,
// and every message arrives.
func TestSleepBounded(t *testing.T) {
	t.Parallel()
	const most = 20
	file, secret := secretFile(t)
	j := startNode(t, "--secret", secret, "--max-inactivity", "120", "--module-options",
		fmt.Sprintf("{sleep_after: 50 ms, max_awake: %d}", most))
	edge := serveEdge(t, 1, "a="+j.link, file)
	const sessions = 300
	p := rig.Start(t, "load", "--target", "http://"+edge.Addr+"/http-bind", "--domain", "anon.localhost",
		"--login", "anonymous", "--sessions", strconv.Itoa(sessions), "--rate", "200", "--scenario", "hold",
		"--duration", "15s", "--then", "broadcast")
	j.asleep(sessions)
	// It notes the largest numbers that it sees of both.
	j.number(`begin register(watch, spawn(fun() -> (fun Watch(A, W) ->
		receive {ask, P} -> P ! {most, A, W} after 0 -> ok end, erlang:yield(),
		{A1, W1} = mod_megaphone_awake:count(), Watch(max(A, A1), max(W, W1)) end)(0, 0) end)), 1 end`)
	if code := p.Wait(); code != 0 {
		t.Fatalf("exit %d\n%s", code, p.Text())
	}
	awake := j.number(`begin watch ! {ask, self()}, receive {most, A, _} -> A end end`)
	waited := j.number(`begin watch ! {ask, self()}, receive {most, _, W} -> W end end`)
	// The check and the entry are two steps: each scheduler may be between them.
	if awake > most+j.number("erlang:system_info(schedulers)") {
		t.Errorf("%d sessions were awake, not %d", awake, most)
	}
	if waited == 0 || j.stats()["waiting_to_wake"] != 0 {
		t.Errorf("at most %d sessions waited, now %d", waited, j.stats()["waiting_to_wake"])
	}
	j.asleep(0)
}

// TestSleepStop: when ejabberd stops, each session that is asleep has its turn to end as a session does, two at a time,
// and its client is told.
func TestSleepStop(t *testing.T) {
	t.Parallel()
	file, secret := secretFile(t)
	j := startNode(t, "--secret", secret, "--max-inactivity", "120", "--module-options",
		"{sleep_after: 50 ms, max_awake: 2}")
	at := through("edge", serveEdge(t, 1, "a="+j.link, file))
	users := crowd(t, at, 50)
	j.asleep(len(users))
	holder := rig.Connect(t, at.addr)
	last := users[len(users)-1]
	body := ""
	for !strings.Contains(body, "id='ping'") {
		var err error
		if body, err = last.exchange(strings.Replace(ping, "to='localhost'", "to='demo.localhost'", 1)); err != nil {
			t.Fatal(err)
		}
	}
	j.asleep(len(users))
	holder.Send(last.session.Request(""))
	j.stop()
	holder.Get().Want(t, 200, "system-shutdown")
	log := read(t, filepath.Join(j.dir, "log/ejabberd.log"))
	if n := strings.Count(log, "Closing c2s session for "); n != len(users) {
		t.Errorf("%d sessions of %d ended", n, len(users))
	}
}

// TestSleepReload: sleep is turned on and off for sessions that are there.
func TestSleepReload(t *testing.T) {
	t.Parallel()
	file, secret := secretFile(t)
	j := startNode(t, "--secret", secret, "--max-inactivity", "120")
	users := crowd(t, through("edge", serveEdge(t, 1, "a="+j.link, file)), 10)
	if n := j.stats(); n["slept"] != 0 || n["sleep_works"] != 0 {
		t.Errorf("by default, counters are %v", n)
	}
	config := filepath.Join(j.dir, "ejabberd.yml")
	off := read(t, config)
	for range 2 {
		on := strings.Replace(off, "mod_megaphone: {}", "mod_megaphone: {sleep_after: 50 ms}", 1)
		if err := os.WriteFile(config, []byte(on), 0o600); err != nil {
			t.Fatal(err)
		}
		j.ctl("reload_config")
		j.asleep(len(users))
		if err := os.WriteFile(config, []byte(off), 0o600); err != nil {
			t.Fatal(err)
		}
		j.ctl("reload_config")
		before := j.stats()["slept"]
		allAnswer(t, users)
		if n := j.stats(); n["asleep"] != 0 || n["awake"] != 0 || n["slept"] != before {
			t.Errorf("turned off, counters are %v", n)
		}
	}
}

// TestSleepFallback: where sessions cannot sleep they collect their garbage.
func TestSleepFallback(t *testing.T) {
	t.Parallel()
	file, secret := secretFile(t)
	j := startNode(t, "--secret", secret, "--max-inactivity", "120", "--module-options", "{sleep_after: 50 ms}")
	if n := j.stats(); n["sleep_works"] != 1 {
		t.Fatalf("sessions cannot sleep: %v", n)
	}
	// As if the probe had failed.
	j.number(`begin {_, L} = persistent_term:get(mod_megaphone_sleep),
		persistent_term:put(mod_megaphone_sleep, {collect, L}), 1 end`)
	at := through("edge", serveEdge(t, 1, "a="+j.link, file))
	users := crowd(t, at, 10)
	late := time.Now().Add(rig.Patience)
	for j.stats()["collected"] < 2*len(users) {
		if time.Now().After(late) {
			t.Fatalf("%v", j.stats())
		}
		<-time.After(50 * time.Millisecond)
	}
	allAnswer(t, users)
	if n := j.stats(); n["slept"] != 0 || n["sleep_works"] != 0 {
		t.Errorf("counters %v", n)
	}
}

// TestSleepAll: with sleep_sessions: all, sessions of plain TCP sleep as well, and those over TLS and WebSocket, with
// the state of the XML parser: a stanza may come in two parts.
func TestSleepAll(t *testing.T) {
	t.Parallel()
	j := newNode(t, "--module-options", "{sleep_after: 50 ms, sleep_sessions: all}")
	j.start()
	j.stop()
	certificate := filepath.Join(t.TempDir(), "certificate.pem")
	writeCertificate(t, certificate)
	config := filepath.Join(j.dir, "ejabberd.yml")
	const handler = "      /bosh: mod_bosh\n"
	text := strings.Replace(read(t, config), handler, handler+"      /ws: ejabberd_http_ws\n", 1)
	text = strings.Replace(text, "module: ejabberd_c2s\n", "module: ejabberd_c2s\n    starttls: true\n", 1)
	if err := os.WriteFile(config, []byte("certfiles: [\""+certificate+"\"]\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	j.start()
	for _, name := range accounts[:4] {
		j.ctl("register", name, "localhost", password)
	}
	listener := regexp.MustCompile(`port: (\d+)\n *ip: .*\n *module: ejabberd_c2s`)
	tcp := "127.0.0.1:" + listener.FindStringSubmatch(text)[1]
	streams := []*stream{
		dialStream(t, tcp, accounts[0], false),
		dialStream(t, tcp, accounts[1], true),
		dialWebSocket(t, j.addr, accounts[2]),
	}
	n := len(streams)
	for round := range 3 {
		for i, from := range streams {
			to := streams[(i+1)%n]
			j.asleep(n)
			body := fmt.Sprintf("round %d from %d", round, i)
			head, tail := "<message xmlns='jabber:client' to='"+to.jid+"'><bo", "dy>"+body+"</body></message>"
			if from.whole {
				from.say(head + tail)
			} else {
				from.say(head)
				j.asleep(n)
				from.say(tail)
			}
			to.hear("<body>" + body + "</body>")
		}
	}
	j.asleep(n)
	if n := j.stats(); n["slept_with_more"] == 0 {
		t.Errorf("counters %v", n)
	}
	checkStates(j)
	// A session that is over is not counted, and the others continue.
	streams[0].conn.Close()
	j.asleep(n - 1)
	streams[1].say("</stream:stream>")
	streams[1].hear("</stream:stream>")
	j.asleep(n - 2)
	streams[2].conn.Close()
	j.asleep(0)
}

// stream is an XMPP client over TCP (RFC 6120), with or without TLS, or over WebSocket (RFC 7395).
type stream struct {
	t     *testing.T
	conn  net.Conn
	r     *bufio.Reader
	jid   string
	whole bool // each thing said must be a whole stanza
}

func dialStream(t *testing.T, addr, name string, secure bool) *stream {
	t.Helper()
	const header = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' " +
		"to='localhost' version='1.0'>"
	s := newStream(t, addr)
	if secure {
		s.say(header)
		s.hear("</stream:features>")
		s.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
		s.hear("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
		s.conn = tls.Client(s.conn, &tls.Config{InsecureSkipVerify: true})
		s.r = bufio.NewReader(s.conn)
	}
	return s.logIn(name, header, "</stream:features>")
}

func dialWebSocket(t *testing.T, addr, name string) *stream {
	t.Helper()
	s := newStream(t, addr)
	s.say("GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Protocol: xmpp\r\n\r\n")
	s.hear("\r\n\r\n")
	s.whole = true
	const open = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>"
	return s.logIn(name, open, "features>")
}

func newStream(t *testing.T, addr string) *stream {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &stream{t: t, conn: conn, r: bufio.NewReader(conn)}
}

func (s *stream) logIn(name, header, features string) *stream {
	s.t.Helper()
	s.say(header)
	s.hear(features)
	s.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" +
		base64.StdEncoding.EncodeToString([]byte("\x00"+name+"\x00"+password)) + "</auth>")
	s.hear("<success")
	s.say(header)
	s.hear(features)
	s.say("<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
	s.jid = regexp.MustCompile("<jid>([^<]+)</jid>").FindStringSubmatch(s.hear("</iq>"))[1]
	return s
}

// say sends text, over WebSocket as one frame, whose mask is zero.
func (s *stream) say(text string) {
	s.t.Helper()
	data := []byte(text)
	if s.whole {
		data = append([]byte{0x81, 0x80 | 126, byte(len(text) >> 8), byte(len(text)), 0, 0, 0, 0}, text...)
	}
	if _, err := s.conn.Write(data); err != nil {
		s.t.Fatal(err)
	}
}

// hear reads until the text has come.
func (s *stream) hear(text string) string {
	s.t.Helper()
	_ = s.conn.SetReadDeadline(time.Now().Add(rig.Patience))
	var heard strings.Builder
	for !strings.Contains(heard.String(), text) {
		b, err := s.r.ReadByte()
		if err != nil {
			s.t.Fatalf("%v after %q", err, heard.String())
		}
		heard.WriteByte(b)
	}
	return heard.String()
}

// writeCertificate writes a key and a certificate of its own for localhost.
func writeCertificate(t *testing.T, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
