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
	arena  change.Arena
	fields []change.Value
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
// that parks it.
func (k *Intake) Refuse(at Place, reason string, err error) change.Verdict {
	k.seen(at)
	k.count.Letters++
	return change.Parked(reason, err)
}

// Tombstone takes a record without a value. It has no position, so it is
// counted and says nothing: the delete itself came as op=d. Applied, a
// redelivered one would kill the row that was made again under the same id.
func (k *Intake) Tombstone(at Place) change.Verdict {
	k.seen(at)
	k.count.Tombstones++
	return change.Dropped(ReasonTombstone)
}

// Apply takes one decoded change and judges it. A verdict of Park leaves the
// row's state as it was, and remembers the letter so that the next good image
// of the row can heal it.
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
		if order := h.pos.Compare(old.Pos); order <= 0 {
			return k.overtaken(at, h, img, old, order, out)
		}
	}
	row, err := k.row(h, img, old)
	if err != nil {
		return k.park(at, h.id, err)
	}
	if old != nil {
		k.count.Suspicious = 0
	}
	k.count.LastEvent = max(k.count.LastEvent, row.Commit.Micros)
	k.heal(h.id, out)
	k.leave(old, &row, out)
	k.put(&row, old, out)
	return change.Verdict{}
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
		if err == nil && old.Times.Merge(k.src.times(h, img, phase)) {
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

// row makes the canonical row of an image that is to be applied.
func (k *Intake) row(h header, img Image, old *change.Row) (change.Row, error) {
	s := k.src
	row := change.Row{System: s.System, Entity: s.Entity, Part: s.Part, ID: h.id, Topic: s.Topic, Pos: h.pos}
	alive := old != nil && !old.Deleted
	if old != nil && old.Deleted {
		row.Life = h.pos
	} else if alive {
		row.Life = old.Life
	}
	row.Commit = s.commit(h, img)
	if h.op == opDelete {
		row.Deleted = true
		row.Life = h.pos
		if alive {
			row.Doc = old.Doc
		}
		return row, nil
	}
	row.Doc = h.id
	if s.Part != "" {
		if img[s.parent].Kind == change.Unavailable && alive {
			row.Doc = old.Doc
		} else if row.Doc = ""; !img[s.parent].IsNull() {
			t, err := Text(img[s.parent])
			if err != nil {
				return row, fmt.Errorf("column %s: %w", s.Parent, err)
			}
			row.Doc = t
		}
	}
	k.fields = slices.Grow(k.fields[:0], len(s.Fields))[:len(s.Fields)]
	row.Fields = k.fields
	for i := range s.Fields {
		v, keep, err := s.Fields[i].value(img, s.shape.Fields[i].Kind)
		if err != nil {
			return row, fmt.Errorf("field %s: %w", s.shape.Fields[i].Name, err)
		}
		if keep {
			if alive {
				v = old.Field(i)
			} else {
				k.count.Unavailable++
			}
		}
		if v.IsNull() && s.shape.Fields[i].Need {
			return row, fmt.Errorf("field %s: NULL, but %s needs it", s.shape.Fields[i].Name, s.Entity)
		}
		row.Fields[i] = v
	}
	if s.Party != nil {
		v, keep, err := s.Party.value(img, change.String)
		if err != nil {
			return row, fmt.Errorf("party: %w", err)
		}
		if keep && alive {
			v = old.Party
		}
		row.Party = v
	}
	phase := ""
	if s.phase >= 0 {
		phase = string(row.Fields[s.phase].Bytes)
	}
	row.Times = s.times(h, img, phase)
	if alive {
		row.Times.Merge(old.Times)
	}
	row.Since = row.Commit
	if alive && sameFields(old, &row) {
		row.Since = old.Since
	}
	return row, nil
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
func (s *Source) times(h header, img Image, phase string) change.Milestones {
	var m change.Milestones
	for i, r := range s.Times {
		if r == nil || len(r.Phases) > 0 && !slices.Contains(r.Phases, phase) {
			continue
		}
		m[i] = s.instant(h, img, r.snapshot)
	}
	return m
}

func (s *Source) commit(h header, img Image) change.Instant { return s.instant(h, img, s.changed) }

// instant is the time of an image: the commit, or for a snapshot row, whose
// commit is not known, the first of the columns that is not NULL.
func (s *Source) instant(h header, img Image, columns []int) change.Instant {
	if !h.snapshot {
		return change.Instant{Micros: h.micros}
	}
	for _, c := range columns {
		if img[c].Kind == change.Timestamp {
			return change.Instant{Micros: img[c].Int, Approximate: true}
		}
	}
	return change.Instant{Micros: h.micros, Approximate: true}
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
	k.store.Scan(letterPrefix(id), func(key, value []byte) bool {
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

// ErrTooLarge says that a record passes the size limit.
var ErrTooLarge = errors.New("the record is larger than the limit")
