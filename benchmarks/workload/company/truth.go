package company

import (
	"cmp"
	"crypto/sha1" //nolint:gosec // UUIDv5 is defined by it
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"

	"syncline/benchmarks/oracle"
)

// account is what the truth knows of one real customer: a CRM customer and every
// party that names it, or a party on its own.
type account struct {
	key       accountKey
	id        string
	customer  *customer
	parties   [3][]*party // by system; none of the CRM
	updated   int64
	orders    map[string]*order      // by number, which is never used twice
	ofDeal    map[*deal][]*order     // by opportunity
	contracts map[string][]*contract // by order number
	bills     map[string][]*bill     // by order number
	credits   map[string][]*bill     // by order number
}

type accountKey struct {
	sys int
	id  int64
}

// truth is the model as it stands, sorted into accounts.
type truth struct {
	g        *Generator
	out      oracle.Expected
	accounts map[accountKey]*account
	list     []*account // in order of first sight
	byParty  map[*party]*account
	lines    [4]map[int64][]*line
	taxes    map[int64]int64
	paid     map[*bill]int64
	links    map[*bill][]*receipt
	products map[*product]bool
	dealRows []dealTruth
}

// ErrNoTruth is returned where Config.NoTruth was set.
var ErrNoTruth = errors.New("the simulated company was told to keep no truth (Config.NoTruth)")

// Truth returns the rows that every view must show once everything that Next has
// returned and will return after Stop, or has returned to its end, is processed.
// It is computed from the model, by the definitions of ARCHITECTURE.md. Rows of
// feed_health carry the rows without header as the note _waiting.
//
// Where the definitions leave a choice, this is how they are read:
//   - deal_id of an order is that of the opportunity it names; of a subscription
//     or an invoice, that of the order with its order number in the same account;
//     of a payment, its invoice's.
//   - An account's updated_at counts rows that are there; a deleted row takes its
//     time along.
//   - A document without lines or taxes has sums of 0, not NULL.
//   - linked_at starts anew when an identifier is deleted and comes back.
//   - A tombstone and a letter count as received and as neither repeated nor
//     stale; a letter that is delivered twice is two letters.
func (g *Generator) Truth() (oracle.Expected, error) {
	if g.config.NoTruth {
		return nil, ErrNoTruth
	}
	if g.err != nil {
		return nil, g.err
	}
	t := &truth{
		g: g, out: oracle.Expected{}, accounts: map[accountKey]*account{}, byParty: map[*party]*account{},
		taxes: map[int64]int64{}, paid: map[*bill]int64{}, links: map[*bill][]*receipt{}, products: map[*product]bool{},
	}
	for _, v := range oracle.Views() {
		t.out[v.Name] = []oracle.Row{}
	}
	t.sortIn()
	t.tellAccounts()
	t.tellProducts()
	t.tellDocuments()
	t.tellDeals()
	t.tellKPIs()
	t.tellFeeds()
	return t.out, nil
}

// instance is the catalog's name of a system's instance.
func (g *Generator) instance(sys int) string { return g.config.Instance + g.systems[sys].name }

// entityID is UUIDv5 in the URL-less namespace that the architecture names.
func (g *Generator) entityID(sys int, entity, native string) string {
	name := "syncline:" + g.instance(sys) + "/" + entity + "/" + native
	space := [16]byte{0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}
	sum := sha1.Sum(append(space[:], name...)) //nolint:gosec // see above
	sum[6], sum[8] = sum[6]&0x0f|0x50, sum[8]&0x3f|0x80
	var b [36]byte
	hex.Encode(b[:], sum[:4])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	hex.Encode(b[9:], sum[4:6])
	hex.Encode(b[14:], sum[6:8])
	hex.Encode(b[19:], sum[8:10])
	hex.Encode(b[24:], sum[10:16])
	return string(b[:])
}

func num(n int64) string { return strconv.FormatInt(n, 10) }

// named returns the customer that an identifier names.
func named(code string) (int64, bool) {
	digits, ok := strings.CutPrefix(code, "C#")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, err == nil
}

// followed is the identifier by which a party names its customer: of several
// the one that names the smallest.
func (p *party) followed() (*ref, int64) {
	var best *ref
	var least int64
	for _, r := range p.refs {
		if n, ok := named(r.code); ok && r.live && (best == nil || n < least) {
			best, least = r, n
		}
	}
	return best, least
}

func (t *truth) account(key accountKey) *account {
	a := t.accounts[key]
	if a == nil {
		a = &account{
			key: key, id: t.g.entityID(key.sys, "party", num(key.id)),
			orders: map[string]*order{}, ofDeal: map[*deal][]*order{}, contracts: map[string][]*contract{}, bills: map[string][]*bill{}, credits: map[string][]*bill{},
		}
		t.accounts[key] = a
		t.list = append(t.list, a)
	}
	return a
}

