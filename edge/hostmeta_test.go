package edge

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"

	"megaphone/config"
)

// The examples of XEP-0156 section 3.1, without their other links.
const (
	exampleXRD = `<?xml version='1.0' encoding='utf-8'?>
<XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>
  <Link rel="urn:xmpp:alt-connections:xbosh"
        href="https://web.example.com:5280/bosh" />
</XRD>`
	exampleJRD = `{
  "links": [
    {
      "rel": "urn:xmpp:alt-connections:xbosh",
      "href": "https://web.example.com:5280/bosh"
    }
  ]
}`
)

// readXRD returns what a strict XML parser finds: names with their namespaces, attributes and text, without white space
// between the elements.
func readXRD(t *testing.T, text string) (all []string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		switch x := token.(type) {
		case xml.StartElement:
			all = append(all, "<"+x.Name.Space+" "+x.Name.Local)
			for _, a := range x.Attr {
				if a.Name.Local != "xmlns" {
					all = append(all, a.Name.Space+" "+a.Name.Local+"="+a.Value)
				}
			}
		case xml.EndElement:
			all = append(all, "</"+x.Name.Local)
		case xml.CharData:
			if s := strings.TrimSpace(string(x)); s != "" {
				all = append(all, s)
			}
		case xml.ProcInst:
			all = append(all, "?"+x.Target+" "+string(x.Inst))
		}
	}
}

func readJRD(t *testing.T, text string) (all any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	if err := d.Decode(&all); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	if rest, _ := io.ReadAll(d.Buffered()); len(bytes.TrimSpace(rest)) != 0 {
		t.Fatalf("%q behind the document", rest)
	}
	return all
}

func TestHostMetaIsThatOfTheXEP(t *testing.T) {
	const hostile = `https://web.example.com/a&b'c"?d=<e>&f=]]>é`
	e, _ := one(t, func(c *Config) {
		c.CORS = []string{listed}
		c.PublicURLs = []config.PublicURL{{Domain: "example.com", BOSH: "https://web.example.com:5280/bosh"},
			{Domain: "hostile.example", BOSH: hostile}}
	})
	c := connect(t, e)
	for _, form := range []struct {
		path, kind, example string
		read                func(t *testing.T, text string) any
	}{
		{"/.well-known/host-meta", "application/xrd+xml", exampleXRD,
			func(t *testing.T, s string) any { return readXRD(t, s) }},
		{"/.well-known/host-meta.json", "application/json", exampleJRD, readJRD},
	} {
		get := func(method, path, host string) httpResponse {
			c.send(method + " " + path + " HTTP/1.1\r\nHost: " + host + "\r\nOrigin: " + unlisted + "\r\n\r\n")
			return c.get(method)
		}
		for _, host := range []string{"example.com", "EXAMPLE.com:443", "example.com.", "example.com.:5280"} {
			r := get("GET", form.path, host).want(t, 200, "")
			if !reflect.DeepEqual(form.read(t, r.text), form.read(t, form.example)) {
				t.Errorf("%s of %s is\n%s", form.path, host, r.text)
			}
			for name, want := range map[string]string{"Content-Type": form.kind, "Access-Control-Allow-Origin": "*",
				"Access-Control-Allow-Credentials": "", "Cache-Control": "public, max-age=600"} {
				if got := strings.Join(r.Header.Values(name), "|"); got != want {
					t.Errorf("%s: %s: %q, want %q", form.path, name, got, want)
				}
			}
			if h := get("HEAD", form.path, host); h.StatusCode != 200 || h.text != "" ||
				h.ContentLength != int64(len(r.text)) {
				t.Errorf("HEAD %s: %d, length %d", form.path, h.StatusCode, h.ContentLength)
			}
		}
		text := get("GET", form.path, "hostile.example").want(t, 200, "").text
		want := strings.ReplaceAll(form.example, "https://web.example.com:5280/bosh", "URL")
		if got := form.read(t, text); !reflect.DeepEqual(replaced(got, hostile), form.read(t, want)) {
			t.Errorf("a URL that must be escaped: %v", got)
		}
		get("GET", form.path+"/?x", "example.com").want(t, 200, "xbosh")
		get("GET", "http://example.com"+form.path, "other.example").want(t, 200, "xbosh")
		get("GET", form.path, "other.example").want(t, 404, "Nothing here")
		get("POST", form.path, "example.com").want(t, 405, "")
	}
}

