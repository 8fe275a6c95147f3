package registry

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/avro"
)

// Policy is how much a [Server] asks of a new version beyond Avro's rules.
type Policy string

const (
	// PolicyStandard asks for nothing more: connectors register as they would
	// with Confluent's registry. It is the default, because a connector whose
	// registration is refused stops, and what it then cannot write is lost to
	// everybody, also to those who could have read it.
	PolicyStandard Policy = "standard"
	// PolicyStrict also refuses whatever [CheckRelease] finds against the
	// versions that the level compares with. Level NONE switches it off too.
	// It is for subjects that people release, not connectors.
	PolicyStrict Policy = "strict"
)

// Rule names one kind of change that Avro's rules let through although the
// same bytes then mean something else, or mean it only by chance.
type Rule string

// The rules of [CheckRelease].
const (
	RuleDecimal   Rule = "decimal"   // precision or scale changed: amounts off by powers of ten
	RuleTimeUnit  Rule = "time-unit" // unit of a time changed: times off by a thousand
	RuleLogical   Rule = "logical"   // logical type added, dropped or replaced
	RuleNamespace Rule = "namespace" // a named type moved: readers with generated types lose it
	RuleAlias     Rule = "alias"     // a type alias that fits more than one type
	RuleUnion     Rule = "union"     // a value that fits more than one branch
)

// Finding is one change that must not be released.
type Finding struct {
	Rule    Rule
	Path    string // dotted, from the root record's fields on; "(root)" for the root
	Message string // what changed, and why it is refused
}

// String is the finding on one line.
func (f Finding) String() string {
	return fmt.Sprintf("at %s: %s [%s]", f.Path, f.Message, f.Rule)
}

// CheckRelease compares two versions of a schema for changes of meaning that
// pass every compatibility checker: decimal precision and scale, the unit of
// a time, a logical type (both Avro's logicalType and the connect.name of
// Kafka Connect and Debezium), the namespace of a named type, and type aliases
// or union branches in the new version that fit more than one thing. Findings
// on type aliases come first, the others in the order of the new schema's
// fields. Errors wrap [ErrInvalidSchema].
func CheckRelease(oldSchema, newSchema string) ([]Finding, error) {
	before, err := parseSchema(oldSchema)
	if err != nil {
		return nil, fmt.Errorf("reading the old schema: %w", err)
	}
	after, err := parseSchema(newSchema)
	if err != nil {
		return nil, fmt.Errorf("reading the new schema: %w", err)
	}
	return compareRelease(before.root, after.root), nil
}

// release is one comparison under way.
type release struct {
	before, after namedTypes
	seen          map[[2]*avro.SchemaNode]bool
	checked       map[*avro.SchemaNode]bool // definitions of the new schema already looked at for themselves
	findings      []Finding
}

// typeAt is a type with what it needs to be judged in its place.
type typeAt struct {
	node *avro.SchemaNode
	ns   string
	// props are the properties of the field that holds the type, where it is
	// a field's type: some writers put logicalType there.
	props map[string]any
}

func compareRelease(before, after *avro.SchemaNode) []Finding {
	r := &release{
		before: namedTypes{}, after: namedTypes{},
		seen: map[[2]*avro.SchemaNode]bool{}, checked: map[*avro.SchemaNode]bool{},
	}
	collectNamed(before, r.before)
	collectNamed(after, r.after)
	r.typeAliases()
	r.compare(typeAt{node: before}, typeAt{node: after}, "")
	return r.findings
}

func (r *release) add(rule Rule, path, format string, args ...any) {
	if path == "" {
		path = "(root)"
	}
	r.findings = append(r.findings, Finding{Rule: rule, Path: path, Message: fmt.Sprintf(format, args...)})
}

