package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"megaphone/tests/rig"
)

// overWebSocket are the flags of a load over WebSocket.
func overWebSocket(addr string, args ...string) []string {
	return append([]string{"--target", "ws://" + addr + "/xmpp-websocket"}, args...)
}

func TestLoadScenariosOverWebSocket(t *testing.T) {
	edge, origin := edgeAndOrigin(t)
	const n = 2000
	for _, test := range []struct {
		scenario, login string
		args            []string
		check           func(r *loadReport) bool
	}{
		{"ramp", "none", nil, func(r *loadReport) bool { return r.Requests["connections"] == n }},
		{"hold", "plain", []string{"--presence"}, func(r *loadReport) bool {
			return r.Requests["polls"] == 0 && r.Latencies["login"].Count == n
		}},
		{"chat", "anonymous", []string{"--messages", "500"}, func(r *loadReport) bool {
			return r.Messages["sent"] > 500 && r.Messages["delivered"] == r.Messages["sent"] &&
				r.Latencies["delivery"].Count == r.Messages["sent"]
		}},
		{"chat", "plain", []string{"--messages", "500", "--size", "2000", "--then", "broadcast=20s"},
			func(r *loadReport) bool {
				return r.Messages["delivered"] == r.Messages["sent"] && r.Latencies["broadcast"].Count == n
			}},
		{"churn", "anonymous", nil, func(r *loadReport) bool {
			return r.Sessions["started"] > 2*n && r.Sessions["ended"] == r.Sessions["started"] &&
				r.Requests["connections"] == r.Sessions["started"]
		}},
	} {
		t.Run(test.scenario+" "+test.login, func(t *testing.T) {
			args := append([]string{"--scenario", test.scenario, "--login", test.login, "--sessions", strconv.Itoa(n),
				"--rate", "2000", "--duration", "2s", "--quiet", "--pid", fmt.Sprintf("edge=%d", edge.Cmd.Process.Pid),
				"--pid", fmt.Sprintf("origin=%d", origin.Cmd.Process.Pid)}, test.args...)
			code, r := load(t, edge.Addr, overWebSocket(edge.Addr, args...)...)
			if code != 0 || r.Sessions["reached"] != n || r.Sessions["held"] != n || !test.check(&r) {
				t.Errorf("exit status %d, %+v", code, r)
			}
			if r.Streams == nil || r.Streams.Opened != r.Sessions["started"] ||
				r.Streams.Closes["1000"] != r.Sessions["started"] || len(r.Streams.Closes) != 1 {
				t.Errorf("WebSockets %+v", r.Streams)
			}
		})
	}
	edge.Until("the end of all connections", func(c map[string]int) bool {
		return c["open_now"]+c["websockets_now"] == 0
	})
}

