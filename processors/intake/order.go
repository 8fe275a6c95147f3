package intake

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"syncline/schemas/change"
)

// compare says whether an image comes before (-1) or after (+1) the stored one,
// or is it (0).
//
// One that a snapshot has read without a position stands directly behind the
// stored image, unless that is the later of the two; it takes the stored
// position. At one position a delete precedes what the same transaction has put
// in the row's place.
func (h *header) compare(old *change.Row, floor change.Position) int {
	if h.unplaced && h.pos.Epoch == old.Pos.Epoch {
		if old.Pos.Compare(floor) >= 0 {
			h.pos = old.Pos
		} else {
			h.pos = floor
		}
		switch then := old.Read; {
		case then == h.micros:
			return 0
		case then == 0 && h.micros < old.Commit.Micros, h.micros < then:
			return -1
		}
		return 1
	}
	order := h.pos.Compare(old.Pos)
	switch {
	case order == 0 && old.Deleted && (h.op == opCreate || h.op == opRead || buried(old)):
		return 1
	case order == 0 && h.op == opDelete && !old.Deleted:
		return -1
	}
	return order
}

// buried reports whether a deleted row is one that bury has deleted.
func buried(r *change.Row) bool { return r.Deleted && len(r.Fields) > 0 }

// displaced reports whether a delete is of the row that had this key before the
// living one: one transaction has exchanged keys, which a deferrable constraint
// allows, and the delete of the old holder comes behind the new one.
func (h *header) displaced(old *change.Row) bool {
	return old != nil && !old.Deleted && old.Displaced && h.op == opDelete && h.micros == old.Commit.Micros
}

// overtaken judges an image that is not newer than the stored one. It changes
// no state but milestones: a business time that only an overtaken image shows
// would otherwise depend on who came first.
func (k *Intake) overtaken(at Place, h header, img Image, old *change.Row, order int, out Output) change.Verdict {
	if order == 0 {
		k.count.Repeated++
		return change.Dropped(ReasonRepeated)
	}
	if k.restored(h, old) {
		return k.suspect(at, h, old.Pos)
	}
	below := !old.Pos.Streamed && !h.snapshot
	k.count.Stale++
	if below {
		k.count.BelowSnapshot++
	}
	ended := h.pos.Compare(old.Life) < 0 || h.unplaced && !old.Life.IsZero()
	if h.op == opDelete && !ended && !old.Deleted && h.pos != old.Pos {
		// What comes before this delete is of a life that has ended; whoever has
		// seen the topic compacted learns it only now.
		old.Life = h.pos
		k.store.Put(k.rowKey(h.id), change.AppendRow(nil, old))
	}
	if old.Deleted || ended {
		return change.Dropped(ReasonEndedLife)
	}
	if h.op != opDelete {
		phase, err := k.phase(img)
		if err == nil && old.Times.Merge(k.overtakenTimes(h, img, phase, old)) {
			b := change.AppendRow(nil, old)
			k.store.Put(k.rowKey(h.id), b)
			if old.Doc != "" {
				out.Row(old, b)
			}
		}
	}
	if below {
		return change.Dropped(ReasonBelowSnapshot)
	}
	return change.Dropped(ReasonStale)
}

// restoredRows is how many rows may look as if the database had been put back
// before the feed stops: so few can have another cause.
const restoredRows = 3

// clockSlack is how far the clock by which a snapshot is read may be ahead of the
// database's, microseconds.
const clockSlack = 60_000_000

// restored reports whether an image lies below the stored one and is later all
// the same. Of one row, a later commit has a later position, since the row's lock
// orders both; so the database was put back to an earlier state, or moved.
//
// Of a full snapshot it is the beginning that is later, since changes that were
// streamed while it was read rightly lie above its rows.
func (k *Intake) restored(h header, old *change.Row) bool {
	then, slack := old.Commit.Micros, int64(0)
	if old.Read != 0 {
		then = old.Read
	} else if old.Commit.Approximate || old.Commit.IsZero() {
		return false // when it was read is not known
	}
	if h.snapshot || old.Read != 0 {
		slack = clockSlack
	}
	return k.fallsBehind(h, old.Pos, then+slack)
}

func (k *Intake) fallsBehind(h header, pos change.Position, then int64) bool {
	return !h.unplaced && h.pos.Epoch == pos.Epoch && h.pos.LSN < pos.LSN && k.when(h) > then
}

