package canonical_test

import (
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

func number(text string) change.Value {
	d := decimal.RequireFromString(text)
	return change.DecimalOf(d.Coefficient(), -d.Exponent())
}

func TestBounds(t *testing.T) {
	for name, c := range map[string]struct {
		v  change.Value
		ok bool
	}{
		"first day":                  {change.OfDate(canonical.FirstDay), true},
		"the day before":             {change.OfDate(canonical.FirstDay - 1), false},
		"last day":                   {change.OfDate(canonical.EndDay - 1), true},
		"the day after":              {change.OfDate(canonical.EndDay), false},
		"a day of 64 bits":           {change.OfDate(math.MinInt64), false},
		"first moment":               {change.OfTimestamp(canonical.FirstMicros), true},
		"a moment before":            {change.OfTimestamp(canonical.FirstMicros - 1), false},
		"last moment":                {change.OfTimestamp(canonical.EndMicros - 1), true},
		"a moment after":             {change.OfTimestamp(canonical.EndMicros), false},
		"infinity":                   {change.OfTimestamp(math.MaxInt64), false},
		"minus infinity":             {change.OfTimestamp(math.MinInt64), false},
		"14 digits":                  {number("-99999999999999.99"), true},
		"15 digits":                  {number("100000000000000"), false},
		"15 digits, with a fraction": {number("-100000000000000.000001"), false},
		"38 digits after the point":  {number("0." + strings.Repeat("1", 38)), true},
		"39 digits after the point":  {number("0." + strings.Repeat("1", 39)), false},
		"38 digits":                  {number("12345678901234." + strings.Repeat("1", 24)), true},
		"39 digits":                  {number("12345678901234." + strings.Repeat("1", 25)), false},
		"a scale below zero":         {change.Value{Kind: change.Decimal, Int: 9, Scale: -13}, true},
		"a scale far below zero":     {change.Value{Kind: change.Decimal, Int: 9, Scale: -1000}, false},
		"text":                       {change.OfString(strings.Repeat("x", canonical.MaxText)), true},
		"too much text":              {change.OfString(strings.Repeat("x", canonical.MaxText+1)), false},
		"NULL":                       {change.Value{}, true},
	} {
		if err := canonical.Bounded(c.v); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	for id, ok := range map[string]bool{"7": true, "": false, "a\x00b": false, strings.Repeat("x", canonical.MaxID): true, strings.Repeat("x", canonical.MaxID+1): false} {
		if err := canonical.BoundedID(id); (err == nil) != ok {
			t.Errorf("id %.20q: %v", id, err)
		}
	}
}

// Whatever is within bounds can be published, and is the number rounded
// half-even at the ninth digit.
func TestNumbersWithinBoundsArePublished(t *testing.T) {
	for text, want := range map[string]string{
		"0.0000123456": "0.000012346", "0.0000000005": "0.000000000", "0.0000000015": "0.000000002", "-0.0000000005": "0.000000000",
		"-0.0000000015": "-0.000000002", "0.00000000050000001": "0.000000001", "-1.9999999996": "-2.000000000", "12.5": "12.500000000",
	} {
		if d, err := canonical.DecimalOf(number(text)); err != nil || d.String() != want {
			t.Errorf("%s: %s, %v, want %s", text, d, err, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n, _ := new(big.Int).SetString(rapid.StringMatching(`-?[0-9]{1,38}`).Draw(t, "digits"), 10)
		v := change.DecimalOf(n, rapid.Int32Range(0, 38).Draw(t, "scale"))
		d, err := canonical.DecimalOf(v)
		if canonical.Bounded(v) != nil {
			return
		}
		if err != nil {
			t.Fatalf("%s is within bounds: %v", change.DecimalText(v), err)
		}
		want := decimal.NewFromBigInt(n, -v.Scale).RoundBank(canonical.DecimalScale)
		if got := decimal.RequireFromString(d.String()); !got.Equal(want) {
			t.Fatalf("%s is published as %s, want %s", change.DecimalText(v), got, want)
		}
	})
}
