package company

import (
	"strings"
	"time"
)

type duration = time.Duration

// longTitle is a text that PostgreSQL stores out of line.
func longTitle(title string) string {
	return title + ". " + strings.Repeat("Die Anforderungen stehen im Anhang; bitte vollständig lesen. ", 40)
}

// openDeal opens an opportunity and lets it take its way.
func (g *Generator) openDeal() {
	r := &g.rates
	c := g.someCustomer()
	if !c.live {
		g.reviveCustomer(c)
	}
	id := g.next(g.t.deals)
	d := &deal{id: id, customer: c, title: c.name + ", " + pick(g, lastNames[:]), stage: dealNew, currency: c.currency, code: code("D-", id)}
	if g.chance(r.LargeText) {
		d.title = longTitle(d.title)
	}
	if !g.config.NoTruth || len(c.deals) < 21 {
		c.deals = append(c.deals, d)
	}
	g.transact(inCRM)
	g.insert(d)
	for range 1 + g.rng.IntN(3) {
		p := pick(g, g.products[inCRM])
		l := &line{in: ofDeal, of: d.id, product: p, qty: 1000, price: p.price}
		l.id = g.next(l.tab(g))
		if g.t.dealItems.added {
			l.qty = g.quantity()
		}
		d.items = append(d.items, l)
		g.insert(l)
	}
	g.tendCustomer(c)
	if g.chance(r.OrderWithoutDeal) {
		g.addOrder(c, nil)
		g.seen(CaseOrderWithoutDeal)
	}
	if g.chance(r.Undecided) {
		g.seen(CaseUndecided)
		if g.chance(0.5) {
			return // not even qualified
		}
		g.after(2*day, func() { g.qualify(d) })
		return
	}
	g.after(2*day, func() {
		if d.gone {
			return
		}
		g.qualify(d)
		lost := g.chance(r.Lost)
		g.after(5*day, func() {
			switch {
			case d.gone:
			case lost:
				g.lose(d)
			default:
				g.win(d)
			}
		})
	})
}

// quantity is a number of thousandths: mostly whole, sometimes such that line
// amounts end on half a cent.
func (g *Generator) quantity() int64 {
	switch g.rng.IntN(6) {
	case 0:
		return int64(1+g.rng.IntN(40))*500 + 500
	case 1:
		return 1 + int64(g.rng.IntN(20_000))
	default:
		return int64(1+g.rng.IntN(50)) * 1000
	}
}

func (g *Generator) qualify(d *deal) {
	if d.gone {
		return
	}
	g.transact(inCRM)
	if g.chance(0.2) {
		l := d.items[0]
		l.price -= l.price / 20
		g.update(l, false)
	}
	d.stage, d.hasValue, d.value = dealQualified, true, 0
	for _, l := range d.items {
		d.value += l.amount(d.currency)
	}
	renamed := g.chance(0.1)
	if renamed {
		d.title = "RE: " + d.title
	}
	g.update(d, renamed)
}

func (g *Generator) lose(d *deal) {
	g.transact(inCRM)
	d.stage = dealLost
	g.update(d, false)
	g.seen(CaseLost)
	if !g.chance(g.rates.LostDeleted) {
		return
	}
	g.after(4*day, func() {
		if d.gone {
			return
		}
		g.transact(inCRM)
		g.removeLines(d.items)
		g.remove(d)
		g.seen(CaseDealDeleted)
		if !g.chance(g.rates.Recreated) {
			d.gone = true
			return
		}
		// The same ids again: a new life, sometimes at once.
		wait := day
		if g.chance(0.5) {
			wait = 10 * time.Second
		}
		g.after(wait, func() {
			if d.gone {
				return
			}
			g.transact(inCRM)
			d.stage, d.hasValue = dealNew, false
			g.insert(d)
			for _, l := range d.items {
				g.insert(l)
			}
			g.after(2*day, func() {
				if d.gone {
					return
				}
				g.qualify(d)
				if g.chance(0.7) {
					g.after(2*day, func() {
						if !d.gone {
							g.win(d)
						}
					})
				}
			})
		})
	})
}

