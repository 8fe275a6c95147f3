package oracle

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// unknownTable is ClickHouse's code for a table that does not exist.
const unknownTable = 60

// complete tells whether e says something about every view: a view without
// expectation would agree with anything.
func (e Expected) complete() error {
	var absent []string
	for _, v := range Views() {
		if _, ok := e[v.Name]; !ok {
			absent = append(absent, v.Name)
		}
	}
	if len(absent) > 0 {
		return fmt.Errorf("nothing is expected of %s: give these views rows, or an empty list", strings.Join(absent, ", "))
	}
	return e.Check()
}

// CompareViews compares every view of the database with what is expected: rows,
// each column of the contract, and the columns' types. It returns an error only
// where it could not look; everything found wrong is a Difference.
func CompareViews(ctx context.Context, conn driver.Conn, database string, e Expected) (Report, error) {
	if err := e.complete(); err != nil {
		return Report{}, err
	}
	var out Report
	for _, view := range Views() {
		source, columns, err := locate(ctx, conn, database, view)
		if err != nil {
			return Report{}, fmt.Errorf("looking at view %s: %w", view.Name, err)
		}
		if source == "" {
			out.Tallies = append(out.Tallies, Tally{View: view.Name, Expected: len(e[view.Name])})
			out.Differences = append(out.Differences, Difference{View: view.Name, Kind: Missing, Want: "the view"})
			continue
		}
		read, diffs := readable(view, columns)
		out.Differences = append(out.Differences, diffs...)
		has := map[string]bool{}
		for _, c := range read {
			has[c.as] = true
		}
		if slices.ContainsFunc(view.Key, func(k string) bool { return !has[k] }) {
			out.Tallies = append(out.Tallies, Tally{View: view.Name, Expected: len(e[view.Name])})
			continue
		}
		got, err := readText(ctx, conn, source, read)
		if err != nil {
			return Report{}, fmt.Errorf("looking at view %s: %w", view.Name, err)
		}
		tally, diffs := compareRows(view, view.Name, e[view.Name], got, has)
		out.Tallies = append(out.Tallies, tally)
		out.Differences = append(out.Differences, diffs...)
	}
	out.tally()
	return out, nil
}

// locate finds a view under its name or an alias; "" where there is none.
func locate(ctx context.Context, conn driver.Conn, database string, view View) (string, []described, error) {
	for _, name := range append([]string{view.Name}, view.Aliases...) {
		source := quote(database) + "." + quote(name)
		columns, err := describe(ctx, conn, source)
		var exception *clickhouse.Exception
		switch {
		case errors.As(err, &exception) && exception.Code == unknownTable:
			continue
		case err != nil:
			return "", nil, err
		}
		return source, columns, nil
	}
	return "", nil, nil
}

// readable returns the columns of the contract that the view has, and what is
// wrong with names and types.
func readable(view View, columns []described) ([]described, []Difference) {
	var out []described
	var diffs []Difference
	for _, c := range view.Columns {
		named := func(name string) int {
			return slices.IndexFunc(columns, func(d described) bool { return d.name == name })
		}
		i := named(c.Source)
		if i < 0 {
			i = named(c.Name)
		}
		if i < 0 {
			if !c.Extra {
				diffs = append(diffs, Difference{View: view.Name, Column: c.Name, Kind: Missing, Want: "column " + c.Name})
			}
			continue
		}
		if want := typeOf(c.Kind); want != "" && !strings.HasPrefix(bare(columns[i].typ), want) {
			if c.Extra {
				continue
			}
			diffs = append(diffs, Difference{View: view.Name, Column: c.Name, Kind: Cell, Want: "type " + want, Got: columns[i].typ})
		}
		column := columns[i]
		column.as = c.Name
		out = append(out, column)
	}
	return out, diffs
}

