package pipelines_test

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"syncline/pipelines"
	"syncline/pipelines/catalog"
	"syncline/pipelines/run"
	"syncline/processors/intake"
	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// The property: whatever single value of whatever mapped column is refused, the
// documents that it concerns say that they are not complete, and every sum is
// NULL or what it would be without the refusal.

// The sums, by entity.
var sumColumns = map[string][]string{
	"subscription": {"monthly_net"},
	"invoice":      {"net", "tax", "gross", "paid", "unapplied"},
	"payment":      {"amount"},
	"deal":         {"billed", "paid", "credited"},
}

// refusable is one place of a table at which a value can be refused.
type refusable struct {
	source *intake.Source
	field  int // as in change.Refusal
	name   string
	needed bool
	moves  bool // it decides in which account the document is seen
}

// wholeCompany is one row for every table of a catalog, all of one deal that is
// billed and paid.
type wholeCompany struct {
	reference string // by which a party of another system names the CRM's
	parties   map[string]string
}

func (c *wholeCompany) row(s *intake.Source, shape canonical.Shape) change.Row {
	ids := map[string]string{canonical.PartIdentifier: "21", canonical.PartAddress: "22", canonical.PartContact: "23", canonical.PartLine: "24", canonical.PartTax: "25", canonical.PartPayment: "26"}
	id, doc := "1", "1"
	if s.Entity == canonical.Party {
		id = c.parties[s.System]
		doc = id
	}
	id, doc = s.Prefix+id, s.Prefix+doc
	if s.Part != "" {
		id = ids[s.Part]
	}
	r := change.Row{
		System: s.System, Entity: s.Entity, Part: s.Part, Doc: doc, ID: id, Topic: s.Topic,
		Pos: change.Position{LSN: 1, Streamed: true}, Commit: change.Instant{Micros: 1_000_000}, Since: change.Instant{Micros: 1_000_000},
	}
	if s.Part == "" || s.Part == canonical.PartPayment {
		for i := range r.Times {
			if s.Times[i] != nil && change.Milestone(i) != change.Lost { //nolint:gosec // few
				r.Times[i] = change.Instant{Micros: int64(i+1) * 1_000_000}
			}
		}
	}
	if s.Party != nil {
		r.Party = change.OfString(c.parties[s.System])
	}
	for i, f := range shape.Fields {
		v := change.Value{}
		if m := s.Fields[i]; len(m.Columns) > 0 || m.Constant != nil {
			v = c.value(s, f)
		}
		r.Fields = append(r.Fields, v)
	}
	return r
}

func (c *wholeCompany) value(s *intake.Source, f canonical.FieldSpec) change.Value {
	words := map[string]string{
		"opportunity.phase": canonical.PhaseWon, "order.phase": "confirmed", "subscription.phase": canonical.PhaseActive, "invoice.phase": canonical.PhasePosted,
		"invoice.kind": canonical.KindInvoice, "subscription.recurrence": "year", "product.kind": canonical.KindProduct, "party/identifier.code": c.reference,
		"order.number": "SO", "subscription.order_number": "SO", "invoice.order_number": "SO", "invoice/payment.line": "24", "entry/line.party": c.parties[s.System],
		"order.opportunity": "1", "invoice.entry": "1",
	}
	name := s.Entity
	if s.Part != "" {
		name += "/" + s.Part
	}
	name += "." + f.Name
	switch f.Kind {
	case change.String:
		switch word, known := words[name]; {
		case known:
			return change.OfString(word)
		case f.Name == "credits":
			return change.Value{} // it credits nothing
		case f.Name == "currency":
			return change.OfString("USD")
		default:
			return change.OfString("w")
		}
	case change.Decimal:
		n := map[string]int64{"quantity": 2, "unit_price": 50, "debit": 0, "credit": 120, "recurrence_interval": 1}[f.Name]
		if name == "invoice/tax.amount" {
			n = 20
		}
		if name == "invoice/payment.amount" {
			n = 120
		}
		return change.DecimalOf(big.NewInt(n), 0)
	case change.Date:
		return change.OfDate(20_000)
	case change.Bool:
		return change.OfBool(true)
	default:
		panic("no value of kind " + f.Kind.String())
	}
}

