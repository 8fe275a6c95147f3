package account

import (
	"cmp"
	"fmt"
	"slices"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// What is odd about a document or a deal and is shown as it is.
const (
	FlagVoidPaid        = "void_paid"         // a void invoice has a payment: the customer's money, which pays nothing
	FlagOverpaid        = "overpaid"          // more was paid than billed
	FlagPaidBefore      = "paid_before"       // a payment was made before its invoice was booked
	FlagOtherCurrency   = "other_currency"    // a payment in another currency than its invoice; it is not added
	FlagUnknownCurrency = "unknown_currency"  // ISO 4217 does not know it: rounded to two places
	FlagPositiveCredit  = "positive_credit"   // a credit note with a total above zero; its amount counts as credited
	FlagUnapplied       = "unapplied"         // of a payment: its invoice is void
	FlagVoidInvoice     = "void_invoice"      // of a deal: the invoice that it shows is void, for want of another
	FlagInvoicedBefore  = "invoiced_before"   // of a deal: invoiced before it was activated
	FlagActivatedBefore = "activated_before"  // of a deal: activated before it was won
	FlagDeadOrderBilled = "dead_order_billed" // of a deal: an invoice in force belongs to an order that is cancelled
)

// payment is one link row of an invoice, joined with the journal entry line it
// names (or carrying its own amount).
type payment struct {
	row      *change.Row
	amount   total
	currency string // "" where nothing tells it: the invoice's
	foreign  bool   // in another currency than its invoice
	paidOn   *int32
	latest   latest
	lack     lack
}

// at is when the payment was made: when its link row was.
func (p *payment) at() change.Instant { return p.row.Times[change.Created] }

// payments joins an invoice's payments, in the order in which they were made.
func (o *Operator) payments(s scope, e *entry) ([]payment, error) {
	var all []payment
	for i := range e.doc.Children {
		c := &e.doc.Children[i]
		if c.Part != canonical.PartPayment {
			continue
		}
		p := payment{row: c}
		p.latest.row(c)
		p.lack.row(c)
		p.currency = c.Field(canonical.PaymentCurrency).Text()
		switch line := c.Field(canonical.PaymentLine); {
		case !c.Field(canonical.PaymentAmount).IsNull():
			p.amount.Decimal, p.paidOn = number(c.Field(canonical.PaymentAmount)), dateOf(c.Field(canonical.PaymentPaidOn))
		case line.IsNull():
			p.amount.unknown = true
			if p.lack.count == 0 {
				p.lack.add(fmt.Sprintf("payment %s: it has no amount", c.ID))
			}
		default:
			if err := o.joinEntry(s, e.doc.System, line.Text(), &p); err != nil {
				return nil, err
			}
		}
		p.amount.unknown = p.amount.unknown || refuses(c, canonical.PaymentAmount, canonical.PaymentLine, canonical.PaymentCurrency)
		p.lack.hold("payment "+c.ID, &p.amount)
		p.foreign = p.currency != "" && !sameCurrency(p.currency, e.currency())
		all = append(all, p)
	}
	slices.SortStableFunc(all, func(a, b payment) int {
		return cmp.Or(cmp.Compare(a.at().Micros, b.at().Micros), canonical.CompareIDs(a.row.ID, b.row.ID))
	})
	return all, nil
}

// joinEntry finds the journal entry line that a payment names, if its entry is
// known under the account.
func (o *Operator) joinEntry(s scope, system, line string, p *payment) error {
	for _, d := range o.joined(s, join{joinEntryLine, dealKey(system, line)}) {
		posting, err := o.effective(s, d)
		if err != nil {
			return err
		}
		if posting == nil {
			continue
		}
		for i := range posting.doc.Children {
			c := &posting.doc.Children[i]
			if c.ID != line {
				continue
			}
			h := &posting.doc.Header
			p.amount.Decimal = number(c.Field(canonical.EntryLineCredit)).Sub(number(c.Field(canonical.EntryLineDebit)))
			p.amount.unknown = refuses(c, canonical.EntryLineCredit, canonical.EntryLineDebit, canonical.EntryLineCurrency) || refuses(h)
			p.currency = c.Field(canonical.EntryLineCurrency).Text()
			p.paidOn = dateOf(h.Field(canonical.EntryDate))
			p.latest.row(c)
			p.latest.row(h)
			p.lack.join("journal entry "+posting.doc.ID, rowsLack(&change.Document{Header: *h, Children: posting.doc.Children[i : i+1]}))
			return nil
		}
	}
	p.amount.unknown = true
	p.lack.add(fmt.Sprintf("payment %s: the journal entry line %s is not known under this account", p.row.ID, line))
	return nil
}

// figures are an invoice's sums.
type figures struct {
	kind            string
	net, tax, gross total
	paid            total
	unapplied       total // money paid that settles nothing
	payments        []payment
	items           int  // lines and tax rows: without any there is nothing to pay yet
	vague           bool // what it is, or whether it is a claim, was refused
	flags           []string
	lack            lack
}

// figures are computed once for what a scope's changes reach: an invoice, its
// payments and its deal show the same.
func (o *Operator) figures(s scope, e *entry) (figures, error) {
	if e.sums != nil {
		return *e.sums, nil
	}
	h := &e.doc.Header
	f := figures{lack: rowsLack(&e.doc)}
	f.net, f.tax = own(h, canonical.InvoiceNet), own(h, canonical.InvoiceTax)
	if !f.net.unknown && h.Field(canonical.InvoiceNet).IsNull() {
		f.net = o.lineSum(e, e.currency())
	}
	sumTax := !f.tax.unknown && h.Field(canonical.InvoiceTax).IsNull()
	credits := false
	for i := range e.doc.Children {
		c := &e.doc.Children[i]
		switch c.Part {
		case canonical.PartTax:
			f.items++
			if sumTax {
				f.tax = f.tax.plus(own(c, canonical.TaxAmount))
			}
		case canonical.PartLine:
			f.items++
			credits = credits || !c.Field(canonical.LineCredits).IsNull()
			f.vague = f.vague || refuses(c, canonical.LineCredits)
		}
	}
	f.vague = f.vague || refuses(h, canonical.InvoicePhase, canonical.InvoiceKind)
	foreign := refuses(h, canonical.InvoiceCurrency) // by it amounts are rounded, and payments added
	f.net.unknown, f.tax.unknown = f.net.unknown || foreign, f.tax.unknown || foreign
	f.lack.hold("net", &f.net)
	f.lack.hold("tax", &f.tax)
	f.gross = f.net.plus(f.tax)
	f.lack.hold("gross", &f.gross)
	f.kind = kindOf(h.Field(canonical.InvoiceKind).Text(), credits, f.gross)
	var err error
	if f.payments, err = o.payments(s, e); err != nil {
		return f, err
	}
	f.paid.unknown = foreign
	for i := range f.payments {
		p := &f.payments[i]
		if p.lack.count > 0 && len(p.row.Refused) == 0 { // its own refusals are told
			f.lack.add(p.lack.reason)
		}
		if p.foreign {
			f.lack.add(fmt.Sprintf("payment %s is in %s, the invoice in %s: it is not added", p.row.ID, clip(p.currency), clip(e.currency())))
			continue
		}
		f.paid = f.paid.plus(p.amount)
	}
	f.lack.hold("paid", &f.paid)
	f.unapplied = f.unappliedOf(e)
	f.flags = f.flagsOf(e)
	e.sums = &f
	return f, nil
}

// kindOf tells invoices from credit notes: a total below zero is a credit,
// whatever it is called; else the catalog's word counts, and without one whether
// a line credits another.
func kindOf(word string, credits bool, gross total) string {
	switch {
	case !gross.unknown && gross.IsNegative():
		return canonical.KindCreditNote
	case word != "":
		return word
	case credits:
		return canonical.KindCreditNote
	default:
		return canonical.KindInvoice
	}
}

// unappliedOf is what was paid and settles nothing: all on a void invoice, on
// one in force what is over its total.
func (f *figures) unappliedOf(e *entry) total {
	none := total{unknown: f.paid.unknown || f.vague}
	switch {
	case none.unknown || f.kind == canonical.KindCreditNote || e.standing() == drafted:
		return none
	case e.standing() == dead:
		return f.paid
	}
	if f.gross.unknown {
		none.unknown = true
		return none
	}
	if over := f.paid.Sub(f.gross.Decimal); over.IsPositive() && f.items > 0 {
		return total{Decimal: over}
	}
	return none
}

// flagsOf tells what is odd, in the order of the constants.
func (f *figures) flagsOf(e *entry) []string {
	var flags []string
	add := func(flag string, holds bool) {
		if holds {
			flags = append(flags, flag)
		}
	}
	invoice := f.kind == canonical.KindInvoice
	add(FlagVoidPaid, invoice && e.standing() == dead && f.paid.positive())
	add(FlagOverpaid, invoice && e.standing() == inForce && f.unapplied.positive())
	add(FlagPaidBefore, invoice && e.standing() != dead && slices.ContainsFunc(f.payments, func(p payment) bool { return p.before(e) }))
	add(FlagOtherCurrency, slices.ContainsFunc(f.payments, func(p payment) bool { return p.foreign }))
	_, known := minorUnits(e.currency())
	add(FlagUnknownCurrency, !known)
	add(FlagPositiveCredit, !invoice && f.gross.positive())
	return flags
}

// before reports whether the payment is surely from before the invoice was
// booked: of times that come from a snapshot's columns nothing is concluded.
func (p *payment) before(invoice *entry) bool {
	booked := invoice.doc.Header.Times[change.Invoiced]
	switch {
	case !p.amount.positive():
		return false
	case invoice.standing() == drafted:
		return true
	default:
		return !booked.IsZero() && !booked.Approximate && !p.at().IsZero() && !p.at().Approximate && p.at().Micros < booked.Micros
	}
}

func (o *Operator) invoice(s scope, e *entry, head canonical.Envelope, l *latest, out Output) (canonical.Versioned, error) {
	h := &e.doc.Header
	f, err := o.figures(s, e)
	if err != nil {
		return nil, err
	}
	r := &canonical.InvoiceRecord{
		Envelope: head, DealID: nil, Kind: f.kind, CreatedAt: instant(h.Times[change.Created].Micros), Lines: o.lines(e, &f.lack),
		Net: f.net.publish(), Tax: f.tax.publish(), Gross: f.gross.publish(), Paid: f.paid.publish(), Unapplied: f.unapplied.publish(),
		Flags: f.flags, Complete: f.lack.none(), IncompleteReason: f.lack.text(),
	}
	r.CopyFrom(h)
	if r.DealID, err = o.dealOfOrder(s, r.OrderNumber); err != nil {
		return nil, err
	}
	for i := range f.payments {
		p := &f.payments[i]
		l.micros = max(l.micros, p.latest.micros)
		id := o.id(e.doc.System, canonical.Payment, p.row.ID)
		rec := &canonical.PaymentRecord{
			Envelope: envelope(s, id, e.doc.System, p.row.ID), DealID: r.DealID, InvoiceID: &r.EntityID, InvoiceNativeID: &e.doc.ID,
			Amount: p.amount.publish(), PaidOn: p.paidOn, Currency: r.Currency, CreatedAt: instant(p.at().Micros), Flags: p.flagsOf(e, f.kind),
			Complete: p.lack.none(), IncompleteReason: p.lack.text(),
		}
		if p.currency != "" {
			rec.Currency = &p.currency
		}
		rec.UpdatedAt, rec.SourcePosition = instant(p.latest.micros), text(p.latest.pos.String())
		if err := o.publish(s, TopicPayment, id, rec, out); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (p *payment) flagsOf(invoice *entry, kind string) []string {
	var flags []string
	if p.foreign {
		flags = append(flags, FlagOtherCurrency)
	}
	if kind == canonical.KindInvoice && invoice.standing() == dead {
		flags = append(flags, FlagUnapplied)
	}
	return flags
}