// The files that docs/discovery.md shows for another web server are what the edge serves.
func TestHostMetaOfTheDocumentation(t *testing.T) {
	text, err := os.ReadFile("../docs/discovery.md")
	if err != nil {
		t.Fatal(err)
	}
	p := config.PublicURL{Domain: "example.org", BOSH: "https://chat.example.org/http-bind",
		WebSocket: "wss://chat.example.org/xmpp-websocket"}
	for kind, body := range map[string][]byte{"xml": xrd(&p), "json": jrd(&p)} {
		if !strings.Contains(string(text), "```"+kind+"\n"+string(body)+"\n```") {
			t.Errorf("docs/discovery.md does not have\n%s", body)
		}
	}
}

// replaced returns v with the text old replaced by URL.
func replaced(v any, old string) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, old, "URL")
	case []string:
		out := make([]string, len(v))
		for i := range v {
			out[i] = strings.ReplaceAll(v[i], old, "URL")
		}
		return out
	case []any:
		for i := range v {
			v[i] = replaced(v[i], old)
		}
	case map[string]any:
		for k := range v {
			v[k] = replaced(v[k], old)
		}
	}
	return v
}

// An entry without a domain is for all others. A reload changes all of it.
func TestHostMetaOfOtherDomains(t *testing.T) {
	e, _ := one(t, nil)
	c := connect(t, e)
	get := func(host string) httpResponse {
		c.send("GET /.well-known/host-meta HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
		return c.get()
	}
	get("a.example").want(t, 404, "Nothing here")
	reload(t, e, func(c *Config) {
		c.PublicURLs = []config.PublicURL{{BOSH: "https://all.example/b"},
			{Domain: "A.Example.", BOSH: "https://a.example/b"},
			{Domain: "bücher.example", BOSH: "https://b.example/b"}}
	})
	for host, url := range map[string]string{"a.example": "https://a.example/b", "b.example": "https://all.example/b",
		"xn--bcher-kva.example:80": "https://b.example/b", "192.0.2.1:5280": "https://all.example/b",
		"[::1]:5280": "https://all.example/b", "": "https://all.example/b",
		strings.Repeat("a", config.MaxDomain+1): "https://all.example/b"} {
		get(host).want(t, 200, url)
	}
	reload(t, e, func(c *Config) {
		c.PublicURLs = []config.PublicURL{{Domain: "b.example", BOSH: "https://b.example/new"}}
	})
	get("a.example").want(t, 404, "Nothing here")
	get("b.example").want(t, 200, "https://b.example/new")
}

// Behind a proxy the Host that arrives counts, whatever the client's address is.
func TestHostMetaBehindAProxy(t *testing.T) {
	e, _ := one(t, func(c *Config) {
		trusting("", "")(c)
		c.PublicURLs = []config.PublicURL{{Domain: "a.example", BOSH: "https://a.example/b"}}
	})
	c := connect(t, e)
	c.send("GET /.well-known/host-meta HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n")
	c.get().want(t, 200, "https://a.example/b")
}

// A domain with a WebSocket has a link for it, in both forms.
func TestHostMetaHasWebSocket(t *testing.T) {
	e, _ := one(t, func(c *Config) {
		c.PublicURLs = []config.PublicURL{{BOSH: "https://h/b", WebSocket: "wss://h/w?a&b"}}
	})
	c := connect(t, e)
	for path, want := range map[string]string{
		"/.well-known/host-meta": `<Link rel="urn:xmpp:alt-connections:websocket" href="wss://h/w?a&amp;b"/>`,
		"/.well-known/host-meta.json": "\"rel\": \"urn:xmpp:alt-connections:websocket\",\n      " +
			`"href": "wss://h/w?a\u0026b"`,
	} {
		c.send("GET " + path + " HTTP/1.1\r\nHost: h\r\n\r\n")
		c.get().want(t, 200, want).want(t, 200, "urn:xmpp:alt-connections:xbosh")
	}
}
