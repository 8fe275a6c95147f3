package pipelines_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"syncline/benchmarks/workload"
	"syncline/pipelines"
	"syncline/pipelines/catalog"
	"syncline/pipelines/run"
	"syncline/processors/party"
	"syncline/processors/state"
	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

const recordedDir = "../benchmarks/workload/recorded/"

// The hard cases that lie in the first recorded feed, with its exact figures.
func TestRecordedFigures(t *testing.T) {
	w := newWorld(t, "catalog/tryton.yaml", 7)
	w.load(t, recordedDir+"debezium-tryton")
	w.run(t)
	rows := w.rows(t)

	if n := len(rows["account"]); n != 79 {
		t.Errorf("%d accounts, want 79", n)
	}
	parties := map[string]int{}
	for _, l := range rows["identity_link"] {
		parties[l["system"]]++
	}
	if parties["crm"] != 71 || parties["subs"] != 63 || parties["erp"] != 68 {
		t.Errorf("parties %v, want crm 71, subs 63, erp 68", parties)
	}
	v := w.driver.Verdicts["intake"]
	if n := v["source.repeated"] + v["source.stale"] + v["source.ended_life"] + v["source.below_snapshot"]; n != 75 {
		t.Errorf("the rewind: %d repeated or stale, want 75: %v", n, v)
	}
	for _, c := range []struct {
		entity, id string
		cells      map[string]string
	}{
		// Converted, not won: 21:32:47.141 UTC.
		{"deal", "24", map[string]string{"won_at": "41567.141"}},
		{"invoice", "39", map[string]string{"paid": "1247.88"}},
		{"payment", "28", map[string]string{"invoice_native_id": "39", "amount": "1247.88", "paid_on": "2026-11-22"}},
		{"invoice", "35", map[string]string{"kind": "credit_note", "gross": "-538.39"}},
	} {
		row := find(rows[c.entity], c.id)
		if row == nil {
			t.Errorf("no %s %s", c.entity, c.id)
			continue
		}
		for k, want := range c.cells {
			if got := row[k]; got != want && !strings.HasPrefix(got, want) {
				t.Errorf("%s %s: %s is %s, want %s", c.entity, c.id, k, got, want)
			}
		}
	}
	for _, d := range rows["deal"] {
		if d["invoice_number"] == "34" && d["stage"] != "credited" {
			t.Errorf("the deal of invoice 34 is %s, want credited", d["stage"])
		}
	}
	// Schema 106 has no vat_exempt: its 44 rows that were never written again show
	// the default of 161, as the database does.
	rec, err := workload.Open(recordedDir + "debezium-tryton")
	if err != nil {
		t.Fatal(err)
	}
	final, err := rec.Final()
	if err != nil {
		t.Fatal(err)
	}
	exempt := map[string]string{}
	for _, r := range final["crm.party_party"] {
		exempt[*r["id"]] = *r["vat_exempt"]
	}
	defaults := 0
	for _, a := range rows["account"] {
		if a["crm_id"] == "null" {
			continue
		}
		if a["vat_exempt"] != exempt[a["crm_id"]] {
			t.Errorf("account %s: vat_exempt is %s, the database says %s", a["entity_id"], a["vat_exempt"], exempt[a["crm_id"]])
		}
		if a["vat_exempt"] == "false" {
			defaults++
		}
	}
	if defaults < 44 {
		t.Errorf("%d rows show the default, want 44 or more", defaults)
	}
	// The zero-filled before image of address 59's delete names party 0.
	if find(rows["identity_link"], "0") != nil {
		t.Error("there is a party 0")
	}
}

func find(rows []textRow, id string) textRow {
	for _, r := range rows {
		if r["native_id"] == id {
			return r
		}
	}
	return nil
}

// snapshotOnly feeds a recording's snapshot rows.
type snapshotOnly struct {
	*feeder
	n int
}

func (s *snapshotOnly) Produce(ctx context.Context, r workload.Record) error {
	// In these envelopes op stands behind the transaction block as a string of one
	// letter; a snapshot row has no transaction, so it is found from the end.
	if r.Value == nil || !s.driver.Knows(r.Topic) || !isSnapshot(r.Value) {
		return nil
	}
	s.n++
	return s.feeder.Produce(ctx, r)
}

