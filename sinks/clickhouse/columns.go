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

// The types of columns. A column of another type in the server's table is
// converted by the server.
const (
	typeText      = "String"
	typeWord      = "LowCardinality(String)"
	typeMaybeText = "Nullable(String)"
	typeTexts     = "Array(String)"
	typeInt       = "Int64"
	typeInt32     = "Int32"
	typeFlag      = "UInt8"
	typeBool      = "Bool"
	typeMaybeBool = "Nullable(Bool)"
	typeTime      = "Nullable(DateTime64(6, 'UTC'))"
	typeDate      = "Nullable(Date32)"
	typeMoney     = "Nullable(Decimal(38, 9))"
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

// column is one column of an insert: its name, its type and how it is filled
// from rows. fill may keep memory from one call to the next, so a column serves
// one insert at a time.
type column[R any] struct {
	name, kind string
	fill       func(to driver.BatchColumn, rows []row[R]) error
}

// plain makes a column whose values the client takes as they are.
func plain[R, T any](name, kind string, get func(*row[R]) T) column[R] {
	var vals []T
	return column[R]{name, kind, func(to driver.BatchColumn, rows []row[R]) error {
		vals = vals[:0]
		for i := range rows {
			vals = append(vals, get(&rows[i]))
		}
		err := to.Append(vals)
		clear(vals) // they point into records that are not ours
		return err
	}}
}

func text[R any](name string, get func(*R) string) column[R] {
	return plain(name, typeText, func(r *row[R]) string { return get(&r.rec) })
}

func word[R any](name string, get func(*R) string) column[R] {
	return plain(name, typeWord, func(r *row[R]) string { return get(&r.rec) })
}

func maybeText[R any](name string, get func(*R) *string) column[R] {
	return plain(name, typeMaybeText, func(r *row[R]) *string { return get(&r.rec) })
}

func flag[R any](name string, get func(*R) bool) column[R] {
	return plain(name, typeBool, func(r *row[R]) bool { return get(&r.rec) })
}

func maybeFlag[R any](name string, get func(*R) *bool) column[R] {
	return plain(name, typeMaybeBool, func(r *row[R]) *bool { return get(&r.rec) })
}

func integer[R any](name string, get func(*R) int64) column[R] {
	return plain(name, typeInt, func(r *row[R]) int64 { return get(&r.rec) })
}

// moment makes a column of times from microseconds.
func moment[R any](name string, get func(*R) *int64) column[R] {
	return timed(name, typeTime, func(r *R) (time.Time, bool, error) {
		v := get(r)
		switch {
		case v == nil:
			return time.Time{}, false, nil
		case *v < minMicros || *v >= endMicros:
			return time.Time{}, false, fmt.Errorf("time of %d microseconds is outside the years 1900 to 2261", *v)
		}
		return time.UnixMicro(*v).UTC(), true, nil
	})
}

// date makes a column of dates from days.
func date[R any](name string, get func(*R) *int32) column[R] {
	return timed(name, typeDate, func(r *R) (time.Time, bool, error) {
		v := get(r)
		switch {
		case v == nil:
			return time.Time{}, false, nil
		case *v < minDay || *v >= endDay:
			return time.Time{}, false, fmt.Errorf("day %d is outside the years 1900 to 2299", *v)
		}
		return time.Unix(int64(*v)*86400, 0).UTC(), true, nil
	})
}

// timed makes a column of times that may be NULL. The client takes bare numbers
// for milliseconds, so it gets times.
func timed[R any](name, kind string, get func(*R) (time.Time, bool, error)) column[R] {
	var (
		vals  []*time.Time
		times []time.Time
	)
	return column[R]{name, kind, func(to driver.BatchColumn, rows []row[R]) error {
		vals = vals[:0]
		times = slices.Grow(times[:0], len(rows))
		for i := range rows {
			v, ok, err := get(&rows[i].rec)
			if err != nil {
				return fmt.Errorf("record at partition %d offset %d: %w", rows[i].partition, rows[i].offset, err)
			}
			if !ok {
				vals = append(vals, nil)
				continue
			}
			times = append(times, v)
			vals = append(vals, &times[len(times)-1])
		}
		return to.Append(vals)
	}}
}

// money makes a column of amounts.
func money[R any](name string, get func(*R) canonical.Decimal) column[R] {
	var (
		vals    []*decimal.Decimal
		amounts []decimal.Decimal
	)
	return column[R]{name, typeMoney, func(to driver.BatchColumn, rows []row[R]) error {
		vals = vals[:0]
		amounts = slices.Grow(amounts[:0], len(rows))[:len(rows)]
		for i := range rows {
			ok, err := amount(&amounts[i], get(&rows[i].rec))
			if err != nil {
				return fmt.Errorf("record at partition %d offset %d: %w", rows[i].partition, rows[i].offset, err)
			}
			if !ok {
				vals = append(vals, nil)
				continue
			}
			vals = append(vals, &amounts[i])
		}
		err := to.Append(vals)
		clear(vals)
		return err
	}}
}

// amount sets to to d; false is NULL.
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

// list makes one column of a nested table: field of each item of the list that
// get returns. The client takes arrays fastest row by row.
func list[R, I, T any](name, kind string, items func(*R) []I, field func(*I) T) column[R] {
	return column[R]{name, "Array(" + kind + ")", func(to driver.BatchColumn, rows []row[R]) error {
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

// moneyList is list for amounts.
func moneyList[R, I any](name string, items func(*R) []I, field func(*I) canonical.Decimal) column[R] {
	return column[R]{name, "Array(" + typeMoney + ")", func(to driver.BatchColumn, rows []row[R]) error {
		for i := range rows {
			in := items(&rows[i].rec)
			amounts := make([]decimal.Decimal, len(in))
			out := make([]*decimal.Decimal, len(in))
			for j := range in {
				ok, err := amount(&amounts[j], field(&in[j]))
				if err != nil {
					return fmt.Errorf("record at partition %d offset %d: %w", rows[i].partition, rows[i].offset, err)
				}
				if ok {
					out[j] = &amounts[j]
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
func texts[R any](name string, get func(*R) []string) column[R] {
	return column[R]{name, typeTexts, func(to driver.BatchColumn, rows []row[R]) error {
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

// places are the columns that every table ends with: where a row came from and
// the range of offsets it came with.
func places[R any](topic string) []column[R] {
	return []column[R]{
		plain("_topic", typeWord, func(*row[R]) string { return topic }),
		plain("_topic_id", typeWord, func(r *row[R]) string { return r.topicID }),
		plain("_partition", typeInt32, func(r *row[R]) int32 { return r.partition }),
		plain("_first", typeInt, func(r *row[R]) int64 { return r.first }),
		plain("_last", typeInt, func(r *row[R]) int64 { return r.last }),
		plain("_offset", typeInt, func(r *row[R]) int64 { return r.offset }),
	}
}
