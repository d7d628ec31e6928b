package packages

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const (
	edge   = "megaphone-edge.service"
	origin = "megaphone-origin.service"
)

// configure is what an administrator does after the installation; the watchdog is made to bite soon.
const configure = `
cat >/etc/megaphone/edge.yml <<END
listen: 127.0.0.1:5280
origins: [{name: a, address: 127.0.0.1:5279}]
drain-jitter: 1s
END
printf 'ORIGIN_OPTIONS=--listen 127.0.0.1:5279 --anonymous\n' >/etc/megaphone/origin.env
mkdir -p /etc/systemd/system/megaphone-edge.service.d
printf '[Service]\nWatchdogSec=3s\n' >/etc/systemd/system/megaphone-edge.service.d/test.conf
systemctl daemon-reload
systemctl enable --now megaphone-origin.service megaphone-edge.service
`

// TestLife has one guest install, configure, start, reload, upgrade, remove and purge.
func TestLife(t *testing.T) {
	t.Parallel()
	g := boot(t, host)
	g.before = g.named()
	old, next := one(t, shared, older, "deb"), one(t, shared, newer, "deb")
	for _, step := range []struct {
		name string
		do   func(g *guest)
	}{
		{"install", func(g *guest) {
			g.wants(g.run("dpkg", "--no-triggers", "-i", old), "nothing is started yet")
			g.wants(g.run("id", "megaphone"), "gid=")
			g.wants(g.run("megaphone", "version"), older)
			if state, _ := g.say("systemctl", "is-active", edge); !strings.HasPrefix(state, "inactive") {
				g.t.Errorf("the edge is %s", state)
			}
			g.run("systemctl", "start", edge) // with the file as it comes
			g.run("systemctl", "stop", edge)
		}},
		{"start", func(g *guest) {
			g.sh(configure)
			g.serves()
		}},
		{"sandbox", sandboxed},
		{"reload", reloads},
		{"orders", takesOrders},
		{"long drain", drainsLong},
		{"early SIGHUP", survivesSIGHUP},
		{"upgrade under a chat", func(g *guest) { upgrades(g, next, newer) }},
		{"watchdog and crash", restarts},
		{"upgrade that cannot be", refusesUpgrade},
		{"socket activation", socketActivation},
		{"remove and purge", removes},
		{"rpm", rpmLife},
	} {
		if !t.Run(step.name, func(t *testing.T) { g.t = t; step.do(g) }) {
			break // the next ones begin where this one ends
		}
	}
	g.t = t
}

// load is one of the load generator in the guest, to whose exit status nothing may be refused or lost.
func (g *guest) load(sessions int, duration string) (*exec.Cmd, *bytes.Buffer) {
	var said bytes.Buffer
	cmd := g.command("megaphone", "load", "--target", "http://127.0.0.1:5280/http-bind", "--scenario", "chat",
		"--login", "anonymous", "--sessions", fmt.Sprint(sessions), "--rate", "1000", "--messages", "100",
		"--wait", "20", "--duration", duration, "--quiet")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	return cmd, &said
}

// serves demands an answer of the edge.
func (g *guest) serves() {
	g.t.Helper()
	g.wants(g.run("bash", "-ec", `exec 3<>/dev/tcp/127.0.0.1/5280
		printf 'GET /http-bind HTTP/1.0\r\n\r\n' >&3; cat <&3`), "200 OK")
}

func (g *guest) chat(sessions int, duration string) {
	g.t.Helper()
	cmd, said := g.load(sessions, duration)
	if err := cmd.Wait(); err != nil {
		g.t.Errorf("a chat: %v\n%s", err, said)
	}
}

