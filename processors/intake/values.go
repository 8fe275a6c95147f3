package intake

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
	"syncline/schemas/projection"
)

// value maps one field. A value that is Unavailable or Missing was not sent: the
// source has left it out, or the writer's schema has none of the columns.
func (f *Field) value(img Image) (change.Value, error) {
	if f.Constant != nil {
		return *f.Constant, nil
	}
	v, at := change.Value{}, -1
	for n, i := range f.columns {
		if !img[i].IsNull() {
			v, at = img[i], n
			break
		}
		if n == 0 || img[i].Kind == change.Null {
			v = img[i] // NULL if any of them is
		}
	}
	if at < 0 || v.Kind == change.Unavailable {
		return v, nil
	}
	if f.translates() {
		v, err := f.translated(v)
		return v, f.fault(at, err)
	}
	v, err := f.reading.read(v)
	return v, f.fault(at, err)
}

// translates reports that the value's text is looked up or made an id.
func (f *Field) translates() bool { return f.Model != "" || f.Map != nil || f.Prefix != "" }

// fault names the column of an error.
func (f *Field) fault(at int, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("column %s: %w", f.Columns[at], err)
}

// translated is a value that is looked up or made an id by its text.
func (f *Field) translated(v change.Value) (change.Value, error) {
	t, err := Text(v)
	if err != nil {
		return v, err
	}
	if f.Model != "" {
		model, id, ok := strings.Cut(t, ",")
		if !ok && t != "" {
			return v, fmt.Errorf("%q is not a model and an id", clip(t))
		}
		if model != f.Model {
			return change.Value{}, nil
		}
		t = id
	}
	if f.Map != nil {
		to, ok := f.Map[t]
		if !ok {
			return v, fmt.Errorf("%q is not in the catalog's map", clip(t))
		}
		t = to
	}
	if t == "" && f.reading.id {
		return change.Value{}, nil
	}
	return f.reading.read(change.OfString(f.Prefix + t))
}

// reading is how a column's values are read.
type reading struct {
	kind change.Kind
	id   bool          // a native id: compared as Text gives it, and bounded as part of keys
	unit time.Duration // of numbers that stand for times; 0 where they do not
}

var parentReading = reading{kind: change.String, id: true} //nolint:gochecknoglobals // a constant

// read converts a decoded value to the reading's kind and refuses what is out of
// bounds. NULL stays NULL; so does an empty text where an id is meant, since no
// row has an empty id.
func (r reading) read(v change.Value) (change.Value, error) {
	if v.IsNull() || v.Kind == change.Unavailable {
		return v, nil
	}
	v, err := r.convert(v)
	if err != nil {
		return v, err
	}
	if r.id {
		if len(v.Bytes) == 0 {
			return change.Value{}, nil
		}
		return v, canonical.BoundedID(string(v.Bytes))
	}
	return v, canonical.Bounded(v)
}

// counts reports that numbers would be read as times, if their unit were known.
func (r reading) counts() bool {
	return r.unit == 0 && (r.kind == change.Date || r.kind == change.Timestamp)
}

// takes reports whether values of a kind can be read: what convert does not
// refuse by the kind alone.
func (r reading) takes(from change.Kind) bool {
	switch from {
	case r.kind, change.Null:
		return true
	case change.Nested, change.Bytes:
		return false
	}
	switch r.kind {
	case change.String:
		return from != change.Duration || !r.id
	case change.Decimal:
		return from == change.Int || from == change.Double || from == change.String
	case change.Date:
		return from == change.Timestamp || from == change.String || from == change.Int && r.unit != 0
	case change.Timestamp:
		return from == change.Date || from == change.String || from == change.Int && r.unit != 0
	case change.Bool:
		return from == change.Int || from == change.Decimal || from == change.String
	}
	return false
}