// before is another value, that a row had before the refused one came.
func before(v change.Value, f canonical.FieldSpec) change.Value {
	switch {
	case f.Name == "phase":
		return change.OfString(map[string]string{canonical.PhaseWon: "open", "confirmed": "cancelled", canonical.PhaseActive: "draft", canonical.PhasePosted: "draft"}[v.Text()])
	case f.Name == "kind" && v.Text() == canonical.KindInvoice:
		return change.OfString(canonical.KindCreditNote)
	case f.Name == "recurrence":
		return change.OfString("month")
	case f.Name == "credits":
		return change.OfString("1")
	case f.Name == "currency":
		return change.OfString("JPY")
	}
	switch v.Kind {
	case change.String:
		return change.OfString("before")
	case change.Decimal:
		return change.DecimalOf(big.NewInt(7), 0)
	case change.Date:
		return change.OfDate(10_000)
	case change.Bool:
		return change.OfBool(false)
	default:
		return v
	}
}

// played runs rows through the hops behind intake and returns what is shown.
func played(t *testing.T, cat *catalog.Catalog, rows []change.Row) rowSet {
	t.Helper()
	w := &world{schemas: &memorySchemas{hide: map[int]bool{}}}
	var err error
	if w.spine, err = pipelines.Build(t.Context(), pipelines.Config{Catalog: cat, Schemas: w.schemas}); err != nil {
		t.Fatal(err)
	}
	w.driver = run.NewDriver(w.spine.Hops, 2, 1)
	w.driver.Encode = w.spine.Letters.Encode
	topic := pipelines.DefaultNames().Rows
	for i := range rows {
		key := []byte(rows[i].System + "/" + rows[i].Entity + "/" + rows[i].Doc)
		part := run.PartitionOf(key, int32(len(w.driver.Log(topic)))) //nolint:gosec // few
		if err := w.driver.Feed(topic, part, key, change.AppendRow(nil, &rows[i]), 0); err != nil {
			t.Fatal(err)
		}
	}
	w.run(t)
	return w.rows(t)
}

func TestRefusedValuesAreTold(t *testing.T) {
	for name, company := range map[string]*wholeCompany{
		"tryton":  {"CRM-5", map[string]string{"crm": "5", "subs": "8", "erp": "55"}},
		"company": {"C#5", map[string]string{"crm": "5", "subs": "8", "erp": "55"}},
	} {
		t.Run(name, func(t *testing.T) {
			cat, err := catalog.Open("catalog/" + name + ".yaml")
			if err != nil {
				t.Fatal(err)
			}
			sources, err := cat.Sources()
			if err != nil {
				t.Fatal(err)
			}
			var rows []change.Row
			var places []refusable
			shapes := map[*intake.Source]canonical.Shape{}
			for _, s := range sources {
				i := slices.IndexFunc(canonical.Entities(), func(e canonical.Entity) bool { return e.Name == s.Entity })
				shapes[s], _ = canonical.Entities()[i].Shape(s.Part)
				rows = append(rows, company.row(s, shapes[s]))
				if s.Entity != canonical.Reference { // nothing is published of it
					places = append(places, placesOf(s, shapes[s])...)
				}
			}
			truth := played(t, cat, rows)
			for entity, want := range map[string]string{"deal": "stage=paid billed=120 paid=120", "invoice": "gross=120 paid=120", "subscription": "monthly_net=8.333333333"} {
				if len(truth[entity]) != 1 || truth[entity][0]["complete"] != "true" || !strings.Contains(strings.Join(truth.show(entity, []string{"stage", "gross", "monthly_net", "billed", "paid"}), ""), strings.Fields(want)[0]) {
					t.Fatalf("without a refusal the %s is %v, want %s", entity, truth[entity], want)
				}
			}
			for _, p := range places {
				for _, known := range []bool{false, true} {
					if !known && (p.needed || p.field == change.RefusedParent) {
						continue // such a row is a letter alone
					}
					spoilt := slices.Clone(rows)
					i := slices.IndexFunc(sources, func(s *intake.Source) bool { return s == p.source })
					spoilt[i] = refused(rows[i], shapes[p.source], p, known)
					checkRefusal(t, fmt.Sprintf("%s: %s refused, known before: %v", p.source.Topic, p.name, known), p, truth, played(t, cat, spoilt))
				}
			}
			t.Logf("%d places of %d tables", len(places), len(sources))
		})
	}
}

