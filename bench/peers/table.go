package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"megaphone/bench/machine"
	"megaphone/bench/spread"
)

// printTables writes the measurements as Markdown: medians, and in brackets the spread of the rounds.
func printTables(o *options, all []*server) {
	fmt.Printf("%s.\n%d rounds, %s for each measurement of requests.\n", machine.This(o.root), o.rounds, o.duration)
	fmt.Print("\n| | version | held | own bytes for each (RssAnon) | beyond the first ninth | sockets for each |\n" +
		"|---|---|---|---|---|---|\n")
	for _, s := range all {
		fmt.Printf("| %s | %s | %d | %s | %s | %s |\n", s.name, s.versionText(o), s.holds(o), text(s.bytes, 0),
			text(s.slopes, 0), text(s.sockets, 2))
	}
	for _, n := range o.connections {
		printRequests(fmt.Sprintf("%d connections that ask", n), all, func(s *server) []measured { return s.plain[n] })
	}
	printRequests(fmt.Sprintf("%d connections that ask, while the others are held", besideConnections), all,
		func(s *server) []measured { return s.beside })
	printComing(o, all)
	for _, s := range all {
		for _, w := range s.wrong {
			fmt.Printf("\n%s: %s\n", s.name, w)
		}
	}
}

func printComing(o *options, all []*server) {
	title := fmt.Sprintf("A new connection for each request, %d at a time", freshConnections)
	if !o.tls {
		printRequests(title, all, func(s *server) []measured { return s.fresh })
		return
	}
	for i, w := range ways {
		printRequests(title+", "+w.name, all, func(s *server) []measured {
			if s.ways == nil {
				return nil
			}
			return s.ways[i]
		})
	}
}

func printRequests(title string, all []*server, of func(s *server) []measured) {
	fmt.Printf("\n%s:\n\n| | requests/s | p99, ms | CPU seconds for 100,000: its own | the origin's | errors |\n"+
		"|---|---|---|---|---|---|\n", title)
	for _, s := range all {
		list := of(s)
		if len(list) == 0 {
			continue
		}
		failed := 0
		for _, m := range list {
			failed += m.errors
		}
		column := func(of func(m measured) float64, decimals int) string {
			values := make([]float64, len(list))
			for i, m := range list {
				values[i] = of(m)
			}
			return text(values, decimals)
		}
		fmt.Printf("| %s | %s | %s | %s | %s | %d |\n", s.name,
			column(func(m measured) float64 { return m.perSecond }, 0),
			column(func(m measured) float64 { return m.p99Millis }, 1),
			column(func(m measured) float64 { return m.server }, 2),
			column(func(m measured) float64 { return m.origin }, 2), failed)
	}
}

func text(values []float64, decimals int) string {
	if len(values) == 0 {
		return "-"
	}
	return spread.Of(values).Text(decimals)
}

// versionText is the first line of what the program says of its version.
func (s *server) versionText(o *options) string {
	program := s.version[0]
	if strings.Contains(program, "/") {
		program = filepath.Join(o.root, program)
	}
	out, err := exec.Command(program, s.version[1:]...).CombinedOutput()
	if err != nil {
		return "?"
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return strings.TrimPrefix(line, "nginx version: ")
}
