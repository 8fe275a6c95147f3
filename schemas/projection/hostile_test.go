package projection_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"syncline/schemas/change"
	"syncline/schemas/projection"
)

func mustCompile(tb testing.TB, schema string, limits projection.Limits, paths ...string) *projection.Plan {
	tb.Helper()
	plan, err := projection.Compile(schema, wantAll(paths), limits)
	if err != nil {
		tb.Fatal(err)
	}
	return plan
}

func zigzag(xs ...int64) []byte {
	var b []byte
	for _, x := range xs {
		b = binary.AppendVarint(b, x)
	}
	return b
}

// record wraps a type as field "x" in front of a wanted field "y".
func record(typ string) string {
	return `{"type":"record","name":"R","fields":[{"name":"x","type":` + typ + `},{"name":"y","type":"int"}]}`
}

// hostile are inputs that make other decoders hang, take gigabytes, die or say
// yes. want empty: x is stepped over. The last byte of a valid record would be
// y.
var hostile = []struct {
	name   string
	schema string
	want   []string
	data   []byte
	err    error
}{
	{"array, count 1e9, then the end", record(`{"type":"array","items":"long"}`), nil, zigzag(1e9), projection.ErrTooMany},
	{"array, count within the limit, then the end", record(`{"type":"array","items":"long"}`), nil, zigzag(60000), projection.ErrTruncated},
	{"array of fixed width, count within the limit, then the end", record(`{"type":"array","items":"double"}`), nil, zigzag(60000), projection.ErrTruncated},
	{"array of null, count 1e8", record(`{"type":"array","items":"null"}`), nil, zigzag(1e8, 0, 1), projection.ErrTooMany},
	{"array of empty records, count 1e9", record(`{"type":"array","items":{"type":"record","name":"E","fields":[]}}`), nil, zigzag(1e9, 0, 1), projection.ErrTooMany},
	{"array of null, many blocks over the limit", record(`{"type":"array","items":"null"}`), nil, append(zigzag(slices.Repeat([]int64{65000}, 500000/3)...), 0, 2), projection.ErrTooMany},
	{"map, count 1e9, then the end", record(`{"type":"map","values":"long"}`), nil, zigzag(1e9), projection.ErrTooMany},
	{"map, count within the limit, then the end", record(`{"type":"map","values":"null"}`), nil, zigzag(60000), projection.ErrTruncated},
	{"negative count, the smallest number", record(`{"type":"array","items":"long"}`), nil, zigzag(math.MinInt64, 0, 0, 0), projection.ErrTooMany},
	{"negative count, smallest number, size of the rest", record(`{"type":"map","values":"long"}`), nil, zigzag(math.MinInt64, 1, 1), projection.ErrTooMany},
	{"block size negative", record(`{"type":"array","items":"long"}`), nil, zigzag(-1, -5, 0, 0, 0), projection.ErrBadLength},
	{"block size beyond the end", record(`{"type":"array","items":"long"}`), nil, zigzag(-1, 1e15, 0, 0, 0), projection.ErrTruncated},
	{"block size over its items", record(`{"type":"array","items":"long"}`), nil, zigzag(-1, 2, 7, 7, 0, 0), projection.ErrBadLength},
	{"block size under its items", record(`{"type":"map","values":"long"}`), nil, zigzag(-1, 1, 0, 7, 0, 0), projection.ErrBadLength},
	{"block size of items without bytes", record(`{"type":"array","items":"null"}`), nil, zigzag(-1000, 3, 0, 0, 0, 0), projection.ErrBadLength},
	{"recursive record, half a million deep", `{"type":"record","name":"N","fields":[{"name":"next","type":["null","N"]}]}`, nil, slices.Repeat([]byte{2}, 500_000), projection.ErrTooDeep},
	{"recursive record, half a million deep, wanted", `{"type":"record","name":"N","fields":[{"name":"next","type":["null","N"]}]}`, []string{"next.next"}, slices.Repeat([]byte{2}, 500_000), projection.ErrTooDeep},
	{"recursive record, 5 million bytes", `{"type":"record","name":"N","fields":[{"name":"next","type":["null","N"]}]}`, nil, slices.Repeat([]byte{2}, 5_000_000), projection.ErrTooLarge},
	{"recursive arrays", `{"type":"record","name":"N","fields":[{"name":"kids","type":{"type":"array","items":"N"}}]}`, nil, slices.Repeat([]byte{2}, 500_000), projection.ErrTooDeep},
	{"recursive maps in a wider union", `{"type":"record","name":"N","fields":[{"name":"kids","type":["int","null",{"type":"map","values":"N"}]}]}`, nil, slices.Repeat([]byte{4, 2, 0}, 300_000), projection.ErrTooDeep},
	{"string of 2^62 bytes", record(`"string"`), []string{"x"}, append(zigzag(1<<62), "abc"...), projection.ErrTruncated},
	{"string of 2^62 bytes, not wanted", record(`"string"`), nil, append(zigzag(1<<62), "abc"...), projection.ErrTruncated},
	{"string of negative length", record(`"string"`), []string{"x"}, append(zigzag(-3), "abc"...), projection.ErrBadLength},
	{"string of negative length, not wanted", record(`["null","string"]`), nil, append(zigzag(1, -3), "abc"...), projection.ErrBadLength},
	{"map key of negative length", record(`{"type":"map","values":"long"}`), nil, zigzag(1, -1, 0, 0, 0), projection.ErrBadLength},
	{"union index beyond", record(`["null","int"]`), []string{"x"}, zigzag(2, 0, 0), projection.ErrBadUnion},
	{"union index beyond, not wanted", record(`["null","int"]`), nil, zigzag(2, 0, 0), projection.ErrBadUnion},
	{"union index negative", record(`["int","null"]`), []string{"x"}, zigzag(-1, 0, 0), projection.ErrBadUnion},
	{"union index negative, not wanted", record(`["int","null"]`), nil, zigzag(-1, 0, 0), projection.ErrBadUnion},
	{"union index of 3 branches beyond", record(`["int","null","string"]`), nil, zigzag(3, 0, 0), projection.ErrBadUnion},
	{"union index huge", record(`["int","null","string"]`), []string{"x"}, zigzag(math.MaxInt64, 0, 0), projection.ErrBadUnion},
	{"enum index beyond", record(`{"type":"enum","name":"E","symbols":["A"]}`), []string{"x"}, zigzag(1, 0), projection.ErrBadEnum},
	{"enum index negative, not wanted", record(`{"type":"enum","name":"E","symbols":["A"]}`), nil, zigzag(-1, 0), projection.ErrBadEnum},
	{"int of 6 bytes", record(`"int"`), []string{"x"}, []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0, 0}, projection.ErrBadVarint},
	{"int of 6 bytes, not wanted", record(`"int"`), nil, []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0, 0, 0, 0, 0}, projection.ErrBadVarint},
	{"int of 33 bits", record(`"int"`), []string{"x"}, append(zigzag(1<<31), 0), projection.ErrBadVarint},
	{"int of 33 bits, not wanted", record(`"int"`), nil, append(zigzag(1<<31), 0), projection.ErrBadVarint},
	{"long of 11 bytes", record(`"long"`), []string{"x"}, append(slices.Repeat([]byte{0x80}, 10), 0, 0), projection.ErrBadVarint},
	{"long of 11 bytes, not wanted", record(`"long"`), nil, append(slices.Repeat([]byte{0x80}, 10), 0, 0), projection.ErrBadVarint},
	{"long of 65 bits", record(`"long"`), []string{"x"}, append(slices.Repeat([]byte{0xff}, 9), 2, 0), projection.ErrBadVarint},
	{"long of 65 bits, not wanted", record(`["null","long"]`), nil, append(append([]byte{2}, slices.Repeat([]byte{0xff}, 9)...), 2, 0), projection.ErrBadVarint},
	{"length without end", record(`"bytes"`), nil, slices.Repeat([]byte{0xff}, 1000), projection.ErrBadVarint},
	{"boolean 2", record(`"boolean"`), []string{"x"}, []byte{2, 0}, projection.ErrBadBool},
	{"boolean 2, not wanted", record(`["null","boolean"]`), nil, []byte{2, 2, 0}, projection.ErrBadBool},
	{"a byte more", record(`"int"`), []string{"x"}, []byte{0, 0, 0}, projection.ErrTrailing},
	{"nothing", record(`"int"`), []string{"x"}, nil, projection.ErrTruncated},
	{"over the limit of bytes", record(`"bytes"`), nil, make([]byte, 1<<20+1), projection.ErrTooLarge},
	{"fixed wider than any record", record(`{"type":"fixed","name":"F","size":2000000000}`), nil, make([]byte, 100), projection.ErrTruncated},
	{"fixed wider than any record, wanted", record(`{"type":"fixed","name":"F","size":2000000000}`), []string{"x"}, make([]byte, 100), projection.ErrTruncated},
	{"items wider than any record", record(`{"type":"array","items":{"type":"fixed","name":"F","size":2000000000}}`), nil, zigzag(65000, 0, 0), projection.ErrTruncated},
}

