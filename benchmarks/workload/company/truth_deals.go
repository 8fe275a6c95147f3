package company

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"syncline/benchmarks/oracle"
)

// dealTruth is what the KPIs need of a deal.
type dealTruth struct {
	won, activated, invoiced instant
	lost, void               bool // void: the invoice that is shown is
}

func (t *truth) tellDeals() {
	for _, o := range t.g.t.deals.objects {
		if d := o.(*deal); d.live {
			t.tellDeal(d)
		}
	}
}

func (t *truth) tellDeal(d *deal) {
	a := t.ofCustomer(d.customer)
	row := oracle.Row{"deal_id": t.dealID(d), "account_id": a.id, "opportunity_native_id": num(d.id), "currency": d.currency, "complete": "true"}
	if d.hasValue {
		row["amount"] = money(d.value)
	}
	j := t.join(a, d)
	kpi := dealTruth{won: d.won, lost: d.stage == dealLost}
	if len(j.orders) > 0 {
		row["order_number"] = j.orders[0].code
	}
	var orders, contracts, bills []string
	for _, o := range j.orders {
		orders = append(orders, o.code)
	}
	for _, k := range slices.Concat(j.contracts, j.otherContracts) {
		contracts = append(contracts, k.number)
	}
	for i, b := range slices.Concat(j.bills, j.otherBills) {
		if b.number != "" || i == 0 && len(j.bills) > 0 {
			bills = append(bills, b.number)
		}
	}
	if len(j.contracts) > 0 {
		row["subscription_number"] = j.contracts[0].number
		kpi.activated, contracts = j.contracts[0].activated, contracts[1:]
	}
	if len(j.bills) > 0 {
		put(row, "invoice_number", j.bills[0].number)
		kpi.invoiced, kpi.void, bills = j.bills[0].invoiced, j.bills[0].status == billVoid, bills[1:]
	}
	row["other_order_numbers"] = strings.Join(orders[min(1, len(orders)):], ",")
	row["other_subscription_numbers"], row["other_invoice_numbers"] = strings.Join(contracts, ","), strings.Join(bills, ",")
	paidAt := t.paidAt(j)
	row["stage"] = t.stage(d, j)
	w := t.weigh(j)
	row["billed"], row["paid"], row["credited"] = money(w.billed), money(w.paid), money(w.credited)
	put(row, "billing_currency", w.currency)
	row["flags"] = flagText(t.dealFlags(d, j))
	var approximate []string
	for _, m := range []struct {
		column string
		instant
	}{{"opened_at", d.born}, {"won_at", d.won}, {"lost_at", d.lost}, {"activated_at", kpi.activated}, {"invoiced_at", kpi.invoiced}, {"paid_at", paidAt}} {
		putTime(row, m.column, m.at)
		if m.at != 0 && m.approx {
			approximate = append(approximate, m.column)
		}
	}
	slices.Sort(approximate)
	row["approximate"] = strings.Join(approximate, ",")
	t.add("deals", row)
	t.dealRows = append(t.dealRows, kpi)
}

// joined is what belongs to a deal, best first.
type joined struct {
	orders    []*order
	contracts []*contract
	bills     []*bill
	credits   []*bill
	// Those of cancelled orders, where another lives.
	otherContracts []*contract
	otherBills     []*bill
}

// join finds a deal's documents: those of its live orders, or of all where none
// lives.
func (t *truth) join(a *account, d *deal) joined {
	j := joined{orders: slices.Clone(a.ofDeal[d])}
	slices.SortFunc(j.orders, func(x, y *order) int {
		return cmp.Or(cmp.Compare(x.rank(), y.rank()), cmp.Compare(x.born.at, y.born.at), cmp.Compare(x.id, y.id))
	})
	for _, o := range j.orders {
		if o.rank() == rankDead && j.orders[0].rank() != rankDead {
			j.otherContracts = append(j.otherContracts, a.contracts[o.code]...)
			j.otherBills = append(j.otherBills, a.bills[o.code]...)
			continue
		}
		j.contracts = append(j.contracts, a.contracts[o.code]...)
		j.bills = append(j.bills, a.bills[o.code]...)
		j.credits = append(j.credits, a.credits[o.code]...)
	}
	for _, list := range [...][]*contract{j.contracts, j.otherContracts} {
		slices.SortFunc(list, func(x, y *contract) int {
			return cmp.Or(cmp.Compare(x.rank(), y.rank()), cmp.Compare(x.born.at, y.born.at), cmp.Compare(x.id, y.id))
		})
	}
	for _, list := range [...][]*bill{j.bills, j.otherBills} {
		slices.SortFunc(list, func(x, y *bill) int {
			return cmp.Or(cmp.Compare(x.rank(), y.rank()), cmp.Compare(x.born.at, y.born.at), cmp.Compare(x.id, y.id))
		})
	}
	return j
}

