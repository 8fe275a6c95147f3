package projection_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	hamba "github.com/hamba/avro/v2"
	"github.com/twmb/avro"

	"syncline/schemas/change"
	"syncline/schemas/projection"
)

func (s story) check(tb testing.TB, plan *projection.Plan, data []byte, from string) {
	tb.Helper()
	out := make([]change.Value, len(s.fields))
	if err := plan.Decode(data, out); err != nil {
		tb.Fatalf("bytes of %s: %v\nschema %s\ndata %x", from, err, s.schema, data)
	}
	for i, f := range s.fields {
		if !equal(out[i], s.want[i]) {
			tb.Fatalf("bytes of %s, %s: got %v, want %v\nschema %s\ndata %x", from, f.Path, out[i], s.want[i], s.schema, data)
		}
	}
}

// differ takes one random schema and datum: the plan must read what the
// generator chose, from the generator's bytes and from what twmb/avro writes
// after reading them, and hamba/avro must read the same from the latter (valid
// data only: it may not see other). It returns how many values hamba gave.
func differ(tb testing.TB, seed uint64) int {
	tb.Helper()
	s := generate(tb, seed)
	plan, err := projection.Compile(s.schema, s.fields, projection.Limits{})
	if err != nil {
		tb.Fatalf("seed %d: %v\n%s", seed, err, s.schema)
	}
	s.check(tb, plan, s.data, "the generator")

	schema, err := avro.Parse(s.schema)
	if err != nil {
		tb.Fatalf("seed %d: twmb: %v\n%s", seed, err, s.schema)
	}
	var generic any
	rest, err := schema.Decode(s.data, &generic, avro.TaggedUnions())
	if err != nil || len(rest) != 0 {
		tb.Fatalf("seed %d: twmb: %v, %d bytes left\n%s\n%x", seed, err, len(rest), s.schema, s.data)
	}
	canonical, err := schema.Encode(generic)
	if err != nil {
		tb.Fatalf("seed %d: twmb: encoding: %v\n%s", seed, err, s.schema)
	}
	s.check(tb, plan, canonical, "twmb/avro")

	for n := range canonical {
		if err := plan.Decode(canonical[:n:n], make([]change.Value, len(s.fields))); !errors.Is(err, projection.ErrTruncated) {
			tb.Fatalf("seed %d cut at %d: %v", seed, n, err)
		}
	}

	other, err := hamba.ParseWithCache(s.schema, "", &hamba.SchemaCache{})
	if err != nil {
		return 0
	}
	var again any
	if hamba.Unmarshal(other, canonical, &again) != nil {
		return 0
	}
	compared := 0
	for i, f := range s.fields {
		v, ok := walk(again, strings.Split(f.Path, "."), s.want[i].Kind)
		if !ok {
			continue
		}
		if !equal(v, s.want[i]) {
			tb.Fatalf("seed %d, %s: hamba reads %v, the plan %v\nschema %s", seed, f.Path, v, s.want[i], s.schema)
		}
		compared++
	}
	return compared
}

// walk finds a plain value in what hamba/avro decodes to. It wraps the values
// of some unions in a map with the name of the branch. What has a logical type
// or is not there is left out: that is the other decoder's matter.
func walk(v any, path []string, want change.Kind) (change.Value, bool) {
	if m, ok := v.(map[string]any); ok && len(path) > 0 {
		if below, ok := m[path[0]]; ok {
			return walk(below, path[1:], want)
		}
	}
	if m, ok := v.(map[string]any); ok && len(m) == 1 && want != change.Nested {
		for _, only := range m {
			return walk(only, path, want)
		}
	}
	if len(path) > 0 {
		return change.Value{}, false
	}
	switch v := v.(type) {
	case nil:
		return change.Value{}, true
	case bool:
		return change.OfBool(v), true
	case int:
		return change.Value{Kind: want, Int: int64(v)}, want == change.Int || want == change.Date
	case int64:
		return change.OfInt(v), want == change.Int
	case float32:
		return shortest(v), true
	case float64:
		return change.Value{Kind: change.Double, Int: int64(math.Float64bits(v))}, true
	case string:
		return textOracle(v, change.String), true
	case []byte:
		return textOracle(string(v), change.Bytes), want != change.Decimal
	}
	return change.Value{}, false
}

func TestRandomSchemas(t *testing.T) {
	const seeds = 600
	hambas := 0
	for seed := range uint64(seeds) {
		hambas += differ(t, seed)
	}
	t.Logf("%d schemas; %d values compared with hamba's too", seeds, hambas)
	if hambas < seeds {
		t.Errorf("hamba took part with %d values only", hambas)
	}
}

func FuzzSchemaAndDatum(f *testing.F) {
	for _, seed := range []uint64{0, 1, 1 << 40, 0xdecafbad} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { differ(t, seed) })
}
