package projection

import (
	"fmt"
	"slices"
	"strings"

	"syncline/schemas/change"
)

// Field is one wanted field.
type Field struct {
	// Path leads to the field, with dots through records and nullable records:
	// "op", "source.lsn", "after.unit_price". A path that ends at a record
	// ("after") tells only whether it is there. The empty path is the whole
	// value, for schemas that are no record.
	Path string
	// Default is used where the writer's schema lacks the field; nil is
	// change.Missing.
	Default *change.Value
	// Absent reads the field as if the writer's schema did not have it.
	Absent bool
}

// Limits bound what one record may cost. The zero value of each is its default.
type Limits struct {
	MaxBytes int // of a record; default 1 MiB
	MaxDepth int // of records, arrays, maps and chosen union branches in each other; default 64, at most 256
	MaxItems int // of one array or map; default 65,536
}

const (
	defaultMaxBytes = 1 << 20
	defaultMaxDepth = 64
	defaultMaxItems = 1 << 16

	// hardMaxDepth keeps the decoder's own stack small: some 300 bytes a level.
	hardMaxDepth = 256
	// maxRecordBytes keeps offsets and widths far from overflow.
	maxRecordBytes = 1 << 30
	maxWanted      = 4096
)

func (l *Limits) settle() error {
	for _, x := range []struct {
		name       string
		value      *int
		deflt, top int
	}{
		{"MaxBytes", &l.MaxBytes, defaultMaxBytes, maxRecordBytes},
		{"MaxDepth", &l.MaxDepth, defaultMaxDepth, hardMaxDepth},
		{"MaxItems", &l.MaxItems, defaultMaxItems, maxRecordBytes},
	} {
		if *x.value == 0 {
			*x.value = x.deflt
		}
		if *x.value < 0 || *x.value > x.top {
			return fmt.Errorf("projection limit %s is %d, allowed are 1 to %d", x.name, *x.value, x.top)
		}
	}
	return nil
}

// Plan decodes the wanted fields of records of one writer's schema. It is
// immutable and safe for concurrent use.
type Plan struct {
	ops       []op
	where     []string // the place in the schema of each op
	steps     []step
	stepWhere []string
	table     []int32 // starts of union branches; nothing for a branch without code
	slots     []int32 // lists of outputs that become Null together
	symbols   [][]byte
	template  []change.Value // what each output is if nothing sets it
	preset    []int32        // the outputs that not every record sets
	start     int32
	limits    Limits

	placeholder *placeholder

	root   *node
	wanted []Field
}

// Compile makes a plan out of the text of the writer's schema and the fields
// that are wanted. A field that the schema lacks is no error: it gets its
// default. An error wraps ErrSchema or ErrWanted and names the path.
func Compile(writerSchema string, want []Field, limits Limits) (*Plan, error) {
	s, err := Parse(writerSchema)
	if err != nil {
		return nil, err
	}
	return s.Compile(want, limits)
}

func compile(root *node, want []Field, limits Limits) (*Plan, error) {
	tree, err := wantTree(want)
	if err != nil {
		return nil, err
	}
	p := &Plan{limits: limits, placeholder: defaultPlaceholder, root: root, wanted: make([]Field, len(want)), template: make([]change.Value, len(want))}
	for i, f := range want {
		p.wanted[i] = cloneField(f)
		p.template[i] = change.Value{Kind: change.Missing}
		if f.Default != nil {
			p.template[i] = f.Default.Clone()
		}
	}
	b := &builder{plan: p, skips: make(map[*node]int32)}
	for i, f := range want {
		if f.Absent {
			b.preset = append(b.preset, int32(i)) //nolint:gosec // at most maxWanted
		}
	}
	if err := b.build(root, tree); err != nil {
		return nil, err
	}
	slices.Sort(b.preset)
	p.preset = slices.Compact(b.preset)
	return p, nil
}

// Fields returns the wanted fields in the order of the outputs.
func (p *Plan) Fields() []Field {
	list := make([]Field, len(p.wanted))
	for i, f := range p.wanted {
		list[i] = cloneField(f)
	}
	return list
}

func cloneField(f Field) Field {
	if f.Default != nil {
		v := f.Default.Clone()
		f.Default = &v
	}
	return f
}

// Has reports whether the writer's schema has the field at path, wanted or not.
func (p *Plan) Has(path string) bool {
	if path == "" {
		return true
	}
	return find(p.root, strings.Split(path, ".")) != nil
}

// WriterDefault returns the default that the writer's schema gives to wanted
// field i, read like a value on the wire. It is false if the schema lacks the
// field, gives no default, or gives one that is not of the field's type.
// It is for checks of a catalog: decoding never uses it.
func (p *Plan) WriterDefault(i int) (change.Value, bool) {
	if i < 0 || i >= len(p.wanted) || p.wanted[i].Path == "" {
		return change.Value{}, false
	}
	f := find(p.root, strings.Split(p.wanted[i].Path, "."))
	if f == nil || !f.hasDefault {
		return change.Value{}, false
	}
	return f.defaultValue(p.limits)
}

// find looks for a path and takes the first union branch that has it.
func find(t *node, path []string) *field {
	switch t.kind {
	case tUnion:
		for _, b := range t.branches {
			if f := find(b, path); f != nil {
				return f
			}
		}
	case tRecord:
		f := t.field(path[0])
		if f == nil || len(path) == 1 {
			return f
		}
		return find(f.typ, path[1:])
	}
	return nil
}

// wants is a node of the tree of wanted paths.
type wants struct {
	path     string
	slots    []int32 // outputs for this very path
	children map[string]*wants
}

func wantTree(want []Field) (*wants, error) {
	if len(want) > maxWanted {
		return nil, fmt.Errorf("%w: %d fields are wanted at once, at most %d can be", ErrWanted, len(want), maxWanted)
	}
	root := &wants{}
	for i, f := range want {
		at := root
		if f.Absent {
			continue
		}
		if f.Path != "" {
			segments := strings.Split(f.Path, ".")
			if len(segments) > maxSchemaDepth {
				return nil, fmt.Errorf("%w: path %q has more than %d parts", ErrWanted, f.Path, maxSchemaDepth)
			}
			for j, s := range segments {
				if s == "" {
					return nil, fmt.Errorf("%w: path %q has an empty part", ErrWanted, f.Path)
				}
				if at.children == nil {
					at.children = make(map[string]*wants)
				}
				next := at.children[s]
				if next == nil {
					next = &wants{path: strings.Join(segments[:j+1], ".")}
					at.children[s] = next
				}
				at = next
			}
		}
		at.slots = append(at.slots, int32(i))
	}
	return root, nil
}

// all returns the outputs of w and everything below it, in ascending order.
func (w *wants) all() []int32 {
	list := slices.Clone(w.slots)
	for _, c := range w.children {
		list = append(list, c.all()...)
	}
	slices.Sort(list)
	return list
}
