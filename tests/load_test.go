package tests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"megaphone/tests/rig"
)

// loadReport is what these tests read of the load generator's report.
type loadReport struct {
	Verdict struct {
		Status int    `json:"exit_status"`
		Text   string `json:"text"`
	} `json:"verdict"`
	Interrupted bool `json:"interrupted"`
	Options     struct {
		Reactors int  `json:"reactors"`
		Private  bool `json:"private_descriptor_tables"`
	} `json:"options"`
	Sessions  map[string]uint64 `json:"sessions"`
	Messages  map[string]uint64 `json:"messages"`
	Requests  map[string]uint64 `json:"requests"`
	Errors    map[string]uint64 `json:"errors"`
	Latencies map[string]struct {
		Count uint64 `json:"count"`
	} `json:"latencies"`
	Storm *struct {
		Recovered bool    `json:"recovered"`
		Lost      uint64  `json:"connections_lost"`
		Renewed   uint64  `json:"sessions_renewed"`
		Share     float64 `json:"most_share"`
	} `json:"storm"`
	Streams *struct {
		Opened     uint64            `json:"opened"`
		Pings      uint64            `json:"pings"`
		Resumed    uint64            `json:"resumed"`
		NotResumed uint64            `json:"not_resumed"`
		Closes     map[string]uint64 `json:"closes"`
	} `json:"websockets"`
	Processes []struct {
		Name string `json:"name"`
		RSS  uint64 `json:"rss_bytes"`
	} `json:"processes"`
}

// load runs the load generator to its end.
func load(t testing.TB, addr string, args ...string) (code int, r loadReport) {
	t.Helper()
	p, file := startLoad(t, addr, args...)
	code = p.Wait()
	return code, readReport(t, p, file)
}

func startLoad(t testing.TB, addr string, args ...string) (p *rig.Process, report string) {
	t.Helper()
	report = filepath.Join(t.TempDir(), "report.json")
	args = append([]string{"load", "--target", "http://" + addr + "/http-bind", "--report", report}, args...)
	p = rig.Start(t, args...)
	return p, report
}

func readReport(t testing.TB, p *rig.Process, file string) (r loadReport) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v\n%s", err, p.Text())
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if status := p.Cmd.ProcessState.ExitCode(); status != r.Verdict.Status {
		t.Errorf("exit status %d, but the report says %+v", status, r.Verdict)
	}
	return r
}

// edgeAndOrigin are an edge and an embedded origin, each in a process of its own.
func edgeAndOrigin(t testing.TB, args ...string) (edge, origin *rig.Process) {
	t.Helper()
	origin = rig.Serve(t, "origin", "--listen", "127.0.0.1:0", "--anonymous")
	args = append([]string{"edge", "--listen", "127.0.0.1:0", "--origin", "a=" + origin.Addr}, args...)
	return rig.Serve(t, args...).Linked(1), origin
}

func TestLoadScenarios(t *testing.T) {
	edge, origin := edgeAndOrigin(t)
	const n = 2000
	for _, test := range []struct {
		scenario, login string
		args            []string
		check           func(r *loadReport) bool
	}{
		{"ramp", "none", nil, func(r *loadReport) bool { return r.Requests["connections"] >= n }},
		{"hold", "none", []string{"--wait", "1"}, func(r *loadReport) bool {
			return r.Requests["polls"] > n && r.Latencies["release"].Count > 0
		}},
		{"chat", "anonymous", []string{"--messages", "500"}, func(r *loadReport) bool {
			return r.Messages["sent"] > 500 && r.Messages["delivered"] == r.Messages["sent"] &&
				r.Latencies["delivery"].Count == r.Messages["sent"]
		}},
		{"chat", "plain", []string{"--messages", "500", "--presence", "--size", "2000"}, func(r *loadReport) bool {
			return r.Messages["sent"] > 500 && r.Messages["delivered"] == r.Messages["sent"]
		}},
		{"broadcast", "anonymous", []string{"--duration", "20s"}, func(r *loadReport) bool {
			return r.Messages["delivered"] == n && r.Latencies["broadcast"].Count == n
		}},
		{"churn", "anonymous", nil, func(r *loadReport) bool {
			return r.Sessions["started"] > 2*n && r.Sessions["ended"] == r.Sessions["started"] &&
				r.Requests["connections"] > 2*n
		}},
	} {
		t.Run(test.scenario+" "+test.login, func(t *testing.T) {
			args := append([]string{"--scenario", test.scenario, "--login", test.login, "--sessions", strconv.Itoa(n),
				"--rate", "2000", "--duration", "2s", "--quiet", "--pid", fmt.Sprintf("edge=%d", edge.Cmd.Process.Pid),
				"--pid", fmt.Sprintf("origin=%d", origin.Cmd.Process.Pid)}, test.args...)
			code, r := load(t, edge.Addr, args...)
			if code != 0 || r.Sessions["reached"] != n || r.Sessions["held"] != n || !test.check(&r) {
				t.Errorf("exit status %d, %+v", code, r)
			}
			if len(r.Processes) != 3 || r.Processes[1].Name != "edge" || r.Processes[1].RSS < rig.MiB {
				t.Errorf("processes %+v", r.Processes)
			}
		})
	}
	edge.Until("the end of all connections", func(c map[string]int) bool { return c["open_now"] == 0 })
}

