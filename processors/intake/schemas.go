package intake

import (
	"encoding/binary"
	"slices"
)

// What a task remembers of writers' schemas: ids that never came ("u"), and
// columns that somebody has accepted as gone ("g").

func gaveUpKey(id int) []byte {
	return binary.AppendUvarint([]byte{'u'}, uint64(id)) //nolint:gosec // ids are not negative
}

// GiveUp remembers that a schema id has been waited for in vain: its further
// records are letters at once.
func (k *Intake) GiveUp(id int) { k.store.Put(gaveUpKey(id), []byte{1}) }

// Appeared forgets an id that was given up.
func (k *Intake) Appeared(id int) { k.store.Delete(gaveUpKey(id)) }

// GaveUp lists the ids that were given up, ascending.
func (k *Intake) GaveUp() []int {
	var ids []int
	k.store.Scan([]byte{'u'}, func(key, _ []byte) bool {
		if id, n := binary.Uvarint(key[1:]); n > 0 {
			ids = append(ids, int(id)) //nolint:gosec // written from an int
		}
		return true
	})
	slices.Sort(ids)
	return ids
}

// AcceptGone remembers that a mapped column is not needed where a writer's
// schema does not give it: it reads as Missing.
func (k *Intake) AcceptGone(column string) {
	k.store.Put(append([]byte{'g'}, column...), []byte{1})
}

// Gone lists the columns that may be missing, of the catalog and accepted, by
// name.
func (k *Intake) Gone() []string {
	columns := slices.Clone(k.src.Gone)
	k.store.Scan([]byte{'g'}, func(key, _ []byte) bool {
		columns = append(columns, string(key[1:]))
		return true
	})
	slices.Sort(columns)
	return slices.Compact(columns)
}
