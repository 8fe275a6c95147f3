package catalog

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"syncline/processors/intake"
	"syncline/schemas/change"
	"syncline/schemas/projection"
)

// Newest gives the newest schema of a subject; ok is false where the registry
// has none.
type Newest func(ctx context.Context, subject string) (text string, ok bool, err error)

// Against holds the catalog against the newest value schema of every topic: each
// column is there or has a default, and a default equals the schema's own, for
// else the time of registration would decide what untouched rows show. unknown
// are the topics without a schema.
func (c *Catalog) Against(ctx context.Context, newest Newest) (problems Problems, unknown []string, err error) {
	l := &linter{c: c, tree: c.tree}
	sources, err := c.Sources()
	if err != nil {
		return nil, nil, err
	}
	for i, s := range sources {
		text, ok, err := newest(ctx, s.Topic+"-value")
		if err != nil {
			return nil, nil, fmt.Errorf("asking for the schema of %s: %w", s.Topic, err)
		}
		if !ok {
			unknown = append(unknown, s.Topic)
			continue
		}
		l.against(i, s, text)
	}
	slices.SortStableFunc(l.problems, func(a, b Problem) int { return a.Line - b.Line })
	return l.problems, unknown, nil
}

func (l *linter) against(i int, s *intake.Source, text string) {
	at := fmt.Sprintf("$.tables[%d]", i)
	plan, err := projection.Compile(text, s.Want(), projection.Limits{})
	if err != nil {
		l.add(at+".topic", "map other columns, or have the feed changed", "its schema cannot be read: %v", err)
		return
	}
	for n, f := range s.Want() {
		column, isColumn := strings.CutPrefix(f.Path, "after.")
		place := l.mappingOf(i, column)
		if place == "" {
			place = at
		}
		if !plan.Has(f.Path) {
			switch {
			case !isColumn:
				if required(f.Path) {
					l.add(at+".topic", "is this a topic of Debezium's PostgreSQL connector?", "the schema has no %s", f.Path)
				}
			case f.Default == nil:
				l.add(place, "correct the name, or give a default", "the newest schema has no column %q", column)
			}
			continue
		}
		own, has := plan.WriterDefault(n)
		if f.Default != nil && has && !own.IsNull() && !sameDefault(*f.Default, own) {
			l.add(place, "use the schema's default", "the default differs from that of the newest schema, which is %s", show(own))
		}
	}
}

// required tells what no change can be read without.
func required(path string) bool {
	return slices.Contains([]string{"op", "before", "after", "source.lsn"}, path) || strings.HasPrefix(path, "before.")
}

// mappingOf is the path of the mapping that uses a column.
func (l *linter) mappingOf(i int, column string) string {
	t := &l.c.Tables[i]
	for name, m := range t.Fields {
		if slices.Contains(m.columns(), column) {
			return fmt.Sprintf("$.tables[%d].fields.%s", i, name)
		}
	}
	return ""
}

func (m *Mapping) columns() []string {
	switch {
	case m.Path != "":
		return []string{m.Path}
	case m.Ref != nil:
		return []string{m.Ref.Path}
	case m.Map != nil:
		return []string{m.Map.Path}
	default:
		return m.Coalesce
	}
}

// sameDefault compares by text: a default is written in the catalog as text.
func sameDefault(a, b change.Value) bool { return show(a) == show(b) }

func show(v change.Value) string {
	t, err := intake.Text(v)
	if err != nil {
		return v.Kind.String()
	}
	return t
}
