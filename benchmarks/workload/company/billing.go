package company

import "time"

// billLines copies lines and makes the taxes on them.
func (g *Generator) billLines(b *bill, from []*line, sign int64) {
	var net int64
	for _, l := range from {
		n := &line{in: ofBill, of: b.id, product: g.same(l.product, inERP), qty: sign * l.qty, price: l.price}
		n.id = g.next(g.t.billItems)
		b.items = append(b.items, n)
		net += n.amount(b.currency)
	}
	b.taxes = append(b.taxes, &tax{bill: b.id, code: "STD", amount: share(net, 20, b.currency)})
	if b.id%3 == 0 {
		b.taxes = append(b.taxes, &tax{bill: b.id, code: "ECO", amount: share(net, 1, b.currency)})
	}
}

// insertBill writes a draft with its rows; now and then its lines come first.
func (g *Generator) insertBill(b *bill) {
	g.transact(inERP)
	linesFirst := g.chance(0.1)
	if linesFirst {
		for _, l := range b.items {
			g.insert(l)
		}
	}
	g.insert(b)
	if !linesFirst {
		for _, l := range b.items {
			g.insert(l)
		}
	}
	for _, t := range b.taxes {
		g.insert(t)
	}
}

// addBill bills an order: a draft first, then issued, then what the customer
// makes of it.
func (g *Generator) addBill(c *customer, o *order, k *contract) {
	r := &g.rates
	p := g.debtor(c)
	b := &bill{party: p, kind: kindBill, status: billDraft, contract: k.number, orderCode: o.code, currency: o.currency}
	b.id = g.next(g.t.bills)
	g.billLines(b, k.items, 1)
	noParty := g.chance(r.NoDebtor)
	if noParty {
		b.party = nil
	}
	g.insertBill(b)
	g.remember(b)
	if g.chance(r.StrayLines) {
		g.addStrays(k.items)
	}
	switch {
	case noParty:
		g.seen(CaseNoParty)
		if g.chance(0.3) {
			return // a draft of nobody for ever
		}
		g.after(5*hour, func() {
			g.transact(inERP)
			b.party = p
			g.update(b, false)
			g.issueLater(c, o, k, b)
		})
	case g.chance(r.DraftDeleted):
		g.after(5*hour, func() { g.deleteDraft(c, o, k, b) })
	default:
		g.issueLater(c, o, k, b)
	}
}

// addStrays writes lines of a bill that never comes.
func (g *Generator) addStrays(like []*line) {
	g.transact(inERP)
	missing := int64(1)<<33 + g.next(g.t.bills)
	for _, l := range like {
		n := &line{in: ofBill, of: missing, product: g.same(l.product, inERP), qty: l.qty, price: l.price}
		n.id = g.next(g.t.billItems)
		g.insert(n)
	}
	g.seen(CaseChildFirst)
}

func (g *Generator) deleteDraft(c *customer, o *order, k *contract, b *bill) {
	if b.status != billDraft {
		return
	}
	g.transact(inERP)
	if g.chance(g.rates.DraftOrphaned) {
		// Deleted past the application: its rows stay behind.
		g.remove(b)
		g.seen(CaseParentDeleted)
		g.after(day, func() { g.addBill(c, o, k) })
		return
	}
	g.removeLines(b.items)
	for _, t := range b.taxes {
		g.remove(t)
	}
	g.remove(b)
	g.seen(CaseDraftDeleted)
	if g.chance(g.rates.Recreated) {
		g.after(5*time.Minute, func() {
			// Lines that were moved here belong to it no more.
			b.items = ownLines(b)
			g.insertBill(b)
			g.issueLater(c, o, k, b)
		})
		return
	}
	g.after(day, func() { g.addBill(c, o, k) })
}

func ownLines(b *bill) []*line {
	var own []*line
	for _, l := range b.items {
		if l.of == b.id && !l.live {
			own = append(own, l)
		}
	}
	return own
}

func (g *Generator) issueLater(c *customer, o *order, k *contract, b *bill) {
	if g.chance(g.rates.PaidBefore) {
		g.pay(b, b.gross()/2)
		g.seen(CasePaidBefore)
	}
	g.after(6*hour, func() {
		g.issue(b)
		g.afterIssue(c, o, k, b)
	})
}

// issue posts a bill in one transaction and two steps, as applications do.
func (g *Generator) issue(b *bill) {
	g.transact(inERP)
	g.billNo++
	b.number = code("B-", g.billNo)
	if b.kind == kindCredit {
		b.number = "CN" + b.number[1:]
	}
	g.update(b, false)
	b.status, b.issuedOn, b.issuedAt = billIssued, g.now/dayMicros, g.now-columnAge
	g.update(b, false)
}

