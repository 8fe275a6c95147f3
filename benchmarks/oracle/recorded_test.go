package oracle

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// smallCompany holds what the recordings do not: each line is a row, the first
// row of a table names its columns by being complete ("-" is NULL).
const smallCompany = `
crm.party_party id=1 name=One
crm.party_party id=2 name=Two
crm.party_party id=3 name=Three
crm.party_identifier id=1 party=1 code=CRM-2
subs.party_party id=1 name=one-in-subs
subs.party_party id=5 name=ninety-nine-in-subs
subs.party_party id=6 name=two-in-subs
subs.party_identifier id=1 party=1 code=CRM-1
subs.party_identifier id=2 party=5 code=CRM-99
subs.party_identifier id=3 party=6 code=CRM-2
erp.party_party id=1 name=one-in-erp
erp.party_party id=7 name=ninety-nine-in-erp
erp.party_party id=8 name=two-names
erp.party_party id=9 name=alone
erp.party_party id=10 name=one-again
erp.party_identifier id=1 party=1 code=CRM-1
erp.party_identifier id=2 party=7 code=CRM-99
erp.party_identifier id=3 party=8 code=CRM-3
erp.party_identifier id=4 party=8 code=CRM-2
erp.party_identifier id=5 party=9 code=XCRM-1
erp.party_identifier id=6 party=10 code=CRM-1
erp.currency_currency id=1 code=USD
crm.product_product id=1 code=SEAT template=1
crm.product_template id=1 code=T name=Seat
subs.product_product id=1 code=- template=1
subs.product_template id=1 code=T name=Seat
erp.product_product id=1 code=SEAT template=1
erp.product_template id=1 code=T name=Seat
subs.sale_subscription_service id=1 product=1
crm.sale_opportunity id=1 party=1 state=won number=1 description=d amount=100.00
crm.sale_opportunity id=2 party=1 state=converted number=2 description=d amount=100.00
crm.sale_opportunity id=3 party=- state=lead number=3 description=- amount=-
crm.sale_opportunity id=4 party=77 state=opportunity number=4 description=d amount=1
crm.sale_opportunity id=5 party=1 state=cancelled number=5 description=d amount=1
crm.sale_opportunity id=6 party=2 state=won number=6 description=d amount=1
crm.sale_opportunity id=7 party=2 state=won number=7 description=d amount=1
crm.sale_opportunity id=8 party=2 state=won number=8 description=d amount=1
crm.sale_opportunity id=9 party=2 state=won number=9 description=d amount=1
crm.sale_opportunity id=10 party=1 state=won number=10 description=d amount=1
crm.sale_opportunity_line id=1 opportunity=1 product=1 quantity=2
crm.sale_opportunity_line id=2 opportunity=70 product=1 quantity=2
crm.sale_sale id=9 party=1 origin=sale.opportunity,1 state=done number=S9 untaxed_amount_cache=100 tax_amount_cache=20.0 total_amount_cache=120.00 currency=1 sale_date=2026-01-02
crm.sale_sale id=10 party=1 origin=sale.opportunity,1 state=done number=S10 untaxed_amount_cache=100 tax_amount_cache=20 total_amount_cache=120 currency=1 sale_date=-
crm.sale_sale id=11 party=1 origin=sale.opportunity,2 state=done number=S11 untaxed_amount_cache=- tax_amount_cache=- total_amount_cache=- currency=1 sale_date=-
crm.sale_sale id=12 party=1 origin=sale.opportunity,5 state=done number=S12 untaxed_amount_cache=- tax_amount_cache=- total_amount_cache=- currency=1 sale_date=-
crm.sale_sale id=13 party=3 origin=sale.opportunity,6 state=done number=S13 untaxed_amount_cache=- tax_amount_cache=- total_amount_cache=- currency=1 sale_date=-
crm.sale_sale id=14 party=2 origin=sale.opportunity,7 state=done number=S14 untaxed_amount_cache=- tax_amount_cache=- total_amount_cache=- currency=1 sale_date=-
crm.sale_sale id=15 party=2 origin=sale.opportunity,8 state=done number=S15 untaxed_amount_cache=- tax_amount_cache=- total_amount_cache=- currency=1 sale_date=-
crm.sale_sale id=16 party=2 origin=sale.opportunity,9 state=cancelled number=S16 untaxed_amount_cache=- tax_amount_cache=- total_amount_cache=- currency=1 sale_date=-
crm.sale_sale id=18 party=2 origin=sale.opportunity,9 state=done number=S18 untaxed_amount_cache=- tax_amount_cache=- total_amount_cache=- currency=1 sale_date=-
crm.sale_sale id=19 party=1 origin=sale.opportunity,10 state=done number=S19 untaxed_amount_cache=- tax_amount_cache=- total_amount_cache=- currency=1 sale_date=-
crm.sale_sale id=17 party=2 origin=sale.opportunity,9 state=done number=S17 untaxed_amount_cache=- tax_amount_cache=- total_amount_cache=- currency=1 sale_date=-
crm.sale_line id=1 sale=9 product=1 quantity=0.5 unit_price=49.90
subs.sale_subscription id=2 party=1 reference=S9 state=closed number=B2 start_date=2026-01-01 end_date=- currency=1
subs.sale_subscription id=10 party=1 reference=S9 state=running number=B10 start_date=2026-01-01 end_date=- currency=1
subs.sale_subscription id=11 party=5 reference=S14 state=running number=B11 start_date=2026-01-01 end_date=- currency=1
subs.sale_subscription id=12 party=6 reference=S15 state=running number=B12 start_date=2026-01-01 end_date=- currency=1
subs.sale_subscription_line id=1 subscription=2 service=1 quantity=5 unit_price=12.345
subs.sale_subscription_line id=2 subscription=2 service=1 quantity=7 unit_price=12.345
erp.account_invoice id=9 party=1 state=draft number=- invoice_date=- reference=B2 description=S9 currency=1
erp.account_invoice id=10 party=10 state=posted number=I10 invoice_date=2026-02-01 reference=B2 description=S9 currency=1
erp.account_invoice id=11 party=1 state=posted number=I11 invoice_date=2026-02-01 reference=- description=S9 currency=1
erp.account_invoice id=12 party=1 state=paid number=I12 invoice_date=2026-02-01 reference=- description=S11 currency=1
erp.account_invoice id=13 party=1 state=posted number=I13 invoice_date=2026-02-01 reference=- description=S11 currency=1
erp.account_invoice id=14 party=1 state=posted number=I14 invoice_date=2026-02-01 reference=- description=S12 currency=1
erp.account_invoice id=15 party=8 state=posted number=I15 invoice_date=2026-02-01 reference=- description=S16 currency=1
erp.account_invoice id=16 party=8 state=posted number=I16 invoice_date=2026-02-01 reference=- description=S17 currency=1
erp.account_invoice id=17 party=8 state=posted number=I17 invoice_date=2026-02-01 reference=- description=S18 currency=1
erp.account_invoice id=18 party=8 state=posted number=I18 invoice_date=2026-02-01 reference=- description=S17 currency=1
erp.account_invoice id=19 party=1 state=cancelled number=I19 invoice_date=2026-02-01 reference=- description=S19 currency=1
erp.account_invoice_line id=9 invoice=18 product=1 quantity=-2 unit_price=1 origin=-
erp.account_invoice_line id=10 invoice=19 product=1 quantity=8 unit_price=1 origin=-
erp.account_invoice_line id=7 invoice=16 product=1 quantity=1 unit_price=3 origin=-
erp.account_invoice_line id=8 invoice=17 product=1 quantity=1 unit_price=4 origin=-
erp.account_invoice_line id=1 invoice=10 product=1 quantity=10 unit_price=10 origin=-
erp.account_invoice_line id=2 invoice=9 product=1 quantity=10 unit_price=10 origin=-
erp.account_invoice_line id=3 invoice=11 product=1 quantity=1 unit_price=1 origin=-
erp.account_invoice_line id=4 invoice=12 product=1 quantity=3 unit_price=1 origin=-
erp.account_invoice_line id=5 invoice=13 product=1 quantity=-3 unit_price=1 origin=account.invoice.line,4
erp.account_invoice_line id=6 invoice=99 product=1 quantity=1 unit_price=1 origin=-
erp.account_invoice_tax id=1 invoice=10 amount=20.00
erp.account_move id=1 date=2026-03-01
erp.account_move id=2 date=2026-03-02
erp.account_move id=3 date=2026-03-03
erp.account_move_line id=1 move=1 party=- debit=50 credit=0
erp.account_move_line id=2 move=1 party=1 debit=0 credit=50.50
erp.account_move_line id=3 move=2 party=9 debit=0 credit=70
erp.account_move_line id=4 move=3 party=1 debit=0 credit=3
erp.account_move_line id=6 move=3 party=1 debit=0 credit=8
erp.account_move_line id=5 move=4 party=1 debit=0 credit=3
erp.account_invoice-account_move_line id=1 invoice=10 line=2
erp.account_invoice-account_move_line id=2 invoice=10 line=3
erp.account_invoice-account_move_line id=3 invoice=12 line=4
erp.account_invoice-account_move_line id=4 invoice=10 line=5
erp.account_invoice-account_move_line id=6 invoice=19 line=6
erp.account_invoice-account_move_line id=5 invoice=98 line=5
`