// sandboxed: the unit's promises hold in the running process, which has private descriptor tables nevertheless.
func sandboxed(g *guest) {
	for key, want := range map[string]string{"NoNewPrivs": "1", "Seccomp": "2", "CapBnd": "0000000000000000",
		"CapEff": "0000000000000000"} {
		if got := g.status(key); got != want {
			g.t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
	pid := g.property("MainPID")
	g.wants(g.run("ps", "-o", "user=", "-p", pid), "megaphon")
	// Limits that need CAP_SYS_RESOURCE are as in the unit, or this host's maximum.
	g.sh("[ $(cat /proc/" + pid + "/oom_score_adj) = -250 ] || ! { echo -250 >/proc/self/oom_score_adj; } 2>/dev/null")
	g.sh(fmt.Sprintf(`set -- $(grep 'open files' /proc/%s/limits) $(grep 'open files' /proc/1/limits)
		[ "$4" = 1048576 ] || [ "$4 $5" = "$10 ${10}" ] || [ "$4" = "${10}" ]`, pid))
	for _, file := range []string{"/etc/x", "/var/lib/x", "/usr/bin/x"} {
		out, err := g.say("nsenter", "-t", pid, "-m", "touch", file)
		if err == nil || !strings.Contains(out, "Read-only") {
			g.t.Errorf("%s can be written: %s", file, out)
		}
	}
	g.run("systemctl", "stop", edge)
	g.sh("echo 'descriptor-tables: on' >>/etc/megaphone/edge.yml; systemctl start " + edge)
	g.wants(g.run("journalctl", "--no-pager", "-u", edge), "private_tables=true")
	g.chat(20, "1s")
}

// reloads: a good file is taken, a bad one fails the reload and changes nothing. No edge starts with it, nor tries
// again.
func reloads(g *guest) {
	pid := g.property("MainPID")
	g.sh("echo 'grace: 20s' >>/etc/megaphone/edge.yml; systemctl reload " + edge)
	g.until("the reload", func() bool {
		return strings.Contains(g.run("journalctl", "--no-pager", "-u", edge), "msg=reloaded")
	})
	g.sh("cp /etc/megaphone/edge.yml /root/edge.yml; echo 'graze: 1s' >>/etc/megaphone/edge.yml")
	if out, err := g.say("systemctl", "reload", edge); err == nil {
		g.t.Errorf("a bad file is reloaded: %s", out)
	}
	if now := g.property("MainPID"); now != pid || g.property("ActiveState") != "active" {
		g.t.Errorf("process %s was %s, %s", now, pid, g.property("ActiveState"))
	}
	g.serves()
	if _, err := g.say("systemctl", "restart", edge); err == nil || g.property("ActiveState") != "failed" ||
		g.property("NRestarts") != "0" {
		g.t.Errorf("with a bad file it is %s, after %s more tries", g.property("ActiveState"), g.property("NRestarts"))
	}
	g.wants(g.run("journalctl", "--no-pager", "-u", edge, "-n", "20"), "graze")
	g.sh("cp /root/edge.yml /etc/megaphone/edge.yml; systemctl start " + edge)
	g.serves()
}

// takesOrders over the socket in the directory that systemd has made, and not over TCP.
func takesOrders(g *guest) {
	const order = `'http://localhost:5281/drain?origin=a&on=false'`
	g.wants(g.sh("stat -c '%a %U %G' /run/megaphone/admin.sock"), "660 megaphone megaphone")
	g.wants(g.sh("curl -sS --unix-socket /run/megaphone/admin.sock -X POST "+order), "a: drain false")
	g.wants(g.sh("curl -sS -X POST "+order), "curl --unix-socket /run/megaphone/admin.sock")
	g.wants(g.run("megaphone", "health", "--admin", "/run/megaphone/admin.sock"), "alive")
	g.wants(g.run("megaphone", "health"), "alive")
}

// dropIn writes a part of the edge's unit that is forgotten with the step.
func (g *guest) dropIn(text string) (remove func()) {
	g.t.Helper()
	const dir = "/run/systemd/system/megaphone-edge.service.d"
	g.sh("mkdir -p " + dir + "; printf '" + text + "' >" + dir + "/step.conf; systemctl daemon-reload")
	return func() {
		g.t.Helper()
		g.sh("rm -r " + dir + "; systemctl daemon-reload; systemctl restart " + edge + "; systemctl reset-failed")
		g.serves()
	}
}

// drainsLong: systemd waits for an edge that takes longer than TimeoutStopSec to drain, as it says so.
func drainsLong(g *guest) {
	defer g.dropIn(`[Service]\nTimeoutStopSec=2s\n`)()
	g.run("systemctl", "restart", edge)
	began := time.Now()
	// The connection ends with head-timeout.
	g.run("bash", "-ec", `exec 3<>/dev/tcp/127.0.0.1/5280; printf 'POST /http-bind HTTP/1.1\r\n' >&3
		systemctl stop `+edge)
	if took := time.Since(began); took < 5*time.Second {
		g.t.Fatalf("the drain took %v: the test shows nothing", took)
	}
	if result := g.property("Result"); result != "success" {
		g.t.Errorf("the stop ended with %s", result)
	}
}

// survivesSIGHUP: what the signal ends before it runs is started again.
func survivesSIGHUP(g *guest) {
	defer g.dropIn(`[Service]\nType=exec\nWatchdogSec=0\nExecStart=\nExecStart=/usr/bin/sleep 1000\n`)()
	g.run("systemctl", "restart", edge)
	g.run("systemctl", "kill", "--signal=HUP", "--kill-whom=main", edge)
	g.until("a restart", func() bool {
		return g.property("NRestarts") == "1" && g.property("ActiveState") == "active"
	})
}

// upgrades to another package in place; what the administrator has written stays.
func upgrades(g *guest, file, version string) {
	g.upgraded(func() {
		g.wants(g.run("dpkg", "--no-triggers", "--force-confold", "-i", file), "the new edge serves")
	}, version)
	g.wants(g.sh("cat /etc/megaphone/edge.yml"), "drain-jitter: 1s")
}

// upgraded has an upgrade done in the middle of a chat: nothing is refused or lost, and systemd follows.
func (g *guest) upgraded(upgrade func(), version string) {
	g.t.Helper()
	before := g.property("MainPID")
	cmd, chat := g.load(200, "3s")
	g.until("the chat", func() bool {
		n := g.sh(`ss -Htn state established '( sport = :5280 )' | wc -l`)
		return len(strings.TrimSpace(n)) >= 3 // 100 and more
	})
	upgrade()
	if err := cmd.Wait(); err != nil {
		g.t.Errorf("the chat: %v\n%s", err, chat)
	}
	now := g.property("MainPID")
	if now == before || g.property("ActiveState") != "active" || g.property("NRestarts") != "0" {
		g.t.Errorf("process %s was %s, %s, restarts: %s", now, before, g.property("ActiveState"),
			g.property("NRestarts"))
	}
	g.wants(g.run("megaphone", "version"), version)
	g.wants(g.run("journalctl", "--no-pager", "-u", edge), "version="+version)
	said := g.run("journalctl", "--no-pager", "-b")
	if strings.Contains(said, "from PID "+before+", but reception only permitted") {
		g.t.Errorf("the old edge tells systemd something that it does not want to know:\n%s", said)
	}
	g.until("the end of the old edge", func() bool {
		_, err := g.say("test", "-e", "/proc/"+before)
		return err != nil
	})
}

// restarts: the watchdog ends a process that hangs, one that crashes is started again; a successor is watched as well.
func restarts(g *guest) {
	for n, signal := range []string{"STOP", "KILL"} {
		before := g.property("MainPID")
		g.run("kill", "-"+signal, before)
		g.until("a restart", func() bool {
			return g.property("NRestarts") == fmt.Sprint(n+1) && g.property("ActiveState") == "active"
		})
	}
	g.until("the links", func() bool { return strings.Contains(g.sh("ss -Htn state established"), "127.0.0.1:5279") })
	g.serves()
}

// refusesUpgrade: a file that the new version does not take leaves the old edge serving, and the package installed.
func refusesUpgrade(g *guest) {
	before := g.property("MainPID")
	g.sh("cp /etc/megaphone/edge.yml /root/edge.yml; echo 'graze: 1s' >>/etc/megaphone/edge.yml")
	out := g.run("dpkg", "--no-triggers", "--force-confold", "-i", one(g.t, shared, newer, "deb"))
	g.wants(out, "the edge of the old one goes on")
	g.wants(out, "graze")
	g.sh("cp /root/edge.yml /etc/megaphone/edge.yml")
	if now := g.property("MainPID"); now != before {
		g.t.Errorf("process %s was %s", now, before)
	}
	g.serves()
}

// socketActivation: clients wait at systemd's socket for an edge, which can be upgraded in place as well.
func socketActivation(g *guest) {
	g.run("systemctl", "stop", edge)
	g.run("systemctl", "start", "megaphone-edge.socket")
	if state, _ := g.say("systemctl", "is-active", edge); !strings.HasPrefix(state, "inactive") {
		g.t.Fatalf("the edge is %s", state)
	}
	g.chat(20, "1s")
	g.wants(g.run("journalctl", "--no-pager", "-u", edge), "name=clients")
	upgrades(g, one(g.t, shared, newer, "deb"), newer)
	g.run("systemctl", "stop", "megaphone-edge.socket")
}

// named are the files that have our name, where packages and services have theirs.
func (g *guest) named() string {
	g.t.Helper()
	return g.sh("find /etc /usr/bin /usr/sbin /usr/lib /usr/share /var/lib /run -xdev -name '*megaphone*' | sort")
}

// removes: the configuration outlives a removal, and after a purge there is nothing but the user.
func removes(g *guest) {
	g.sh("install -m 640 -g megaphone /dev/null /etc/megaphone/secret; mkdir -p /var/lib/megaphone")
	g.sh("printf '# Written by tune.sh of Megaphone: x\n' >/etc/sysctl.d/90-megaphone.conf")
	g.run("systemctl", "start", edge)
	g.run("dpkg", "--no-triggers", "-r", "megaphone")
	if out, err := g.say("pgrep", "-u", "megaphone"); err == nil {
		g.t.Errorf("processes go on: %s", out)
	}
	g.sh("test -f /etc/megaphone/edge.yml && test -f /etc/megaphone/secret && test ! -e /usr/bin/megaphone")
	g.run("dpkg", "--no-triggers", "-P", "megaphone")
	g.sh("rm -r /etc/systemd/system/megaphone-edge.service.d") // it is the administrator's
	if left := g.named(); left != g.before {
		g.t.Errorf("left are\n%s\nthere was\n%s", left, g.before)
	}
	g.wants(g.run("getent", "passwd", "megaphone"), "nologin")
}

// rpmLife: the same scripts do with what rpm tells them.
func rpmLife(g *guest) {
	g.run("userdel", "megaphone")
	rpm := func(args ...string) string { return g.run("rpm", append([]string{"--nodeps"}, args...)...) }
	g.wants(rpm("-i", one(g.t, shared, older, "rpm")), "nothing is started yet")
	g.sh(configure)
	upgrade := func() { g.wants(rpm("-U", one(g.t, shared, newer, "rpm")), "the new edge serves") }
	g.upgraded(upgrade, newer)
	rpm("-e", "megaphone")
	if out, err := g.say("pgrep", "-u", "megaphone"); err == nil {
		g.t.Errorf("processes go on: %s", out)
	}
	g.sh("test -f /etc/megaphone/edge.yml.rpmsave && test ! -e /usr/bin/megaphone")
}
