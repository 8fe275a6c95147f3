package intake

import (
	"encoding/json"
	"fmt"
	"slices"

	"syncline/schemas/change"
)

// A floor is a position of a table: a row lives only if its position is at or
// above it. A TRUNCATE raises it, and so does a full snapshot that has ended,
// since whatever is not in it was deleted while nobody listened. Both concern the
// rows of every partition, so the task that sees one tells the others by a Notice.

// NoticeKind says what a Notice is about. The words are stored.
type NoticeKind string

// The notices.
const (
	NoticeTruncate NoticeKind = "truncate"         // the table was emptied at Pos
	NoticeClosed   NoticeKind = "snapshot.closed"  // the closing row of the snapshot at Pos was read
	NoticeSweep    NoticeKind = "snapshot.sweep"   // every partition is past what it had when the snapshot was closed: count
	NoticeCounted  NoticeKind = "snapshot.counted" // one partition has counted
	NoticeApply    NoticeKind = "snapshot.apply"   // a person says that a held sweep is right
)

// Notice is what the tasks of one topic tell each other. Its JSON is stored.
type Notice struct {
	Kind      NoticeKind      `json:"-"`
	Pos       change.Position `json:"pos"`
	Began     int64           `json:"began,omitempty"`     // closed: when the snapshot began; truncate: when it was committed; microseconds
	Timestamp int64           `json:"-"`                   // of the record that is the reason, milliseconds
	Partition int32           `json:"partition,omitempty"` // counted: whose
	Of        []int32         `json:"of,omitempty"`        // sweep: all partitions of the topic
	Count     Count           `json:"count,omitzero"`      // counted
}

// Count is what one partition has found before a sweep.
type Count struct {
	Rows  int64 `json:"rows"`            // that live
	Below int64 `json:"below"`           // of them, below the floor
	Blind bool  `json:"blind,omitempty"` // a record that cannot be read, and names no row, may have been the snapshot's
}

// The stages of a sweep in one task.
const (
	stageNew      = iota // its offset is not reached, or counts of others are missing
	stageCounting        // the cursor counts
	stageCounted         // this partition has counted
	stageHeld            // more than a sweep may delete by itself
	stageSweeping        // the cursor deletes
)

// sweep is what a task knows of one floor, as stored under "w" and its position.
type sweep struct {
	Pos      change.Position `json:"pos"`
	Truncate bool            `json:"truncate,omitempty"`
	Began    int64           `json:"began,omitempty"`
	Stage    int             `json:"stage"`
	Reached  bool            `json:"reached,omitempty"`
	Applied  bool            `json:"applied,omitempty"`
	Of       []int32         `json:"of,omitempty"`
	Counts   map[int32]Count `json:"counts,omitempty"`
	Running  Count           `json:"running,omitzero"`
	Cursor   []byte          `json:"cursor,omitempty"`
}

// floors are a table's two floors as one task knows them: both rise only.
type floors struct {
	Truncated change.Position `json:"truncated"`    // rows below ended there
	At        int64           `json:"at,omitempty"` // when that was committed, microseconds
	Swept     change.Position `json:"swept"`        // rows below were not in the snapshot there
	Began     int64           `json:"began,omitempty"`
}

var floorsKey = []byte("f")

// highest is the position below which nothing counts any more.
func (f *floors) highest() change.Position {
	if f.Truncated.Compare(f.Swept) > 0 {
		return f.Truncated
	}
	return f.Swept
}

// A sweep deletes by itself at most so many rows, or this share of the table.
const (
	sweepRows    = 3
	sweepPercent = 5
)

// Within reports whether a sweep may delete by itself what was counted.
func (c *Count) Within() bool {
	return !c.Blind && (c.Below <= sweepRows || c.Below*100 <= c.Rows*sweepPercent)
}

func sweepKey(p change.Position) []byte {
	return append([]byte{'w'}, p.String()...)
}

// readFloors takes in what the state says of floors.
func (k *Intake) readFloors() error {
	k.floors, k.sweeping = floors{}, false
	if b := k.store.Get(floorsKey); b != nil {
		if err := json.Unmarshal(b, &k.floors); err != nil {
			return fmt.Errorf("the stored floors: %w", err)
		}
	}
	k.floor = k.floors.highest()
	var err error
	k.store.Scan([]byte{'w'}, func(_, value []byte) bool {
		var s sweep
		err = json.Unmarshal(value, &s)
		k.sweeping = k.sweeping || s.Stage == stageCounting || s.Stage == stageSweeping
		return err == nil
	})
	return err
}

