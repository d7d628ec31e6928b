package servers

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// until waits until a counter of mod_megaphone's has a value.
func (j *ejabberd) until(counter string, want int) {
	j.t.Helper()
	late := time.Now().Add(rig.Patience)
	for stats := j.stats(); stats[counter] != want; stats = j.stats() {
		if time.Now().After(late) {
			j.t.Fatalf("%s is not %d: %v", counter, want, stats)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// TestLogInsBounded: a session whose client does not log in has a place while no other client needs it for longer than
// ten seconds. Others wait meanwhile, and are not refused.
func TestLogInsBounded(t *testing.T) {
	t.Parallel()
	j := newNode(t, "--max-inactivity", "120", "--module-options", "{max_logins: 2}").with("megaphone")
	j.start()
	at := through("edge", serveEdge(t, 1, "a="+j.link, ""))
	base := j.census()
	create := func() (*rig.Client, *rig.Session) {
		c := rig.Connect(t, at.addr)
		return c, rig.CreateAt(t, c, "demo.localhost")
	}
	firstAt, first := create()
	secondAt, second := create()
	j.until("logging_in", 2)

	third := rig.Connect(t, at.addr)
	third.Send(rig.PostText(rig.CreationText("demo.localhost")))
	j.until("waiting_to_open", 1)
	second.LogIn(t, "second", secondAt)
	last := &rig.Session{SID: rig.SIDPattern.FindStringSubmatch(third.Get().Want(t, 200, "sid=").Text)[1], RID: 1000}

	// As if the first one had been there for a minute.
	j.number(`begin sys:replace_state(mod_megaphone_admission, fun(S) ->
		Now = erlang:monotonic_time(millisecond),
		Streams = maps:keys(element(4, S)), First = lists:min(Streams),
		L = mod_megaphone_logins:left(First, element(2, S)),
		setelement(2, S, mod_megaphone_logins:joins(First, Now - 60000, L)) end), 1 end`)
	firstAt.Send(first.Request(""))
	fourthAt, fourth := create()
	firstAt.Get().Want(t, 200, "resource-constraint")
	fourth.LogIn(t, "fourth", fourthAt)
	if n := j.stats(); n["cut"] != 1 || n["refused"] != 0 || n["logged_in"] != 2 {
		t.Errorf("counters %v", n)
	}
	for c, s := range map[*rig.Client]*rig.Session{secondAt: second, third: last, fourthAt: fourth} {
		c.Send(s.End())
		c.Get().Want(t, 200, "terminate")
	}
	j.until("logging_in", 0)
	j.back(base)
}

// TestLogInNeverFinished: a client that opens a session and polls forever loses it after negotiation_timeout.
func TestLogInNeverFinished(t *testing.T) {
	t.Parallel()
	j := newNode(t, "--max-inactivity", "120").with("megaphone")
	j.start()
	j.stop()
	config := filepath.Join(j.dir, "ejabberd.yml")
	if err := os.WriteFile(config, []byte("negotiation_timeout: 3\n"+read(t, config)), 0o600); err != nil {
		t.Fatal(err)
	}
	j.start()
	at := through("edge", serveEdge(t, 1, "a="+j.link, ""))
	c := rig.Connect(t, at.addr)
	began := time.Now()
	c.Send(rig.PostText(strings.Replace(rig.CreationText("demo.localhost"), "wait='300'", "wait='1'", 1)))
	s := &rig.Session{SID: rig.SIDPattern.FindStringSubmatch(c.Get().Want(t, 200, "sid=").Text)[1], RID: 1000}
	polls := 0
	for body := ""; !strings.Contains(body, "type='terminate'"); polls++ {
		c.Send(s.Request(""))
		body = c.Get().Want(t, 200, "<body").Text
		if time.Since(began) > rig.Patience {
			t.Fatalf("after %d polls: %s", polls, body)
		}
	}
	if polls < 2 {
		t.Errorf("it has ended after %d polls", polls)
	}
	j.until("logging_in", 0)
	j.until("sessions", 0)
}

// stormReport is what load says of a storm of log-ins.
type stormReport struct {
	Seconds   float64
	Sessions  struct{ Wanted, Reached, Failed, Lost int }
	Errors    map[string]int
	Latencies map[string]struct {
		P50 int `json:"p50_us"`
		P99 int `json:"p99_us"`
	}
	Timeline []struct {
		Seconds  float64
		Phase    string
		Sessions int
	}
}

// TestLogInStorm: more log-ins are asked for than the node can do, and all are done: at the rate that the edge
// measures, and without that, so that they wait at the node. MEGAPHONE_STORM makes it larger: log-ins a second,
// seconds, and seconds in the middle for which another program burns a core, as in 3000,20,5.
func TestLogInStorm(t *testing.T) {
	t.Parallel()
	s := storm{rate: 300, seconds: 2}
	options := "{sleep_after: 1 second, max_logins: 50}"
	if size := os.Getenv("MEGAPHONE_STORM"); size != "" {
		if _, err := fmt.Sscanf(size, "%d,%d,%d", &s.rate, &s.seconds, &s.burn); err != nil {
			t.Fatalf("MEGAPHONE_STORM=%s: %v", size, err)
		}
		options = "{sleep_after: 1 second}"
	}
	j := newNode(t, "--max-inactivity", "120", "--module-options", options).with("megaphone")
	j.start()
	j.ctl("set_loglevel", "warning")
	s.blow(t, j, "the edge measures")
	if n := j.stats(); n["refused"] != 0 {
		t.Errorf("the node refuses what an edge sends it: %v", n)
	}
	s.blow(t, j, "the node's turns", "--min-creations", "1000")
	n := j.stats()
	if n["logged_in"] < 2*s.rate*s.seconds || n["cut"] != 0 || n["logging_in"] != 0 || n["opening"] != 0 {
		t.Errorf("counters %v", n)
	}
}

type storm struct{ rate, seconds, burn int }

func (s storm) blow(t *testing.T, j *ejabberd, what string, flags ...string) {
	t.Helper()
	n := s.rate * s.seconds
	// A reactor has room for 19,000 descriptors where there are 20,000.
	edge := serveEdgeOf(t, edgeReactors+n/12_000, "a="+j.link, "",
		append(flags, "--max-connections", strconv.Itoa(n+n/4+1000))...)
	file := filepath.Join(t.TempDir(), "report.json")
	if s.burn > 0 {
		other := exec.Command("timeout", strconv.Itoa(s.burn), "sh", "-c", "while :; do :; done")
		time.AfterFunc(time.Duration(s.seconds-s.burn)*time.Second/2, func() { _ = other.Run() })
	}
	p := rig.Start(t, "load", "--target", "http://"+edge.Addr+"/http-bind", "--domain", "anon.localhost", "--login",
		"anonymous", "--sessions", strconv.Itoa(n), "--rate", strconv.Itoa(s.rate), "--scenario", "ramp", "--wait",
		"120", "--report", file, "--quiet")
	// It writes its report at the end.
	late := time.Now().Add(rig.Patience + time.Duration(n)*10*time.Millisecond)
	for {
		if text, _ := os.ReadFile(file); len(text) > 0 || time.Now().After(late) {
			break
		}
		<-time.After(50 * time.Millisecond)
	}
	if code := p.Wait(); code != 0 {
		t.Fatalf("exit %d\n%s", code, p.Text())
	}
	var r stormReport
	if err := json.Unmarshal([]byte(read(t, file)), &r); err != nil {
		t.Fatal(err)
	}
	if r.Sessions.Reached != n || r.Sessions.Failed+r.Sessions.Lost != 0 {
		t.Errorf("of %d log-ins: %+v, errors %v", n, r.Sessions, r.Errors)
	}
	inTime, all := 0.0, 0.0
	var each []int // sessions that logged in, second by second
	last := 0
	for _, at := range r.Timeline {
		if at.Phase != "opening" {
			continue
		}
		if at.Seconds <= float64(s.seconds)+0.5 {
			inTime = float64(at.Sessions) / at.Seconds
		}
		each, last, all = append(each, at.Sessions-last), at.Sessions, at.Seconds
	}
	t.Logf("%s: asked %d a second for %d s, a core burnt for %d s: %.0f a second logged in meanwhile, %.0f a second "+
		"until all were in after %.1f s %v; log-in p50 %d ms, p99 %d ms; answers of 503 %d, of the node's %d", what,
		s.rate, s.seconds, s.burn, inTime, float64(n)/all, all, each,
		r.Latencies["login"].P50/1000, r.Latencies["login"].P99/1000, r.Errors["status_5xx"], j.stats()["refused"])
}