// win closes the deal and makes its order, then what follows in the other
// systems.
func (g *Generator) win(d *deal) {
	r := &g.rates
	g.transact(inCRM)
	d.stage = dealWon
	if g.chance(r.Overtaken) {
		g.updateLate(d)
		g.transact(inCRM)
	}
	g.update(d, false)
	o := g.addOrder(d.customer, d)
	if g.chance(r.OrderRewritten) {
		o = g.rewriteOrder(d, o)
	}
	if g.chance(r.SecondOrder) {
		second := g.addOrder(d.customer, d)
		g.seen(CaseSecondOrder)
		if g.chance(r.SecondBilled) {
			g.after(30*hour, func() { g.addContract(d.customer, second) })
			g.seen(CaseSecondBilled)
		}
	}
	if !g.chance(r.NeverContracted) {
		g.after(20*hour, func() { g.addContract(d.customer, o) })
	}
}

// rewriteOrder cancels an order and writes it anew. Sometimes the other systems
// do not hear of it and go on with the old one too.
func (g *Generator) rewriteOrder(d *deal, old *order) *order {
	g.transact(inCRM)
	old.status = orderCancelled
	g.update(old, false)
	g.seen(CaseOrderRewritten)
	if g.chance(0.3) {
		g.after(20*hour, func() { g.addContract(d.customer, old) })
	}
	return g.addOrder(d.customer, d)
}

func (g *Generator) addOrder(c *customer, d *deal) *order {
	o := &order{customer: c, deal: d, currency: c.currency, status: orderOpen, placed: g.now / dayMicros}
	o.id = g.next(g.t.orders)
	o.code = code("SO-", o.id)
	if g.chance(g.rates.LargeText) {
		o.notes = longTitle("Lieferung")
	}
	from := []*line{}
	if d != nil {
		from = d.items
	} else {
		p := pick(g, g.products[inCRM])
		from = append(from, &line{product: p, qty: g.quantity(), price: p.price})
	}
	discount := g.chance(g.rates.Discount)
	for _, l := range from {
		n := &line{in: ofOrder, of: o.id, product: l.product, qty: l.qty, price: l.price}
		n.id = g.next(g.t.orderItems)
		if discount {
			n.price -= n.price / 8
		}
		o.items = append(o.items, n)
		o.net += n.amount(o.currency)
	}
	if discount {
		g.seen(CaseDiscount)
	}
	o.vat = share(o.net, 23, o.currency)
	o.total = o.net + o.vat
	g.transact(inCRM)
	g.insert(o)
	for _, l := range o.items {
		g.insert(l)
	}
	o.status = orderConfirmed
	g.update(o, false)
	if !g.config.NoTruth || len(c.orders) < 21 {
		c.orders = append(c.orders, o)
	}
	return o
}

const dayMicros = 86_400_000_000

func (g *Generator) addContract(c *customer, o *order) {
	r := &g.rates
	p := g.subscriber(c)
	k := &contract{party: p, orderCode: o.code, status: contractPending, starts: g.now/dayMicros + 1, currency: o.currency, cycle: "month"}
	if g.chance(r.LongCycle) {
		k.cycle = pick(g, longCycles[:])
		g.seen(CaseLongCycle)
	}
	k.id = g.next(g.t.contracts)
	k.number = code("CT-", k.id)
	g.transact(inSubs)
	g.insert(k)
	for _, l := range o.items {
		n := &line{in: ofContract, of: k.id, product: g.same(l.product, inSubs), qty: l.qty, price: l.price}
		n.id = g.next(g.t.contractItems)
		k.items = append(k.items, n)
		g.insert(n)
	}
	if g.chance(r.NeverActivated) {
		return
	}
	neverBilled := g.chance(r.NeverBilled)
	if !neverBilled && g.chance(r.InAdvance) {
		neverBilled = true // not again
		g.addBill(c, o, k)
		g.seen(CaseInAdvance)
	}
	g.after(day, func() {
		g.transact(inSubs)
		k.status = contractLive
		g.update(k, false)
		if g.chance(r.Terminated) {
			g.after(20*day, func() {
				g.transact(inSubs)
				k.status, k.ends = contractEnded, g.now/dayMicros
				g.update(k, false)
				g.seen(CaseTerminated)
			})
		}
		if !neverBilled {
			g.after(3*day, func() { g.addBill(c, o, k) })
		}
	})
}

// longCycles are the words for cycles of more than a month, each in another style.
var longCycles = [...]string{"year", "quarterly", "P6M", "2 months"}

// months is how long a cycle is.
func (c *contract) months() int64 {
	return map[string]int64{"month": 1, "year": 12, "quarterly": 3, "P6M": 6, "2 months": 2}[c.cycle]
}

// same is the product as another system knows it.
func (g *Generator) same(p *product, sys int) *product {
	for i, q := range g.products[p.sys] {
		if p == q {
			return g.products[sys][i]
		}
	}
	return p
}
