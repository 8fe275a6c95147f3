package state

import (
	"bytes"
	"hash/fnv"
	"strings"

	"github.com/tidwall/btree"
)

// Table is the committed image and the overlay of one task. The zero value is
// not usable; New makes one.
type Table struct {
	base    btree.Map[string, []byte]
	over    btree.Map[string, []byte] // nil value: deleted
	overLen int                       // bytes in the overlay, keys and values
	size    int                       // bytes in the base, keys and values
}

var _ Store = (*Table)(nil)

// New returns an empty table.
func New() *Table { return &Table{} }

// Get implements Store.
func (t *Table) Get(key []byte) []byte {
	k := string(key)
	if t.over.Len() > 0 {
		if v, ok := t.over.Get(k); ok {
			return v
		}
	}
	v, _ := t.base.Get(k)
	return v
}

// Put implements Store.
func (t *Table) Put(key, value []byte) {
	t.set(string(key), append(make([]byte, 0, len(value)), value...))
}

// Delete implements Store.
func (t *Table) Delete(key []byte) {
	k := string(key)
	if _, ok := t.base.Get(k); !ok {
		// Unknown below: forgetting it above is enough, and writes no tombstone.
		if old, ok := t.over.Delete(k); ok {
			t.overLen -= len(k) + len(old)
		}
		return
	}
	t.set(k, nil)
}

func (t *Table) set(k string, v []byte) {
	old, replaced := t.over.Set(k, v)
	if replaced {
		t.overLen += len(v) - len(old)
		return
	}
	t.overLen += len(k) + len(v)
}

// Scan implements Store.
func (t *Table) Scan(prefix []byte, fn func(key, value []byte) bool) {
	t.ScanFrom(prefix, nil, fn)
}

// ScanFrom implements Store. It merges the two sorted maps: where both have a
// key the overlay wins, and a deletion there hides the base.
func (t *Table) ScanFrom(prefix, from []byte, fn func(key, value []byte) bool) {
	p := string(prefix)
	start := p
	if bytes.Compare(from, prefix) > 0 {
		start = string(from)
	}
	base, over := t.base.Iter(), t.over.Iter()
	hasBase := base.Seek(start) && strings.HasPrefix(base.Key(), p)
	hasOver := over.Seek(start) && strings.HasPrefix(over.Key(), p)
	for hasBase || hasOver {
		var k string
		var v []byte
		takeBase := hasBase && (!hasOver || base.Key() < over.Key())
		if takeBase {
			k, v = base.Key(), base.Value()
		} else {
			k, v = over.Key(), over.Value()
		}
		same := !takeBase && hasBase && base.Key() == k
		if v != nil && !fn([]byte(k), v) {
			return
		}
		if takeBase || same {
			hasBase = base.Next() && strings.HasPrefix(base.Key(), p)
		}
		if !takeBase {
			hasOver = over.Next() && strings.HasPrefix(over.Key(), p)
		}
	}
}

// Changes calls fn for each key that the overlay writes, in key order; a nil
// value is a deletion. This is what goes to the changelog.
func (t *Table) Changes(fn func(key, value []byte)) {
	t.over.Scan(func(k string, v []byte) bool {
		fn([]byte(k), v)
		return true
	})
}

// OverlayBytes is the size of the overlay's keys and values in bytes.
func (t *Table) OverlayBytes() int { return t.overLen }

// Len is the number of keys of the committed image.
func (t *Table) Len() int { return t.base.Len() }

// Bytes is the size of the committed keys and values in bytes.
func (t *Table) Bytes() int { return t.size }

// Commit makes the overlay part of the committed image. Call it only once the
// transaction that carried the changes is known to be committed.
func (t *Table) Commit() {
	t.over.Scan(func(k string, v []byte) bool {
		t.Restore(k, v)
		return true
	})
	t.Rollback()
}

// Rollback throws the overlay away: the table is its last committed image.
func (t *Table) Rollback() {
	t.over = btree.Map[string, []byte]{}
	t.overLen = 0
}

// Restore writes one changelog record into the committed image; nil deletes.
// The table keeps value.
func (t *Table) Restore(key string, value []byte) {
	if value == nil {
		if old, ok := t.base.Delete(key); ok {
			t.size -= len(key) + len(old)
		}
		return
	}
	old, replaced := t.base.Set(key, value)
	t.size += len(value) - len(old)
	if !replaced {
		t.size += len(key)
	}
}

// Hash digests the committed image. Equal images have equal hashes; tests
// compare the hash before a transaction with that after its abort.
func (t *Table) Hash() uint64 {
	h := fnv.New64a()
	t.base.Scan(func(k string, v []byte) bool {
		_, _ = h.Write([]byte(k))
		_, _ = h.Write([]byte{0})
		_, _ = h.Write(v)
		_, _ = h.Write([]byte{0})
		return true
	})
	return h.Sum64()
}
