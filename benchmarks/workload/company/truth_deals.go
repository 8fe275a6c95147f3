package company

import (
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
	var (
		k        *contract
		b        *bill
		paidAt   instant
		credited bool
		kpi      = dealTruth{won: d.won, lost: d.stage == dealLost}
	)
	if o := a.ofDeal[d]; o != nil {
		row["order_number"] = o.code
		k, b, credited = a.contracts[o.code], a.invoices[o.code], a.credited[o.code]
	}
	if k != nil {
		row["subscription_number"] = k.number
		kpi.activated = k.activated
	}
	if b != nil {
		put(row, "invoice_number", b.number)
		kpi.invoiced = b.invoiced
		paidAt = t.paidAt(b)
	}
	row["stage"] = t.stage(d, k, b, credited)
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

// stage is the furthest that the current rows show.
func (t *truth) stage(d *deal, k *contract, b *bill, credited bool) string {
	posted := b != nil && b.posted()
	switch {
	case d.stage == dealLost:
		return "lost"
	case credited:
		return "credited"
	case posted && t.itemised(b) && t.paid[b] >= t.gross(b):
		return "paid"
	case b != nil && t.paid[b] > 0:
		return "partly_paid"
	case posted:
		return "invoiced"
	case k != nil && k.status == contractLive:
		return "activated"
	case d.stage == dealWon:
		return "won"
	default:
		return "opened"
	}
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
