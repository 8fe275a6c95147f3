// Package intake is the first hop's operator: it turns the images of one source
// topic into canonical rows, each change once.
//
// It drops what it has seen (by source position, never by time), lets a business
// milestone count even when the image that shows it was overtaken, and sends each
// row to the document it belongs to, telling the old document when a row moved.
package intake

import (
	"fmt"
	"time"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
	"syncline/schemas/projection"
)

// Source says how the rows of one topic become canonical rows. The catalog
// builds one per captured table; it is read only from then on and may be shared
// by tasks.
type Source struct {
	Topic   string
	System  string
	Entity  string // canonical entity of the document
	Part    string // "" for the header
	Prefix  string // put before the native id (templates and services are products too)
	Key     []string
	Others  []string // prefixes of the tables that share the entity and part, where Prefix is empty
	Parent  string   // column with the parent's native id; parts only
	Party   *Field   // headers only; nil where the entity has no party of its own
	Fields  []Field
	Epochs  []Epoch // ascending by Since
	Changed []TimeColumn
	Gone    []string // mapped columns that the source no longer has
	// Placeholder is what the connector sends for a value that it was not given,
	// beside the usual one.
	Placeholder string
	// Tombstones says that deletes come as tombstones only.
	Tombstones bool
	// Times tells, by milestone, when an image shows it.
	Times [len(change.MilestoneNames)]*Rule

	shape   canonical.Shape
	want    []projection.Field
	columns map[string]int // column → index of after.<column> in want
	uses    map[string][]use
	wantKey []projection.Field
	// The key's columns: in the decoded key (0, 1, …), the before and the after
	// image.
	keyOrder []int
	before   []int
	after    []int
	parent   int
	phase    int // field number of the phase, -1 without
}

// Field is the mapping of one field of the shape. Exactly one of Columns and
// Constant is given; a nil *Field leaves the field NULL.
type Field struct {
	Columns  []string          // the first that is not NULL counts (path has one, coalesce several)
	Constant *change.Value     // the same for every row
	Map      map[string]string // by the text of the value; a value that is not there is a letter
	Model    string            // polymorphic reference "model,id": another model's is NULL
	Prefix   string            // put before the text (see Source.Prefix)
	Unit     time.Duration     // what a number counts that stands for a date; 0: a number is none
	Default  *change.Value     // where the writer's schema does not have the column

	columns []int
	reading reading
}

// TimeColumn is a column that tells a time. Unit is what a number in it counts
// from 1970-01-01 UTC on; 0: a number is no time.
type TimeColumn struct {
	Name string
	Unit time.Duration

	column int
}

// Rule says when an image shows a milestone.
type Rule struct {
	Phases   []string     // any of these; none: every image
	Snapshot []TimeColumn // columns that give the time on a snapshot row, first not NULL
}

// Epoch is the catalog's note that a source database was restored: images whose
// commit time is at or after Since sort after all earlier ones.
type Epoch struct {
	Number uint32
	Since  int64 // microseconds since 1970-01-01 UTC
}

// The envelope's fields, first in Want.
const (
	wantOp = iota
	wantLSN
	wantSnapshot
	wantMillis
	wantMicros
	wantOrder
	wantBefore
	wantAfter
	wantFixed
)

// Prepare resolves names once. It must be called before the source is used.
func (s *Source) Prepare() error {
	entity, ok := entityNamed(s.Entity)
	if !ok {
		return fmt.Errorf("topic %s: no canonical entity %q", s.Topic, s.Entity)
	}
	if s.shape, ok = entity.Shape(s.Part); !ok {
		return fmt.Errorf("topic %s: entity %s has no part %q", s.Topic, s.Entity, s.Part)
	}
	if len(s.Fields) != len(s.shape.Fields) {
		return fmt.Errorf("topic %s: %d fields are mapped, the shape of %s %s has %d", s.Topic, len(s.Fields), s.Entity, s.Part, len(s.shape.Fields))
	}
	s.columns = make(map[string]int)
	s.want = []projection.Field{
		wantOp: {Path: "op"}, wantLSN: {Path: "source.lsn"}, wantSnapshot: {Path: "source.snapshot"},
		wantMillis: {Path: "source.ts_ms"}, wantMicros: {Path: "source.ts_us"},
		wantOrder: {Path: "transaction.total_order"}, wantBefore: {Path: "before"}, wantAfter: {Path: "after"},
	}
	for i, k := range s.Key {
		s.wantKey, s.keyOrder = append(s.wantKey, projection.Field{Path: k}), append(s.keyOrder, i)
		s.after = append(s.after, s.column(k, nil))
		s.used(k, use{what: "key", takes: hasText})
		s.before = append(s.before, len(s.want))
		s.want = append(s.want, projection.Field{Path: "before." + k})
	}
	s.parent = -1
	if s.Parent != "" {
		s.parent = s.column(s.Parent, nil)
		s.used(s.Parent, use{what: "parent", takes: parentReading.takes})
	}
	for i := range s.Fields {
		spec := &s.shape.Fields[i]
		s.resolve(&s.Fields[i], "field "+spec.Name, spec.Money(), reading{kind: spec.Kind, id: spec.Ref != "", unit: s.Fields[i].Unit})
	}
	if s.Party != nil {
		s.resolve(s.Party, "party", false, reading{kind: change.String, id: true})
	}
	for i, r := range s.Times {
		if r != nil {
			s.resolveTimes(r.Snapshot, "time of the milestone "+change.MilestoneNames[i])
		}
	}
	s.resolveTimes(s.Changed, "time of the last change")
	s.phase = s.shape.Index("phase")
	return nil
}

func (s *Source) resolve(f *Field, what string, money bool, as reading) {
	f.reading = as
	for _, c := range f.Columns {
		f.columns = append(f.columns, s.column(c, f.Default))
		s.used(c, use{what: what, takes: f.takes, counts: as.counts(), money: money})
	}
}

func (s *Source) resolveTimes(columns []TimeColumn, what string) {
	for i := range columns {
		as := reading{kind: change.Timestamp, unit: columns[i].Unit}
		columns[i].column = s.column(columns[i].Name, nil)
		s.used(columns[i].Name, use{what: what, takes: as.takes, counts: as.counts()})
	}
}

func (s *Source) column(name string, def *change.Value) int {
	if i, ok := s.columns[name]; ok {
		if def != nil {
			s.want[i].Default = def
		}
		return i
	}
	i := len(s.want)
	s.columns[name] = i
	s.want = append(s.want, projection.Field{Path: "after." + name, Default: def})
	return i
}

// Want lists the fields to decode, in the order in which an Image holds them.
func (s *Source) Want() []projection.Field { return s.want }

// WantKey lists the fields to decode of a record's key.
func (s *Source) WantKey() []projection.Field { return s.wantKey }

// Column returns the index in Want of a column of the after image, or -1.
func (s *Source) Column(name string) int {
	if i, ok := s.columns[name]; ok {
		return i
	}
	return -1
}

func entityNamed(name string) (canonical.Entity, bool) {
	for _, e := range canonical.Entities() {
		if e.Name == name {
			return e, true
		}
	}
	return canonical.Entity{}, false
}
