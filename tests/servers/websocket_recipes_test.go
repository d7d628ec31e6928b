package servers

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"megaphone/tests/rig"
)

// TestWebSocketRecipes: WebSockets pass through each of the programs that may end TLS, and come from their client's
// address.
func TestWebSocketRecipes(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("what only the edges know, 16 characters or more\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	origin := rig.Serve(t, "origin", "--listen", "127.0.0.1:0", "--secret-file", file)
	c := newChain(t, origin.Addr, file)
	for name, start := range fronts {
		t.Run(name, func(t *testing.T) {
			p := start(t, c)
			ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
			defer cancel()
			for _, path := range []string{"/xmpp-websocket", "/xmpp-websocket/"} {
				ws, _, err := websocket.Dial(ctx, "ws://"+c.overTLS(t, "127.0.0.11", p.Addr)+path,
					&websocket.DialOptions{Subprotocols: []string{"xmpp"}})
				if err != nil {
					t.Fatalf("%s: %v", path, err)
				}
				defer ws.CloseNow()
				const open = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>"
				if err := ws.Write(ctx, websocket.MessageText, []byte(open)); err != nil {
					t.Fatal(err)
				}
				for _, want := range []string{"<open ", "<stream:features"} {
					if _, got, err := ws.Read(ctx); err != nil || !strings.HasPrefix(string(got), want) {
						t.Fatalf("%q, %v: want %s", got, err, want)
					}
				}
				if err := ws.Close(websocket.StatusNormalClosure, ""); err != nil {
					t.Errorf("close: %v", err)
				}
			}
		})
	}
}
