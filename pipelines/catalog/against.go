package catalog

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"syncline/processors/intake"
	"syncline/schemas/canonical"
	"syncline/schemas/change"
	"syncline/schemas/projection"
)

// Newest gives the newest schema of a subject; ok is false where the registry
// has none.
type Newest func(ctx context.Context, subject string) (text string, ok bool, err error)

// Review is what Against has found.
type Review struct {
	Problems Problems // tables that would wait or show something else than their source
	Warnings Problems // what is read, and better changed at the source
	Unknown  []string // topics without a schema
}

// Against holds the catalog against the newest value schema of every topic: each
// column is there, or has a default, or is said to be gone; its values can become
// what it is mapped to; and a default equals the schema's own, for else the time
// of registration would decide what untouched rows show.
func (c *Catalog) Against(ctx context.Context, newest Newest) (Review, error) {
	l := &linter{c: c, tree: c.tree}
	var r Review
	sources, err := c.Sources()
	if err != nil {
		return r, err
	}
	for i, s := range sources {
		text, ok, err := newest(ctx, s.Topic+"-value")
		if err != nil {
			return r, fmt.Errorf("asking for the schema of %s: %w", s.Topic, err)
		}
		if !ok {
			r.Unknown = append(r.Unknown, s.Topic)
			continue
		}
		l.against(i, s, text)
	}
	byLine := func(a, b Problem) int { return a.Line - b.Line }
	slices.SortStableFunc(l.problems, byLine)
	slices.SortStableFunc(l.warnings, byLine)
	r.Problems, r.Warnings = l.problems, l.warnings
	return r, nil
}

func (l *linter) against(i int, s *intake.Source, text string) {
	at := fmt.Sprintf("$.tables[%d]", i)
	schema, err := projection.Parse(text)
	if err != nil {
		l.add(at+".topic", "have the feed changed", "its schema cannot be read: %v", err)
		return
	}
	place := func(column string) string {
		if p := l.mappingOf(i, column); p != "" {
			return p
		}
		return at
	}
	want := slices.Clone(s.Want())
	for _, m := range s.Misfits(schema) {
		want[s.Column(m.Column)].Absent = true
		if !slices.Contains(s.Gone, m.Column) {
			l.misfit(place(m.Column), m)
		}
	}
	plan, err := schema.Compile(want, projection.Limits{})
	if err != nil {
		l.add(at+".topic", "map other columns, or have the feed changed", "its schema cannot be read: %v", err)
		return
	}
	for n, f := range want {
		column, isColumn := strings.CutPrefix(f.Path, "after.")
		switch {
		case plan.Has(f.Path):
		case !isColumn && required(f.Path):
			l.add(at+".topic", "is this a topic of Debezium's PostgreSQL connector?", "the schema has no %s", f.Path)
			continue
		default:
			continue
		}
		own, has := plan.WriterDefault(n)
		if f.Default != nil && has && !own.IsNull() && !sameDefault(*f.Default, own) {
			l.add(place(column), "use the schema's default", "the default differs from that of the newest schema, which is %s", show(own))
		}
	}
	for _, column := range s.Inexact(schema) {
		l.warn(place(column), "use numeric there", "column %q is a floating-point number: amounts are taken as its shortest decimal, rounded to %d digits, and sums made at the source have lost cents already", column, canonical.DecimalScale)
	}
}

// misfit says what a table would wait for.
func (l *linter) misfit(place string, m intake.Misfit) {
	fix := "correct the name, give a default, or list the column under gone"
	switch {
	case m.Key:
		fix = "correct the name"
	case m.Likely != "":
		fix = fmt.Sprintf("is it %q now? Correct the name, give a default, or list the column under gone", m.Likely)
	}
	if m.Reason == intake.ReasonColumnGone {
		l.add(place, fix, "the newest schema has no column %q", m.Column)
		return
	}
	l.add(place, "map another column, or have the feed send it in another form", "column %q %s", m.Column, m.What)
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
	case m.Time != nil:
		return []string{m.Time.Path}
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
