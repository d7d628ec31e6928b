package edge

import (
	"crypto/tls"
	"hash/maphash"
	"slices"
	"time"

	"megaphone/codec/http1"
	"megaphone/config"
	"megaphone/discovery"
	"megaphone/handshake"
	"megaphone/loop"
)

// settings is everything that a reload may change, in the form that a reactor uses. It is immutable. A change makes a
// new one and hands it to each reactor, which alone reads its own pointer to it. So the hot path needs no lock, and no
// request ever sees half of a reload.
type settings struct {
	cfg       *config.Values
	options   *Options
	limits    http1.Limits
	times     times
	fixed     *fixed
	admission *admission
	leastGain int // bytes of a body that must arrive in times.body
	found     *discovery.Found
	places    []place // for each origin found
	creationBounds
	common *common // shared by all reactors and settings

	handshakes []*handshake.Config // by listener; nil: none has TLS
	redirects  bool                // a listener redirects to https
	answers    map[string]document // to a CA that validates domains, by path; nil: none is under way

	tags  bool   // session IDs end with the tag of their origin
	plain string // the origin of sessions older than tags, if there may be any
}

// times is the configured durations in ticks.
type times struct {
	head, body, idle, hold, write, grace, ping, lostJitter, create, createWait, webSocketPing uint32
}

// place is an origin of the settings with its health.
type place struct {
	discovery.Origin
	tls    *handshake.Config // of its links; nil: plaintext
	health *health           // shared by all reactors
}

// newSettings makes settings from a configuration and the origins that were found for it.
func newSettings(cfg *config.Values, options *Options, found *discovery.Found, own keys) (*settings, error) {
	handshakes, err := newHandshakes(cfg, own)
	if err != nil {
		return nil, err
	}
	places, err := newPlaces(cfg, found)
	if err != nil {
		return nil, err
	}
	redirects := slices.ContainsFunc(cfg.Listeners, func(l config.Clients) bool { return l.HTTPSRedirect > 0 })
	return &settings{
		handshakes: handshakes, redirects: redirects, answers: own.issuing.answers(),
		creationBounds: newCreationBounds(cfg), common: &common{served: served{seed: maphash.MakeSeed()}},
		cfg: cfg, options: options, fixed: newFixed(cfg, options.Pages), admission: newAdmission(cfg),
		leastGain: cfg.BodyRate * int(cfg.BodyTimeout/time.Millisecond) / 1000,
		found:     found, places: places, tags: wantsTags(cfg),
		limits: http1.Limits{MaxRequestLineBytes: cfg.MaxHeadLineBytes, MaxHeaderBytes: cfg.MaxHeaderBytes,
			MaxHeaders: cfg.MaxHeaders, MaxBodyBytes: cfg.MaxBodyBytes}.WithDefaults(),
		times: times{loop.Ticks(cfg.HeadTimeout), loop.Ticks(cfg.BodyTimeout), loop.Ticks(cfg.IdleTimeout),
			loop.Ticks(cfg.HoldTimeout), loop.Ticks(cfg.WriteTimeout), loop.Ticks(cfg.Grace),
			loop.Ticks(cfg.PingTimeout), loop.Ticks(cfg.LostJitter), loop.Ticks(cfg.CreateTimeout),
			loop.Ticks(cfg.CreateWait), loop.Ticks(cfg.WebSocketPing)},
	}, nil
}

func newPlaces(cfg *config.Values, found *discovery.Found) (all []place, err error) {
	for _, o := range found.Origins {
		p := place{Origin: o, health: new(health)}
		for i := range cfg.Origins {
			if c := &cfg.Origins[i]; o.TLS && c.TLS && c.CA == o.CA && p.tls == nil {
				p.tls, err = handshake.NewClient(handshake.Client{ServerName: o.ServerName, Roots: c.Roots,
					MinVersion: tls.VersionTLS13, Protocols: []string{}})
			}
		}
		if err != nil {
			return nil, &config.KeyError{Key: "origins", Value: o.Name, Remedy: err.Error()}
		}
		all = append(all, p)
	}
	return all, nil
}

// wantsTags reports whether session IDs must carry the tag of their origin.
func wantsTags(cfg *config.Values) bool {
	return cfg.Tags == config.TagsOn ||
		cfg.Tags == config.TagsAuto && (len(cfg.Origins) > 1 || cfg.Origins[0].Endpoint.PerRecord())
}

// after makes s continue from the settings in force before it. With node-tags: auto, an edge that began with one origin
// tags sessions once another one joins; untagged sessions belong to the first. It never reverts, because a tagged
// session would then lose its origin.
func (s *settings) after(old *settings) {
	s.admission.after(old.admission)
	s.common = old.common
	for i := range s.places {
		for j := range old.places {
			if s.places[i].Name == old.places[j].Name {
				s.places[i].health = old.places[j].health
			}
		}
	}
	alone := len(old.places) == 1 && len(s.places) == 1 && old.places[0].Name == s.places[0].Name
	switch {
	case s.cfg.Tags == config.TagsOff:
	case old.tags:
		s.tags, s.plain = true, old.plain
	case !alone && len(old.places) == 1:
		s.tags, s.plain = true, old.places[0].Name
	}
}

// apply puts settings in force from the next request on.
func (w *worker) apply(s *settings) {
	old := w.settings
	w.settings = s
	w.r.SetLimits(s.cfg.MaxOutputBytes, s.cfg.MaxBufferedBytes)
	if !slices.Equal(old.cfg.CORS, s.cfg.CORS) {
		w.restyle()
	}
	w.setAdmission(s.admission)
	w.reconcile()
}

// restyle renumbers the styles of held requests for the current web origins. A request from a web origin that is no
// longer allowed gets the answer for unlisted pages.
func (w *worker) restyle() {
	old := w.styles
	w.styles = newStyles(w.cfg.CORS)
	w.styles.contents, w.styles.learnt = old.contents, old.learnt // keep their numbers
	w.styles.list = make([]style, len(old.contents)*w.styles.origins())
	left := w.holds.Len()
	for i := uint32(1); left > 0 && i <= uint32(w.holds.Cap()); i++ {
		h, live := w.holds.HandleAt(i)
		if !live {
			continue
		}
		left--
		hold := w.holds.Resolve(h)
		hold.Style = w.styles.from(old, hold.Style)
	}
}

// from returns the current number of the style that had number n in old.
func (s *styles) from(old *styles, n uint16) uint16 {
	content, o := int(n)/old.origins(), int(n)%old.origins()
	now := 0
	if o > 0 {
		now = s.number([]byte(old.allowed[o-1]))
	}
	return uint16(content*s.origins() + now)
}