func placesOf(s *intake.Source, shape canonical.Shape) []refusable {
	var all []refusable
	for i, f := range shape.Fields {
		if len(s.Fields[i].Columns) > 0 {
			all = append(all, refusable{s, i, f.Name, f.Need, s.Part == canonical.PartIdentifier})
		}
	}
	all = append(all, refusable{s, change.RefusedRow, "the row", false, s.Part == canonical.PartIdentifier}, refusable{s, change.RefusedCommit, "its commit time", false, false})
	if s.Party != nil {
		all = append(all, refusable{s, change.RefusedParty, "the customer", false, true})
	}
	if s.Part != "" {
		all = append(all, refusable{s, change.RefusedParent, "the document", false, false})
	}
	for i := range s.Times {
		if s.Times[i] != nil {
			all = append(all, refusable{s, change.RefusedCreated - i, change.MilestoneNames[i], false, false})
		}
	}
	return all
}

// refused is a row of which a value was refused: it keeps the one before, or
// has none.
func refused(r change.Row, shape canonical.Shape, p refusable, known bool) change.Row {
	r.Fields = slices.Clone(r.Fields)
	r.Refused = []change.Refusal{{Field: p.field, Reason: "field " + p.name + ": refused by the test"}}
	put := func(i int) {
		if known {
			r.Fields[i] = before(r.Fields[i], shape.Fields[i])
		} else {
			r.Fields[i] = change.Value{}
		}
	}
	switch {
	case p.field >= 0:
		put(p.field)
	case p.field == change.RefusedRow:
		for i, f := range shape.Fields {
			if len(p.source.Fields[i].Columns) > 0 && (known || !f.Need) {
				put(i)
			}
		}
	case p.field == change.RefusedParty && known:
		r.Party = change.OfString("66")
	case p.field == change.RefusedParty:
		r.Party = change.Value{}
	case p.field <= change.RefusedCreated:
		r.Times[change.RefusedCreated-p.field] = change.Instant{}
	}
	return r
}

func checkRefusal(t *testing.T, what string, p refusable, truth, got rowSet) {
	t.Helper()
	for entity, columns := range sumColumns {
		if p.moves && (entity == "deal" || entity == "payment" || entity == "invoice") {
			continue // nobody knows whose it is, so what it would have joined cannot tell
		}
		for _, want := range truth[entity] {
			i := slices.IndexFunc(got[entity], func(r textRow) bool { return r["native_id"] == want["native_id"] })
			if i < 0 {
				t.Errorf("%s: %s %s is gone", what, entity, want["native_id"])
				continue
			}
			for _, c := range columns {
				if have := got[entity][i][c]; have != "null" && have != want[c] {
					t.Errorf("%s: %s of %s %s is %s, in truth %s", what, c, entity, want["native_id"], have, want[c])
				}
			}
		}
	}
	told := 0
	concerned := []string{p.source.Entity}
	switch p.source.Entity {
	case canonical.Party:
		concerned = []string{"account", "identity_link"}
	case canonical.Entry:
		concerned = []string{"invoice", "payment", "deal"}
	case canonical.Opportunity, canonical.Order, canonical.Subscription, canonical.Invoice:
		if !p.moves {
			concerned = append(concerned, "deal")
		}
	}
	for _, entity := range concerned {
		for _, r := range got[entity] {
			// An entry without its party is under another account: its line is missing.
			lost := p.source.Entity == canonical.Entry && strings.Contains(r["incomplete_reason"], "is not known under this account")
			if r["complete"] == "false" && (lost || strings.Contains(r["incomplete_reason"], p.name)) {
				told++
				break
			}
		}
	}
	if told < len(concerned) {
		t.Errorf("%s: only %d of %v say so", what, told, concerned)
	}
}
