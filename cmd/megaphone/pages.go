package main

import (
	"bytes"
	"embed"
	"fmt"
	"html"

	"megaphone/edge"
)

// The chat page. The build (scripts/setup.sh) puts strophe.umd.min.js beside it; it is not in the repository.
//
//go:embed page
var pageFiles embed.FS

const stropheFile = "strophe.umd.min.js"

// domainSetting is the element of the page with the domain for the log-in.
const domainSetting = `<meta name="xmpp-domain" content="%s">`

// demoPages returns the files of the chat page, which logs in at the given domain.
func demoPages(domain string) (map[string]edge.Page, error) {
	pages := map[string]edge.Page{}
	for path, f := range map[string]struct{ name, contentType string }{
		"/":               {"index.html", "text/html; charset=utf-8"},
		"/style.css":      {"style.css", "text/css; charset=utf-8"},
		"/chat.js":        {"chat.js", "text/javascript; charset=utf-8"},
		"/session.js":     {"session.js", "text/javascript; charset=utf-8"},
		"/people.js":      {"people.js", "text/javascript; charset=utf-8"},
		"/view.js":        {"view.js", "text/javascript; charset=utf-8"},
		"/" + stropheFile: {stropheFile, "text/javascript; charset=utf-8"},
	} {
		data, err := pageFiles.ReadFile("page/" + f.name)
		if err != nil {
			return nil, fmt.Errorf("this binary was built without %s: build it with `make build`", f.name)
		}
		pages[path] = edge.Page{ContentType: f.contentType, Body: data}
	}
	index := pages["/"]
	built := []byte(fmt.Sprintf(domainSetting, "localhost"))
	if !bytes.Contains(index.Body, built) {
		panic("the page has no " + string(built))
	}
	index.Body = bytes.Replace(index.Body, built, []byte(fmt.Sprintf(domainSetting, html.EscapeString(domain))), 1)
	pages["/"] = index
	return pages, nil
}
