package registry_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"syncline/schemas/registry"
)

var levels = []registry.Level{
	registry.LevelNone, registry.LevelBackward, registry.LevelBackwardTransitive, registry.LevelForward,
	registry.LevelForwardTransitive, registry.LevelFull, registry.LevelFullTransitive,
}

func record(fields ...string) string {
	return `{"type":"record","name":"R","fields":[` + strings.Join(fields, ",") + `]}`
}

var (
	fieldA        = `{"name":"a","type":"int"}`
	fieldALong    = `{"name":"a","type":"long"}`
	fieldB        = `{"name":"b","type":"int"}`
	fieldBDefault = `{"name":"b","type":"int","default":0}`
	fieldBAlias   = `{"name":"c","type":"int","aliases":["b"]}`
)

// TestLevels has one row a change; each letter is the verdict of one level,
// in the order of levels: y may be registered, n may not.
func TestLevels(t *testing.T) {
	for _, c := range []struct {
		name      string
		earlier   []string
		candidate string
		verdicts  string // NONE, B, BT, F, FT, FULL, FULLT
	}{
		{"first version", nil, record(fieldA), "yyyyyyy"},
		{"same", []string{record(fieldA)}, record(fieldA), "yyyyyyy"},
		{"field with default added", []string{record(fieldA)}, record(fieldA, fieldBDefault), "yyyyyyy"},
		{"field without default added", []string{record(fieldA)}, record(fieldA, fieldB), "ynnyynn"},
		{"field with default removed", []string{record(fieldA, fieldBDefault)}, record(fieldA), "yyyyyyy"},
		{"field without default removed", []string{record(fieldA, fieldB)}, record(fieldA), "yyynnnn"},
		{"type widened", []string{record(fieldA)}, record(fieldALong), "yyynnnn"},
		{"type narrowed", []string{record(fieldALong)}, record(fieldA), "ynnyynn"},
		{"renamed with alias", []string{record(fieldA, fieldB)}, record(fieldA, fieldBAlias), "yyynnnn"},
		{"other type", []string{record(fieldA)}, `"string"`, "ynnnnnn"},
		{"symbol added", []string{`{"type":"enum","name":"E","symbols":["A"]}`}, `{"type":"enum","name":"E","symbols":["A","B"]}`, "yyynnnn"},
		{"symbol removed", []string{`{"type":"enum","name":"E","symbols":["A","B"]}`}, `{"type":"enum","name":"E","symbols":["A"]}`, "ynnyynn"},
		{"symbol removed, with default", []string{`{"type":"enum","name":"E","symbols":["A","B"]}`}, `{"type":"enum","name":"E","symbols":["A"],"default":"A"}`, "yyyyyyy"},
		{"made optional", []string{record(fieldA)}, record(`{"name":"a","type":["null","int"],"default":null}`), "yyynnnn"},
		{"fixed of another size", []string{`{"type":"fixed","name":"F","size":4}`}, `{"type":"fixed","name":"F","size":8}`, "ynnnnnn"},
		// Against every version, not only the latest: b comes back without a
		// default, which the latest version supplies and the first does not.
		{"two steps, each backward", []string{record(fieldA), record(fieldA, fieldBDefault)}, record(fieldA, fieldB), "yynyyyn"},
		{"two steps, each forward", []string{record(fieldA, fieldB), record(fieldA, fieldBDefault)}, record(fieldA), "yyyynyn"},
		// Only the scale differs, so that the same bytes are other amounts.
		{"decimal scale", []string{record(decimal(10, 2))}, record(decimal(10, 4)), "ynnnnnn"},
	} {
		for i, level := range levels {
			want := c.verdicts[i] == 'y'
			reasons, err := registry.Check(level, c.candidate, c.earlier)
			if err != nil {
				t.Fatalf("%s at %s: %v", c.name, level, err)
			}
			if (len(reasons) == 0) != want {
				t.Errorf("%s at %s: %v, want compatible %v", c.name, level, reasons, want)
			}
			// The server says the same, checking and registering.
			h := newServer(t, registry.Config{DefaultLevel: registry.LevelNone})
			for _, e := range c.earlier {
				mustRegister(t, h, "s", e)
			}
			if status, body := ask(t, h, "PUT", "/config/s", fmt.Sprintf(`{"compatibility":%q}`, level)); status != 200 {
				t.Fatal(body)
			}
			if _, body := ask(t, h, "POST", "/compatibility/subjects/s/versions", schemaBody(t, c.candidate)); body != fmt.Sprintf(`{"is_compatible":%v}`, want) {
				t.Errorf("%s at %s: the check says %s, want %v", c.name, level, body, want)
			}
			status, body := ask(t, h, "POST", "/subjects/s/versions", schemaBody(t, c.candidate))
			if (status == 200) != want || (!want && status != 409) {
				// What the subject has already is no new version.
				if c.name != "same" {
					t.Errorf("%s at %s: registering gives %d %s, want %v", c.name, level, status, body, want)
				}
			}
		}
	}
}

