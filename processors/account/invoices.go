package account

import (
	"cmp"
	"slices"

	"github.com/shopspring/decimal"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// payment is one link row of an invoice, joined with the journal entry line it
// names (or carrying its own amount).
type payment struct {
	row    *change.Row
	amount canonical.Decimal
	value  decimal.Decimal
	paidOn *int32
	known  bool
	latest latest
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
		if v := c.Field(canonical.PaymentAmount); !v.IsNull() {
			p.value, p.known, p.paidOn = number(v), true, dateOf(c.Field(canonical.PaymentPaidOn))
		} else if line := c.Field(canonical.PaymentLine); !line.IsNull() {
			if err := o.joinEntry(s, e.doc.System, line.Text(), &p); err != nil {
				return nil, err
			}
		}
		if p.known {
			var err error
			if p.amount, err = amount(p.value); err != nil {
				return nil, err
			}
		}
		all = append(all, p)
	}
	slices.SortStableFunc(all, func(a, b payment) int {
		return cmp.Or(cmp.Compare(a.row.Times[change.Created].Micros, b.row.Times[change.Created].Micros), canonical.CompareIDs(a.row.ID, b.row.ID))
	})
	return all, nil
}

// joinEntry finds the journal entry line that a payment names, if its entry is
// known under the account.
func (o *Operator) joinEntry(s scope, system, line string, p *payment) error {
	for _, d := range o.joined(s, join{joinEntryLine, dealKey(system, line)}) {
		entry, err := o.effective(s, d)
		if err != nil {
			return err
		}
		if entry == nil {
			continue
		}
		for i := range entry.doc.Children {
			if c := &entry.doc.Children[i]; c.ID == line {
				p.value = number(c.Field(canonical.EntryLineCredit)).Sub(number(c.Field(canonical.EntryLineDebit)))
				p.known, p.paidOn = true, dateOf(entry.doc.Header.Field(canonical.EntryDate))
				p.latest.row(c)
				p.latest.row(&entry.doc.Header)
				return nil
			}
		}
	}
	return nil
}

// figures are an invoice's sums.
type figures struct {
	kind            string
	net, tax, gross decimal.Decimal
	paid            decimal.Decimal
	payments        []payment
	items           int // lines and tax rows: without any there is nothing to pay yet
}

// figures are computed once for what a scope's changes reach: an invoice, its
// payments and its deal show the same.
func (o *Operator) figures(s scope, e *entry) (figures, error) {
	if e.sums != nil {
		return *e.sums, nil
	}
	h := &e.doc.Header
	f := figures{kind: h.Field(canonical.InvoiceKind).Text(), net: number(h.Field(canonical.InvoiceNet)), tax: number(h.Field(canonical.InvoiceTax))}
	if h.Field(canonical.InvoiceNet).IsNull() {
		f.net = lineSum(e)
	}
	ownKind, ownTax := f.kind != "", !h.Field(canonical.InvoiceTax).IsNull()
	if !ownKind {
		f.kind = canonical.KindInvoice
	}
	for i := range e.doc.Children {
		c := &e.doc.Children[i]
		if c.Part == canonical.PartTax || c.Part == canonical.PartLine {
			f.items++
		}
		switch {
		case c.Part == canonical.PartTax && !ownTax:
			f.tax = f.tax.Add(number(c.Field(canonical.TaxAmount)))
		case c.Part == canonical.PartLine && !ownKind && !c.Field(canonical.LineCredits).IsNull():
			f.kind = canonical.KindCreditNote
		}
	}
	f.gross = f.net.Add(f.tax)
	var err error
	if f.payments, err = o.payments(s, e); err != nil {
		return f, err
	}
	for i := range f.payments {
		f.paid = f.paid.Add(f.payments[i].value)
	}
	e.sums = &f
	return f, nil
}

func (o *Operator) invoice(s scope, e *entry, head canonical.Envelope, l *latest, out Output) (canonical.Versioned, error) {
	h := &e.doc.Header
	f, err := o.figures(s, e)
	if err != nil {
		return nil, err
	}
	lines, err := o.lines(e)
	if err != nil {
		return nil, err
	}
	r := &canonical.InvoiceRecord{
		Envelope: head, DealID: nil, Kind: f.kind, Net: nil, Tax: nil, Gross: nil, Paid: nil,
		CreatedAt: instant(h.Times[change.Created].Micros), Lines: lines,
	}
	r.CopyFrom(h)
	if r.DealID, err = o.dealOfOrder(s, r.OrderNumber); err != nil {
		return nil, err
	}
	for _, a := range [...]struct {
		to   *canonical.Decimal
		from decimal.Decimal
	}{{&r.Net, f.net}, {&r.Tax, f.tax}, {&r.Gross, f.gross}, {&r.Paid, f.paid}} {
		if *a.to, err = amount(a.from); err != nil {
			return nil, err
		}
	}
	for i := range f.payments {
		p := &f.payments[i]
		l.micros = max(l.micros, p.latest.micros)
		id := o.id(e.doc.System, canonical.Payment, p.row.ID)
		rec := &canonical.PaymentRecord{
			Envelope: envelope(s, id, e.doc.System, p.row.ID), DealID: r.DealID, InvoiceID: &r.EntityID, InvoiceNativeID: &e.doc.ID,
			Amount: p.amount, PaidOn: p.paidOn, Currency: r.Currency, CreatedAt: instant(p.row.Times[change.Created].Micros),
		}
		rec.UpdatedAt, rec.SourcePosition = instant(p.latest.micros), text(p.latest.pos.String())
		if err := o.publish(s, TopicPayment, id, rec, out); err != nil {
			return nil, err
		}
	}
	return r, nil
}
