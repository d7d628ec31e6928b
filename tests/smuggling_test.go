package tests

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"megaphone/codec/frame"
	"megaphone/tests/rig"
)

// hidden is the request that an attacker wants to pass off as one of its own, or of another client.
var hidden = rig.PostText("<body rid='7' sid='hidden" + tag("bad") + "' " + rig.BOSHNS + "/>")

// smuggled are requests whose end is ambiguous for two readers. head is header lines, after follows them, and then
// comes the hidden request.
var smuggled = []struct{ name, head, after string }{
	{"length and chunked", "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"},
	{"chunked and length", "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", "0\r\n\r\n"},
	{"two lengths", "Content-Length: 0\r\nContent-Length: 300\r\n", ""},
	{"two equal lengths", "Content-Length: 3\r\nContent-Length: 3\r\n", "abc"},
	{"a list of lengths", "Content-Length: 0, 300\r\n", ""},
	{"a length with a sign", "Content-Length: +3\r\n", "abc"},
	{"a negative length", "Content-Length: -1\r\n", ""},
	{"a hexadecimal length", "Content-Length: 0x3\r\n", "abc"},
	{"a length in a folded line", "Content-Length:\r\n 0\r\n", ""},
	{"chunked in a folded line", "Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"},
	{"a folded line first", " Content-Length: 0\r\n", ""},
	{"space before the colon", "Content-Length : 0\r\n", ""},
	{"tab before the colon", "Transfer-Encoding\t: chunked\r\n", "0\r\n\r\n"},
	{"chunked by another name", "Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"},
	{"chunked and more", "Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"},
	{"identity", "Transfer-Encoding: identity\r\n", ""},
	{"chunked twice in a line", "Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"},
	{"chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"},
	{"chunked with a vertical tab", "Transfer-Encoding: \vchunked\r\n", "0\r\n\r\n"},
	{"chunked in quotes", "Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"},
	{"bare LF", "X: y\nContent-Length: 0\r\n", ""},
	{"bare CR", "X: y\rContent-Length: 0\r\n", ""},
	{"a zero byte", "X: y\x00\r\nContent-Length: 0\r\n", ""},
	{"an underscore", "Content_Length: 300\r\nContent-Length: 0\r\n", ""},
	{"a chunk size with a sign", "Transfer-Encoding: chunked\r\n", "+0\r\n\r\n"},
	{"a chunk size with 0x", "Transfer-Encoding: chunked\r\n", "0x0\r\n\r\n"},
	{"a chunk size that overflows", "Transfer-Encoding: chunked\r\n", "10000000000000000\r\n\r\n"},
	{"a chunk that ends with LF", "Transfer-Encoding: chunked\r\n", "1\nx\n0\n\n"},
	{"a chunk that is longer than it says", "Transfer-Encoding: chunked\r\n", "1\r\nxyz\r\n0\r\n\r\n"},
	{"a chunk extension with LF", "Transfer-Encoding: chunked\r\n", "1;a\nb\r\nx\r\n0\r\n\r\n"},
	{"a length in a trailer", "Transfer-Encoding: chunked\r\n", "0\r\nContent-Length: 300\r\n\r\n"},
	{"no length at all", "", ""},
}

// openly are those of them that are one request with a plain end, behind which another may well stand.
var openly = map[string]bool{"an underscore": true, "a length in a trailer": true, "no length at all": true}

