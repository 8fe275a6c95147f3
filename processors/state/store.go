// Package state keeps the keyed state of one task: an ordered map of bytes to
// bytes with a committed image below and a write overlay above it.
//
// The overlay is how a Kafka transaction that does not commit leaves no trace:
// the engine applies it to the base only after the broker has said that the
// transaction is committed, and throws it away otherwise.
package state

// Store is what an operator sees: read your own writes, in key order.
//
// Slices handed out are views: they must not be changed, and are valid until
// the next write of the same key. Slices handed in are copied. A Store serves
// one goroutine.
type Store interface {
	// Get returns the value of key, or nil where there is none.
	Get(key []byte) []byte
	// Put stores value under key. An empty value is one, and is not nil when got.
	Put(key, value []byte)
	// Delete removes key; removing what is not there is no error.
	Delete(key []byte)
	// Scan calls fn for each key with the prefix, in ascending byte order, until
	// fn returns false. fn must not write to the store.
	Scan(prefix []byte, fn func(key, value []byte) bool)
	// ScanFrom is Scan beginning at the first key >= from (which must have the
	// prefix, or be empty for the beginning).
	ScanFrom(prefix, from []byte, fn func(key, value []byte) bool)
}
