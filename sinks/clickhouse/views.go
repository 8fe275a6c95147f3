package clickhouse

import (
	"context"
	_ "embed" // views.sql
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strings"
)

//go:embed views.sql
var viewsText string

// view is one view of views.sql.
type view struct {
	name, doc string
	columns   map[string]string // what its own columns mean; the others mean what they mean where they come from
	query     string
	from      []string // words of the query: among them the tables and views it reads
}

// schema is everything that the database is to have.
type schema struct {
	tables map[string]layout
	views  []view
	hash   string // of all of it: another one and the views are made anew
}

var (
	createView = regexp.MustCompile(`(?s)^CREATE OR REPLACE VIEW (\w+) AS\n(.+)$`)
	ownColumns = regexp.MustCompile(`\{\w+\}`)
	words      = regexp.MustCompile(`\w+`)
)

// newSchema reads views.sql: statements with a comment above each that says what
// a row of the view is, and in lines that begin with @ what its columns mean.
func newSchema() (schema, error) {
	s := schema{tables: map[string]layout{}}
	h := fnv.New64a()
	for _, t := range targets() {
		l := t.layout()
		s.tables[l.name] = l
		fmt.Fprintln(h, l.create(""))
	}
	for statement := range strings.SplitSeq(viewsText, ";\n") {
		if i := strings.LastIndex(statement, "\n\n"); i >= 0 {
			statement = statement[i:] // what stands above an empty line is about the file
		}
		if statement = strings.TrimSpace(statement); statement == "" {
			continue
		}
		v, err := s.view(statement)
		if err != nil {
			return s, fmt.Errorf("views.sql: %w", err)
		}
		s.views = append(s.views, v)
		fmt.Fprintln(h, v) // prints maps in order
	}
	s.hash = fmt.Sprintf("%016x", h.Sum64())
	return s, nil
}

func (s schema) view(statement string) (view, error) {
	v := view{columns: map[string]string{}}
	var doc []string
	for strings.HasPrefix(statement, "--") {
		line, rest, _ := strings.Cut(statement, "\n")
		line, statement = strings.TrimSpace(line[2:]), rest
		if own, ok := strings.CutPrefix(line, "@"); ok {
			name, meaning, _ := strings.Cut(own, " ")
			v.columns[name] = meaning
		} else {
			doc = append(doc, line)
		}
	}
	m := createView.FindStringSubmatch(statement)
	if m == nil {
		return v, fmt.Errorf("%.60q is not CREATE OR REPLACE VIEW name AS, a new line and the query, without an empty line", statement)
	}
	v.name, v.doc = m[1], strings.Join(doc, " ")
	var err error
	v.query = ownColumns.ReplaceAllStringFunc(m[2], func(of string) string {
		l := s.tables["canonical_"+strings.Trim(of, "{}")]
		if l.own == nil {
			err = fmt.Errorf("view %s: %s names no entity", v.name, of)
		}
		return strings.Join(l.own, ", ")
	})
	v.from = words.FindAllString(v.query, -1)
	return v, err
}

// meaning of a column of a table or view, "" where nobody says it: its own, else
// that of the first table or view that has one for a column of the name.
func (s schema) meaning(of, column string) string {
	if l, ok := s.tables[of]; ok {
		for _, d := range l.columns {
			if d.name == column {
				return d.doc
			}
		}
		return ""
	}
	i := slices.IndexFunc(s.views, func(v view) bool { return v.name == of })
	if i < 0 {
		return ""
	}
	v := s.views[i]
	if doc := v.columns[column]; doc != "" {
		return doc
	}
	for _, from := range v.from {
		if from == v.name {
			continue
		}
		if doc := s.meaning(from, column); doc != "" {
			return doc
		}
	}
	return ""
}

// comment of the view. The hash says whether it is to be made anew: it stands in
// the view itself, so that whoever replaces the view takes it away.
func (s schema) comment(v view) string { return v.doc + " (definition " + s.hash + ")" }

// applyViews makes the views anew that are not by this schema. One that shows a
// column which ours does not have is by a later version and stays as it is.
func (w *Writer) applyViews(ctx context.Context, s schema) error {
	has, err := w.strings(ctx, "SELECT name, comment FROM system.tables WHERE engine = 'View' AND database = '"+w.opts.Database+"'")
	if err != nil {
		return err
	}
	there := map[string]string{}
	for _, r := range has {
		there[r[0]] = r[1]
	}
	for _, v := range s.views {
		comment, ok := there[v.name]
		if comment == s.comment(v) {
			continue
		}
		if err := w.applyView(ctx, s, v, ok); err != nil {
			return fmt.Errorf("view %s: %w", v.name, err)
		}
	}
	return nil
}

func (w *Writer) applyView(ctx context.Context, s schema, v view, there bool) error {
	columns, err := w.strings(ctx, "DESCRIBE TABLE ("+v.query+")")
	if err != nil {
		return err
	}
	if there {
		now, err := w.strings(ctx, "SELECT name FROM system.columns WHERE table = '"+v.name+"' AND database = '"+w.opts.Database+"'")
		if err != nil {
			return err
		}
		for _, r := range now {
			if !slices.ContainsFunc(columns, func(c []string) bool { return c[0] == r[0] }) {
				w.opts.Logger.WarnContext(ctx, "left a view of a later version as it is", "view", v.name, "column", r[0])
				return nil
			}
		}
	}
	var list []string
	for _, c := range columns {
		list = append(list, definition{name: c[0], kind: c[1], doc: s.meaning(v.name, c[0])}.String())
	}
	w.opts.Logger.InfoContext(ctx, "making a view", "database", w.opts.Database, "view", v.name)
	return w.conn.Exec(ctx, "CREATE OR REPLACE VIEW "+w.opts.Database+"."+v.name+"\n(\n    "+strings.Join(list, ",\n    ")+"\n)\nAS "+v.query+"\nCOMMENT "+quote(s.comment(v)))
}