func parseCompany(text string) finalRows {
	out := finalRows{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		row := map[string]*string{}
		for _, f := range fields[1:] {
			column, value, _ := strings.Cut(f, "=")
			row[column] = &value
			if value == "-" {
				row[column] = nil
			}
		}
		out[fields[0]] = append(out[fields[0]], row)
	}
	return out
}

// bornInOrder lets the header rows of documents come in the order of the text.
func bornInOrder(final finalRows) []map[string]*string {
	var rows []map[string]*string
	for _, table := range []string{"crm.sale_sale", "subs.sale_subscription", "erp.account_invoice"} {
		for i, r := range final[table] {
			at := strconv.Itoa(i + 1)
			rows = append(rows, map[string]*string{"of": &table, "id": r["id"], "at": &at})
		}
	}
	return rows
}

// TestRowsBySQL holds recorded.sql to the definitions where the recordings are
// silent. An expectation names the columns it is about; "-" is NULL.
func TestRowsBySQL(t *testing.T) {
	final := parseCompany(smallCompany)
	e, err := finalViews(t.Context(), connect(t), final, bornInOrder(final))
	if err != nil {
		t.Fatal(err)
	}
	id := func(name string) string { return testEntity(t, name) }
	for _, c := range []struct{ view, key, want string }{
		// A master that does not exist still groups; the name goes by rule.
		{"accounts", id("crm/party/99"), "crm_id=- crm_ids= subs_id=5 erp_id=7 name=ninety-nine-in-erp"},
		{"accounts", id("crm/party/1"), "crm_id=1 subs_id=1 erp_id=1 erp_ids=1,10 name=One"},
		// A master's own identifiers do not count; of two, the smaller does.
		{"accounts", id("crm/party/2"), "crm_ids=2 subs_ids=6 erp_ids=8 name=Two"},
		{"accounts", id("crm/party/3"), "crm_ids=3 erp_ids="},
		{"accounts", id("erp/party/9"), "crm_id=- erp_id=9 name=alone"},
		{"identity_links", "crm/1", "rule=master account_id=" + id("crm/party/1")},
		{"identity_links", "erp/8", "rule=reference account_id=" + id("crm/party/2")},
		{"identity_links", "erp/9", "rule=none account_id=" + id("erp/party/9")},
		{"products", "subs/1", "code=T name=Seat kind=product"},
		{"products", "subs/service:1", "code=T"},
		// No party, and a party without a row.
		{"opportunities", "crm/3", "account_id=- phase=open amount=- deal_id=" + id("crm/opportunity/3")},
		{"opportunities", "crm/4", "account_id=" + id("crm/party/77") + " phase=open"},
		{"opportunities", "crm/5", "phase=lost"},
		{"opportunity_lines", "crm/1/1", "product_code=SEAT quantity=2 unit_price=-"},
		{"opportunity_lines", "crm/70/2", ""},
		{"order_lines", "crm/9/1", "quantity=0.5 unit_price=49.9"},
		// 61.725 and 86.415, half to even.
		{"subscriptions", "subs/2", "monthly_net=148.14 phase=ended deal_id=" + id("crm/opportunity/1")},
		{"subscriptions", "subs/10", "monthly_net=0 phase=active"},
		{"subscriptions", "subs/11", "deal_id=- account_id=" + id("crm/party/99")},
		{"subscription_lines", "subs/2/1", "product_code=T"},
		{"invoices", "erp/10", "net=100 tax=20 gross=120 paid=- complete=false kind=invoice account_id=" + id("crm/party/1") + " deal_id=" + id("crm/opportunity/1")},
		{"invoices", "erp/13", "kind=credit_note gross=-3 paid=0 unapplied=0 flags="},
		// A total below zero is a credit whatever it names.
		{"invoices", "erp/18", "kind=credit_note gross=-2"},
		{"invoices", "erp/19", "kind=invoice paid=8 unapplied=8 flags=void_paid"},
		{"payments", "erp/6", "amount=8 flags=unapplied complete=true"},
		{"invoices", "erp/14", "net=0 tax=0 gross=0 paid=0"},
		{"invoice_lines", "erp/99/6", ""},
		// Paid under another account, without an entry, of no invoice.
		{"payments", "erp/1", "amount=50.5 paid_on=2026-03-01 invoice_native_id=10"},
		{"payments", "erp/2", "amount=- paid_on=- account_id=" + id("crm/party/1")},
		{"payments", "erp/4", "amount=- paid_on=-"},
		{"payments", "erp/5", ""},
		// What is in force, then the eldest.
		{"deals", id("crm/opportunity/1"), "order_number=S9 subscription_number=B10 invoice_number=I10 stage=invoiced other_order_numbers=S10 other_subscription_numbers=B2 other_invoice_numbers=I11 billed=121 paid=- complete=false"},
		{"deals", id("crm/opportunity/9"), "order_number=S18 invoice_number=I16 stage=invoiced _bills=16,17 other_order_numbers=S17,S16 other_invoice_numbers=I17,I15 billed=7 paid=0 credited=2 flags=dead_order_billed"},
		{"deals", id("crm/opportunity/2"), "order_number=S11 invoice_number=I12 stage=credited amount=100 billed=3 paid=3 credited=3 flags="},
		{"deals", id("crm/opportunity/3"), "order_number=- stage=opened amount=- account_id=-"},
		{"deals", id("crm/opportunity/5"), "stage=lost invoice_number=I14"},
		// A void bill is no claim, and what was paid for it is nobody's yet.
		{"deals", id("crm/opportunity/10"), "invoice_number=I19 stage=won billed=0 paid=0 flags=void_invoice"},
		// The order is another customer's; the subscription is another's.
		{"deals", id("crm/opportunity/6"), "order_number=- stage=won"},
		{"deals", id("crm/opportunity/7"), "order_number=S14 subscription_number=- stage=won"},
		{"deals", id("crm/opportunity/8"), "subscription_number=B12 stage=activated"},
	} {
		view, _ := ViewNamed(c.view)
		i := slices.IndexFunc(e[c.view], func(r Row) bool { return view.KeyText(r) == c.key })
		if i < 0 != (c.want == "") {
			t.Errorf("%s %s: found %v", c.view, c.key, i >= 0)
		}
		if i < 0 {
			continue
		}
		r := e[c.view][i]
		for pair := range strings.FieldsSeq(c.want) {
			column, want, _ := strings.Cut(pair, "=")
			got, ok := r[column]
			if orDash(got, ok) != want {
				t.Errorf("%s %s: %s is %s, want %s", c.view, c.key, column, orDash(got, ok), want)
			}
		}
	}
	if rows, err := query(t.Context(), connect(t), "SELECT name FROM system.databases WHERE startsWith(name, 'syncline_oracle_')"); err != nil || len(rows) > 0 {
		t.Errorf("scratch databases left: %v %v", rows, err)
	}
}

