package pipelines_test

import (
	"flag"
	"fmt"
	"maps"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"syncline/pipelines"
	"syncline/pipelines/catalog"
	"syncline/processors/intake"
	"syncline/schemas/change"
	"syncline/schemas/projection"
	sink "syncline/sinks/clickhouse"
)

var hostileSeeds = flag.Int("hostile.seeds", 8, "rounds of hostile values for each catalog")

// variant is a way of writing a column, with values that no step may stumble
// over. Those of rules that refuse them come out as letters.
type variant struct {
	avro   string
	values []any
}

func debeziumType(base, name string) string {
	return fmt.Sprintf(`{"type":%q,"connect.name":"io.debezium.%s"}`, base, name)
}

var (
	longs = []any{int64(0), int64(1), int64(-1), int64(math.MinInt64), int64(math.MaxInt64), int64(900)}
	times = []any{
		int64(0), int64(-1), int64(math.MinInt64), int64(math.MaxInt64), int64(-9223372036832400000), int64(9223372036825200000), // infinities of PostgreSQL
		int64(-62135596800000000), int64(568971820800000000), int64(-2208988800000001), int64(9214646400000000), int64(1_790_000_000_000_000), // year 1, 20000, the bounds
	}
	texts = []any{
		"", "0", " ", "a/b", "\x00", "a\x00b", "\xff\xfe", "NaN", "-infinity", "infinity", "0001-01-01T00:00:00Z", "9999-12-31", "+292278994-08-16T23:00:00Z", "2026-11-22T10:00:00Z",
		"1e400", "0.0000123456", strings.Repeat("9", 60), strings.Repeat("x", 700), strings.Repeat("ü", 40_000), strings.Repeat("long ", 12_999), "sale.opportunity,1", "sale.opportunity,", "CRM-900", "C#900", "true", "null", "900",
		"__debezium_unavailable_value",
	}
	unscaled = []any{
		[]byte{},
		[]byte{0},
		[]byte{0xff},
		[]byte{0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		slices.Repeat([]byte{0x7f}, 16), slices.Repeat([]byte{0x80}, 16), slices.Repeat([]byte{0x7f}, 40),
		new(big.Int).Exp(big.NewInt(10), big.NewInt(37), nil).Bytes(), []byte("__debezium_unavailable_value"),
	}
	variants = []variant{
		{`"string"`, texts},
		{`"long"`, longs},
		{`"int"`, []any{0, 1, -1, math.MinInt32, math.MaxInt32, 900}},
		{`"boolean"`, []any{true, false}},
		{`"double"`, []any{0.0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64, 0.30000000000000004, 1e14, 12.5}},
		{`"float"`, []any{float32(0.1), float32(math.NaN()), float32(math.MaxFloat32), float32(math.SmallestNonzeroFloat32), float32(math.Inf(-1))}},
		{debeziumType("int", "time.Date"), []any{0, math.MinInt32, math.MaxInt32, -719162, -25568, -25567, 120529, 120530, 20779}},
		{debeziumType("long", "time.Timestamp"), append([]any{int64(1_790_000_000_000), int64(-62135596800000)}, times...)},
		{debeziumType("long", "time.MicroTimestamp"), times},
		{debeziumType("long", "time.NanoTimestamp"), times},
		{debeziumType("int", "time.Time"), []any{0, -1, math.MaxInt32}},
		{debeziumType("long", "time.MicroTime"), longs},
		{debeziumType("string", "time.ZonedTimestamp"), texts},
		{debeziumType("string", "time.ZonedTime"), texts},
		{`{"type":"int","logicalType":"date"}`, []any{0, math.MinInt32, math.MaxInt32, 20779}},
		{`{"type":"long","connect.name":"org.apache.kafka.connect.data.Timestamp"}`, times},
		{`{"type":"bytes","connect.name":"org.apache.kafka.connect.data.Decimal","connect.parameters":{"scale":"2"}}`, unscaled},
		{`{"type":"bytes","connect.name":"org.apache.kafka.connect.data.Decimal","connect.parameters":{"scale":"30"}}`, unscaled},
		{`{"type":"bytes","connect.name":"org.apache.kafka.connect.data.Decimal","connect.parameters":{"scale":"-9"}}`, unscaled},
	}
)

// forKey are the variants that a primary key may have.
func (v variant) forKey() bool {
	return v.avro == `"string"` || v.avro == `"long"` || v.avro == `"int"`
}

// benign is a value with which a row can be shown, and the type to write it in.
func benign(src *intake.Source, column string) (string, any) {
	for i := range src.Fields {
		f := &src.Fields[i]
		if !slices.Contains(f.Columns, column) {
			continue
		}
		switch {
		case f.Map != nil:
			return `"string"`, slices.Sorted(maps.Keys(f.Map))[0]
		case f.Model != "":
			return `"string"`, f.Model + ",4242"
		}
	}
	for _, v := range variants { // the first in which the schema can be read
		if schema, err := projection.Parse(envelopeOf(map[string]string{column: v.avro})); err == nil && misfits(src, schema, column) == "" {
			switch v.avro {
			case `"string"`:
				return v.avro, "4242"
			case `"long"`:
				return v.avro, int64(4242)
			case `"boolean"`:
				return v.avro, true
			}
		}
	}
	return debeziumType("long", "time.MicroTimestamp"), int64(1_790_000_000_000_000)
}

// misfits says why a column of this schema would make its table wait.
func misfits(src *intake.Source, schema *projection.Schema, column string) string {
	for _, m := range src.Misfits(schema) {
		if m.Column == column {
			return m.What
		}
	}
	return ""
}

func columnsOfSource(src *intake.Source) []string {
	var list []string
	for _, f := range src.Want() {
		if c, ok := strings.CutPrefix(f.Path, "after."); ok {
			list = append(list, c)
		}
	}
	return list
}

// hostileRound feeds every table of a catalog rows of which any column may hold
// anything, in types drawn from those that the table does not wait for, and
// beside them one whole business under the id 4242.
func hostileRound(t *testing.T, file string, seed uint64) *world {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0xbad)) //nolint:gosec // a reproducible order
	c, err := catalog.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	sources, err := c.Sources()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorldOn(t, file, &memorySchemas{hide: map[int]bool{}}, seed)
	w.driver.Aborts, w.driver.Crashes = 0.1, 0.02
	type story struct {
		tb     *wire
		src    *intake.Source
		values map[string][]any
	}
	var stories []story
	for _, src := range sources {
		types, good, values := map[string]string{}, map[string]any{}, map[string][]any{}
		for _, column := range columnsOfSource(src) {
			types[column], good[column] = benign(src, column)
		}
		newWire(t, w, src.Topic, src.Key, types).tell(t, "r", good)
		newWire(t, w, src.Topic, src.Key, types).tell(t, "c", good)
		for _, column := range columnsOfSource(src) {
			var fit []variant
			for _, v := range variants {
				schema, err := projection.Parse(envelopeOf(map[string]string{column: v.avro}))
				if err != nil {
					t.Fatal(err)
				}
				if misfits(src, schema, column) == "" && (v.forKey() || !slices.Contains(src.Key, column)) {
					fit = append(fit, v)
				}
			}
			v := fit[random.IntN(len(fit))]
			values[column] = v.values
			if v.avro == types[column] && !slices.Contains(src.Key, column) {
				values[column] = append(slices.Clone(v.values), good[column])
			}
			types[column] = v.avro
		}
		stories = append(stories, story{newWire(t, w, src.Topic, src.Key, types), src, values})
	}
	for range 40 {
		for _, s := range stories {
			row := map[string]any{}
			for column, values := range s.values {
				if random.IntN(8) > 0 || slices.Contains(s.src.Key, column) {
					row[column] = values[random.IntN(len(values))]
				}
			}
			if random.IntN(10) == 0 {
				s.tb.micros = times[random.IntN(len(times))].(int64)
			}
			if random.IntN(10) == 0 {
				s.tb.timestamp = longs[random.IntN(len(longs))].(int64)
			}
			s.tb.tell(t, []string{"c", "u", "u", "r", "r", "d"}[random.IntN(6)], row)
		}
	}
	w.run(t)
	for _, v := range w.driver.Waits() {
		t.Errorf("waits: %s: %v", v.Reason, v.Err)
	}
	return w
}

