package account

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/shopspring/decimal"

	"syncline/schemas/canonical"
)

// period is how often a subscription is billed: every so many months, or days.
type period struct{ months, days int64 }

// A month of the Gregorian calendar has 146,097 days in 4,800 months on average.
const (
	calendarDays   = 146_097
	calendarMonths = 4_800
)

// monthly is what an amount for each period comes to in a month. Only the result
// is rounded.
func (p period) monthly(amount decimal.Decimal) decimal.Decimal {
	if p.months > 0 {
		return quotient(amount, decimal.New(p.months, 0))
	}
	return quotient(amount.Mul(decimal.New(calendarDays, 0)), decimal.New(calendarMonths*p.days, 0))
}

// quotient is a / b, rounded half to even to the scale of amounts.
func quotient(a, b decimal.Decimal) decimal.Decimal {
	q, rest := a.QuoRem(b, canonical.DecimalScale)
	// A half or more of the last place goes up, where a half meets an odd one.
	unit := decimal.New(1, -canonical.DecimalScale)
	twice := rest.Abs().Mul(decimal.New(2, 0)).Cmp(b.Abs().Mul(unit))
	odd := q.Shift(canonical.DecimalScale).BigInt().Bit(0) == 1
	if twice > 0 || twice == 0 && odd {
		if a.Sign()*b.Sign() < 0 {
			return q.Sub(unit)
		}
		return q.Add(unit)
	}
	return q
}

// units are the words for periods, without case, -, _ and blanks.
var units = map[string]period{
	"day": {days: 1}, "days": {days: 1}, "daily": {days: 1},
	"week": {days: 7}, "weeks": {days: 7}, "weekly": {days: 7},
	"fortnight": {days: 14}, "fortnights": {days: 14}, "fortnightly": {days: 14}, "biweekly": {days: 14},
	"month": {months: 1}, "months": {months: 1}, "monthly": {months: 1},
	"quarter": {months: 3}, "quarters": {months: 3}, "quarterly": {months: 3},
	"halfyear": {months: 6}, "halfyears": {months: 6}, "halfyearly": {months: 6}, "semester": {months: 6}, "semiannual": {months: 6}, "semiannually": {months: 6},
	"year": {months: 12}, "years": {months: 12}, "yearly": {months: 12}, "annual": {months: 12}, "annually": {months: 12}, "annum": {months: 12},
}

// bareMonths are the numbers without a unit that can only be months.
var bareMonths = []int64{1, 3, 6, 12, 24, 36, 48, 60}

// maxPeriod bounds a period: longer ones are mistakes, and products stay small.
const maxPeriod = 10_000

// parsePeriod reads a recurrence: a word (month, half-yearly), a number of units
// (3 months, every 2 weeks), an ISO 8601 duration of whole years and months, or
// weeks, or days (P3M, P1Y6M, P2W), or one of bareMonths.
func parsePeriod(text string) (period, error) {
	unknown := func() (period, error) {
		return period{}, fmt.Errorf("%q is no period: use a word such as month or year, a number of such units, or an ISO 8601 duration such as P3M", clip(text))
	}
	t := strings.ToLower(strings.TrimSpace(text))
	t = strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(t, "every "), "per "))
	if iso, ok := strings.CutPrefix(t, "p"); ok && iso != "" && iso[0] >= '0' && iso[0] <= '9' {
		if p, ok := isoPeriod(iso); ok {
			return p, nil
		}
		return unknown()
	}
	digits := len(t) - len(strings.TrimLeft(t, "0123456789"))
	n := int64(1)
	if digits > 0 {
		var err error
		if n, err = strconv.ParseInt(t[:digits], 10, 32); err != nil || n < 1 || n > maxPeriod {
			return unknown()
		}
	}
	word := strings.NewReplacer("-", "", "_", "", " ", "").Replace(t[digits:])
	if word == "" && digits > 0 && slices.Contains(bareMonths, n) {
		return period{months: n}, nil
	}
	unit, ok := units[word]
	if !ok {
		return unknown()
	}
	return unit.times(n)
}

// times is a period of n of them.
func (p period) times(n int64) (period, error) {
	q := period{p.months * n, p.days * n}
	if n < 1 || n > maxPeriod || max(q.months, q.days) > maxPeriod {
		return period{}, fmt.Errorf("an interval of %d: use a whole number from 1 to %d", n, maxPeriod)
	}
	return q, nil
}

// isoPeriod reads what follows the P. Months and days do not mix: of two months
// and ten days nobody can say how many months they are.
func isoPeriod(t string) (period, bool) {
	var p period
	last := -1
	for t != "" {
		digits := len(t) - len(strings.TrimLeft(t, "0123456789"))
		if digits == 0 || digits == len(t) {
			return p, false
		}
		n, err := strconv.ParseInt(t[:digits], 10, 32)
		at := strings.IndexByte("ymwd", t[digits])
		if err != nil || n > maxPeriod || at <= last {
			return p, false
		}
		last = at
		switch t[digits] {
		case 'y':
			p.months += 12 * n
		case 'm':
			p.months += n
		case 'w':
			p.days += 7 * n
		default:
			p.days += n
		}
		t = t[digits+1:]
	}
	return p, (p.months > 0) != (p.days > 0) && max(p.months, p.days) <= maxPeriod
}

// clip bounds what a reason quotes.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
