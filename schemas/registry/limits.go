package registry

import (
	"fmt"
	"strings"

	"github.com/twmb/avro"
)

// namedTypes maps full names to definitions in one schema tree.
type namedTypes map[string]*avro.SchemaNode

// fullName is the name of a record, enum or fixed with its namespace.
func fullName(n *avro.SchemaNode) string {
	if strings.Contains(n.Name, ".") || n.Namespace == "" {
		return n.Name
	}
	return n.Namespace + "." + n.Name
}

func shortName(full string) string { return full[strings.LastIndexByte(full, '.')+1:] }

func isNamed(n *avro.SchemaNode) bool {
	switch n.Type {
	case "record", "error", "enum", "fixed":
		return true
	}
	return false
}

// children lists the types directly within n: fields, items, values, branches.
func children(n *avro.SchemaNode) []*avro.SchemaNode {
	var out []*avro.SchemaNode
	switch n.Type {
	case "record", "error":
		for i := range n.Fields {
			out = append(out, &n.Fields[i].Type)
		}
	case "array":
		if n.Items != nil {
			out = append(out, n.Items)
		}
	case "map":
		if n.Values != nil {
			out = append(out, n.Values)
		}
	case "union":
		for i := range n.Branches {
			out = append(out, &n.Branches[i])
		}
	}
	return out
}

// collectNamed finds all definitions under n.
func collectNamed(n *avro.SchemaNode, into namedTypes) {
	if isNamed(n) {
		into[fullName(n)] = n
	}
	for _, c := range children(n) {
		collectNamed(c, into)
	}
}

// resolve follows a reference to its definition; ns is the namespace that
// encloses n. Other nodes come back as they are.
func (t namedTypes) resolve(n *avro.SchemaNode, ns string) *avro.SchemaNode {
	switch n.Type {
	case "null", "boolean", "int", "long", "float", "double", "bytes", "string",
		"record", "error", "enum", "fixed", "array", "map", "union":
		return n
	}
	if def, ok := t[strings.TrimPrefix(n.Type, ".")]; ok && strings.Contains(n.Type, ".") {
		return def
	}
	if def, ok := t[ns+"."+n.Type]; ok && ns != "" {
		return def
	}
	if def, ok := t[n.Type]; ok {
		return def
	}
	return n
}

// enclosing is the namespace that holds inside n.
func enclosing(n *avro.SchemaNode, ns string) string {
	if !isNamed(n) {
		return ns
	}
	full := fullName(n)
	if i := strings.LastIndexByte(full, '.'); i >= 0 {
		return full[:i]
	}
	return ""
}

// limitWalk measures a schema tree, references followed.
type limitWalk struct {
	types     namedTypes
	fields    int
	depth     map[*avro.SchemaNode]int // of finished definitions
	open      map[*avro.SchemaNode]bool
	recursive bool
}

// checkLimits enforces the limits on a parsed schema. The parser has its own
// bounds on nesting, so plain recursion over the tree is safe here.
func checkLimits(root *avro.SchemaNode) error {
	w := &limitWalk{types: namedTypes{}, depth: map[*avro.SchemaNode]int{}, open: map[*avro.SchemaNode]bool{}}
	collectNamed(root, w.types)
	depth, err := w.walk(root, "", 1)
	if err != nil {
		return err
	}
	if depth > MaxDepth {
		return fmt.Errorf("types nest %d deep, at most %d are allowed", depth, MaxDepth)
	}
	if w.recursive {
		return w.checkRecursive()
	}
	return nil
}

// walk returns how deep the types under n nest, a reference back to an open
// definition counting nothing; level, counted from the root, ends it early.
func (w *limitWalk) walk(n *avro.SchemaNode, ns string, level int) (int, error) {
	def := w.types.resolve(n, ns)
	if d, done := w.depth[def]; done {
		return d, nil
	}
	if w.open[def] {
		w.recursive = true
		return 0, nil
	}
	if level > MaxDepth {
		return 0, fmt.Errorf("types nest more than %d deep", MaxDepth)
	}
	w.open[def] = true
	defer delete(w.open, def)
	if err := w.checkNames(def); err != nil {
		return 0, err
	}
	inner, deepest := enclosing(def, ns), 0
	for _, c := range children(def) {
		d, err := w.walk(c, inner, level+1)
		if err != nil {
			return 0, err
		}
		deepest = max(deepest, d)
	}
	w.depth[def] = deepest + 1
	return deepest + 1, nil
}

func (w *limitWalk) checkNames(n *avro.SchemaNode) error {
	if isNamed(n) {
		for _, name := range append([]string{fullName(n)}, n.Aliases...) {
			if len(name) > MaxNameBytes {
				return fmt.Errorf("name %q has %d bytes, at most %d are allowed", clip(name), len(name), MaxNameBytes)
			}
		}
	}
	w.fields += len(n.Fields)
	if w.fields > MaxFields {
		return fmt.Errorf("more than %d fields", MaxFields)
	}
	for i := range n.Fields {
		f := &n.Fields[i]
		for _, name := range append([]string{f.Name}, f.Aliases...) {
			if len(name) > MaxNameBytes {
				return fmt.Errorf("field name %q has %d bytes, at most %d are allowed", clip(name), len(name), MaxNameBytes)
			}
		}
	}
	return nil
}

// checkRecursive holds a self-referring schema to a shape in which each type
// can be matched by few others. Two rings of types that all share one short
// name would otherwise be compared to a depth of the product of their sizes.
func (w *limitWalk) checkRecursive() error {
	if len(w.types) > maxRecursiveTypes {
		return fmt.Errorf("a recursive schema of %d named types, at most %d are allowed", len(w.types), maxRecursiveTypes)
	}
	short, aliases := map[string]string{}, 0
	for full, n := range w.types {
		if other, twice := short[shortName(full)]; twice {
			return fmt.Errorf("a recursive schema with two types of the same short name, %q and %q", min(full, other), max(full, other))
		}
		short[shortName(full)] = full
		aliases += len(n.Aliases)
	}
	if aliases > maxRecursiveAliases {
		return fmt.Errorf("a recursive schema with %d type aliases, at most %d are allowed", aliases, maxRecursiveAliases)
	}
	return nil
}
