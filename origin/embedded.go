// Package origin assembles the embedded origin: the listening end of links (origin/link), BOSH sessions (origin/bosh),
// and the chat service behind them (origin/chat).
package origin

import (
	"megaphone/codec/frame"
	"megaphone/origin/bosh"
	"megaphone/origin/link"
)

// Handler passes what links receive to the session manager.
func Handler(e *bosh.Engine) link.Handler { return handler{e} }

type handler struct{ *bosh.Engine }

func (h handler) Request(l *link.Link, id uint64, r frame.Request) {
	h.Engine.Request(l, id, r.Address, r.Body)
}
func (h handler) Gone(l *link.Link, id uint64)    { h.Engine.Gone(l, id) }
func (h handler) Release(l *link.Link, id uint64) { h.Engine.Release(l, id) }
func (h handler) ReleaseAll(l *link.Link)         { h.Engine.ReleaseAll(l) }
func (h handler) Passed(l *link.Link)             { h.Engine.Passed(l) }
func (h handler) Room(l *link.Link)               { h.Engine.Room(l) }
func (h handler) Closed(l *link.Link)             { h.Engine.Closed(l) }
