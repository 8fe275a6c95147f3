package projection

import (
	"encoding/binary"
	"math"
	"unicode/utf8"

	"syncline/schemas/change"
)

// Decode reads one record, of which data is the Avro binary without any
// framing, and sets out[i] to wanted field i; len(out) must be the number of
// wanted fields. Bytes of the values are views into data or, for the symbols
// of an enum, into the plan: they must not be written to, and they live as
// long as data does.
//
// It allocates only to make an error, which is a *DecodeError. After an error
// the contents of out mean nothing.
func (p *Plan) Decode(data []byte, out []change.Value) error {
	if len(out) != len(p.wanted) {
		return &DecodeError{Err: ErrOutput}
	}
	if len(data) > p.limits.MaxBytes {
		return &DecodeError{Offset: p.limits.MaxBytes, Err: ErrTooLarge}
	}
	for _, slot := range p.preset {
		out[slot] = p.template[slot]
	}
	m := machine{plan: p, data: data, out: out}
	at := m.run(p.start, 0, 1)
	if at < 0 {
		return &DecodeError{Offset: m.failedAt, Path: m.failedPath, Err: m.failure}
	}
	if at != len(data) {
		return &DecodeError{Offset: at, Err: ErrTrailing}
	}
	return nil
}

// machine is one run of a plan over one record.
type machine struct {
	plan *Plan
	data []byte
	out  []change.Value

	failure    error
	failedAt   int
	failedPath string
}

// failed stands for a place in the record once there is a failure.
const failed = -1

func (m *machine) fail(pc int32, at int, err error) int {
	m.failure, m.failedAt, m.failedPath = err, at, m.plan.where[pc]
	return failed
}

