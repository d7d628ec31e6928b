package stats

import "sync/atomic"

// Board publishes plain numbers of one writer to readers on other threads. The writer counts without atomics and posts
// once a tick.
type Board struct{ cells []atomic.Uint64 }

// NewBoard returns a board of n numbers.
func NewBoard(n int) *Board { return &Board{make([]atomic.Uint64, n)} }

// Post publishes v, which has as many numbers as the board.
func (b *Board) Post(v []uint64) {
	for i, x := range v {
		b.cells[i].Store(x)
	}
}

// Get returns number i as last posted.
func (b *Board) Get(i int) uint64 { return b.cells[i].Load() }

// Read copies the numbers last posted to v, which has as many as the board.
func (b *Board) Read(v []uint64) {
	for i := range v {
		v[i] = b.Get(i)
	}
}