// The edge is killed and comes back at the same address: all sessions come back, and none is lost.
func TestLoadWeathersAStorm(t *testing.T) {
	edge, origin := edgeAndOrigin(t)
	p, file := startLoad(t, edge.Addr, "--scenario", "storm", "--sessions", "2000", "--rate", "2000", "--duration",
		"30s")
	p.Line(0, "restart the edge or its origin now")
	edge.Kill()
	rig.Serve(t, "edge", "--listen", edge.Addr, "--origin", "a="+origin.Addr)
	code := p.Wait()
	if r := readReport(t, p, file); code != 0 || r.Storm == nil || !r.Storm.Recovered || r.Storm.Lost < 2000 {
		t.Errorf("exit status %d, %+v, storm %+v", code, r, r.Storm)
	}
}

// A proxy before the edge that garbles the mark of every fifth message: as good as lost.
func TestLoadNoticesLostMessages(t *testing.T) {
	edge, _ := edgeAndOrigin(t)
	var n, lost atomic.Int64
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: edge.Addr})
	proxy.ModifyResponse = func(resp *http.Response) error {
		var text bytes.Buffer
		if _, err := text.ReadFrom(resp.Body); err != nil {
			return err
		}
		body := text.Bytes()
		if mark := []byte("megaphone:"); bytes.Contains(body, mark) && n.Add(1)%5 == 0 {
			lost.Add(int64(bytes.Count(body, mark)))
			body = bytes.ReplaceAll(body, mark, []byte("gibberish:"))
		}
		resp.Body = io.NopCloser(bytes.NewReader(body))
		return nil
	}
	front := httptest.NewServer(proxy)
	defer front.Close()
	code, r := load(t, strings.TrimPrefix(front.URL, "http://"), "--scenario", "chat", "--login", "plain", "--sessions",
		"100", "--rate", "500", "--messages", "100", "--duration", "3s", "--settle", "2s", "--wait", "5")
	if code != 3 || lost.Load() == 0 || r.Messages["lost"] != uint64(lost.Load()) || r.Messages["duplicated"] != 0 {
		t.Errorf("exit status %d, %d garbled, %+v", code, lost.Load(), r.Messages)
	}
}

// Sessions that the server refuses are not reached. It has room for one, so the probe finds nothing wrong.
func TestLoadSaysThatSessionsFailed(t *testing.T) {
	origin := rig.Serve(t, "origin", "--listen", "127.0.0.1:0", "--max-sessions", "1")
	edge := rig.Serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "a="+origin.Addr).Linked(1)
	code, r := load(t, edge.Addr, "--sessions", "10", "--duration", "1s", "--tries", "1", "--quiet")
	if code != 4 || r.Sessions["failed"] != 9 || r.Sessions["reached"] != 1 {
		t.Errorf("exit status %d, %+v", code, r)
	}
}