// The ranks of documents: what is in force, drafts, what is dead.
const (
	rankForce = iota
	rankDraft
	rankDead
)

func (o *order) rank() int {
	return map[string]int{orderConfirmed: rankForce, orderOpen: rankDraft, orderCancelled: rankDead}[o.status]
}

func (c *contract) rank() int {
	return map[string]int{contractLive: rankForce, contractPending: rankDraft, contractEnded: rankDead}[c.status]
}

func (b *bill) rank() int {
	return map[string]int{billIssued: rankForce, billSettled: rankForce, billDraft: rankDraft, billVoid: rankDead}[b.status]
}

// claims are the bills that are not void.
func (j joined) claims() []*bill {
	return slices.DeleteFunc(slices.Clone(j.bills), func(b *bill) bool { return b.rank() == rankDead })
}

// weight is what was billed, paid and credited of a deal.
type weight struct {
	billed, paid, credited, open int64
	currency                     string
}

func (t *truth) weigh(j joined) weight {
	var w weight
	for _, b := range j.claims() {
		w.currency = b.currency
		w.paid += t.paid[b]
		w.open += max(t.gross(b)-t.paid[b], 0)
		if b.posted() {
			w.billed += t.gross(b)
		}
	}
	for _, c := range j.credits {
		if c.posted() {
			w.currency = c.currency
			w.credited += max(t.gross(c), -t.gross(c))
		}
	}
	return w
}

// stage is the furthest that the current rows show.
func (t *truth) stage(d *deal, j joined) string {
	claims, w := j.claims(), t.weigh(j)
	all := len(claims) > 0
	var posted, started bool
	for _, b := range claims {
		posted = posted || b.posted()
		started = started || t.paid[b] > 0
		all = all && b.posted() && t.itemised(b)
	}
	switch {
	case d.stage == dealLost:
		return "lost"
	case all && w.billed > 0 && w.credited >= w.billed:
		return "credited"
	case all && w.open <= w.credited:
		return "paid"
	case started:
		return "partly_paid"
	case posted:
		return "invoiced"
	case len(j.contracts) > 0 && j.contracts[0].status == contractLive:
		return "activated"
	case d.stage == dealWon:
		return "won"
	default:
		return "opened"
	}
}

// paidAt is the commit time of what covered the last of the claims: a receipt,
// or a credit for what was still open, once anything was paid at all.
func (t *truth) paidAt(j joined) instant {
	claims, w := j.claims(), t.weigh(j)
	type event struct {
		at     instant
		of     *bill // nil: a credit
		amount int64
	}
	left := map[*bill]int64{}
	var events []event
	ready := true
	for _, b := range claims {
		if !t.itemised(b) {
			return instant{}
		}
		ready = ready && b.posted()
		left[b] = t.gross(b)
		for _, l := range t.links[b] {
			events = append(events, event{l.born, b, l.amount})
		}
	}
	if !ready || w.billed <= 0 || w.credited < w.billed {
		for _, c := range j.credits {
			if c.posted() {
				events = append(events, event{c.invoiced, nil, max(t.gross(c), -t.gross(c))})
			}
		}
	}
	slices.SortStableFunc(events, func(x, y event) int { return cmp.Compare(x.at.at, y.at.at) })
	var credited, paid int64
	for _, e := range events {
		if e.of == nil {
			credited += e.amount
		} else {
			left[e.of] -= e.amount
			paid += e.amount
		}
		var open int64
		for _, n := range left {
			open += max(n, 0)
		}
		if paid > 0 && open <= credited {
			return e.at
		}
	}
	return instant{}
}

