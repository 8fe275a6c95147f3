// Package document is the second hop's operator: it gathers the header row and
// the child rows of a document and sends the document, whole, to its customer.
//
// A document exists while its header row does. Children without a header wait,
// counted; a document that changes customer is first retracted from the old one.
package document

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"syncline/processors/state"
	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// Limits bound one document, so that it stays a record that a broker takes.
type Limits struct {
	Rows  int // children; default 5,000
	Bytes int // stored rows together; default 768 KiB
}

// ReasonTooLarge parks a row that would make its document too large.
const ReasonTooLarge = "document.too_large"

// Output takes the documents of a batch.
type Output interface {
	// Document is one document (stored is AppendDocument's form) for the party it
	// names, which may be none.
	Document(h change.DocumentHead, stored []byte)
	// Settled says that a letter is not open any more, and why (its State).
	Settled(l change.Letter)
}

// Operator is the operator of one task. State: under "r", document and child,
// the last row, removed ones included (their position keeps an older image from
// bringing them back); under "m" and document its Meta; under "p", document and
// row the position (as a bare row) of an image that the document has no room for,
// under "l" the letters of such images; under "w" what waits.
type Operator struct {
	store  state.Store
	limits Limits
	dirty  map[string]*meta // the documents touched, with their Meta as it is now
	key    []byte           // scratch
	waits  map[string]int64 // by source topic: how the count of waiting rows has changed
	opened map[string]int64 // by source topic: letters since the last report
	closed map[string]int64 // and those settled
	over   []change.Letter  // settled since the last Flush
}

// New returns the operator of one partition.
func New(store state.Store, limits Limits) *Operator {
	if limits.Rows == 0 {
		limits.Rows = 5_000
	}
	if limits.Bytes == 0 {
		limits.Bytes = 768 << 10
	}
	return &Operator{store: store, limits: limits, dirty: map[string]*meta{}, waits: map[string]int64{}, opened: map[string]int64{}, closed: map[string]int64{}}
}

// Reset forgets the documents touched since the last Flush.
func (o *Operator) Reset() {
	clear(o.dirty)
	o.reported()
	o.over = o.over[:0]
}

// reported forgets what was counted since the last report.
func (o *Operator) reported() {
	clear(o.waits)
	clear(o.opened)
	clear(o.closed)
}

// meta is what the operator remembers of a document besides its rows.
type meta struct {
	version uint64
	shown   bool   // sent to party, and not retracted since
	party   string // where it was sent
	rows    uint64 // live children
	bytes   uint64 // stored bytes of live rows
	waits   bool   // its children are listed under "w"
	lacks   uint64 // rows of which the newest image is not here: there is no room
}