func decimal(precision, scale int) string {
	return fmt.Sprintf(`{"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":%d,"scale":%d}}`, precision, scale)
}

// TestVerdictsDependOnNothingElse compares pairs that differ only in defaults
// and aliases, which canonical forms and their fingerprints leave out, in any
// order and from eight goroutines at once. A checker that remembers verdicts
// under such a fingerprint, or says yes while another goroutine is still at
// work on the same pair, fails this.
func TestVerdictsDependOnNothingElse(t *testing.T) {
	filler := make([]string, 200)
	for i := range filler {
		filler[i] = fmt.Sprintf(`{"name":"f%d","type":["null",{"type":"array","items":"string"}],"default":null}`, i)
	}
	with := func(last string) string { return record(append(filler[:len(filler):len(filler)], last)...) }
	old := record(append(filler[:len(filler):len(filler)], fieldA)...)
	plain, defaulted := with(fieldB), with(fieldBDefault)
	aliased := with(`{"name":"b","type":"int","aliases":["a"]}`)
	type question struct {
		candidate string
		want      bool
	}
	questions := []question{{plain, false}, {defaulted, true}, {aliased, true}}
	ask := func(q question) error {
		reasons, err := registry.Check(registry.LevelBackward, q.candidate, []string{old})
		if err == nil && (len(reasons) == 0) != q.want {
			err = fmt.Errorf("compatible is %v, want %v: %v", len(reasons) == 0, q.want, reasons)
		}
		return err
	}
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		for _, i := range order {
			if err := ask(questions[i]); err != nil {
				t.Errorf("question %d in order %v: %v", i, order, err)
			}
		}
	}
	// The same through one server, whose schemas are parsed once and shared.
	h := newServer(t, registry.Config{})
	mustRegister(t, h, "s", old)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for g := range 8 {
		rng := rand.New(rand.NewPCG(1, uint64(g)))
		wg.Go(func() {
			<-start
			for range 12 {
				q := questions[rng.IntN(len(questions))]
				if err := ask(q); err != nil {
					t.Errorf("goroutine %d: %v", g, err)
				}
				if _, body := askServer(t, h, q.candidate); body != fmt.Sprintf(`{"is_compatible":%v}`, q.want) {
					t.Errorf("goroutine %d: the server says %s, want %v", g, body, q.want)
				}
			}
		})
	}
	close(start)
	wg.Wait()
}

func askServer(t *testing.T, h *registry.Server, candidate string) (int, string) {
	t.Helper()
	return ask(t, h, "POST", "/compatibility/subjects/s/versions/latest", schemaBody(t, candidate))
}

func TestCheckErrors(t *testing.T) {
	if _, err := registry.Check("SOME", `"int"`, nil); !errors.Is(err, registry.ErrInvalidLevel) {
		t.Errorf("unknown level: %v", err)
	}
	if _, err := registry.Check(registry.LevelFull, `"ints"`, nil); !errors.Is(err, registry.ErrInvalidSchema) {
		t.Errorf("invalid candidate: %v", err)
	}
	if _, err := registry.Check(registry.LevelFull, `"int"`, []string{"{"}); !errors.Is(err, registry.ErrInvalidSchema) {
		t.Errorf("invalid version: %v", err)
	}
}

