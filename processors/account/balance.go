package account

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/shopspring/decimal"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

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

// balance is what was billed, paid and credited of a deal.
type balance struct {
	currency               string // of all of it; "" where there is nothing
	billed, paid, credited total
	open                   total // what the bills lack, each for itself
	ready                  bool  // every live bill is in force and has something on it
	booked, partly         bool  // a bill is in force; of a bill something is paid
	live                   []*bill
}

// weigh sums the live bills and the credit notes in force. Amounts in several
// currencies are no sum.
func (t *story) weigh(l *lack) balance {
	b := balance{live: t.live()}
	b.ready = len(b.live) > 0
	same := func(of *entry) {
		switch code := of.currency(); {
		case b.currency == "":
			b.currency = code
		case !sameCurrency(b.currency, code):
			l.add(fmt.Sprintf("its invoices are in %s and %s: there is no sum of them", clip(b.currency), clip(code)))
			b.forget()
		}
	}
	if t.vague() {
		b.forget()
	}
	for _, v := range b.live {
		same(v.entry)
		if v.standing() == inForce {
			b.booked = true
			b.billed = b.billed.plus(v.gross)
		}
		b.ready = b.ready && v.standing() == inForce && v.items > 0
		b.partly = b.partly || v.paid.positive()
		b.paid = b.paid.plus(v.paid)
		b.open = b.open.plus(v.open())
	}
	for _, c := range t.credits {
		if c.standing() == inForce {
			same(c.entry)
			b.credited = b.credited.plus(total{c.gross.Abs(), c.gross.unknown})
		}
	}
	l.hold("billed", &b.billed)
	l.hold("paid", &b.paid)
	l.hold("credited", &b.credited)
	return b
}

// forget makes the sums unknown.
func (b *balance) forget() {
	b.billed.unknown, b.paid.unknown, b.credited.unknown, b.open.unknown = true, true, true, true
}

// vague reports whether it is not known what belongs to the deal's sums.
func (t *story) vague() bool {
	return slices.ContainsFunc(t.orders, func(e *entry) bool { return refuses(&e.doc.Header, canonical.OrderState, canonical.OrderPhase) }) ||
		slices.ContainsFunc(slices.Concat(t.bills, t.credits), func(b *bill) bool { return b.vague }) ||
		slices.ContainsFunc(t.unplaced, func(e *entry) bool { return e.doc.Entity != canonical.Subscription })
}

// open is what a bill lacks to be paid, nothing where too much was paid.
func (b *bill) open() total {
	o := total{b.gross.Sub(b.paid.Decimal), b.gross.unknown || b.paid.unknown}
	if o.IsNegative() {
		o.Decimal = decimal.Zero
	}
	return o
}

// undone reports whether credit notes have taken back all that was billed.
func (b *balance) undone() bool {
	return b.ready && b.billed.positive() && b.credited.covers(b.billed)
}

// settled reports whether each bill is paid, but for what was credited.
func (b *balance) settled() bool {
	return b.ready && b.credited.covers(b.open)
}

// stage is how far the deal has come, by what the documents say now.
func (t *story) stage(b *balance, won bool) string {
	switch {
	case b.undone():
		return StageCredited
	case b.settled():
		return StagePaid
	case b.partly:
		return StagePartlyPaid
	case b.booked:
		return StageInvoiced
	case len(t.subscriptions) > 0 && t.subscriptions[0].standing() == inForce:
		return StageActivated
	case won:
		return StageWon
	default:
		return StageOpened
	}
}

// paidAt is when the payments of the live bills and the credits, in the order in
// which they were made, had covered every bill; it stays when a part is paid back
// later. What was credited altogether was never paid by it.
func (t *story) paidAt(b *balance) change.Instant {
	if b.open.unknown || b.credited.unknown || slices.ContainsFunc(b.live, func(v *bill) bool { return v.items == 0 }) {
		return change.Instant{}
	}
	type event struct {
		bill   int // -1: a credit
		id     string
		amount decimal.Decimal
		at     change.Instant
	}
	due := make([]decimal.Decimal, len(b.live))
	var events []event
	for i, v := range b.live {
		due[i] = v.gross.Decimal
		for _, p := range v.payments {
			if !p.foreign {
				events = append(events, event{i, p.row.ID, p.amount.Decimal, p.at()})
			}
		}
	}
	if !b.undone() {
		for _, c := range t.credits {
			if c.standing() == inForce {
				events = append(events, event{-1, c.doc.ID, c.gross.Abs(), c.doc.Header.Times[change.Invoiced]})
			}
		}
	}
	slices.SortStableFunc(events, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.at.Micros, b.at.Micros), cmp.Compare(a.bill, b.bill), canonical.CompareIDs(a.id, b.id))
	})
	var credited, paid decimal.Decimal
	for _, e := range events {
		if e.bill < 0 {
			credited = credited.Add(e.amount)
		} else {
			due[e.bill], paid = due[e.bill].Sub(e.amount), paid.Add(e.amount)
		}
		open := decimal.Zero
		for _, d := range due {
			if d.IsPositive() {
				open = open.Add(d)
			}
		}
		if paid.IsPositive() && open.LessThanOrEqual(credited) {
			return e.at
		}
	}
	return change.Instant{}
}

// lackOf adds what the documents lack of which the deal is made.
func (o *Operator) lackOfStory(s scope, t *story, b *balance, l *lack) error {
	parts := slices.Concat(t.orders[:t.standing], t.subscriptions)
	for _, v := range slices.Concat(b.live, t.credits) {
		if v.standing() != dead {
			parts = append(parts, v.entry)
		}
	}
	for _, e := range t.unplaced {
		if !slices.Contains(parts, e) {
			parts = append(parts, e)
		}
	}
	for _, e := range parts {
		part, err := o.lackOf(s, e)
		if err != nil {
			return err
		}
		l.join(e.doc.Entity+" "+e.doc.ID, part)
	}
	return nil
}

// flags tells what is odd about the deal, its invoices' flags included.
func (t *story) flags(r *canonical.DealRecord) []string {
	var flags []string
	for _, list := range [...][]*bill{t.bills, t.credits} {
		for _, b := range list {
			flags = append(flags, b.flags...)
		}
	}
	before := func(at, than *int64, names ...string) bool {
		exact := !slices.ContainsFunc(names, func(n string) bool { return slices.Contains(r.Approximate, n) })
		return exact && at != nil && than != nil && *at < *than
	}
	if before(r.ActivatedAt, r.WonAt, "activated_at", "won_at") {
		flags = append(flags, FlagActivatedBefore)
	}
	if before(r.InvoicedAt, r.ActivatedAt, "invoiced_at", "activated_at") {
		flags = append(flags, FlagInvoicedBefore)
	}
	if len(t.bills) > 0 && t.bills[0].standing() == dead {
		flags = append(flags, FlagVoidInvoice)
	}
	if slices.ContainsFunc(t.otherBills, func(e *entry) bool { return e.standing() == inForce }) {
		flags = append(flags, FlagDeadOrderBilled)
	}
	slices.Sort(flags)
	return slices.Compact(flags)
}
