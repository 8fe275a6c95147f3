package canonical

import (
	"fmt"
	"math/big"

	"syncline/schemas/change"
)

// DecimalScale and DecimalPrecision are those of every amount in a canonical
// record and in ClickHouse.
const (
	DecimalScale     = 9
	DecimalPrecision = 38
)

// Decimal is an amount as its Avro bytes: the unscaled number at scale 9, two's
// complement, big-endian, in as few bytes as hold it. nil is NULL; zero is one
// zero byte. As the form is unique, equal amounts have equal bytes.
type Decimal []byte

// NewDecimal returns unscaled / 10^scale. A number that scale 9 cannot show
// exactly, or of more than 38 digits, is an error: nothing is rounded in
// silence.
func NewDecimal(unscaled *big.Int, scale int32) (Decimal, error) {
	if unscaled.IsInt64() {
		if d, ok := smallDecimal(unscaled.Int64(), scale); ok {
			return d, nil
		}
	}
	n := unscaled
	switch {
	case scale < -DecimalPrecision || scale > 1<<16:
		return nil, fmt.Errorf("decimal with scale %d: canonical amounts have scale %d", scale, DecimalScale)
	case scale < DecimalScale:
		n = new(big.Int).Mul(n, pow10(DecimalScale-scale))
	case scale > DecimalScale:
		q, r := new(big.Int).QuoRem(n, pow10(scale-DecimalScale), new(big.Int))
		if r.Sign() != 0 {
			return nil, fmt.Errorf("decimal with %d digits after the point: canonical amounts have at most %d; round it in the mapping", scale, DecimalScale)
		}
		n = q
	}
	if n.CmpAbs(pow10(DecimalPrecision)) >= 0 {
		return nil, fmt.Errorf("decimal too great: canonical amounts have at most %d digits before the point", DecimalPrecision-DecimalScale)
	}
	return packInt(n), nil
}

// DecimalOf converts a decoded Decimal or Int value as it is published: digits
// beyond the ninth are rounded half-even. Rows keep all of them, so that what is
// computed from a price has its every digit. NULL, missing and unavailable
// values are nil. The result shares no memory with v.
func DecimalOf(v change.Value) (Decimal, error) {
	switch v.Kind {
	case change.Null, change.Missing, change.Unavailable:
		return nil, nil
	case change.Int:
		return NewDecimal(big.NewInt(v.Int), 0)
	case change.Decimal:
		if len(v.Bytes) == 0 {
			if d, ok := smallDecimal(v.Int, v.Scale); ok {
				return d, nil
			}
		}
		if v.Scale <= DecimalScale || v.Scale > MaxDigits {
			return NewDecimal(change.Unscaled(v), v.Scale)
		}
		return NewDecimal(roundHalfEven(change.Unscaled(v), pow10(v.Scale-DecimalScale)), DecimalScale)
	default:
		return nil, fmt.Errorf("value of kind %d is not a decimal", v.Kind)
	}
}

// roundHalfEven is n / by, rounded to the nearest whole number and to the even
// one of two that are as near.
func roundHalfEven(n, by *big.Int) *big.Int {
	q, r := new(big.Int).QuoRem(n, by, new(big.Int))
	half := r.Lsh(r.Abs(r), 1).Cmp(by)
	if half > 0 || half == 0 && q.Bit(0) == 1 {
		q.Add(q, big.NewInt(int64(n.Sign())))
	}
	return q
}

// smallDecimal is NewDecimal without big numbers, for amounts whose unscaled
// number at scale 9 fits 64 bits: below 9.2 thousand million.
func smallDecimal(n int64, scale int32) (Decimal, bool) {
	if scale < 0 || scale > DecimalScale {
		return nil, false
	}
	for range DecimalScale - scale {
		m := n * 10
		if m/10 != n {
			return nil, false
		}
		n = m
	}
	return packInt64(n), true
}

// Int returns the unscaled number at scale 9. The second result is false for
// NULL.
func (d Decimal) Int() (*big.Int, bool) {
	if d == nil {
		return nil, false
	}
	return unpackInt(d), true
}

// String returns the amount in plain digits, "NULL" for nil.
func (d Decimal) String() string {
	n, ok := d.Int()
	if !ok {
		return "NULL"
	}
	s := new(big.Int).Abs(n).String()
	for len(s) <= DecimalScale {
		s = "0" + s
	}
	s = s[:len(s)-DecimalScale] + "." + s[len(s)-DecimalScale:]
	if n.Sign() < 0 {
		s = "-" + s
	}
	return s
}

func pow10(n int32) *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}

// packInt64 writes n in the fewest bytes of two's complement.
func packInt64(n int64) Decimal {
	size := 1
	for size < 8 && n>>(8*size-1) != 0 && n>>(8*size-1) != -1 {
		size++
	}
	d := make(Decimal, size)
	for i := range d {
		d[i] = byte(n >> (8 * (size - 1 - i)))
	}
	return d
}

func packInt(n *big.Int) Decimal {
	if n.IsInt64() {
		return packInt64(n.Int64())
	}
	// One byte more than the magnitude always has room for the sign.
	size := len(n.Bytes()) + 1
	m := n
	if n.Sign() < 0 {
		m = new(big.Int).Add(n, new(big.Int).Lsh(big.NewInt(1), uint(8*size))) //nolint:gosec // at most 17 bytes
	}
	d := Decimal(m.FillBytes(make([]byte, size)))
	for len(d) > 1 && (d[0] == 0 && d[1] < 0x80 || d[0] == 0xff && d[1] >= 0x80) {
		d = d[1:]
	}
	return d
}

func unpackInt(b []byte) *big.Int {
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b)))) //nolint:gosec // a record's length bounds it
	}
	return n
}