// convert brings a decoded value to the reading's kind.
func (r reading) convert(v change.Value) (change.Value, error) {
	if v.Kind == change.Unreadable {
		return v, projection.Fault(v)
	}
	if !r.takes(v.Kind) {
		if v.Kind == change.Int && r.counts() {
			return v, errors.New("a number is no time unless the catalog says what it counts: {time: {path: …, unit: s}}")
		}
		return v, fmt.Errorf("a value of kind %s cannot become %s", v.Kind, r.kind)
	}
	switch r.kind {
	case v.Kind:
		if v.Kind == change.Decimal && v.Scale < 0 {
			return DecimalValue(decimal.NewFromBigInt(change.Unscaled(v), -v.Scale))
		}
		return v, nil
	case change.String:
		return r.toText(v)
	case change.Decimal:
		return toDecimal(v)
	case change.Date:
		return r.toDate(v)
	case change.Timestamp:
		return r.toTime(v)
	default:
		return toBool(v)
	}
}

// toText is the text of a value that is shown; an id's is that of Text.
func (r reading) toText(v change.Value) (change.Value, error) {
	switch {
	case v.Kind == change.Int:
		return change.Value{Kind: change.String, Bytes: strconv.AppendInt(nil, v.Int, 10)}, nil // most ids
	case r.id:
		t, err := Text(v)
		return change.OfString(t), err
	}
	switch v.Kind {
	case change.Date:
		if err := canonical.Bounded(v); err != nil {
			return v, err
		}
		return change.OfString(time.Unix(v.Int*86_400, 0).UTC().Format(time.DateOnly)), nil
	case change.Timestamp:
		if err := canonical.Bounded(v); err != nil {
			return v, err
		}
		return change.OfString(time.UnixMicro(v.Int).UTC().Format(time.RFC3339Nano)), nil
	case change.Duration:
		return change.OfString(clockText(v.Int)), nil
	default:
		t, err := Text(v)
		return change.OfString(t), err
	}
}

// clockText is a duration or a time of day as hours, minutes and seconds.
func clockText(micros int64) string {
	sign, rest := "", uint64(micros) //nolint:gosec // below
	if micros < 0 {
		sign, rest = "-", -rest
	}
	s := fmt.Sprintf("%s%02d:%02d:%02d", sign, rest/3_600_000_000, rest/60_000_000%60, rest/1_000_000%60)
	if f := rest % 1_000_000; f != 0 {
		s += strings.TrimRight(fmt.Sprintf(".%06d", f), "0")
	}
	return s
}

func toDecimal(v change.Value) (change.Value, error) {
	switch v.Kind {
	case change.Int:
		return change.Value{Kind: change.Decimal, Int: v.Int}, nil
	case change.Double:
		return doubleValue(math.Float64frombits(uint64(v.Int))) //nolint:gosec // bits
	default:
		return parseDecimal(string(v.Bytes))
	}
}

// doubleValue is the shortest decimal of a double, rounded half-even to the
// digits that are published: what lies behind them is the dust of binary sums.
func doubleValue(f float64) (change.Value, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return change.Value{}, fmt.Errorf("%v is no number", f)
	}
	if math.Abs(f) >= 1e15 { // out of bounds anyhow; spares making its 309 digits
		return change.Value{}, fmt.Errorf("%g has more than %d digits before the point", f, canonical.MaxWhole)
	}
	if n := int64(f); float64(n) == f {
		return change.Value{Kind: change.Decimal, Int: n}, nil
	}
	d, err := decimal.NewFromString(strconv.FormatFloat(f, 'e', -1, 64))
	if err != nil {
		return change.Value{}, fmt.Errorf("%g is no decimal number: %w", f, err)
	}
	if d.Exponent() < -canonical.DecimalScale {
		d = d.RoundBank(canonical.DecimalScale)
	}
	return DecimalValue(d)
}

func (r reading) toDate(v change.Value) (change.Value, error) {
	if v.Kind == change.String {
		day, ok := projection.ParseDate(v.Bytes)
		if !ok {
			return v, fmt.Errorf("%q is no date such as 2026-11-22", clip(string(v.Bytes)))
		}
		return change.OfDate(day), nil
	}
	if v.Kind == change.Int {
		var err error
		if v, err = r.counted(v.Int); err != nil {
			return v, err
		}
	}
	return change.OfDate(floorDiv(v.Int, canonical.DayMicros)), nil
}

