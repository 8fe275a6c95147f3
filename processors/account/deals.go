package account

import (
	"slices"

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
		OrderNumber: nil, SubscriptionNumber: nil, InvoiceNumber: nil, // below, as the milestones
		OtherOrderNumbers: nil, OtherSubscriptionNumbers: nil, OtherInvoiceNumbers: nil,
		OpenedAt: nil, WonAt: nil, LostAt: nil, ActivatedAt: nil, InvoicedAt: nil, PaidAt: nil, Approximate: nil,
		Billed: nil, Paid: nil, Credited: nil, BillingCurrency: nil, Flags: nil, Complete: false, IncompleteReason: nil,
	}
	lacks := rowsLack(&opp.doc)
	lacks.copied(r.CopyFrom(h))
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
	t, err := o.story(s, deal)
	if err != nil {
		return err
	}
	if err := o.tell(s, t, r, set); err != nil {
		return err
	}
	b := t.weigh(&lacks)
	if err := o.lackOfStory(s, t, &b, &lacks); err != nil {
		return err
	}
	set(&r.PaidAt, "paid_at", t.paidAt(&b))
	r.Billed, r.Paid, r.Credited = b.billed.publish(), b.paid.publish(), b.credited.publish()
	if b.currency != "" && !b.open.unknown {
		r.BillingCurrency = &b.currency
	}
	r.Flags = t.flags(r)
	r.Complete, r.IncompleteReason = lacks.none(), lacks.text()
	r.Stage = t.stage(&b, opp.phase() == canonical.PhaseWon)
	if opp.standing() == dead {
		r.Stage = StageLost
	}
	t.each(func(e *entry) { l.document(&e.doc) })
	r.UpdatedAt = instant(l.micros)
	return o.publish(s, TopicDeal, eid, r, out)
}

// tell names the best of each kind of document, with its milestone.
func (o *Operator) tell(s scope, t *story, r *canonical.DealRecord, set func(**int64, string, change.Instant)) error {
	if len(t.orders) > 0 {
		r.OrderNumber = textOf(t.orders[0].doc.Header.Field(canonical.OrderNumber))
		r.OtherOrderNumbers = numbers(t.orders[1:], canonical.OrderNumber)
	}
	others := t.otherSubscriptions
	if len(t.subscriptions) > 0 {
		others = slices.Concat(t.subscriptions[1:], others)
		h := &t.subscriptions[0].doc.Header
		r.SubscriptionNumber = textOf(h.Field(canonical.SubscriptionNumber))
		set(&r.ActivatedAt, "activated_at", h.Times[change.Activated])
	}
	r.OtherSubscriptionNumbers = numbers(others, canonical.SubscriptionNumber)
	others = nil
	for i, b := range t.bills {
		if i > 0 {
			others = append(others, b.entry)
		}
	}
	r.OtherInvoiceNumbers = numbers(slices.Concat(others, t.otherBills), canonical.InvoiceNumber)
	if len(t.bills) > 0 {
		b := t.bills[0]
		r.InvoiceNumber = textOf(b.doc.Header.Field(canonical.InvoiceNumber))
		at, err := o.invoicedAt(s, b.entry)
		if err != nil {
			return err
		}
		set(&r.InvoicedAt, "invoiced_at", at)
	}
	return nil
}

// numbers are those of documents, in their order; one without is left out.
func numbers(of []*entry, field int) []string {
	var all []string
	for _, e := range of {
		if n := e.doc.Header.Field(field).Text(); n != "" {
			all = append(all, n)
		}
	}
	return all
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
