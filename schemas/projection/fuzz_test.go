package projection_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/avro"

	"syncline/schemas/change"
	"syncline/schemas/projection"
)

const everything = `{"type":"record","name":"All","fields":[
	{"name":"b","type":["null","boolean"]},{"name":"i","type":"int"},{"name":"l","type":["long","null"]},
	{"name":"f","type":"float"},{"name":"d","type":["null","double"]},{"name":"s","type":"string"},{"name":"raw","type":["null","bytes"]},
	{"name":"fix","type":{"type":"fixed","name":"Fix","size":3}},{"name":"e","type":{"type":"enum","name":"E","symbols":["A","B","C"]}},
	{"name":"u","type":["null","string","long",{"type":"record","name":"U","fields":[{"name":"x","type":["null","Fix"]},{"name":"y","type":"string"}]},"E"]},
	{"name":"list","type":{"type":"array","items":["null","U","int"]}},{"name":"flat","type":{"type":"array","items":"double"}},
	{"name":"map","type":{"type":"map","values":{"type":"array","items":"boolean"}}},
	{"name":"tree","type":["null",{"type":"record","name":"Tree","fields":[{"name":"v","type":"int"},{"name":"kids","type":{"type":"array","items":"Tree"}}]}]},
	{"name":"last","type":"int"}]}`

var everythingPaths = []string{"b", "i", "l", "f", "d", "s", "raw", "fix", "e", "u", "u.x", "u.y", "tree.v", "last"}

// stricter are the refusals that twmb/avro does not share, or decides by
// another limit.
var stricter = []error{
	projection.ErrBadBool, projection.ErrBadLength, projection.ErrTooDeep, projection.ErrTooMany, projection.ErrTooLarge,
}

type fuzzed struct {
	schema *avro.Schema
	plans  []*projection.Plan // of all fields, of one, of none
	outs   [][]change.Value
}

func prepare(tb testing.TB, text string, paths []string) fuzzed {
	tb.Helper()
	z := fuzzed{}
	var err error
	if z.schema, err = avro.Parse(text); err != nil {
		tb.Fatal(err)
	}
	for _, want := range [][]string{paths, paths[len(paths)-1:], nil} {
		z.plans = append(z.plans, mustCompile(tb, text, projection.Limits{}, want...))
		z.outs = append(z.outs, make([]change.Value, len(want)))
	}
	return z
}

// FuzzDecode feeds raw bytes to plans of fixed schemas: nothing may panic or
// allocate, and twmb/avro has to agree on what is a record.
func FuzzDecode(f *testing.F) {
	fd := loadFeed(f, feeds[0])
	set := []fuzzed{prepare(f, everything, everythingPaths), prepare(f, strings.Replace(shop, `,"default":"seven"`, "", 1), []string{"op", "note", "note.x", "before.price", "after.cost", "after.name"})}
	for _, topic := range []string{"cdc.erp.public.account_invoice", "cdc.erp.public.account_invoice_line", "cdc.subs.public.sale_subscription"} {
		d := fd.longest(f, topic, "Envelope")
		o := newOracle(f, fd.schemas[d.id])
		var paths []string
		o.leaves(o.root, "", "", func(p string) { paths = append(paths, p) })
		f.Add(uint8(len(set)), d.avro)
		set = append(set, prepare(f, fd.schemas[d.id], paths))
	}
	f.Add(uint8(0), slices.Concat(zigzag(1), []byte{1}, zigzag(7, 0, 8), make([]byte, 4), zigzag(0), counted("text"), zigzag(1), counted("raw"), []byte("fix"),
		zigzag(2, 3, 1), []byte("fix"), counted("y"), zigzag(-2, 3, 0, 2, 5, 0), zigzag(0), zigzag(1), counted("k"), zigzag(1), []byte{1}, zigzag(0, 0), zigzag(1, 5, 1, 6, 0, 0), zigzag(9)))
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		z := set[int(which)%len(set)]
		var generic any
		rest, twmbErr := z.schema.Decode(data, &generic)
		valid := twmbErr == nil && len(rest) == 0
		for i, plan := range z.plans {
			err := plan.Decode(data, z.outs[i])
			switch {
			case err == nil && slices.ContainsFunc(z.outs[i], func(v change.Value) bool { return v.Kind == change.Unreadable }):
				// The record is whole and a value is not; twmb may call either.
			case err == nil && !valid:
				t.Errorf("plan %d accepts what twmb refuses: %v, %d bytes left", i, twmbErr, len(rest))
			case err != nil && valid && !slices.ContainsFunc(stricter, func(s error) bool { return errors.Is(err, s) }):
				t.Errorf("plan %d refuses what twmb accepts: %v", i, err)
			}
			if n := testing.AllocsPerRun(1, func() { _ = plan.Decode(data, z.outs[i]) }); n > 2 {
				t.Errorf("plan %d: %v allocations", i, n)
			}
		}
	})
}

// FuzzCompile feeds schema texts: nothing may panic, and a plan that comes out
// decodes without panic.
func FuzzCompile(f *testing.F) {
	for _, text := range []string{shop, everything, `"int"`, `{"type":"record","name":"N","fields":[{"name":"x","type":["null","N"],"default":null}]}`} {
		f.Add(text, "x", []byte{2, 2, 0})
		f.Add(text, "after.price", []byte{0})
	}
	for _, h := range hostile {
		f.Add(h.schema, "x", h.data[:min(len(h.data), 64)])
	}
	f.Fuzz(func(t *testing.T, text, path string, data []byte) {
		plan, err := projection.Compile(text, []projection.Field{{Path: path}, {Path: "x"}}, projection.Limits{})
		if err != nil {
			if !errors.Is(err, projection.ErrSchema) && !errors.Is(err, projection.ErrWanted) {
				t.Errorf("unknown error: %v", err)
			}
			return
		}
		var out [2]change.Value
		_ = plan.Decode(data, out[:])
		_ = plan.Has(path)
		plan.WriterDefault(0)
	})
}
