package company

import (
	"strconv"
	"time"
)

const (
	hour = time.Hour
	day  = 24 * time.Hour
)

// begin schedules the whole business and plays what happened before the
// snapshot.
func (g *Generator) begin() {
	c := g.config
	span := c.Span.Microseconds()
	gap := float64(span) / (float64(c.Deals) * (1 - c.History))
	before := int64(gap * float64(c.Deals) * c.History)
	first := g.start - before
	dealGap := time.Duration(gap * 1000)
	// Customers come a little faster, so that the last deals find all of them.
	customerGap := time.Duration(0.8 * float64(before+span) / float64(c.Accounts) * 1000)
	open := first + int64(hour/time.Microsecond)
	if c.History == 0 {
		open = g.start + 1
	}
	g.now = min(first, g.start) - 1000
	taken := false
	g.at(g.start, func() { g.takeSnapshot(); taken = true })
	g.at(open, func() {
		g.addProducts()
		g.arrive(dealGap, func() bool { g.openDeal(); g.opened++; return g.opened < c.Deals })
		g.arrive(customerGap, g.nextCustomer)
	})
	g.at(g.start+span/2, g.changeSchemas)
	for !taken {
		g.step()
	}
}

// arrive repeats something at random intervals until it says no.
func (g *Generator) arrive(gap time.Duration, do func() bool) {
	var again func()
	again = func() {
		if do() {
			g.after(gap, again)
		}
	}
	g.after(gap, again)
}

// changeSchemas adds a column with a default to two tables. Rows that were there
// get no change for it.
func (g *Generator) changeSchemas() {
	for _, t := range g.tables {
		if t.hasLater() {
			t.added = true
			g.seen(CaseSchemaChange)
		}
	}
}

var wares = [...]struct {
	sku, label string
	price      int64
}{
	{"SEAT-S", "Seat, small team", 99_000},
	{"SEAT-L", "Seat, large team", 79_500},
	{"PLATFORM", "Platform fee", 4_900_000},
	{"USAGE-1K", "1,000 calls", 123_450},
	{"CARE", "Care, 8×5", 1_200_000},
	{"CARE+", "Care, 24×7", 3_333_300},
	{"TRAIN", "Training day", 9_500_000},
	{"STORE", "Speicher je GB", 1_250},
}

func (g *Generator) addProducts() {
	for sys := range g.systems {
		g.transact(sys)
		for i, w := range wares {
			// Every system numbers on its own.
			p := &product{sys: sys, id: int64(i+1)*int64(sys+2) + int64(10*sys), sku: w.sku, label: w.label, price: w.price}
			p.memo = w.label + ", price per month without tax, as in the price list of this year, terms of the frame contract apply"
			g.products[sys] = append(g.products[sys], p)
			g.insert(p)
		}
	}
	g.after(20*day, func() {
		g.transact(inCRM)
		p := g.products[inCRM][3]
		p.label = "Tausend Aufrufe"
		g.update(p, false)
	})
}

var (
	firstNames = [...]string{"Nordwind", "Alba", "Hanse", "Quercus", "Łódź", "Baía", "Öresund", "Tern", "Kestrel", "Vela", "Morava", "Silex"}
	lastNames  = [...]string{"Logistics", "Labs", "Energie", "Foods", "Print", "Mobil", "Textil", "Robotics", "Glass", "Pharma", "Marine"}
	forms      = [...]string{"GmbH", "Lda", "Sp. z o.o.", "AB", "SA", "Ltd", "BV"}
	towns      = [...]string{"Porto", "Gdynia", "Malmö", "Kassel", "Cork", "Gent", "Lyon"}
	countries  = [...]string{"PT", "PL", "SE", "DE", "IE", "BE", "FR"}
	tiers      = [...]string{"basic", "plus", "enterprise"}
)

func pick[T any](g *Generator, from []T) T { return from[g.rng.IntN(len(from))] }

func (g *Generator) next(t *table) int64 { t.lastID++; return t.lastID }

// code makes a document's number out of an id: D-00012.
func code(prefix string, id int64) string {
	digits := strconv.FormatInt(id, 10)
	return prefix + "00000"[:max(0, 5-len(digits))] + digits
}

// someCustomer picks by Zipf: few have most of the deals.
func (g *Generator) someCustomer() *customer {
	place := int(g.zipf.Uint64()) * g.stride % len(g.customers)
	return g.customerAt(place)
}

func (g *Generator) customerAt(place int) *customer {
	c := g.customers[place]
	if c == nil {
		c = g.addCustomer()
		g.customers[place] = c
	}
	return c
}

