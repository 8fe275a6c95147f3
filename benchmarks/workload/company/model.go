package company

import (
	"encoding/hex"
	"math/rand/v2"
)

// The model of the business. Money is in thousandths, prices in 1/10,000, quantities
// in thousandths, dates in days since 1970, times in microseconds.

type customer struct {
	meta
	id       int64
	name     string
	tier     string
	segment  string
	address  *address
	contacts []*contact
	subs     *party
	debtors  []*party
	deals    []*deal
	orders   []*order
	currency string
}

func (c *customer) tab(g *Generator) *table { return g.t.customers }
func (c *customer) row(v []val) []val {
	v = append(v, val{i: c.id}, val{s: c.name}, val{s: c.tier})
	return append(c.stamps(v), val{s: c.segment})
}

type address struct {
	meta
	uuid             string
	customer         *customer
	line1, zip, town string
	country          string
}

func (a *address) tab(g *Generator) *table { return g.t.addresses }
func (a *address) row(v []val) []val {
	v = append(v, val{s: a.uuid}, val{i: a.customer.id}, val{s: a.line1}, val{s: a.zip, null: a.zip == ""}, val{s: a.town}, val{s: a.country})
	return a.stamps(v)
}

type contact struct {
	meta
	customer        *customer
	channel, target string
}

func (c *contact) tab(g *Generator) *table { return g.t.contacts }
func (c *contact) row(v []val) []val {
	return c.stamps(append(v, val{i: c.customer.id}, val{s: c.channel}, val{s: c.target}))
}

// party is a subscriber or a debtor.
type party struct {
	meta
	sys  int // inSubs or inERP
	id   int64
	name string
	refs []*ref
}

func (p *party) tab(g *Generator) *table {
	if p.sys == inSubs {
		return g.t.subscribers
	}
	return g.t.debtors
}

func (p *party) row(v []val) []val {
	v = append(v, val{i: p.id}, val{s: p.name})
	if p.sys == inERP {
		v = append(v, val{null: p.id%3 == 0})
	}
	return p.stamps(v)
}

// ref is an identifier of a party; one like C#12 names customer 12.
type ref struct {
	meta
	id     int64
	party  *party
	code   string
	since  instant // since when code and party are as they are
	seen   string
	holder *party
}

func (r *ref) tab(g *Generator) *table {
	if r.party.sys == inSubs {
		return g.t.subscriberRefs
	}
	return g.t.debtorRefs
}

func (r *ref) row(v []val) []val {
	return r.stamps(append(v, val{i: r.id}, val{i: r.party.id}, val{s: r.code}))
}

func (r *ref) fresh() { r.seen = "" }
func (r *ref) observe(now int64) {
	if r.seen != r.code || r.holder != r.party {
		r.seen, r.holder, r.since = r.code, r.party, instant{at: now}
	}
}
func (r *ref) snap() { r.since = r.commit }

type product struct {
	meta
	sys        int
	id         int64
	sku, label string
	memo       string // on every line; mapped onto nothing
	price      int64
}

func (p *product) tab(g *Generator) *table {
	return [...]*table{g.t.items, g.t.plans, g.t.articles}[p.sys]
}

func (p *product) row(v []val) []val {
	v = append(v, val{i: p.id}, val{s: p.sku}, val{s: p.label})
	switch p.sys {
	case inCRM:
		v = append(v, val{i: p.id & 1, null: p.id%4 == 0})
	case inSubs:
		v = append(v, val{s: `{"tier": "` + p.sku + `", "trial": {"days": 14}}`})
	}
	return p.stamps(v)
}

type deal struct {
	meta
	id        int64
	customer  *customer
	title     string
	stage     string
	value     int64
	hasValue  bool
	currency  string
	code      string
	items     []*line
	won, lost instant
	gone      bool
}

func (d *deal) tab(g *Generator) *table { return g.t.deals }
func (d *deal) row(v []val) []val {
	v = append(v, val{i: d.id}, val{i: d.customer.id}, val{s: d.title}, val{s: d.stage}, val{i: d.value, null: !d.hasValue}, val{s: d.currency}, val{s: d.code})
	return d.stamps(v)
}

func (d *deal) fresh() { d.won, d.lost = instant{}, instant{} }
func (d *deal) observe(now int64) {
	switch d.stage {
	case dealWon:
		d.won.earlier(now)
	case dealLost:
		d.lost.earlier(now)
	}
}

func (d *deal) snap() {
	d.won, d.lost = instant{}, instant{}
	switch d.stage {
	case dealWon:
		d.won = d.commit
	case dealLost:
		d.lost = d.commit
	}
}

type order struct {
	meta
	id              int64
	customer        *customer
	deal            *deal // nil: no deal
	code, status    string
	net, vat, total int64
	currency, notes string
	placed          int64
	items           []*line
}

func (o *order) tab(g *Generator) *table { return g.t.orders }
func (o *order) row(v []val) []val {
	of := val{null: true}
	if o.deal != nil {
		of = val{i: o.deal.id}
	}
	v = append(v, val{i: o.id}, val{i: o.customer.id}, of, val{s: o.code}, val{s: o.status}, val{i: o.net}, val{i: o.vat}, val{i: o.total},
		val{s: o.currency}, val{s: o.notes, null: o.notes == ""}, val{i: o.placed})
	return o.stamps(v)
}

