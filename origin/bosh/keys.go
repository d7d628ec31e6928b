package bosh

import (
	"crypto/sha1"
	"encoding/hex"
)

// key is an element of a key sequence (XEP-0124, section 15): what its 40 hexadecimal digits stand for, so that case
// does not matter.
type key [sha1.Size]byte

func parseKey(value []byte) (k key, ok bool) {
	if len(value) != hex.EncodedLen(len(k)) {
		return k, false
	}
	_, err := hex.Decode(k[:], value)
	return k, err == nil
}

// keys is where a session stands in its key sequence. SHA-1 is what the XEP demands; finding a preimage is what an
// attacker would have to do, and that is out of reach.
type keys struct {
	last key // newkey of the last request, or else its key
	// seen are the keys that came with the last requests, key of request r in seen[r%len(seen)]: a request that is sent
	// again has to come with the same one.
	seen [2 * (maxRequests + 1)]key
}

// begin takes the creation request's newkey.
func (k *keys) begin(newkey []byte) (ok bool) {
	k.last, ok = parseKey(newkey)
	return ok
}

// step checks the key of the next request, and takes the newkey that may come with it.
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

// again checks the key of a request that has been processed and comes once more.
func (k *keys) again(rid uint64, x *extras) bool {
	got, ok := parseKey(x.key)
	return ok && got == k.seen[rid%uint64(len(k.seen))]
}
