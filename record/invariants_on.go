//go:build invariants

package record

// nonces counts the nonces that a Live has used of one key.
type nonces struct{ next uint64 }

// checkNonce panics if a nonce is used twice. That happens if a State is copied, or returned to an earlier value.
func (n *nonces) checkNonce(sequence uint64) {
	if sequence < n.next {
		panic("record: a nonce is used twice")
	}
	n.next = sequence + 1
}
