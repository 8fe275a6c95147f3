package account

import (
	"math/big"
	"testing"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"syncline/schemas/canonical"
)

func TestPeriods(t *testing.T) {
	for text, want := range map[string]period{
		"month": {months: 1}, "Monthly": {months: 1}, " MONTH ": {months: 1}, "quarter": {months: 3}, "half-year": {months: 6}, "half_yearly": {months: 6},
		"Semi-Annual": {months: 6}, "year": {months: 12}, "annually": {months: 12}, "per annum": {months: 12}, "week": {days: 7}, "fortnight": {days: 14},
		"day": {days: 1}, "3 months": {months: 3}, "every 2 weeks": {days: 14}, "2 years": {months: 24}, "2quarters": {months: 6},
		"P3M": {months: 3}, "P1Y": {months: 12}, "p1y6m": {months: 18}, "P2W": {days: 14}, "P10D": {days: 10}, "P1W1D": {days: 8},
		"12": {months: 12}, "1": {months: 1},
	} {
		if got, err := parsePeriod(text); err != nil || got != want {
			t.Errorf("%q is %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "sometimes", "0", "7", "30", "365", "0 months", "-1 month", "1.5 months", "P", "P0M", "PT1H", "P1M10D", "P1.5M", "P3", "P1M1Y", "P1M1M",
		"99999999999999999999 months", "20000 days", "P20000M", "year month", "monthly?", "bimonthly", "biannual",
	} {
		if got, err := parsePeriod(text); err == nil {
			t.Errorf("%q is %+v: nobody knows what it means", text, got)
		}
	}
}

// TestMonthly holds the monthly amount against fractions.
func TestMonthly(t *testing.T) {
	for _, c := range []struct {
		p            period
		amount, want string
	}{
		{period{months: 12}, "1200", "100"},
		{period{months: 12}, "100", "8.333333333"},
		{period{months: 12}, "200", "16.666666667"},
		{period{months: 1}, "29.97", "29.97"},
		{period{days: 7}, "100", "434.8125"},
		{period{days: 1}, "1", "30.436875"},
		{period{months: 12}, "-100", "-8.333333333"},
		{period{months: 2}, "0.000000001", "0"},
		{period{months: 2}, "0.000000003", "0.000000002"},
		{period{months: 2}, "-0.000000003", "-0.000000002"},
	} {
		if got := c.p.monthly(decimal.RequireFromString(c.amount)); got.String() != c.want {
			t.Errorf("%s for %+v is %s a month, want %s", c.amount, c.p, got, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		p := period{months: rapid.Int64Range(1, maxPeriod).Draw(t, "months")}
		factor := big.NewRat(1, p.months)
		if rapid.Bool().Draw(t, "days") {
			p = period{days: p.months}
			factor = big.NewRat(calendarDays, calendarMonths*p.days)
		}
		amount := decimal.New(rapid.Int64().Draw(t, "unscaled"), -rapid.Int32Range(0, 12).Draw(t, "scale"))
		got := p.monthly(amount)
		exact := new(big.Rat).Mul(amount.Rat(), factor)
		off := new(big.Rat).Sub(got.Rat(), exact)
		half := new(big.Rat).SetFrac64(1, 2_000_000_000)
		switch off.Abs(off).Cmp(half) {
		case 1:
			t.Fatalf("%s for %+v is %s a month, exactly %s", amount, p, got, exact.FloatString(20))
		case 0:
			if got.Shift(canonical.DecimalScale).BigInt().Bit(0) == 1 {
				t.Fatalf("%s for %+v: a half went to the odd %s", amount, p, got)
			}
		}
	})
}
