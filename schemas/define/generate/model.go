package main

import (
	"fmt"
	"slices"
	"strings"
	"text/template"

	"syncline/schemas/define"
)

// model is what the templates are filled from.
type model struct {
	Shapes   []define.Record
	Records  []define.Record
	Envelope []define.Field
	// Items are the records that lists are of, each once, with the part of the
	// shape that they are copied from.
	Items   []item
	Parts   []string    // names of parts, each once
	Numbers []constants // header fields and parts that have numbers, each once
}

type item struct {
	Name   string
	Prefix string // of the constants that number the fields of the part
	Fields []define.Field
}

type constants struct {
	Names, Values string // "A, B", "0, 1"
}

func newModel(all []define.Record) (*model, error) {
	m := &model{}
	shapes := map[string]*define.Record{}
	for i := range all {
		if r := &all[i]; r.Shape {
			m.Shapes = append(m.Shapes, *r)
			shapes[r.Name] = r
		} else {
			m.Records = append(m.Records, *r)
			if r.Own > 0 {
				m.Envelope = r.Fields[:r.Own]
			}
		}
	}
	seen := map[string]bool{}
	number := map[string]bool{}
	for _, s := range m.Shapes {
		if err := m.number(s.Title, header(s), number); err != nil {
			return nil, err
		}
		for _, p := range parts(s) {
			if !seen["part "+p.Part] {
				seen["part "+p.Part] = true
				m.Parts = append(m.Parts, p.Part)
			}
			if !seen["item "+p.Item] {
				seen["item "+p.Item] = true
				if err := m.number(p.Item, p.Of, number); err != nil {
					return nil, err
				}
			}
		}
	}
	for _, r := range m.Records {
		for _, f := range r.Fields {
			if f.Type != define.List || seen["list "+f.Item] {
				continue
			}
			seen["list "+f.Item] = true
			it := item{Name: f.Item, Fields: f.Of}
			if f.From != "" {
				it.Prefix = shapes[r.Source].Field(f.From).Item
			}
			m.Items = append(m.Items, it)
		}
	}
	return m, nil
}

// number adds the constants of one list of fields.
func (m *model) number(prefix string, fields []define.Field, seen map[string]bool) error {
	var c constants
	for _, f := range fields {
		name := constant(prefix, f.Name)
		if seen[name] {
			return fmt.Errorf("two fields are called %s in Go: rename one of them", name)
		}
		seen[name] = true
		c.Names += ", " + name
		c.Values += fmt.Sprintf(", %d", f.Number)
	}
	m.Numbers = append(m.Numbers, constants{strings.TrimPrefix(c.Names, ", "), strings.TrimPrefix(c.Values, ", ")})
	return nil
}

// constant is the Go name of a field's number: OrderNet, and OrderDate for
// order_date of order, which says its entity itself.
func constant(prefix, field string) string {
	return prefix + strings.TrimPrefix(define.Camel(field), prefix)
}

func header(s define.Record) []define.Field {
	var out []define.Field
	for _, f := range s.Fields {
		if f.Type != define.List {
			out = append(out, f)
		}
	}
	return out
}

func parts(s define.Record) []define.Field {
	var out []define.Field
	for _, f := range s.Fields {
		if f.Type == define.List {
			out = append(out, f)
		}
	}
	return out
}

var functions = template.FuncMap{
	"camel":    define.Camel,
	"constant": constant,
	"header":   header,
	"parts":    parts,
	"own":      func(r define.Record) []define.Field { return r.Fields[r.Own:] },
	"goType":   goType,
	"kind":     kind,
	"copied":   copied,
	"fallible": fallible,
	"copy":     copyCall,
	"phases":   phases,
	"column":   column,
	"nested":   nestedColumn,
	"head":     headColumn,
	"blank":    blank,
	"lower":    func(s string) string { return strings.ToLower(s[:1]) + define.Camel(s)[1:] },
	"dict":     dict,
	"title": func(source string) string { // of a shape's name; "" of none
		if source == "" {
			return ""
		}
		return define.Camel(source)
	},
}

// Counts says whether a whole number or a time is copied.
func (m *model) Counts() bool {
	counts := func(fields []define.Field) bool {
		return slices.ContainsFunc(copied(fields), func(f define.Field) bool { return f.Type == define.Long || f.Type == define.Micros })
	}
	return slices.ContainsFunc(m.Records, func(r define.Record) bool { return counts(r.Fields) }) ||
		slices.ContainsFunc(m.Items, func(i item) bool { return counts(i.Fields) })
}

// dict hands several values to a template.
func dict(pairs ...any) map[string]any {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return m
}

// goType is the type of a record's field in Go.
func goType(f define.Field) string {
	switch f.Type {
	case define.Decimal:
		return "Decimal" // nil is NULL
	case define.Strings:
		return "[]string"
	case define.List:
		return "[]" + f.Item
	}
	t := map[define.Type]string{
		define.String: "string", define.Boolean: "bool", define.Int: "int32", define.Long: "int64", define.Bytes: "[]byte",
		define.Date: "int32", define.Micros: "int64", define.Millis: "int64",
	}[f.Type]
	if f.Null {
		t = "*" + t
	}
	return t
}

// kind is the constant of a shape's field.
func kind(f define.Field) string {
	return map[define.Type]string{
		define.String: "change.String", define.Boolean: "change.Bool", define.Long: "change.Int",
		define.BigDecimal: "change.Decimal", define.Date: "change.Date", define.Micros: "change.Timestamp",
	}[f.Type]
}

// phases are the words of a header's field of that name.
func phases(s define.Record) []string {
	if f := s.Field("phase"); f != nil {
		return f.Words
	}
	return nil
}

// copied are the fields that are copied from one source row.
func copied(fields []define.Field) []define.Field {
	var out []define.Field
	for _, f := range fields {
		if f.From != "" && f.Type != define.List {
			out = append(out, f)
		}
	}
	return out
}

// fallible are those whose copy can fail, the others cannot.
func fallible(fields []define.Field, want bool) []define.Field {
	var out []define.Field
	for _, f := range fields {
		if (f.Type == define.Decimal) == want {
			out = append(out, f)
		}
	}
	return out
}

// copyCall is the expression of the copied value.
func copyCall(f define.Field, prefix string) string {
	value := "row.Field(" + constant(prefix, f.From) + ")"
	switch f.Type {
	case define.String:
		if !f.Null {
			return value + ".Text()"
		}
		return "textOf(" + value + ")"
	case define.Boolean:
		return "boolOf(" + value + ")"
	case define.Date:
		return "dateOf(" + value + ")"
	case define.Decimal:
		return "DecimalOf(" + value + ")"
	default: // long, timestamp-micros
		return "intOf(" + value + ", " + map[define.Type]string{define.Long: "change.Int", define.Micros: "change.Timestamp"}[f.Type] + ")"
	}
}

// blank is the statement's value of a field that Avro's default gives, "" where
// it is Go's zero.
func blank(f define.Field) string {
	switch f.Default {
	case "", "null", "[]", `""`, "0", "false":
		return ""
	}
	return f.Default
}
