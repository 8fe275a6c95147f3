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
// columns that the table lacks, and what it and the columns mean. has are the
// comments of the columns that it has. Nothing is ever taken
// away, so an older version beside this one works on.
func (l layout) alter(database, comment string, has map[string]string) string {
	var changes []string
	if comment != l.doc {
		changes = append(changes, "MODIFY COMMENT "+quote(l.doc))
	}
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
	pending, err := w.pending(ctx, s)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(pending)) {
		if err := w.conn.Exec(ctx, pending[name]); err != nil {
			return fmt.Errorf("table %s: %w", name, err)
		}
		w.opts.Logger.InfoContext(ctx, "brought a table up to date", "database", w.opts.Database, "table", name)
	}
	return nil
}

// pending is what has to be done to tables, by table.
func (w *Writer) pending(ctx context.Context, s schema) (map[string]string, error) {
	tables, err := w.strings(ctx, "SELECT name, comment FROM system.tables WHERE database = '"+w.opts.Database+"'")
	if err != nil {
		return nil, err
	}
	comments := map[string]string{}
	has := map[string]map[string]string{}
	for _, r := range tables {
		comments[r[0]], has[r[0]] = r[1], map[string]string{}
	}
	columns, err := w.strings(ctx, "SELECT table, name, comment FROM system.columns WHERE database = '"+w.opts.Database+"'")
	if err != nil {
		return nil, err
	}
	for _, r := range columns {
		if has[r[0]] != nil { // not of a table that came in between
			has[r[0]][r[1]] = r[2]
		}
	}
	pending := map[string]string{}
	for name, l := range s.tables {
		statement := l.create(w.opts.Database)
		if columns, ok := has[name]; ok {
			statement = l.alter(w.opts.Database, comments[name], columns)
		}
		if statement != "" {
			pending[name] = statement
		}
	}
	return pending, nil
}

// quote writes a text as a literal of SQL.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