// compare judges the change of one type. Both schemas have passed the limits,
// so the recursion is as shallow as they are.
func (r *release) compare(o, n typeAt, path string) {
	o.node, n.node = r.before.resolve(o.node, o.ns), r.after.resolve(n.node, n.ns)
	r.lookAt(n.node, n.ns, path)
	if o.node.Type == "union" || n.node.Type == "union" {
		r.compareUnions(o, n, path)
		return
	}
	pair := [2]*avro.SchemaNode{o.node, n.node}
	if isNamed(o.node) && isNamed(n.node) {
		if r.seen[pair] {
			return
		}
		r.seen[pair] = true
		from, to := fullName(o.node), fullName(n.node)
		if from != to && shortName(from) == shortName(to) {
			r.add(RuleNamespace, path, "type %s became %s: readers that know it by its full name lose it", from, to)
		}
	}
	r.compareMeaning(o, n, path)
	inOld, inNew := enclosing(o.node, o.ns), enclosing(n.node, n.ns)
	switch {
	case isRecord(o.node) && isRecord(n.node):
		for i := range n.node.Fields {
			f := &n.node.Fields[i]
			if was := oldField(o.node, f); was != nil {
				r.compare(typeAt{&was.Type, inOld, was.Props}, typeAt{&f.Type, inNew, f.Props}, join(path, f.Name))
			} else {
				r.lookInto(&f.Type, inNew, join(path, f.Name))
			}
		}
	case o.node.Type == "array" && n.node.Type == "array":
		r.compare(typeAt{node: o.node.Items, ns: inOld}, typeAt{node: n.node.Items, ns: inNew}, path+"[]")
	case o.node.Type == "map" && n.node.Type == "map":
		r.compare(typeAt{node: o.node.Values, ns: inOld}, typeAt{node: n.node.Values, ns: inNew}, path+"{}")
	}
}

func isRecord(n *avro.SchemaNode) bool { return n.Type == "record" || n.Type == "error" }

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// oldField finds what f was: by name, else by its first alias that fits.
func oldField(was *avro.SchemaNode, f *avro.SchemaField) *avro.SchemaField {
	for _, name := range append([]string{f.Name}, f.Aliases...) {
		for i := range was.Fields {
			if was.Fields[i].Name == name {
				return &was.Fields[i]
			}
		}
	}
	return nil
}

// compareUnions pairs each old branch with the new one that reads its data. A
// type that is no union is a union of itself.
func (r *release) compareUnions(o, n typeAt, path string) {
	news := branches(n)
	olds := branches(o)
	for _, ob := range olds {
		ob.node = r.before.resolve(ob.node, ob.ns)
		if nb, ok := r.match(ob, news, len(olds) == 1 || onlyValue(olds, ob)); ok {
			r.compare(ob, nb, path)
		}
		r.promotions(ob, news, path)
	}
	for _, nb := range news {
		r.lookInto(nb.node, nb.ns, path)
	}
}

func branches(t typeAt) []typeAt {
	if t.node.Type != "union" {
		return []typeAt{t}
	}
	out := make([]typeAt, len(t.node.Branches))
	for i := range t.node.Branches {
		out[i] = typeAt{&t.node.Branches[i], t.ns, t.props}
	}
	return out
}

// onlyValue reports whether b is the one branch that is not null.
func onlyValue(of []typeAt, b typeAt) bool {
	return b.node.Type != "null" && len(of) == 2 && slices.ContainsFunc(of, func(t typeAt) bool { return t.node.Type == "null" })
}

// match finds the branch among news that stands for the old one: same full
// name, else same short name or alias, else same unnamed type, else (alone)
// the only branch that has a value.
func (r *release) match(old typeAt, news []typeAt, alone bool) (typeAt, bool) {
	var byShort, byType, value []typeAt
	for _, nb := range news {
		def := r.after.resolve(nb.node, nb.ns)
		if def.Type != "null" {
			value = append(value, nb)
		}
		switch {
		case isNamed(def) && isNamed(old.node):
			switch {
			case fullName(def) == fullName(old.node):
				return nb, true
			case shortName(fullName(def)) == shortName(fullName(old.node)), slices.Contains(qualified(def), fullName(old.node)):
				byShort = append(byShort, nb)
			}
		case def.Type == old.node.Type:
			byType = append(byType, nb)
		}
	}
	for _, found := range [][]typeAt{byShort, byType} {
		if len(found) > 0 {
			return found[0], true
		}
	}
	if alone && old.node.Type != "null" && len(value) == 1 && !isNamed(old.node) {
		return value[0], true
	}
	return typeAt{}, false
}

// qualified lists the aliases of a named type as full names.
func qualified(n *avro.SchemaNode) []string {
	ns := enclosing(n, "")
	out := make([]string, len(n.Aliases))
	for i, a := range n.Aliases {
		if !strings.Contains(a, ".") && ns != "" {
			a = ns + "." + a
		}
		out[i] = a
	}
	return out
}
