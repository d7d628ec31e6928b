package edge

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"megaphone/codec/boshbody"
	"megaphone/config"
	"megaphone/loop"
	"megaphone/stats"
)

// configOf returns the configuration of a test's edge with changes.
func configOf(e *Edge, set func(c *Config)) Config {
	v := e.settings().cfg
	cfg := Config{Config: v.Config, Options: e.options}
	cfg.Secret, cfg.Origins = v.Secret, slices.Clone(cfg.Origins)
	if set != nil {
		set(&cfg)
	}
	return cfg
}

func reload(t testing.TB, e *Edge, set func(c *Config)) {
	t.Helper()
	restart, err := e.reload(configOf(e, set))
	if err != nil || len(restart) > 0 {
		t.Fatalf("reload: %v, to be restarted: %q", err, restart)
	}
}

func tagged(sid, node string) string {
	tag := boshbody.TagOf(node)
	return sid + "." + string(tag[:])
}

func TestReloadOfLimits(t *testing.T) {
	e, l := one(t, nil)
	c := connect(t, e)
	big := "<body sid='s' rid='1' " + ns + ">" + strings.Repeat("x", 4000) + "</body>"
	c.post(big)
	l.reply(l.next().id, "<body/>")
	c.get().want(t, 200, "<body/>")
	c.post(empty("s", 2)) // held across the reload
	held := l.next()
	reload(t, e, func(c *Config) {
		c.MaxBodyBytes, c.MaxPipelined, c.MaxOutputBytes, c.Path = 2000, 2, 5000, "/bosh"
	})
	l.reply(held.id, "<body n='1'/>")
	c.get().want(t, 200, "n='1'")
	c.post(empty("s", 3))
	c.get().want(t, 404, "/bosh")
	c.send(strings.Replace(postText(big), "/http-bind", "/bosh", 1))
	c.get().want(t, 413, "")
	c.closed()
	e.group.Do(func(r reactor, h handler) {
		if w := h.(*worker); w.cfg.MaxPipelined != 2 {
			t.Errorf("max-pipelined is %d", w.cfg.MaxPipelined)
		}
	})
}

// TestReloadOfAMistakeChangesNothing: and returns the error.
func TestReloadOfAMistakeChangesNothing(t *testing.T) {
	var level slog.LevelVar
	e, l := one(t, func(c *Config) { c.Level = &level })
	before := e.settings()
	for _, c := range []struct {
		set  func(c *Config)
		says string
	}{
		{func(c *Config) { c.MaxBodyBytes, c.MaxPipelined = 2000, 999 }, "max-pipelined: 999: use 1 to 200"},
		{func(c *Config) { c.LogLevel, c.Path = "debug", "x" }, "path: x"},
		{func(c *Config) { c.Origins = nil }, "origins: none"},
		{func(c *Config) { c.SecretFile = "/nowhere" }, "secret-file"},
		{func(c *Config) {
			c.Tags, c.Origins = "off", append(c.Origins, config.Origin{Name: "b", Address: "b:1"})
		},
			"node-tags: off"},
	} {
		if _, err := e.reload(configOf(e, c.set)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("want %q: %v", c.says, err)
		}
	}
	if e.settings() != before || level.Level() != slog.LevelInfo {
		t.Error("a mistake was put in force in part")
	}
	c := connect(t, e)
	c.post(empty("s", 1))
	l.reply(l.next().id, "<body/>")
	c.get().want(t, 200, "<body/>")
	reload(t, e, func(c *Config) { c.LogLevel = "debug" })
	if level.Level() != slog.LevelDebug {
		t.Errorf("the level is %v", level.Level())
	}
}

// TestReloadNamesWhatNeedsARestart: and keeps the old values, even if they do not fit the new ones.
func TestReloadNamesWhatNeedsARestart(t *testing.T) {
	e, _ := one(t, func(c *Config) { c.Tags = "off" })
	restart, err := e.reload(configOf(e, func(c *Config) {
		c.Listen, c.Listeners = "", []config.Listener{{Address: "127.0.0.1:0"}}
		c.MaxConnections, c.Reactors, c.Name, c.LogFormat, c.MaxPipelined = 7, 3, "other", "json", 3
	}))
	want := []string{"listen", "listeners", "name", "log-format", "reactors", "max-connections"}
	if err != nil || !slices.Equal(restart, want) {
		t.Errorf("to be restarted: %q, %v; want %q", restart, err, want)
	}
	if got := e.settings().cfg; got.MaxConnections != 1000 || got.Name != "edge-test" || got.MaxPipelined != 3 ||
		len(got.Config.Listeners) != 0 {
		t.Errorf("in force: %+v", got)
	}
	_, err = e.reload(configOf(e, func(c *Config) {
		c.Tags, c.Origins = "on", append(c.Origins, config.Origin{Name: "b", Address: "127.0.0.1:1"})
	}))
	if err == nil || !strings.Contains(err.Error(), "node-tags: off") ||
		!strings.Contains(err.Error(), "node-tags needs a restart") {
		t.Errorf("a second origin with tags off: %v", err)
	}
}

