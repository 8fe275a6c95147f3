package intake

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"syncline/schemas/canonical"
	"syncline/schemas/change"
)

// Image is one decoded change of a source row: the values of Source.Want, in
// that order.
type Image []change.Value

// The operations of a Debezium envelope.
const (
	opCreate = "c"
	opUpdate = "u"
	opRead   = "r"
	opDelete = "d"
)

// header is what the envelope says of an image.
type header struct {
	op       string
	snapshot bool
	pos      change.Position
	micros   int64 // commit time; of a snapshot row, when it was read
	id       string
}

func (s *Source) header(img Image) (header, error) {
	h := header{op: string(img[wantOp].Bytes)}
	key := s.after
	switch h.op {
	case opCreate, opUpdate, opRead:
		if img[wantAfter].IsNull() {
			return h, fmt.Errorf("op is %q but there is no after image", h.op)
		}
	case opDelete:
		if img[wantBefore].IsNull() {
			return h, fmt.Errorf("op is %q but there is no before image", h.op)
		}
		key = s.before
	default:
		return h, fmt.Errorf("op is %q; c, u, r and d are known", clip(h.op))
	}
	switch string(img[wantSnapshot].Bytes) {
	case "", "false":
	default:
		h.snapshot = h.op == opRead
	}
	if img[wantLSN].IsNull() {
		return h, fmt.Errorf("source.lsn is missing: without it changes cannot be ordered")
	}
	h.micros = img[wantMicros].Int
	if img[wantMicros].IsNull() {
		h.micros = img[wantMillis].Int * 1000
	}
	h.pos = change.Position{LSN: img[wantLSN].Int, Streamed: !h.snapshot}
	if !h.snapshot && !img[wantOrder].IsNull() {
		h.pos.Order = img[wantOrder].Int
	}
	for _, e := range s.Epochs {
		if h.micros >= e.Since {
			h.pos.Epoch = e.Number
		}
	}
	id, err := s.id(img, key)
	h.id = id
	return h, err
}

// value maps one field. keep reports that the source left the value out: the
// one known before stays.
func (f *Field) value(img Image, kind change.Kind) (v change.Value, keep bool, err error) {
	if f.Constant != nil {
		return *f.Constant, false, nil
	}
	for _, i := range f.columns {
		if v = img[i]; !v.IsNull() {
			break
		}
	}
	if v.Kind == change.Unavailable {
		return change.Value{}, true, nil
	}
	if v.IsNull() {
		return change.Value{}, false, nil
	}
	if f.Model == "" && f.Map == nil && f.Prefix == "" {
		if v, err = convert(v, kind); err == nil {
			err = bounded(v)
		}
		return v, false, err
	}
	t, err := Text(v)
	if err != nil {
		return v, false, err
	}
	if f.Model != "" {
		model, id, ok := strings.Cut(t, ",")
		if !ok || model != f.Model {
			return change.Value{}, false, nil
		}
		t = id
	}
	if f.Map != nil {
		to, ok := f.Map[t]
		if !ok {
			return v, false, fmt.Errorf("%q is not in the catalog's map", clip(t))
		}
		t = to
	}
	v, err = convert(change.OfString(f.Prefix+t), kind)
	return v, false, err
}

// convert brings a decoded value to the kind of its field.
func convert(v change.Value, kind change.Kind) (change.Value, error) {
	if v.Kind == change.Decimal && v.Scale < 0 && kind == change.Decimal {
		return DecimalValue(decimal.NewFromBigInt(change.Unscaled(v), -v.Scale))
	}
	if v.Kind == kind {
		return v, nil
	}
	switch kind {
	case change.String:
		t, err := Text(v)
		return change.OfString(t), err
	case change.Decimal:
		switch v.Kind {
		case change.Int:
			return change.Value{Kind: change.Decimal, Int: v.Int}, nil
		case change.Double:
			f := math.Float64frombits(uint64(v.Int)) //nolint:gosec // bits
			if math.IsNaN(f) || math.IsInf(f, 0) {
				return v, fmt.Errorf("%v is no number", f)
			}
			return parseDecimal(strconv.FormatFloat(f, 'f', -1, 64))
		case change.String:
			return parseDecimal(string(v.Bytes))
		}
	case change.Date:
		if v.Kind == change.Timestamp {
			return change.OfDate(floorDiv(v.Int, dayMicros)), nil
		}
	case change.Bool:
		if v.Kind == change.Int && (v.Int == 0 || v.Int == 1) {
			return change.OfBool(v.Int == 1), nil
		}
	}
	return v, fmt.Errorf("a value of kind %s cannot become %s", v.Kind, kind)
}

// The bounds of what can be shown exactly everywhere: ClickHouse's Date32, and
// amounts whose products and sums still fit 38 digits with 9 after the point.
const (
	firstDay     = -25_567 // 1900-01-01
	lastDay      = 120_529 // 2299-12-31
	dayMicros    = 86_400_000_000
	amountDigits = 14 // before the point
)

// bounded refuses what would have to be changed in silence later on.
func bounded(v change.Value) error {
	switch v.Kind {
	case change.Timestamp:
		if v.Int < firstDay*dayMicros || v.Int >= (lastDay+1)*dayMicros {
			return fmt.Errorf("the time %d (microseconds since 1970) is outside 1900-01-01 to 2299-12-31", v.Int)
		}
	case change.Date:
		if v.Int < firstDay || v.Int > lastDay {
			return fmt.Errorf("the date %s is outside 1900-01-01 to 2299-12-31: map open ends to NULL at the source or leave the field out of the catalog", time.Unix(v.Int*86_400, 0).UTC().Format(time.DateOnly))
		}
	case change.Decimal:
		if v.Bytes == nil && v.Scale >= 0 && v.Scale <= 4 {
			most := int64(1e14)
			for range v.Scale {
				most *= 10
			}
			if v.Int > -most && v.Int < most {
				return nil // by far the most
			}
		}
		if _, err := canonical.DecimalOf(v); err != nil {
			return err
		}
		if whole := len(new(big.Int).Abs(new(big.Int).Quo(change.Unscaled(v), pow10(v.Scale))).String()); whole > amountDigits {
			return fmt.Errorf("the amount %s has %d digits before the point, the limit is %d", change.DecimalText(v), whole, amountDigits)
		}
	}
	return nil
}

func pow10(n int32) *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}

func parseDecimal(s string) (change.Value, error) {
	d, err := decimal.NewFromString(s)
	if err != nil {
		return change.Value{}, fmt.Errorf("%q is no decimal number", clip(s))
	}
	return DecimalValue(d)
}

// DecimalValue makes a Value of a decimal; more than 38 digits are refused.
func DecimalValue(d decimal.Decimal) (change.Value, error) {
	c := d.Coefficient()
	if d.NumDigits() > 38 || d.Exponent() < -38 || d.Exponent() > 38 {
		return change.Value{}, fmt.Errorf("a decimal has at most 38 digits")
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

// clip bounds what a message quotes of a record.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// ParseValue reads a constant or default of the catalog in the kind of its field.
func ParseValue(s string, kind change.Kind) (change.Value, error) {
	switch kind {
	case change.Bool:
		b, err := strconv.ParseBool(s)
		return change.OfBool(b), err
	case change.Date:
		t, err := time.Parse(time.DateOnly, s)
		return change.OfDate(t.Unix() / 86_400), err
	default:
		return convert(change.OfString(s), kind)
	}
}
