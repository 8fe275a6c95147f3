package intake

import (
	"fmt"
	"slices"

	"syncline/processors/state"
	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// The reasons of this hop's verdicts.
const (
	ReasonRepeated      = "source.repeated"         // position equal to the stored one
	ReasonStale         = "source.stale"            // position below the stored one
	ReasonEndedLife     = "source.ended_life"       // an image of a life that a delete has ended
	ReasonBelowSnapshot = "source.below_snapshot"   // streamed, but below the stored snapshot position
	ReasonTombstone     = "source.tombstone"        // says nothing where deletes are sent as op=d
	ReasonEnvelope      = "source.envelope"         // not the shape of a change
	ReasonKey           = "source.key"              // the record's key names another row
	ReasonMapping       = "source.mapping"          // the row cannot be mapped
	ReasonRestored      = "source.restored"         // positions fall while commit times rise
	ReasonTooLarge      = "source.record_too_large" // over the limit
)

// restoredRun is how many suspicious images in a row stop the feed.
const restoredRun = 3

// Output takes what an image leads to, in order.
type Output interface {
	// Row is a row for the document it names; stored is AppendRow's form of it,
	// which is the taker's. The row itself is valid during the call only.
	Row(r *change.Row, stored []byte)
	// Healed says that a good image has superseded this letter.
	Healed(l change.Letter)
}

// Place is where a record was read, for letters and counters.
type Place struct {
	Topic     string
	Partition int32
	Offset    int64
	Timestamp int64 // record time, milliseconds
	// Key is the native id that the record's key names; "" where it was not
	// looked at.
	Key string
}

// Intake is the operator of one task. Its state is the last row of every source
// row, deleted ones included, under "r" and the native id; open letters under
// "l"; its counters under "c".
type Intake struct {
	src   *Source
	store state.Store
	count Counters
	dirty bool
	key   []byte
	// arena and fields hold the old and the new row of one Apply.
	arena   change.Arena
	fields  []change.Value
	refused []change.Refusal
}

// New returns the operator of one partition of the source's topic.
func New(src *Source, store state.Store) *Intake {
	k := &Intake{src: src, store: store}
	k.Reset()
	return k
}

// Reset forgets what was counted since the last Flush.
func (k *Intake) Reset() {
	k.count = decodeCounters(k.store.Get(countersKey))
	k.dirty = false
}

// Flush stores the counters and reports them if they changed.
func (k *Intake) Flush() (Counters, bool) {
	if !k.dirty {
		return k.count, false
	}
	k.dirty = false
	k.count.Version++
	k.store.Put(countersKey, k.count.append(nil))
	return k.count, true
}

func (k *Intake) seen(at Place) {
	k.dirty = true
	k.count.Received++
	if at.Timestamp > 0 && at.Timestamp < canonical.EndMicros/1000 { // producers may write any time
		k.count.LastSeen = max(k.count.LastSeen, at.Timestamp)
	}
}

// Refuse counts a record that could not even be decoded, and returns the verdict
// that parks it. Where its key names a row that is known, the row says from then
// on that its newest change is missing, until its next good image.
func (k *Intake) Refuse(at Place, reason string, err error, out Output) change.Verdict {
	k.seen(at)
	return k.unread(at, reason, err, out)
}

func (k *Intake) unread(at Place, reason string, err error, out Output) change.Verdict {
	if at.Key == "" {
		k.count.Letters++
		return change.Parked(reason, err)
	}
	if stored := k.store.Get(k.rowKey(at.Key)); stored != nil {
		k.arena.Reset()
		row, err := k.arena.Row(stored)
		if err != nil {
			return change.Stopped("state.corrupt", fmt.Errorf("row %s: %w", at.Key, err))
		}
		if !row.Deleted && !row.Refuses(change.RefusedRow) {
			row.Refused = append(row.Refused, change.Refuse(change.RefusedRow, fmt.Errorf("%s at offset %d of partition %d", reason, at.Offset, at.Partition)))
			k.put(&row, &row, out)
		}
	}
	return k.parkAs(at, at.Key, reason, err)
}

// Tombstone takes a record without a value. It has no position, so it is
// counted and says nothing: the delete itself came as op=d. Applied, a
// redelivered one would kill the row that was made again under the same id.
func (k *Intake) Tombstone(at Place) change.Verdict {
	k.seen(at)
	k.count.Tombstones++
	return change.Dropped(ReasonTombstone)
}

// Apply takes one decoded change and judges it. A verdict of Park remembers the
// letter, so that the next good image of the row can heal it. It leaves the
// row's state as it was, but for an image of which only some values are refused:
// the others count, the row says which do not, and the letter says why.
func (k *Intake) Apply(at Place, img Image, out Output) change.Verdict {
	k.seen(at)
	h, err := k.src.header(img)
	if err != nil {
		return k.unread(at, ReasonEnvelope, err, out)
	}
	if at.Key != "" && at.Key != h.id {
		// The key decides the partition and so the task: under a foreign key the
		// row would have a second history beside its own.
		return k.parkAs(at, h.id, ReasonKey, fmt.Errorf("the record's key names row %s", clip(at.Key)))
	}
	stored := k.store.Get(k.rowKey(h.id))
	var old *change.Row
	if stored != nil {
		k.arena.Reset()
		r, err := k.arena.Row(stored)
		if err != nil {
			return change.Stopped("state.corrupt", fmt.Errorf("row %s: %w", h.id, err))
		}
		old = &r
		order := h.pos.Compare(old.Pos)
		if order < 0 || order == 0 && (len(old.Refused) == 0 || !k.mended(h, img, old)) {
			return k.overtaken(at, h, img, old, order, out)
		}
	}
	row, refused, err := k.row(h, img, old)
	if err != nil {
		return k.park(at, h.id, err)
	}
	if old != nil {
		k.count.Suspicious = 0
	}
	k.count.LastEvent = max(k.count.LastEvent, row.Commit.Micros)
	if len(row.Refused) == 0 {
		k.heal(h.id, out)
	}
	k.leave(old, &row, out)
	k.put(&row, old, out)
	if refused != nil {
		return k.park(at, h.id, refused)
	}
	return change.Verdict{}
}

// mended reports whether an image that was refused in part can be taken whole by
// now: another catalog reads it, or it is the good one behind a mark.
func (k *Intake) mended(h header, img Image, old *change.Row) bool {
	row, _, err := k.row(h, img, old)
	return err == nil && len(row.Refused) == 0
}

// overtaken judges an image that is not newer than the stored one. It changes
// no state but milestones: a business time that only an overtaken image shows
// would otherwise depend on who came first.
func (k *Intake) overtaken(at Place, h header, img Image, old *change.Row, order int, out Output) change.Verdict {
	if order == 0 {
		k.count.Repeated++
		k.count.Suspicious = 0
		return change.Dropped(ReasonRepeated)
	}
	below := !old.Pos.Streamed && !h.snapshot
	if old.Pos.Streamed && !h.snapshot && !old.Commit.IsZero() && h.micros > old.Commit.Micros {
		// Of one row, a later commit has a later position, unless the database was
		// put back to an earlier state. Nothing is dropped on suspicion.
		k.count.Suspicious++
		err := fmt.Errorf("row %s: position %s is below the stored %s, but its commit is later: was the database restored? If so, give the system a new epoch in the catalog", h.id, h.pos, old.Pos)
		if k.count.Suspicious >= restoredRun {
			// The record will be read again after the mending.
			k.count.Suspicious, k.count.Received = restoredRun-1, k.count.Received-1
			return change.Stopped(ReasonRestored, err)
		}
		return k.parkAs(at, h.id, ReasonRestored, err)
	}
	k.count.Stale++
	if below {
		k.count.BelowSnapshot++
	}
	if old.Deleted || h.pos.Compare(old.Life) < 0 {
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

// leave tells the old document that a moved row is no longer its own.
func (k *Intake) leave(old, row *change.Row, out Output) {
	if old == nil || old.Deleted || old.Doc == "" || old.Doc == row.Doc {
		return
	}
	gone := change.Row{System: old.System, Entity: old.Entity, Doc: old.Doc, Part: old.Part, ID: old.ID, Topic: old.Topic, Deleted: true, Pos: row.Pos, Life: row.Pos, Commit: row.Commit}
	out.Row(&gone, change.AppendRow(nil, &gone))
}

func (k *Intake) put(row, old *change.Row, out Output) {
	b := change.AppendRow(nil, row)
	k.store.Put(k.rowKey(row.ID), b)
	if row.Doc == "" || row.Deleted && (old == nil || old.Deleted) {
		return // no document has ever seen it
	}
	out.Row(row, b)
}

func (k *Intake) park(at Place, id string, err error) change.Verdict {
	return k.parkAs(at, id, ReasonMapping, err)
}

func (k *Intake) parkAs(at Place, id, reason string, err error) change.Verdict {
	k.count.Letters++
	k.store.Put(letterKey(id, at), appendLetter(nil, at, reason))
	return change.Parked(reason, fmt.Errorf("row %s of %s: %w", id, k.src.Topic, err))
}

// heal marks the open letters of a row as superseded.
func (k *Intake) heal(id string, out Output) {
	if k.count.Letters == k.count.Healed {
		return // none is open: spares the scan
	}
	var open [][]byte
	prefix := letterPrefix(id)
	k.store.Scan(prefix, func(key, value []byte) bool {
		if len(key) != len(prefix)+offsetBytes {
			return true // of a longer id that holds the separator
		}
		open = append(open, slices.Clone(key))
		if l, err := decodeLetter(value); err == nil {
			l.Healed = true
			out.Healed(l)
			k.count.Healed++
		}
		return true
	})
	for _, key := range open {
		k.store.Delete(key)
	}
}

func (k *Intake) rowKey(id string) []byte {
	k.key = append(append(k.key[:0], 'r'), id...)
	return k.key
}
