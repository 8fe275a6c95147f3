package change

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"
)

// The stored form of rows and documents: a format byte, then varints and
// length-prefixed bytes. It is read back only from topics and state that the
// pipelines wrote themselves, and still checks every bound.

var errCorrupt = errors.New("the bytes end too early or hold an impossible length")

// maxCount bounds the number of fields or rows of one stored record.
const maxCount = 1 << 20

func appendUvarint(b []byte, n uint64) []byte { return binary.AppendUvarint(b, n) }

func appendVarint(b []byte, n int64) []byte { return binary.AppendVarint(b, n) }

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendBytes(b, v []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

func appendPosition(b []byte, p Position) []byte {
	streamed := uint64(0)
	if p.Streamed {
		streamed = 1
	}
	b = binary.AppendUvarint(b, uint64(p.Epoch)<<1|streamed)
	b = binary.AppendVarint(b, p.LSN)
	return binary.AppendVarint(b, p.Order)
}

func appendInstant(b []byte, i Instant) []byte {
	approximate := byte(0)
	if i.Approximate {
		approximate = 1
	}
	b = append(b, approximate)
	return binary.AppendVarint(b, i.Micros)
}

func appendValue(b []byte, v Value) []byte {
	b = append(b, byte(v.Kind))
	switch v.Kind {
	case Null, Missing, Unavailable, Nested:
		return b
	case String, Bytes:
		return appendBytes(b, v.Bytes)
	case Decimal:
		b = binary.AppendVarint(b, int64(v.Scale))
		b = binary.AppendVarint(b, v.Int)
		return appendBytes(b, v.Bytes)
	default:
		return binary.AppendVarint(b, v.Int)
	}
}

// decoder reads a stored form; after the first error every read gives zero.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail() {
	if d.err == nil {
		d.err = errCorrupt
	}
	d.b = nil
}

func (d *decoder) finish(what string) error {
	if d.err == nil && len(d.b) > 0 {
		d.err = fmt.Errorf("%d bytes are left over", len(d.b))
	}
	if d.err != nil {
		return fmt.Errorf("decoding stored %s: %w", what, d.err)
	}
	return nil
}

func (d *decoder) format(want byte) {
	if got := d.byte(); d.err == nil && got != want {
		d.err = fmt.Errorf("format %d, this version reads %d", got, want)
		d.b = nil
	}
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) uvarint() uint64 {
	n, w := binary.Uvarint(d.b)
	if w <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[w:]
	return n
}

func (d *decoder) varint() int64 {
	n, w := binary.Varint(d.b)
	if w <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[w:]
	return n
}

func (d *decoder) count() int {
	n := d.uvarint()
	if n > maxCount || n > uint64(len(d.b)) { // every item takes a byte or more
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

// string is a view like any value: stored forms are never changed in place.
func (d *decoder) string() string {
	b := d.bytes()
	return unsafe.String(unsafe.SliceData(b), len(b))
}

func (d *decoder) position() Position {
	e := d.uvarint()
	return Position{Epoch: uint32(e >> 1), Streamed: e&1 != 0, LSN: d.varint(), Order: d.varint()} //nolint:gosec // written from a uint32
}

func (d *decoder) instant() Instant {
	approximate := d.byte() != 0
	return Instant{Micros: d.varint(), Approximate: approximate}
}

func (d *decoder) value() Value {
	v := Value{Kind: Kind(d.byte())}
	switch v.Kind {
	case Null, Missing, Unavailable, Nested:
	case String, Bytes:
		v.Bytes = d.bytes()
	case Decimal:
		v.Scale = int32(d.varint()) //nolint:gosec // written from an int32
		v.Int = d.varint()
		if b := d.bytes(); len(b) > 0 {
			v.Bytes = b
		}
	case Bool, Int, Double, Date, Timestamp, Duration:
		v.Int = d.varint()
	default:
		d.fail()
	}
	return v
}