// nextCustomer adds the next customer that no deal has brought yet.
func (g *Generator) nextCustomer() bool {
	for g.created < len(g.customers) {
		place := g.created
		g.created++
		if g.customers[place] == nil {
			g.customerAt(place)
			return g.created < len(g.customers)
		}
	}
	return false
}

func (g *Generator) addCustomer() *customer {
	id := g.next(g.t.customers)
	c := &customer{
		id: id, name: pick(g, firstNames[:]) + " " + pick(g, lastNames[:]) + " " + pick(g, forms[:]) + " " + strconv.FormatInt(id, 10),
		tier: pick(g, tiers[:]), segment: "unsorted", currency: "EUR",
	}
	switch n := g.rng.IntN(20); {
	case n < 5:
		c.currency = "USD"
	case n < 8:
		c.currency = "PLN"
	case n < 9: // without minor units
		c.currency = "JPY"
	case n < 10: // with three places
		c.currency = "KWD"
	}
	if g.t.customers.added {
		c.segment = "new"
	}
	g.transact(inCRM)
	g.insert(c)
	if g.chance(0.8) {
		at := g.rng.IntN(len(towns))
		c.address = &address{uuid: uuidOf(g.rng), customer: c, line1: pick(g, lastNames[:]) + " " + strconv.Itoa(1+g.rng.IntN(200)), town: towns[at], country: countries[at]}
		if g.chance(0.9) {
			c.address.zip = strconv.Itoa(10_000 + g.rng.IntN(80_000))
		}
		g.insert(c.address)
	}
	for _, channel := range [...]string{"email", "phone"} {
		if g.chance(0.5) {
			t := &contact{customer: c, channel: channel, target: "desk" + strconv.FormatInt(id, 10) + "@example.org"}
			if channel == "phone" {
				t.target = "+351 21 " + strconv.Itoa(1_000_000+g.rng.IntN(9_000_000))
			}
			c.contacts = append(c.contacts, t)
			g.insert(t)
		}
	}
	return c
}

// tendCustomer does, now and then, what happens to a customer beside its deals.
func (g *Generator) tendCustomer(c *customer) {
	r := &g.rates
	if g.chance(r.Renamed) {
		g.after(10*day, func() {
			if !c.live {
				return
			}
			g.transact(inCRM)
			c.name += " Group"
			if g.t.customers.added {
				c.segment = "renamed"
			}
			g.update(c, false)
			g.seen(CaseRenamed)
		})
	}
	a := c.address
	if a != nil && g.chance(r.AddressChanged) {
		g.after(8*day, func() {
			if a.live {
				g.transact(inCRM)
				a.line1 = pick(g, lastNames[:]) + " " + strconv.Itoa(1+g.rng.IntN(200))
				g.update(a, false)
			}
		})
	}
	if a != nil && g.chance(r.AddressDeleted) {
		g.after(12*day, func() {
			if !a.live {
				return
			}
			g.transact(inCRM)
			g.remove(a)
			g.seen(CaseAddressDeleted)
			if g.chance(r.Recreated) {
				g.after(time.Minute, func() {
					if c.live && !a.live {
						g.transact(inCRM)
						g.insert(a)
					}
				})
			}
		})
	}
	if len(c.contacts) > 0 && g.chance(r.AddressDeleted) {
		t := c.contacts[0]
		g.after(9*day, func() {
			if t.live {
				g.transact(inCRM)
				g.remove(t)
			}
		})
	}
	if len(c.deals) <= 20 && g.chance(r.CustomerDeleted) {
		g.after(25*day, func() { g.deleteCustomer(c) })
	}
}

// deleteCustomer deletes a customer in the CRM with all that hangs on it; what
// the other systems know of it stays.
func (g *Generator) deleteCustomer(c *customer) {
	if !c.live || len(c.deals) > 20 {
		return
	}
	g.transact(inCRM)
	for _, o := range c.orders {
		g.removeLines(o.items)
		if o.live {
			g.remove(o)
		}
	}
	for _, d := range c.deals {
		d.gone = true
		g.removeLines(d.items)
		if d.live {
			g.remove(d)
		}
	}
	if c.address != nil && c.address.live {
		g.remove(c.address)
	}
	for _, t := range c.contacts {
		if t.live {
			g.remove(t)
		}
	}
	g.remove(c)
	g.seen(CaseCustomerDeleted)
	if g.chance(g.rates.Recreated) {
		g.after(2*day, func() {
			if !c.live {
				g.reviveCustomer(c)
			}
		})
	}
}

func (g *Generator) reviveCustomer(c *customer) {
	g.transact(inCRM)
	g.insert(c)
	if c.address != nil {
		g.insert(c.address)
	}
}

func (g *Generator) removeLines(lines []*line) {
	for _, l := range lines {
		if l.live {
			g.remove(l)
		}
	}
}