func orDash(text string, there bool) string {
	if !there {
		return "-"
	}
	return text
}

// TestFoldAgainstSpoiltFinalRows wants a changed cell, a row too few and a row
// too many noticed, in every table.
func TestFoldAgainstSpoiltFinalRows(t *testing.T) {
	f, err := foldRecording(recordingDir("debezium-tryton"), 1)
	if err != nil {
		t.Fatal(err)
	}
	final, err := readFinal(recordingDir("debezium-tryton"))
	if err != nil {
		t.Fatal(err)
	}
	for table, rows := range final {
		if len(rows) == 0 {
			continue
		}
		check := func(what string, spoilt []map[string]*string, want DifferenceKind) {
			all := maps.Clone(final)
			all[table] = spoilt
			diffs := f.checkFinal(all)
			if len(diffs) != 1 || diffs[0].Kind != want || diffs[0].View != table {
				t.Errorf("%s, %s: found %v", table, what, diffs)
			}
		}
		check("a row too few", rows[1:], Unexpected)
		id := "1000000"
		more := maps.Clone(rows[0])
		more["id"] = &id
		check("a row too many", append(slices.Clone(rows), more), Missing)
		changed := slices.Clone(rows)
		changed[0] = maps.Clone(rows[0])
		text := "2001-01-01 00:00:00"
		changed[0]["create_date"] = &text
		check("another value", changed, Cell)
	}
}
