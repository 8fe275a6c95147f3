package state

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"strings"
	"unsafe"

	"github.com/tidwall/btree"
)

// Table is the committed image and the overlay of one task. New makes one.
//
// Both layers share one hash index for single keys and one tree for scans: a
// key is searched once, and a commit only forgets what was there before.
type Table struct {
	index  map[string]*item
	order  btree.Map[string, *item]
	writes []write // the overlay, in the order of each key's first write
	over   int     // bytes in the overlay, keys and values
	count  int     // committed keys
	size   int     // bytes of the committed keys and values
}

// item is one key with the value that a reader sees.
type item struct {
	key   string
	value []byte // nil: not there
	write int    // place in writes, from 1; 0: as committed
}

// write is a key of the overlay with what is committed under it.
type write struct {
	*item
	old []byte // nil: not there
}

var _ Store = (*Table)(nil)

// New returns an empty table.
func New() *Table { return &Table{index: map[string]*item{}} }

// Get implements Store.
func (t *Table) Get(key []byte) []byte {
	if it := t.index[string(key)]; it != nil {
		return it.value
	}
	return nil
}

// Put implements Store. A value that is there already is no change: it goes to
// no changelog.
func (t *Table) Put(key, value []byte) {
	it := t.index[string(key)]
	if it == nil {
		it = t.add(string(key))
	} else if it.value != nil && bytes.Equal(it.value, value) {
		return
	}
	t.set(it, append(make([]byte, 0, len(value)), value...))
}

// Delete implements Store.
func (t *Table) Delete(key []byte) {
	if it := t.index[string(key)]; it != nil && it.value != nil {
		t.set(it, nil)
	}
}

func (t *Table) add(key string) *item {
	it := &item{key: key}
	t.index[key] = it
	t.order.Set(key, it)
	return it
}

func (t *Table) remove(it *item) {
	delete(t.index, it.key)
	t.order.Delete(it.key)
}

func (t *Table) set(it *item, value []byte) {
	if it.write == 0 {
		t.writes = append(t.writes, write{it, it.value})
		it.write = len(t.writes)
	} else if !t.writes[it.write-1].forgotten() {
		t.over -= len(it.key) + len(it.value)
	}
	it.value = value
	if !t.writes[it.write-1].forgotten() {
		t.over += len(it.key) + len(value)
	}
}

// forgotten says that the key is committed neither before nor after: it needs
// no tombstone.
func (w write) forgotten() bool { return w.old == nil && w.value == nil }

// Scan implements Store.
func (t *Table) Scan(prefix []byte, fn func(key, value []byte) bool) {
	t.ScanFrom(prefix, nil, fn)
}

// ScanFrom implements Store.
func (t *Table) ScanFrom(prefix, from []byte, fn func(key, value []byte) bool) {
	start := prefix
	if bytes.Compare(from, prefix) > 0 {
		start = from
	}
	p := text(prefix)
	t.order.Ascend(text(start), func(k string, it *item) bool {
		return strings.HasPrefix(k, p) && (it.value == nil || fn(view(k), it.value))
	})
}

// text and view look at the same bytes as the other type: keys are never
// changed, and a scan keeps nothing of what it was asked for.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
func view(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// Changes calls fn for each key that the overlay writes, in the order of their
// first writes; a nil value is a deletion. This is what goes to the changelog.
func (t *Table) Changes(fn func(key, value []byte)) {
	for _, w := range t.writes {
		if !w.forgotten() {
			fn(view(w.key), w.value)
		}
	}
}

// OverlayBytes is the size of the overlay's keys and values in bytes.
func (t *Table) OverlayBytes() int { return t.over }

// Len is the number of keys of the committed image.
func (t *Table) Len() int { return t.count }

// Bytes is the size of the committed keys and values in bytes.
func (t *Table) Bytes() int { return t.size }

// Commit makes the overlay part of the committed image. Call it only once the
// transaction that carried the changes is known to be committed.
func (t *Table) Commit() {
	for _, w := range t.writes {
		w.write = 0
		t.account(w.key, w.old, w.value)
		if w.value == nil {
			t.remove(w.item)
		}
	}
	t.clear()
}

// Rollback throws the overlay away: the table is its last committed image.
func (t *Table) Rollback() {
	for _, w := range t.writes {
		w.write, w.value = 0, w.old
		if w.old == nil {
			t.remove(w.item)
		}
	}
	t.clear()
}

// keptWrites bounds the memory that the overlay keeps for the next transaction.
const keptWrites = 1 << 14

func (t *Table) clear() {
	t.over = 0
	if cap(t.writes) > keptWrites {
		t.writes = nil
		return
	}
	clear(t.writes)
	t.writes = t.writes[:0]
}

// account keeps the figures of the committed image.
func (t *Table) account(key string, old, value []byte) {
	if old != nil {
		t.count--
		t.size -= len(key) + len(old)
	}
	if value != nil {
		t.count++
		t.size += len(key) + len(value)
	}
}

// Restore writes one changelog record into the committed image; nil deletes.
// The table copies value: a view would keep the whole fetched batch alive for
// the one record of it that compaction has not yet taken. The overlay must be
// empty.
func (t *Table) Restore(key string, value []byte) {
	it := t.index[key]
	switch {
	case it == nil && value == nil:
		return
	case it == nil:
		it = t.add(key)
	}
	value = bytes.Clone(value)
	t.account(key, it.value, value)
	if it.value = value; value == nil {
		t.remove(it)
	}
}

// Hash digests the committed image. Equal images have equal hashes; tests
// compare the hash before a transaction with that after its abort.
func (t *Table) Hash() uint64 {
	h := fnv.New64a()
	add := func(b []byte) {
		_, _ = h.Write(binary.AppendUvarint(nil, uint64(len(b)))) // no two images share bytes
		_, _ = h.Write(b)
	}
	t.order.Scan(func(k string, it *item) bool {
		v := it.value
		if it.write > 0 {
			v = t.writes[it.write-1].old
		}
		if v != nil {
			add(view(k))
			add(v)
		}
		return true
	})
	return h.Sum64()
}
