package chfront_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/shopspring/decimal"
)

// every is a row with each type the project's tables may use.
type every struct {
	ID       uint64              `ch:"id"`
	I8       int8                `ch:"i8"`
	I64      int64               `ch:"i64"`
	U16      uint16              `ch:"u16"`
	F64      float64             `ch:"f64"`
	Amount   decimal.Decimal     `ch:"amount"`
	MaybeAmt *decimal.Decimal    `ch:"maybe_amt"`
	Text     string              `ch:"text"`
	Maybe    *string             `ch:"maybe"`
	Micros   time.Time           `ch:"micros"`
	MaybeAt  *time.Time          `ch:"maybe_at"`
	Day      time.Time           `ch:"day"`
	Day32    time.Time           `ch:"day32"`
	Tags     []string            `ch:"tags"`
	Pairs    [][]any             `ch:"pairs"`
	LineName []string            `ch:"lines.name"`
	LineQty  []uint32            `ch:"lines.qty"`
	Low      string              `ch:"low"`
	LowMaybe *string             `ch:"low_maybe"`
	LowTags  []string            `ch:"low_tags"`
	Key      uuid.UUID           `ch:"key"`
	Flag     bool                `ch:"flag"`
	Kind     string              `ch:"kind"`
	Labels   map[string]string   `ch:"labels"`
	Deep     map[string][]string `ch:"deep"`
	Fixed    string              `ch:"fixed"`
}

const everyColumns = `(id UInt64, i8 Int8, i64 Int64, u16 UInt16, f64 Float64, amount Decimal(38,9), maybe_amt Nullable(Decimal(38,9)),
	text String, maybe Nullable(String), micros DateTime64(6,'UTC'), maybe_at Nullable(DateTime64(6,'UTC')), day Date, day32 Date32,
	tags Array(String), pairs Array(Tuple(name String, n Int32)), lines Nested(name String, qty UInt32), low LowCardinality(String),
	low_maybe LowCardinality(Nullable(String)), low_tags Array(LowCardinality(String)), key UUID, flag Bool, kind Enum8('a b' = 1, 'c-d' = -2),
	labels Map(String, String), deep Map(LowCardinality(String), Array(String)), fixed FixedString(4)) ENGINE = MergeTree ORDER BY id`

func sample() []every {
	text, at := "zero\x00and 'quote' \\ é", time.Date(2026, 2, 3, 4, 5, 6, 789012000, time.UTC)
	amount := decimal.RequireFromString("-12345678901234567890.123456789")
	day := time.Date(2026, 2, 3, 0, 0, 0, 0, time.UTC)
	full := every{
		ID: 1, I8: -7, I64: -1 << 62, U16: 65535, F64: 1.5, Amount: amount, MaybeAmt: &amount, Text: text, Maybe: &text, Micros: at, MaybeAt: &at,
		Day: day, Day32: time.Date(1950, 1, 2, 0, 0, 0, 0, time.UTC), Tags: []string{"", text}, Pairs: [][]any{{"x", int32(-1)}, {"", int32(2)}},
		LineName: []string{"n"}, LineQty: []uint32{9}, Low: "red", LowMaybe: &text, LowTags: []string{"p", "p", "q"},
		Key: uuid.MustParse("01234567-89ab-cdef-0123-456789abcdef"), Flag: true, Kind: "c-d", Labels: map[string]string{"k": "v", "": text},
		Deep: map[string][]string{"a": {"b", ""}}, Fixed: "abcd",
	}
	empty := every{
		ID: 2, Micros: time.Unix(0, 0).UTC(), Day: time.Unix(0, 0).UTC(), Day32: time.Unix(0, 0).UTC(), Tags: []string{}, Pairs: [][]any{},
		LineName: []string{}, LineQty: []uint32{}, LowTags: []string{}, Kind: "a b", Labels: map[string]string{}, Deep: map[string][]string{},
		Fixed: "\x00\x00\x00\x00", Amount: decimal.New(0, -9),
	}
	return []every{full, empty}
}

var compareDecimals = cmp.Comparer(func(a, b decimal.Decimal) bool { return a.Equal(b) })

