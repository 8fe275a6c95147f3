package oracle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// clone copies an expectation so that a test may spoil it.
func clone(e Expected) Expected {
	out := Expected{}
	for view, rows := range e {
		for _, r := range rows {
			out[view] = append(out[view], maps.Clone(r))
		}
		if out[view] == nil {
			out[view] = []Row{}
		}
	}
	return out
}

// columnType is the type that the contract gives a column.
func columnType(k Kind) string {
	switch k {
	case UUID:
		return "Nullable(UUID)"
	case Decimal:
		return "Nullable(Decimal(38, 9))"
	case Integer:
		return "Nullable(Int64)"
	case Float:
		return "Nullable(Float64)"
	case Bool:
		return "Nullable(Bool)"
	case Date:
		return "Nullable(Date)"
	case Time:
		return "Nullable(DateTime64(6, 'UTC'))"
	case List, Set:
		return "Array(String)"
	default:
		return "Nullable(String)"
	}
}

// shownAs is the column's name in the view.
func shownAs(c Column) string {
	if c.Source != "" {
		return c.Source
	}
	return c.Name
}

// materialise writes the views as tables of a fresh database; views that the
// base has already are taken from there.
func materialise(t *testing.T, conn driver.Conn, database string, e Expected, base string, own ...string) {
	t.Helper()
	exec := func(sql string) {
		t.Helper()
		if err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%v\n%.300s", err, sql)
		}
	}
	exec("CREATE DATABASE " + database)
	t.Cleanup(func() { _ = conn.Exec(t.Context(), "DROP DATABASE IF EXISTS "+database) })
	for _, v := range Views() {
		if base != "" && !slices.Contains(own, v.Name) {
			exec("CREATE VIEW " + database + "." + v.Name + " AS SELECT * FROM " + base + "." + v.Name)
			continue
		}
		var defs []string
		for _, c := range v.Columns {
			defs = append(defs, shownAs(c)+" "+columnType(c.Kind))
		}
		structure := strings.Join(defs, ", ")
		exec("CREATE TABLE " + database + "." + v.Name + " (" + structure + ") ENGINE = Memory")
		quoted := func(s string) string {
			return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
		}
		for chunk := range slices.Chunk(e[v.Name], 500) {
			var rows strings.Builder
			for _, r := range chunk {
				cells := map[string]any{}
				for _, c := range v.Columns {
					text, ok := r[c.Name]
					switch {
					case c.Name == "is_approximate":
						cells["approximate"] = (r["approximate"] != "") != (text == "spoilt")
					case c.Kind == List || c.Kind == Set:
						cells[shownAs(c)] = strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
					case ok && c.Kind == Bool:
						cells[c.Name] = text == "true"
					case ok:
						cells[c.Name] = text
					}
				}
				line, err := json.Marshal(cells)
				if err != nil {
					t.Fatal(err)
				}
				rows.Write(append(line, '\n'))
			}
			exec("INSERT INTO " + database + "." + v.Name + " SELECT * FROM format(JSONEachRow, " + quoted(structure) + ", " +
				quoted(rows.String()) + ") SETTINGS date_time_input_format = 'best_effort', max_query_size = 10000000")
		}
	}
}

func TestViewsThatAreRightHaveNoDifference(t *testing.T) {
	for i, name := range recordings() {
		t.Run(name, func(t *testing.T) {
			e := expectRecorded(t, name)
			conn := connect(t)
			database := fmt.Sprintf("right_%d", i)
			materialise(t, conn, database, e, "")
			report, err := CompareViews(t.Context(), conn, database, e)
			if err != nil {
				t.Fatal(err)
			}
			if !report.OK() {
				t.Errorf("%d differences, the first: %v", len(report.Differences), report.Differences[0])
			}
			for _, tally := range report.Tallies {
				if tally.Expected == 0 || tally.Expected != tally.Found {
					t.Errorf("%+v", tally)
				}
			}
		})
	}
}

// TestPlantedDifferencesAreFound spoils every column of every view once, drops
// a row of each and adds one, and wants exactly these found.
func TestPlantedDifferencesAreFound(t *testing.T) {
	e := expectRecorded(t, "debezium-tryton")
	materialise(t, connect(t), "planted", e, "")
	for _, view := range Views() {
		if view.Name == "kpi_daily" {
			continue // two rows: spoiled below by its own test
		}
		spoilt := clone(e)
		rows := spoilt[view.Name]
		required := slices.IndexFunc(rows, func(r Row) bool { return r[NoteOptional] == "" })
		want := map[string]bool{}
		dropped := rows[required]
		rows = slices.Delete(rows, required, required+1)
		want[view.KeyText(dropped)+" missing"] = true
		i := 0
		for _, c := range view.Columns {
			if slices.Contains(view.Key, c.Name) {
				continue
			}
			for rows[i][NoteOptional] != "" {
				i++
			}
			r := rows[i]
			if c.Name == "is_approximate" {
				r[c.Name] = "spoilt"
				want[view.KeyText(r)+" "+c.Name] = true
				i++
				continue
			}
			want[view.KeyText(r)+" "+c.Name] = true
			if _, there := r[c.Name]; there {
				delete(r, c.Name)
				if c.Kind == List || c.Kind == Set { // arrays are never NULL
					r[c.Name] = "7,8"
				}
			} else {
				r[c.Name] = map[Kind]string{Time: "2026-01-01T00:00:00.000001Z", Decimal: "0.01", Date: "2026-01-01"}[c.Kind]
			}
			i++
			if i == len(rows) {
				t.Fatalf("%s has fewer rows than columns", view.Name)
			}
		}
		added := maps.Clone(dropped)
		delete(added, NoteOptional)
		added[view.Key[len(view.Key)-1]] = map[bool]string{true: "00000000-0000-5000-8000-000000000000", false: "added"}[strings.HasSuffix(view.Key[0], "_id") && len(view.Key) == 1]
		spoilt[view.Name] = append(rows, added)
		want[view.KeyText(added)+" unexpected"] = true

		t.Run(view.Name, func(t *testing.T) {
			conn := connect(t)
			materialise(t, conn, "planted_"+view.Name, spoilt, "planted", view.Name)
			report, err := CompareViews(t.Context(), conn, "planted_"+view.Name, e)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]bool{}
			for _, d := range report.Differences {
				switch {
				case d.View != view.Name:
					t.Errorf("difference in another view: %v", d)
				case d.Kind == Cell:
					got[d.Key+" "+d.Column] = true
				case d.Kind == Sum:
				default:
					got[d.Key+" "+string(d.Kind)] = true
				}
			}
			if !maps.Equal(got, want) {
				t.Errorf("found %v\nwant %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
			}
			if report.OK() {
				t.Error("the report says that all is well")
			}
		})
	}
}

