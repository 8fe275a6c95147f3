package oracle

import (
	"context"
	"fmt"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// quote writes an identifier of ClickHouse.
func quote(name string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(name) + "`"
}

// described is a column of a table or query as ClickHouse describes it, and
// what it is called in a Row.
type described struct{ name, typ, as string }

// describe returns the columns of a table ("a.b", quoted) or of a query in
// parentheses.
func describe(ctx context.Context, conn driver.Conn, source string) ([]described, error) {
	rows, err := conn.Query(ctx, "DESCRIBE TABLE "+source)
	if err != nil {
		return nil, fmt.Errorf("describing columns: %w", err)
	}
	defer rows.Close()
	// name, type, then defaults, comments and the like.
	if len(rows.Columns()) < 2 {
		return nil, fmt.Errorf("describing columns: the answer has %d columns", len(rows.Columns()))
	}
	texts := make([]string, len(rows.Columns()))
	into := make([]any, len(texts))
	for i := range texts {
		into[i] = &texts[i]
	}
	var out []described
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, fmt.Errorf("describing columns: %w", err)
		}
		out = append(out, described{name: texts[0], typ: texts[1], as: texts[0]})
	}
	return out, rows.Err()
}

// bare strips Nullable and LowCardinality off a type's name.
func bare(typ string) string {
	for _, wrap := range []string{"LowCardinality(", "Nullable("} {
		if inner, ok := strings.CutPrefix(typ, wrap); ok {
			typ = strings.TrimSuffix(inner, ")")
		}
	}
	return typ
}

// textOf is the expression that turns a column into text, NULL staying NULL.
func textOf(c described) string {
	name, typ := quote(c.name), bare(c.typ)
	switch {
	case strings.HasPrefix(typ, "Array("):
		return "CAST(arrayStringConcat(arrayMap(x -> toString(x), " + name + "), ',') AS Nullable(String))"
	case strings.HasPrefix(typ, "DateTime"):
		return "CAST(toString(toTimeZone(" + name + ", 'UTC')) AS Nullable(String))"
	case strings.HasPrefix(typ, "Float"):
		return "CAST(if(isNaN(" + name + "), NULL, toString(" + name + ")) AS Nullable(String))"
	default:
		return "CAST(" + name + " AS Nullable(String))"
	}
}

// readText reads all rows of the columns as text; a NULL is an absent column.
func readText(ctx context.Context, conn driver.Conn, source string, columns []described) ([]Row, error) {
	exprs := make([]string, len(columns))
	for i, c := range columns {
		exprs[i] = textOf(c)
	}
	rows, err := conn.Query(ctx, "SELECT "+strings.Join(exprs, ", ")+" FROM "+source)
	if err != nil {
		return nil, fmt.Errorf("reading rows: %w", err)
	}
	defer rows.Close()
	var out []Row
	cells := make([]*string, len(columns))
	into := make([]any, len(columns))
	for i := range cells {
		into[i] = &cells[i]
	}
	for rows.Next() {
		clear(cells)
		if err := rows.Scan(into...); err != nil {
			return nil, fmt.Errorf("reading rows: %w", err)
		}
		r := Row{}
		for i, c := range columns {
			if cells[i] != nil {
				r[c.as] = strings.Clone(*cells[i])
			}
		}
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading rows: %w", err)
	}
	return out, nil
}

// query runs a SELECT and returns its rows as text.
func query(ctx context.Context, conn driver.Conn, sql string) ([]Row, error) {
	source := "(" + sql + ")"
	columns, err := describe(ctx, conn, source)
	if err != nil {
		return nil, err
	}
	return readText(ctx, conn, source, columns)
}

// withNulls makes joins give NULL where nothing matches.
func withNulls(ctx context.Context) context.Context {
	return clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"join_use_nulls": 1}))
}

// load writes final rows into a scratch table of text columns.
func load(ctx context.Context, conn driver.Conn, database, table string, rows []map[string]*string) error {
	columns := columnsOf(rows)
	defs := make([]string, len(columns))
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = quote(c)
		defs[i] = names[i] + " Nullable(String)"
	}
	name := quote(database) + "." + quote(strings.Replace(table, ".", "_", 1))
	if err := conn.Exec(ctx, "CREATE TABLE "+name+" ("+strings.Join(defs, ", ")+") ENGINE = Memory"); err != nil {
		return fmt.Errorf("creating scratch table of %s: %w", table, err)
	}
	if len(rows) == 0 {
		return nil
	}
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO "+name+" ("+strings.Join(names, ", ")+")")
	if err != nil {
		return fmt.Errorf("filling scratch table of %s: %w", table, err)
	}
	values := make([]any, len(columns))
	for _, r := range rows {
		for i, c := range columns {
			values[i] = r[c]
		}
		if err := batch.Append(values...); err != nil {
			return fmt.Errorf("filling scratch table of %s: %w", table, err)
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("filling scratch table of %s: %w", table, err)
	}
	return nil
}
