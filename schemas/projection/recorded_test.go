package projection_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/avro"

	"syncline/schemas/change"
	"syncline/schemas/projection"
)

const recorded = "../../benchmarks/workload/recorded"

var feeds = []string{"debezium-tryton", "debezium-tryton-2"}

// feed is a recorded change feed: schema texts by id, and Avro data with the id
// of its schema, of keys and values in the order of the recording.
type feed struct {
	schemas map[uint32]string
	data    []datum
}

type datum struct {
	topic string
	id    uint32
	avro  []byte
}

func openGzip(tb testing.TB, name string) *gzip.Reader {
	tb.Helper()
	f, err := os.Open(name)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = f.Close() })
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	return z
}

func loadFeed(tb testing.TB, name string) feed {
	tb.Helper()
	fd := feed{schemas: map[uint32]string{}}
	var registry struct {
		Schemas map[string]json.RawMessage `json:"schemas"`
	}
	if err := json.NewDecoder(openGzip(tb, filepath.Join(recorded, name, "schemas.json.gz"))).Decode(&registry); err != nil {
		tb.Fatal(err)
	}
	for id, text := range registry.Schemas {
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			tb.Fatal(err)
		}
		fd.schemas[uint32(n)] = string(text)
	}
	lines := bufio.NewScanner(openGzip(tb, filepath.Join(recorded, name, "changes.jsonl.gz")))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var rec struct {
			Topic      string
			Key, Value *string
		}
		if err := json.Unmarshal(lines.Bytes(), &rec); err != nil {
			tb.Fatal(err)
		}
		for _, side := range []*string{rec.Key, rec.Value} {
			if side == nil {
				continue
			}
			raw, err := base64.StdEncoding.DecodeString(*side)
			if err != nil || len(raw) < 5 || raw[0] != 0 {
				tb.Fatalf("framing of %s: %v", rec.Topic, err)
			}
			fd.data = append(fd.data, datum{rec.Topic, binary.BigEndian.Uint32(raw[1:]), raw[5:]})
		}
	}
	if err := lines.Err(); err != nil {
		tb.Fatal(err)
	}
	return fd
}

// longest returns the longest ordinary datum of a topic whose schema text has schemaName.
func (fd feed) longest(tb testing.TB, topic, schemaName string) datum {
	tb.Helper()
	var best datum
	for _, d := range fd.data {
		if d.topic == topic && strings.Contains(fd.schemas[d.id], schemaName) && len(d.avro) > len(best.avro) && len(d.avro) < 1000 {
			best = d
		}
	}
	if best.avro == nil {
		tb.Fatalf("no record of %s", topic)
	}
	return best
}

// The oracle below reads a schema as plain JSON and twmb/avro's generic value
// beside it; it shares no code with the package.

type oracle struct {
	named map[string]any
	root  any
	space map[string]string // the namespace of each named type
}

func newOracle(tb testing.TB, text string) *oracle {
	tb.Helper()
	o := &oracle{named: map[string]any{}, space: map[string]string{}}
	if err := json.Unmarshal([]byte(text), &o.root); err != nil {
		tb.Fatal(err)
	}
	o.collect(o.root, "")
	return o
}

func (o *oracle) collect(t any, space string) {
	switch t := t.(type) {
	case []any:
		for _, b := range t {
			o.collect(b, space)
		}
	case map[string]any:
		if name, ok := t["name"].(string); ok {
			if ns, ok := t["namespace"].(string); ok {
				space = ns
			}
			full := name
			if i := strings.LastIndexByte(name, '.'); i >= 0 {
				space = name[:i]
			} else if space != "" {
				full = space + "." + name
			}
			o.named[full], o.space[full] = t, space
			t["oracle.space"] = space
		}
		for _, f := range list(t["fields"]) {
			o.collect(f.(map[string]any)["type"], space)
		}
		o.collect(t["items"], space)
		o.collect(t["values"], space)
	}
}

func list(v any) []any { l, _ := v.([]any); return l }

