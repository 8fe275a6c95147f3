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
	lost                     bool
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
	row := oracle.Row{"deal_id": t.dealID(d), "account_id": a.id, "opportunity_native_id": num(d.id), "currency": d.currency}
	if d.hasValue {
		row["amount"] = cents(d.value)
	}
	j := t.join(a, d)
	kpi := dealTruth{won: d.won, lost: d.stage == dealLost}
	if len(j.orders) > 0 {
		row["order_number"] = j.orders[0].code
	}
	if len(j.contracts) > 0 {
		row["subscription_number"] = j.contracts[0].number
		kpi.activated = j.contracts[0].activated
	}
	if len(j.bills) > 0 {
		put(row, "invoice_number", j.bills[0].number)
		kpi.invoiced = j.bills[0].invoiced
	}
	paidAt := t.paidAt(j.claims())
	row["stage"] = t.stage(d, j)
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
}

// join finds a deal's documents: those of its live orders, or of all where none
// lives.
func (t *truth) join(a *account, d *deal) joined {
	j := joined{orders: slices.Clone(a.ofDeal[d])}
	slices.SortFunc(j.orders, func(x, y *order) int {
		return cmp.Or(cmp.Compare(x.rank(), y.rank()), cmp.Compare(x.born.at, y.born.at), cmp.Compare(x.id, y.id))
	})
	for i, o := range j.orders {
		if i > 0 && o.rank() == rankDead && j.orders[0].rank() != rankDead {
			break
		}
		j.contracts = append(j.contracts, a.contracts[o.code]...)
		j.bills = append(j.bills, a.bills[o.code]...)
		j.credits = append(j.credits, a.credits[o.code]...)
	}
	slices.SortFunc(j.contracts, func(x, y *contract) int {
		return cmp.Or(cmp.Compare(x.rank(), y.rank()), cmp.Compare(x.born.at, y.born.at), cmp.Compare(x.id, y.id))
	})
	slices.SortFunc(j.bills, func(x, y *bill) int {
		return cmp.Or(cmp.Compare(x.rank(), y.rank()), cmp.Compare(x.born.at, y.born.at), cmp.Compare(x.id, y.id))
	})
	return j
}

// The ranks of documents: what is in force, drafts, what is dead.
const (
	rankForce = iota
	rankDraft
	rankDead
)

func (o *order) rank() int { return map[string]int{orderCancelled: rankDead}[o.status] }

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

// stage is the furthest that the current rows show.
func (t *truth) stage(d *deal, j joined) string {
	claims := j.claims()
	var posted, settled, started int
	for _, b := range claims {
		if b.posted() {
			posted++
			if t.itemised(b) && t.paid[b] >= t.gross(b) {
				settled++
			}
		}
		if t.paid[b] > 0 {
			started++
		}
	}
	switch {
	case d.stage == dealLost:
		return "lost"
	case slices.ContainsFunc(j.credits, (*bill).posted):
		return "credited"
	case len(claims) > 0 && settled == len(claims):
		return "paid"
	case started > 0:
		return "partly_paid"
	case posted > 0:
		return "invoiced"
	case len(j.contracts) > 0 && j.contracts[0].status == contractLive:
		return "activated"
	case d.stage == dealWon:
		return "won"
	default:
		return "opened"
	}
}

// paidAt is the commit time of the receipt with which the last of the claims was
// paid in full.
func (t *truth) paidAt(claims []*bill) instant {
	open, left := len(claims), map[*bill]int64{}
	var links []*receipt
	for _, b := range claims {
		if !t.itemised(b) {
			return instant{}
		}
		links = append(links, t.links[b]...)
		if left[b] = t.gross(b); left[b] <= 0 {
			open--
		}
	}
	slices.SortFunc(links, func(x, y *receipt) int { return cmp.Compare(x.born.at, y.born.at) })
	for _, l := range links {
		before := left[l.bill] > 0
		left[l.bill] -= l.amount
		switch after := left[l.bill] > 0; {
		case before && !after:
			open--
		case !before && after:
			open++
		}
		if open == 0 {
			return l.born
		}
	}
	return instant{}
}

type kpiDay struct {
	seconds           []float64
	approximate, open int
}

func (t *truth) tellKPIs() {
	for _, metric := range []struct {
		name string
		ends func(dealTruth) (from, to instant)
	}{
		{"quote_to_activation", func(d dealTruth) (instant, instant) { return d.won, d.activated }},
		{"invoice_lag", func(d dealTruth) (instant, instant) { return d.activated, d.invoiced }},
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
				"approximate": strconv.Itoa(k.approximate), "open": strconv.Itoa(k.open),
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