// typeOf is how the name of a column's type must begin, "" where any will do.
func typeOf(kind Kind) string {
	switch kind {
	case Decimal:
		return "Decimal(38, 9)"
	case Time:
		return "DateTime64(6"
	case Text:
		return "String"
	case List, Set:
		return "Array("
	case Date:
		return "Date"
	case Bool:
		return "Bool"
	default:
		return ""
	}
}

// compareRows compares rows under a view's key, the columns that has names.
// The name is what differences are reported under.
func compareRows(view View, name string, want, got []Row, has map[string]bool) (Tally, []Difference) {
	tally := Tally{View: name, Expected: len(want), Found: len(got)}
	var diffs []Difference
	there := make(map[string]Row, len(got))
	for _, r := range got {
		for column, text := range r {
			c, _ := view.Column(column)
			norm, err := normal(c.Kind, text)
			if err != nil {
				norm = text // it will differ, and be shown as it is
			}
			r[column] = norm
		}
		key := view.KeyText(r)
		if _, twice := there[key]; twice {
			diffs = append(diffs, Difference{View: name, Key: key, Kind: Unexpected, Got: "a second row of this key"})
		}
		there[key] = r
	}
	for _, w := range want {
		key := view.KeyText(w)
		g, ok := there[key]
		delete(there, key)
		if !ok {
			if w[NoteOptional] == "true" {
				tally.Expected--
			} else {
				diffs = append(diffs, Difference{View: name, Key: key, Kind: Missing, Want: rowText(view, w)})
			}
			continue
		}
		unknown := strings.Split(w[NoteUnknown], ",")
		for _, c := range view.Columns {
			if !has[c.Name] || c.Extra && slices.Contains(unknown, c.Name) {
				continue
			}
			a, okA := w[c.Name]
			if c.Name == "is_approximate" {
				a, okA = strconv.FormatBool(w["approximate"] != ""), true
			}
			b, okB := g[c.Name]
			if okA != okB || a != b {
				diffs = append(diffs, Difference{View: name, Key: key, Column: c.Name, Kind: Cell, Want: orNull(a, okA), Got: orNull(b, okB)})
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(there)) {
		diffs = append(diffs, Difference{View: name, Key: key, Kind: Unexpected, Got: rowText(view, there[key])})
	}
	diffs = append(diffs, sums(view, name, want, got)...)
	sortDifferences(diffs)
	return tally, diffs
}

// rowText prints a row, columns in order of the view.
func rowText(view View, r Row) string {
	var parts []string
	for _, c := range view.Columns {
		if text, ok := r[c.Name]; ok {
			parts = append(parts, c.Name+"="+text)
		}
	}
	return strings.Join(parts, " ")
}

// sums compares totals of money per currency: what must be conserved however
// rows are keyed.
func sums(view View, name string, want, got []Row) []Difference {
	column := map[string]string{"payments": "amount", "invoices": "gross", "orders": "gross", "deals": "amount"}[view.Name]
	if column == "" {
		return nil
	}
	total := func(rows []Row) map[string]*big.Rat {
		out := map[string]*big.Rat{}
		for _, r := range rows {
			if n, ok := new(big.Rat).SetString(r[column]); ok {
				if out[r["currency"]] == nil {
					out[r["currency"]] = new(big.Rat)
				}
				out[r["currency"]].Add(out[r["currency"]], n)
			}
		}
		return out
	}
	w, g := total(want), total(got)
	var diffs []Difference
	for _, currency := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(slices.Collect(maps.Keys(w)), slices.Collect(maps.Keys(g)))))) {
		a, b := orZero(w[currency]), orZero(g[currency])
		if a.Cmp(b) != 0 {
			diffs = append(diffs, Difference{View: name, Key: currency, Column: "sum of " + column, Kind: Sum, Want: a.FloatString(2), Got: b.FloatString(2)})
		}
	}
	return diffs
}

func orZero(r *big.Rat) *big.Rat {
	if r == nil {
		return new(big.Rat)
	}
	return r
}
