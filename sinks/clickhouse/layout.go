package clickhouse

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// layout is what a table is to be like on the server.
type layout struct {
	name, doc string
	keep      keep
	columns   []definition
	own       []string // of an entity: the columns behind the envelope, lists left out
}

// definition is a column as the server knows it.
type definition struct{ name, kind, missing, doc string }

func (t table[R]) layout() layout {
	l := layout{name: t.to, doc: t.keep.doc, keep: t.keep}
	for _, c := range t.all("") {
		l.columns = append(l.columns, definition{c.name, c.kind, c.missing, c.doc})
	}
	if t.own != nil {
		for _, c := range t.own() {
			if !strings.Contains(c.name, ".") {
				l.own = append(l.own, c.name)
			}
		}
	}
	return l
}

func (d definition) String() string {
	s := "`" + d.name + "` " + d.kind
	if d.missing != "" {
		s += " DEFAULT " + d.missing
	}
	return s + " COMMENT " + quote(d.doc)
}

// create is the statement that makes the table.
//
// The deduplication window keeps the tokens of the last inserts; without it a
// MergeTree outside a cluster takes the same batch twice. Parts replaced by a
// merge are removed soon, as a flush twice a second makes many of them.
func (l layout) create(database string) string {
	var columns []string
	for _, d := range l.columns {
		columns = append(columns, "    "+d.String())
	}
	return "CREATE TABLE IF NOT EXISTS " + database + "." + l.name + "\n(\n" + strings.Join(columns, ",\n") + "\n)\n" +
		"ENGINE = " + l.keep.engine + "\nORDER BY (" + l.keep.order + ")\n" +
		"SETTINGS non_replicated_deduplication_window = 10000, old_parts_lifetime = 60\nCOMMENT " + quote(l.doc)
}

// alter is the statement that brings a table to the layout, "" if it is there:
// columns that the table lacks, and what the columns mean. Nothing is ever taken
// away, so an older version beside this one works on.
func (l layout) alter(database string, has map[string]string) string {
	var changes []string
	for _, d := range l.columns {
		doc, ok := has[d.name]
		switch {
		case !ok:
			changes = append(changes, "ADD COLUMN IF NOT EXISTS "+d.String())
		case doc != d.doc:
			changes = append(changes, "COMMENT COLUMN `"+d.name+"` "+quote(d.doc))
		}
	}
	if changes == nil {
		return ""
	}
	return "ALTER TABLE " + database + "." + l.name + "\n    " + strings.Join(changes, ",\n    ")
}

// reconcile brings every table to its layout. Two processes that do it at once
// do no harm: each statement has no effect where the other one's had.
func (w *Writer) reconcile(ctx context.Context, s schema) error {
	rows, err := w.strings(ctx, "SELECT table, name, comment FROM system.columns WHERE database = '"+w.opts.Database+"'")
	if err != nil {
		return err
	}
	has := map[string]map[string]string{}
	for _, r := range rows {
		if has[r[0]] == nil {
			has[r[0]] = map[string]string{}
		}
		has[r[0]][r[1]] = r[2]
	}
	for _, name := range slices.Sorted(maps.Keys(s.tables)) {
		l := s.tables[name]
		statement := l.create(w.opts.Database)
		if columns, ok := has[l.name]; ok {
			if statement = l.alter(w.opts.Database, columns); statement == "" {
				continue
			}
		}
		if err := w.conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("table %s: %w", l.name, err)
		}
		w.opts.Logger.InfoContext(ctx, "brought a table up to date", "database", w.opts.Database, "table", l.name)
	}
	return nil
}

// quote writes a text as a literal of SQL.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
