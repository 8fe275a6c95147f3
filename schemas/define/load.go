package define

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Load reads *.avsc and shape/*.avsc, shapes first, each in order of names.
// What is wrong with them is one error that names file and field of every
// mistake.
func Load(files fs.FS) ([]Record, error) {
	var out []Record
	var errs []error
	for _, pattern := range []string{"shape/*.avsc", "*.avsc"} {
		names, err := fs.Glob(files, pattern)
		if err != nil {
			return nil, err
		}
		if len(names) == 0 {
			return nil, fmt.Errorf("no file %s", pattern)
		}
		for _, name := range names {
			r, err := load(files, name)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
				continue
			}
			out = append(out, r)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return out, check(out)
}

// file and the types below are the JSON of an .avsc, as far as it is ours.
type file struct {
	Type, Name, Namespace, Doc, Shape string
	Fields                            []field
}

type field struct {
	Name, Doc, From, Ref, Group, Part string
	Type, Default                     json.RawMessage
	Class                             Class
	Number                            *int
	Retired, Few                      bool
	Words                             []string
}

type logical struct {
	Type             string
	LogicalType      string
	Precision, Scale int
	Items            json.RawMessage
}

type item struct {
	Type, Name, Doc string
	Fields          []field
}

func strict(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields() // a property that is misspelled would say nothing
	if err := d.Decode(into); err != nil {
		return err
	}
	if d.More() {
		return errors.New("something follows the definition")
	}
	return nil
}

func load(files fs.FS, name string) (Record, error) {
	text, err := fs.ReadFile(files, name)
	if err != nil {
		return Record{}, err
	}
	var f file
	if err := strict(text, &f); err != nil {
		return Record{}, err
	}
	r := Record{Name: strings.TrimSuffix(path.Base(name), ".avsc"), Title: f.Name, Doc: f.Doc, Source: f.Shape, Shape: path.Dir(name) == "shape"}
	switch {
	case f.Type != "record":
		return r, fmt.Errorf("a %q; every definition is a record", f.Type)
	case Camel(r.Name) != f.Name:
		return r, fmt.Errorf("the record is called %q; by the file's name it is %q", f.Name, Camel(r.Name))
	case r.Shape != (f.Namespace == namespaceShape) || !r.Shape && f.Namespace != namespaceEntity && f.Namespace != namespaceOps:
		return r, fmt.Errorf("namespace %q: shapes are in %s, entities in %s, what is told about the work itself in %s", f.Namespace, namespaceShape, namespaceEntity, namespaceOps)
	case f.Doc == "":
		return r, errors.New("doc is missing: say what one record is")
	}
	if f.Namespace == namespaceEntity {
		r.Own = len(envelope)
	}
	r.Fields, err = fields(f.Fields, r.Shape, false)
	return r, err
}

const (
	namespaceShape  = "syncline.shape"
	namespaceEntity = "syncline.canonical"
	namespaceOps    = "syncline.ops"
)

func fields(in []field, shape, nested bool) ([]Field, error) {
	var out []Field
	var errs []error
	for _, f := range in {
		g, err := f.field(shape, nested)
		if err != nil {
			errs = append(errs, fmt.Errorf("field %s: %w", f.Name, err))
		}
		if named(out, f.Name) != nil {
			errs = append(errs, fmt.Errorf("field %s: there are two", f.Name))
		}
		out = append(out, g)
	}
	return out, errors.Join(errs...)
}

func (f field) field(shape, nested bool) (Field, error) {
	g := Field{Name: f.Name, Doc: f.Doc, From: f.From, Ref: f.Ref, Part: f.Part, Words: f.Words, Group: f.Group, Class: f.Class, Retired: f.Retired, Few: f.Few, Number: -1, Default: string(f.Default)}
	if !word(f.Name) {
		return g, errors.New("a name is lower case letters, digits and single underscores, beginning with a letter")
	}
	if f.Doc == "" {
		return g, errors.New("doc is missing: say meaning and unit")
	}
	if err := g.setType(f.Type, shape, nested); err != nil {
		return g, err
	}
	if g.Class == "" {
		g.Class = Internal
	}
	if shape {
		if g.Group == "" {
			g.Group = "all"
		}
		if f.Number != nil {
			g.Number = *f.Number
		}
	}
	return g, f.places(shape, &g)
}

// places says which properties belong to which family.
func (f field) places(shape bool, g *Field) error {
	switch {
	case !slices.Contains([]Class{Public, Internal, Personal, Bank}, g.Class):
		return fmt.Errorf("class %q: public, internal, personal or bank", g.Class)
	case shape && (f.From != "" || f.Few || f.Default != nil):
		return errors.New("from, few and default are properties of records")
	case !shape && (f.Number != nil || f.Retired || f.Ref != "" || f.Words != nil || f.Group != ""):
		return errors.New("number, retired, ref, words and group are properties of shapes")
	case shape && g.Type == List && (f.Number != nil || f.Retired):
		return errors.New("a part has no number: rows of it are stored under its name")
	case (shape && g.Type == List) != (f.Part != ""):
		return errors.New("part is a property of every list of a shape, and of nothing else: the part whose rows it stands for")
	case shape && g.Type != List && g.Number < 0:
		return errors.New("number is missing: the next one that was never used")
	case g.Type == List && g.Null:
		return errors.New("a list is never null, only empty")
	case !shape && g.Null && g.Default != "null":
		return errors.New(`"default": null is missing: without it readers of older records stop`)
	case !shape && !g.Null && slices.Contains([]Type{Bytes, Decimal, Date, Micros}, g.Type):
		return errors.New("bytes, amounts, dates and times may be unknown: add null to the type")
	case f.Retired && !g.Null:
		return errors.New("a retired field is NULL: add null to its type")
	case (f.Ref != "" || f.Words != nil || f.Few) && g.Type != String:
		return errors.New("ref, words and few are properties of strings")
	case f.Few && g.Null:
		return errors.New("few: a dictionary column is not null")
	}
	return nil
}

// setType reads a type: a name, a logical type, a list, or one of them with
// null before it.
func (g *Field) setType(raw json.RawMessage, shape, nested bool) error {
	raw = bytes.TrimSpace(raw)
	if len(raw) > 0 && raw[0] == '[' {
		var union []json.RawMessage
		if err := json.Unmarshal(raw, &union); err != nil {
			return err
		}
		if len(union) != 2 || string(union[0]) != `"null"` {
			return errors.New(`a union is ["null", type]`)
		}
		g.Null, raw = true, union[1]
	}
	if len(raw) > 0 && raw[0] == '"' {
		var name Type
		if err := json.Unmarshal(raw, &name); err != nil {
			return err
		}
		g.Type = name
		return g.allowed(shape, nested, []Type{String, Boolean, Int, Long, Bytes}, []Type{String, Boolean, Long})
	}
	var l logical
	if err := strict(raw, &l); err != nil {
		return fmt.Errorf("type: %w", err)
	}
	if l.Type == "array" {
		return g.setList(l.Items, shape, nested)
	}
	g.Type = Type(l.LogicalType)
	under := map[Type]string{Decimal: "bytes", BigDecimal: "bytes", Date: "int", Micros: "long", Millis: "long"}
	switch {
	case under[g.Type] == "" || under[g.Type] != l.Type:
		return fmt.Errorf("type: logical type %q over %q is not one of ours", l.LogicalType, l.Type)
	case g.Type == Decimal && (l.Precision != 38 || l.Scale != 9):
		return errors.New("type: a decimal has precision 38 and scale 9")
	}
	return g.allowed(shape, nested, []Type{Decimal, Date, Micros, Millis}, []Type{BigDecimal, Date, Micros})
}

func (g *Field) allowed(shape, nested bool, record, inShape []Type) error {
	if shape {
		record = inShape
	}
	if !slices.Contains(record, g.Type) {
		return fmt.Errorf("type %q: here it is one of %v", g.Type, record)
	}
	if nested && !shape && (g.Type == Bytes || g.Type == Millis) {
		return fmt.Errorf("type %q: not in the items of a list", g.Type)
	}
	return nil
}

func (g *Field) setList(raw json.RawMessage, shape, nested bool) error {
	if nested {
		return errors.New("type: a list inside a list")
	}
	if string(bytes.TrimSpace(raw)) == `"string"` {
		g.Type = Strings
		if shape {
			return errors.New("type: a part is a list of records")
		}
		return nil
	}
	var of item
	if err := strict(raw, &of); err != nil {
		return fmt.Errorf("items: %w", err)
	}
	if of.Type != "record" || of.Name == "" {
		return errors.New("items: a list is of strings or of records with a name")
	}
	var err error
	g.Type, g.Item = List, of.Name
	g.Of, err = fields(of.Fields, shape, true)
	return err
}

func word(s string) bool {
	for part := range strings.SplitSeq(s, "_") {
		if part == "" {
			return false
		}
		for _, c := range []byte(part) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
				return false
			}
		}
	}
	return s[0] >= 'a' && s[0] <= 'z'
}

var initialisms = map[string]string{"id": "ID", "ids": "IDs", "crm": "CRM", "erp": "ERP", "vat": "VAT", "iban": "IBAN", "url": "URL", "lsn": "LSN"}

// Camel is the Go name of a field: order_number is OrderNumber, crm_ids CRMIDs.
func Camel(name string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(name, "_") {
		if full, ok := initialisms[part]; ok {
			b.WriteString(full)
		} else {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String()
}
