package company

import (
	"encoding/binary"
	"math"
	"strconv"
	"time"
)

// colKind is how a column is encoded: as many ways as Debezium has.
type colKind uint8

const (
	colLong colKind = iota
	colInt
	colText
	colEnum           // io.debezium.data.Enum: text
	colBool           // i is 0 or 1
	colDecimal        // Avro decimal on bytes; i is unscaled
	colConnectDecimal // the same as Connect's converter writes it
	colDouble         // i is in thousandths
	colDate           // Avro date
	colEpochDate      // io.debezium.time.Date
	colZoned          // io.debezium.time.ZonedTimestamp; i in microseconds
	colMicros         // timestamp-micros
	colMicroTimestamp // io.debezium.time.MicroTimestamp
	colUUID           // io.debezium.data.Uuid: text
	colJSON           // io.debezium.data.Json: text
)

type column struct {
	name             string
	kind             colKind
	null             bool // ["null", T]
	precision, scale int
	words            []string
	toast            bool // long values are left out of updates that do not touch them
	later            bool // added in mid-stream, as [T, "null"] with dflt as default
	dflt             val
}

// val is the value of a column: s for text, i for everything else.
type val struct {
	s    string
	i    int64
	null bool
}

const (
	placeholder = "__debezium_unavailable_value"
	toastBytes  = 2000
	zeroUUID    = "00000000-0000-0000-0000-000000000000"
	zonedForm   = "2006-01-02T15:04:05.000000Z"
)

func appendLong(b []byte, n int64) []byte { return binary.AppendVarint(b, n) }

func (c *column) append(b []byte, v val) []byte {
	switch {
	case c.later && v.null:
		return append(b, 2)
	case c.later:
		b = append(b, 0)
	case c.null && v.null:
		return append(b, 0)
	case c.null:
		b = append(b, 2)
	}
	switch c.kind {
	case colText, colEnum, colUUID, colJSON:
		return appendText(b, v.s)
	case colBool:
		return append(b, byte(v.i))
	case colDecimal, colConnectDecimal:
		return appendDecimal(b, v.i)
	case colDouble:
		return binary.LittleEndian.AppendUint64(b, math.Float64bits(float64(v.i)/1000))
	case colZoned:
		b = appendLong(b, int64(len(zonedForm)))
		return time.UnixMicro(v.i).UTC().AppendFormat(b, zonedForm)
	default:
		return appendLong(b, v.i)
	}
}

// zero is what Debezium puts into a delete's before for a column that the
// replica identity does not hold.
func (c *column) zero() val {
	switch {
	case c.later:
		return c.dflt
	case c.null:
		return val{null: true}
	case c.kind == colUUID:
		return val{s: zeroUUID}
	case c.kind == colEnum:
		return val{s: c.words[0]}
	case c.kind == colJSON:
		return val{s: "{}"}
	default:
		return val{}
	}
}

// appendDecimal writes the unscaled number as the shortest two's complement,
// big-endian, with its length.
func appendDecimal(b []byte, n int64) []byte {
	size := 1
	for size < 8 && (n < -(1<<(8*size-1)) || n >= 1<<(8*size-1)) {
		size++
	}
	b = appendLong(b, int64(size))
	for i := size - 1; i >= 0; i-- {
		b = append(b, byte(n>>(8*i)))
	}
	return b
}

// appendRow writes a Value record. Of the version before the added columns
// those are missing.
func (t *table) appendRow(b []byte, vals []val, keepText bool) []byte {
	for i := range t.cols {
		c := &t.cols[i]
		if c.later && !t.added {
			continue
		}
		v := vals[i]
		if c.toast && keepText && len(v.s) > toastBytes {
			v.s = placeholder
		}
		b = c.append(b, v)
	}
	return b
}

// appendKeyOnly writes a Value record in which only the key is real.
func (t *table) appendKeyOnly(b []byte, vals []val) []byte {
	for i := range t.cols {
		c := &t.cols[i]
		if c.later && !t.added {
			continue
		}
		v := c.zero()
		for _, k := range t.keys {
			if k == i {
				v = vals[i]
			}
		}
		b = c.append(b, v)
	}
	return b
}

func (t *table) appendKey(b []byte, vals []val) []byte {
	for _, k := range t.keys {
		b = t.cols[k].append(b, vals[k])
	}
	return b
}

func frame(b []byte, id int) []byte {
	b = append(b, 0)
	return binary.BigEndian.AppendUint32(b, uint32(id))
}

func (t *table) valueSchema(ids []int) int {
	if t.added {
		return ids[t.schemas[laterSchema]]
	}
	return ids[t.schemas[valueSchema]]
}

// source is what the source and transaction blocks and the tail say.
type source struct {
	commit    int64 // microseconds
	snapshot  string
	lsn       int64
	txid      int64
	order     int64
	orderHere int64 // among the events of the table
	previous  int64 // LSN of the last commit
	op        byte
}

// appendBlocks writes everything after before and after but the tail.
func (t *table) appendBlocks(b []byte, s *source) []byte {
	sys := t.sys
	b = append(b, t.prefix...)
	b = appendLong(b, s.commit/1000)
	b = append(b, 0)
	b = appendText(b, s.snapshot)
	b = appendText(b, sys.database)
	b = append(b, 2)
	var seq [64]byte
	q := append(seq[:0], '[')
	if s.previous == 0 {
		q = append(q, "null"...)
	} else {
		q = append(q, '"')
		q = strconv.AppendInt(q, s.previous, 10)
		q = append(q, '"')
	}
	q = append(q, `,"`...)
	q = strconv.AppendInt(q, s.lsn, 10)
	q = append(q, `"]`...)
	b = appendLong(b, int64(len(q)))
	b = append(b, q...)
	if !sys.millis {
		b = append(b, 2)
		b = appendLong(b, s.commit)
		b = append(b, 2)
		b = appendLong(b, s.commit*1000)
	}
	b = appendText(b, sys.schema)
	b = appendText(b, t.name)
	b = append(b, 2)
	b = appendLong(b, s.txid)
	b = append(b, 2)
	b = appendLong(b, s.lsn)
	b = append(b, 0) // xmin
	if !sys.millis {
		b = append(b, 0, 0) // origin, origin_lsn
	}
	if !sys.blocks || s.op == 'r' {
		return append(b, 0)
	}
	b = append(b, 2)
	q = strconv.AppendInt(seq[:0], s.txid, 10)
	q = append(q, ':')
	q = strconv.AppendInt(q, s.lsn, 10)
	b = appendLong(b, int64(len(q)))
	b = append(b, q...)
	b = appendLong(b, s.order)
	return appendLong(b, s.orderHere)
}

// appendTail writes op and the connector's own times, all that a redelivery
// changes.
func (t *table) appendTail(b []byte, op byte, seen int64) []byte {
	b = append(b, 2, op, 2)
	b = appendLong(b, seen/1000)
	if !t.sys.millis {
		b = append(b, 2)
		b = appendLong(b, seen)
		b = append(b, 2)
		b = appendLong(b, seen*1000+137)
	}
	return b
}