// TestReloadOfCORS: it also applies to held requests.
func TestReloadOfCORS(t *testing.T) {
	const a, b, d = "https://a.example", "https://b.example", "https://d.example"
	e, l := one(t, func(c *Config) { c.CORS = []string{a, b} })
	var clients []*client
	var held []linkRequest
	for i, origin := range []string{a, b, d} {
		c := connect(t, e)
		c.post(empty([]string{"s.~dGV4dC9odG1s", "s.~dGV4dC9odG1s", "s"}[i], 1), "Origin: "+origin+"\r\n")
		clients, held = append(clients, c), append(held, l.next())
	}
	reload(t, e, func(c *Config) { c.CORS = []string{d, b} })
	allowed := func(r httpResponse) string { return r.Header.Get("Access-Control-Allow-Origin") }
	for i, want := range []string{"", b, ""} {
		l.reply(held[i].id, "<body/>")
		r := clients[i].get().want(t, 200, "<body/>")
		if allowed(r) != want {
			t.Errorf("held request %d: allowed %q, want %q", i, allowed(r), want)
		}
		if kind := r.Header.Get("Content-Type"); (kind == "text/html") != (i < 2) {
			t.Errorf("held request %d: Content-Type %q", i, kind)
		}
	}
	for _, x := range []struct{ origin, want string }{{a, ""}, {b, b}, {d, d}} {
		clients[0].post(empty("s", 2), "Origin: "+x.origin+"\r\n")
		l.reply(l.next().id, "<body/>")
		if r := clients[0].get().want(t, 200, "<body/>"); allowed(r) != x.want {
			t.Errorf("%s: allowed %q, want %q", x.origin, allowed(r), x.want)
		}
	}
	reload(t, e, func(c *Config) { c.CORS = []string{"*"} })
	clients[0].post(empty("s", 3), "Origin: "+a+"\r\n")
	l.reply(l.next().id, "<body/>")
	if r := clients[0].get().want(t, 200, "<body/>"); allowed(r) != "*" {
		t.Errorf("allowed %q, want *", allowed(r))
	}
}

// TestReloadOfTheSecret: links that are up stay. The next handshake uses the new secret.
func TestReloadOfTheSecret(t *testing.T) {
	old, fresh := []byte("the old secret is this"), []byte("the new secret is this")
	o := newFakeOrigin(t, "a")
	e := startEdge(t, func(c *Config) { c.Secret = old }, o)
	prove := func(secret []byte) *fakeLink {
		t.Helper()
		m := o.raw().meet(secret, helloLine("a", 0))
		if !m.proves() {
			t.Fatal("the edge proves a different secret")
		}
		if string(secret) == string(old) { // in the middle of the handshake
			reload(t, e, func(c *Config) { c.Secret = fresh })
		}
		m.say(m.welcome())
		go m.pump()
		return m.fakeLink
	}
	l := prove(old)
	until(t, e, stats.LinksUp, 1)
	l.Close()
	waitDown(t, e)
	e.advance(60)
	prove(fresh)
	until(t, e, stats.LinksUp, 2)
}

// waitDown waits until the edge's first link is down.
func waitDown(t testing.TB, e *Edge) {
	t.Helper()
	waitFor(t, e, func(w *worker) bool { return w.nodes[0].stage == stageDown })
}

// waitFor waits until ok returns true for the edge's reactor.
func waitFor(t testing.TB, e *Edge, ok func(w *worker) bool) {
	t.Helper()
	for turns := 0; ; turns++ {
		done := false
		e.group.Do(func(_ reactor, h handler) { done = ok(h.(*worker)) })
		if done {
			return
		}
		if turns == 1_000_000 {
			t.Fatal("condition not met")
		}
	}
}

// TestReloadUnderLoad: requests continue under constant reloads, and each gets its own reply.
func TestReloadUnderLoad(t *testing.T) {
	e, l := one(t, nil)
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		for i := range 200 {
			cors := [][]string{{"*"}, {"https://a.example"}, {"https://b.example", "https://a.example"}}[i%3]
			cfg := configOf(e, func(c *Config) { c.CORS, c.MaxBodyBytes = cors, 100_000+i })
			if _, err := e.reload(cfg); err != nil {
				t.Error(err)
			}
		}
	}()
	c := connect(t, e)
	for rid := 1; ; rid++ {
		text := http.StatusText(200 + rid%3)
		c.post(empty("s.~dGV4dC9odG1s", rid), "Origin: https://a.example\r\n")
		l.reply(l.next().id, "<body>"+text+"</body>")
		if r := c.get().want(t, 200, text); r.Header.Get("Content-Type") != "text/html" {
			t.Fatalf("Content-Type %q", r.Header.Get("Content-Type"))
		}
		select {
		case <-stop:
			return
		default:
		}
	}
}

// TestReloadHasDescriptorsForLinks: origins without reserved descriptors for their links are rejected, and nothing
// changes.
func TestReloadHasDescriptorsForLinks(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = min(2000, limit.Cur)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) })
	a, b := newFakeOrigin(t, "a"), newFakeOrigin(t, "b")
	with := func(connections int) func(c *Config) {
		return func(c *Config) {
			c.Reactors, c.DescriptorTables, c.MaxConnections, c.Tags = 1, "off", connections, "on"
		}
	}
	most := int(low.Cur)
	for (loop.Config{Reactors: 1, Tables: loop.TablesOff, MaxConnections: most, Links: 2}).Check() != nil {
		most--
	}
	for connections, wanted := range map[int]string{most: "links to 1", most - 2: ""} {
		e := startEdge(t, with(connections), a)
		a.link()
		_, err := e.reload(configOf(e, func(c *Config) {
			c.Origins = append(c.Origins, config.Origin{Name: "b", Address: b.addr()})
		}))
		var wrong *config.KeyError
		switch {
		case wanted == "":
			if err != nil {
				t.Fatal(err)
			}
			b.link()
		case !errors.As(err, &wrong) || wrong.Key != "origins" || !strings.Contains(err.Error(), wanted):
			t.Errorf("the error is %v", err)
		case len(e.settings().cfg.Origins) != 1:
			t.Error("the origins are others now")
		}
		e.Stop()
	}
}