// No value may stop a step or keep others from being shown, whatever the column
// that it stands in, and what comes out goes into ClickHouse.
func TestHostileValues(t *testing.T) {
	for _, file := range []string{"catalog/company.yaml", "catalog/tryton.yaml"} {
		t.Run(strings.TrimSuffix(file[len("catalog/"):], ".yaml"), func(t *testing.T) {
			var last *world
			letters := 0
			for i := range *hostileSeeds {
				last = hostileRound(t, file, uint64(i)) //nolint:gosec // a small count
				rows := last.rows(t)
				letters += len(rows["letter"])
				for _, entity := range []string{"identity_link", "product", "opportunity", "order", "subscription", "invoice", "deal"} {
					shown := slices.ContainsFunc(rows[entity], func(r textRow) bool { return r["native_id"] == "4242" || strings.HasSuffix(r["native_id"], ":4242") })
					if !shown {
						t.Errorf("seed %d: no %s 4242 among %d", i, entity, len(rows[entity]))
					}
				}
				if t.Failed() {
					t.Fatalf("again: go test ./pipelines -run TestHostileValues -hostile.seeds %d", i+1)
				}
			}
			if letters == 0 {
				t.Error("nothing was refused: the values are not hostile")
			}
			intoClickHouse(t, last, strings.ReplaceAll(t.Name(), "/", "_"))
		})
	}
}

func intoClickHouse(t *testing.T, w *world, database string) {
	t.Helper()
	clickHouse(t)
	s, err := sink.Open(sink.Options{Topic: pipelines.DefaultNames().Record, Addresses: []string{engine.addr}, Database: database, Compression: sink.None}, w.schemas)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, topic := range w.spine.Delivered {
		for p, log := range w.driver.Log(topic) {
			part := change.Part{Partition: int32(p), Last: int64(len(log)) - 1} //nolint:gosec // a partition
			for _, m := range log {
				part.Records = append(part.Records, change.Record{Offset: m.Offset, Timestamp: m.Timestamp, Key: m.Key, Value: m.Value})
			}
			if len(log) == 0 {
				continue
			}
			if err := s.Write(t.Context(), change.Batch{Topic: topic, Parts: []change.Part{part}}); err != nil {
				t.Errorf("%s: %v", topic, err)
			}
		}
	}
}