func (k *Intake) putFloors() {
	b, _ := json.Marshal(k.floors) //nolint:errchkjson // numbers
	k.store.Put(floorsKey, b)
	k.floor = k.floors.highest()
}

func (k *Intake) sweepAt(p change.Position) (sweep, error) {
	s := sweep{Pos: p}
	if b := k.store.Get(sweepKey(p)); b != nil {
		if err := json.Unmarshal(b, &s); err != nil {
			return s, fmt.Errorf("the stored sweep at %s: %w", p, err)
		}
	}
	if s.Counts == nil {
		s.Counts = map[int32]Count{}
	}
	return s, nil
}

func (k *Intake) putSweep(s *sweep) {
	b, _ := json.Marshal(s) //nolint:errchkjson // numbers and bytes
	k.store.Put(sweepKey(s.Pos), b)
	k.sweeping = k.sweeping || s.Stage == stageCounting || s.Stage == stageSweeping
}

// Obey takes what the tasks of the topic tell each other. Said twice it changes
// nothing.
func (k *Intake) Obey(n Notice) change.Verdict {
	if n.Kind == NoticeTruncate {
		k.truncate(n.Pos, n.Began)
		return change.Verdict{}
	}
	if n.Pos.Compare(k.floors.Swept) <= 0 && k.store.Get(sweepKey(n.Pos)) == nil {
		return change.Dropped("floor.known")
	}
	s, err := k.sweepAt(n.Pos)
	if err != nil {
		return change.Stopped("state.corrupt", err)
	}
	if n.Began > 0 && (s.Began == 0 || n.Began < s.Began) {
		s.Began = n.Began
	}
	switch n.Kind {
	case NoticeClosed:
	case NoticeSweep:
		if s.Reached {
			return change.Dropped("floor.known")
		}
		s.Reached, s.Of = true, n.Of
		if _, counted := s.Counts[k.partition]; !counted {
			s.Stage = stageCounting
		}
	case NoticeCounted:
		s.Counts[n.Partition] = n.Count
	case NoticeApply:
		s.Applied = true
	default:
		return change.Dropped("floor.unknown")
	}
	k.decide(&s)
	k.putSweep(&s)
	return change.Verdict{}
}

// decide begins to delete once all partitions have counted, if it may.
func (k *Intake) decide(s *sweep) {
	if !s.Reached || s.Stage == stageCounting || s.Stage == stageSweeping {
		return
	}
	var all Count
	for _, p := range s.Of {
		c, counted := s.Counts[p]
		if !counted {
			return
		}
		all.Rows, all.Below, all.Blind = all.Rows+c.Rows, all.Below+c.Below, all.Blind || c.Blind
	}
	if !s.Applied && !all.Within() {
		s.Stage = stageHeld
		k.dirty, k.count.SweepHeld = true, s.Counts[k.partition].Below
		return
	}
	s.Stage, s.Cursor = stageSweeping, nil
	if k.floors.Swept.Compare(s.Pos) < 0 {
		k.floors.Swept, k.floors.Began = s.Pos, s.Began
		k.putFloors()
	}
	k.dirty, k.count.SweepHeld = true, 0
}

// truncate raises the floor under the rows that a TRUNCATE has deleted.
func (k *Intake) truncate(at change.Position, micros int64) {
	if k.floors.Truncated.Compare(at) >= 0 {
		return
	}
	k.floors.Truncated, k.floors.At = at, micros
	k.putFloors()
	k.putSweep(&sweep{Pos: at, Truncate: true, Stage: stageSweeping})
}

// close tells the tasks of the topic that a snapshot has ended. Only what a full
// snapshot says counts; an incremental one reads beside the stream.
func (k *Intake) close(at Place, h header, out Output) {
	if !h.closing || h.pos.Compare(k.floor) <= 0 || k.store.Get(sweepKey(h.pos)) != nil {
		return
	}
	if k.again == nil { // else all have heard of it
		out.Notice(Notice{Kind: NoticeClosed, Pos: h.pos, Began: k.when(h), Timestamp: at.Timestamp})
	}
}

