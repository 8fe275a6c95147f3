package company

import "strconv"

// subscriber returns the customer's subscriber, which comes with the first
// contract.
func (g *Generator) subscriber(c *customer) *party {
	if c.subs == nil {
		c.subs = g.addParty(inSubs, c)
	}
	return c.subs
}

// debtor returns one of the customer's debtors: some have two.
func (g *Generator) debtor(c *customer) *party {
	if len(c.debtors) == 0 || len(c.debtors) == 1 && g.chance(g.rates.SecondDebtor) {
		c.debtors = append(c.debtors, g.addParty(inERP, c))
		if len(c.debtors) == 2 {
			g.seen(CaseSecondDebtor)
		}
	}
	return pick(g, c.debtors)
}

func (g *Generator) addParty(sys int, c *customer) *party {
	p := &party{sys: sys, name: c.name}
	p.id = g.next(p.tab(g))
	if g.chance(0.3) {
		p.name += " (" + g.systems[sys].name + ")"
	}
	g.transact(sys)
	g.insert(p)
	if g.chance(0.1) {
		// Identifiers that name nobody.
		g.addRef(p, "VAT-PT"+strconv.FormatInt(500_000_000+p.id, 10))
	}
	g.link(p, c)
	return p
}

func (g *Generator) addRef(p *party, code string) *ref {
	r := &ref{party: p, code: code}
	r.id = g.next(r.tab(g))
	p.refs = append(p.refs, r)
	g.insert(r)
	return r
}

func refCode(customer int64) string { return "C#" + strconv.FormatInt(customer, 10) }

// link gives a party the identifier that names its customer: at once, late,
// wrong and corrected, or never.
func (g *Generator) link(p *party, c *customer) {
	r := &g.rates
	own := refCode(c.id)
	u := g.rng.Float64()
	under := func(share float64) bool {
		u -= share
		return u < 0
	}
	switch {
	case under(r.NoLink):
		g.seen(CaseNoLink)
	case under(r.DanglingLink):
		g.addRef(p, refCode(int64(9_000_000)+p.id/2*1000))
		g.seen(CaseDanglingLink)
	case under(r.TwoLinks):
		g.addRef(p, refCode(c.id+5_000_000))
		g.addRef(p, own)
		g.seen(CaseTwoLinks)
	case under(r.LateLink):
		g.after(12*hour, func() {
			g.transact(p.sys)
			g.addRef(p, own)
			g.seen(CaseLateLink)
		})
	case under(r.WrongForEver):
		g.addRef(p, refCode(g.someCustomer2(c).id))
		g.seen(CaseWrongLink)
	case under(r.WrongLink):
		wrong := g.addRef(p, refCode(g.someCustomer2(c).id))
		g.relink(wrong, own, 20*hour)
		g.seen(CaseWrongLink)
	case under(r.LinkChanged):
		ref := g.addRef(p, own)
		wrong := refCode(g.someCustomer2(c).id)
		g.after(30*hour, func() {
			if !ref.live {
				return
			}
			g.transact(p.sys)
			ref.code = wrong
			g.update(ref, false)
			g.relink(ref, own, 10*hour)
			g.seen(CaseRelinkedAndBack)
		})
	case under(r.LinkRemoved):
		ref := g.addRef(p, own)
		g.after(60*hour, func() {
			g.transact(p.sys)
			g.remove(ref)
			g.seen(CaseLinkRemoved)
			if !g.chance(r.Recreated) {
				return
			}
			again := func() { g.insert(ref) }
			if g.chance(0.5) { // another row that says the same
				again = func() { g.addRef(p, own) }
			}
			g.after(30*hour, func() { g.transact(p.sys); again() })
		})
	default:
		g.addRef(p, own)
	}
}

// relink puts an identifier right after a while; now and then a later update
// touches the row without changing what it says.
func (g *Generator) relink(r *ref, code string, mean duration) {
	g.after(mean, func() {
		if !r.live {
			return
		}
		g.transact(r.party.sys)
		r.code = code
		g.update(r, false)
		if g.chance(0.3) {
			g.after(mean, func() {
				if r.live {
					g.transact(r.party.sys)
					g.update(r, false)
				}
			})
		}
	})
}

// someCustomer2 returns a customer that is there and is not c.
func (g *Generator) someCustomer2(c *customer) *customer {
	for range 64 {
		if o := g.customers[g.rng.IntN(len(g.customers))]; o != nil && o != c {
			return o
		}
	}
	return c
}
