package tests

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"sync"
	"testing"

	"megaphone/tests/rig"
)

// handshakeBytes is what a handshake under way may take of an edge, with as much garbage.
const handshakeBytes = 2 * 30 << 10

// maxUnderWay is the number of handshakes that an edge has under way.
const maxUnderWay = 2000

// underTLSAttack starts an edge with a plain listener for the well-behaved client, and one with TLS for the others.
func underTLSAttack(t *testing.T, key crypto.Signer) (a *attacked, at string) {
	t.Helper()
	origin := rig.Serve(t, "origin", "--listen", "127.0.0.1:0")
	config := fmt.Sprintf("listeners:\n  - address: 127.0.0.1:0\n  - address: 127.0.0.1:0\n    tls:\n"+
		"      certificates:\n%sorigins: [{name: good, address: '%s'}]\nreactors: %d\nmax-connections: 6000\n"+
		"max-buffered-bytes: %d\n"+
		"head-timeout: 2s\nidle-timeout: 4s\nwrite-timeout: 2s\ncheck-host: off\n",
		newAuthority(t).issue(t, key, "localhost"), origin.Addr, attackReactors, attackBuffered)
	e := rig.Serve(t, "edge", "--config", configFile(t, config)).Linked(attackReactors)
	a = &attacked{Process: e, t: t, before: e.Memory()}
	all := regexp.MustCompile(`(?m)^edge listening on (\S+)$`).FindAllStringSubmatch(e.Text(), -1)
	if len(all) != 2 {
		e.Line(0, "no second listener")
	}
	a.probe = newProbe(t, e.Addr)
	return a, all[1][1]
}

// firstWrite keeps the bytes of the first write, and fails.
type firstWrite struct {
	net.Conn
	text []byte
}

var errEnough = errors.New("enough")

func (c *firstWrite) Write(p []byte) (int, error) {
	c.text = slices.Clone(p)
	return 0, errEnough
}

// tlsHello returns a hello.
func tlsHello() string {
	c := new(firstWrite)
	_ = tls.Client(c, &tls.Config{InsecureSkipVerify: true}).Handshake()
	return string(c.text)
}

// TestAttackHandshakes: thousands of clients begin a handshake, and do not finish it.
func TestAttackHandshakes(t *testing.T) {
	hello := tlsHello()
	const recordHeader, recordBytes = 5, 16384
	endless := "\x16\x03\x01\x40\x00\x01\x00\xff\xff" + string(make([]byte, recordBytes-4))
	for _, test := range []struct {
		name, first, second, counter string
		clients, underWay            int
	}{
		{"half hellos", hello[:len(hello)/2], "\x00", "tls_timeouts", 4000, 0},
		{"whole hellos", hello, "", "tls_timeouts", 4000, maxUnderWay},
		{"announced hellos", "\x16\x03\x01\x40\x00" + string(make([]byte, 8000)), "\x00", "tls_timeouts", 4000, 0},
		{"hellos of 64 KiB", endless, endless, "tls_bad_handshake", 1000, maxUnderWay},
		{"another protocol", "\x16\x03\x01\x00\x05hello", "", "tls_bad_handshake", 4000, maxUnderWay},
		{"plain HTTP", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "", "tls_plain_http", 4000, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, at := underTLSAttack(t, ecdsaKey(t))
			s := newSwarm(t, at, test.clients, 0)
			offered := s.send(test.first) + s.send(test.second)
			c := a.survived(test.clients, offered, attackBound+test.underWay*handshakeBytes)
			n := c["tls_timeouts"] + c["tls_abandoned"] + c["over_budget"] + c["idle_timeouts"]
			if test.counter != "tls_timeouts" {
				n += c[test.counter]
			}
			if n < test.clients || c[test.counter] == 0 {
				t.Errorf("%s of %d clients: %v", test.counter, test.clients, c)
			}
			if c["tls_under_way"]+c["tls_waiting"] != 0 {
				t.Errorf("handshakes are left: %v", c)
			}
		})
	}
}

// TestRSAHandshakes: a handshake with RSA of 2048 bits takes a reactor 0.8 ms, and with 4096 bits 5 ms. Clients that
// come without a pause keep no other client waiting for longer. The log warns of such keys.
func TestRSAHandshakes(t *testing.T) {
	const clients, atOnce = 160, 16
	for _, bits := range []int{2048, 4096} {
		t.Run(fmt.Sprint(bits), func(t *testing.T) {
			key, err := rsa.GenerateKey(rand.Reader, bits)
			if err != nil {
				t.Fatal(err)
			}
			a, at := underTLSAttack(t, key)
			a.Line(0, "ECDSA P-256")
			config := &tls.Config{RootCAs: newAuthority(t).pool, ServerName: "localhost"}
			var crowd sync.WaitGroup
			for range atOnce {
				crowd.Go(func() {
					for range clients / atOnce {
						c, err := tls.Dial("tcp", at, config)
						if err != nil {
							t.Error(err)
							return
						}
						c.Close()
					}
				})
			}
			crowd.Wait()
			c := a.survived(clients, 0, attackBound+clients*handshakeBytes)
			if c["tls_full"] != clients {
				t.Errorf("%v", c)
			}
		})
	}
}