// An impossible load is reported before the storm: no report, and no session is tried.
func TestLoadProbes(t *testing.T) {
	edge, origin := edgeAndOrigin(t)
	for _, c := range []struct{ args, says string }{
		{"--target http://" + edge.Addr + "/nope", "404 Not Found"},
		{"--target http://127.0.0.1:1/http-bind", "connection refused"},
		{"--target http://" + origin.Addr + "/http-bind", "the answer is not HTTP"},
		{"--target http://" + edge.Addr + "/http-bind --domain elsewhere.example", "host-unknown"},
		{"--target http://" + edge.Addr + "/http-bind --source 127.0.0.2,192.0.2.1", "192.0.2.1"},
	} {
		code, said := rig.Run(t, append([]string{"load", "--report", "-"}, strings.Fields(c.args)...)...)
		if code != 1 || !strings.Contains(said, "nothing was loaded") || !strings.Contains(said, c.says) ||
			strings.Contains(said, "opening") || strings.Contains(said, "verdict") {
			t.Errorf("%s: exit status %d, %s", c.args, code, said)
		}
	}
	code, said := rig.Run(t, "load", "--target", "http://"+edge.Addr+"/http-bind", "--report", "/nonexistent/report")
	if code != 1 || !strings.Contains(said, "report: open /nonexistent/report") || strings.Contains(said, "opening") {
		t.Errorf("a report that cannot be written: exit status %d, %s", code, said)
	}
	edge.Until("one creation at most for each", func(c map[string]int) bool { return c["accepted"] <= 5 })
}

func TestLoadReportsWhatWasDoneWhenInterrupted(t *testing.T) {
	edge, _ := edgeAndOrigin(t)
	p, file := startLoad(t, edge.Addr, "--scenario", "chat", "--login", "anonymous", "--sessions", "500", "--rate",
		"1000", "--duration", "1h")
	p.Line(0, "chat ")
	p.Signal(syscall.SIGINT)
	code := p.Wait()
	r := readReport(t, p, file)
	if code != 130 || !r.Interrupted || r.Sessions["reached"] != 500 || r.Messages["lost"] != 0 {
		t.Errorf("exit status %d, %+v", code, r)
	}
	if text := p.Text(); !strings.Contains(text, "interrupted; nothing was lost until then") {
		t.Errorf("no summary in\n%s", text)
	}
}

func TestLoadRefusesWhatItMustNotLoad(t *testing.T) {
	for _, test := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"--target", "http://192.0.2.1/http-bind"}, 2, "public address"},
		{[]string{"--target", "ftp://127.0.0.1/http-bind"}, 2, "only http:// and https://"},
		{[]string{}, 2, "target: give the URL"},
		{[]string{"--target", "http://127.0.0.1:1/b", "--scenario", "dance"}, 2, "scenario: dance"},
		{[]string{"--target", "http://127.0.0.1:1/b", "--scenario", "chat"}, 2, "--login"},
		{[]string{"--target", "http://127.0.0.1:1/b", "--pid", "edge"}, 2, "NAME=PID"},
		{[]string{"--target", "http://127.0.0.1:1/b", "--plot", "p"}, 2, "go run ./bench/plot FILE DIRECTORY"},
		{[]string{"--target", "http://127.0.0.1:1/b", "--pid", "edge=1073741824"}, 1, "edge=1073741824"},
		{[]string{"--target", "http://127.0.0.1:1/b", "--duration", "5"}, 2, "number with its unit, for example 30s"},
	} {
		if code, said := rig.Run(t, append([]string{"load"}, test.args...)...); code != test.code ||
			!strings.Contains(said, test.text) {
			t.Errorf("%q: exit status %d, %s", test.args, code, said)
		}
	}
}

// More sockets than a descriptor table may have: each reactor has one of its own, here and in the edge.
func TestLoadHoldsMoreThanTheLimit(t *testing.T) {
	const n, limit = 30_000, 10_000
	origin := rig.Serve(t, "origin", "--listen", "127.0.0.1:0")
	edge := rig.Launch(t, limited(limit, rig.Binary, "edge", "--listen", "127.0.0.1:0", "--origin", "a="+origin.Addr,
		"--max-connections", strconv.Itoa(n+2000)))
	edge.Listening()
	edge.Linked(1)
	file := filepath.Join(t.TempDir(), "report.json")
	p := rig.Launch(t, limited(limit, rig.Binary, "load", "--target", "http://"+edge.Addr+"/http-bind", "--sessions",
		strconv.Itoa(n), "--rate", "10000", "--duration", "2s", "--wait", "60", "--report", file))
	code := p.Wait()
	r := readReport(t, p, file)
	if code != 0 || r.Sessions["held"] != n || !r.Options.Private || r.Options.Reactors < 4 ||
		r.Errors["out_of_sockets"] > 0 {
		t.Errorf("exit status %d, %+v", code, r)
	}
}
