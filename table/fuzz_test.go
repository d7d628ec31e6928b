package table

import (
	"testing"

	"megaphone/internal/corpus"
)

// The fuzz targets choose the scripts of the model tests: properties of random operations must hold for all.

func FuzzTables(f *testing.F) {
	corpus.Add(f)
	f.Add([]byte{0, 0, 2, 0, 0, 3, 0, 0}, uint8(1), uint8(1))
	f.Add([]byte("park, park, pop, and again from the beginning"), uint8(3), uint8(9))
	f.Fuzz(func(t *testing.T, p []byte, conns, holds uint8) {
		if conns == 0 || holds == 0 || len(p) > 4096 {
			return
		}
		runConns(t, &script{p: p}, int(conns))
		runHolds(t, &script{p: p}, int(conns), int(holds))
	})
}

func FuzzWheel(f *testing.F) {
	corpus.Add(f)
	f.Add([]byte{1, 0, 0, 4, 9, 0, 0, 1, 44, 0, 9, 0, 0, 1, 44, 0}, uint32(0))
	f.Add([]byte("arm, advance, expire, arm again in the loop"), uint32(1<<32-2))
	f.Fuzz(func(t *testing.T, p []byte, start uint32) {
		if len(p) > 4096 {
			return
		}
		runWheel(t, &script{p: p}, 5, 1<<32+uint64(start))
	})
}
