package change

// Instant is a point in business time, microseconds since 1970-01-01 UTC; 0 is
// none. Approximate says that it comes from a column of a snapshot row, not
// from the commit of a change.
type Instant struct {
	Micros      int64
	Approximate bool
}

// IsZero reports whether there is no time.
func (i Instant) IsZero() bool { return i.Micros == 0 }

// Earlier returns the earlier of two instants; none is never earlier. Of equal
// times the exact one is returned, so that the result does not depend on order.
func Earlier(a, b Instant) Instant {
	switch {
	case a.IsZero():
		return b
	case b.IsZero() || a.Micros < b.Micros:
		return a
	case b.Micros < a.Micros || a.Approximate:
		return b
	default:
		return a
	}
}

// Milestone is a business time of a document: the first moment within the
// current life of its header row at which something was so.
type Milestone uint8

// The milestones. Their numbers are stored.
const (
	Created Milestone = iota
	Won
	Lost
	Activated
	Invoiced
	milestones
)

// MilestoneNames are the catalog's words, by number.
var MilestoneNames = [milestones]string{"created", "won", "lost", "activated", "invoiced"}

// Milestones holds an Instant per Milestone.
type Milestones [milestones]Instant

// Merge takes the earlier of each and reports whether anything changed.
func (m *Milestones) Merge(other Milestones) bool {
	changed := false
	for i := range m {
		if e := Earlier(m[i], other[i]); e != m[i] {
			m[i], changed = e, true
		}
	}
	return changed
}

// Row is one source row after intake: mapped onto the fields of a canonical
// shape, deduplicated, with its milestones. It is the record of the rows topic
// and intake's state.
type Row struct {
	System  string // catalog name of the source system
	Entity  string // canonical entity of the document
	Doc     string // native id of the document the row belongs to; "" for a child without parent
	Part    string // "" is the header row
	ID      string // native id of the row
	Topic   string // source topic
	Deleted bool   // no longer there (or no longer in this document); fields are empty
	Pos     Position
	Life    Position // where the current life began; zero where no earlier life is known
	Commit  Instant  // of the current image
	Since   Instant  // since when the fields that the catalog watches have their values
	Times   Milestones
	Party   Value     // String: native id of the customer; headers only
	Fields  []Value   // by field number of the shape; shorter than the shape means NULL for the rest
	Refused []Refusal // what could not be taken of the current image, by field; empty for a whole row
	// Read is when a snapshot read the current image, microseconds; 0 for a
	// streamed one. An image without a position is ordered by it.
	Read int64
	// Displaced says that the current image was created over the living row: its
	// transaction exchanges keys (a deferrable constraint), and a delete of the same
	// commit is of the row that had the key before.
	Displaced bool
	// Swept says of a deleted row that no delete is known: a full snapshot did not
	// have it.
	Swept bool
}

// Field returns the field of that number, Null where the row has none.
func (r *Row) Field(n int) Value {
	if n < len(r.Fields) {
		return r.Fields[n]
	}
	return Value{}
}

const rowFormat = 1

// The flags of a stored row. What belongs to one that was added later stands
// behind the fields, so that rows without it are as they always were.
const (
	flagDeleted = 1 << iota
	flagRefused // the refusals follow the fields
	flagRead    // when it was read follows those
	flagDisplaced
	flagSwept
)

// AppendRow appends the stored form of r.
func AppendRow(b []byte, r *Row) []byte {
	if b == nil {
		b = make([]byte, 0, r.sizeHint())
	}
	b = append(b, rowFormat)
	var flags byte
	if r.Deleted {
		flags |= flagDeleted
	}
	if len(r.Refused) > 0 {
		flags |= flagRefused
	}
	if r.Read != 0 {
		flags |= flagRead
	}
	if r.Displaced {
		flags |= flagDisplaced
	}
	if r.Swept {
		flags |= flagSwept
	}
	b = append(b, flags)
	for _, s := range [...]string{r.System, r.Entity, r.Doc, r.Part, r.ID, r.Topic} {
		b = appendString(b, s)
	}
	b = appendPosition(b, r.Pos)
	b = appendPosition(b, r.Life)
	b = appendInstant(b, r.Commit)
	b = appendInstant(b, r.Since)
	for _, t := range r.Times {
		b = appendInstant(b, t)
	}
	b = appendValue(b, r.Party)
	b = appendUvarint(b, uint64(len(r.Fields)))
	for i := range r.Fields {
		b = appendValue(b, r.Fields[i])
	}
	if len(r.Refused) > 0 {
		b = appendRefusals(b, r.Refused)
	}
	if r.Read != 0 {
		b = appendVarint(b, r.Read)
	}
	return b
}

// DecodeRow reads the stored form. Values and strings are views into b, which
// must never be changed.
func DecodeRow(b []byte) (Row, error) {
	d := decoder{b: b}
	var r Row
	d.row(&r, new(Arena))
	return r, d.finish("row")
}

// Row is DecodeRow with the fields in the arena.
func (a *Arena) Row(b []byte) (Row, error) {
	d := decoder{b: b}
	var r Row
	d.row(&r, a)
	return r, d.finish("row")
}

// DecodeRowHead reads what stands before the fields: of a row whose position
// and life are in question that is enough.
func DecodeRowHead(b []byte) (Row, error) {
	d := decoder{b: b}
	var r Row
	d.rowHead(&r)
	if d.err == nil {
		d.b = nil
	}
	return r, d.finish("row")
}

// sizeHint is about the size of the stored form.
func (r *Row) sizeHint() int {
	n := 64 + len(r.System) + len(r.Entity) + len(r.Doc) + len(r.Part) + len(r.ID) + len(r.Topic) + len(r.Party.Bytes) + 8*int(milestones)
	for i := range r.Fields {
		n += 8 + len(r.Fields[i].Bytes)
	}
	for i := range r.Refused {
		n += 4 + len(r.Refused[i].Reason)
	}
	return n
}

func (d *decoder) row(r *Row, a *Arena) {
	flags := d.rowHead(r)
	n := d.count()
	r.Fields = a.values.take(n)
	for i := range r.Fields {
		r.Fields[i] = d.value()
	}
	if flags&flagRefused != 0 {
		r.Refused = d.refusals()
	}
	if flags&flagRead != 0 {
		r.Read = d.varint()
	}
}

// rowHead reads what stands before the fields and returns the flags.
func (d *decoder) rowHead(r *Row) byte {
	d.format(rowFormat)
	flags := d.byte()
	r.Deleted, r.Displaced, r.Swept = flags&flagDeleted != 0, flags&flagDisplaced != 0, flags&flagSwept != 0
	for _, s := range [...]*string{&r.System, &r.Entity, &r.Doc, &r.Part, &r.ID, &r.Topic} {
		*s = d.string()
	}
	r.Pos, r.Life = d.position(), d.position()
	r.Commit, r.Since = d.instant(), d.instant()
	for i := range r.Times {
		r.Times[i] = d.instant()
	}
	r.Party = d.value()
	return flags
}

// StoredDeleted tells of a stored row, without decoding it, whether it is a
// deleted one.
func StoredDeleted(b []byte) bool { return len(b) > 1 && b[1]&flagDeleted != 0 }
