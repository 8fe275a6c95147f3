package clickhouse

import (
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/shopspring/decimal"

	"syncline/schemas/canonical"
)

// What the columns can show. A server takes other values too and shows a wrong
// time for them; the client counts nanoseconds in 64 bits on the way, so a time
// after April 2262 would come out some centuries early.
const (
	minMicros = canonical.FirstMicros
	endMicros = canonical.EndMicros
	minDay    = canonical.FirstDay
	endDay    = canonical.EndDay
)

// row is a decoded record and its place.
type row[R any] struct {
	rec                            R
	topicID                        string
	partition                      int32
	first, last, offset, timestamp int64
}

// column is one column of a table and of its inserts: its name, its type in
// ClickHouse, what it means, and how it is filled from rows. fill may keep
// memory from one call to the next, so a column serves one insert at a time. A
// column of another type in the server's table is converted by the server.
type column[R any] struct {
	name, kind, doc string
	missing         string // what rows of before the column show, in SQL; "" for the type's default
	fill            func(to driver.BatchColumn, rows []row[R]) error
}

// or says what rows show that were written before the table had the column.
func (c column[R]) or(missing string) column[R] {
	c.missing = missing
	return c
}

// placed makes a column of what is known about a record besides itself.
func placed[R, T any](name, kind, doc string, get func(*row[R]) T) column[R] {
	var vals []T
	return column[R]{name: name, kind: kind, doc: doc, fill: func(to driver.BatchColumn, rows []row[R]) error {
		vals = vals[:0]
		for i := range rows {
			vals = append(vals, get(&rows[i]))
		}
		err := to.Append(vals)
		clear(vals) // they point into records that are not ours
		return err
	}}
}

// plain makes a column whose values the client takes as they are.
func plain[R, T any](name, kind, doc string, get func(*R) T) column[R] {
	return placed(name, kind, doc, func(r *row[R]) T { return get(&r.rec) })
}

// converted makes a column of values that the client does not take as they are.
// convert sets a value, or returns false for NULL.
func converted[R, V, T any](name, kind, doc string, get func(*R) V, convert func(*T, V) (bool, error)) column[R] {
	var (
		vals []*T
		room []T
	)
	return column[R]{name: name, kind: kind, doc: doc, fill: func(to driver.BatchColumn, rows []row[R]) error {
		vals = vals[:0]
		room = slices.Grow(room[:0], len(rows))[:len(rows)]
		for i := range rows {
			ok, err := convert(&room[i], get(&rows[i].rec))
			switch {
			case err != nil:
				return fmt.Errorf("record at partition %d offset %d: %w", rows[i].partition, rows[i].offset, err)
			case ok:
				vals = append(vals, &room[i])
			default:
				vals = append(vals, nil)
			}
		}
		err := to.Append(vals)
		clear(vals)
		return err
	}}
}

// list makes one column of a nested table: field of each item of the list that
// items returns. The client takes arrays fastest row by row.
func list[R, I, T any](name, kind, doc string, items func(*R) []I, field func(*I) T) column[R] {
	return column[R]{name: name, kind: kind, doc: doc, fill: func(to driver.BatchColumn, rows []row[R]) error {
		for i := range rows {
			in := items(&rows[i].rec)
			out := make([]T, len(in))
			for j := range in {
				out[j] = field(&in[j])
			}
			if err := to.AppendRow(out); err != nil {
				return err
			}
		}
		return nil
	}}
}

// convertedList is list for values that need converting.
func convertedList[R, I, V, T any](name, kind, doc string, items func(*R) []I, field func(*I) V, convert func(*T, V) (bool, error)) column[R] {
	return column[R]{name: name, kind: kind, doc: doc, fill: func(to driver.BatchColumn, rows []row[R]) error {
		for i := range rows {
			in := items(&rows[i].rec)
			room := make([]T, len(in))
			out := make([]*T, len(in))
			for j := range in {
				ok, err := convert(&room[j], field(&in[j]))
				if err != nil {
					return fmt.Errorf("record at partition %d offset %d: %w", rows[i].partition, rows[i].offset, err)
				}
				if ok {
					out[j] = &room[j]
				}
			}
			if err := to.AppendRow(out); err != nil {
				return err
			}
		}
		return nil
	}}
}