// TestFieldAliasesAreNeverAmbiguous: the checks before the policy see to it.
func TestFieldAliasesAreNeverAmbiguous(t *testing.T) {
	for name, candidate := range map[string]string{
		"alias names another field": record(fieldA, `{"name":"b","type":"int","aliases":["a"]}`),
		"alias on two fields":       record(`{"name":"x","type":"int","aliases":["a"]}`, `{"name":"y","type":"int","aliases":["a"]}`),
	} {
		if _, err := registry.Check(registry.LevelNone, candidate, nil); !errors.Is(err, registry.ErrInvalidSchema) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, candidate := range map[string]string{
		"two old fields, by name and alias": record(`{"name":"b","type":"int","aliases":["a"]}`),
		"two old fields, by aliases":        record(`{"name":"c","type":"int","aliases":["a","b"]}`),
	} {
		if reasons, err := registry.Check(registry.LevelBackward, candidate, []string{record(fieldA, fieldB)}); err != nil || len(reasons) != 1 {
			t.Errorf("%s: %v %v", name, reasons, err)
		}
	}
}

// TestCheckRelease: what Avro's rules let through and a release must not do.
func TestCheckRelease(t *testing.T) {
	connect := func(base, name string) string {
		return record(`{"name":"t","type":["null",{"type":"` + base + `","connect.version":1,"connect.name":"` + name + `"}],"default":null}`)
	}
	logical := func(base, logical string) string {
		return record(`{"name":"t","type":{"type":"` + base + `","logicalType":"` + logical + `"}}`)
	}
	connectDecimal := func(scale int) string {
		return record(fmt.Sprintf(`{"name":"d","type":{"type":"bytes","connect.parameters":{"scale":"%d"},"connect.name":"org.apache.kafka.connect.data.Decimal"}}`, scale))
	}
	for _, c := range []struct {
		name          string
		before, after string
		want          []string // rule and path
	}{
		{"nothing", record(decimal(10, 2)), record(decimal(10, 2)), nil},
		{"harmless growth", record(fieldA), record(fieldA, fieldBDefault), nil},
		{"scale", record(decimal(10, 2)), record(decimal(10, 4)), []string{"decimal amount"}},
		{"precision", record(decimal(10, 2)), record(decimal(12, 2)), []string{"decimal amount"}},
		{"scale of Connect's decimal", connectDecimal(2), connectDecimal(4), []string{"decimal d"}},
		{
			"scale in a nested optional record",
			record(`{"name":"o","type":["null",{"type":"record","name":"O","fields":[` + decimal(10, 2) + `]}]}`),
			record(`{"name":"o","type":["null",{"type":"record","name":"O","fields":[` + decimal(10, 4) + `]}]}`),
			[]string{"decimal o.amount"},
		},
		{
			"scale in an array and a map",
			record(`{"name":"l","type":{"type":"array","items":{"type":"map","values":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}}}}`),
			record(`{"name":"l","type":{"type":"array","items":{"type":"map","values":{"type":"bytes","logicalType":"decimal","precision":9,"scale":3}}}}`),
			[]string{"decimal l[]{}"},
		},
		{
			"scale, made optional on the way", record(decimal(10, 2)),
			record(`{"name":"amount","type":["null",{"type":"bytes","logicalType":"decimal","precision":10,"scale":4}],"default":null}`),
			[]string{"decimal amount"},
		},
		{
			"scale, renamed on the way", record(decimal(10, 2)),
			record(`{"name":"total","aliases":["amount"],"type":{"type":"bytes","logicalType":"decimal","precision":10,"scale":4}}`),
			[]string{"decimal total"},
		},
		{"unit", logical("long", "timestamp-millis"), logical("long", "timestamp-micros"), []string{"time-unit t"}},
		{"unit of Debezium", connect("long", "io.debezium.time.Timestamp"), connect("long", "io.debezium.time.MicroTimestamp"), []string{"time-unit t"}},
		{"kind of time", logical("long", "timestamp-micros"), logical("long", "time-micros"), []string{"logical t"}},
		{"zone", logical("long", "timestamp-micros"), logical("long", "local-timestamp-micros"), []string{"logical t"}},
		{"logical type dropped", logical("int", "date"), record(`{"name":"t","type":"int"}`), []string{"logical t"}},
		{"logical type added", record(`{"name":"t","type":"string"}`), logical("string", "uuid"), []string{"logical t"}},
		{"logical type dropped while widened", logical("int", "date"), record(`{"name":"t","type":"long"}`), []string{"logical t"}},
		{"logical type on the field, dropped", record(`{"name":"t","type":"long","logicalType":"timestamp-millis"}`), record(`{"name":"t","type":"long"}`), []string{"logical t"}},
		{"Connect's name dropped", connect("string", "io.debezium.data.Json"), record(`{"name":"t","type":["null","string"],"default":null}`), []string{"logical t"}},
		{"Connect's name changed", connect("string", "io.debezium.data.Json"), connect("string", "io.debezium.data.Xml"), []string{"logical t"}},
		{"namespace", `{"type":"record","name":"a.R","fields":[]}`, `{"type":"record","name":"b.R","fields":[]}`, []string{"namespace (root)"}},
		{
			"namespace of a branch",
			record(`{"name":"o","type":["null",{"type":"enum","name":"a.E","symbols":["A"]}]}`),
			record(`{"name":"o","type":["null",{"type":"enum","name":"b.E","symbols":["A"]}]}`),
			[]string{"namespace o"},
		},
		{
			"type alias names another type",
			record(`{"name":"x","type":{"type":"enum","name":"E","symbols":["A"]}}`),
			record(`{"name":"x","type":{"type":"enum","name":"E","symbols":["A"]}}`, `{"name":"y","type":["null",{"type":"enum","name":"F","aliases":["E"],"symbols":["A"]}],"default":null}`),
			[]string{"alias F"},
		},
		{
			"branches of one short name", record(`{"name":"u","type":[{"type":"record","name":"a.T","fields":[]}]}`),
			record(`{"name":"u","type":[{"type":"record","name":"a.T","fields":[]},{"type":"record","name":"b.T","fields":[]}]}`),
			[]string{"union u"},
		},
		{"a value for two branches", record(`{"name":"u","type":["null","int"]}`), record(`{"name":"u","type":["null","double","long"]}`), []string{"union u"}},
		{"one wider branch", record(`{"name":"u","type":["null","int"]}`), record(`{"name":"u","type":["null","long"]}`), nil},
		{
			"several at once", record(decimal(10, 2), `{"name":"t","type":{"type":"long","logicalType":"timestamp-millis"}}`),
			record(decimal(10, 3), `{"name":"t","type":{"type":"long","logicalType":"timestamp-micros"}}`),
			[]string{"decimal amount", "time-unit t"},
		},
		{
			"recursive",
			record(`{"name":"next","type":["null","R"],"default":null}`, decimal(10, 2)),
			record(`{"name":"next","type":["null","R"],"default":null}`, decimal(10, 4)),
			[]string{"decimal amount"},
		},
	} {
		findings, err := registry.CheckRelease(c.before, c.after)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var got []string
		for _, f := range findings {
			got = append(got, string(f.Rule)+" "+f.Path)
			if f.Message == "" || !strings.Contains(f.String(), f.Path) {
				t.Errorf("%s: finding %+v does not say what and where", c.name, f)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	if _, err := registry.CheckRelease("{", `"int"`); !errors.Is(err, registry.ErrInvalidSchema) {
		t.Errorf("invalid old schema: %v", err)
	}
	if _, err := registry.CheckRelease(`"int"`, "{"); !errors.Is(err, registry.ErrInvalidSchema) {
		t.Errorf("invalid new schema: %v", err)
	}
}

// TestPolicies: the server asks for more than Avro's rules only when told to.
func TestPolicies(t *testing.T) {
	before := record(`{"name":"t","type":{"type":"long","logicalType":"timestamp-millis"}}`)
	after := record(`{"name":"t","type":{"type":"long","logicalType":"timestamp-micros"}}`)
	for _, c := range []struct {
		policy registry.Policy
		level  registry.Level
		status int
	}{
		{"", registry.LevelFullTransitive, 200},
		{registry.PolicyStandard, registry.LevelFullTransitive, 200},
		{registry.PolicyStrict, registry.LevelBackward, 409},
		{registry.PolicyStrict, registry.LevelForward, 409},
		{registry.PolicyStrict, registry.LevelNone, 200},
	} {
		h := newServer(t, registry.Config{Policy: c.policy, DefaultLevel: c.level})
		mustRegister(t, h, "s", before)
		status, body := ask(t, h, "POST", "/subjects/s/versions", schemaBody(t, after))
		if status != c.status || (status == 409 && !strings.Contains(body, "milliseconds")) {
			t.Errorf("policy %q, level %s: %d %s, want %d", c.policy, c.level, status, body, c.status)
		}
	}
	// Every version of the recorded feeds passes the strict policy too.
	h := newServer(t, registry.Config{Policy: registry.PolicyStrict})
	for _, r := range recorded(t, "debezium-tryton") {
		mustRegister(t, h, r.subject, r.schema)
	}
}
