// Package oracle computes what every view must show and finds every difference
// from what is there.
//
// It shares no code with the pipelines: it was written from the definitions in
// ARCHITECTURE.md, has a decoder, a fold and SQL of its own, and imports
// nothing of processors, pipelines or schemas. Where oracle and pipelines
// disagree, one of the two has read the definitions wrong.
package oracle

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Row is one row of a view: canonical text by column name. An absent column is
// NULL; there is no other spelling of NULL. The text forms are
//
//	string, id     as it is; ids of the source systems are decimal text
//	UUID           lower case with dashes
//	decimal        shortest form, no exponent, no trailing zeros: "0", "-1.5", "1247.88"
//	integer        decimal digits
//	float          as decimal, rounded to 6 places (only kpi_daily has any)
//	bool           "true", "false"
//	date           "2026-11-22"
//	time           UTC, always six places: "2026-11-22T21:31:19.476534Z"
//	array          elements joined with ","; the empty array is ""
//	               (the set `approximate` is sorted first)
//
// A column whose name starts with an underscore is a note, never compared; two
// notes have a meaning, see NoteOptional and NoteUnknown.
type Row map[string]string

// Notes of a row.
const (
	// NoteOptional = "true" marks a row that a view may leave out, such as a
	// topic of which no view is made.
	NoteOptional = "_optional"
	// NoteUnknown names, joined with ",", extra columns of which the row says
	// nothing, so that absence is not taken for NULL.
	NoteUnknown = "_unknown"
)

// Expected holds the rows of every view by the view's name (see Views). Order
// within a view does not matter. Its JSON form is {"view": [{"column": "text"}]}.
type Expected map[string][]Row

// Kind is the type of a column, which decides how its text is normalised.
type Kind int

// The kinds of columns.
const (
	Text Kind = iota
	UUID
	Decimal
	Integer
	Float
	Bool
	Date
	Time
	List // ordered
	Set  // sorted before it is compared
)

// Column is one column of a view.
type Column struct {
	Name string
	Kind Kind
	// Extra columns are compared where the view has them in the column's type;
	// the others must be there.
	Extra bool
	// Source is the view's column that is read instead, where there is one.
	Source string
}

// View names a view of the database, its key and its columns.
type View struct {
	Name string
	// Aliases are other names under which the view is looked for.
	Aliases []string
	Key     []string
	Columns []Column
}

// Column returns the named column.
func (v View) Column(name string) (Column, bool) {
	for _, c := range v.Columns {
		if c.Name == name {
			return c, true
		}
	}
	return Column{}, false
}

// KeyText returns the row's key in one printable piece.
func (v View) KeyText(r Row) string {
	parts := make([]string, len(v.Key))
	for i, k := range v.Key {
		parts[i] = r[k]
	}
	return strings.Join(parts, "/")
}

func columns(kind Kind, names ...string) []Column {
	out := make([]Column, 0, len(names))
	for _, n := range names {
		name, extra := strings.CutSuffix(n, "?")
		out = append(out, Column{Name: name, Kind: kind, Extra: extra})
	}
	return out
}

func document(more ...[]Column) []Column {
	out := slices.Concat(columns(Text, "system", "native_id"), columns(UUID, "account_id", "deal_id"))
	out = append(out, slices.Concat(more...)...)
	return slices.Concat(out, columns(Text, "currency"), columns(Time, "created_at"), columns(Bool, "complete"))
}

func lines(name, alias string) View {
	return View{
		Name: name, Aliases: []string{alias},
		Key: []string{"system", "parent_native_id", "native_id"},
		Columns: slices.Concat(
			columns(Text, "system", "parent_native_id", "native_id", "product_code"),
			columns(Decimal, "quantity", "unit_price"),
		),
	}
}

