package change

import "strings"

// Refusal says that one value of a row's current image could not be taken: its
// mapping, or the bounds of its type, refuse what the source has sent. Of a row
// that was known the field keeps the value before; of a new one it is NULL.
type Refusal struct {
	Field  int    // number of the shape's field, or one of the numbers below
	Reason string // column and rule in words, at most MaxRefusalReason bytes
}

// What a Refusal's Field is where it is no field of the shape. The numbers are
// stored. A milestone m is RefusedCreated - int(m).
const (
	RefusedRow       = -1 // nothing of the newest record of the row could be taken
	RefusedParty     = -2 // Row.Party
	RefusedParent    = -3 // the column that names the document: the row stays where it was
	RefusedCommit    = -4 // the columns that tell when a snapshot row was changed: Row.Commit is when it was read
	RefusedCreated   = -16
	RefusedWon       = RefusedCreated - int(Won)
	RefusedLost      = RefusedCreated - int(Lost)
	RefusedActivated = RefusedCreated - int(Activated)
	RefusedInvoiced  = RefusedCreated - int(Invoiced)
)

// MaxRefusalReason bounds what a row says of one refusal: it is stored with
// every row and travels with every document.
const MaxRefusalReason = 200

// Refuse makes a Refusal of an error.
func Refuse(field int, err error) Refusal {
	reason := err.Error()
	if len(reason) > MaxRefusalReason {
		reason = strings.ToValidUTF8(reason[:MaxRefusalReason-len("…")], "") + "…"
	}
	return Refusal{Field: field, Reason: reason}
}

// Refuses reports whether the value of a field was refused.
func (r *Row) Refuses(field int) bool {
	_, refused := r.Refusal(field)
	return refused
}

// Refusal returns what was said when the value of a field was refused.
func (r *Row) Refusal(field int) (Refusal, bool) {
	for _, f := range r.Refused {
		if f.Field == field {
			return f, true
		}
	}
	return Refusal{}, false
}

func appendRefusals(b []byte, list []Refusal) []byte {
	b = appendUvarint(b, uint64(len(list)))
	for _, f := range list {
		b = appendVarint(b, int64(f.Field))
		b = appendString(b, f.Reason)
	}
	return b
}

func (d *decoder) refusals() []Refusal {
	n := d.count()
	if n == 0 {
		return nil
	}
	list := make([]Refusal, n)
	for i := range list {
		list[i] = Refusal{Field: int(d.varint()), Reason: d.string()}
	}
	return list
}
