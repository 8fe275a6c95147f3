package pipelines_test

import (
	"bytes"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"syncline/pipelines"
	"syncline/pipelines/catalog"
	"syncline/pipelines/run"
	"syncline/processors/letters"
)

// The tables of the company that the tests of schemas need.
const (
	customersTopic = "cdc.crm.sales.customers"
	dealsTopic     = "cdc.crm.sales.deals"
)

const timeType = `{"type":"long","connect.name":"io.debezium.time.MicroTimestamp"}`

func dealColumns() map[string]string {
	return map[string]string{
		"deal_id": `"long"`, "customer_id": `"long"`, "stage": `"string"`, "code": `"string"`, "title": `"string"`, "value": `"double"`, "currency": `"string"`,
		"inserted_at": timeType, "touched_at": timeType,
	}
}

func without(columns map[string]string, name string) map[string]string {
	delete(columns, name)
	return columns
}

func and(columns map[string]string, name, typ string) map[string]string {
	columns[name] = typ
	return columns
}

func deal(id int, more ...any) map[string]any {
	d := map[string]any{"deal_id": id, "customer_id": 5, "stage": "new", "currency": "EUR"}
	for i := 0; i < len(more); i += 2 {
		d[more[i].(string)] = more[i+1]
	}
	return d
}

// sales is a company's CRM, of which a test writes the deals' schema.
func sales(t *testing.T, spoil func(string) string, columns map[string]string) (*world, *wire, *bytes.Buffer) {
	t.Helper()
	return salesOf(t, spoil, columns, letters.Limit{})
}

// salesWithin stops a feed at a limit of letters.
func salesWithin(t *testing.T, limit letters.Limit) (*world, *wire, *bytes.Buffer) {
	t.Helper()
	return salesOf(t, asItIs, dealColumns(), limit)
}

