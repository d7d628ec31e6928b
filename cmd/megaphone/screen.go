package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/term"

	"megaphone/internal/text"
)

// screen is the output of top: a terminal that it redraws each time, or any other output.
type screen struct {
	out           io.Writer
	terminal      bool
	raw           bool // a line feed does not return to the left margin
	columns, rows int
	quit          chan struct{} // closed when q or Ctrl-C is pressed
	resized       chan os.Signal

	size func() (columns, rows int, err error)
}

// open takes over a terminal, if out is one. If in is one as well, it delivers keys as they are pressed. restore
// returns the terminal to its earlier state, and must be called however top ends. With once it only measures the
// terminal.
func (s *screen) open(in, out *os.File, once bool) (restore func(), err error) {
	if !term.IsTerminal(int(out.Fd())) {
		return func() {}, nil
	}
	s.size = func() (int, int, error) { return term.GetSize(int(out.Fd())) }
	if once {
		s.measure()
		return func() {}, nil
	}
	s.terminal = true
	s.resized = make(chan os.Signal, 1)
	signal.Notify(s.resized, syscall.SIGWINCH)
	s.measure()
	if !term.IsTerminal(int(in.Fd())) {
		return func() { signal.Stop(s.resized) }, nil
	}
	was, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	s.raw, s.quit = true, make(chan struct{})
	go s.keys(in)
	return func() {
		signal.Stop(s.resized)
		_ = term.Restore(int(in.Fd()), was)
	}, nil
}

const (
	ctrlC = 0x03
	ctrlD = 0x04
)

// keys waits for the key that ends top, or for the end of input, which means that the terminal was hung up.
func (s *screen) keys(in io.Reader) {
	defer close(s.quit)
	key := make([]byte, 1)
	for {
		if _, err := in.Read(key); err != nil {
			return
		}
		switch key[0] {
		case 'q', 'Q', ctrlC, ctrlD:
			return
		}
	}
}

// measure reads the size of the terminal.
func (s *screen) measure() {
	if columns, rows, err := s.size(); err == nil && columns > 0 && rows > 0 {
		s.columns, s.rows = columns, rows
	}
}

// clearScreen moves the cursor to the upper left corner and clears the screen.
const clearScreen = "\x1b[H\x1b[2J"

// draw shows a text. In a terminal it cuts off what does not fit, so that nothing wraps or scrolls.
func (s *screen) draw(look string) error {
	if s.terminal {
		lines := strings.Split(strings.TrimSuffix(look, "\n"), "\n")
		if s.rows > 1 {
			lines = lines[:min(len(lines), s.rows-1)]
		}
		for i := range lines {
			lines[i] = text.Cut(lines[i], s.columns)
		}
		end := "\n"
		if s.raw {
			end = "\r\n"
		}
		look = clearScreen + strings.Join(lines, end) + end
	}
	_, err := io.WriteString(s.out, look)
	return err
}
