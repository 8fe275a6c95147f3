package account

import (
	"cmp"
	"slices"

	"github.com/shopspring/decimal"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// The stages of a deal, from first to last.
const (
	StageOpened     = "opened"
	StageWon        = "won"
	StageActivated  = "activated"
	StageInvoiced   = "invoiced"
	StagePartlyPaid = "partly_paid"
	StagePaid       = "paid"
	StageCredited   = "credited"
	StageLost       = "lost"
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

// paidAt is the time at which the payments, in order, reached the gross amount;
// it stays when a part is paid back later.
func (f *figures) paidAt() change.Instant {
	if f.kind != canonical.KindInvoice || f.items == 0 {
		return change.Instant{}
	}
	var sum decimal.Decimal
	for i := range f.payments {
		if sum = sum.Add(f.payments[i].value); sum.GreaterThanOrEqual(f.gross) {
			return f.payments[i].row.Times[change.Created]
		}
	}
	return change.Instant{}
}

func (o *Operator) invoice(s scope, e *entry, head canonical.Envelope, l *latest, out Output) (Versioned, error) {
	h := &e.doc.Header
	f, err := o.figures(s, e)
	if err != nil {
		return nil, err
	}
	r := &canonical.InvoiceRecord{
		Envelope: head, State: textOf(h.Field(canonical.InvoiceState)), Phase: textOf(h.Field(canonical.InvoicePhase)),
		Number: textOf(h.Field(canonical.InvoiceNumber)), Kind: f.kind, InvoiceDate: dateOf(h.Field(canonical.InvoiceDate)),
		Reference: textOf(h.Field(canonical.InvoiceReference)), OrderNumber: textOf(h.Field(canonical.InvoiceOrderNumber)),
		Currency: textOf(h.Field(canonical.InvoiceCurrency)), CreatedAt: instant(h.Times[change.Created].Micros),
	}
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
	if r.Lines, err = o.lines(e); err != nil {
		return nil, err
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

// dealOfOrder is the deal of the order with a number: that of the order with the
// smallest id, nil where there is none.
func (o *Operator) dealOfOrder(s scope, number *string) (*string, error) {
	if number == nil {
		return nil, nil
	}
	for _, d := range o.joined(s, join{joinOrderNumber, *number}) {
		e, err := o.effective(s, d)
		if err != nil {
			return nil, err
		}
		if e != nil {
			return o.ref(e.doc.System, canonical.Opportunity, e.doc.Header.Field(canonical.OrderOpportunity)), nil
		}
	}
	return nil, nil
}

// sendDeal brings the story of one opportunity up to date.
func (o *Operator) sendDeal(s scope, deal string, out Output) error {
	system, id := splitDealKey(deal)
	eid := o.id(system, canonical.Opportunity, id)
	opp, err := o.effective(s, docKey(canonical.Opportunity, system, id))
	if err != nil {
		return err
	}
	if opp == nil {
		return o.retire(s, TopicDeal, eid, system, id, out)
	}
	h := &opp.doc.Header
	r := &canonical.DealRecord{
		Envelope: envelope(s, eid, system, id), OpportunityNativeID: &id, Stage: StageOpened,
		Currency: textOf(h.Field(canonical.OpportunityCurrency)),
	}
	if r.Amount, err = canonical.DecimalOf(h.Field(canonical.OpportunityAmount)); err != nil {
		return err
	}
	var l latest
	l.document(&opp.doc)
	set := func(to **int64, name string, at change.Instant) {
		if at.IsZero() {
			return
		}
		*to = &at.Micros
		if at.Approximate {
			r.Approximate = append(r.Approximate, name)
		}
	}
	set(&r.OpenedAt, "opened_at", h.Times[change.Created])
	set(&r.WonAt, "won_at", h.Times[change.Won])
	set(&r.LostAt, "lost_at", h.Times[change.Lost])
	if h.Field(canonical.OpportunityPhase).Text() == canonical.PhaseWon {
		r.Stage = StageWon
	}
	order, err := o.first(s, join{joinOrderOpportunity, deal})
	if err != nil {
		return err
	}
	if order != nil {
		l.document(&order.doc)
		r.OrderNumber = textOf(order.doc.Header.Field(canonical.OrderNumber))
	}
	if r.OrderNumber != nil {
		if err := o.fulfil(s, r, *r.OrderNumber, &l, set); err != nil {
			return err
		}
	}
	if h.Field(canonical.OpportunityPhase).Text() == canonical.PhaseLost {
		r.Stage = StageLost
	}
	r.UpdatedAt = instant(l.micros)
	return o.publish(s, TopicDeal, eid, r, out)
}

// fulfil adds what became of an order: its subscription, invoice and payments.
func (o *Operator) fulfil(s scope, r *canonical.DealRecord, number string, l *latest, set func(**int64, string, change.Instant)) error {
	sub, err := o.first(s, join{joinSubscriptionOrder, number})
	if err != nil {
		return err
	}
	if sub != nil {
		l.document(&sub.doc)
		h := &sub.doc.Header
		r.SubscriptionNumber = textOf(h.Field(canonical.SubscriptionNumber))
		set(&r.ActivatedAt, "activated_at", h.Times[change.Activated])
		if h.Field(canonical.SubscriptionPhase).Text() == canonical.PhaseActive {
			r.Stage = StageActivated
		}
	}
	var invoice *entry
	var f figures
	credited := false
	for _, d := range o.joined(s, join{joinInvoiceOrder, number}) {
		e, err := o.effective(s, d)
		if err != nil {
			return err
		}
		if e == nil {
			continue
		}
		g, err := o.figures(s, e)
		if err != nil {
			return err
		}
		l.document(&e.doc)
		switch {
		case g.kind == canonical.KindCreditNote:
			credited = credited || booked(e)
		case invoice == nil || !booked(invoice) && booked(e):
			invoice, f = e, g
		}
	}
	if invoice != nil {
		h := &invoice.doc.Header
		r.InvoiceNumber = textOf(h.Field(canonical.InvoiceNumber))
		at, err := o.invoicedAt(s, invoice)
		if err != nil {
			return err
		}
		set(&r.InvoicedAt, "invoiced_at", at)
		switch {
		case booked(invoice) && f.items > 0 && f.paid.GreaterThanOrEqual(f.gross):
			r.Stage = StagePaid
		case f.paid.IsPositive():
			r.Stage = StagePartlyPaid
		case booked(invoice):
			r.Stage = StageInvoiced
		}
		set(&r.PaidAt, "paid_at", f.paidAt())
	}
	if credited {
		r.Stage = StageCredited
	}
	return nil
}

// invoicedAt is the invoice's milestone; where only a snapshot row shows it, the
// creation of the journal entry that posted it is nearer the truth than the
// row's last write.
func (o *Operator) invoicedAt(s scope, invoice *entry) (change.Instant, error) {
	h := &invoice.doc.Header
	at := h.Times[change.Invoiced]
	ref := h.Field(canonical.InvoiceEntry)
	if !at.Approximate || ref.IsNull() {
		return at, nil
	}
	posting, err := o.effective(s, docKey(canonical.Entry, invoice.doc.System, ref.Text()))
	if err != nil || posting == nil {
		return at, err
	}
	if c := posting.doc.Header.Times[change.Created]; !c.IsZero() {
		return change.Instant{Micros: c.Micros, Approximate: true}, nil
	}
	return at, nil
}

// booked reports whether an invoice is in the books: posted or paid.
func booked(e *entry) bool {
	p := e.doc.Header.Field(canonical.InvoicePhase).Text()
	return p == canonical.PhasePosted || p == canonical.PhasePaid
}

// first is the joined document with the smallest id.
func (o *Operator) first(s scope, j join) (*entry, error) {
	for _, d := range o.joined(s, j) {
		if e, err := o.effective(s, d); e != nil || err != nil {
			return e, err
		}
	}
	return nil, nil
}
