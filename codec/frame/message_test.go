package frame

import (
	"bytes"
	"testing"

	"megaphone/codec/internal/codectest"
)

func TestRequestVectors(t *testing.T) {
	g := codectest.NewPage(t)
	for _, v := range linkVectors(t).Requests {
		t.Run(v.Name, func(t *testing.T) {
			p := g.Put(string(v.Contents))
			r, err := ParseRequest(p)
			codectest.Inside(t, p, r.Address, r.Query, r.Body)
			if v.Error != "" {
				if err != frameErrors[v.Error] {
					t.Fatalf("%q: %v, not %s", p, err, v.Error)
				}
				return
			}
			if err != nil || !bytes.Equal(r.Body, v.Body) || (r.Address == nil) != (v.Address == nil) ||
				r.Address != nil && string(r.Address) != *v.Address || string(r.Query) != v.Query {
				t.Fatalf("%q: %q, %v", p, r, err)
			}
			want := Append(nil, 7, v.Contents)
			if got := AppendRequest(nil, 7, r); !bytes.Equal(got, want) {
				t.Errorf("written again: %q, not %q", got, want)
			}
		})
	}
}

func TestReplyVectors(t *testing.T) {
	g := codectest.NewPage(t)
	for _, v := range linkVectors(t).Replies {
		t.Run(v.Name, func(t *testing.T) {
			p := g.Put(string(v.Contents))
			status, body, err := ParseReply(p)
			codectest.Inside(t, p, body)
			if v.Error != "" {
				if err != frameErrors[v.Error] {
					t.Fatalf("%q: %v, not %s", p, err, v.Error)
				}
				return
			}
			if err != nil || status != v.Status || !bytes.Equal(body, v.Body) {
				t.Fatalf("%q: status %d, body %q, %v", p, status, body, err)
			}
			again, _, ok, _ := Parse(AppendReply(nil, 7, status, body), 0)
			if s, b, err := ParseReply(again.Contents); !ok || err != nil || s != status || !bytes.Equal(b, body) {
				t.Errorf("written again: %q", again.Contents)
			}
		})
	}
}

func TestReplyLeaves200Out(t *testing.T) {
	for _, c := range []struct {
		status     int
		body, want string
	}{
		{200, "<body/>", "<body/>"},
		{200, "", ""},
		{200, "plain text", "200 plain text"}, // otherwise it would be taken for a status
		{200, "503 x", "200 503 x"},
		{404, "", "404 "},
		{503, "<body/>", "503 <body/>"},
	} {
		if f, _, _, _ := Parse(AppendReply(nil, 1, c.status, []byte(c.body)), 0); string(f.Contents) != c.want {
			t.Errorf("%d %q is sent as %q", c.status, c.body, f.Contents)
		}
	}
}

func TestReplyWithAStatusThatEndsNothingPanics(t *testing.T) {
	for _, status := range []int{0, 100, 199, 600, 1000, -200} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a reply with status %d was written", status)
				}
			}()
			AppendReply(nil, 1, status, nil)
		}()
	}
}

func TestMessagesAllocateNothing(t *testing.T) {
	buf := make([]byte, 0, 1024)
	for _, v := range linkVectors(t).Requests {
		codectest.NoAllocs(t, v.Name, func() {
			r, _ := ParseRequest(v.Contents)
			AppendRequest(buf, 1, r)
		})
	}
	for _, v := range linkVectors(t).Replies {
		codectest.NoAllocs(t, v.Name, func() {
			_, body, _ := ParseReply(v.Contents)
			AppendReply(buf, 1, 503, body)
		})
	}
}
