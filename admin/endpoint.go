package admin

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"megaphone/internal/unixsocket"
)

// endpoint is an address to listen on.
type endpoint struct {
	network string
	address string
	patient bool // wait for it if it is in use

	optional bool // the edge starts without it
}

// endpointsOf returns the endpoints of a configuration.
func endpointsOf(cfg Config) (p []endpoint, err error) {
	switch cfg.Address {
	case "off", "":
	case "auto":
		p = append(p, endpoint{network: "tcp", address: DefaultAddress, patient: true})
	default:
		if err := checkAddress(cfg.Address); err != nil {
			return nil, fmt.Errorf("admin: %w", err)
		}
		p = append(p, endpoint{network: "tcp", address: cfg.Address, patient: cfg.Wait})
	}
	switch cfg.Socket {
	case "off", "":
	case "auto":
		if at := runtimeSocket(); at != "" {
			p = append(p, endpoint{network: "unix", address: at, patient: true, optional: true})
		}
	default:
		p = append(p, endpoint{network: "unix", address: cfg.Socket, patient: cfg.Wait})
	}
	return p, nil
}

// runtimeSocket returns the path of a socket in the directory that systemd has made for the service, or "" without one.
func runtimeSocket() string {
	dir, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":")
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "admin.sock")
}

// checkAddress returns an error if address is invalid as Config.Address.
func checkAddress(address string) error {
	if address == "auto" || address == "off" {
		return nil
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return fmt.Errorf("%s: use host:port, auto (%s, once it is free) or off", address, DefaultAddress)
	}
	return nil
}

// socketMode admits the edge's user and group.
const socketMode = 0o660

func (p endpoint) listen() (net.Listener, error) {
	if p.network == "tcp" {
		l, err := net.Listen("tcp", p.address)
		if err != nil {
			return nil, fmt.Errorf("admin: %s: %w: another edge? use a different address for each", p.address, err)
		}
		return l, nil
	}
	l, err := unixsocket.Listen("unix", p.address, socketMode)
	if err != nil {
		return nil, fmt.Errorf("admin-socket: %s: %w", p.address, err)
	}
	return l, nil
}

func inUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

// name returns the address of l, for people and for `megaphone top`.
func (p endpoint) name(l net.Listener) string {
	if p.network == "unix" {
		return "unix:" + p.address
	}
	return l.Addr().String()
}

// loopback reports whether only this host can reach l.
func (p endpoint) loopback(l net.Listener) bool {
	at, err := netip.ParseAddrPort(l.Addr().String())
	return err != nil || at.Addr().IsLoopback()
}