// run executes the block at pc on the record from at on, and returns where the
// value ends, or failed. depth counts the values around it.
func (m *machine) run(pc int32, at, depth int) int {
	if depth > m.plan.limits.MaxDepth {
		return m.fail(pc, at, ErrTooDeep)
	}
	data, ops := m.data, m.plan.ops
	for ; ; pc++ {
		o := &ops[pc]
		if o.null != never {
			if at >= len(data) {
				return m.fail(pc, at, ErrTruncated)
			}
			c := data[at]
			if c > 2 || c == 1 {
				var err error
				if c, at, err = oddIndex(data, at); err != nil {
					return m.fail(pc, at, err)
				}
			}
			at++
			if c == o.null {
				if o.slot >= 0 {
					m.out[o.slot] = change.Value{}
				}
				continue
			}
		}
		start := at
		switch o.code {
		case opEnd:
			return at
		case opNothing:

		case opSkipRun:
			if at = m.skipRun(o.arg, o.n, at); at < 0 {
				return failed
			}
		case opSkipWidth:
			if int(o.n) > len(data)-at {
				return m.fail(pc, start, ErrTruncated)
			}
			at += int(o.n)
		case opSkipEnum:
			var index int64
			if index, at = readInt(data, at); at < 0 {
				return m.fail(pc, start, varintError(at))
			}
			if uint64(index) >= uint64(o.n) {
				return m.fail(pc, start, ErrBadEnum)
			}
		case opSkipArray, opSkipMap:
			if at = m.skipBlocks(pc, at, depth+1); at < 0 {
				return failed
			}
		case opCall:
			if at = m.run(o.arg, at, depth+1); at < 0 {
				return failed
			}

		case opUnion:
			var index int64
			if at < len(data) && data[at] < 0x80 {
				index = unzigzag(uint64(data[at]))
				at++
			} else if index, at = readLong(data, at); at < 0 {
				return m.fail(pc, start, varintError(at))
			}
			if uint64(index) >= uint64(o.n) {
				return m.fail(pc, start, ErrBadUnion)
			}
			if branch := m.plan.table[int(o.arg)+int(index)]; branch != nothing {
				if at = m.run(branch, at, depth+1); at < 0 {
					return failed
				}
			}

		case opInt, opLong:
			var x int64
			switch {
			case at < len(data) && data[at] < 0x80:
				x = unzigzag(uint64(data[at]))
				at++
			case o.code == opInt:
				x, at = readInt(data, at)
			default:
				x, at = readLong(data, at)
			}
			if at < 0 {
				return m.fail(pc, start, varintError(at))
			}
			if o.meaning >= timestampMillis {
				var ok bool
				if x, ok = toMicros(x, o.meaning); !ok {
					m.out[o.slot] = unreadable(ErrRange)
					break
				}
			}
			m.out[o.slot] = change.Value{Kind: o.kind, Int: x}
		case opFloat:
			if len(data)-at < 4 {
				return m.fail(pc, start, ErrTruncated)
			}
			m.out[o.slot] = doubleOf(math.Float32frombits(binary.LittleEndian.Uint32(data[at:])))
			at += 4
		case opDouble:
			if len(data)-at < 8 {
				return m.fail(pc, start, ErrTruncated)
			}
			m.out[o.slot] = change.Value{Kind: change.Double, Int: int64(binary.LittleEndian.Uint64(data[at:]))}
			at += 8
		case opBool:
			if at >= len(data) {
				return m.fail(pc, start, ErrTruncated)
			}
			if data[at] > 1 {
				return m.fail(pc, start, ErrBadBool)
			}
			m.out[o.slot] = change.Value{Kind: change.Bool, Int: int64(data[at])}
			at++
		case opString, opBytes:
			var size int64
			if at < len(data) && data[at] < 0x80 {
				size = unzigzag(uint64(data[at]))
				at++
			} else if size, at = readLong(data, at); at < 0 {
				return m.fail(pc, start, varintError(at))
			}
			if uint64(size) > uint64(len(data)-at) {
				return m.fail(pc, start, lengthError(size))
			}
			end := at + int(size)
			raw := data[at:end:end]
			at = end
			if o.code == opString && o.meaning == plain {
				if !utf8.Valid(raw) {
					m.out[o.slot] = unreadable(ErrUTF8)
					break
				}
				m.out[o.slot] = change.Value{Kind: m.plan.placeholder.kind(raw, change.String), Bytes: raw}
				break
			}
			v, err := m.plan.meant(raw, o)
			if err != nil {
				v = unreadable(err)
			}
			m.out[o.slot] = v
		case opFixed:
			if int(o.n) > len(data)-at {
				return m.fail(pc, start, ErrTruncated)
			}
			end := at + int(o.n)
			v, err := m.plan.meant(data[at:end:end], o)
			if err != nil {
				v = unreadable(err)
			}
			m.out[o.slot], at = v, end
		case opEnum:
			var index int64
			if index, at = readInt(data, at); at < 0 {
				return m.fail(pc, start, varintError(at))
			}
			if uint64(index) >= uint64(o.n) {
				return m.fail(pc, start, ErrBadEnum)
			}
			symbol := m.plan.symbols[int(o.arg)+int(index)]
			m.out[o.slot] = change.Value{Kind: m.plan.placeholder.kind(symbol, change.String), Bytes: symbol}
		case opVariableDecimal:
			if at = m.variableDecimal(pc, at); at < 0 {
				return failed
			}
		case opRecord:
			m.out[o.slot] = change.Value{Kind: change.Nested}
		case opCopy:
			m.out[o.slot] = m.out[o.arg]
		case opNulls:
			for _, slot := range m.plan.slots[o.arg : o.arg+o.n] {
				m.out[slot] = change.Value{}
			}
		}
	}
}

// skipRun steps over scalars. It is where most of the time goes.
func (m *machine) skipRun(first, n int32, at int) int {
	data := m.data
	for i, s := range m.plan.steps[first : first+n] {
		start := at
		var err error
		if at >= len(data) {
			return m.failStep(first, i, at, ErrTruncated)
		}
		c := data[at]
		at++
		if s&stepOptional != 0 {
			if c > 2 || c == 1 {
				if c, at, err = oddIndex(data, start); err != nil {
					return m.failStep(first, i, start, err)
				}
				at++
			}
			if c == s&stepNull {
				continue
			}
			if at >= len(data) {
				return m.failStep(first, i, at, ErrTruncated)
			}
			c = data[at]
			at++
		}
		switch s &^ (stepOptional | stepNull) {
		case stepInt:
			if c < 0x80 {
				continue
			}
			if at < len(data) && data[at] < 0x80 {
				at++
				continue
			}
			at = skipLongVarint(data, at-1, 5)
		case stepLong:
			if c < 0x80 {
				continue
			}
			at = skipLongVarint(data, at-1, 10)
		case stepBytes:
			if c < 0x80 && c&1 == 0 && int(c>>1) <= len(data)-at {
				at += int(c >> 1)
				continue
			}
			at = skipBytes(data, at-1)
		case stepBool:
			if c > 1 {
				return m.failStep(first, i, start, ErrBadBool)
			}
		}
		if at < 0 {
			return m.failStep(first, i, start, varintError(at))
		}
	}
	return at
}

