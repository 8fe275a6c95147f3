package intake

import (
	"errors"
	"fmt"

	"syncline/processors/letters"
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
	ReasonDisplaced     = "source.displaced"        // a delete of the row that had the key before
	ReasonTombstone     = "source.tombstone"        // says nothing where deletes are sent as op=d
	ReasonNoChange      = "source.no_change"        // an event of the connector itself
	ReasonEnvelope      = "source.envelope"         // not the shape of a change
	ReasonKey           = "source.key"              // the record's key names another row
	ReasonMapping       = "source.mapping"          // the row cannot be mapped
	ReasonRestored      = "source.restored"         // positions fall while commit times rise
	ReasonSettled       = "letters.settled"         // read again, and its letter was settled before
	ReasonTooLarge      = "source.record_too_large" // over the limit
)

// Output takes what an image leads to, in order.
type Output interface {
	// Row is a row for the document it names; stored is AppendRow's form of it,
	// which is the taker's. The row itself is valid during the call only.
	Row(r *change.Row, stored []byte)
	// Settled says that a letter is not open any more, and why (its State).
	Settled(l change.Letter)
	// Notice is for the tasks of all partitions of the topic, this one included.
	Notice(n Notice)
}

// Place is where a record was read, for letters and counters.
type Place struct {
	Topic     string
	Partition int32
	Offset    int64
	Timestamp int64 // record time, milliseconds
	// Key is the native id that the record's key names; "" where there is none.
	Key string
	// Fault is what is wrong with the key; it passes where nothing is.
	Fault change.Verdict
}

// Intake is the operator of one task. Its state is the last row of every source
// row, deleted ones included, under "r" and the native id; open letters under
// "l"; its counters under "c"; the snapshots it has seen under "s"; the rows that
// look like those of a restored database under "q"; which letters are settled under "d", the letters among the
// last records under "b"; the table's floors under "f"
// and what is done about them under "w".
type Intake struct {
	src   *Source
	store state.Store
	count Counters
	dirty bool
	key   []byte
	// arena, old and fields hold the old and the new row of one Apply.
	arena   change.Arena
	fields  []change.Value
	refused []change.Refusal
	old     change.Row

	snapshot snapshot // the one that the last row of a snapshot belongs to

	partition int32 // of the topic
	floors    floors
	floor     change.Position // the higher of them
	sweeping  bool            // Advance has something to do
	corrupt   error           // the stored floors cannot be read
	window    letters.Window  // of the last records
	windows   bool            // the store has one
	again     *Act            // what is applied is read once more
}

// New returns the operator of one partition of the source's topic.
func New(src *Source, partition int32, store state.Store) *Intake {
	k := &Intake{src: src, partition: partition, store: store}
	k.Reset()
	return k
}

// Reset forgets what was counted since the last Flush.
func (k *Intake) Reset() {
	k.count = decodeCounters(k.store.Get(countersKey))
	k.dirty = false
	k.snapshot = snapshot{}
	k.corrupt = k.readFloors()
	stored := k.store.Get(windowKey)
	k.window, k.windows = letters.DecodeWindow(stored), stored != nil
}

// Flush stores the counters and reports them if they changed.
func (k *Intake) Flush() (Counters, bool) {
	if !k.dirty {
		return k.count, false
	}
	k.dirty = false
	k.count.Version++
	k.store.Put(countersKey, k.count.append(nil))
	k.keepWindow()
	return k.count, true
}

func (k *Intake) seen(at Place) {
	k.dirty = true
	if k.again == nil {
		k.window.Record()
	}
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
	return k.refuseRow(at, reason, err, out)
}

func (k *Intake) refuseRow(at Place, reason string, err error, out Output) change.Verdict {
	if k.over(at) {
		return change.Dropped(ReasonSettled)
	}
	if at.Key == "" {
		k.count.LastUnkeyed = max(k.count.LastUnkeyed, k.count.LastSeen)
		return k.parkAs(at, "", reason, err)
	}
	row, corrupt := k.load(at.Key)
	if corrupt != nil {
		return change.Stopped("state.corrupt", corrupt)
	}
	if row != nil && !row.Deleted && !row.Refuses(change.RefusedRow) {
		row.Refused = append(row.Refused, change.Refuse(change.RefusedRow, fmt.Errorf("%s at offset %d of partition %d", reason, at.Offset, at.Partition)))
		k.put(row, row, out)
	}
	return k.parkAs(at, at.Key, reason, err)
}

// load reads the stored row of a native id, nil where none is known. It is valid
// until the next call.
func (k *Intake) load(id string) (*change.Row, error) {
	stored := k.store.Get(k.rowKey(id))
	if stored == nil {
		return nil, nil //nolint:nilnil // unknown
	}
	k.arena.Reset()
	r, err := k.arena.Row(stored)
	if err != nil {
		return nil, fmt.Errorf("row %s: %w", id, err)
	}
	k.old = r
	return &k.old, nil
}

// PassBy takes an event of the connector itself.
func (k *Intake) PassBy(at Place) change.Verdict {
	k.seen(at)
	return change.Dropped(ReasonNoChange)
}

