package intake

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
	"syncline/schemas/projection"
)

// envelope is the schema of a Debezium envelope with these columns, each
// "name type" with the type as Avro JSON.
func envelope(t *testing.T, columns ...string) *projection.Schema {
	t.Helper()
	var fields []string
	for _, c := range columns {
		name, typ, _ := strings.Cut(c, " ")
		fields = append(fields, fmt.Sprintf(`{"name":%q,"type":["null",%s],"default":null}`, name, typ))
	}
	s, err := projection.Parse(fmt.Sprintf(`{"type":"record","name":"Envelope","fields":[
		{"name":"before","type":["null",{"type":"record","name":"Value","fields":[%s]}]},{"name":"after","type":["null","Value"]},{"name":"op","type":"string"}]}`, strings.Join(fields, ",")))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const micros = `{"type":"long","connect.name":"io.debezium.time.MicroTimestamp"}`

func good() []string {
	return []string{`id "long"`, `party "long"`, `state "string"`, `number "string"`, `date {"type":"int","connect.name":"io.debezium.time.Date"}`, `created ` + micros, `changed ` + micros}
}

func with(columns []string, name, typ string) []string {
	out := slices.DeleteFunc(slices.Clone(columns), func(c string) bool { return strings.HasPrefix(c, name+" ") })
	if typ != "" {
		out = append(out, name+" "+typ)
	}
	return out
}

func TestMisfits(t *testing.T) {
	for _, c := range []struct {
		name    string
		columns []string
		reason  string
		says    []string
	}{
		{"all is there", good(), "", nil},
		{"more is there", append(good(), `colour "string"`, `list {"type":"array","items":"string"}`), "", nil},
		{"renamed", append(with(good(), "number", ""), `bill_number "string"`, `amount "double"`), ReasonColumnGone, []string{`"number"`, `"bill_number"`, "topic invoices", "schema id 7", "syncline feeds accept invoices --column-gone number"}},
		{"renamed, another kind beside it", append(with(good(), "created", ""), `created_by {"type":"bytes"}`, `created_ts `+micros), ReasonColumnGone, []string{`"created"`, `"created_ts"`}},
		{"gone without a likely name", with(good(), "changed", ""), ReasonColumnGone, []string{`"changed"`}},
		{"party gone", with(good(), "party", ""), ReasonColumnGone, []string{`"party"`}},
		{"key gone", with(good(), "id", ""), ReasonColumnGone, []string{`"id"`, "until the mapping in the catalog is corrected"}},
		{"creation time as text", with(good(), "created", `"string"`), "", nil},
		{"creation time as date", with(good(), "created", `{"type":"int","logicalType":"date"}`), "", nil},
		{"creation time as number", with(good(), "created", `"long"`), ReasonKind, []string{`"created"`, "of kind int", "time of the milestone created", "{time: {path: created, unit: s}}"}},
		{"date as number", with(good(), "date", `"int"`), ReasonKind, []string{`"date"`, "field invoice_date", "unit: s"}},
		{"date as truth value", with(good(), "date", `"boolean"`), ReasonKind, []string{`"date"`, "of kind bool"}},
		{"date as text", with(good(), "date", `"string"`), "", nil},
		{"text as bytes", with(good(), "number", `"bytes"`), ReasonKind, []string{`"number"`, "of kind bytes"}},
		{"text as list", with(good(), "number", `{"type":"array","items":"string"}`), ReasonKind, []string{`"number"`, "cannot be read"}},
		{"text as record", with(good(), "number", `{"type":"record","name":"N","fields":[{"name":"x","type":"int"}]}`), ReasonKind, []string{`"number"`}},
		{"state as number is looked up", with(good(), "state", `"int"`), "", nil},
		{"state as bytes", with(good(), "state", `"bytes"`), ReasonKind, []string{`"state"`}},
		{"text as empty record", with(good(), "number", `{"type":"record","name":"E","fields":[]}`), ReasonKind, nil},
		{"one of several kinds will do", with(good(), "date", `"boolean",{"type":"int","logicalType":"date"}`), "", nil},
	} {
		src := invoices()
		src.Fields[canonical.InvoiceDate].Columns = []string{"date"}
		if err := src.Prepare(); err != nil {
			t.Fatal(err)
		}
		got := src.Misfits(envelope(t, c.columns...))
		if c.reason == "" {
			if len(got) > 0 {
				t.Errorf("%s: %+v", c.name, got)
			}
			continue
		}
		if len(got) != 1 || got[0].Reason != c.reason {
			t.Errorf("%s: %+v, want one of %s", c.name, got, c.reason)
			continue
		}
		text := got[0].Explain("invoices", 7)
		for _, s := range c.says {
			if !strings.Contains(text, s) {
				t.Errorf("%s: %q does not say %q", c.name, text, s)
			}
		}
		if got[0].Key && strings.Contains(text, "accept") {
			t.Errorf("%s: %q offers to go on without a key", c.name, text)
		}
	}
	src := invoices()
	src.Fields[canonical.InvoiceNumber].Default = &change.Value{Kind: change.String}
	if err := src.Prepare(); err != nil {
		t.Fatal(err)
	}
	if got := src.Misfits(envelope(t, with(good(), "number", "")...)); len(got) > 0 {
		t.Errorf("a column with a default: %+v", got)
	}
}

func TestInexactMoney(t *testing.T) {
	src := lines()
	if err := src.Prepare(); err != nil {
		t.Fatal(err)
	}
	if got := src.Inexact(envelope(t, `id "int"`, `invoice "int"`, `quantity "double"`, `price "float"`)); !slices.Equal(got, []string{"price"}) {
		t.Errorf("%v", got)
	}
}

// samples are values of every kind, of which some can become anything that their
// kind can.
func samples() map[change.Kind][]change.Value {
	return map[change.Kind][]change.Value{
		change.Bool: {change.OfBool(true)}, change.Int: {change.OfInt(1)}, change.Bytes: {{Kind: change.Bytes, Bytes: []byte("1")}},
		change.Double: {{Kind: change.Double, Int: int64(math.Float64bits(1.5))}}, change.Decimal: {change.DecimalOf(big.NewInt(1), 0)},
		change.String: {change.OfString("1"), change.OfString("2026-11-22"), change.OfString("2026-11-22T10:00:00Z")},
		change.Date:   {change.OfDate(20_000)}, change.Timestamp: {change.OfTimestamp(1)}, change.Duration: {{Kind: change.Duration, Int: 1}},
		change.Nested: {{Kind: change.Nested}},
	}
}

// What the check of a schema says of a kind is what the conversion does.
func TestTheCheckAndTheConversionAgree(t *testing.T) {
	for _, kind := range []change.Kind{change.String, change.Decimal, change.Date, change.Timestamp, change.Bool} {
		for _, r := range []reading{{kind: kind}, {kind: kind, unit: time.Second}, {kind: kind, id: kind == change.String}} {
			for from, values := range samples() {
				converts := slices.ContainsFunc(values, func(v change.Value) bool {
					_, err := r.read(v)
					return err == nil
				})
				if converts != r.takes(from) {
					t.Errorf("%s to %+v: the check says %v, the conversion %v", from, r, r.takes(from), converts)
				}
			}
		}
	}
	for from, values := range samples() {
		if _, err := Text(values[0]); (err == nil) != hasText(from) {
			t.Errorf("text of %s: %v", from, err)
		}
	}
}

func TestConversions(t *testing.T) {
	double := func(f float64) change.Value {
		return change.Value{Kind: change.Double, Int: int64(math.Float64bits(f))}
	}
	const noon = 1_795_348_800_000_000 // 2026-11-22 12:00 UTC
	show := func(v change.Value) string {
		switch v.Kind {
		case change.Date:
			return time.Unix(v.Int*86400, 0).UTC().Format(time.DateOnly)
		case change.Timestamp:
			return time.UnixMicro(v.Int).UTC().Format(time.RFC3339Nano)
		}
		s, _ := Text(v)
		return s
	}
	for _, c := range []struct {
		r    reading
		v    change.Value
		want string // "" for refused
	}{
		{reading{kind: change.Decimal}, double(0.30000000000000004), "0.3"},
		{reading{kind: change.Decimal}, double(1199.9999999999998), "1200"},
		{reading{kind: change.Decimal}, double(-19.99), "-19.99"},
		{reading{kind: change.Decimal}, double(0.0000000005), "0"},
		{reading{kind: change.Decimal}, double(0.0000000015), "0.000000002"},
		{reading{kind: change.Decimal}, double(1e-320), "0"},
		{reading{kind: change.Decimal}, double(99999999999999.9), "99999999999999.9"},
		{reading{kind: change.Decimal}, double(1e15), ""},
		{reading{kind: change.Decimal}, double(1e300), ""},
		{reading{kind: change.Decimal}, double(math.NaN()), ""},
		{reading{kind: change.Decimal}, double(math.Inf(-1)), ""},
		{reading{kind: change.Decimal}, change.OfString("12.340"), "12.34"},
		{reading{kind: change.Decimal}, change.OfString("1e1000000000"), ""},
		{reading{kind: change.Decimal}, change.OfString(strings.Repeat("9", 1000)), ""},
		{reading{kind: change.Decimal}, change.OfString("0.0000123456"), "0.0000123456"},
		{reading{kind: change.Decimal}, change.Value{Kind: change.Decimal, Int: 12, Scale: -3}, "12000"},
		{reading{kind: change.String}, change.Value{Kind: change.Decimal, Int: 12, Scale: -3}, "12000"},
		{reading{kind: change.String}, change.OfDate(20_779), "2026-11-22"},
		{reading{kind: change.String, id: true}, change.OfDate(20_779), "20779"},
		{reading{kind: change.String}, change.OfTimestamp(noon), "2026-11-22T12:00:00Z"},
		{reading{kind: change.String}, change.Value{Kind: change.Duration, Int: 3_723_500_000}, "01:02:03.5"},
		{reading{kind: change.String}, change.Value{Kind: change.Duration, Int: math.MinInt64}, "-2562047788:00:54.775808"},
		{reading{kind: change.String, id: true}, change.OfString(""), "null"},
		{reading{kind: change.String}, change.OfString(strings.Repeat("x", canonical.MaxText+1)), ""},
		{reading{kind: change.String, id: true}, change.OfString(strings.Repeat("x", canonical.MaxID+1)), ""},
		{reading{kind: change.Date}, change.OfTimestamp(-1), "1969-12-31"},
		{reading{kind: change.Date}, change.OfString("2026-11-22"), "2026-11-22"},
		{reading{kind: change.Date}, change.OfString("22.11.2026"), ""},
		{reading{kind: change.Date}, change.OfString("9999-12-31"), ""},
		{reading{kind: change.Date}, change.OfString("0000-00-00"), ""},
		{reading{kind: change.Date, unit: time.Second}, change.OfInt(noon / 1e6), "2026-11-22"},
		{reading{kind: change.Date}, change.OfInt(20_779), ""},
		{reading{kind: change.Timestamp}, change.OfString("2020-03-04T05:06:07Z"), "2020-03-04T05:06:07Z"},
		{reading{kind: change.Timestamp}, change.OfString("2020-03-04 05:06:07+02"), "2020-03-04T03:06:07Z"},
		{reading{kind: change.Timestamp}, change.OfString("2020-03-04"), "2020-03-04T00:00:00Z"},
		{reading{kind: change.Timestamp}, change.OfString("2020-03-04T05:06:07"), ""},
		{reading{kind: change.Timestamp}, change.OfString("infinity"), ""},
		{reading{kind: change.Timestamp}, change.OfDate(20_779), "2026-11-22T00:00:00Z"},
		{reading{kind: change.Timestamp}, change.OfDate(math.MaxInt64), ""},
		{reading{kind: change.Timestamp, unit: time.Second}, change.OfInt(noon / 1e6), "2026-11-22T12:00:00Z"},
		{reading{kind: change.Timestamp, unit: time.Millisecond}, change.OfInt(noon / 1e3), "2026-11-22T12:00:00Z"},
		{reading{kind: change.Timestamp, unit: time.Microsecond}, change.OfInt(noon), "2026-11-22T12:00:00Z"},
		{reading{kind: change.Timestamp, unit: time.Nanosecond}, change.OfInt(noon * 1e3), "2026-11-22T12:00:00Z"},
		{reading{kind: change.Timestamp, unit: time.Second}, change.OfInt(math.MaxInt64), ""},
		{reading{kind: change.Timestamp, unit: time.Second}, change.OfInt(math.MinInt64), ""},
		{reading{kind: change.Timestamp}, change.OfTimestamp(math.MinInt64), ""},
		{reading{kind: change.Bool}, change.OfString("T"), "true"},
		{reading{kind: change.Bool}, change.OfString("no"), "false"},
		{reading{kind: change.Bool}, change.OfString("maybe"), ""},
		{reading{kind: change.Bool}, change.OfInt(2), ""},
		{reading{kind: change.Bool}, change.DecimalOf(big.NewInt(100), 2), "true"},
	} {
		got, err := c.r.read(c.v)
		switch {
		case (err == nil) != (c.want != ""):
			t.Errorf("%+v of %s %s: %v", c.r, c.v.Kind, show(c.v), err)
		case err == nil && !got.IsNull() && (got.Kind != c.r.kind || show(got) != c.want):
			t.Errorf("%+v of %s %s: %s, want %s", c.r, c.v.Kind, show(c.v), show(got), c.want)
		}
	}
}

// A column that the writer's schema does not have says nothing: the known value
// stays, of a new row there is none. Of several columns a NULL counts.
func TestMissingColumnKeepsTheKnownValue(t *testing.T) {
	src := lines()
	src.Fields[canonical.LineQuantity] = Field{Columns: []string{"quantity", "count"}}
	w := tell(t, src)
	missing := change.Value{Kind: change.Missing}
	w.wants(w.apply(opCreate, map[string]change.Value{"invoice": change.OfInt(34), "price": missing, "quantity": change.OfInt(2)}), change.Pass)
	if r := w.last(); !r.Field(canonical.LineUnitPrice).IsNull() {
		t.Errorf("%+v", r)
	}
	w.apply(opUpdate, map[string]change.Value{"invoice": change.OfInt(34), "price": change.OfInt(7), "quantity": change.OfInt(2)})
	w.apply(opUpdate, map[string]change.Value{"invoice": missing, "price": missing, "quantity": missing, "count": missing})
	if r := w.last(); r.Field(canonical.LineUnitPrice).Int != 7 || r.Field(canonical.LineQuantity).Int != 2 || r.Doc != "34" {
		t.Errorf("%+v", r)
	}
	w.apply(opUpdate, map[string]change.Value{"invoice": change.OfInt(34), "price": change.OfInt(7), "quantity": missing})
	if r := w.last(); !r.Field(canonical.LineQuantity).IsNull() {
		t.Errorf("one of two columns is NULL, and the known value stayed: %+v", r)
	}
}