// TestShapeOfViews leaves out a view and a column, changes types, doubles a
// row, changes a figure of kpi_daily.
func TestShapeOfViews(t *testing.T) {
	e := expectRecorded(t, "debezium-tryton")
	conn := connect(t)
	materialise(t, conn, "shape", e, "")
	for _, sql := range []string{
		"DROP TABLE shape.payments",
		"RENAME TABLE shape.order_lines TO shape.orders_lines", // an alias: no difference
		"ALTER TABLE shape.deals DROP COLUMN stage",
		"ALTER TABLE shape.accounts DROP COLUMN account_id",
		"CREATE TABLE shape.o ENGINE = Memory AS SELECT * REPLACE (CAST(net AS Nullable(Decimal(38, 2))) AS net) FROM shape.orders",
		"DROP TABLE shape.orders", "RENAME TABLE shape.o TO shape.orders",
		"INSERT INTO shape.invoices SELECT * FROM shape.invoices WHERE native_id = '7'",
		"CREATE TABLE shape.k ENGINE = Memory AS SELECT * REPLACE (p90 + 0.000001 AS p90) FROM shape.kpi_daily WHERE metric = 'invoice_lag'",
		"DROP TABLE shape.kpi_daily", "RENAME TABLE shape.k TO shape.kpi_daily",
	} {
		if err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	report, err := CompareViews(t.Context(), conn, "shape", e)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range report.Differences {
		got = append(got, fmt.Sprintf("%s|%s|%s|%s", d.View, d.Key, d.Column, d.Kind))
	}
	want := []string{
		"accounts||account_id|missing",
		"deals||stage|missing",
		"invoices|USD|sum of gross|sum",
		"invoices|erp/7||unexpected",
		"kpi_daily|2026-11-22/invoice_lag|p90|cell",
		"kpi_daily|2026-11-22/quote_to_activation||missing",
		"orders||net|cell",
		"payments|||missing",
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	var text, doc bytes.Buffer
	if err := report.Print(&text, 3); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "… and 5 more") || !strings.Contains(text.String(), "kpi_daily") {
		t.Errorf("printed:\n%s", text.String())
	}
	if err := report.JSON(&doc); err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(doc.Bytes(), &back); err != nil || len(back.Differences) != len(report.Differences) {
		t.Errorf("JSON form: %v, %d differences", err, len(back.Differences))
	}
}

func TestNothingExpectedIsNoAgreement(t *testing.T) {
	e := clone(expectRecorded(t, "debezium-tryton"))
	delete(e, "orders")
	if _, err := CompareViews(t.Context(), connect(t), "default", e); err == nil || !strings.Contains(err.Error(), "orders") {
		t.Errorf("a view without expectation: %v", err)
	}
	if _, err := ExpectWorkload(e); err == nil || !strings.Contains(err.Error(), "orders") {
		t.Errorf("a workload without orders: %v", err)
	}
	if (Report{}).OK() {
		t.Error("a report in which nothing was compared is fine")
	}
}

func TestWorkloadTruthIsCompleted(t *testing.T) {
	e := clone(expectRecorded(t, "debezium-tryton"))
	kpis := e["kpi_daily"]
	delete(e, "kpi_daily")
	back, err := ExpectWorkload(e)
	if err != nil {
		t.Fatal(err)
	}
	if len(back["kpi_daily"]) != len(kpis) || len(back["deals"]) != 69 {
		t.Errorf("%d lines of KPIs, %d deals", len(back["kpi_daily"]), len(back["deals"]))
	}
}

func TestCheckRefusesWhatIsNotNormal(t *testing.T) {
	for name, e := range map[string]Expected{
		"unknown view":   {"sales": nil},
		"unknown column": {"accounts": {{"account_id": "10c6a1d9-54d1-5c57-bb52-d2ffbc3f1d0b", "size": "1"}}},
		"no key":         {"accounts": {{"name": "A"}}},
		"twice":          {"products": {{"system": "crm", "native_id": "1"}, {"system": "crm", "native_id": "1"}}},
		"trailing zero":  {"payments": {{"system": "erp", "native_id": "1", "amount": "1.50"}}},
		"no time":        {"deals": {{"deal_id": "10c6a1d9-54d1-5c57-bb52-d2ffbc3f1d0b", "won_at": "2026-11-22 10:00:00"}}},
	} {
		if e.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
