package account

import (
	"fmt"
	"strings"

	"github.com/bojanz/currency"
	"github.com/shopspring/decimal"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// Rounding is how a system rounds what it sells, to the minor units of the
// currency. The zero value rounds each line half to even.
type Rounding struct {
	HalfUp      bool // a half goes away from zero, not to the even neighbour
	PerDocument bool // only the sum of a document's lines is rounded
}

func (r Rounding) round(d decimal.Decimal, places int32) decimal.Decimal {
	if r.HalfUp {
		return d.Round(places)
	}
	return d.RoundBank(places)
}

// usualPlaces are the minor units of a currency that ISO 4217 does not know.
const usualPlaces = 2

// minorUnits are the places of a currency's smallest unit, and whether ISO 4217
// knows it.
func minorUnits(code string) (places int32, known bool) {
	n, ok := currency.GetDigits(strings.ToUpper(strings.TrimSpace(code)))
	if !ok {
		return usualPlaces, false
	}
	return int32(n), true
}

// sameCurrency reports whether two codes name one currency.
func sameCurrency(a, b string) bool {
	return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b))
}

// total is a sum. Where a part of it could not be taken nobody knows it, and the
// rest of the parts is nothing to work with.
type total struct {
	decimal.Decimal
	unknown bool
}

func (t total) plus(u total) total {
	return total{t.Add(u.Decimal), t.unknown || u.unknown}
}

func (t *total) add(d decimal.Decimal) { t.Decimal = t.Add(d) }

// positive reports whether the sum is known to be more than nothing.
func (t total) positive() bool { return !t.unknown && t.IsPositive() }

// covers reports whether the sum is known to reach another one.
func (t total) covers(u total) bool {
	return !t.unknown && !u.unknown && t.GreaterThanOrEqual(u.Decimal)
}

// publish is the amount as records carry it: rounded half to even to their
// scale, NULL where it is unknown.
func (t total) publish() canonical.Decimal {
	if t.unknown {
		return nil
	}
	d, err := amount(t.Decimal)
	if err != nil {
		return nil // hold has made it unknown
	}
	return d
}

func amount(d decimal.Decimal) (canonical.Decimal, error) {
	if d.Exponent() < -canonical.DecimalScale {
		d = d.RoundBank(canonical.DecimalScale)
	}
	return canonical.NewDecimal(d.Coefficient(), -d.Exponent())
}

// hold marks a sum that is beyond what an amount can be as unknown.
func (l *lack) hold(name string, t *total) {
	if t.unknown {
		return
	}
	if _, err := amount(t.Decimal); err != nil {
		t.unknown = true
		l.add(fmt.Sprintf("%s: %v", name, err))
	}
}

// lineSum is the sum of quantity times unit price, rounded as the system does.
func (o *Operator) lineSum(e *entry, code string) total {
	places, _ := minorUnits(code)
	how := o.config.Rounding[e.doc.System]
	var sum total
	for i := range e.doc.Children {
		c := &e.doc.Children[i]
		if c.Part != canonical.PartLine {
			continue
		}
		sum.unknown = sum.unknown || refuses(c, canonical.LineQuantity, canonical.LineUnitPrice)
		amount := number(c.Field(canonical.LineQuantity)).Mul(number(c.Field(canonical.LineUnitPrice)))
		if !how.PerDocument {
			amount = how.round(amount, places)
		}
		sum.add(amount)
	}
	if how.PerDocument {
		sum.Decimal = how.round(sum.Decimal, places)
	}
	return sum
}

// own is a header's own amount.
func own(h *change.Row, field int) total {
	return total{number(h.Field(field)), refuses(h, field)}
}

func number(v change.Value) decimal.Decimal {
	if v.Kind != change.Decimal {
		return decimal.Zero
	}
	if v.Bytes == nil {
		return decimal.New(v.Int, -v.Scale)
	}
	return decimal.NewFromBigInt(change.Unscaled(v), -v.Scale)
}
