package clickhouse

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Finding is one thing that Check looked at.
type Finding struct {
	Subject string
	OK      bool
	Warning bool   // worth knowing, no reason to stop
	Text    string // what is
	Fix     string // what to do, "" where OK
}

// oldest is the first server version that the tables and inserts are made
// for.
const oldestMajor, oldestMinor = 24, 8

// mostParts is the number of parts of one table from which on merges do not keep
// up and reading gets slow; servers refuse inserts at 3,000.
const mostParts = 300

// Check looks at the server for doctor: version, database, tables, deduplication
// windows, parts. It changes nothing. The error is of asking itself: a server
// that cannot be reached is an error, an old one a finding.
func (w *Writer) Check(ctx context.Context) ([]Finding, error) {
	rows, err := w.strings(ctx, "SELECT version()")
	if err != nil {
		return nil, err
	}
	out := []Finding{version(rows[0][0])}
	have, err := w.strings(ctx, "SELECT name, create_table_query FROM system.tables WHERE database = '"+w.opts.Database+"'")
	if err != nil {
		return nil, err
	}
	tables := map[string]string{}
	for _, r := range have {
		tables[r[0]] = r[1]
	}
	out = append(out, w.schema(tables)...)
	grown, err := w.columnsThere(ctx)
	if err != nil {
		return nil, err
	}
	out = append(out, grown)
	owner, err := w.owner(ctx)
	if err != nil {
		return nil, err
	}
	out = append(append(out, owner), w.left(tables)...)
	parts, err := w.strings(ctx, "SELECT table, toString(count()) FROM system.parts WHERE active AND database = '"+w.opts.Database+"' GROUP BY table HAVING count() > "+strconv.Itoa(mostParts)+" ORDER BY table")
	if err != nil {
		return nil, err
	}
	f := Finding{Subject: "parts", OK: true, Text: fmt.Sprintf("no table has more than %d", mostParts)}
	for _, r := range parts {
		f = Finding{Subject: "parts", Text: fmt.Sprintf("table %s has %s", r[0], r[1]), Fix: "see why merges do not keep up: disk, memory, SYSTEM STOP MERGES"}
	}
	return append(out, f), nil
}

