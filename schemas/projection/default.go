package projection

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"

	"syncline/schemas/change"
)

// defaultValue reads the default of f as if it had come over the wire: it is
// encoded as the specification says ("Complex Types", field defaults) and then
// decoded, so that both ways cannot differ.
func (f *field) defaultValue(limits Limits) (change.Value, bool) {
	p, err := compile(f.typ, []Field{{}}, limits)
	if err != nil {
		return change.Value{}, false
	}
	d := defaultEncoder{budget: maxDefaultSteps}
	raw, ok := d.append(nil, f.typ, f.deflt)
	if !ok {
		return change.Value{}, false
	}
	var out [1]change.Value
	if p.Decode(raw, out[:]) != nil || out[0].Kind == change.Unreadable {
		return change.Value{}, false
	}
	return out[0], true
}

// maxDefaultSteps bounds the work on one default: trying the branches of unions
// inside of unions, or filling in the defaults of records that hold each other
// twice, would otherwise double with every level.
const maxDefaultSteps = 10_000

type defaultEncoder struct{ budget int }

// append encodes the JSON form v of a value of t. False means that v is not of
// that type, or takes too many steps. A union takes the first branch that fits.
func (d *defaultEncoder) append(dst []byte, t *node, v any) ([]byte, bool) {
	if d.budget--; d.budget < 0 {
		return dst, false
	}
	switch t.kind {
	case tNull:
		return dst, v == nil
	case tBoolean:
		x, ok := v.(bool)
		if x {
			return append(dst, 1), ok
		}
		return append(dst, 0), ok
	case tInt, tLong:
		num, ok := v.(json.Number)
		size := 64
		if t.kind == tInt {
			size = 32
		}
		x, err := strconv.ParseInt(num.String(), 10, size)
		return binary.AppendVarint(dst, x), ok && err == nil
	case tFloat, tDouble:
		num, ok := v.(json.Number)
		x, err := num.Float64()
		if t.kind == tFloat {
			return binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(x))), ok && err == nil
		}
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(x)), ok && err == nil
	case tString:
		x, ok := v.(string)
		return append(binary.AppendVarint(dst, int64(len(x))), x...), ok
	case tBytes, tFixed:
		x, ok := v.(string)
		var raw []byte
		for _, r := range x { // each character is one byte
			if r > 0xff {
				return dst, false
			}
			raw = append(raw, byte(r))
		}
		if t.kind == tFixed {
			return append(dst, raw...), ok && int64(len(raw)) == t.size
		}
		return append(binary.AppendVarint(dst, int64(len(raw))), raw...), ok
	case tEnum:
		x, ok := v.(string)
		for i, s := range t.symbols {
			if ok && string(s) == x {
				return binary.AppendVarint(dst, int64(i)), true
			}
		}
		return dst, false
	case tRecord:
		return d.record(dst, t, v)
	case tUnion:
		for i, branch := range t.branches {
			if out, ok := d.append(binary.AppendVarint(dst, int64(i)), branch, v); ok {
				return out, true
			}
		}
		return dst, false
	default:
		return dst, false // an array or a map cannot be wanted
	}
}

func (d *defaultEncoder) record(dst []byte, t *node, v any) ([]byte, bool) {
	obj, ok := v.(map[string]any)
	if !ok {
		return dst, false
	}
	for i := range t.fields {
		f := &t.fields[i]
		fv, has := obj[f.name]
		if !has {
			if !f.hasDefault {
				return dst, false
			}
			fv = f.deflt
		}
		if dst, ok = d.append(dst, f.typ, fv); !ok {
			return dst, false
		}
	}
	return dst, true
}
