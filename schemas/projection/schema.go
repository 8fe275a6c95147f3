package projection

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Limits on the schema itself. They are far above what a table of a source
// system needs and keep Compile in milliseconds.
const (
	maxSchemaText  = 256 << 10
	maxSchemaField = 2000
	maxSchemaDepth = 32
	maxBranches    = 256
)

type typeKind uint8

const (
	tNull typeKind = iota
	tBoolean
	tInt
	tLong
	tFloat
	tDouble
	tString
	tBytes
	tFixed
	tEnum
	tRecord
	tArray
	tMap
	tUnion
)

var primitives = map[string]typeKind{
	"null": tNull, "boolean": tBoolean, "int": tInt, "long": tLong,
	"float": tFloat, "double": tDouble, "string": tString, "bytes": tBytes,
}

// node is one type of the schema. Named types are shared, so the graph may
// have cycles.
type node struct {
	kind     typeKind
	name     string // of record, enum and fixed: the full name
	fields   []field
	items    *node // of array and map
	branches []*node
	symbols  [][]byte
	size     int64 // of fixed
	meaning  meaning
	scale    int32  // of meaning decimal
	misfit   string // why the meaning cannot be had; an error if the field is wanted

	width    int64 // bytes of every value, or variable
	widthSet bool
	finite   bool // some value of it has an end
}

type field struct {
	name       string
	typ        *node
	hasDefault bool
	deflt      any // as encoding/json gives it, numbers as json.Number
}

func (t *node) field(name string) *field {
	for i := range t.fields {
		if t.fields[i].name == name {
			return &t.fields[i]
		}
	}
	return nil
}

func (t *node) String() string {
	switch t.kind {
	case tUnion:
		names := make([]string, len(t.branches))
		for i, b := range t.branches {
			names[i] = b.String()
		}
		return "union of " + strings.Join(names, ", ")
	case tRecord:
		return "record " + t.name
	case tEnum:
		return "enum " + t.name
	case tFixed:
		return "fixed " + t.name
	case tArray:
		return "array"
	case tMap:
		return "map"
	default:
		for name, k := range primitives {
			if k == t.kind {
				return name
			}
		}
		return "unknown type"
	}
}

type schemaParser struct {
	named  map[string]*node
	fields int
}

func parseSchema(text string) (*node, error) {
	if len(text) > maxSchemaText {
		return nil, fmt.Errorf("%w: its text has %d bytes, at most %d are read", ErrSchema, len(text), maxSchemaText)
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var doc any
	if err := dec.Decode(&doc); err != nil {
		// A registry stores the schema "string" either as JSON text or bare.
		if kind, ok := primitives[strings.TrimSpace(text)]; ok {
			return finish(&node{kind: kind})
		}
		return nil, fmt.Errorf("%w: reading it as JSON: %w", ErrSchema, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("%w: text follows the end of the JSON document", ErrSchema)
	}
	p := &schemaParser{named: make(map[string]*node)}
	root, err := p.parse(doc, "", "the root", 1)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSchema, err)
	}
	return finish(root)
}

// finish computes what needs the whole graph.
func finish(root *node) (*node, error) {
	markFinite(root)
	if !root.finite {
		return nil, fmt.Errorf("%w: %v always holds another of itself, so no record of it has an end", ErrSchema, root)
	}
	widthOf(root, map[*node]bool{})
	return root, nil
}

// parse reads one type. where names the place in messages.
func (p *schemaParser) parse(doc any, space, where string, depth int) (*node, error) {
	if depth > maxSchemaDepth {
		return nil, fmt.Errorf("%s: types are nested deeper than %d", where, maxSchemaDepth)
	}
	switch v := doc.(type) {
	case string:
		return p.reference(v, space, where)
	case []any:
		return p.union(v, space, where, depth)
	case map[string]any:
		return p.object(v, space, where, depth)
	default:
		return nil, fmt.Errorf("%s: a type is a name, an object or a list, not %s", where, jsonKind(doc))
	}
}

func (p *schemaParser) reference(name, space, where string) (*node, error) {
	if kind, ok := primitives[name]; ok {
		return &node{kind: kind}, nil
	}
	if !strings.Contains(name, ".") && space != "" {
		if t := p.named[space+"."+name]; t != nil {
			return t, nil
		}
	}
	if t := p.named[name]; t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("%s: type %q is not defined before it is used", where, name)
}

func (p *schemaParser) union(list []any, space, where string, depth int) (*node, error) {
	if len(list) == 0 || len(list) > maxBranches {
		return nil, fmt.Errorf("%s: a union has 1 to %d branches, not %d", where, maxBranches, len(list))
	}
	t := &node{kind: tUnion, branches: make([]*node, len(list))}
	seen := make(map[string]bool, len(list))
	for i, doc := range list {
		b, err := p.parse(doc, space, where, depth+1)
		if err != nil {
			return nil, err
		}
		if b.kind == tUnion {
			return nil, fmt.Errorf("%s: a union holds another union directly", where)
		}
		if seen[b.String()] {
			return nil, fmt.Errorf("%s: a union holds %v twice", where, b)
		}
		seen[b.String()] = true
		t.branches[i] = b
	}
	return t, nil
}

