package load

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strconv"
)

// SCRAM-SHA-1 (RFC 5802) without channel binding. The client's first message is computed from the session and never
// kept. Its last message is kept until it is answered, so that it can be sent again.
//
//	client-first   n,,n=USER,r=NONCE
//	server-first   r=NONCE...,s=SALT,i=COUNT
//	client-final   c=biws,r=NONCE...,p=PROOF
//	server-final   v=SIGNATURE
//
// A password takes COUNT rounds on the reactor: with the usual 4,096, about a millisecond per log-in.

// maxRounds bounds the work that an answer can cause on a reactor. It exceeds what any server asks for.
const maxRounds = 100_000

var errChallenge = errors.New("malformed SCRAM-SHA-1 challenge")

// proof is a client's last message with the expected answer.
type proof struct {
	final, signature []byte
}

// prove answers a challenge. bare is the client's first message after its "n,,".
func prove(bare, nonce, challenge []byte, password string) (proof, error) {
	rest, ok := bytes.CutPrefix(challenge, []byte("r="))
	both, rest, found := bytes.Cut(rest, []byte(",s="))
	salt64, count, counted := bytes.Cut(rest, []byte(",i="))
	rounds, err := strconv.Atoi(string(count))
	if !ok || !found || !counted || err != nil || rounds < 1 || rounds > maxRounds ||
		len(both) <= len(nonce) || !bytes.HasPrefix(both, nonce) {
		return proof{}, errChallenge
	}
	salt, err := base64.StdEncoding.AppendDecode(nil, salt64)
	if err != nil {
		return proof{}, errChallenge
	}
	salted, err := pbkdf2.Key(sha1.New, password, salt, rounds, sha1.Size)
	if err != nil {
		return proof{}, err
	}
	final := append([]byte("c=biws,r="), both...)
	signed := bytes.Join([][]byte{bare, challenge, final}, []byte{','})
	key := sign(salted, []byte("Client Key"))
	stored := sha1.Sum(key)
	subtle.XORBytes(key, key, sign(stored[:], signed))
	final = base64.StdEncoding.AppendEncode(append(final, ",p="...), key)
	signature := sign(sign(salted, []byte("Server Key")), signed)
	return proof{final, base64.StdEncoding.AppendEncode([]byte("v="), signature)}, nil
}

func sign(key, text []byte) []byte {
	h := hmac.New(sha1.New, key)
	h.Write(text)
	return h.Sum(nil)
}

// challenged answers a log-in's challenge with a proof.
func (w *worker) challenged(i uint32, payload []byte) {
	first, nonce := w.write.firstBare(w.number(i), w.sessions[i].began)
	p := proof{}
	text, err := base64.StdEncoding.AppendDecode(nil, contents(payload))
	if err == nil {
		p, err = prove(first, nonce, text, w.cfg.Password)
	}
	if err != nil {
		w.unexpected(i, "log-in failed", "reason", err.Error())
		return
	}
	if w.proofs == nil {
		w.proofs = map[uint32]proof{}
	}
	w.proofs[i] = p
	w.transport.ask(i, kindProof, 0, 0)
}

// proven reports whether the server's success proves that the server knows the password too.
func (w *worker) proven(i uint32, payload []byte) bool {
	if w.cfg.Login != LoginScram {
		return true
	}
	text, err := base64.StdEncoding.AppendDecode(nil, contents(payload))
	signature := w.proofs[i].signature
	delete(w.proofs, i)
	return err == nil && len(signature) > 0 && hmac.Equal(text, signature)
}

// contents returns the contents of the first element.
func contents(payload []byte) []byte {
	_, inner, _ := bytes.Cut(payload, []byte{'>'})
	inner, _, _ = bytes.Cut(inner, []byte{'<'})
	return bytes.TrimSpace(inner)
}