// isSnapshot looks for op=r: "transaction" null (0), "op" of length one (2), r.
func isSnapshot(value []byte) bool { return bytes.Contains(value[len(value)-40:], []byte{0, 2, 'r'}) }

func TestSnapshotAgain(t *testing.T) {
	w := newWorld(t, "catalog/tryton.yaml", 3)
	w.load(t, recordedDir+"debezium-tryton")
	w.run(t)
	before, counted := w.canonical(t), maps.Clone(w.driver.Verdicts["intake"])
	rec, err := workload.Open(recordedDir + "debezium-tryton")
	if err != nil {
		t.Fatal(err)
	}
	s := &snapshotOnly{feeder: &feeder{driver: w.driver}}
	if _, err := rec.Load(t.Context(), w.schemas, s, workload.LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	if s.n != 572 {
		t.Fatalf("%d snapshot rows, want 572", s.n)
	}
	w.run(t)
	if d := differences(before, w.canonical(t)); len(d) > 0 {
		t.Errorf("the snapshot rows changed something:\n%s", strings.Join(d, "\n"))
	}
	after := w.driver.Verdicts["intake"]
	repeated, stale := after["source.repeated"]-counted["source.repeated"], 0
	for _, reason := range []string{"source.stale", "source.ended_life", "source.below_snapshot"} {
		stale += after[reason] - counted[reason]
	}
	if repeated != 567 || stale != 5 {
		t.Errorf("repeated %d, stale %d; want 567 and 5", repeated, stale)
	}
}

// The whole feed once more: no new version of anything, and all of it is
// counted as repeated or stale.
func TestWholeFeedTwice(t *testing.T) {
	for _, name := range []string{"debezium-tryton", "debezium-tryton-2"} {
		for seed := range uint64(3) {
			w := newWorld(t, "catalog/tryton.yaml", seed)
			w.driver.Aborts, w.driver.Crashes = 0.1, 0.02
			w.load(t, recordedDir+name)
			w.run(t)
			records := w.canonicalRecords()
			first := maps.Clone(w.driver.Verdicts["intake"])
			w.load(t, recordedDir+name)
			w.run(t)
			if n := w.canonicalRecords(); n != records {
				t.Errorf("%s, seed %d: %d canonical records after the second time, %d before", name, seed, n, records)
			}
			if n := w.driver.Verdicts["intake"][""] - first[""]; n != 0 {
				t.Errorf("%s, seed %d: %d changes were applied a second time", name, seed, n)
			}
		}
	}
}

func (w *world) canonicalRecords() int {
	n := 0
	for _, topic := range w.spine.Delivered {
		if strings.HasPrefix(topic, "canonical.") {
			for _, p := range w.driver.Log(topic) {
				n += len(p)
			}
		}
	}
	return n
}

// moved collects what the party operator sends.
type moved struct{ upserts, retractions int }

func (m *moved) Account(h change.DocumentHead, _ *change.AccountDocument) {
	if h.Retracted {
		m.retractions++
	} else {
		m.upserts++
	}
}

// A customer with 50,000 documents is linked anew: several bounded steps, and
// meanwhile others are served.
func TestRelinkOfAGiant(t *testing.T) {
	const documents, budget = 50_000, 2_000
	table := state.New()
	identity := &party.Identity{Master: "crm", Instances: map[string]string{"crm": "crm", "erp": "erp"}, Reference: regexp.MustCompile(`^CRM-([0-9]+)$`)}
	if err := identity.Prepare(); err != nil {
		t.Fatal(err)
	}
	op := party.New(identity, table)
	out := &moved{}
	apply := func(entity, id, partyID string, children ...change.Row) {
		head := change.Row{System: "erp", Entity: entity, Doc: id, ID: id}
		rows := [][]byte{change.AppendRow(nil, &head)}
		for i := range children {
			rows = append(rows, change.AppendRow(nil, &children[i]))
		}
		h := change.DocumentHead{System: "erp", Entity: entity, ID: id, Party: partyID, Version: 1}
		if v := op.Apply(h, change.AppendDocument(nil, h, rows), out); v.Kind != change.Pass {
			t.Fatal(v)
		}
	}
	for i := range documents {
		apply(canonical.Invoice, strconv.Itoa(i), "55")
	}
	table.Commit()
	identifier := change.Row{System: "erp", Entity: canonical.Party, Doc: "55", Part: canonical.PartIdentifier, ID: "1", Fields: []change.Value{change.OfString("CRM-5")}}
	apply(canonical.Party, "55", "55", identifier)
	*out = moved{}
	steps := 0
	for more := true; more; steps++ {
		before := out.upserts + out.retractions
		apply(canonical.Invoice, "other", "56") // somebody else's document, in the same transaction
		var err error
		if more, err = op.Advance(budget, out); err != nil {
			t.Fatal(err)
		}
		if n := out.upserts + out.retractions - before; n > 2*budget+1 {
			t.Fatalf("step %d sent %d records, the budget is %d documents", steps, n, budget)
		}
		if table.OverlayBytes() > 4<<20 {
			t.Fatalf("step %d holds %d bytes uncommitted", steps, table.OverlayBytes())
		}
		table.Commit()
	}
	if out.retractions != documents || out.upserts != documents+steps {
		t.Errorf("%d retractions, %d upserts in %d steps", out.retractions, out.upserts, steps)
	}
	if steps < documents/budget {
		t.Errorf("%d steps", steps)
	}
}

// A document over the limits: its further rows become letters, it stays as it is.
func TestDocumentLimits(t *testing.T) {
	c, err := catalog.Load("tryton")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{schemas: &memorySchemas{hide: map[int]bool{}}}
	cfg := pipelines.Config{Catalog: c, Schemas: w.schemas}
	cfg.Limits.Rows = 3
	if w.spine, err = pipelines.Build(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	w.driver = run.NewDriver(w.spine.Hops, 4, 1)
	w.driver.Encode = w.spine.Letters.Encode
	w.takeInstructions()
	tl := newTeller(t, w)
	tell := func(words string) {
		if err := tl.do(splitWords(words)); err != nil {
			t.Fatal(err)
		}
	}
	tell("erp.account_invoice c id=1 party=55 state=draft currency=1")
	for i := range 5 {
		tell(fmt.Sprintf("erp.account_invoice_line c id=%d invoice=1 quantity=1 unit_price=1", i+1))
	}
	w.run(t)
	rows := w.rows(t)
	if n := len(rows["letter"]); n != 2 || rows["letter"][0]["reason"] != "document.too_large" {
		t.Errorf("letters: %v", rows["letter"])
	}
	if got := find(rows["invoice"], "1"); got["net"] != "null" || got["complete"] != "false" {
		t.Errorf("net is %s, complete %s; a sum without two of its lines is none", got["net"], got["complete"])
	}
	letters := func(want string) {
		t.Helper()
		rows := w.rows(t)
		open := 0
		for _, l := range rows["letter"] {
			if l["state"] == "open" {
				open++
			}
			if l["entity"] != "invoice" || l["part"] != "line" || l["row_id"] == "null" || l["document_id"] != "1" {
				t.Errorf("a letter is %v", l)
			}
		}
		got := ""
		for _, f := range rows["feed"] {
			if f["topic"] == "erp.account_invoice_line" || strings.HasSuffix(f["topic"], ".account_invoice_line") {
				got = "letters " + f["letters"] + " healed " + f["healed"]
			}
		}
		if got = fmt.Sprintf("%s open %d", got, open); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	letters("letters 2 healed 0 open 2")
	// Room is made: the next image of one row is taken, the other row goes.
	kept := ""
	for id := 1; id <= 5 && kept == ""; id++ {
		if s := fmt.Sprint(id); s != rows["letter"][0]["row_id"] && s != rows["letter"][1]["row_id"] {
			kept = s
		}
	}
	for _, words := range []string{
		"erp.account_invoice_line d id=" + kept,
		"erp.account_invoice_line u id=" + rows["letter"][0]["row_id"] + " invoice=1 quantity=1 unit_price=2",
		"erp.account_invoice_line d id=" + rows["letter"][1]["row_id"],
	} {
		tell(words)
		w.run(t)
	}
	letters("letters 2 healed 2 open 0")
	if got := find(w.rows(t)["invoice"], "1"); got["net"] != "4" || got["complete"] != "true" {
		t.Errorf("net is %s, complete %s", got["net"], got["complete"])
	}
}