func (p *schemaParser) object(obj map[string]any, space, where string, depth int) (*node, error) {
	name, ok := obj["type"].(string)
	if !ok {
		inner, has := obj["type"]
		if !has {
			return nil, fmt.Errorf("%s: an object has no \"type\"", where)
		}
		// {"type": {"type": "int"}}: some writers wrap once more.
		t, err := p.parse(inner, space, where, depth+1)
		if err == nil && t.kind <= tBytes && t.meaning == plain {
			t.setMeaning(obj)
		}
		return t, err
	}
	t := &node{}
	switch name {
	case "record", "error":
		t.kind = tRecord
	case "enum":
		t.kind = tEnum
	case "fixed":
		t.kind = tFixed
	case "array", "map":
		t.kind = tArray
		key := "items"
		if name == "map" {
			t.kind, key = tMap, "values"
		}
		inner, has := obj[key]
		if !has {
			return nil, fmt.Errorf("%s: the %s has no %q", where, name, key)
		}
		items, err := p.parse(inner, space, where+"[]", depth+1)
		if err != nil {
			return nil, err
		}
		t.items = items
		return t, nil
	default:
		ref, err := p.reference(name, space, where)
		if err == nil && ref.kind <= tBytes {
			ref.setMeaning(obj) // a primitive's node is this place's own
		}
		return ref, err
	}

	full, inner, err := fullName(obj, space)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	if _, clash := primitives[full]; clash || p.named[full] != nil {
		return nil, fmt.Errorf("%s: type %q is defined twice", where, full)
	}
	t.name = full
	p.named[full] = t
	switch t.kind {
	case tEnum:
		err = t.readSymbols(obj)
	case tFixed:
		err = t.readSize(obj)
	default:
		err = p.record(t, obj, inner, where, depth)
	}
	if err != nil {
		return nil, err
	}
	t.setMeaning(obj)
	return t, nil
}

func (p *schemaParser) record(t *node, obj map[string]any, space, where string, depth int) error {
	list, ok := obj["fields"].([]any)
	if !ok {
		return fmt.Errorf("%s: record %s has no list of fields", where, t.name)
	}
	if p.fields += len(list); p.fields > maxSchemaField {
		return fmt.Errorf("%s: more than %d fields", where, maxSchemaField)
	}
	seen := make(map[string]bool, len(list))
	t.fields = make([]field, 0, len(list))
	for i, doc := range list {
		fo, ok := doc.(map[string]any)
		if !ok {
			return fmt.Errorf("%s: field %d of record %s is not an object", where, i, t.name)
		}
		name, _ := fo["name"].(string)
		if name == "" || strings.Contains(name, ".") {
			return fmt.Errorf("%s: field %d of record %s has no usable name: %q", where, i, t.name, name)
		}
		if seen[name] {
			return fmt.Errorf("%s: record %s has two fields %q", where, t.name, name)
		}
		seen[name] = true
		f := field{name: name}
		f.deflt, f.hasDefault = fo["default"]
		ft, has := fo["type"]
		if !has {
			return fmt.Errorf("%s: field %q of record %s has no \"type\"", where, name, t.name)
		}
		var err error
		if f.typ, err = p.parse(ft, space, t.name+"."+name, depth+1); err != nil {
			return err
		}
		t.fields = append(t.fields, f)
	}
	return nil
}

// fullName gives a named type's full name and the namespace that it hands to
// the types inside it (Avro specification, "Names").
func fullName(obj map[string]any, space string) (full, inner string, err error) {
	name, _ := obj["name"].(string)
	if name == "" {
		return "", "", fmt.Errorf("a %v has no name", obj["type"])
	}
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		return strings.TrimPrefix(name, "."), name[:i], nil
	}
	if ns, has := obj["namespace"]; has {
		s, ok := ns.(string)
		if !ok {
			return "", "", fmt.Errorf("the namespace of %q is not a string", name)
		}
		space = s
	}
	if space == "" {
		return name, "", nil
	}
	return space + "." + name, space, nil
}

func (t *node) readSymbols(obj map[string]any) error {
	list, ok := obj["symbols"].([]any)
	if !ok {
		return fmt.Errorf("enum %s has no list of symbols", t.name)
	}
	seen := make(map[string]bool, len(list))
	for _, doc := range list {
		s, ok := doc.(string)
		if !ok || s == "" || seen[s] {
			return fmt.Errorf("enum %s has a symbol that is empty, no string, or there twice: %v", t.name, doc)
		}
		seen[s] = true
		t.symbols = append(t.symbols, []byte(s))
	}
	return nil
}

func (t *node) readSize(obj map[string]any) error {
	num, _ := obj["size"].(json.Number)
	n, err := num.Int64()
	if err != nil || n < 0 || n > maxWidth {
		return fmt.Errorf("fixed %s has no size between 0 and %d: %v", t.name, int64(maxWidth), obj["size"])
	}
	t.size = n
	return nil
}

func jsonKind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case json.Number:
		return "a number"
	default:
		return fmt.Sprintf("%T", v)
	}
}
