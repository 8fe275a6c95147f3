package oracle

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// feedRows tells what must have been counted of each source topic. Topics of
// which no view is made may be missing.
func feedRows(f *folded) []Row {
	var out []Row
	for _, topic := range slices.Sorted(maps.Keys(f.feeds)) {
		c := f.feeds[topic]
		r := Row{
			"topic":    topic,
			"received": strconv.FormatInt(c.received, 10),
			"repeated": strconv.FormatInt(c.repeated, 10),
			"stale":    strconv.FormatInt(c.stale, 10),
			"letters":  "0",
		}
		if c.transactions || strings.HasSuffix(topic, ".account_account") || strings.HasSuffix(topic, ".currency_currency") {
			r[NoteOptional] = "true"
		}
		out = append(out, r)
	}
	return out
}

// dailyKPIs makes kpi_daily out of the rows of deals.
func dailyKPIs(deals []Row) []Row {
	type line struct {
		exact       []int64 // microseconds between start and end
		approximate int64
		early       int64 // the end came before its start
		incomplete  int64
		open        int64
	}
	out := []Row{}
	for _, metric := range []struct{ name, start, end string }{
		{"quote_to_activation", "won_at", "activated_at"},
		{"invoice_lag", "activated_at", "invoiced_at"},
	} {
		days := map[string]*line{}
		on := func(t time.Time) *line {
			day := t.Format(dateForm)
			if days[day] == nil {
				days[day] = &line{}
			}
			return days[day]
		}
		for _, r := range deals {
			start, errStart := time.Parse(timeForm, r[metric.start])
			end, errEnd := time.Parse(timeForm, r[metric.end])
			marked := strings.Split(r["approximate"], ",")
			if metric.end == "invoiced_at" && slices.Contains(strings.Split(r["flags"], ","), "void_invoice") {
				errEnd = errors.New("void")
			}
			switch {
			case errStart != nil: // no start
			case errEnd != nil:
				if r["stage"] != "lost" {
					on(start).open++
				}
			case r["complete"] == "false":
				on(end).incomplete++
			case slices.Contains(marked, metric.start) || slices.Contains(marked, metric.end):
				on(end).approximate++
			case end.Before(start):
				on(end).early++
			default:
				l := on(end)
				l.exact = append(l.exact, end.UnixMicro()-start.UnixMicro())
			}
		}
		for _, day := range slices.Sorted(maps.Keys(days)) {
			l := days[day]
			r := Row{
				"day": day, "metric": metric.name,
				"count":       strconv.Itoa(len(l.exact)),
				"approximate": strconv.FormatInt(l.approximate, 10),
				"early":       strconv.FormatInt(l.early, 10),
				"incomplete":  strconv.FormatInt(l.incomplete, 10),
				"open":        strconv.FormatInt(l.open, 10),
			}
			if n := len(l.exact); n > 0 {
				slices.Sort(l.exact)
				// quantileExact takes the element at the rounded down place.
				for name, percent := range map[string]int{"p50": 50, "p90": 90, "p99": 99} {
					r[name] = secondsText(l.exact[n*percent/100])
				}
				r["max"] = secondsText(l.exact[n-1])
			}
			out = append(out, r)
		}
	}
	return out
}

func secondsText(micros int64) string {
	sign := ""
	if micros < 0 {
		sign, micros = "-", -micros
	}
	whole := strconv.FormatInt(micros/1e6, 10)
	rest := strings.TrimRight(strconv.FormatInt(1e6+micros%1e6, 10)[1:], "0")
	if rest == "" {
		return sign + whole
	}
	return sign + whole + "." + rest
}