func (t *truth) ofCustomer(c *customer) *account { return t.account(accountKey{inCRM, c.id}) }

func (t *truth) sortIn() {
	g := t.g
	for _, o := range g.t.customers.objects {
		if c := o.(*customer); c.live {
			a := t.ofCustomer(c)
			a.customer = c
			a.updated = max(a.updated, c.commit.at)
			if c.address != nil && c.address.live {
				a.updated = max(a.updated, c.address.commit.at)
			}
			for _, x := range c.contacts {
				if x.live {
					a.updated = max(a.updated, x.commit.at)
				}
			}
		}
	}
	for _, tab := range []*table{g.t.subscribers, g.t.debtors} {
		for _, o := range tab.objects {
			p := o.(*party)
			key := accountKey{p.sys, p.id}
			if r, n := p.followed(); r != nil {
				key = accountKey{inCRM, n}
			}
			a := t.account(key)
			t.byParty[p] = a
			a.parties[p.sys] = append(a.parties[p.sys], p)
			a.updated = max(a.updated, p.commit.at)
			for _, r := range p.refs {
				if r.live {
					a.updated = max(a.updated, r.commit.at)
				}
			}
		}
	}
	for i, tab := range [...]*table{g.t.dealItems, g.t.orderItems, g.t.contractItems, g.t.billItems} {
		t.lines[i] = map[int64][]*line{}
		for _, o := range tab.objects {
			if l := o.(*line); l.live {
				t.lines[i][l.of] = append(t.lines[i][l.of], l)
			}
		}
	}
	for _, o := range g.t.billTaxes.objects {
		if x := o.(*tax); x.live {
			t.taxes[x.bill] += x.amount
		}
	}
	for _, o := range g.t.receipts.objects {
		if r := o.(*receipt); r.live {
			t.paid[r.bill] += r.amount
			t.links[r.bill] = append(t.links[r.bill], r)
		}
	}
	for _, o := range g.t.orders.objects {
		if o := o.(*order); o.live {
			a := t.ofCustomer(o.customer)
			a.orders[o.code] = o
			if o.deal != nil {
				a.ofDeal[o.deal] = append(a.ofDeal[o.deal], o)
			}
		}
	}
	for _, o := range g.t.contracts.objects {
		if k := o.(*contract); k.live {
			a := t.byParty[k.party]
			a.contracts[k.orderCode] = append(a.contracts[k.orderCode], k)
		}
	}
	for _, o := range g.t.bills.objects {
		if b := o.(*bill); b.live && b.party != nil {
			a := t.byParty[b.party]
			of := a.bills
			if t.credits(b) {
				of = a.credits
			}
			of[b.orderCode] = append(of[b.orderCode], b)
		}
	}
}

func (t *truth) add(view string, r oracle.Row) { t.out[view] = append(t.out[view], r) }

// put leaves NULL out.
func put(r oracle.Row, column, text string) {
	if text != "" {
		r[column] = text
	}
}

func putTime(r oracle.Row, column string, at int64) {
	if at != 0 {
		r[column] = oracle.TimeText(at)
	}
}

// decimalText writes n of so many places in its shortest form.
func decimalText(n int64, places int) string {
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	s := strconv.FormatInt(n, 10)
	if len(s) <= places {
		s = strings.Repeat("0", places-len(s)+1) + s
	}
	whole, part := s[:len(s)-places], strings.TrimRight(s[len(s)-places:], "0")
	if part != "" {
		whole += "." + part
	}
	if whole == "0" {
		sign = ""
	}
	return sign + whole
}

func money(n int64) string { return decimalText(n, 3) }

func (t *truth) tellAccounts() {
	g := t.g
	for _, a := range t.list {
		if a.customer == nil && len(a.parties[inSubs]) == 0 && len(a.parties[inERP]) == 0 {
			continue
		}
		row := oracle.Row{"account_id": a.id, "complete": "true", "crm_ids": "", "updated_at": oracle.TimeText(a.updated)}
		name := ""
		if a.customer != nil {
			name = a.customer.name
			row["crm_id"], row["crm_ids"] = num(a.customer.id), num(a.customer.id)
		}
		for _, sys := range []int{inERP, inSubs} {
			role := [...]string{inSubs: "subs", inERP: "erp"}[sys]
			ps := a.parties[sys]
			slices.SortFunc(ps, func(p, q *party) int { return cmp.Compare(p.id, q.id) })
			ids := make([]string, len(ps))
			for i, p := range ps {
				ids[i] = num(p.id)
			}
			row[role+"_ids"] = strings.Join(ids, ",")
			if len(ps) > 0 {
				row[role+"_id"] = ids[0]
				if name == "" {
					name = ps[0].name
				}
			}
		}
		put(row, "name", name)
		t.add("accounts", row)
		if c := a.customer; c != nil {
			t.add("identity_links", oracle.Row{
				"system": g.systems[inCRM].name, "native_id": num(c.id), "account_id": a.id, "rule": "master",
				"linked_at": oracle.TimeText(c.born.at), "approximate": strconv.FormatBool(c.born.approx),
			})
		}
		for _, sys := range []int{inSubs, inERP} {
			for _, p := range a.parties[sys] {
				rule, since := "none", p.born
				if r, _ := p.followed(); r != nil {
					rule, since = "reference", r.since
				}
				t.add("identity_links", oracle.Row{
					"system": g.systems[sys].name, "native_id": num(p.id), "account_id": a.id, "rule": rule,
					"linked_at": oracle.TimeText(since.at), "approximate": strconv.FormatBool(since.approx),
				})
			}
		}
	}
}

