package account

import (
	"slices"

	"syncline/schemas/canonical"
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
	unplaced                       []*entry // of the account: what they belong to was refused
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
	if t.unplaced, err = o.entries(s, join{joinUnplaced, ""}); err != nil {
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
	if counts {
		t.subscriptions = append(t.subscriptions, subscriptions...)
	} else {
		t.otherSubscriptions = append(t.otherSubscriptions, subscriptions...)
	}
	for _, e := range invoices {
		f, err := o.figures(s, e)
		if err != nil {
			return err
		}
		switch b := (&bill{entry: e, figures: f}); {
		case !counts && f.kind == canonical.KindInvoice:
			t.otherBills = append(t.otherBills, e)
		case !counts: // what was credited of an order that is off concerns nobody here
		case f.kind == canonical.KindCreditNote:
			t.credits = append(t.credits, b)
		default:
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
