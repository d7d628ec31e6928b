package servers

import (
	"fmt"
	"testing"

	"megaphone/tests/rig"
)

// TestRecipePaths: other spellings of the path come through each of the programs that may end TLS, and so does what
// clients ask for to find the endpoint.
func TestRecipePaths(t *testing.T) {
	t.Parallel()
	file, _ := secretFile(t)
	c := newChain(t, rig.Serve(t, "origin", "--listen", "127.0.0.1:0", "--secret-file", file).Addr, file)
	for name, start := range fronts {
		t.Run(name, func(t *testing.T) {
			at := rig.Connect(t, c.overTLS(t, "127.0.0.11", start(t, c).Addr))
			ask := func(method, path, body string) rig.Response {
				at.Send(fmt.Sprintf("%s %s HTTP/1.1\r\nHost: example.org\r\nOrigin: https://www.example.org\r\n"+
					"Content-Length: %d\r\n\r\n%s", method, path, len(body), body))
				return at.Get()
			}
			const creation = "<body rid='1' to='localhost' ver='1.6' wait='60' hold='1' " +
				"xmlns='http://jabber.org/protocol/httpbind'/>"
			for _, path := range []string{"/http-bind", "/http-bind/", "/http%2Dbind", "/%68ttp-bind/?a"} {
				ask("POST", path, creation).Want(t, 200, " sid=")
			}
			for _, path := range []string{"/.well-known/host-meta", "/.well-known/host-meta.json",
				"/%2Ewell-known/host-meta"} {
				r := ask("GET", path, "").Want(t, 200, "https://chat.example.org/http-bind")
				if r.Header.Get("Access-Control-Allow-Origin") != "*" {
					t.Errorf("%s: %v", path, r.Header)
				}
			}
			ask("POST", "/http-bind%2F", creation).Want(t, 404, "Nothing here")
		})
	}
}