func (t *truth) tellProducts() {
	for sys, ps := range t.g.products {
		for _, p := range ps {
			t.add("products", oracle.Row{"system": t.g.systems[sys].name, "native_id": num(p.id), "code": p.sku, "name": p.label, "kind": "product", "complete": "true"})
		}
	}
}

// tellLines tells the lines of a document and returns the sum of their amounts.
func (t *truth) tellLines(view string, in lineTable, sys int, doc int64, currency string) int64 {
	var sum int64
	for _, l := range t.lines[in][doc] {
		sum += l.amount(currency)
		t.add(view, oracle.Row{
			"system": t.g.systems[sys].name, "parent_native_id": num(doc), "native_id": num(l.id), "product_code": l.product.sku,
			"quantity": decimalText(l.qty, 3), "unit_price": decimalText(l.price, 4),
		})
	}
	return sum
}

func (t *truth) document(sys int, id, account, deal, currency string, created instant) oracle.Row {
	r := oracle.Row{"system": t.g.systems[sys].name, "native_id": id, "currency": currency, "created_at": oracle.TimeText(created.at), "complete": "true"}
	put(r, "account_id", account)
	put(r, "deal_id", deal)
	return r
}

func (t *truth) dealID(d *deal) string { return t.g.entityID(inCRM, "opportunity", num(d.id)) }

// dealOf is the deal of the order with that number in the account.
func (t *truth) dealOf(a *account, orderCode string) string {
	if o := a.orders[orderCode]; o != nil && o.deal != nil {
		return t.dealID(o.deal)
	}
	return ""
}

func (t *truth) tellDocuments() {
	g := t.g
	for _, o := range g.t.deals.objects {
		d := o.(*deal)
		if !d.live {
			continue
		}
		r := t.document(inCRM, num(d.id), t.ofCustomer(d.customer).id, t.dealID(d), d.currency, d.born)
		r["state"], r["description"], r["number"] = d.stage, d.title, d.code
		r["phase"] = map[string]string{dealNew: "open", dealQualified: "open", dealWon: "won", dealLost: "lost"}[d.stage]
		if d.hasValue {
			r["amount"] = money(d.value)
		}
		t.add("opportunities", r)
		t.tellLines("opportunity_lines", ofDeal, inCRM, d.id, d.currency)
	}
	for _, o := range g.t.orders.objects {
		o := o.(*order)
		if !o.live {
			continue
		}
		id := ""
		if o.deal != nil {
			id = t.dealID(o.deal)
		}
		r := t.document(inCRM, num(o.id), t.ofCustomer(o.customer).id, id, o.currency, o.born)
		r["number"], r["state"], r["order_date"] = o.code, o.status, oracle.DateText(o.placed)
		r["flags"] = ""
		r["phase"] = map[string]string{orderOpen: "draft", orderConfirmed: "confirmed", orderCancelled: "cancelled"}[o.status]
		r["net"], r["tax"], r["gross"] = money(o.net), money(o.vat), money(o.total)
		t.add("orders", r)
		t.tellLines("order_lines", ofOrder, inCRM, o.id, o.currency)
	}
	for _, o := range g.t.contracts.objects {
		k := o.(*contract)
		if !k.live {
			continue
		}
		a := t.byParty[k.party]
		r := t.document(inSubs, num(k.id), a.id, t.dealOf(a, k.orderCode), k.currency, k.born)
		r["flags"] = ""
		r["number"], r["state"], r["order_number"], r["start_date"] = k.number, k.status, k.orderCode, oracle.DateText(k.starts)
		r["phase"] = map[string]string{contractPending: "draft", contractLive: "active", contractEnded: "ended"}[k.status]
		if k.ends != 0 {
			r["end_date"] = oracle.DateText(k.ends)
		}
		net := t.tellLines("subscription_lines", ofContract, inSubs, k.id, k.currency)
		r["monthly_net"] = decimalText(halfEven(net*1_000_000, k.months()), 9)
		t.add("subscriptions", r)
	}
	for _, o := range g.t.bills.objects {
		if b := o.(*bill); b.live {
			t.tellBill(b)
		}
	}
}
