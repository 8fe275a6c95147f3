// Package define reads what a canonical field is, from the one place where that
// is said: schemas/avsc/shape/*.avsc, what a catalog maps to, and
// schemas/avsc/*.avsc, what is published. `go generate` writes from them the
// structs, tables and columns of schemas/canonical and sinks/clickhouse, so
// that a field which is only passed through is a line in each of the two files
// and a mapping.
//
// Beside what Avro knows, a file can say of its record
//
//   - shape: the shape whose header row the record's fields are copied from
//
// and of a field
//
//   - part: in shapes, the name of the part whose rows a list stands for
//   - number: in shapes, the place in stored rows; never used twice
//   - retired: in shapes, true where the number is kept and nothing is mapped
//   - from: in records, the field of the shape that is copied
//   - ref: in shapes, the entity that the value names by its native id
//   - words: in shapes, the closed list of what the value may be
//   - group: in shapes, the group of fields that one system owns; default "all"
//   - class: public, internal (the default), personal or bank
//   - few: in records, true where the values are few and long: a table keeps a
//     dictionary of them
//
// In a shape a type without null is a field that must be mapped and filled.
package define

import "syncline/schemas/change"

//go:generate go run ./generate -root ../..

// Type is the Avro type of a field without its null, the logical type where
// there is one.
type Type string

// The types.
const (
	String     Type = "string"
	Boolean    Type = "boolean"
	Int        Type = "int"
	Long       Type = "long"
	Bytes      Type = "bytes"
	Decimal    Type = "decimal"     // records: 38 digits, 9 of them after the point
	BigDecimal Type = "big-decimal" // shapes: every digit of the source
	Date       Type = "date"
	Micros     Type = "timestamp-micros"
	Millis     Type = "timestamp-millis" // records only
	Strings    Type = "strings"          // a list of strings
	List       Type = "list"             // a list of records
)

// Kind is the kind of value that a mapped field of the type holds; Null for
// types that only records have.
func (t Type) Kind() change.Kind {
	switch t {
	case String:
		return change.String
	case Boolean:
		return change.Bool
	case Long:
		return change.Int
	case BigDecimal:
		return change.Decimal
	case Date:
		return change.Date
	case Micros:
		return change.Timestamp
	case List:
		return change.Nested
	default:
		return change.Null
	}
}

// Class says who may see a field.
type Class string

// The classes.
const (
	Public   Class = "public"
	Internal Class = "internal"
	Personal Class = "personal" // tells something about a person
	Bank     Class = "bank"     // account numbers and the like
)

// Field is a field of a record, a shape or the items of a list.
type Field struct {
	Name    string   `json:"name"`
	Doc     string   `json:"doc"` // meaning and unit; the column's comment
	Type    Type     `json:"type"`
	Item    string   `json:"item,omitempty"`    // of a list: the Avro name of its items
	Of      []Field  `json:"of,omitempty"`      // of a list: the fields of its items
	Part    string   `json:"part,omitempty"`    // of a shape's list: the part whose rows it stands for
	Null    bool     `json:"null,omitempty"`    // may be NULL; in a shape without it NULL is a letter
	Default string   `json:"default,omitempty"` // records: the default as JSON, "" where there is none
	Number  int      `json:"number"`            // shapes: place in stored rows; -1 elsewhere
	Retired bool     `json:"retired,omitempty"` // shapes: keeps its number, reads as NULL
	From    string   `json:"from,omitempty"`    // records: field that is copied; "" means the operator fills it
	Ref     string   `json:"ref,omitempty"`     // shapes: entity that the value names
	Words   []string `json:"words,omitempty"`   // shapes: what the value may be
	Group   string   `json:"group,omitempty"`   // shapes: field group that an owner owns
	Class   Class    `json:"class"`
	Few     bool     `json:"few,omitempty"` // records: few distinct values
}

// Record is a published record, or a shape: an entity's header row and, as
// lists, its parts.
type Record struct {
	Name   string  `json:"name"` // the file's: order, identity_link
	Title  string  `json:"title"`
	Shape  bool    `json:"shape,omitempty"`
	Source string  `json:"source,omitempty"` // records: the shape that From names fields of; "" for none
	Doc    string  `json:"doc"`
	Own    int     `json:"own,omitempty"` // records: where the fields behind the envelope begin, 0 where there is none
	Fields []Field `json:"fields"`
}

// Field returns the field of that name, nil if there is none.
func (r *Record) Field(name string) *Field { return named(r.Fields, name) }

func named(fields []Field, name string) *Field {
	for i := range fields {
		if fields[i].Name == name {
			return &fields[i]
		}
	}
	return nil
}