// Apply takes one row, of which only the head is looked at; stored is its stored
// form, at where it was read.
func (o *Operator) Apply(row *change.Row, stored []byte, at Place) change.Verdict {
	// One key serves all three: the document's Meta, and behind another first
	// byte its rows, of which this is one.
	o.key = appendDocKey(append(o.key[:0], 'm'), row.System, row.Entity, row.Doc)
	n := len(o.key)
	m := o.dirty[string(o.key[1:])]
	if m == nil {
		known, err := decodeMeta(o.store.Get(o.key))
		if err != nil {
			return change.Stopped("state.corrupt", err)
		}
		m = &known
	}
	o.key[0] = 'r'
	o.key = appendRowID(o.key, row.Part, row.ID)
	key, doc := o.key, o.key[1:n]
	if m.lacks > 0 {
		if at := o.store.Get(noRoomKey(key)); at != nil {
			refused, err := change.DecodeRowHead(at)
			if err != nil {
				return change.Stopped("state.corrupt", err)
			}
			if row.Pos.Compare(refused.Pos) < 0 {
				return change.Dropped("row.stale")
			}
		}
	}
	var oldSize, oldLive uint64
	if b := o.store.Get(key); b != nil {
		old, err := change.DecodeRowHead(b)
		if err != nil {
			return change.Stopped("state.corrupt", err)
		}
		// The rows of one source row come in order, unless its key was written in
		// two ways (a key schema registered anew) and so through two tasks.
		if row.Pos.Compare(old.Pos) < 0 {
			return change.Dropped("row.stale")
		}
		if !old.Deleted {
			oldSize, oldLive = uint64(len(b)), 1
		}
		if !row.Deleted && !old.Deleted && row.Life == old.Life && row.Times.Merge(old.Times) {
			whole, err := change.DecodeRow(stored)
			if err != nil {
				return change.Stopped("state.corrupt", err)
			}
			whole.Times = row.Times
			stored = change.AppendRow(nil, &whole)
		}
	}
	if row.Part == "" {
		oldLive = 0
	}
	size, live := uint64(len(stored)), uint64(1)
	if row.Deleted {
		size, live = 0, 0
	}
	if row.Part == "" {
		live = 0
	}
	rows, total := m.rows-oldLive+live, m.bytes-oldSize+size
	if !row.Deleted && (rows > uint64(o.limits.Rows) && live > oldLive || total > uint64(o.limits.Bytes)) { //nolint:gosec // limits are positive
		o.noRoom(m, key, row.Pos)
		o.dirty[string(doc)] = m
		return o.park(row, key, at, fmt.Errorf("document %s %s of %s would have %d rows and %d bytes; the limits are %d and %d: raise them or split the document at its source", row.Entity, row.Doc, row.System, rows, total, o.limits.Rows, o.limits.Bytes))
	}
	m.rows, m.bytes = rows, total
	if m.lacks > 0 && o.store.Get(noRoomKey(key)) != nil {
		o.store.Delete(noRoomKey(key))
		m.lacks--
		o.heal(row, key)
	}
	o.store.Put(key, stored)
	o.dirty[string(doc)] = m
	return change.Verdict{}
}

// noRoom remembers that the newest image of a row is not in its document, which
// is then shown as one that lacks something.
func (o *Operator) noRoom(m *meta, key []byte, pos change.Position) {
	k := noRoomKey(key)
	if o.store.Get(k) == nil {
		m.lacks++
	}
	o.store.Put(k, change.AppendRow(nil, &change.Row{Pos: pos}))
}

// Flush sends the documents that the batch touched, each once.
func (o *Operator) Flush(out Output) error {
	for _, d := range slices.Sorted(maps.Keys(o.dirty)) {
		if err := o.send([]byte(d), o.dirty[d], out); err != nil {
			return err
		}
	}
	clear(o.dirty)
	for i := range o.over {
		out.Settled(o.over[i])
	}
	o.over = o.over[:0]
	return nil
}

func (o *Operator) send(doc []byte, m *meta, out Output) error {
	var err error
	var header []byte
	var children [][]byte
	prefix := prefixed('r', doc)
	o.store.Scan(prefix, func(key, value []byte) bool {
		if isHeader(key[len(prefix):]) {
			header = value
		} else {
			children = append(children, value)
		}
		return true
	})
	var head change.Row
	if header != nil {
		if head, err = change.DecodeRowHead(header); err != nil {
			return err
		}
	}
	if m.lacks > 0 && header != nil && !head.Deleted {
		if header, err = o.marked(header, m.lacks); err != nil {
			return err
		}
	}
	system, entity, id := splitDocKey(doc)
	h := change.DocumentHead{System: system, Entity: entity, ID: id}
	exists := header != nil && !head.Deleted
	rows := make([][]byte, 1, 1+len(children))
	rows[0] = header
	party := ""
	var waiting []change.Row
	for _, c := range children {
		if change.StoredDeleted(c) {
			continue
		}
		rows = append(rows, c)
		if exists && (entity != canonical.Entry || party != "") {
			continue // spares decoding
		}
		row, err := change.DecodeRow(c)
		if err != nil {
			return err
		}
		if !exists {
			waiting = append(waiting, row)
		} else if p := row.Field(canonical.EntryLineParty); !p.IsNull() {
			party = p.Text() // a journal entry is its lines' party's
		}
	}
	o.wait(doc, m, waiting)
	switch {
	case !exists || entity == canonical.Entry:
	case entity == canonical.Party:
		party = id // a customer is its own
	default:
		party = head.Party.Text()
	}
	if m.shown && (!exists || party != m.party) {
		m.version++
		h.Party, h.Version, h.Retracted = m.party, m.version, true
		out.Document(h, change.AppendDocument(nil, h, nil))
		m.shown = false
	}
	if exists {
		m.version++
		m.shown, m.party = true, party
		h.Party, h.Version, h.Retracted = party, m.version, false
		out.Document(h, change.AppendDocument(nil, h, rows))
	}
	o.store.Put(prefixed('m', doc), m.append(make([]byte, 0, 32+len(m.party))))
	return nil
}

