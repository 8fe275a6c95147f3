// Package canonical names the business entities that every system's rows are
// mapped onto, and the records of the canonical topics.
//
// A shape is what a catalog may map to: for each entity the fields of its header
// row and of its child rows. Field numbers are stored in internal topics and in
// state, so a shape grows at its end only. Shapes, records and what one copies
// from the other are generated from schemas/avsc by schemas/define.
package canonical

import "syncline/schemas/change"

// FieldSpec is one field of a shape.
type FieldSpec struct {
	Name    string
	Kind    change.Kind
	Ref     string   // entity the field refers to, "" for none; the value is the native id as String
	Need    bool     // NULL is a letter
	Retired bool     // keeps its number; nothing can be mapped to it
	Words   []string // all that the value may be; nil where it may be anything
	Doc     string
}

// Money reports whether the field is an amount of money, as every number is but
// a quantity.
func (f FieldSpec) Money() bool { return f.Kind == change.Decimal && f.Name != "quantity" }

// Shape is the list of fields by number. They are looked up by name when a
// catalog is compiled and by number ever after.
type Shape struct {
	Part   string // "" is the header
	Fields []FieldSpec
}

// Index returns the number of the named field, or -1: of a retired one too.
func (s Shape) Index(name string) int {
	for i, f := range s.Fields {
		if f.Name == name && !f.Retired {
			return i
		}
	}
	return -1
}

// Entity is a canonical entity: its header and its parts.
type Entity struct {
	Name   string
	Header Shape
	Parts  []Shape
	// Phases are the canonical words a source's state may be mapped to; empty
	// where the entity has none.
	Phases []string
}

// Shape returns the shape of a part ("" for the header).
func (e Entity) Shape(part string) (Shape, bool) {
	if part == "" {
		return e.Header, true
	}
	for _, p := range e.Parts {
		if p.Part == part {
			return p, true
		}
	}
	return Shape{}, false
}

// The phases of documents: what stages and milestones are made of.
const (
	PhaseOpen      = "open"
	PhaseWon       = "won"
	PhaseLost      = "lost"
	PhaseDraft     = "draft"
	PhaseActive    = "active"
	PhaseEnded     = "ended"
	PhasePosted    = "posted"
	PhasePaid      = "paid"
	PhaseCancelled = "cancelled"
)

// The kinds of invoice and of product.
const (
	KindInvoice    = "invoice"
	KindCreditNote = "credit_note"
	KindProduct    = "product"
	KindTemplate   = "template"
	KindService    = "service"
)
