package record

import (
	"slices"
	"strings"
	"testing"

	"megaphone/internal/corpus"
)

// script reads the choices of a fuzz target from its input. Beyond the end all choices are 0.
type script []byte

func (s *script) next() byte {
	if len(*s) == 0 {
		return 0
	}
	b := (*s)[0]
	*s = (*s)[1:]
	return b
}

// text returns up to n bytes of the script itself.
func (s *script) text(n int) string {
	n = min(n, len(*s))
	p := string((*s)[:n])
	*s = (*s)[n:]
	return p
}

// pick returns a suite, and ends of a connection: a receiver and its peer.
func (s *script) pick(t *testing.T) (c *suite, toClient bool) {
	b := s.next()
	return &suites[1+int(b>>1)%(len(suites)-1)], b&1 != 0
}

// FuzzPeer: a peer that has the keys, and sends records of any type and content. However its bytes are cut, plaintext,
// answers, end and state are the same. The plaintext is what records of data have, in order, and the peer can open each
// answer.
func FuzzPeer(f *testing.F) {
	corpus.Add(f)
	f.Fuzz(func(t *testing.T, input, cuts []byte) {
		s := script(input)
		c, toClient := s.pick(t)
		receiver, peer := ends(t, c, toClient)
		var wire []byte
		var data strings.Builder
		for len(s) > 0 && len(wire) < 1<<16 {
			wire = append(wire, s.record(t, c, peer, &data)...)
		}
		whole := receiver.receive(t, wire)
		if whole.end == nil && whole.plain != data.String() || !strings.HasPrefix(data.String(), whole.plain) {
			t.Fatalf("%v, sent %q", whole, data.String())
		}
		for _, r := range split(t, []byte(whole.answer)) {
			contentType, content, err := peer.openRecord(&peer.live, r)
			if err != nil {
				t.Fatalf("an answer that the peer cannot open: %v", err)
			}
			if contentType == typeHandshake && string(content) == updates {
				peer.rekey(peer.in())
			}
		}
		other, _ := ends(t, c, toClient)
		if got := other.receive(t, wire, places(cuts, len(wire))...); got != whole || other.State != receiver.State {
			t.Fatalf("%v, in pieces %v", whole, got)
		}
	})
}

// record seals a record of the script. It notes data.
func (s *script) record(t *testing.T, c *suite, peer *end, data *strings.Builder) []byte {
	var contentType byte
	switch op := s.next(); op % 8 {
	case 0, 1:
		contentType = typeData
	case 2:
		contentType = typeAlert
	case 3:
		contentType = typeHandshake
	case 4:
		if !c.tls13 {
			return nil
		}
		return peer.update(t, op&8 != 0)
	case 5:
		if c.tls13 {
			text := s.text(int(s.next()))
			data.WriteString(text)
			return peer.padded(typeData, text, 1+int(op))
		}
		contentType = typeData
	case 6:
		contentType = s.next()
	case 7:
		n := maxPlainBytes + int(op>>3) - 16 // around the limit
		text := strings.Repeat("x", n)
		if n <= maxPlainBytes {
			data.WriteString(text)
		}
		return peer.raw(typeData, text)
	}
	text := s.text(int(s.next()))
	if contentType == typeData {
		data.WriteString(text)
	}
	return peer.raw(contentType, text)
}

// places returns up to len(cuts) places within n bytes, in order.
func places(cuts []byte, n int) (at []int) {
	from := 0
	for _, c := range cuts {
		if from += int(c); from > n {
			break
		}
		at = append(at, from)
	}
	return at
}

// FuzzForger: an attacker changes, repeats, moves or invents bytes between the ends. The plaintext is that of the
// records before the first change, and nothing else.
func FuzzForger(f *testing.F) {
	corpus.Add(f)
	texts := []string{"one ", "two ", "three ", "four ", "five"}
	f.Fuzz(func(t *testing.T, input, changes []byte) {
		s := script(input)
		c, toClient := s.pick(t)
		receiver, peer := ends(t, c, toClient)
		var honest []byte
		for i, text := range texts {
			honest = append(honest, peer.seal(t, text)...)
			if c.tls13 && i == 2 {
				honest = append(honest, peer.update(t, false)...)
			}
		}
		wire := forge(honest, changes)
		got := receiver.receive(t, wire, places(s, len(wire))...)
		all := strings.Join(texts, "")
		if !strings.HasPrefix(all, got.plain) {
			t.Fatalf("%v: never sealed", got)
		}
		same := 0
		for same < min(len(wire), len(honest)) && wire[same] == honest[same] {
			same++
		}
		if want := plainWithin(t, honest, same, c, texts); got.plain != want {
			t.Fatalf("%v, %d bytes are as sealed: want %q", got, same, want)
		}
	})
}

// plainWithin returns the texts whose records are whole within the first n bytes of wire.
func plainWithin(t *testing.T, wire []byte, n int, c *suite, texts []string) string {
	text := 0
	for i, r := range split(t, wire) {
		if n -= len(r); n < 0 {
			break
		}
		if !c.tls13 || i != 3 { // the KeyUpdate
			text++
		}
	}
	return strings.Join(texts[:text], "")
}

// forge returns wire with changes, each of four bytes: what, where, and how.
func forge(wire, changes []byte) []byte {
	wire = slices.Clone(wire)
	for len(changes) >= 4 && len(wire) < 1<<12 {
		at := (int(changes[1])<<8 | int(changes[2])) % (len(wire) + 1)
		n := min(int(changes[3]), len(wire)-at)
		switch part := slices.Clone(wire[at : at+n]); changes[0] % 5 {
		case 0:
			if at < len(wire) {
				wire[at] ^= changes[3]
			}
		case 1:
			wire = slices.Delete(wire, at, at+n)
		case 2:
			wire = slices.Insert(wire, at, part...)
		case 3:
			wire = append(slices.Delete(wire, at, at+n), part...)
		case 4:
			inserted := changes[4:]
			wire = slices.Insert(wire, at, inserted[:min(len(inserted), int(changes[3]))]...)
		}
		changes = changes[4:]
	}
	return wire
}

// FuzzCryptoTLS: an end and crypto/tls talk. Each hears what the other has sent, until one closes.
func FuzzCryptoTLS(f *testing.F) {
	corpus.Add(f)
	f.Fuzz(func(t *testing.T, input []byte) {
		s := script(input)
		c, client := s.pick(t)
		p := connect(t, c.id, client)
		sent := 0
		for len(s) > 0 && sent < 1<<17 {
			op := s.next()
			text := strings.Repeat(string('a'+rune(op%26)), int(s.next())<<(op>>4))
			sent += len(text)
			switch {
			case op%4 == 0 && p.suite().tls13:
				p.out.write(p.update(t, op&8 != 0))
			case op%4 == 1:
				if _, err := p.conn.Write([]byte(text)); err != nil {
					t.Fatal(err)
				}
				wire := p.in.take()
				got := p.receive(t, wire, places(s, len(wire))...)
				if got.plain != text || got.end != nil {
					t.Fatalf("%v, want %.40q", got, text)
				}
				p.out.write([]byte(got.answer))
			default:
				head := int(op) % (len(text) + 1)
				wire, ok := p.Seal(&p.live, nil, []byte(text[:head]), []byte(text[head:]))
				if !ok {
					t.Fatal("nothing sealed")
				}
				p.out.write(wire)
				p.expect(t, text)
			}
		}
		p.out.write(p.Close(&p.live, nil))
	})
}