// marked is a header row that says how many rows its document has no room for.
func (o *Operator) marked(header []byte, lacks uint64) ([]byte, error) {
	row, err := change.DecodeRow(header)
	if err != nil {
		return nil, err
	}
	row.Refused = append(slices.Clone(row.Refused), change.Refuse(change.RefusedRow, fmt.Errorf("%d of its rows are not in it: a document has at most %d rows and %d bytes", lacks, o.limits.Rows, o.limits.Bytes)))
	return change.AppendRow(nil, &row), nil
}

// wait lists the rows that wait for the document's header under their topic and
// commit time, so that the oldest of a topic is the first of a scan; the
// document's own list (under "x") finds them again.
func (o *Operator) wait(doc []byte, m *meta, waiting []change.Row) {
	if m.waits {
		var lists, listed [][]byte
		o.store.Scan(append([]byte{'x'}, doc...), func(key, value []byte) bool {
			lists, listed = append(lists, slices.Clone(key)), append(listed, slices.Clone(value))
			return true
		})
		for i := range lists {
			o.store.Delete(lists[i])
			o.store.Delete(listed[i])
			o.waits[topicOf(listed[i])]--
		}
	}
	m.waits = len(waiting) > 0
	for i := range waiting {
		r := &waiting[i]
		w := waitKey(r.Topic, r.Commit.Micros, doc, r.ID)
		o.store.Put(w, []byte{1})
		o.store.Put(listKey(doc, r.Part, r.ID), w)
		o.waits[r.Topic]++
	}
}

// Waiting is how many child rows of a source topic wait for their header, and
// since when (commit time, microseconds; 0 for none), and how many of its rows
// became letters here, and were settled. Version rises with every report of the
// topic.
type Waiting struct {
	Topic   string
	Version int64
	Rows    int64
	Since   int64
	Letters int64
	Healed  int64
}

// Waits reports the topics whose waiting rows or letters have changed since the
// last call, by name. Call it after Flush.
func (o *Operator) Waits() []Waiting {
	topics := slices.Collect(maps.Keys(o.waits))
	topics = slices.AppendSeq(topics, maps.Keys(o.opened))
	topics = slices.AppendSeq(topics, maps.Keys(o.closed))
	slices.Sort(topics)
	topics = slices.Compact(topics)
	var out []Waiting
	for _, t := range topics {
		key := append(append([]byte{'f'}, t...), 0)
		old := decodeWaiting(t, o.store.Get(key))
		w := Waiting{Topic: t, Version: old.Version, Rows: old.Rows + o.waits[t], Letters: old.Letters + o.opened[t], Healed: old.Healed + o.closed[t]}
		prefix := append(append([]byte{'w'}, t...), 0)
		o.store.Scan(prefix, func(key, _ []byte) bool {
			w.Since = int64(binary.BigEndian.Uint64(key[len(prefix):])) //nolint:gosec // written from an int64 that is not negative
			return false
		})
		if w != old {
			w.Version++
			o.store.Put(key, w.append(nil))
			out = append(out, w)
		}
	}
	o.reported()
	return out
}