// Tombstone takes a record without a value. Usually it says nothing, since the
// delete itself has come before it as op=d. Where the catalog says that deletes
// come as tombstones it deletes the row; elsewhere one for a living row of which
// no delete is known is told, for then deletes seem to be held back.
func (k *Intake) Tombstone(at Place, out Output) change.Verdict {
	k.seen(at)
	k.count.Tombstones++
	if at.Fault.Kind != change.Pass && (k.src.Tombstones || !errors.Is(at.Fault.Err, ErrNoKey)) {
		return k.refuseRow(at, at.Fault.Reason, at.Fault.Err, out)
	}
	old, err := k.load(at.Key)
	switch {
	case err != nil:
		return change.Stopped("state.corrupt", err)
	case old == nil || old.Deleted:
		return change.Dropped(ReasonTombstone)
	case k.src.Tombstones:
		k.heal(at.Key, out)
		k.bury(old, change.Instant{Micros: at.Timestamp * 1000, Approximate: true}, out)
		return change.Verdict{}
	case !old.Life.IsZero() || k.told(at.Key, ReasonTombstone):
		return change.Dropped(ReasonTombstone)
	}
	return k.parkAs(at, at.Key, ReasonTombstone, errHeldBack)
}

var errHeldBack = errors.New("a tombstone without a delete before it: the connector seems to hold deletes back, and the row is still shown; " +
	"let deletes through (skipped.operations without d, delete.handling.mode not drop), or write deletes: tombstone at the table in the catalog")

// bury deletes a row of which no later position is known. All that is known of
// it stays, so that the very image that it buries, read once more, brings it back
// as it was; a later one begins a new life.
func (k *Intake) bury(old *change.Row, when change.Instant, out Output) {
	old.Deleted = true
	k.store.Put(k.rowKey(old.ID), change.AppendRow(nil, old))
	if old.Doc == "" {
		return
	}
	gone := change.Row{System: old.System, Entity: old.Entity, Doc: old.Doc, Part: old.Part, ID: old.ID, Topic: old.Topic, Deleted: true, Pos: old.Pos, Life: old.Pos, Commit: when}
	out.Row(&gone, change.AppendRow(nil, &gone))
}

// Apply takes one decoded change and judges it. A verdict of Park remembers the
// letter, so that the next good image of the row can heal it. It leaves the
// row's state as it was, but for an image of which only some values are refused:
// the others count, the row says which do not, and the letter says why.
func (k *Intake) Apply(at Place, img Image, out Output) change.Verdict {
	k.seen(at)
	h, err := k.src.header(img, at.Key)
	switch {
	case err != nil && at.Fault.Kind != change.Pass:
		return k.refuseRow(at, at.Fault.Reason, errors.Join(at.Fault.Err, err), out)
	case err != nil:
		return k.refuseRow(at, ReasonEnvelope, err, out)
	case h.op == opMessage:
		return change.Dropped(ReasonNoChange)
	case k.corrupt != nil:
		return change.Stopped("state.corrupt", k.corrupt)
	case h.op == opTruncate:
		if k.floors.Truncated.Compare(h.pos) >= 0 {
			k.count.Repeated++
			return change.Dropped(ReasonRepeated)
		}
		k.truncate(h.pos, h.micros)
		out.Notice(Notice{Kind: NoticeTruncate, Pos: h.pos, Began: h.micros, Timestamp: at.Timestamp})
		return change.Verdict{}
	case at.Fault.Kind != change.Pass:
		at.Key = h.id
		return k.refuseRow(at, at.Fault.Reason, at.Fault.Err, out)
	case at.Key != "" && at.Key != h.id:
		// The key decides the partition and so the task: under a foreign key the
		// row would have a second history beside its own.
		return k.parkAs(at, h.id, ReasonKey, fmt.Errorf("the record's key names row %s", clip(at.Key)))
	}
	k.follow(h)
	k.close(at, h, out)
	old, err := k.load(h.id)
	if err != nil {
		return change.Stopped("state.corrupt", err)
	}
	if old != nil {
		k.empty(old, out)
	}
	if (old == nil || old.Pos.Compare(k.floor) < 0) && k.ended(&h) {
		return k.belowFloor(at, h)
	}
	nowhere := old == nil || old.Deleted
	if old != nil {
		order := h.compare(old, k.floor)
		if order < 0 || order == 0 && (len(old.Refused) == 0 || !k.mended(h, img, old)) {
			return k.overtaken(at, h, img, old, order, out)
		}
		if h.displaced(old) {
			old.Pos, old.Displaced = h.pos, false
			k.put(old, old, out)
			return change.Dropped(ReasonDisplaced)
		}
		if old.Deleted && (h.pos == old.Pos && !h.unplaced || old.Swept && h.op != opCreate && h.op != opDelete) {
			// The image that was buried, or what a delete at this position made way for;
			// or a row that was swept is there all the same, and always was.
			old.Deleted = false
		}
	}
	row, refused, err := k.row(h, img, old)
	if err != nil {
		return k.park(at, h.id, err)
	}
	k.count.LastEvent = max(k.count.LastEvent, row.Commit.Micros)
	if len(row.Refused) == 0 && k.heal(h.id, out) && !row.Deleted {
		row.Refused = append(row.Refused, change.Refuse(change.RefusedRow, fmt.Errorf("a later record than that at offset %d of partition %d is a letter", at.Offset, at.Partition)))
	}
	if len(row.Refused) > 0 && nowhere && k.count.Unplaced > 0 {
		k.place(h.id) // now a row says so
	}
	k.clear(h.id)
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
	if h.snapshot != (old.Read != 0) {
		return false // another image at the same position
	}
	row, _, err := k.row(h, img, old)
	return err == nil && len(row.Refused) == 0
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

func (k *Intake) rowKey(id string) []byte {
	k.key = append(append(k.key[:0], 'r'), id...)
	return k.key
}