type contract struct {
	meta
	id           int64
	party        *party
	number       string
	orderCode    string
	status       string
	starts, ends int64
	currency     string
	cycle        string
	items        []*line
	activated    instant
}

func (c *contract) tab(g *Generator) *table { return g.t.contracts }
func (c *contract) row(v []val) []val {
	v = append(v, val{i: c.id}, val{i: c.party.id}, val{s: c.number}, val{s: c.orderCode, null: c.orderCode == ""}, val{s: c.status},
		val{i: c.starts}, val{i: c.ends, null: c.ends == 0}, val{s: c.currency}, val{s: c.cycle})
	return c.stamps(v)
}

func (c *contract) fresh() { c.activated = instant{} }
func (c *contract) observe(now int64) {
	if c.status == contractLive {
		c.activated.earlier(now)
	}
}

func (c *contract) snap() {
	c.activated = instant{}
	if c.status == contractLive {
		c.activated = c.commit
	}
}

type bill struct {
	meta
	id                  int64
	party               *party // nil: none yet
	number              string
	kind, status        string
	issuedOn, issuedAt  int64
	contract, orderCode string
	currency            string
	items               []*line
	taxes               []*tax
	receipts            []*receipt
	invoiced            instant
}

func (b *bill) tab(g *Generator) *table { return g.t.bills }
func (b *bill) row(v []val) []val {
	party := val{null: true}
	if b.party != nil {
		party = val{i: b.party.id}
	}
	v = append(v, val{i: b.id}, party, val{s: b.number, null: b.number == ""}, val{s: b.kind}, val{s: b.status}, val{i: b.issuedOn, null: b.issuedOn == 0},
		val{i: b.issuedAt, null: b.issuedAt == 0}, val{s: b.contract, null: b.contract == ""}, val{s: b.orderCode, null: b.orderCode == ""}, val{s: b.currency})
	return b.stamps(v)
}

func (b *bill) posted() bool { return b.status == billIssued || b.status == billSettled }

func (b *bill) fresh() { b.invoiced = instant{} }
func (b *bill) observe(now int64) {
	if b.posted() {
		b.invoiced.earlier(now)
	}
}

func (b *bill) snap() {
	b.invoiced = instant{}
	if b.posted() {
		b.invoiced = instant{b.issuedAt, true}
	}
}

// line is an item of a deal, an order, a contract or a bill.
type line struct {
	meta
	of      int64 // id of the document
	id      int64
	product *product
	qty     int64
	price   int64
	in      lineTable
}

type lineTable uint8

const (
	ofDeal lineTable = iota
	ofOrder
	ofContract
	ofBill
)

func (l *line) tab(g *Generator) *table {
	return [...]*table{g.t.dealItems, g.t.orderItems, g.t.contractItems, g.t.billItems}[l.in]
}

func (l *line) row(v []val) []val {
	v = append(v, val{i: l.id}, val{i: l.of}, val{i: l.product.id})
	memo := val{s: l.product.memo}
	switch l.in {
	case ofDeal:
		return append(l.stamps(append(v, val{i: l.price}, memo)), val{i: l.qty})
	case ofBill:
		return l.stamps(append(v, val{i: l.qty}, val{i: l.price * 100}, memo))
	default:
		return l.stamps(append(v, val{i: l.qty}, val{i: l.price}, memo))
	}
}

// amount is quantity × price, rounded half to even to the smallest unit of the
// document's currency.
func (l *line) amount(currency string) int64 {
	unit := smallest(currency)
	return halfEven(l.qty*l.price, 10_000*unit) * unit
}

// smallest is the smallest unit of a currency in thousandths.
func smallest(currency string) int64 {
	switch currency {
	case "JPY":
		return 1000
	case "KWD":
		return 1
	default:
		return 10
	}
}

// share is so many hundredths of an amount, rounded like a line.
func share(amount, hundredths int64, currency string) int64 {
	unit := smallest(currency)
	return halfEven(amount*hundredths, 100*unit) * unit
}

type tax struct {
	meta
	bill   int64
	code   string
	amount int64
}

func (t *tax) tab(g *Generator) *table { return g.t.billTaxes }
func (t *tax) row(v []val) []val {
	return t.stamps(append(v, val{i: t.bill}, val{s: t.code}, val{i: t.amount}))
}

type receipt struct {
	meta
	uuid   string
	bill   *bill
	amount int64
	paidOn int64
}

func (r *receipt) tab(g *Generator) *table { return g.t.receipts }
func (r *receipt) row(v []val) []val {
	return r.stamps(append(v, val{s: r.uuid}, val{i: r.bill.id}, val{i: r.amount}, val{i: r.paidOn}))
}

// halfEven divides and rounds, a half to the even neighbour.
func halfEven(n, by int64) int64 {
	q, r := n/by, n%by
	if r < 0 {
		q, r = q-1, r+by
	}
	if 2*r > by || 2*r == by && q&1 == 1 {
		q++
	}
	return q
}

func uuidOf(rng *rand.Rand) string {
	var u [16]byte
	for i := 0; i < 16; i += 8 {
		n := rng.Uint64()
		for j := range 8 {
			u[i+j] = byte(n >> (8 * j))
		}
	}
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	var b [36]byte
	hex.Encode(b[:], u[:4])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	hex.Encode(b[9:], u[4:6])
	hex.Encode(b[14:], u[6:8])
	hex.Encode(b[19:], u[8:10])
	hex.Encode(b[24:], u[10:])
	return string(b[:])
}
