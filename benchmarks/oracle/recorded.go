package oracle

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
)

//go:embed recorded.sql
var recordedSQL string

// namespace is that of all entity ids.
const namespace = "6ba7b811-9dad-11d1-80b4-00c04fd430c8"

// statement is one named query of recorded.sql.
type statement struct {
	name string
	keep bool // a table for later statements, else the rows of a view
	sql  string
}

// statements splits recorded.sql.
func statements(text, database string) ([]statement, error) {
	var out []statement
	for _, part := range strings.Split("\n"+text, "\n-- ")[1:] {
		kind, rest, _ := strings.Cut(part, ": ")
		if kind != "table" && kind != "view" {
			continue // a comment
		}
		name, body, _ := strings.Cut(rest, "\n")
		out = append(out, statement{name: strings.TrimSpace(name), keep: kind == "table", sql: body})
	}
	for i := range out {
		body, ok := strings.CutSuffix(strings.TrimSpace(out[i].sql), ";")
		if !ok || strings.TrimSpace(body) == "" {
			return nil, fmt.Errorf("recorded.sql: statement %s does not end with a semicolon", out[i].name)
		}
		out[i].sql = strings.ReplaceAll(body, "scratch.", quote(database)+".")
	}
	return out, nil
}

// columnsOf returns the columns of a table's rows, sorted; of an empty table
// the ones the queries need.
func columnsOf(rows []map[string]*string) []string {
	if len(rows) == 0 {
		return []string{"code", "id", "party"}
	}
	return slices.Sorted(maps.Keys(rows[0]))
}

// entityID turns "crm/party/5" into the entity's id.
func entityID(name string) (string, error) {
	if strings.Count(name, "/") != 2 {
		return "", fmt.Errorf("%q is not of the form instance/entity/id", name)
	}
	space, err := uuid.Parse(namespace)
	if err != nil {
		return "", fmt.Errorf("parsing namespace: %w", err)
	}
	return uuid.NewSHA1(space, []byte("syncline:"+name)).String(), nil
}

// ExpectRecorded computes what every view must show once a recorded feed has
// run through: rows by SQL over final.json.gz in a scratch database of conn
// (dropped at the end), times and counts by a fold of changes.jsonl.gz, which was
// loaded so many times, one load behind the other. It
// fails if the fold does not give the final rows exactly.
func ExpectRecorded(ctx context.Context, conn driver.Conn, dir string, loads int) (Expected, error) {
	final, err := readFinal(dir)
	if err != nil {
		return nil, err
	}
	f, err := foldRecording(dir, loads)
	if err != nil {
		return nil, fmt.Errorf("folding %s: %w", dir, err)
	}
	if diffs := f.checkFinal(final); len(diffs) > 0 {
		return nil, fmt.Errorf("the changes of %s do not fold to its final rows: %d differences, the first: %s", dir, len(diffs), diffs[0])
	}
	born, err := f.born()
	if err != nil {
		return nil, fmt.Errorf("telling since when documents are there: %w", err)
	}
	out, err := finalViews(ctx, conn, final, born)
	if err != nil {
		return nil, err
	}
	t := timing{fold: f, rows: out}
	if err := t.add(); err != nil {
		return nil, fmt.Errorf("adding times: %w", err)
	}
	out["kpi_daily"] = dailyKPIs(out["deals"])
	out["feed_health"] = feedRows(f)
	return out, out.Check()
}

// born tells of every living header row that documents are joined by since when
// it is there, in microseconds.
func (f *folded) born() ([]map[string]*string, error) {
	var rows []map[string]*string
	for _, table := range []string{"crm.sale_sale", "subs.sale_subscription", "erp.account_invoice"} {
		for _, id := range slices.Sorted(maps.Keys(f.tables[table])) {
			at := strconv.FormatInt(f.tables[table][id].created().micros, 10)
			if at == "0" {
				return nil, fmt.Errorf("%s %s: no time of creation is known", table, id)
			}
			rows = append(rows, map[string]*string{"of": &table, "id": &id, "at": &at})
		}
	}
	return rows, nil
}

// finalViews runs recorded.sql over the final rows and born.
func finalViews(ctx context.Context, conn driver.Conn, final finalRows, born []map[string]*string) (_ Expected, err error) {
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, fmt.Errorf("naming scratch database: %w", err)
	}
	database := "syncline_oracle_" + hex.EncodeToString(random[:])
	if err := conn.Exec(ctx, "CREATE DATABASE "+quote(database)); err != nil {
		return nil, fmt.Errorf("creating scratch database: %w", err)
	}
	defer func() {
		// The caller may have been cancelled; the database must go all the same.
		if e := conn.Exec(context.WithoutCancel(ctx), "DROP DATABASE "+quote(database)); e != nil && err == nil {
			err = fmt.Errorf("dropping scratch database: %w", e)
		}
	}()
	for _, table := range slices.Sorted(maps.Keys(final)) {
		if err := load(ctx, conn, database, table, final[table]); err != nil {
			return nil, err
		}
	}
	if err := load(ctx, conn, database, "born", born); err != nil {
		return nil, err
	}
	list, err := statements(recordedSQL, database)
	if err != nil {
		return nil, err
	}
	nulls := withNulls(ctx)
	out := Expected{}
	for _, s := range list {
		if s.keep {
			if err := conn.Exec(nulls, "CREATE TABLE "+quote(database)+"."+quote(s.name)+" ENGINE = Memory AS "+s.sql); err != nil {
				return nil, fmt.Errorf("running recorded.sql, table %s: %w", s.name, err)
			}
			continue
		}
		rows, err := query(nulls, conn, s.sql)
		if err != nil {
			return nil, fmt.Errorf("running recorded.sql, view %s: %w", s.name, err)
		}
		view, ok := ViewNamed(s.name)
		if !ok {
			return nil, fmt.Errorf("recorded.sql names view %s, which does not exist", s.name)
		}
		for _, r := range rows {
			if err := named(view, r); err != nil {
				return nil, fmt.Errorf("running recorded.sql, view %s: %w", s.name, err)
			}
		}
		out[s.name] = rows
	}
	return out, nil
}

// named brings a row of recorded.sql into normal form: entity names become ids.
func named(view View, r Row) error {
	for column, text := range r {
		c, ok := view.Column(column)
		if !ok {
			continue // notes; Check complains about the rest
		}
		var err error
		if c.Kind == UUID {
			r[column], err = entityID(text)
		} else {
			r[column], err = normal(c.Kind, text)
		}
		if err != nil {
			return fmt.Errorf("column %s: %w", column, err)
		}
	}
	return nil
}
