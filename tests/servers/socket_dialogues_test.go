package servers

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"megaphone/tests/rig"
)

// TestSocketDialogues plays dialogues against ejabberd's own ejabberd_http_ws and through an edge with mod_megaphone,
// and compares them message by message. A difference must be one that is wanted, and each of those must occur.
func TestSocketDialogues(t *testing.T) {
	t.Parallel()
	j := startEjabberd(t, "--modules", management, "--module-options", "{sleep_after: 1 ms}")
	edge := serveEdge(t, 1, "a="+j.link, "", "--max-body-bytes", "1048576")
	addr, path, _ := strings.Cut(strings.TrimPrefix(j.said["websocket"], "ws://"), "/")
	names := slices.Sorted(maps.Keys(socketDialogues))
	j.number(fmt.Sprintf(`length([ok = ejabberd_auth:try_register(iolist_to_binary(io_lib:format("user-~B-~B", [I, N])),
		<<"localhost">>, <<"%s">>) || I <- [0, 1], N <- lists:seq(0, %d)])`, password, len(names)-1))
	base := j.census()
	heard := [2][][]string{make([][]string, len(names)), make([][]string, len(names))}
	for i, at := range []endpoint{{addr: addr, path: "/" + path}, {addr: edge.Addr, path: "/xmpp-websocket"}} {
		t.Run(at.path, func(t *testing.T) {
			var playing sync.WaitGroup
			for n, name := range names {
				user := fmt.Sprintf("user-%d-%d", i, n) // its own: resources of one user hear of each other
				playing.Go(func() { heard[i][n] = playSockets(t, at, user, name) })
			}
			playing.Wait()
		})
	}
	seen := map[difference]bool{}
	for n, name := range names {
		direct, edge := heard[0][n], heard[1][n]
		for k := range max(len(direct), len(edge)) {
			a, b := "(nothing)", "(nothing)"
			if k < len(direct) {
				a = direct[k]
			}
			if k < len(edge) {
				b = edge[k]
			}
			if a != b && !wantedDifference(name, a, b, seen) {
				t.Errorf("%s: through the edge\n  %.500s\nand directly\n  %.500s", name, b, a)
			}
		}
	}
	version, _ := j.run(rig.Patience, "eval", j.dir, "ejabberd_option:version()")
	for _, d := range wantedOfSockets {
		if strings.Contains(version, d.ends) && !seen[d] {
			t.Errorf("a wanted difference does not occur: %+v", d)
		}
	}
	j.back(base)
}

func wantedDifference(name, direct, edge string, seen map[difference]bool) bool {
	for _, d := range wantedOfSockets {
		if (d.dialogue == "*" || d.dialogue == name) && d.fits(direct, edge) {
			seen[d] = true
			return true
		}
	}
	return false
}

// playSockets plays a dialogue and returns what it heard.
func playSockets(t *testing.T, at endpoint, user, name string) (heard []string) {
	script := strings.ReplaceAll(socketDialogues[name], "include log-in", socketLogIn)
	script = strings.ReplaceAll(script, "\n\t\t.", "")
	w := words("", user, "desk")
	sockets, previd := map[string]*socket{}, ""
	for line := range strings.Lines(script) {
		f := strings.SplitN(strings.TrimSpace(line), " ", 3)
		if len(f) < 2 {
			continue
		}
		s := sockets[f[0]]
		if s == nil {
			var err error
			if s, _, err = tryDial(t, at.addr, at.path); err != nil {
				t.Errorf("%s: %v", name, err)
				return heard
			}
			sockets[f[0]] = s
		}
		switch {
		case f[1] == "drop":
			_ = s.ws.CloseNow()
		case f[1] == ">":
			text := strings.NewReplacer("$open", fmt.Sprintf(openStream, "localhost"), "$close", closeXMPP,
				"$user", user, "$previd", previd).Replace(w.Replace(f[2]))
			s.say(fillPattern.ReplaceAllStringFunc(text, func(m string) string {
				return strings.Repeat("x", argument(fillPattern, m))
			}))
		case f[2] == "close":
			code, last := s.closed()
			for _, m := range last {
				heard = append(heard, normalised(m, user))
			}
			heard = append(heard, fmt.Sprint("code ", code))
		default:
			n, _ := strconv.Atoi(f[2])
			for range n {
				m, err := s.read()
				if err != nil {
					heard = append(heard, "it has ended")
					break
				}
				if id := enabledPattern.FindStringSubmatch(m); id != nil {
					previd = id[1]
				}
				heard = append(heard, normalised(m, user))
			}
		}
	}
	return heard
}

// changing finds what differs from one run to the next; its second group is the value.
var changing = regexp.MustCompile(`( id=')(\d{6,}|[A-Za-z0-9+/=]{24,}|rosterPush\d+|push\d+)(?:')|` +
	`( stamp='| previd='|@anon.localhost/|<jid>)([^'<]+)`)

var startTag = regexp.MustCompile(`^<[^>]*>`)

// normalised names the changing parts, and sorts the attributes of the first tag.
func normalised(m, user string) string {
	m = changing.ReplaceAllStringFunc(m, func(found string) string {
		p := changing.FindStringSubmatch(found)
		if p[1] != "" {
			return p[1] + "{id}'"
		}
		if p[3] == "<jid>" && !strings.Contains(p[4], "@anon.localhost") {
			return found
		}
		return p[3] + "{changing}"
	})
	m = strings.ReplaceAll(m, user, "{user}")
	return startTag.ReplaceAllStringFunc(m, func(tag string) string {
		attributes := attributePattern.FindAllString(tag, -1)
		slices.Sort(attributes)
		i := 0
		return attributePattern.ReplaceAllStringFunc(tag, func(string) string { i++; return attributes[i-1] })
	})
}