func TestHostileInputs(t *testing.T) {
	for _, h := range hostile {
		t.Run(h.name, func(t *testing.T) {
			plan := mustCompile(t, h.schema, projection.Limits{}, h.want...)
			out := make([]change.Value, len(h.want))
			// The fastest of a few, so that a busy machine does not count.
			took := time.Duration(math.MaxInt64)
			for range 5 {
				start := time.Now()
				err := plan.Decode(h.data, out)
				took = min(took, time.Since(start))
				var de *projection.DecodeError
				if !errors.Is(err, h.err) || !errors.As(err, &de) {
					t.Fatalf("got %v, want %v", err, h.err)
				}
				if de.Offset < 0 || de.Offset > len(h.data) {
					t.Errorf("offset %d of %d", de.Offset, len(h.data))
				}
			}
			if took > 10*time.Millisecond {
				t.Errorf("refusing took %v, at most 10 ms are allowed", took)
			}
			// One small error, whatever the input asks for.
			if n := testing.AllocsPerRun(10, func() { _ = plan.Decode(h.data, out) }); n > 2 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

// The dearest records that are accepted: as many items and empty blocks as the
// limits allow, at the full size of a record.
func TestCostOfAcceptedRecordsIsBoundedByTheirBytes(t *testing.T) {
	nested := `{"type":"array","items":{"type":"array","items":"null"}}`
	inner := zigzag(65536, 0) // 65,536 items without bytes, in 4 bytes
	const n = 60000
	data := append(zigzag(n), slices.Repeat(inner, n)...)
	data = append(data, 0, 2)
	plan := mustCompile(t, record(nested), projection.Limits{}, "y")
	took := time.Duration(math.MaxInt64)
	for range 5 {
		start := time.Now()
		var out [1]change.Value
		if err := plan.Decode(data, out[:]); err != nil || out[0].Int != 1 {
			t.Fatal(err, out)
		}
		took = min(took, time.Since(start))
	}
	if took > 50*time.Millisecond {
		t.Errorf("%d bytes took %v", len(data), took)
	}
}

// Types that hold each other twice, 30 levels deep, stand for 2^30 values
// without a byte.
func TestDoublingRecordsCostNothing(t *testing.T) {
	for _, leaf := range []string{`"null"`, `"int"`, `"double"`} {
		schema := leaf
		for i := range 24 {
			schema = fmt.Sprintf(`{"type":"record","name":"R%d","fields":[{"name":"a","type":%s},{"name":"b","type":%s}]}`, i, schema,
				map[bool]string{true: leaf, false: fmt.Sprintf(`"R%d"`, i-1)}[i == 0])
		}
		plan := mustCompile(t, schema, projection.Limits{})
		start := time.Now()
		err := plan.Decode(make([]byte, 100), nil)
		if err == nil || time.Since(start) > time.Second {
			t.Errorf("%s: %v in %v", leaf, err, time.Since(start))
		}
	}
}

func TestErrorsNameOffsetAndPath(t *testing.T) {
	schema := `{"type":"record","name":"Envelope","namespace":"shop","fields":[
		{"name":"before","type":["null",{"type":"record","name":"Value","fields":[{"name":"id","type":"int"},{"name":"note","type":["null","string"]}]}]},
		{"name":"after","type":["null","Value"]},{"name":"op","type":"string"}]}`
	for _, c := range []struct {
		data   []byte
		offset int
		path   string
		err    error
	}{
		{[]byte{2, 2, 9}, 2, "shop.Value.note", projection.ErrBadUnion},
		{[]byte{0, 2, 2, 2, 99, 'x'}, 4, "after.note", projection.ErrBadLength},
		{[]byte{0, 2, 2, 0, 4, 'x'}, 4, "op", projection.ErrTruncated},
		{[]byte{0, 0, 2, 'u', 'z'}, 4, "", projection.ErrTrailing},
	} {
		plan := mustCompile(t, schema, projection.Limits{}, "after.note", "op")
		err := plan.Decode(c.data, make([]change.Value, 2))
		var de *projection.DecodeError
		if !errors.As(err, &de) || de.Offset != c.offset || de.Path != c.path || !errors.Is(err, c.err) {
			t.Errorf("%x: %v, want %v at %s, byte %d", c.data, err, c.err, c.path, c.offset)
		} else if !strings.Contains(err.Error(), fmt.Sprint("byte ", c.offset)) {
			t.Errorf("message without its place: %v", err)
		}
	}
	if err := mustCompile(t, `"int"`, projection.Limits{}, "").Decode([]byte{0}, nil); !errors.Is(err, projection.ErrOutput) {
		t.Errorf("output too short: %v", err)
	}
}

// Flipped bits may give another record or an error, and never a panic, a value
// outside of the record, or an allocation other than the error.
func TestBitFlips(t *testing.T) {
	fd := loadFeed(t, feeds[1])
	r := rand.New(rand.NewPCG(1, 2))
	seen := map[uint32]int{}
	refused, accepted := 0, 0
	for _, d := range fd.data {
		if seen[d.id]++; seen[d.id] > 4 || len(d.avro) > 2000 {
			continue
		}
		o := newOracle(t, fd.schemas[d.id])
		var paths []string
		o.leaves(o.root, "", "", func(p string) { paths = append(paths, p) })
		plan := mustCompile(t, fd.schemas[d.id], projection.Limits{}, paths...)
		out := make([]change.Value, len(paths))
		for bit := range 8 * len(d.avro) {
			data := slices.Clone(d.avro)
			data[bit/8] ^= 1 << (bit % 8)
			if r.IntN(4) == 0 {
				data[r.IntN(len(data))] = byte(r.Uint32())
			}
			if err := plan.Decode(data, out); err != nil {
				refused++
				continue
			}
			accepted++
			for _, v := range out {
				if len(v.Bytes) > len(data) {
					t.Fatalf("%d bytes out of a record of %d", len(v.Bytes), len(data))
				}
			}
		}
	}
	t.Logf("%d refused, %d read as another record", refused, accepted)
	if refused == 0 || accepted == 0 {
		t.Error("the flips show nothing")
	}
}

func TestLimits(t *testing.T) {
	list := record(`{"type":"array","items":"int"}`)
	plan := mustCompile(t, list, projection.Limits{MaxItems: 3}, "y")
	var out [1]change.Value
	if err := plan.Decode(zigzag(2, 0, 0, 1, 0, 0, 7), out[:]); err != nil || out[0].Int != 7 {
		t.Errorf("3 items in two blocks: %v, %v", err, out)
	}
	if err := plan.Decode(zigzag(2, 0, 0, 2, 0, 0, 0, 7), out[:]); !errors.Is(err, projection.ErrTooMany) {
		t.Errorf("4 items in two blocks: %v", err)
	}
	chain := `{"type":"record","name":"N","fields":[{"name":"next","type":["null","N"]}]}`
	plan = mustCompile(t, chain, projection.Limits{MaxDepth: 5})
	for n, want := range []error{4: nil, 5: projection.ErrTooDeep} {
		if n < 4 {
			continue
		}
		if err := plan.Decode(append(slices.Repeat([]byte{2}, n), 0), nil); !errors.Is(err, want) {
			t.Errorf("%d records in a record at depth 5: %v, want %v", n, err, want)
		}
	}
	plan = mustCompile(t, list, projection.Limits{MaxBytes: 2})
	if err := plan.Decode([]byte{0, 0}, nil); err != nil {
		t.Error(err)
	}
	if err := plan.Decode([]byte{0, 0, 0}, nil); !errors.Is(err, projection.ErrTooLarge) {
		t.Error(err)
	}
	for _, l := range []projection.Limits{{MaxBytes: -1}, {MaxDepth: 1000}, {MaxItems: -5}} {
		if _, err := projection.Compile(list, nil, l); err == nil {
			t.Errorf("limits %+v were taken", l)
		}
	}
}