// TestAttackSmuggling: where a request ends is never a matter of opinion. What could be read in two ways is refused,
// the connection is closed, and nothing behind it is looked at.
func TestAttackSmuggling(t *testing.T) {
	a, seen := smugglers(t)
	for _, v := range smuggled {
		if openly[v.name] {
			continue
		}
		c := rig.Connect(t, a.Addr)
		c.Send("POST /http-bind HTTP/1.1\r\nHost: h\r\n" + v.head + "\r\n" + v.after + hidden)
		r := c.Get()
		if r.StatusCode != 400 && r.StatusCode != 413 && r.StatusCode != 501 || !r.Close {
			t.Errorf("%s: %s", v.name, r.Status)
		}
		if rest, err := io.ReadAll(c.R); err != nil || len(rest) > 0 {
			t.Errorf("%s: then %q, %v", v.name, rest, err)
		}
		select {
		case body := <-seen:
			t.Errorf("%s: the origin got %q", v.name, body)
		default:
		}
		c.Close()
	}
	// The net is not torn: the same without an opinion arrives.
	c := rig.Connect(t, a.Addr)
	c.Send(hidden)
	c.Get().Want(t, 200, "taken")
	for late := time.After(rig.Patience); ; {
		select {
		case body := <-seen:
			if strings.Contains(body, "sid='hidden'") {
				return
			}
		case <-late:
			t.Fatal("the origin never gets anything")
		}
	}
}

// TestAttackSmugglingBehindAProxy: whatever a proxy in front makes of the same bytes, no request reaches the origin
// that the proxy does not know of.
func TestAttackSmugglingBehindAProxy(t *testing.T) {
	program, err := exec.LookPath("haproxy")
	if err != nil {
		t.Fatal("haproxy is not installed: scripts/setup.sh test does it")
	}
	a, seen := smugglers(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := free.Addr().String()
	free.Close()
	// With "option accept-invalid-http-request" it forwards some doubtful input, which is the interesting case.
	p := rig.Launch(t, exec.Command(program, "-f", configFile(t, "global\n nbthread 1\n log stdout format raw local0\n"+
		"defaults\n mode http\n log global\n timeout client 9s\n timeout server 9s\n timeout connect 9s\n"+
		" option accept-invalid-http-request\n http-reuse always\n"+
		"frontend f\n bind "+at+"\n log-format '%HM to %s %ST'\n default_backend b\n"+
		"backend b\n server edge "+a.Addr+"\n")))
	up(t, at)
	for _, v := range smuggled {
		c := rig.Connect(t, at)
		c.Send("POST /http-bind HTTP/1.1\r\nHost: h\r\n" + v.head + "\r\n" + v.after + hidden)
		_ = c.CloseWrite()
		for {
			r, err := http.ReadResponse(c.R, nil)
			if err != nil {
				break
			}
			_, _ = io.Copy(io.Discard, r.Body)
		}
		c.Close()
	}
	// The net is not torn: the same without an opinion arrives. The last one is for the log to be whole.
	c := rig.Connect(t, at)
	c.Send(hidden)
	c.Get().Want(t, 200, "taken")
	c.Close()
	c = rig.Connect(t, at)
	c.Send("GET /http-bind HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	c.Get().Want(t, 200, "BOSH")
	p.Line(0, "GET to edge 200")
	known, got := strings.Count(p.Text(), "POST to edge 200"), len(seen)
	if got > known || got == 0 {
		t.Errorf("the origin got %d requests, the proxy knows of %d; the proxy said\n%s", got, known, p.Text())
	}
	t.Logf("of %d variants the proxy let %d hidden requests through as requests, and the origin got %d", len(smuggled),
		known, got)
}

// smugglers is an edge with an origin that takes everything and tells what it got.
func smugglers(t *testing.T) (edge *rig.Process, seen chan string) {
	seen = make(chan string, 1000)
	origin := newScripted(t, "bad", func(l *scriptedLink) {
		for {
			f, ok := l.frame()
			if !ok {
				return
			}
			if f.ID != 0 {
				seen <- string(f.Contents)
				l.write(frame.AppendReply(nil, f.ID, 200, []byte("<body "+rig.BOSHNS+">taken</body>")))
			}
		}
	})
	return rig.Serve(t, "edge", "--listen", "127.0.0.1:0", "--origin", "bad="+origin.addr, "--node-tags", "on",
		"--reactors", "1", "--max-connections", "500").Linked(1), seen
}

// up waits until a program listens.
func up(t *testing.T, addr string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for late := time.Now().Add(rig.Patience); ; <-tick.C {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return
		}
		if time.Now().After(late) {
			t.Fatal(fmt.Sprint("nobody listens on ", addr))
		}
	}
}
