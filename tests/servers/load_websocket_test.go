package servers

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"megaphone/tests/rig"
)

// open returns the number of connections that the wire carries.
func (r *relay) open() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ends) / 2
}

// TestLoadOverWebSocket has the load generator chat through the servers' own WebSockets, over a wire that is cut twice.
// Its sessions resume by the servers' stream management, and each message arrives once and in order.
func TestLoadOverWebSocket(t *testing.T) {
	t.Parallel()
	const n, cuts = 10, 2
	for name, start := range map[string]func(t *testing.T) (p *peer, domain string){
		"ejabberd": func(t *testing.T) (*peer, string) {
			return startNode(t, "--modules", "mod_stream_mgmt: {}").peer, "demo.localhost"
		},
		"prosody": func(t *testing.T) (*peer, string) {
			p := startProsody(t)
			for k := range n {
				if _, err := p.run(rig.Patience, "adduser", p.dir, fmt.Sprint("load", k+1), password); err != nil {
					t.Fatal(err)
				}
			}
			return p.peer, "localhost"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, domain := start(t)
			host, path, _ := strings.Cut(strings.TrimPrefix(server.said["websocket"], "ws://"), "/")
			wire, file := newRelay(t, host), filepath.Join(t.TempDir(), "report.json")
			p := rig.Start(t, "load", "--target", "ws://"+wire.addr+"/"+path, "--domain", domain, "--login", "plain",
				"--password", password, "--scenario", "chat", "--sessions", fmt.Sprint(n), "--messages", "50",
				"--duration", "10s", "--report", file)
			p.Line(0, "chat ")
			for range cuts {
				wire.setCut(true)
				wire.setCut(false)
				tick, late := time.NewTicker(10*time.Millisecond), time.After(rig.Patience)
				for wire.open() < n {
					select {
					case <-tick.C:
					case <-late:
						t.Fatalf("only %d sessions have come back", wire.open())
					}
				}
				tick.Stop()
			}
			code := p.Wait()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var r struct {
				Messages struct{ Sent, Delivered int }
				Streams  struct {
					Resumed int `json:"resumed"`
					Refused int `json:"not_resumed"`
				} `json:"websockets"`
			}
			if err := json.Unmarshal(text, &r); err != nil {
				t.Fatal(err)
			}
			if m := r.Messages; code != 0 || m.Sent < 100 || m.Delivered != m.Sent {
				t.Errorf("exit status %d, messages %+v", code, m)
			}
			if s := r.Streams; s.Resumed < n || s.Refused != 0 {
				t.Errorf("WebSockets %+v", s)
			}
		})
	}
}
