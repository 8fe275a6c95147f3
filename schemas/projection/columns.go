package projection

import (
	"fmt"
	"slices"
	"strings"

	"syncline/schemas/change"
)

// Schema is a writer's schema that has been read: what columns it has, and the
// plans that can be made for it. It is immutable and safe for concurrent use.
type Schema struct{ root *node }

// Parse reads the text of a writer's schema. An error wraps ErrSchema.
func Parse(writerSchema string) (*Schema, error) {
	root, err := parseSchema(writerSchema)
	if err != nil {
		return nil, err
	}
	return &Schema{root: root}, nil
}

// Name returns the full name of the schema's outermost record, "" where it is no
// record.
func (s *Schema) Name() string { return s.root.name }

// Has reports whether the schema has the field at path.
func (s *Schema) Has(path string) bool { return find(s.root, strings.Split(path, ".")) != nil }

// Compile is [Compile] for a schema that has been parsed.
func (s *Schema) Compile(want []Field, limits Limits) (*Plan, error) {
	if err := limits.settle(); err != nil {
		return nil, err
	}
	return compile(s.root, want, limits)
}

// Column is what a schema says of one field.
type Column struct {
	Name string
	// Kinds of its values, each once, without those that say that there is none.
	Kinds []change.Kind
	// Trouble says why the field cannot be wanted at all, "" where it can.
	Trouble string
}

// Columns lists the fields of the record at path (also through nullable records)
// in the order of the schema; nil where there is no such record.
func (s *Schema) Columns(path string) []Column {
	t := s.root
	if path != "" {
		f := find(s.root, strings.Split(path, "."))
		if f == nil {
			return nil
		}
		t = f.typ
	}
	var out []Column
	for _, r := range append([]*node{t}, t.branches...) {
		if r.kind != tRecord {
			continue
		}
		for i := range r.fields {
			c := Column{Name: r.fields[i].name}
			c.add(r.fields[i].typ)
			out = append(out, c)
		}
	}
	return out
}

// add notes what values of a type become.
func (c *Column) add(t *node) {
	if err := refuse(t, &wants{path: c.Name, slots: []int32{0}}); err != nil {
		c.Trouble = strings.TrimPrefix(err.Error(), fmt.Sprintf("%v: %q: ", ErrWanted, c.Name))
	}
	kind := t.meaning.kindOf()
	switch {
	case t.kind == tNull:
		return
	case t.kind == tUnion:
		for _, b := range t.branches {
			c.add(b)
		}
		return
	case t.meaning != plain:
	case t.kind == tBoolean:
		kind = change.Bool
	case t.kind == tFloat || t.kind == tDouble:
		kind = change.Double
	case t.kind == tString || t.kind == tEnum:
		kind = change.String
	case t.kind == tBytes || t.kind == tFixed:
		kind = change.Bytes
	case t.kind != tInt && t.kind != tLong:
		kind = change.Nested
	}
	if !slices.Contains(c.Kinds, kind) {
		c.Kinds = append(c.Kinds, kind)
	}
}
