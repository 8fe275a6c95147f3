package account

import (
	"cmp"
	"slices"

	"github.com/shopspring/decimal"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// story is what an account's documents tell of one opportunity. Every list is
// sorted, best first.
type story struct {
	orders        []*entry
	standing      int // so many of the orders count: the live ones, or all where none lives
	subscriptions []*entry
	bills         []*bill // of kind invoice
	credits       []*bill
	// What hangs on the orders that do not count; it is only named.
	otherSubscriptions, otherBills []*entry
}

// bill is an invoice or credit note with its sums.
type bill struct {
	*entry
	figures
}

// orderOf is the order that a number stands for: the best of those that come
// from an opportunity. A number leads to one deal, so that nothing that bears it
// is told twice.
func (o *Operator) orderOf(s scope, number string) (*entry, error) {
	all, err := o.entries(s, join{joinOrderNumber, number})
	for _, e := range all {
		if !e.doc.Header.Field(canonical.OrderOpportunity).IsNull() {
			return e, err
		}
	}
	return nil, err
}

// dealOfOrder is the entity id of the deal to which an order's number leads, nil
// where there is none.
func (o *Operator) dealOfOrder(s scope, number *string) (*string, error) {
	if number == nil || *number == "" {
		return nil, nil
	}
	e, err := o.orderOf(s, *number)
	if e == nil || err != nil {
		return nil, err
	}
	return o.ref(e.doc.System, canonical.Opportunity, e.doc.Header.Field(canonical.OrderOpportunity)), nil
}

// story gathers what is joined to an opportunity: its orders, and through their
// numbers subscriptions, invoices and credit notes.
func (o *Operator) story(s scope, deal string) (*story, error) {
	t := &story{}
	var err error
	if t.orders, err = o.entries(s, join{joinOrderOpportunity, deal}); err != nil {
		return nil, err
	}
	t.standing = len(t.orders)
	if i := slices.IndexFunc(t.orders, func(e *entry) bool { return e.standing() == dead }); i > 0 {
		t.standing = i
	}
	var numbers []string
	for i, e := range t.orders {
		number := e.doc.Header.Field(canonical.OrderNumber).Text()
		if number == "" || slices.Contains(numbers, number) {
			continue
		}
		numbers = append(numbers, number)
		owner, err := o.orderOf(s, number)
		if err != nil {
			return nil, err
		}
		if owner == nil || dealKey(owner.doc.System, owner.doc.Header.Field(canonical.OrderOpportunity).Text()) != deal {
			continue
		}
		if err := o.fulfilment(s, t, number, i < t.standing); err != nil {
			return nil, err
		}
	}
	prefer(t.subscriptions)
	prefer(t.otherSubscriptions)
	prefer(t.otherBills)
	slices.SortStableFunc(t.bills, func(a, b *bill) int { return preference(a.entry, b.entry) })
	return t, nil
}

// fulfilment adds what bears an order's number.
func (o *Operator) fulfilment(s scope, t *story, number string, counts bool) error {
	subscriptions, err := o.entries(s, join{joinSubscriptionOrder, number})
	if err != nil {
		return err
	}
	invoices, err := o.entries(s, join{joinInvoiceOrder, number})
	if err != nil {
		return err
	}
	if !counts {
		t.otherSubscriptions, t.otherBills = append(t.otherSubscriptions, subscriptions...), append(t.otherBills, invoices...)
		return nil
	}
	t.subscriptions = append(t.subscriptions, subscriptions...)
	for _, e := range invoices {
		f, err := o.figures(s, e)
		if err != nil {
			return err
		}
		b := &bill{entry: e, figures: f}
		if f.kind == canonical.KindCreditNote {
			t.credits = append(t.credits, b)
		} else {
			t.bills = append(t.bills, b)
		}
	}
	return nil
}

// each visits every document that was joined.
func (t *story) each(visit func(*entry)) {
	for _, list := range [...][]*entry{t.orders, t.subscriptions, t.otherSubscriptions, t.otherBills} {
		for _, e := range list {
			visit(e)
		}
	}
	for _, list := range [...][]*bill{t.bills, t.credits} {
		for _, b := range list {
			visit(b.entry)
		}
	}
}

// live are the bills that are, or may become, a claim.
func (t *story) live() []*bill {
	var live []*bill
	for _, b := range t.bills {
		if b.standing() != dead {
			live = append(live, b)
		}
	}
	return live
}

// stage is how far the deal has come, by what the documents say now.
func (t *story) stage(won bool) string {
	live := t.live()
	settled, booked, paid := len(live) > 0, false, false
	for _, b := range live {
		booked = booked || b.standing() == inForce
		paid = paid || b.paid.IsPositive()
		settled = settled && b.standing() == inForce && b.items > 0 && b.paid.GreaterThanOrEqual(b.gross)
	}
	credited := slices.ContainsFunc(t.credits, func(b *bill) bool { return b.standing() == inForce })
	switch {
	case credited:
		return StageCredited
	case settled:
		return StagePaid
	case paid:
		return StagePartlyPaid
	case booked:
		return StageInvoiced
	case len(t.subscriptions) > 0 && t.subscriptions[0].standing() == inForce:
		return StageActivated
	case won:
		return StageWon
	default:
		return StageOpened
	}
}

// paidAt is when the payments of the live bills, in the order in which they were
// made, had covered every one of them; it stays when a part is paid back later.
func (t *story) paidAt() change.Instant {
	type event struct {
		bill    int
		payment *payment
	}
	live := t.live()
	due := make([]decimal.Decimal, len(live))
	var events []event
	for i, b := range live {
		if b.items == 0 {
			return change.Instant{}
		}
		due[i] = b.gross
		for j := range b.payments {
			events = append(events, event{i, &b.payments[j]})
		}
	}
	slices.SortStableFunc(events, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.payment.at().Micros, b.payment.at().Micros), canonical.CompareIDs(a.payment.row.ID, b.payment.row.ID))
	})
	for _, e := range events {
		due[e.bill] = due[e.bill].Sub(e.payment.value)
		if !slices.ContainsFunc(due, func(d decimal.Decimal) bool { return d.IsPositive() }) {
			return e.payment.at()
		}
	}
	return change.Instant{}
}
