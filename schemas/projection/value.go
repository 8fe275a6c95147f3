package projection

import (
	"math"
	"math/bits"
	"slices"
	"strconv"
	"unsafe"

	"syncline/schemas/change"
)

// faults are what can be wrong with one value while the record around it is
// whole. Their places are what an unreadable value's Int holds.
var faults = [...]error{ErrUTF8, ErrDecimal, ErrRange, ErrBadTime}

// unreadable is the value of a field whose own bytes are at fault.
func unreadable(err error) change.Value {
	return change.Value{Kind: change.Unreadable, Int: int64(slices.Index(faults[:], err))}
}

// Fault says what is wrong with a value of kind change.Unreadable.
func Fault(v change.Value) error {
	if v.Int < 0 || v.Int >= int64(len(faults)) {
		return ErrBadValue
	}
	return faults[v.Int]
}

// doubleOf is the double that has the shortest decimal of f: 0.1 for the float
// 0.1, not the 0.10000000149011612 that is as near to it.
func doubleOf(f float32) change.Value {
	x := float64(f)
	if x != math.Trunc(x) && !math.IsNaN(x) && !math.IsInf(x, 0) {
		var room [32]byte
		text := strconv.AppendFloat(room[:0], x, 'e', -1, 32)
		if short, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(text), len(text)), 64); err == nil {
			x = short
		}
	}
	return change.Value{Kind: change.Double, Int: int64(math.Float64bits(x))} //nolint:gosec // bits
}

// toMicros turns milliseconds or nanoseconds into microseconds; false if the
// result does not fit. Rounding is down, also before 1970, so that order is
// kept.
func toMicros(x int64, m meaning) (int64, bool) {
	switch m {
	case timestampMillis, durationMillis:
		return x * 1000, x <= math.MaxInt64/1000 && x >= math.MinInt64/1000
	case timestampNanos, durationNanos:
		down := x / 1000
		if x%1000 < 0 {
			down--
		}
		return down, true
	}
	return x, true
}

// meant gives string, bytes or fixed the meaning of its type. It does not
// handle plain strings.
func (p *Plan) meant(raw []byte, o *op) (change.Value, error) {
	switch o.meaning {
	case decimal:
		return p.decimalOf(raw, o.arg)
	case zonedTimestamp:
		if p.placeholder.kind(raw, change.String) == change.Unavailable {
			return change.Value{Kind: change.Unavailable, Bytes: raw}, nil
		}
		micros, err := ParseTime(raw)
		if err != nil {
			return change.Value{}, err
		}
		return change.Value{Kind: change.Timestamp, Int: micros}, nil
	default:
		return change.Value{Kind: p.placeholder.kind(raw, change.Bytes), Bytes: raw}, nil
	}
}

const (
	// maxDecimalBytes is the longest encoding that is looked at, leading
	// sign bytes included.
	maxDecimalBytes = 32
	// maxScale bounds what a reader may have to multiply by.
	maxScale = 1000
)

// decimalOf reads an unscaled number, two's complement and big-endian.
func (p *Plan) decimalOf(raw []byte, scale int32) (change.Value, error) {
	if p.placeholder.kind(raw, change.Bytes) == change.Unavailable {
		return change.Value{Kind: change.Unavailable, Bytes: raw}, nil
	}
	if len(raw) == 0 || len(raw) > maxDecimalBytes || scale < -maxScale || scale > maxScale {
		return change.Value{}, ErrDecimal
	}
	for len(raw) > 8 && (raw[0] == 0 && raw[1] < 0x80 || raw[0] == 0xff && raw[1] >= 0x80) {
		raw = raw[1:] // repeats the sign
	}
	if len(raw) <= 8 {
		x := int64(int8(raw[0]))
		for _, c := range raw[1:] {
			x = x<<8 | int64(c)
		}
		return change.Value{Kind: change.Decimal, Int: x, Scale: scale}, nil
	}
	if !within38Digits(raw) {
		return change.Value{}, ErrDecimal
	}
	return change.Value{Kind: change.Decimal, Bytes: raw, Scale: scale}, nil
}

// within38Digits reports whether the number of 9 or more bytes is between
// -10^38 and 10^38, both excluded.
func within38Digits(raw []byte) bool {
	if len(raw) > 16 {
		return false
	}
	hi := uint64(int64(int8(raw[0])) >> 63) // all sign
	lo := hi
	for _, c := range raw {
		hi = hi<<8 | lo>>56
		lo = lo<<8 | uint64(c)
	}
	if int64(hi) < 0 {
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		hi, _ = bits.Sub64(0, hi, borrow)
	}
	const tenTo19 = 10_000_000_000_000_000_000
	topHi, topLo := bits.Mul64(tenTo19, tenTo19)
	return hi < topHi || hi == topHi && lo < topLo
}