func salesOf(t *testing.T, spoil func(string) string, columns map[string]string, limit letters.Limit) (*world, *wire, *bytes.Buffer) {
	t.Helper()
	text, err := os.ReadFile("catalog/company.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Parse("company.yaml", []byte(spoil(string(text))))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{schemas: &memorySchemas{hide: map[int]bool{}}}
	deals := newWire(t, w, dealsTopic, []string{"deal_id"}, columns)
	customers := newWire(t, w, customersTopic, []string{"customer_id"}, map[string]string{"customer_id": `"long"`, "display_name": `"string"`, "inserted_at": timeType, "touched_at": timeType})
	var log bytes.Buffer
	w.spine, err = pipelines.Build(t.Context(), pipelines.Config{Catalog: c, Schemas: w.schemas, Log: slog.New(slog.NewTextHandler(&log, nil)), UnknownSchemaWait: 10 * time.Second, LetterLimit: limit})
	if err != nil {
		t.Fatal(err)
	}
	w.driver = run.NewDriver(w.spine.Hops, 4, 1)
	w.driver.Encode = w.spine.Letters.Encode
	w.takeInstructions()
	customers.tell(t, "c", map[string]any{"customer_id": 5, "display_name": "Acme"})
	return w, deals, &log
}

func asItIs(s string) string { return s }

func (w *world) amounts(t *testing.T) string {
	t.Helper()
	var out []string
	for _, r := range w.rows(t)["opportunity"] {
		out = append(out, r["native_id"]+"="+r["amount"])
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// A column that is gone makes its table wait, in words, and no other; a mended
// schema or catalog lets it go on from where it stood.
func TestColumnGoneMakesTheTableWait(t *testing.T) {
	w, deals, _ := sales(t, asItIs, dealColumns())
	deals.tell(t, "c", deal(1, "value", 5000.0))
	w.run(t)
	deals.reshape(t, and(without(dealColumns(), "value"), "deal_value", `"double"`))
	deals.tell(t, "u", deal(1, "deal_value", 6000.0))
	deals.tell(t, "c", deal(2, "deal_value", 7000.0))
	w.run(t)
	if got := w.amounts(t); got != "1=5000" {
		t.Errorf("%s", got)
	}
	waits := w.driver.Waits()
	if len(waits) == 0 {
		t.Fatal("nobody waits")
	}
	for _, v := range waits {
		for _, part := range []string{dealsTopic, "schema id", `"value"`, `"deal_value"`, "syncline feeds accept " + dealsTopic + " --column-gone value"} {
			if v.Reason != "schema.column_gone" || !strings.Contains(v.Err.Error(), part) {
				t.Errorf("%s: %v does not say %s", v.Reason, v.Err, part)
			}
		}
	}
	if n := len(w.rows(t)["letter"]); n != 0 {
		t.Errorf("%d letters", n)
	}
}

// Once somebody has accepted that the column is gone, the table goes on from
// where it stood, also in tasks that are made anew.
func TestColumnGoneIsAccepted(t *testing.T) {
	w, deals, _ := sales(t, asItIs, dealColumns())
	w.driver.Aborts, w.driver.Crashes = 0.3, 0.3
	deals.tell(t, "c", deal(1, "value", 5000.0))
	w.run(t)
	deals.reshape(t, without(dealColumns(), "value"))
	deals.tell(t, "u", deal(1, "title", "Big"))
	if err := w.driver.Steps(40); err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Open("catalog/company.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for column, says := range map[string]string{"deal_id": "of the key", "worth": "no mapping uses"} {
		if _, err := pipelines.AcceptGone(c, dealsTopic, column); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("accepting %s: %v", column, err)
		}
	}
	if _, err := pipelines.AcceptGone(c, "cdc.crm.sales.dreams", "value"); err == nil {
		t.Error("a topic that the catalog does not have was taken")
	}
	i, err := pipelines.AcceptGone(c, dealsTopic, "value")
	if err != nil {
		t.Fatal(err)
	}
	i.ID = "1"
	w.driver.Instruct(&i)
	w.run(t)
	deals.tell(t, "c", deal(2))
	w.run(t)
	if got := w.amounts(t); got != "1=5000 2=null" || len(w.driver.Waits()) > 0 {
		t.Errorf("%s, waits %v", got, w.driver.Waits())
	}
}

// What the catalog says is gone reads as not sent.
func TestColumnGoneAsTheCatalogSays(t *testing.T) {
	w, deals, log := sales(t, func(s string) string {
		return strings.Replace(s, "key: [deal_id]\n", "key: [deal_id]\n    gone: [value]\n", 1)
	}, dealColumns())
	deals.tell(t, "c", deal(1, "value", 5000.0))
	w.run(t)
	deals.reshape(t, without(dealColumns(), "value"))
	deals.tell(t, "u", deal(1, "title", "Big"))
	deals.tell(t, "c", deal(2))
	w.run(t)
	if got := w.amounts(t); got != "1=5000 2=null" || len(w.driver.Waits()) > 0 || log.Len() > 0 {
		t.Errorf("%s, waits %v, log %s", got, w.driver.Waits(), log)
	}
}

// Records that were written before a column came to the table are no reason to
// wait: the subject's later version has it.
func TestColumnThatCameLater(t *testing.T) {
	w, deals, log := sales(t, asItIs, without(dealColumns(), "value"))
	if !strings.Contains(log.String(), "value") {
		t.Errorf("the start says nothing of the column: %s", log)
	}
	deals.tell(t, "c", deal(1))
	old, oldID := deals.value, deals.valueID
	deals.reshape(t, dealColumns())
	deals.tell(t, "c", deal(2, "value", 7.5))
	columns := deals.columns
	deals.value, deals.valueID, deals.columns = old, oldID, without(dealColumns(), "value")
	deals.tell(t, "u", deal(2, "title", "Small"))
	deals.columns = columns
	w.run(t)
	if got := w.amounts(t); got != "1=null 2=7.5" || len(w.driver.Waits()) > 0 {
		t.Errorf("%s, waits %v", got, w.driver.Waits())
	}
}

func TestColumnOfAnotherKindMakesTheTableWait(t *testing.T) {
	w, deals, log := sales(t, asItIs, and(dealColumns(), "inserted_at", `"long"`))
	deals.tell(t, "r", deal(1, "inserted_at", 1_700_000_000))
	w.run(t)
	waits := w.driver.Waits()
	if len(waits) != 1 || waits[0].Reason != "schema.kind" || !strings.Contains(waits[0].Err.Error(), "inserted_at") || !strings.Contains(log.String(), "inserted_at") {
		t.Errorf("%v, log %s", waits, log)
	}
	w, deals, log = sales(t, func(s string) string {
		s = strings.ReplaceAll(s, "changed: [touched_at, inserted_at]", "changed: [touched_at]")
		s = strings.ReplaceAll(s, "won: {phases: [won], snapshot: [touched_at, inserted_at]}", "won: {phases: [won], snapshot: [touched_at]}")
		s = strings.ReplaceAll(s, "lost: {phases: [lost], snapshot: [touched_at, inserted_at]}", "lost: {phases: [lost], snapshot: [touched_at]}")
		return strings.Replace(s, "currency: currency\n    milestones:\n      created: {snapshot: [inserted_at]}", "currency: currency\n    milestones:\n      created: {snapshot: [{time: {path: inserted_at, unit: s}}]}", 1)
	}, and(dealColumns(), "inserted_at", `"long"`))
	deals.tell(t, "r", deal(1, "inserted_at", storyStart.Unix()-60))
	w.run(t)
	if rows := w.rows(t)["deal"]; len(w.driver.Waits()) > 0 || len(rows) != 1 || rows[0]["opened_at"] != "-60" {
		t.Errorf("waits %v, log %s, %v", w.driver.Waits(), log, rows)
	}
}

// An id that nobody knows is waited for once; its further records are letters at
// once, and once it appears it is read.
func TestUnknownSchemaIsWaitedForOnce(t *testing.T) {
	w, deals, _ := sales(t, asItIs, dealColumns())
	deals.tell(t, "c", deal(1, "value", 100.0))
	w.run(t)
	known := deals.valueID
	deals.reshape(t, and(dealColumns(), "colour", `"string"`))
	unknown := deals.valueID
	w.schemas.hide[unknown] = true
	for range 4 {
		deals.tell(t, "u", deal(1, "value", 101.0))
	}
	deals.columns, deals.valueID, deals.value = dealColumns(), known, mustAvro(t, envelopeOf(dealColumns()))
	deals.tell(t, "c", deal(1, "value", 102.0, "title", "after"))
	before := w.driver.Waited
	w.run(t)
	if got := w.amounts(t); got != "1=102" {
		t.Errorf("%s", got)
	}
	if n := w.driver.Verdicts["intake"]["record.unknown_schema"]; n != 4 {
		t.Errorf("%d letters, want 4", n)
	}
	// The driver tells a waiting task that a second has passed at every try.
	if tries := w.driver.Waited - before; tries < 10 || tries > 12 {
		t.Errorf("%d seconds waited, want 10", tries)
	}
	delete(w.schemas.hide, unknown)
	deals.reshape(t, and(dealColumns(), "colour", `"string"`))
	deals.tell(t, "u", deal(1, "value", 103.0))
	w.run(t)
	if got := w.amounts(t); got != "1=103" {
		t.Errorf("%s", got)
	}
	for _, l := range w.rows(t)["letter"] {
		if l["healed"] != "true" {
			t.Errorf("%v is not healed", l)
		}
	}
}