// Accounts log in with SCRAM-SHA-1.
func TestLoadLogsInOverWebSocket(t *testing.T) {
	const n = 20
	var accounts strings.Builder
	for k := range n {
		fmt.Fprintf(&accounts, "load%d:pass word\n", k+1)
	}
	file := filepath.Join(t.TempDir(), "accounts")
	if err := os.WriteFile(file, []byte(accounts.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	origin := rig.Serve(t, "origin", "--listen", "127.0.0.1:0", "--accounts", file)
	edge := rig.Serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "a="+origin.Addr).Linked(1)
	code, r := load(t, edge.Addr, overWebSocket(edge.Addr, "--login", "scram", "--password", "pass word", "--scenario",
		"chat", "--sessions", strconv.Itoa(n), "--duration", "2s", "--quiet")...)
	if code != 0 || r.Messages["sent"] < 100 || r.Messages["delivered"] != r.Messages["sent"] {
		t.Errorf("exit status %d, %+v", code, r)
	}
}

// Pings of the edge reach idle sessions, which answer, and so are not closed.
func TestLoadAnswersPings(t *testing.T) {
	edge, _ := edgeAndOrigin(t, "--websocket-ping-interval", "1s")
	code, r := load(t, edge.Addr, overWebSocket(edge.Addr, "--login", "plain", "--sessions", "100", "--duration",
		"5s", "--quiet")...)
	if code != 0 || r.Streams == nil || r.Streams.Pings < 300 || r.Streams.Closes["1000"] != 100 {
		t.Errorf("exit status %d, %+v, %+v", code, r, r.Streams)
	}
}

// The edge drains, and is then killed, in the middle of a chat. All sessions resume each time, and each message arrives
// once and in order.
func TestLoadResumesOverARestartedEdge(t *testing.T) {
	edge, origin := edgeAndOrigin(t)
	p, file := startLoad(t, edge.Addr, overWebSocket(edge.Addr, "--login", "plain", "--scenario", "chat", "--sessions",
		"1000", "--rate", "1000", "--messages", "1000", "--duration", "20s")...)
	p.Line(0, "chat ")
	again := func() *rig.Process {
		e := rig.Serve(t, "edge", "--listen", edge.Addr, "--origin", "a="+origin.Addr)
		e.Until("all are back", func(c map[string]int) bool { return c["websockets_now"] == 1000 })
		return e
	}
	edge.Until("messages", func(c map[string]int) bool { return c["websocket_messages_in"] > 8000 })
	edge.Signal(syscall.SIGTERM)
	edge.Wait()
	second := again()
	second.Kill()
	again()
	code := p.Wait()
	r := readReport(t, p, file)
	if code != 0 || r.Messages["sent"] < 1000 || r.Messages["delivered"] != r.Messages["sent"] {
		t.Errorf("exit status %d, %+v", code, r)
	}
	if s := r.Streams; s.Resumed != 2000 || s.NotResumed != 0 || s.Closes["1001"] != 1000 || s.Closes["1006"] != 1000 {
		t.Errorf("WebSockets %+v", s)
	}
}

// An origin is killed and starts again: its sessions are gone, and all begin anew.
func TestStormOverWebSocket(t *testing.T) {
	const n = 1000
	edge, origin := edgeAndOrigin(t)
	p, file := startLoad(t, edge.Addr, overWebSocket(edge.Addr, "--scenario", "storm", "--login", "plain", "--sessions",
		strconv.Itoa(n), "--rate", "2000", "--retry", "strophe,stanza", "--duration", "2m")...)
	p.Line(0, "restart the edge or its origin now")
	origin.Kill()
	edge.Until("all have been closed", func(c map[string]int) bool { return c["websocket_closes_1012"] == n })
	rig.Serve(t, "origin", "--listen", origin.Addr, "--anonymous")
	code := p.Wait()
	r := readReport(t, p, file)
	if code != 0 || r.Storm == nil || !r.Storm.Recovered || r.Storm.Renewed != n || r.Streams.NotResumed != n ||
		r.Streams.Closes["1012"] != n {
		t.Errorf("exit status %d, %+v, storm %+v, %+v", code, r, r.Storm, r.Streams)
	}
}

// Targets that are no WebSocket, or none for this domain, are reported before anything is loaded.
func TestLoadProbesWebSockets(t *testing.T) {
	edge, origin := edgeAndOrigin(t)
	lone := rig.Serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "a=127.0.0.1:1")
	for _, c := range []struct{ args, says string }{
		{"--target ws://" + edge.Addr + "/nope", "404 Not Found"},
		{"--target ws://" + edge.Addr + "/http-bind", "no WebSocket: it answers "},
		{"--target ws://127.0.0.1:1/xmpp-websocket", "connection refused"},
		{"--target ws://" + origin.Addr + "/xmpp-websocket", "the answer is not HTTP"},
		{"--target ws://" + edge.Addr + "/xmpp-websocket --domain elsewhere.example", "elsewhere.example"},
		{"--target wss://" + edge.Addr + "/xmpp-websocket", "is ws:// meant?"},
		{"--target ws://" + lone.Addr + "/xmpp-websocket", "503 Service Unavailable"},
	} {
		code, said := rig.Run(t, append([]string{"load", "--report", "-"}, strings.Fields(c.args)...)...)
		if code != 1 || !strings.Contains(said, "nothing was loaded") || !strings.Contains(said, c.says) ||
			strings.Contains(said, "opening") || strings.Contains(said, "verdict") {
			t.Errorf("%s: exit status %d, %s", c.args, code, said)
		}
	}
	for _, c := range []struct{ args, says string }{
		{"--transport websocket --target http://127.0.0.1:1/b", "the URL of a WebSocket begins with ws:// or wss://"},
		{"--transport bosh --target ws://127.0.0.1:1/b", "the URL of BOSH begins with http:// or https://"},
		{"--transport tcp --target ws://127.0.0.1:1/b", "transport: tcp: use bosh or websocket"},
		{"--target ws://192.0.2.1/b", "public address"},
	} {
		code, said := rig.Run(t, append([]string{"load"}, strings.Fields(c.args)...)...)
		if code != 2 || !strings.Contains(said, c.says) {
			t.Errorf("%s: exit status %d, %s", c.args, code, said)
		}
	}
}