func TestTypesRoundTrip(t *testing.T) {
	for name, method := range map[string]clickhouse.CompressionMethod{
		"none": clickhouse.CompressionNone, "lz4": clickhouse.CompressionLZ4, "zstd": clickhouse.CompressionZSTD, "gzip": clickhouse.CompressionGZIP,
	} {
		t.Run(name, func(t *testing.T) {
			conn := connect(t, server.addr, compressed(method))
			if name == "gzip" {
				conn = connect(t, server.addr, compressed(method), func(o *clickhouse.Options) {
					o.Settings = clickhouse.Settings{"enable_http_compression": 1}
					o.Compression.Level = 1
				})
			}
			table(t, conn, "every_"+name, everyColumns)
			batch, err := conn.PrepareBatch(t.Context(), "INSERT INTO every_"+name)
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range sample() {
				if err := batch.AppendStruct(&row); err != nil {
					t.Fatal(err)
				}
			}
			if err := batch.Send(); err != nil {
				t.Fatal(err)
			}
			var got []every
			if err := conn.Select(t.Context(), &got, "SELECT * EXCEPT pairs, arrayMap(p -> p, pairs) AS pairs FROM every_"+name+" ORDER BY id"); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(sample(), got, compareDecimals); diff != "" {
				t.Errorf("rows differ (-sent +read):\n%s", diff)
			}
			// What the client believes it wrote must be what the engine holds.
			var held string
			if err := conn.QueryRow(t.Context(), "SELECT toString(tuple(amount, micros, low_tags, kind, labels, key, pairs)) FROM every_"+name+" WHERE id = 1").Scan(&held); err != nil {
				t.Fatal(err)
			}
			for _, part := range []string{"-12345678901234567890.123456789", "2026-02-03 04:05:06.789012", "['p','p','q']", "01234567-89ab-cdef-0123-456789abcdef", "('x',-1)"} {
				if !strings.Contains(held, part) {
					t.Errorf("engine holds %s, without %s", held, part)
				}
			}
		})
	}
}

func TestManyBlocksAndColumnar(t *testing.T) {
	conn := connect(t, server.addr)
	table(t, conn, "columnar", "(id UInt64, name String, low LowCardinality(String)) ENGINE = MergeTree ORDER BY id")
	const rows = 300_000
	ids, names, low := make([]uint64, rows), make([]string, rows), make([]string, rows)
	for i := range rows {
		ids[i], names[i], low[i] = uint64(i), strings.Repeat("x", i%50), string(rune('a'+i%26))
	}
	batch, err := conn.PrepareBatch(t.Context(), "INSERT INTO columnar (id, name, low)")
	if err != nil {
		t.Fatal(err)
	}
	for i, column := range []any{ids, names, low} {
		if err := batch.Column(i).Append(column); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Send(); err != nil {
		t.Fatal(err)
	}
	found, err := conn.Query(t.Context(), "SELECT id, name, low FROM columnar ORDER BY id SETTINGS max_block_size = 1000")
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	n := 0
	for ; found.Next(); n++ {
		var id uint64
		var name, letter string
		if err := found.Scan(&id, &name, &letter); err != nil {
			t.Fatal(err)
		}
		if id != ids[n] || name != names[n] || letter != low[n] {
			t.Fatalf("row %d is (%d, %q, %q), want (%d, %q, %q)", n, id, name, letter, ids[n], names[n], low[n])
		}
	}
	if err := found.Err(); err != nil || n != rows {
		t.Fatalf("read %d of %d rows: %v", n, rows, err)
	}
}

func TestEmptyResultKeepsItsColumns(t *testing.T) {
	conn := connect(t, server.addr)
	found, err := conn.Query(t.Context(), "SELECT number AS n, toLowCardinality(toString(number)) AS low FROM numbers(10) WHERE number > 100")
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	if found.Next() {
		t.Error("a row came out of an empty result")
	}
	if diff := cmp.Diff([]string{"n", "low"}, found.Columns()); diff != "" {
		t.Errorf("columns differ (-want +got):\n%s", diff)
	}
}
