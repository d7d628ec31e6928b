//go:build invariants

package loop

// poison overwrites consumed input, to expose slices that were kept beyond their life.
func poison(p []byte) {
	for i := range p {
		p[i] = 0xcc
	}
}