func (g *Generator) afterIssue(c *customer, o *order, k *contract, b *bill) {
	r := &g.rates
	if g.chance(r.MovedDebtor) {
		g.moveBill(c, b)
	}
	if g.chance(r.LineMoved) {
		g.after(2*day, func() { g.moveLine(b) })
	}
	u := g.rng.Float64()
	under := func(share float64) bool {
		u -= share
		return u < 0
	}
	switch {
	case under(r.Void):
		g.after(day, func() { g.void(c, o, k, b) })
		return
	case under(r.Unpaid):
	case under(r.PartlyPaid):
		g.after(10*day, func() {
			g.pay(b, b.gross()/2)
			g.seen(CasePartlyPaid)
		})
	case under(r.PaidInParts):
		g.after(8*day, func() {
			g.pay(b, b.gross()/2)
			g.after(5*day, func() {
				g.settle(b)
				g.seen(CasePaidInParts)
			})
		})
	default:
		g.after(12*day, func() {
			g.settle(b)
			switch {
			case g.chance(r.PaymentUndone):
				g.after(3*day, func() { g.undo(b) })
			case g.chance(r.VoidPaid):
				g.after(3*day, func() {
					g.seen(CaseVoidPaid)
					g.void(c, o, k, b)
				})
			}
		})
	}
	if g.chance(r.CreditNote) {
		g.after(15*day, func() { g.credit(b) })
	}
}

// void takes a bill out of the books; another one follows.
func (g *Generator) void(c *customer, o *order, k *contract, b *bill) {
	g.transact(inERP)
	b.status = billVoid
	g.update(b, false)
	g.seen(CaseVoid)
	g.seen(CaseSeveralBills)
	g.after(day, func() { g.addBill(c, o, k) })
}

func (b *bill) gross() int64 {
	var n int64
	for _, l := range b.items {
		if l.live {
			n += l.amount(b.currency)
		}
	}
	for _, t := range b.taxes {
		if t.live {
			n += t.amount
		}
	}
	return n
}

func (b *bill) paid() int64 {
	var n int64
	for _, r := range b.receipts {
		if r.live {
			n += r.amount
		}
	}
	return n
}

func (g *Generator) pay(b *bill, amount int64) {
	g.transact(inERP)
	r := &receipt{uuid: uuidOf(g.rng), bill: b, amount: amount, paidOn: g.now / dayMicros}
	b.receipts = append(b.receipts, r)
	g.insert(r)
}

// settle pays the rest, now and then a little more; the state follows in the same
// transaction or the next.
func (g *Generator) settle(b *bill) {
	rest := b.gross() - b.paid()
	if g.chance(g.rates.Overpaid) {
		rest += 10_000
		g.seen(CaseOverpaid)
	}
	g.pay(b, rest)
	if g.chance(0.3) {
		g.transact(inERP)
	}
	b.status = billSettled
	g.update(b, false)
}

// undo deletes the last receipt; half of the time the money comes again.
func (g *Generator) undo(b *bill) {
	last := b.receipts[len(b.receipts)-1]
	if !last.live {
		return
	}
	g.transact(inERP)
	g.remove(last)
	b.status = billIssued
	g.update(b, false)
	g.seen(CasePaymentUndone)
	if g.chance(0.5) {
		g.after(4*day, func() { g.settle(b) })
	}
}

// credit takes a bill back, or a part of its first line, by a bill of negative
// quantities. Some are not even called a credit.
func (g *Generator) credit(b *bill) {
	from, kind := b.items, kindCredit
	if len(from) > 0 && g.chance(g.rates.PartCredit) {
		from = []*line{{product: from[0].product, qty: max(from[0].qty/4, 1), price: from[0].price}}
		g.seen(CasePartCredit)
	}
	if g.chance(g.rates.NamelessCredit) {
		kind = kindBill
		g.seen(CaseNamelessCredit)
	}
	n := &bill{party: b.party, kind: kind, status: billDraft, contract: "", orderCode: b.orderCode, currency: b.currency}
	n.id = g.next(g.t.bills)
	g.billLines(n, from, -1)
	g.insertBill(n)
	g.seen(CaseCreditNote)
	if g.chance(0.8) {
		g.after(3*hour, func() { g.issue(n) })
	}
}

// moveBill hands a bill to another debtor; half of the time that was a mistake
// and is put right.
func (g *Generator) moveBill(c *customer, b *bill) {
	from, to := b.party, (*party)(nil)
	for _, p := range c.debtors {
		if p != from {
			to = p
		}
	}
	if to == nil {
		if o := g.someCustomer2(c); len(o.debtors) > 0 {
			to = o.debtors[0]
		}
	}
	if to == nil {
		return
	}
	g.after(day, func() {
		g.transact(inERP)
		b.party = to
		g.update(b, false)
		g.seen(CaseDocumentMoved)
		if g.chance(0.5) {
			g.after(6*hour, func() {
				g.transact(inERP)
				b.party = from
				g.update(b, false)
			})
		}
	})
}

// remember keeps the last bills, among which lines are moved.
func (g *Generator) remember(b *bill) {
	const kept = 64
	if len(g.lastBills) < kept {
		g.lastBills = append(g.lastBills, b)
		return
	}
	g.lastBills[int(b.id)%kept] = b
}

// moveLine moves the last line of a bill to another one; half of the time it is
// deleted there.
func (g *Generator) moveLine(b *bill) {
	to := pick(g, g.lastBills)
	if to == b || !to.live || len(b.items) == 0 {
		return
	}
	l := b.items[len(b.items)-1]
	if !l.live {
		return
	}
	g.transact(inERP)
	b.items = b.items[:len(b.items)-1]
	l.of = to.id
	to.items = append(to.items, l)
	g.update(l, false)
	g.seen(CaseLineMoved)
	if g.chance(0.5) {
		g.after(5*hour, func() {
			if l.live {
				g.transact(inERP)
				g.remove(l)
				g.seen(CaseMovedLineDeleted)
			}
		})
	}
}
