package company

import (
	"slices"
	"strings"

	"syncline/benchmarks/oracle"
)

func (t *truth) gross(b *bill) int64 {
	sum := t.taxes[b.id]
	for _, l := range t.lines[ofBill][b.id] {
		sum += l.amount(b.currency)
	}
	return sum
}

// credits tells whether a bill gives money back: by its kind, or since its total
// is below zero.
func (t *truth) credits(b *bill) bool { return b.kind == kindCredit || t.gross(b) < 0 }

// itemised tells whether a bill has anything on it.
func (t *truth) itemised(b *bill) bool {
	_, taxed := t.taxes[b.id]
	return taxed || len(t.lines[ofBill][b.id]) > 0
}

func (t *truth) tellBill(b *bill) {
	account, deal := "", ""
	if b.party != nil {
		a := t.byParty[b.party]
		account, deal = a.id, t.dealOf(a, b.orderCode)
	}
	r := t.document(inERP, num(b.id), account, deal, b.currency, b.born)
	put(r, "number", b.number)
	put(r, "reference", b.contract)
	put(r, "order_number", b.orderCode)
	r["state"], r["kind"] = b.status, "invoice"
	if t.credits(b) {
		r["kind"] = "credit_note"
	}
	r["phase"] = map[string]string{billDraft: "draft", billIssued: "posted", billSettled: "paid", billVoid: "cancelled"}[b.status]
	if b.issuedOn != 0 {
		r["invoice_date"] = oracle.DateText(b.issuedOn)
	}
	net := t.tellLines("invoice_lines", ofBill, inERP, b.id, b.currency)
	r["net"], r["tax"], r["gross"], r["paid"] = money(net), money(t.taxes[b.id]), money(net+t.taxes[b.id]), money(t.paid[b])
	r["unapplied"], r["flags"] = money(t.unapplied(b)), flagText(t.flags(b))
	t.add("invoices", r)
	for _, l := range t.links[b] {
		p := t.document(inERP, l.uuid, account, deal, b.currency, l.born)
		p["invoice_native_id"], p["amount"], p["paid_on"] = num(b.id), money(l.amount), oracle.DateText(l.paidOn)
		if p["flags"] = ""; b.status == billVoid && !t.credits(b) {
			p["flags"] = "unapplied"
		}
		t.add("payments", p)
	}
}

// unapplied is money that was paid and settles nothing.
func (t *truth) unapplied(b *bill) int64 {
	switch {
	case t.credits(b) || b.status == billDraft:
		return 0
	case b.status == billVoid:
		return t.paid[b]
	case t.itemised(b):
		return max(t.paid[b]-t.gross(b), 0)
	default:
		return 0
	}
}

// flags tells what is odd about a bill.
func (t *truth) flags(b *bill) []string {
	if t.credits(b) {
		if t.gross(b) > 0 {
			return []string{"positive_credit"}
		}
		return nil
	}
	var flags []string
	if b.status == billVoid {
		if t.paid[b] > 0 {
			flags = append(flags, "void_paid")
		}
		return flags
	}
	if b.posted() && t.unapplied(b) > 0 {
		flags = append(flags, "overpaid")
	}
	for _, l := range t.links[b] {
		early := b.invoiced.at != 0 && !b.invoiced.approx && !l.born.approx && l.born.at < b.invoiced.at
		if l.amount > 0 && (b.status == billDraft || early) {
			flags = append(flags, "paid_before")
			break
		}
	}
	return flags
}

func flagText(flags []string) string {
	slices.Sort(flags)
	return strings.Join(slices.Compact(flags), ",")
}