func (r reading) toTime(v change.Value) (change.Value, error) {
	switch v.Kind {
	case change.Date:
		if err := canonical.Bounded(v); err != nil {
			return v, err
		}
		return change.OfTimestamp(v.Int * canonical.DayMicros), nil
	case change.Int:
		return r.counted(v.Int)
	}
	if micros, err := projection.ParseTime(v.Bytes); err == nil {
		return change.OfTimestamp(micros), nil
	}
	day, ok := projection.ParseDate(v.Bytes)
	if !ok {
		return v, fmt.Errorf("%q: %w", clip(string(v.Bytes)), projection.ErrBadTime)
	}
	return r.toTime(change.OfDate(day))
}

// counted is the time that a number counts from 1970-01-01 UTC on.
func (r reading) counted(n int64) (change.Value, error) {
	unit := int64(r.unit / time.Microsecond)
	if unit == 0 {
		return change.OfTimestamp(floorDiv(n, int64(time.Microsecond/r.unit))), nil
	}
	micros := n * unit
	if micros/unit != n {
		return change.Value{}, fmt.Errorf("%d: %w", n, projection.ErrRange)
	}
	return change.OfTimestamp(micros), nil
}

// toBool takes the words that databases write for true and false.
func toBool(v change.Value) (change.Value, error) {
	t, err := Text(v)
	if err != nil {
		return v, err
	}
	switch strings.ToLower(t) {
	case "1", "t", "true", "y", "yes", "on":
		return change.OfBool(true), nil
	case "0", "f", "false", "n", "no", "off":
		return change.OfBool(false), nil
	}
	return v, fmt.Errorf("%q is neither true nor false", clip(t))
}

// maxNumberText bounds the text of a number before it is read.
const maxNumberText = 128

func parseDecimal(s string) (change.Value, error) {
	if len(s) > maxNumberText {
		return change.Value{}, fmt.Errorf("%q is too long for a number", clip(s))
	}
	d, err := decimal.NewFromString(s)
	if err != nil {
		return change.Value{}, fmt.Errorf("%q is no decimal number", clip(s))
	}
	return DecimalValue(d)
}

// DecimalValue makes a Value of a decimal; more than 38 digits are refused.
func DecimalValue(d decimal.Decimal) (change.Value, error) {
	c := d.Coefficient()
	if d.NumDigits() > canonical.MaxDigits || d.Exponent() < -canonical.MaxDigits || d.Exponent() > canonical.MaxDigits {
		return change.Value{}, fmt.Errorf("a decimal has at most %d digits", canonical.MaxDigits)
	}
	scale := -d.Exponent()
	if scale < 0 {
		c.Mul(c, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(-scale)), nil))
		scale = 0
	}
	return change.DecimalOf(c, scale), nil
}

// Text is the canonical text of a scalar: what native ids and codes are
// compared by.
func Text(v change.Value) (string, error) {
	switch v.Kind {
	case change.String:
		return string(v.Bytes), nil
	case change.Int, change.Date, change.Timestamp:
		return strconv.FormatInt(v.Int, 10), nil
	case change.Bool:
		return strconv.FormatBool(v.Int == 1), nil
	case change.Double:
		return strconv.FormatFloat(math.Float64frombits(uint64(v.Int)), 'f', -1, 64), nil //nolint:gosec // bits
	case change.Decimal:
		return change.DecimalText(v), nil
	case change.Unreadable:
		return "", projection.Fault(v)
	default:
		return "", fmt.Errorf("a value of kind %s has no text form", v.Kind)
	}
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// ParseValue reads a constant or default of the catalog in the kind of its field.
func ParseValue(s string, kind change.Kind) (change.Value, error) {
	return reading{kind: kind}.read(change.OfString(s))
}
