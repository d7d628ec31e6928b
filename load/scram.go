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

// SCRAM-SHA-1 (RFC 5802) without channel binding. Of the client's messages the first follows from the session, and is
// never kept. The last is kept while it has no answer, so that it can be sent again.
//
//	client-first   n,,n=USER,r=NONCE
//	server-first   r=NONCE...,s=SALT,i=COUNT
//	client-final   c=biws,r=NONCE...,p=PROOF
//	server-final   v=SIGNATURE
//
// A password takes COUNT rounds, on the reactor: with the 4,096 that servers store, about a millisecond of a log-in.

// maxRounds is more than any server asks for, and bounds what an answer can make a reactor do.
const maxRounds = 100_000

var errChallenge = errors.New("the challenge is not one of SCRAM-SHA-1")

// proof is a client's last message, and what the server has to answer.
type proof struct {
	final, signature []byte
}

// prove answers a challenge to a client's first message, of which bare is what follows "n,,".
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

// challenged goes on with a log-in that has been asked for a proof.
func (w *worker) challenged(i uint32, payload []byte) {
	first, nonce := w.write.firstBare(w.number(i), w.sessions[i].began)
	p := proof{}
	text, err := base64.StdEncoding.AppendDecode(nil, contents(payload))
	if err == nil {
		p, err = prove(first, nonce, text, w.cfg.Password)
	}
	if err != nil {
		w.unexpected(i, "log-in cannot go on", "reason", err.Error())
		return
	}
	if w.proofs == nil {
		w.proofs = map[uint32]proof{}
	}
	w.proofs[i] = p
	w.ask(i, kindProof, 0, 0)
}

// proven reports whether the server has shown that it knows the password as well; it does so with its success.
func (w *worker) proven(i uint32, payload []byte) bool {
	if w.cfg.Login != LoginScram {
		return true
	}
	text, err := base64.StdEncoding.AppendDecode(nil, contents(payload))
	signature := w.proofs[i].signature
	delete(w.proofs, i)
	return err == nil && len(signature) > 0 && hmac.Equal(text, signature)
}

// contents are those of the first element.
func contents(payload []byte) []byte {
	_, inner, _ := bytes.Cut(payload, []byte{'>'})
	inner, _, _ = bytes.Cut(inner, []byte{'<'})
	return bytes.TrimSpace(inner)
}
