package edge

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// resolver looks the origins' host names up, on ordinary threads: a reactor must not. The reactors dial whatever
// address it has stored last.
type resolver struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
}

const resolveEvery = 30 * time.Second

func startResolver(origins []Origin, log *slog.Logger) (*resolver, []*atomic.Pointer[netip.AddrPort]) {
	ctx, cancel := context.WithCancel(context.Background())
	r := &resolver{cancel: cancel}
	addrs := make([]*atomic.Pointer[netip.AddrPort], len(origins))
	for i, o := range origins {
		addrs[i] = new(atomic.Pointer[netip.AddrPort])
		if ap, err := netip.ParseAddrPort(o.Address); err == nil {
			addrs[i].Store(&ap)
			continue
		}
		lookUp(ctx, o, addrs[i], log)
		r.done.Add(1)
		go func() {
			defer r.done.Done()
			t := time.NewTicker(resolveEvery)
			defer t.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-t.C:
					lookUp(ctx, o, addrs[i], log)
				}
			}
		}()
	}
	return r, addrs
}

func lookUp(ctx context.Context, o Origin, into *atomic.Pointer[netip.AddrPort], log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	host, service, _ := net.SplitHostPort(o.Address)
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	var ips []netip.Addr
	if err == nil {
		ips, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}
	if err != nil || len(ips) == 0 {
		log.Warn("origin's address not found; trying again", "origin", o.Name, "address", o.Address, "error", err,
			"every", resolveEvery)
		return
	}
	ap := netip.AddrPortFrom(preferred(ips), uint16(port))
	if old := into.Load(); old == nil || *old != ap {
		into.Store(&ap)
		log.Info("origin resolved", "origin", o.Name, "address",
			net.JoinHostPort(ap.Addr().String(), strconv.Itoa(port)))
	}
}

// preferred is the first IPv4 address, if there is one: so does Go choose where to listen by name, and so an origin on
// "localhost" is found although that is ::1 first.
func preferred(ips []netip.Addr) netip.Addr {
	for _, ip := range ips {
		if ip = ip.Unmap(); ip.Is4() {
			return ip
		}
	}
	return ips[0]
}

func (r *resolver) stop() {
	r.cancel()
	r.done.Wait()
}