// resolve follows names to the definition.
func (o *oracle) resolve(t any, space string) any {
	name, ok := t.(string)
	if m, isMap := t.(map[string]any); isMap {
		if name, ok = m["type"].(string); ok && o.lookup(name, space) == nil {
			return t
		}
	}
	if ok {
		if d := o.lookup(name, space); d != nil {
			return d
		}
	}
	return t
}

func (o *oracle) lookup(name, space string) any {
	if d, ok := o.named[space+"."+name]; ok && !strings.Contains(name, ".") {
		return d
	}
	if d, ok := o.named[name]; ok {
		return d
	}
	return nil
}

// leaves lists the paths that can be wanted: scalars, and records for presence.
func (o *oracle) leaves(t any, space, path string, add func(string)) {
	t = o.resolve(t, space)
	switch t := t.(type) {
	case []any:
		if len(t) != 2 {
			return
		}
		for _, b := range t {
			if b != "null" {
				o.leaves(b, space, path, add)
			}
		}
	case map[string]any:
		if t["type"] == "array" || t["type"] == "map" {
			return
		}
		if path != "" {
			add(path)
		}
		if t["type"] != "record" || t["connect.name"] == "io.debezium.data.VariableScaleDecimal" {
			return
		}
		for _, f := range list(t["fields"]) {
			fm := f.(map[string]any)
			o.leaves(fm["type"], t["oracle.space"].(string), strings.TrimPrefix(path+"."+fm["name"].(string), "."), add)
		}
	default:
		if path != "" {
			add(path)
		}
	}
}

// value gives what the generic value v of type t means at the end of path.
func (o *oracle) value(tb testing.TB, t any, space string, v any, path []string) change.Value {
	tb.Helper()
	t = o.resolve(t, space)
	if union, ok := t.([]any); ok {
		if v == nil {
			return change.Value{}
		}
		for _, b := range union {
			if b != "null" {
				return o.value(tb, b, space, v, path)
			}
		}
	}
	m, _ := t.(map[string]any)
	if len(path) > 0 {
		for _, f := range list(m["fields"]) {
			if fm := f.(map[string]any); fm["name"] == path[0] {
				return o.value(tb, fm["type"], m["oracle.space"].(string), v.(map[string]any)[path[0]], path[1:])
			}
		}
		tb.Fatalf("no field %s", path[0])
	}
	name, _ := m["connect.name"].(string)
	if n, ok := v.(int32); ok {
		v = int64(n)
	}
	switch v := v.(type) {
	case bool:
		return change.OfBool(v)
	case int64:
		switch name {
		case "io.debezium.time.Date":
			return change.OfDate(v)
		case "io.debezium.time.MicroTimestamp":
			return change.OfTimestamp(v)
		case "io.debezium.time.MicroDuration":
			return change.Value{Kind: change.Duration, Int: v}
		}
		return change.OfInt(v)
	case float64:
		return change.Value{Kind: change.Double, Int: int64(math.Float64bits(v))}
	case string:
		if v == "__debezium_unavailable_value" {
			return change.Value{Kind: change.Unavailable, Bytes: []byte(v)}
		}
		return change.OfString(v)
	case []byte:
		if string(v) == "__debezium_unavailable_value" {
			return change.Value{Kind: change.Unavailable, Bytes: v}
		}
		return change.Value{Kind: change.Bytes, Bytes: v}
	case map[string]any:
		if name != "io.debezium.data.VariableScaleDecimal" {
			return change.Value{Kind: change.Nested}
		}
		return decimalOracle(v["value"].([]byte), v["scale"].(int32))
	}
	tb.Fatalf("the oracle does not know %T (%v)", v, t)
	return change.Value{}
}

func wantAll(paths []string) []projection.Field {
	want := make([]projection.Field, len(paths))
	for i, p := range paths {
		want[i].Path = p
	}
	return want
}

