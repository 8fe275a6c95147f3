package registry

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/avro"
)

// meaning is what a type says about its values beyond their Avro type.
type meaning struct {
	logical string // Avro's logicalType
	connect string // Connect's schema name, of types that are not named
	decimal string // "precision, scale" of a decimal, either spelling
}

func meaningOf(t typeAt) meaning {
	m := meaning{logical: t.node.LogicalType}
	if m.logical == "" {
		m.logical = text(t.node.Props["logicalType"])
	}
	if m.logical == "" && t.node.Type != "union" {
		m.logical = text(t.props["logicalType"])
	}
	if !isRecord(t.node) {
		// A record's connect.name repeats its full name.
		m.connect = text(t.node.Props["connect.name"])
	}
	params, _ := t.node.Props["connect.parameters"].(map[string]any)
	precision, scale := text(params["connect.decimal.precision"]), text(params["scale"])
	switch {
	case m.logical == "decimal" && t.node.LogicalType == "decimal":
		m.decimal = fmt.Sprintf("precision %d, scale %d", t.node.Precision, t.node.Scale)
	case m.logical == "decimal" && t.props["precision"] != nil:
		m.decimal = fmt.Sprintf("precision %s, scale %s", text(t.props["precision"]), or(text(t.props["scale"]), "0"))
	case precision != "" || scale != "":
		m.decimal = fmt.Sprintf("precision %s, scale %s", or(precision, "any"), or(scale, "0"))
	}
	return m
}

func text(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// timeUnit gives the unit in which a type counts time, and what kind of time
// it counts; both empty for others. The names are Avro's (spec, Logical
// Types), Kafka Connect's and Debezium's (io.debezium.time).
func timeUnit(name string) (kind, unit string) {
	switch name {
	case "timestamp-millis", "local-timestamp-millis", "org.apache.kafka.connect.data.Timestamp", "io.debezium.time.Timestamp":
		return "timestamp", "milliseconds"
	case "timestamp-micros", "local-timestamp-micros", "io.debezium.time.MicroTimestamp":
		return "timestamp", "microseconds"
	case "timestamp-nanos", "local-timestamp-nanos", "io.debezium.time.NanoTimestamp":
		return "timestamp", "nanoseconds"
	case "time-millis", "org.apache.kafka.connect.data.Time", "io.debezium.time.Time":
		return "time of day", "milliseconds"
	case "time-micros", "io.debezium.time.MicroTime":
		return "time of day", "microseconds"
	case "io.debezium.time.NanoTime":
		return "time of day", "nanoseconds"
	case "io.debezium.time.MicroDuration":
		return "duration", "microseconds"
	case "io.debezium.time.NanoDuration":
		return "duration", "nanoseconds"
	case "date", "org.apache.kafka.connect.data.Date", "io.debezium.time.Date":
		return "date", "days"
	}
	return "", ""
}

// compareMeaning reports each change of meaning once, by its gravest rule.
func (r *release) compareMeaning(o, n typeAt, path string) {
	was, is := meaningOf(o), meaningOf(n)
	if was.decimal != "" && is.decimal != "" && was.decimal != is.decimal {
		r.add(RuleDecimal, path, "decimal of %s became %s: the same bytes are another amount", was.decimal, is.decimal)
	}
	reported := false
	for _, c := range []struct{ attr, was, is string }{
		{"logicalType", was.logical, is.logical},
		{"connect.name", was.connect, is.connect},
	} {
		if c.was == c.is {
			continue
		}
		kindWas, unitWas := timeUnit(c.was)
		kindIs, unitIs := timeUnit(c.is)
		switch {
		case kindWas != "" && kindWas == kindIs && unitWas != unitIs:
			if !reported {
				r.add(RuleTimeUnit, path, "%s in %s became one in %s (%s %s to %s): the same number is another time",
					kindWas, unitWas, unitIs, c.attr, c.was, c.is)
			}
			reported = true
		case c.is == "":
			r.add(RuleLogical, path, "%s %s was dropped: readers see the bare value", c.attr, clip(c.was))
		case c.was == "":
			r.add(RuleLogical, path, "%s %s was added: old bare values are read as if they had it", c.attr, clip(c.is))
		default:
			r.add(RuleLogical, path, "%s %s became %s: the same value is read as another kind", c.attr, clip(c.was), clip(c.is))
		}
	}
}

// lookInto judges new types that have no counterpart, by themselves.
func (r *release) lookInto(n *avro.SchemaNode, ns, path string) {
	n = r.after.resolve(n, ns)
	if r.checked[n] {
		return
	}
	r.lookAt(n, ns, path)
	inner := enclosing(n, ns)
	if isRecord(n) {
		for i := range n.Fields {
			r.lookInto(&n.Fields[i].Type, inner, join(path, n.Fields[i].Name))
		}
		return
	}
	for _, c := range children(n) {
		r.lookInto(c, inner, path)
	}
}

// lookAt judges one type of the new schema by itself, once.
func (r *release) lookAt(n *avro.SchemaNode, ns, path string) {
	if r.checked[n] {
		return
	}
	r.checked[n] = true
	if n.Type == "union" {
		r.twinBranches(n, ns, path)
	}
}

// typeAliases finds aliases of named types that name another type, or two.
// Those of fields need no rule: the parser refuses them within a schema, and
// the compatibility check between two.
func (r *release) typeAliases() {
	owner := map[string]string{}
	for _, full := range slices.Sorted(maps.Keys(r.after)) {
		for _, a := range qualified(r.after[full]) {
			other, taken := owner[a]
			switch {
			case a != full && r.after[a] != nil:
				r.add(RuleAlias, full, "type alias %s is also the name of a type", clip(a))
			case taken && other != full:
				r.add(RuleAlias, full, "type alias %s also stands on type %s", clip(a), clip(other))
			default:
				owner[a] = full
			}
		}
	}
}

// twinBranches finds two branches that answer to one short name.
func (r *release) twinBranches(n *avro.SchemaNode, ns, path string) {
	owner := map[string]string{}
	for i := range n.Branches {
		def := r.after.resolve(&n.Branches[i], ns)
		if !isNamed(def) {
			continue
		}
		full := fullName(def)
		names := []string{shortName(full)}
		for _, a := range def.Aliases {
			names = append(names, shortName(a))
		}
		for _, short := range names {
			if other, taken := owner[short]; taken && other != full {
				r.add(RuleUnion, path, "branches %s and %s both answer to the name %s: which one reads a value depends on the reader", clip(other), clip(full), clip(short))
				continue
			}
			owner[short] = full
		}
	}
}

// promotions reports an old branch that has no branch of its own type any
// more while several would take it: the first in order does, so that a mere
// change of order changes values.
func (r *release) promotions(old typeAt, news []typeAt, path string) {
	wider := map[string][]string{
		"int":    {"long", "float", "double"},
		"long":   {"float", "double"},
		"float":  {"double"},
		"string": {"bytes"},
		"bytes":  {"string"},
	}[old.node.Type]
	var fits []string
	for _, nb := range news {
		if nb.node.Type == old.node.Type {
			return
		}
		if slices.Contains(wider, nb.node.Type) {
			fits = append(fits, nb.node.Type)
		}
	}
	if len(fits) > 1 {
		r.add(RuleUnion, path, "old %s values fit the branches %s alike", old.node.Type, strings.Join(fits, " and "))
	}
}
