package load

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/sys/unix"

	"megaphone/internal/text"
)

// Progress shows a running load: bars on a terminal, otherwise a line now and then. It writes on its own goroutine,
// because a terminal may be stopped (Ctrl-S) and a pipe may have no reader. Neither stops the run.
type Progress struct {
	next  chan Status
	shown chan struct{} // closed when everything is shown

	// Owned by the goroutine.
	out   io.Writer
	bars  *mpb.Progress // nil: lines
	bar   *mpb.Bar
	phase string
	now   *atomic.Pointer[Status] // the status that the bar shows
	said  time.Time
}

// barColumns is the width of a bar. It leaves room for the figures in 80 columns.
const barColumns = 16

// lineInterval is the interval of lines if the output is no terminal.
const lineInterval = 5 * time.Second

const (
	progressQueue = 64          // statuses that wait to be shown
	closePatience = time.Second // for an output that blocks at the end
)

// NewProgress returns a Progress that writes to out. Close it when the run has ended.
func NewProgress(out io.Writer) *Progress {
	p := &Progress{out: out, next: make(chan Status, progressQueue), shown: make(chan struct{})}
	if f, ok := out.(*os.File); ok && isTerminal(f) {
		p.bars = mpb.New(mpb.WithOutput(out), mpb.WithWidth(barColumns), mpb.WithRefreshRate(200*time.Millisecond))
	}
	go func() {
		defer close(p.shown)
		for s := range p.next {
			p.show(s)
		}
		p.endBar()
		if p.bars != nil {
			p.bars.Wait()
		}
	}()
	return p
}

// Show takes a status of a run. It does not block, and must not be called after Close.
func (p *Progress) Show(s Status) {
	select {
	case p.next <- s:
	default: // the output is blocked, and a later status will follow
	}
}

// Close shows the last status and ends the output, within a second.
func (p *Progress) Close() {
	close(p.next)
	select {
	case <-p.shown:
	case <-time.After(closePatience):
	}
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func (p *Progress) show(s Status) {
	fresh := s.Phase != p.phase
	p.phase = s.Phase
	if p.bars == nil {
		if fresh || time.Since(p.said) >= lineInterval {
			p.said = time.Now()
			fmt.Fprintln(p.out, line(&s))
		}
		return
	}
	if fresh {
		p.endBar()
		now := new(atomic.Pointer[Status])
		now.Store(&s)
		p.now = now // one per bar: an old bar keeps showing the end of its phase
		p.bar = p.bars.AddBar(int64(max(s.All, 1)), mpb.PrependDecorators(decor.Name(fmt.Sprintf("%-9s ", s.Phase))),
			mpb.AppendDecorators(decor.Any(func(s decor.Statistics) string {
				return " " + details(now.Load(), min(s.AvailableWidth, text.Columns)-barColumns-len("broadcast   "))
			})))
	}
	p.now.Store(&s)
	p.bar.SetCurrent(int64(s.Done))
}

// endBar leaves a bar as it is, full or not.
func (p *Progress) endBar() {
	if p.bar != nil {
		p.bar.Abort(false)
		p.bar.Wait()
	}
}

// line formats a status as a line of text.
func line(s *Status) string {
	done := "100 %"
	switch {
	case s.Timed:
		done = fmt.Sprintf("%ds/%ds", s.Done/1000, s.All/1000)
	case s.Done < s.All:
		done = fmt.Sprintf("%d %%", s.Done*100/s.All)
	}
	front := fmt.Sprintf("%7.1fs %-9s %5s ", s.Elapsed.Seconds(), s.Phase, done)
	return front + details(s, text.Columns-len(front))
}

// details formats as many figures as fit into columns, the most important ones first.
func details(s *Status, columns int) string {
	parts := []string{fmt.Sprintf("%d up", s.Sessions), fmt.Sprintf("%.0f %s/s", s.Rate, s.Unit),
		fmt.Sprintf("%d errors", s.Errors)}
	if s.Latency != "" {
		parts = append(parts, fmt.Sprintf("p50 %s p99 %s", short(s.P50), short(s.P99)))
	}
	for n := len(parts); ; n-- {
		if line := strings.Join(parts[:n], ", "); n == 1 || len(line) <= columns {
			return line
		}
	}
}

// short formats a duration in about three digits.
func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}
