package intake

import (
	"errors"
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
	k.count.LastSeen = max(k.count.LastSeen, at.Timestamp)
}

// Refuse counts a record that could not even be decoded, and returns the verdict
// that parks it. Where its key names a row that is known, the row says from then
// on that its newest change is missing, until its next good image.
func (k *Intake) Refuse(at Place, reason string, err error, out Output) change.Verdict {
	k.seen(at)
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
		k.count.Letters++
		return change.Parked(ReasonEnvelope, err)
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

// row makes the canonical row of an image that is to be applied. refused says
// which of its values are not taken, nil for none; err that the row cannot be
// placed at all.
func (k *Intake) row(h header, img Image, old *change.Row) (row change.Row, refused, err error) {
	s := k.src
	row = change.Row{System: s.System, Entity: s.Entity, Part: s.Part, ID: h.id, Topic: s.Topic, Pos: h.pos}
	alive := old != nil && !old.Deleted
	if old != nil && old.Deleted {
		row.Life = h.pos
	} else if alive {
		row.Life = old.Life
	}
	k.refused = k.refused[:0]
	row.Commit = k.commit(h, img)
	if h.op == opDelete {
		row.Deleted = true
		row.Life = h.pos
		if alive {
			row.Doc = old.Doc
		}
		return row, nil, nil
	}
	row.Doc = h.id
	if s.Part != "" {
		if row.Doc, err = k.parent(img, old, alive); err != nil {
			return row, nil, err
		}
	}
	k.fields = slices.Grow(k.fields[:0], len(s.Fields))[:len(s.Fields)]
	row.Fields = k.fields
	for i := range s.Fields {
		v, keep, err := s.Fields[i].value(img, s.shape.Fields[i].Kind)
		if err == nil && !keep && v.IsNull() && s.shape.Fields[i].Need {
			err = fmt.Errorf("NULL, but %s needs it", s.Entity)
		}
		if err != nil {
			if err = fmt.Errorf("field %s: %w", s.shape.Fields[i].Name, err); !alive && s.shape.Fields[i].Need {
				return row, nil, err
			}
			k.refuse(i, err)
		}
		if keep || err != nil {
			v = change.Value{}
			if alive {
				v = old.Field(i)
			} else if keep {
				k.count.Unavailable++
			}
		}
		row.Fields[i] = v
	}
	if s.Party != nil {
		v, keep, err := s.Party.value(img, change.String)
		if err == nil && len(v.Bytes) > maxID {
			err = checkID(string(v.Bytes))
		}
		if err != nil {
			k.refuse(change.RefusedParty, fmt.Errorf("party: %w", err))
		}
		if keep || err != nil {
			v = change.Value{}
			if alive {
				v = old.Party
			}
		}
		row.Party = v
	}
	phase := ""
	if s.phase >= 0 {
		phase = string(row.Fields[s.phase].Bytes)
	}
	row.Times = k.times(h, img, phase)
	refused = k.refusals()
	if alive {
		k.inherit(&row, old, h.snapshot)
	}
	if len(k.refused) > 0 {
		row.Refused = k.refused
	}
	row.Since = row.Commit
	if alive && sameFields(old, &row) {
		row.Since = old.Since
	}
	return row, refused, nil
}

// parent is the native id of the document that a child row belongs to, "" for
// none.
func (k *Intake) parent(img Image, old *change.Row, alive bool) (string, error) {
	switch v := img[k.src.parent]; {
	case v.Kind == change.Unavailable && alive:
		return old.Doc, nil
	case v.IsNull():
		return "", nil
	default:
		t, err := Text(v)
		if err == nil {
			err = checkID(t)
		}
		if err == nil {
			return t, nil
		}
		err = fmt.Errorf("column %s: %w", k.src.Parent, err)
		if !alive {
			return "", err
		}
		k.refuse(change.RefusedParent, err)
		return old.Doc, nil
	}
}

// inherit takes over the milestones that earlier images of this life have
// shown. One that was refused stays unknown: a later commit that shows the same
// is not the first, and would be taken for it. Another snapshot can give it.
func (k *Intake) inherit(row, old *change.Row, snapshot bool) {
	for m := range row.Times {
		if f, refused := old.Refusal(change.RefusedCreated - m); refused && !snapshot {
			row.Times[m] = change.Instant{}
			k.refused = append(k.refused, f)
		}
	}
	row.Times.Merge(old.Times)
}

func (k *Intake) refuse(field int, err error) {
	k.refused = append(k.refused, change.Refuse(field, err))
}

// refusals is what a letter says of the values refused so far, nil for none.
func (k *Intake) refusals() error {
	var all []error
	for _, r := range k.refused {
		all = append(all, errors.New(r.Reason))
	}
	return errors.Join(all...)
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

func (k *Intake) phase(img Image) (string, error) {
	if k.src.phase < 0 {
		return "", nil
	}
	v, _, err := k.src.Fields[k.src.phase].value(img, change.String)
	return string(v.Bytes), err
}

// times are the milestones that one image shows.
func (k *Intake) times(h header, img Image, phase string) change.Milestones {
	var m change.Milestones
	for i, r := range k.src.Times {
		if r == nil || len(r.Phases) > 0 && !slices.Contains(r.Phases, phase) {
			continue
		}
		at, err := k.src.instant(h, img, r.snapshot, r.Snapshot)
		if err != nil {
			k.refuse(change.RefusedCreated-i, fmt.Errorf("milestone %s: %w", change.MilestoneNames[i], err))
			continue
		}
		m[i] = at
	}
	return m
}

// overtakenTimes are those that an overtaken image may still add: not a milestone
// of which an earlier image was refused (see inherit).
func (k *Intake) overtakenTimes(h header, img Image, phase string, old *change.Row) change.Milestones {
	m := k.times(h, img, phase)
	for i := range m {
		if !h.snapshot && old.Refuses(change.RefusedCreated-i) {
			m[i] = change.Instant{}
		}
	}
	return m
}

// commit is the time of the image.
func (k *Intake) commit(h header, img Image) change.Instant {
	at, err := k.src.instant(h, img, k.src.changed, k.src.Changed)
	if err != nil {
		k.refuse(change.RefusedCommit, err)
		return change.Instant{Micros: h.micros, Approximate: true}
	}
	return at
}

// instant is the time of an image: the commit, or for a snapshot row, whose
// commit is not known, the first of the columns that is not NULL.
func (s *Source) instant(h header, img Image, columns []int, names []string) (change.Instant, error) {
	if !h.snapshot {
		return change.Instant{Micros: h.micros}, nil
	}
	for n, c := range columns {
		if img[c].Kind == change.Timestamp {
			if err := bounded(img[c]); err != nil {
				return change.Instant{}, fmt.Errorf("column %s: %w", names[n], err)
			}
			return change.Instant{Micros: img[c].Int, Approximate: true}, nil
		}
	}
	return change.Instant{Micros: h.micros, Approximate: true}, nil
}

// sameFields reports whether what Since watches is unchanged: the document and
// every field of an identifier.
func sameFields(a, b *change.Row) bool {
	if a.Part != canonical.PartIdentifier {
		return true
	}
	return a.Doc == b.Doc && slices.EqualFunc(a.Fields, b.Fields, change.Value.Equal)
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