// texts makes a column of lists of texts.
func texts[R any](name, kind, doc string, get func(*R) []string) column[R] {
	return column[R]{name: name, kind: kind, doc: doc, fill: func(to driver.BatchColumn, rows []row[R]) error {
		for i := range rows {
			v := get(&rows[i].rec)
			if v == nil {
				v = []string{}
			}
			if err := to.AppendRow(v); err != nil {
				return err
			}
		}
		return nil
	}}
}

// instant converts microseconds. The client takes bare numbers for
// milliseconds, so it gets times.
func instant(to *time.Time, micros *int64) (bool, error) {
	switch {
	case micros == nil:
		return false, nil
	case *micros < minMicros || *micros >= endMicros:
		return false, fmt.Errorf("time of %d microseconds is outside the years 1900 to 2261", *micros)
	}
	*to = time.UnixMicro(*micros).UTC()
	return true, nil
}

// stamp converts a record's time in milliseconds. It is whatever its producer
// said, and a letter must not be refused for it.
func stamp(to *time.Time, millis int64) (bool, error) {
	*to = time.UnixMilli(min(max(millis, minMicros/1000), endMicros/1000-1)).UTC()
	return true, nil
}

// day converts days.
func day(to *time.Time, days *int32) (bool, error) {
	switch {
	case days == nil:
		return false, nil
	case *days < minDay || *days >= endDay:
		return false, fmt.Errorf("day %d is outside the years 1900 to 2299", *days)
	}
	*to = time.Unix(int64(*days)*86400, 0).UTC()
	return true, nil
}

// raw converts bytes.
func raw(to *string, b *[]byte) (bool, error) {
	if b == nil {
		return false, nil
	}
	*to = string(*b)
	return true, nil
}

// amount converts an amount.
func amount(to *decimal.Decimal, d canonical.Decimal) (bool, error) {
	switch {
	case len(d) == 0:
		return false, nil
	case len(d) <= 8:
		n := int64(int8(d[0]))
		for _, b := range d[1:] {
			n = n<<8 | int64(b)
		}
		*to = decimal.New(n, -canonical.DecimalScale)
		return true, nil
	case len(d) > 16:
		return false, fmt.Errorf("amount of %d bytes: Decimal(38, 9) has 16", len(d))
	}
	n, _ := d.Int()
	if n.CmpAbs(limit()) >= 0 {
		return false, fmt.Errorf("amount %s: Decimal(38, 9) has 38 digits", d)
	}
	*to = decimal.NewFromBigInt(n, -canonical.DecimalScale)
	return true, nil
}

func limit() *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(canonical.DecimalPrecision), nil)
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func bit(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// places are the columns that every table ends with: where a row came from and
// the range of offsets it came with.
func places[R any](topic string) []column[R] {
	return []column[R]{
		placed("_topic", "LowCardinality(String)", "topic that the row came from", func(*row[R]) string { return topic }),
		placed("_topic_id", "LowCardinality(String)", "id of that topic as Kafka's tools show it: of a topic made anew it is another; empty on rows of before it was recorded", func(r *row[R]) string { return r.topicID }),
		placed("_partition", "Int32", "partition that the row came from", func(r *row[R]) int32 { return r.partition }),
		placed("_first", "Int64", "first offset of the range that its insert settled", func(r *row[R]) int64 { return r.first }),
		placed("_last", "Int64", "last offset of the range that its insert settled; the sink goes on behind the greatest", func(r *row[R]) int64 { return r.last }),
		placed("_offset", "Int64", "offset of the row's own record", func(r *row[R]) int64 { return r.offset }),
	}
}
