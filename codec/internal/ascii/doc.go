// Package ascii classifies the bytes of the text formats in codec.
//
// Class has a value for each set of bytes that a grammar names. Is, Skip and All look bytes up in one table; SkipValue,
// ParseDecimal8 and ParseHex16 do so many at a time. All functions borrow their input until return, and allocate
// nothing. A lookup takes one load, so a scan takes about 1 ns per byte.
package ascii