// Advance looks at most at about budget rows for counting and sweeping, and says
// whether more are left.
func (k *Intake) Advance(budget int, out Output) (more bool, err error) {
	for k.sweeping && budget > 0 {
		var s sweep
		k.store.Scan([]byte{'w'}, func(_, value []byte) bool {
			var found sweep
			if err = json.Unmarshal(value, &found); err != nil {
				return false
			}
			if found.Stage == stageCounting || found.Stage == stageSweeping {
				s = found
				return false
			}
			return true
		})
		if err != nil {
			return false, err
		}
		if s.Pos.IsZero() {
			k.sweeping = false
			break
		}
		if budget, err = k.step(&s, budget, out); err != nil {
			return false, err
		}
	}
	return k.sweeping, nil
}

// step looks at the next rows of one sweep and returns what is left of the
// budget.
func (k *Intake) step(s *sweep, budget int, out Output) (int, error) {
	var batch [][]byte
	ended := true
	k.store.ScanFrom([]byte{'r'}, s.Cursor, func(key, _ []byte) bool {
		if len(batch) == budget {
			s.Cursor, ended = slices.Clone(key), false
			return false
		}
		batch = append(batch, slices.Clone(key))
		return true
	})
	for _, key := range batch {
		if err := k.look(s, string(key[1:]), out); err != nil {
			return 0, err
		}
	}
	if !ended {
		k.putSweep(s)
		return 0, nil
	}
	switch s.Stage {
	case stageCounting:
		s.Running.Blind = k.blind(s)
		s.Stage, s.Cursor = stageCounted, nil
		if s.Counts == nil {
			s.Counts = map[int32]Count{}
		}
		s.Counts[k.partition] = s.Running
		out.Notice(Notice{Kind: NoticeCounted, Pos: s.Pos, Partition: k.partition, Count: s.Running, Timestamp: k.count.LastSeen})
		k.decide(s)
		k.putSweep(s)
	case stageSweeping:
		k.done(s)
	}
	return budget - len(batch) - 1, nil
}

// done forgets a sweep, and those of earlier snapshots that wait: the floor says
// all that there is to know of them.
func (k *Intake) done(s *sweep) {
	k.store.Delete(sweepKey(s.Pos))
	var earlier [][]byte
	k.store.Scan([]byte{'w'}, func(key, value []byte) bool {
		var o sweep
		if json.Unmarshal(value, &o) == nil && !s.Truncate && !o.Truncate && o.Pos.Compare(s.Pos) < 0 && o.Stage != stageCounting && o.Stage != stageSweeping {
			earlier = append(earlier, slices.Clone(key))
		}
		return true
	})
	for _, key := range earlier {
		k.store.Delete(key)
	}
}

// look counts or deletes one row.
func (k *Intake) look(s *sweep, id string, out Output) error {
	row, err := k.load(id)
	if err != nil || row == nil || row.Deleted {
		return err
	}
	if s.Truncate {
		k.empty(row, out)
		return nil
	}
	below := row.Pos.Compare(s.Pos) < 0 && !k.anyLetter(id)
	switch s.Stage {
	case stageCounting:
		s.Running.Rows++
		if below {
			s.Running.Below++
		}
	case stageSweeping:
		if below {
			k.dirty = true
			k.count.Swept++
			row.Swept = true
			k.bury(row, change.Instant{Micros: s.Began, Approximate: true}, out)
		}
	}
	return nil
}

// empty ends the life of a row that a TRUNCATE has deleted.
func (k *Intake) empty(row *change.Row, out Output) {
	if row.Deleted || row.Pos.Compare(k.floors.Truncated) >= 0 {
		return
	}
	gone := change.Row{
		System: row.System, Entity: row.Entity, Doc: row.Doc, Part: row.Part, ID: row.ID, Topic: row.Topic, Deleted: true,
		Pos: k.floors.Truncated, Life: k.floors.Truncated, Commit: change.Instant{Micros: k.floors.At},
	}
	k.heal(row.ID, out)
	k.put(&gone, row, out)
	*row = gone
}

// blind reports whether a record that names no row and cannot be read may have
// been one of the snapshot's.
func (k *Intake) blind(s *sweep) bool {
	return k.count.LastUnkeyed > 0 && k.count.LastUnkeyed*1000 >= s.Began-blindSlack
}

// blindSlack is how much earlier the snapshot's first record may have been than
// is known, microseconds: other partitions have rows of it too.
const blindSlack = 600_000_000

// anyLetter reports whether a letter of a row is open: what its newest image said
// is not known.
func (k *Intake) anyLetter(id string) (found bool) {
	if k.count.Letters == k.count.Healed {
		return false
	}
	prefix := letterPrefix(id)
	k.store.Scan(prefix, func(key, _ []byte) bool {
		found = len(key) == len(prefix)+offsetBytes
		return !found
	})
	return found
}