// dealFlags tells what is odd about a deal.
func (t *truth) dealFlags(d *deal, j joined) []string {
	var flags []string
	for _, b := range slices.Concat(j.bills, j.credits) {
		flags = append(flags, t.flags(b)...)
	}
	before := func(x, y instant) bool { return x.at != 0 && y.at != 0 && !x.approx && !y.approx && x.at < y.at }
	if len(j.contracts) > 0 {
		activated := j.contracts[0].activated
		if before(activated, d.won) {
			flags = append(flags, "activated_before")
		}
		if len(j.bills) > 0 && before(j.bills[0].invoiced, activated) {
			flags = append(flags, "invoiced_before")
		}
	}
	if len(j.bills) > 0 && j.bills[0].status == billVoid {
		flags = append(flags, "void_invoice")
	}
	if slices.ContainsFunc(j.otherBills, (*bill).posted) {
		flags = append(flags, "dead_order_billed")
	}
	return flags
}

type kpiDay struct {
	seconds                  []float64
	approximate, early, open int
}

func (t *truth) tellKPIs() {
	for _, metric := range []struct {
		name string
		ends func(dealTruth) (from, to instant)
	}{
		{"quote_to_activation", func(d dealTruth) (instant, instant) { return d.won, d.activated }},
		{"invoice_lag", func(d dealTruth) (instant, instant) {
			if d.void {
				return d.activated, instant{} // it waits for another one
			}
			return d.activated, d.invoiced
		}},
	} {
		days := map[int64]*kpiDay{}
		on := func(at int64) *kpiDay {
			n := at / dayMicros
			if days[n] == nil {
				days[n] = &kpiDay{}
			}
			return days[n]
		}
		for _, d := range t.dealRows {
			from, to := metric.ends(d)
			switch {
			case from.at == 0:
			case to.at == 0:
				if !d.lost {
					on(from.at).open++
				}
			case from.approx || to.approx:
				on(to.at).approximate++
			case to.at < from.at:
				on(to.at).early++
			default:
				k := on(to.at)
				k.seconds = append(k.seconds, float64(to.at-from.at)/1e6)
			}
		}
		order := make([]int64, 0, len(days))
		for n := range days {
			order = append(order, n)
		}
		slices.Sort(order)
		for _, n := range order {
			k := days[n]
			row := oracle.Row{
				"day": oracle.DateText(n), "metric": metric.name, "count": strconv.Itoa(len(k.seconds)),
				"approximate": strconv.Itoa(k.approximate), "open": strconv.Itoa(k.open), "early": strconv.Itoa(k.early), "incomplete": "0",
			}
			if len(k.seconds) > 0 {
				slices.Sort(k.seconds)
				for _, q := range []struct {
					column string
					level  float64
				}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"max", 1}} {
					// quantileExact: the element at level × size, rounded down.
					at := min(int(q.level*float64(len(k.seconds))), len(k.seconds)-1)
					row[q.column] = secondsText(k.seconds[at])
				}
			}
			t.add("kpi_daily", row)
		}
	}
}

func secondsText(s float64) string {
	return decimalText(int64(math.Round(s*1e6)), 6)
}

func (t *truth) tellFeeds() {
	g := t.g
	waiting := make([]int, len(g.tables))
	liveBills, liveOf := map[int64]bool{}, [3]map[int64]bool{{}, {}, {}}
	for _, o := range g.t.bills.objects {
		if b := o.(*bill); b.live {
			liveBills[b.id] = true
		}
	}
	for i, tab := range [...]*table{g.t.deals, g.t.orders, g.t.contracts} {
		for _, o := range tab.objects {
			if o.m().live {
				switch d := o.(type) {
				case *deal:
					liveOf[i][d.id] = true
				case *order:
					liveOf[i][d.id] = true
				case *contract:
					liveOf[i][d.id] = true
				}
			}
		}
	}
	for in, byDoc := range t.lines {
		live := liveBills
		if in < len(liveOf) {
			live = liveOf[in]
		}
		for doc, lines := range byDoc {
			if !live[doc] {
				waiting[lines[0].tab(g).index] += len(lines)
			}
		}
	}
	for _, o := range g.t.billTaxes.objects {
		if x := o.(*tax); x.live && !liveBills[x.bill] {
			waiting[g.t.billTaxes.index]++
		}
	}
	for _, tab := range g.tables {
		row := oracle.Row{
			"topic": tab.topic, "received": num(tab.received), "repeated": num(tab.repeated), "stale": num(tab.stale), "letters": num(tab.letters),
			"_waiting": strconv.Itoa(waiting[tab.index]),
		}
		if tab.received == 0 {
			row[oracle.NoteOptional] = "true" // nothing is known of a feed that never spoke
		}
		t.add("feed_health", row)
	}
}