// Views returns every view that is compared, its key and its columns. Versions,
// and what depends on the time of the look (feed_health's waiting and last_*,
// kpi_daily's oldest_open_seconds), are not part of it.
func Views() []View {
	row := []string{"system", "native_id"}
	return []View{
		{Name: "accounts", Key: []string{"account_id"}, Columns: slices.Concat(
			columns(UUID, "account_id"),
			columns(Text, "name", "crm_id", "subs_id", "erp_id"),
			columns(List, "crm_ids", "subs_ids", "erp_ids"),
			columns(Time, "updated_at"), columns(Bool, "complete"))},
		{Name: "identity_links", Key: row, Columns: slices.Concat(
			columns(Text, "system", "native_id"), columns(UUID, "account_id"),
			columns(Text, "rule"), columns(Time, "linked_at"),
			columns(Bool, "approximate?"))},
		// One row per live product; rows of services and templates (native_id
		// "service:1", "template:1") are optional. A product without a name
		// has its template's, and so for the code; a service has its product's.
		{Name: "products", Key: row, Columns: slices.Concat(
			columns(Text, "system", "native_id", "code", "name", "kind?"), columns(Bool, "complete"))},
		{Name: "opportunities", Key: row, Columns: document(
			columns(Text, "state", "description", "phase?", "number?"), columns(Decimal, "amount"))},
		{Name: "orders", Key: row, Columns: document(
			columns(Text, "number", "state", "phase"), columns(Decimal, "net", "tax", "gross"), columns(Date, "order_date?"),
			columns(Set, "flags"))},
		{Name: "subscriptions", Key: row, Columns: document(
			columns(Text, "number", "state", "phase?", "order_number?"),
			columns(Date, "start_date", "end_date?"), columns(Decimal, "monthly_net"), columns(Set, "flags"))},
		{Name: "invoices", Key: row, Columns: document(
			columns(Text, "number", "kind", "state", "phase?", "reference?", "order_number?"),
			columns(Date, "invoice_date"), columns(Decimal, "net", "tax", "gross", "paid", "unapplied"), columns(Set, "flags"))},
		{Name: "payments", Key: row, Columns: document(
			columns(Text, "invoice_native_id"), columns(Decimal, "amount"), columns(Date, "paid_on"), columns(Set, "flags"))},
		lines("opportunity_lines", "opportunities_lines"),
		lines("order_lines", "orders_lines"),
		lines("subscription_lines", "subscriptions_lines"),
		lines("invoice_lines", "invoices_lines"),
		// approximate names the columns ("opened_at", "won_at", …) that come
		// from a snapshot row. A view may show them as approximate_milestones
		// and have a boolean under the name approximate, is_approximate here,
		// which need not be given.
		{Name: "deals", Key: []string{"deal_id"}, Columns: slices.Concat(
			columns(UUID, "deal_id", "account_id"),
			columns(Text, "opportunity_native_id", "order_number", "subscription_number", "invoice_number", "stage"),
			columns(Time, "opened_at", "won_at", "lost_at", "activated_at", "invoiced_at", "paid_at"),
			[]Column{
				{Name: "approximate", Kind: Set, Source: "approximate_milestones"},
				{Name: "is_approximate", Kind: Bool, Source: "approximate", Extra: true},
			},
			columns(List, "other_order_numbers", "other_subscription_numbers", "other_invoice_numbers"),
			columns(Decimal, "amount", "billed", "paid", "credited"), columns(Text, "currency", "billing_currency"),
			columns(Set, "flags"), columns(Bool, "complete"))},
		// Days with neither pairs nor open deals have no row. Percentiles and
		// max are NULL where count is 0.
		{Name: "kpi_daily", Key: []string{"day", "metric"}, Columns: slices.Concat(
			columns(Date, "day"), columns(Text, "metric"), columns(Integer, "count", "approximate", "early", "incomplete", "open"),
			columns(Float, "p50", "p90", "p99", "max"))},
		{Name: "feed_health", Key: []string{"topic"}, Columns: slices.Concat(
			columns(Text, "topic"), columns(Integer, "received", "repeated", "stale", "letters"))},
	}
}

// ViewNamed returns the view of that name.
func ViewNamed(name string) (View, bool) {
	for _, v := range Views() {
		if v.Name == name {
			return v, true
		}
	}
	return View{}, false
}

// Check tells whether e is well formed: known views and columns, every key
// complete and only once, every text in its normal form. A truth that fails it
// could agree with anything.
func (e Expected) Check() error {
	for _, name := range slices.Sorted(maps.Keys(e)) {
		v, ok := ViewNamed(name)
		if !ok {
			return fmt.Errorf("expected rows name view %q, which does not exist", name)
		}
		seen := make(map[string]bool, len(e[name]))
		for i, r := range e[name] {
			for _, k := range v.Key {
				if r[k] == "" {
					return fmt.Errorf("view %s, row %d: key column %s is empty", name, i, k)
				}
			}
			key := v.KeyText(r)
			if seen[key] {
				return fmt.Errorf("view %s: key %s is there twice", name, key)
			}
			seen[key] = true
			for col, text := range r {
				if strings.HasPrefix(col, "_") {
					continue
				}
				c, ok := v.Column(col)
				if !ok {
					return fmt.Errorf("view %s, key %s: column %q does not exist", name, key, col)
				}
				norm, err := normal(c.Kind, text)
				if err != nil {
					return fmt.Errorf("view %s, key %s, column %s: %w", name, key, col, err)
				}
				if norm != text {
					return fmt.Errorf("view %s, key %s, column %s: %q is not in normal form, which is %q", name, key, col, text, norm)
				}
			}
		}
	}
	return nil
}
