package bosh

import (
	"crypto/sha1"
	"encoding/hex"
)

// key is an element of a key sequence (XEP-0124, section 15): the bytes of its 40 hexadecimal digits, so that case does
// not matter.
type key [sha1.Size]byte

func parseKey(value []byte) (k key, ok bool) {
	if len(value) != hex.EncodedLen(len(k)) {
		return k, false
	}
	_, err := hex.Decode(k[:], value)
	return k, err == nil
}

// keys is the state of a session's key sequence. The XEP demands SHA-1. An attacker would have to find a preimage,
// which is infeasible.
type keys struct {
	last key // newkey of the last request, or else its key
	// seen are the keys of recent requests, the key of request r in seen[r%len(seen)]. A repeated request must have the
	// same key.
	seen [2 * (maxRequests + 1)]key
}

// begin stores the creation request's newkey.
func (k *keys) begin(newkey []byte) (ok bool) {
	k.last, ok = parseKey(newkey)
	return ok
}

// step checks the key of the next request, and stores its newkey if it has one.
func (k *keys) step(rid uint64, x *extras) bool {
	if !x.hasKey || key(sha1.Sum(x.key)) != k.last {
		return false
	}
	got, ok := parseKey(x.key)
	if !ok {
		return false
	}
	k.seen[rid%uint64(len(k.seen))], k.last = got, got
	if x.newkey != nil {
		return k.begin(x.newkey)
	}
	return true
}

// again checks the key of a repeated request that has been processed.
func (k *keys) again(rid uint64, x *extras) bool {
	got, ok := parseKey(x.key)
	return ok && got == k.seen[rid%uint64(len(k.seen))]
}