func version(text string) Finding {
	f := Finding{Subject: "version", Text: text, OK: true}
	major, rest, _ := strings.Cut(text, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(minor)
	if errA != nil || errB != nil || a < oldestMajor || a == oldestMajor && b < oldestMinor {
		f.OK, f.Fix = false, fmt.Sprintf("use ClickHouse %d.%d or later", oldestMajor, oldestMinor)
	}
	return f
}

// schema judges the tables by the statements that made them.
func (w *Writer) schema(tables map[string]string) []Finding {
	var missing, records, windowless []string
	for _, t := range targets() {
		text, ok := tables[t.name()]
		switch {
		case !ok:
			missing, records = append(missing, t.name()), append(records, t.of())
		case !strings.Contains(text, "non_replicated_deduplication_window") && !strings.Contains(text, "ENGINE = Replicated") && !strings.Contains(text, "ENGINE = Shared"):
			windowless = append(windowless, t.name())
		}
	}
	out := []Finding{{Subject: "tables", OK: true, Text: fmt.Sprintf("database %s has every table", w.opts.Database)}, {Subject: "deduplication", OK: true, Text: "every table remembers tokens"}}
	if len(missing) > 0 {
		out[0] = Finding{Subject: "tables", Text: fmt.Sprintf("database %s lacks %s", w.opts.Database, strings.Join(missing, ", ")), Fix: mends(records...)}
	}
	if len(windowless) > 0 {
		out[1] = Finding{Subject: "deduplication", Text: "no window on " + strings.Join(windowless, ", "), Fix: "ALTER TABLE … MODIFY SETTING non_replicated_deduplication_window = 10000"}
	}
	return out
}

// left names what rebuilds have left, of the statements that made the tables.
func (w *Writer) left(tables map[string]string) (out []Finding) {
	for _, t := range targets() {
		for name := range tables {
			if strings.HasPrefix(name, t.name()+besideName) {
				out = append(out, Finding{Subject: "rebuild of " + t.name(), OK: true, Warning: true, Text: "under way, or cut off: table " + name + " stands beside it", Fix: "if it was cut off: syncline rebuild " + t.of() + " begins anew and takes it away"})
			}
		}
		if strings.Contains(tables[t.name()], holdName) {
			out = append(out, Finding{Subject: "hold of " + t.name(), OK: true, Warning: true, Text: "a rebuild keeps the sink waiting", Fix: "it ends by itself, a minute after a rebuild that was cut off"})
		}
	}
	return out
}

// owner tells whether the rows are those of our own topics.
func (w *Writer) owner(ctx context.Context) (Finding, error) {
	foreign, err := w.foreign(ctx)
	if err != nil {
		return Finding{}, err
	}
	if foreign != "" {
		return Finding{Subject: "owner", Text: foreign + ": " + oneOwner, Fix: oneOwnerFix}, nil
	}
	return Finding{Subject: "owner", OK: true, Text: "every row is of this prefix's topics"}, nil
}

// columnsThere tells whether the tables have every column that the sink writes.
func (w *Writer) columnsThere(ctx context.Context) (Finding, error) {
	rows, err := w.strings(ctx, "SELECT table, name FROM system.columns WHERE database = '"+w.opts.Database+"'")
	if err != nil {
		return Finding{}, err
	}
	there, tables := map[string]bool{}, map[string]bool{}
	for _, r := range rows {
		there[r[0]+"."+r[1]], tables[r[0]] = true, true
	}
	var missing, records []string
	for _, topic := range slices.Sorted(maps.Keys(w.tables)) {
		s := w.tables[topic]
		before := len(missing)
		for _, c := range s.ins.columnNames() {
			if tables[s.name] && !there[s.name+"."+c] {
				missing = append(missing, s.name+"."+c)
			}
		}
		if len(missing) > before {
			records = append(records, s.record)
		}
	}
	if len(missing) > 0 {
		return Finding{Subject: "columns", Text: "missing: " + strings.Join(missing, ", "), Fix: mends(records...)}, nil
	}
	return Finding{Subject: "columns", OK: true, Text: "every column that is written is there"}, nil
}

// strings returns the rows of a query of text columns.
func (w *Writer) strings(ctx context.Context, query string) ([][]string, error) {
	rows, err := w.conn.Query(ctx, query)
	if err != nil {
		return nil, w.fault("checking", w.opts.Database, "", err)
	}
	defer func() { _ = rows.Close() }() // Err below tells what matters
	var out [][]string
	for rows.Next() {
		row := make([]string, len(rows.Columns()))
		dest := make([]any, len(row))
		for i := range row {
			dest[i] = &row[i]
		}
		if err := rows.Scan(dest...); err != nil {
			return nil, w.fault("checking", w.opts.Database, "", err)
		}
		out = append(out, row)
	}
	return out, w.fault("checking", w.opts.Database, "", rows.Err())
}

// CheckKeys tells whether tables have rows of keys that they must have: those of
// records that the sink has written, by topic. It is asked of a sample, so what it
// finds is true, and what it does not find may be missing still.
func (w *Writer) CheckKeys(ctx context.Context, keys map[string][]string) (Finding, error) {
	var lacking, records []string
	for _, record := range Refills() {
		topic := w.opts.Topic(record)
		if len(keys[topic]) == 0 {
			continue
		}
		var list []string
		for _, key := range keys[topic] {
			entity, account, _ := strings.Cut(key, "/")
			list = append(list, "("+quote(account)+", "+quote(entity)+")")
		}
		name := w.tables[topic].name
		rows, err := w.strings(ctx, "SELECT toString(uniqExact(account_id, entity_id)) FROM "+w.opts.Database+"."+name+" WHERE (account_id, entity_id) IN ("+strings.Join(list, ", ")+")")
		if err != nil {
			return Finding{}, err
		}
		have, err := strconv.Atoi(rows[0][0])
		if err != nil {
			return Finding{}, w.fault("checking", name, "", err)
		}
		if have < len(list) {
			lacking, records = append(lacking, fmt.Sprintf("%s has no row of %d of %d keys that were looked for", name, len(list)-have, len(list))), append(records, record)
		}
	}
	if len(lacking) > 0 {
		return Finding{Subject: "rows", Text: strings.Join(lacking, "; "), Fix: mends(records...)}, nil
	}
	return Finding{Subject: "rows", OK: true, Text: "every key that was looked for has its row"}, nil
}