func (m *machine) failStep(first int32, i, at int, err error) int {
	m.failure, m.failedAt, m.failedPath = err, at, m.plan.stepWhere[int(first)+i]
	return failed
}

// oddIndex reads the index of a union of two branches that is not the one byte
// it should be: padded with zero groups, or wrong. It returns the index as it
// should be on the wire and the place of its last byte.
func oddIndex(data []byte, at int) (byte, int, error) {
	index, end := readLong(data, at)
	if end < 0 {
		return 0, at, varintError(end)
	}
	if index != 0 && index != 1 {
		return 0, at, ErrBadUnion
	}
	return byte(index) << 1, end - 1, nil
}

// skipBlocks steps over the blocks of an array or a map (Avro specification,
// "Arrays", "Maps"). Every item costs a byte or is not looked at, so a count
// costs no more time than the record has bytes.
func (m *machine) skipBlocks(pc int32, at, depth int) int {
	if depth > m.plan.limits.MaxDepth {
		return m.fail(pc, at, ErrTooDeep)
	}
	data, o := m.data, &m.plan.ops[pc]
	for total := int64(0); ; {
		start := at
		var count, size int64
		if count, at = readLong(data, at); at < 0 {
			return m.fail(pc, start, varintError(at))
		}
		if count == 0 {
			return at
		}
		end := failed
		if count < 0 {
			// The size of the block in bytes follows.
			if size, at = readLong(data, at); at < 0 {
				return m.fail(pc, start, varintError(at))
			}
			if uint64(size) > uint64(len(data)-at) {
				return m.fail(pc, start, lengthError(size))
			}
			end = at + int(size)
			if count = -count; count < 0 { // the smallest number has no opposite
				return m.fail(pc, start, ErrTooMany)
			}
		}
		if count > int64(m.plan.limits.MaxItems)-total {
			return m.fail(pc, start, ErrTooMany)
		}
		total += count
		if o.code == opSkipArray && o.arg == nothing {
			bytes := count * int64(o.n)
			if bytes > int64(len(data)-at) {
				return m.fail(pc, start, ErrTruncated)
			}
			at += int(bytes)
			count = 0
		}
		for ; count > 0; count-- {
			if o.code == opSkipMap {
				before := at
				if at = skipBytes(data, at); at < 0 {
					return m.fail(pc, before, varintError(at))
				}
			}
			if o.arg != nothing {
				if at = m.run(o.arg, at, depth); at < 0 {
					return failed
				}
				continue
			}
			if int(o.n) > len(data)-at {
				return m.fail(pc, at, ErrTruncated)
			}
			at += int(o.n)
		}
		if end != failed && at != end {
			return m.fail(pc, start, ErrBadLength)
		}
	}
}

func (m *machine) variableDecimal(pc int32, at int) int {
	o, data, start := &m.plan.ops[pc], m.data, at
	var scale, size int64
	if o.n == 0 {
		if scale, at = readInt(data, at); at < 0 {
			return m.fail(pc, start, varintError(at))
		}
	}
	if size, at = readLong(data, at); at < 0 {
		return m.fail(pc, start, varintError(at))
	}
	if uint64(size) > uint64(len(data)-at) {
		return m.fail(pc, start, lengthError(size))
	}
	end := at + int(size)
	raw := data[at:end:end]
	at = end
	if o.n == 1 {
		if scale, at = readInt(data, at); at < 0 {
			return m.fail(pc, end, varintError(at))
		}
	}
	v, err := m.plan.decimalOf(raw, int32(scale))
	if err != nil {
		v = unreadable(err)
	}
	m.out[o.slot] = v
	return at
}