// ended reports whether what an image says has ended at the floor. A row that was
// read without a position since the floor was raised is there, so it stands at
// the floor.
func (k *Intake) ended(h *header) bool {
	if !h.unplaced {
		return h.pos.Compare(k.floor) < 0
	}
	if h.micros < max(k.floors.Began, k.floors.At) {
		return true
	}
	if h.pos.Compare(k.floor) < 0 && h.pos.Epoch == k.floor.Epoch {
		h.pos = k.floor
	}
	return false
}

// belowFloor judges an image of a row that is not known, or has not reached the
// floor: what the image says has ended there.
func (k *Intake) belowFloor(at Place, h header) change.Verdict {
	then := k.floors.Began
	if k.floor == k.floors.Truncated {
		then = k.floors.At
	}
	if then != 0 && k.fallsBehind(h, k.floor, then+clockSlack) {
		return k.suspect(at, h, k.floor)
	}
	k.count.Stale++
	return change.Dropped(ReasonEndedLife)
}

// when is the time of an image, for the comparison with another: its commit, or
// when its snapshot began.
func (k *Intake) when(h header) int64 {
	if h.snapshot && !h.incremental && k.snapshot.pos == h.pos {
		return k.snapshot.began
	}
	return h.micros
}

// suspect parks an image that looks as if the database had been put back.
// Nothing is dropped on suspicion, and one row alone proves nothing: the feed
// stops where more rows say the same. A row's next good image clears it.
func (k *Intake) suspect(at Place, h header, stored change.Position) change.Verdict {
	when := k.when(h)
	if k.count.RestoredAt == 0 || when < k.count.RestoredAt {
		k.count.RestoredAt = when
	}
	last := uint32(0)
	for _, e := range k.src.Epochs {
		last = max(last, e.Number)
	}
	err := fmt.Errorf("position %s is below the stored %s, but it is later: was the database restored to an earlier state, or moved to a new cluster? If so, add to system %s in the catalog: epochs: [{epoch: %d, since: %q}]; of several such letters the earliest since counts",
		h.pos, stored, k.src.System, last+1, time.UnixMicro(k.count.RestoredAt).UTC().Format(time.RFC3339Nano))
	mark := suspectKey(h.id)
	if k.store.Get(mark) == nil {
		if k.count.Suspected >= restoredRows {
			k.count.Received-- // it will be read again after the mending
			return change.Stopped(ReasonRestored, fmt.Errorf("row %s of %s: %w", h.id, k.src.Topic, err))
		}
		k.count.Suspected++
		k.store.Put(mark, []byte{1})
	}
	return k.parkAs(at, h.id, ReasonRestored, err)
}

// clear takes the suspicion from a row that has had a good image.
func (k *Intake) clear(id string) {
	if k.count.Suspected == 0 {
		return
	}
	if mark := suspectKey(id); k.store.Get(mark) != nil {
		k.store.Delete(mark)
		if k.count.Suspected--; k.count.Suspected == 0 {
			k.count.RestoredAt = 0
		}
	}
}

func suspectKey(id string) []byte { return append([]byte{'q'}, id...) }

// snapshot is a full snapshot that the task has rows of.
type snapshot struct {
	pos   change.Position // of all its rows
	began int64           // when the first of them was read, microseconds
}

// keptSnapshots bounds how many snapshots are remembered.
const keptSnapshots = 8

// follow notes when the snapshot of an image began.
func (k *Intake) follow(h header) {
	if !h.snapshot || h.incremental || h.unplaced || k.snapshot.pos == h.pos && k.snapshot.began <= h.micros {
		return
	}
	key := snapshotKey(h.pos)
	k.snapshot = snapshot{pos: h.pos, began: h.micros}
	if b := k.store.Get(key); len(b) == 8 {
		if began := int64(binary.BigEndian.Uint64(b)); began <= h.micros { //nolint:gosec // written from an int64
			k.snapshot.began = began
			return
		}
	}
	k.store.Put(key, binary.BigEndian.AppendUint64(nil, uint64(h.micros))) //nolint:gosec // read back as an int64
	type kept struct {
		key   []byte
		began uint64
	}
	var all []kept
	k.store.Scan([]byte{'s'}, func(key, value []byte) bool {
		all = append(all, kept{slices.Clone(key), binary.BigEndian.Uint64(value)})
		return true
	})
	slices.SortFunc(all, func(a, b kept) int { return int(int64(b.began - a.began)) }) //nolint:gosec // only the sign counts
	for _, old := range all[min(len(all), keptSnapshots):] {
		k.store.Delete(old.key)
	}
}

func snapshotKey(p change.Position) []byte {
	b := binary.BigEndian.AppendUint32([]byte{'s'}, p.Epoch)
	return binary.BigEndian.AppendUint64(b, uint64(p.LSN)) //nolint:gosec // a key only
}