// Every key and value of both recordings, all fields wanted, decodes to what
// twmb/avro's generic decoder makes of it.
func TestRecordedFeedsEqualGenericDecode(t *testing.T) {
	for _, name := range feeds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fd := loadFeed(t, name)
			type reader struct {
				plan   *projection.Plan
				schema *avro.Schema
				oracle *oracle
				paths  []string
				split  [][]string
				out    []change.Value
			}
			readers := map[uint32]*reader{}
			values, kinds := 0, map[change.Kind]int{}
			for i, d := range fd.data {
				r := readers[d.id]
				if r == nil {
					r = &reader{oracle: newOracle(t, fd.schemas[d.id])}
					r.oracle.leaves(r.oracle.root, "", "", func(p string) {
						r.paths, r.split = append(r.paths, p), append(r.split, strings.Split(p, "."))
					})
					var err error
					if r.plan, err = projection.Compile(fd.schemas[d.id], wantAll(r.paths), projection.Limits{}); err != nil {
						t.Fatalf("schema %d: %v", d.id, err)
					}
					if r.schema, err = avro.Parse(fd.schemas[d.id]); err != nil {
						t.Fatal(err)
					}
					r.out = make([]change.Value, len(r.paths))
					readers[d.id] = r
				}
				if err := r.plan.Decode(d.avro, r.out); err != nil {
					t.Fatalf("datum %d of %s: %v", i, d.topic, err)
				}
				var generic any
				if rest, err := r.schema.Decode(d.avro, &generic); err != nil || len(rest) > 0 {
					t.Fatal(err, len(rest))
				}
				for j, path := range r.split {
					want := r.oracle.value(t, r.oracle.root, "", generic, path)
					if !equal(r.out[j], want) {
						t.Fatalf("datum %d of %s, %s: got %+v, want %+v", i, d.topic, r.paths[j], r.out[j], want)
					}
					values++
					kinds[want.Kind]++
				}
			}
			t.Logf("%d data, %d schemas, %d values, by kind %v", len(fd.data), len(readers), values, kinds)
			for _, k := range []change.Kind{change.Null, change.Bool, change.Int, change.Double, change.Decimal, change.String, change.Bytes, change.Date, change.Timestamp, change.Nested} {
				if kinds[k] == 0 {
					t.Errorf("no value of kind %d was compared", k)
				}
			}
			if name == "debezium-tryton-2" && kinds[change.Unavailable] == 0 {
				t.Error("the feed's placeholders were not seen")
			}
		})
	}
}

func equal(a, b change.Value) bool {
	return a.Kind == b.Kind && a.Int == b.Int && a.Scale == b.Scale && bytes.Equal(a.Bytes, b.Bytes)
}

// Each schema of each topic: one record cut at every byte, and with a byte
// more. This with few fields wanted (most bytes are stepped over) and with all.
func TestRecordedTruncationAndTrailing(t *testing.T) {
	for _, name := range feeds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fd := loadFeed(t, name)
			seen := map[uint32]int{}
			cuts := 0
			for _, d := range fd.data {
				if seen[d.id]++; seen[d.id] > 3 || len(d.avro) > 4096 {
					continue
				}
				o := newOracle(t, fd.schemas[d.id])
				var paths []string
				o.leaves(o.root, "", "", func(p string) { paths = append(paths, p) })
				for _, want := range [][]string{nil, paths[:1], paths} {
					plan, err := projection.Compile(fd.schemas[d.id], wantAll(want), projection.Limits{})
					if err != nil {
						t.Fatal(err)
					}
					out := make([]change.Value, len(want))
					for n := range d.avro {
						err := plan.Decode(slices.Clip(d.avro[:n]), out)
						if !errors.Is(err, projection.ErrTruncated) {
							t.Fatalf("%s cut at %d of %d: %v", d.topic, n, len(d.avro), err)
						}
						cuts++
					}
					longer := append(slices.Clone(d.avro), 0)
					if err := plan.Decode(longer, out); !errors.Is(err, projection.ErrTrailing) {
						t.Fatalf("%s with a byte more: %v", d.topic, err)
					}
				}
			}
			t.Logf("%d cuts in %d schemas", cuts, len(seen))
		})
	}
}
