package projection_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"syncline/schemas/change"
	"syncline/schemas/projection"
)

const shop = `{"type":"record","name":"Envelope","namespace":"shop","fields":[
	{"name":"before","type":["null",{"type":"record","name":"Value","fields":[
		{"name":"id","type":{"type":"int","connect.default":0},"default":0},
		{"name":"active","type":[{"type":"boolean"},"null"],"default":false},
		{"name":"name","type":["null","string"],"default":null},
		{"name":"since","type":{"type":"int","logicalType":"date"},"default":42},
		{"name":"price","type":{"type":"record","name":"VariableScaleDecimal","namespace":"io.debezium.data","fields":[{"name":"scale","type":"int"},{"name":"value","type":"bytes"}]},"default":{"scale":2,"value":"\u00ff\u0000"}},
		{"name":"cost","type":["null","io.debezium.data.VariableScaleDecimal"],"default":null},
		{"name":"label","type":"string","default":"none"},
		{"name":"wrong","type":"int","default":"seven"},
		{"name":"tags","type":{"type":"array","items":"string"}}
	]}],"default":null},
	{"name":"after","type":["null","Value"],"default":null},
	{"name":"op","type":"string"},
	{"name":"note","type":["null",{"type":"record","name":"A","fields":[{"name":"x","type":"int"}]},"long",{"type":"record","name":"B","fields":[{"name":"y","type":"int"}]}]}
]}`

func TestHasAndWriterDefault(t *testing.T) {
	text := func(s string) *change.Value { v := change.OfString(s); return &v }
	want := []struct {
		path string
		has  bool
		def  *change.Value
	}{
		{"op", true, nil},
		{"after", true, &change.Value{}},
		{"after.id", true, &change.Value{Kind: change.Int}},
		{"after.active", true, &change.Value{Kind: change.Bool}},
		{"after.name", true, &change.Value{}},
		{"after.since", true, &change.Value{Kind: change.Date, Int: 42}},
		{"after.price", true, &change.Value{Kind: change.Decimal, Int: -256, Scale: 2}},
		{"after.cost", true, &change.Value{}},
		{"after.label", true, text("none")},
		{"after.wrong", true, nil},
		{"after.lost", false, nil},
		{"note.x", true, nil},
		{"note.y", true, nil},
		{"note.z", false, nil},
		{"nothing.at.all", false, nil},
	}
	var paths []string
	for _, w := range want {
		paths = append(paths, w.path)
	}
	plan := mustCompile(t, shop, projection.Limits{}, paths...)
	for i, w := range want {
		if plan.Has(w.path) != w.has {
			t.Errorf("Has(%q) is not %v", w.path, w.has)
		}
		got, ok := plan.WriterDefault(i)
		if ok != (w.def != nil) || ok && !equal(got, *w.def) {
			t.Errorf("default of %s: %v, %v", w.path, got, ok)
		}
	}
	if !plan.Has("before.tags") || plan.Has("before.tags.x") || plan.Has("") != true {
		t.Error("Has knows wanted fields only")
	}
	if _, ok := plan.WriterDefault(99); ok {
		t.Error("a default of a field that is not wanted")
	}
	if got := plan.Fields(); len(got) != len(want) || got[2].Path != "after.id" {
		t.Errorf("Fields: %v", got)
	}
}

func TestColumns(t *testing.T) {
	s, err := projection.Parse(`{"type":"record","name":"E","fields":[{"name":"after","type":["null",{"type":"record","name":"V","fields":[
		{"name":"id","type":"int"},{"name":"at","type":["null",{"type":"long","logicalType":"timestamp-millis"}]},{"name":"mix","type":["null","boolean","float","double",{"type":"enum","name":"W","symbols":["A"]}]},
		{"name":"raw","type":{"type":"fixed","name":"F","size":2}},{"name":"list","type":["null",{"type":"array","items":"int"}]},{"name":"none","type":"null"},
		{"name":"odd","type":{"type":"string","connect.name":"io.debezium.time.Date"}},{"name":"sub","type":{"type":"record","name":"S","fields":[]}}]}]},{"name":"op","type":"string"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]change.Kind{
		"id": {change.Int}, "at": {change.Timestamp}, "mix": {change.Bool, change.Double, change.String}, "raw": {change.Bytes},
		"list": {change.Nested}, "none": nil, "odd": {change.String}, "sub": {change.Nested},
	}
	columns := s.Columns("after")
	for _, c := range columns {
		if !slices.Equal(c.Kinds, want[c.Name]) || (c.Trouble != "") != (c.Name == "list" || c.Name == "odd") {
			t.Errorf("%+v", c)
		}
		// Trouble is what Compile says.
		if _, err := s.Compile([]projection.Field{{Path: "after." + c.Name}}, projection.Limits{}); (err != nil) != (c.Trouble != "") {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
	if len(columns) != len(want) || s.Columns("op") != nil || s.Columns("before") != nil || len(s.Columns("")) != 2 {
		t.Errorf("%+v", columns)
	}
	def := change.OfInt(7)
	plan, err := s.Compile([]projection.Field{{Path: "after.list", Absent: true}, {Path: "after.id", Absent: true, Default: &def}, {Path: "op"}}, projection.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	out := make([]change.Value, 3)
	if err := plan.Decode([]byte{0, 2, 'c'}, out); err != nil || out[0].Kind != change.Missing || !out[1].Equal(def) || out[2].Text() != "c" {
		t.Errorf("%v %+v", err, out)
	}
}

// Defaults of every kind, right and wrong.
func TestWriterDefaultKinds(t *testing.T) {
	for _, c := range []struct {
		typ, def string
		want     change.Value
		ok       bool
	}{
		{`"boolean"`, `true`, change.OfBool(true), true},
		{`"boolean"`, `1`, change.Value{}, false},
		{`"long"`, `-5`, change.OfInt(-5), true},
		{`"int"`, `2147483648`, change.Value{}, false},
		{`"int"`, `1.5`, change.Value{}, false},
		{`"float"`, `1.5`, change.Value{Kind: change.Double, Int: int64(math.Float64bits(1.5))}, true},
		{`"double"`, `2`, change.Value{Kind: change.Double, Int: int64(math.Float64bits(2))}, true},
		{`"double"`, `"2"`, change.Value{}, false},
		{`"bytes"`, `"\u00ff\u0001"`, change.Value{Kind: change.Bytes, Bytes: []byte{0xff, 1}}, true},
		{`"bytes"`, `"\u0100"`, change.Value{}, false},
		{`{"type":"fixed","name":"F","size":2}`, `"ab"`, change.Value{Kind: change.Bytes, Bytes: []byte("ab")}, true},
		{`{"type":"fixed","name":"F","size":2}`, `"abc"`, change.Value{}, false},
		{`{"type":"enum","name":"E","symbols":["A","B"]}`, `"B"`, change.OfString("B"), true},
		{`{"type":"enum","name":"E","symbols":["A","B"]}`, `"C"`, change.Value{}, false},
		{`["null","string"]`, `"text"`, change.OfString("text"), true}, // the second branch: since 1.12
		{`["null","string"]`, `7`, change.Value{}, false},
		{`{"type":"array","items":"int"}`, `[]`, change.Value{}, false},
		{`{"type":"record","name":"N","fields":[{"name":"a","type":"int","default":1},{"name":"b","type":"int"}]}`, `{"b":2}`, change.Value{Kind: change.Nested}, true},
		{`{"type":"record","name":"N","fields":[{"name":"a","type":"int"}]}`, `{}`, change.Value{}, false},
		{`{"type":"record","name":"N","fields":[{"name":"a","type":"int"}]}`, `3`, change.Value{}, false},
		{`"string"`, `null`, change.Value{}, false},
	} {
		schema := strings.Replace(record(c.typ), `},{"name":"y"`, `,"default":`+c.def+`},{"name":"y"`, 1)
		path := "x"
		if strings.Contains(c.typ, "array") {
			path = "y" // an array cannot be wanted; its default is no value
		}
		got, ok := mustCompile(t, schema, projection.Limits{}, path).WriterDefault(0)
		if ok != c.ok || ok && !equal(got, c.want) {
			t.Errorf("%s, default %s: %v, %v", c.typ, c.def, got, ok)
		}
	}
	// Records whose defaults hold each other twice: 2^24 values in one default.
	schema := `{"type":"record","name":"R0","fields":[{"name":"v","type":"int","default":1}]}`
	for i := range 24 {
		schema = fmt.Sprintf(`{"type":"record","name":"R%d","fields":[{"name":"a","type":%s,"default":{}},{"name":"b","type":"R%d","default":{}}]}`, i+1, schema, i)
	}
	if _, ok := mustCompile(t, schema, projection.Limits{}, "a").WriterDefault(0); ok {
		t.Error("a default without bound was read")
	}
}

// Absent fields, null records, unions of several records, and a path that is
// wanted twice.
func TestPresenceAndReaderDefaults(t *testing.T) {
	no := change.OfBool(false)
	fields := []projection.Field{
		{Path: "after"},
		{Path: "after.id"},
		{Path: "after.vat_exempt", Default: &no},
		{Path: "after.gone"},
		{Path: "op"},
		{Path: "op"},
		{Path: "note"},
		{Path: "note.x", Default: &no},
		{Path: "note.y"},
		{Path: "nowhere.deep", Default: &no},
		{Path: "before.id"},
	}
	plan, err := projection.Compile(shop, fields, projection.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	missing, null, nested := change.Value{Kind: change.Missing}, change.Value{}, change.Value{Kind: change.Nested}
	value := slices.Concat(zigzag(7, 1, 0, 0, 2), counted("\x01"), zigzag(0), counted("l"), zigzag(0, 0))
	out := make([]change.Value, len(fields))
	for i := range out {
		out[i] = change.OfInt(int64(1000 + i)) // what a record before has left
	}
	for _, c := range []struct {
		name string
		data []byte
		want []change.Value
	}{
		{
			"after, note A", slices.Concat(zigzag(0, 1), value, counted("u"), zigzag(1, 5)),
			[]change.Value{nested, change.OfInt(7), no, missing, change.OfString("u"), change.OfString("u"), nested, change.OfInt(5), missing, no, null},
		},
		{
			"delete, note B", slices.Concat(zigzag(1), value, zigzag(0), counted("d"), zigzag(3, 6)),
			[]change.Value{null, null, null, null, change.OfString("d"), change.OfString("d"), nested, no, change.OfInt(6), no, change.OfInt(7)},
		},
		{
			"note is a number", slices.Concat(zigzag(0, 0), counted("c"), zigzag(2, 9)),
			[]change.Value{null, null, null, null, change.OfString("c"), change.OfString("c"), change.OfInt(9), no, missing, no, null},
		},
		{
			"note is null", slices.Concat(zigzag(0, 0), counted("c"), zigzag(0)),
			[]change.Value{null, null, null, null, change.OfString("c"), change.OfString("c"), null, null, null, no, null},
		},
	} {
		if err := plan.Decode(c.data, out); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for i := range fields {
			if !equal(out[i], c.want[i]) {
				t.Errorf("%s, %s: got %v, want %v", c.name, fields[i].Path, out[i], c.want[i])
			}
		}
	}
	// The plan keeps its own copy of a default.
	text := change.OfString("abc")
	plan, err = projection.Compile(shop, []projection.Field{{Path: "absent", Default: &text}}, projection.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	text.Bytes[0] = 'X'
	if err := plan.Decode(slices.Concat(zigzag(0, 0), counted("c"), zigzag(0)), out[:1]); err != nil || out[0].Text() != "abc" {
		t.Error(err, out[0].Text())
	}
}

func TestNameResolution(t *testing.T) {
	// Each field is a reference that is right under one reading of the names
	// only; the fixed types differ in size, so a wrong one shows.
	schema := `{"type":"record","name":"R","namespace":"a.b","fields":[
		{"name":"f1","type":{"type":"fixed","name":"F","size":1}},
		{"name":"f2","type":{"type":"fixed","name":"c.F","size":2}},
		{"name":"f3","type":{"type":"fixed","name":"F","namespace":"","size":3}},
		{"name":"g1","type":"F"},
		{"name":"g2","type":"c.F"},
		{"name":"in","type":{"type":"record","name":"c.In","namespace":"ignored","fields":[{"name":"g","type":"F"},{"name":"h","type":"a.b.F"}]}},
		{"name":"none","type":{"type":"record","name":"None","namespace":"","fields":[{"name":"g","type":"F"}]}}
	]}`
	paths := []string{"f1", "f2", "f3", "g1", "g2", "in.g", "in.h", "none.g"}
	plan := mustCompile(t, schema, projection.Limits{}, paths...)
	out := make([]change.Value, len(paths))
	if err := plan.Decode(make([]byte, 1+2+3+1+2+2+1+3), out); err != nil {
		t.Fatal(err)
	}
	for i, size := range []int{1, 2, 3, 1, 2, 2, 1, 3} {
		if len(out[i].Bytes) != size {
			t.Errorf("%s has %d bytes, want %d", paths[i], len(out[i].Bytes), size)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	deep := strings.Repeat(`{"type":"array","items":`, 40) + `"int"` + strings.Repeat(`}`, 40)
	var many strings.Builder
	many.WriteString(`{"type":"record","name":"R","fields":[`)
	for i := range 2001 {
		fmt.Fprintf(&many, `{"name":"f%d","type":"int"},`, i)
	}
	wide := strings.TrimSuffix(many.String(), ",") + `]}`
	x := record
	for _, c := range []struct {
		name, schema, path string
		err                error
		says               string
	}{
		{"no JSON", `{"type":`, "x", projection.ErrSchema, "JSON"},
		{"more JSON", `"int" "int"`, "", projection.ErrSchema, "follows"},
		{"too long", `"int"` + strings.Repeat(" ", 256<<10), "", projection.ErrSchema, "262149"},
		{"too deep", x(deep), "y", projection.ErrSchema, "32"},
		{"JSON too deep", strings.Repeat(`[`, 200_000), "", projection.ErrSchema, ""},
		{"too many fields", wide, "", projection.ErrSchema, "2000"},
		{"unknown type", x(`"strnig"`), "y", projection.ErrSchema, "strnig"},
		{"used before defined", x(`"Later"`), "y", projection.ErrSchema, "Later"},
		{"defined twice", x(`["null",{"type":"fixed","name":"R","size":1}]`), "y", projection.ErrSchema, "twice"},
		{"field twice", `{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}`, "", projection.ErrSchema, "two fields"},
		{"field with a dot", `{"type":"record","name":"R","fields":[{"name":"a.b","type":"int"}]}`, "", projection.ErrSchema, "a.b"},
		{"field without type", `{"type":"record","name":"R","fields":[{"name":"a"}]}`, "", projection.ErrSchema, "type"},
		{"record without name", `{"type":"record","fields":[]}`, "", projection.ErrSchema, "name"},
		{"union in union", x(`["null",["int"]]`), "y", projection.ErrSchema, "union"},
		{"union of the same", x(`["int","int"]`), "y", projection.ErrSchema, "twice"},
		{"empty union", x(`[]`), "y", projection.ErrSchema, "branches"},
		{"number as type", x(`7`), "y", projection.ErrSchema, "number"},
		{"fixed without size", x(`{"type":"fixed","name":"F"}`), "y", projection.ErrSchema, "size"},
		{"fixed of negative size", x(`{"type":"fixed","name":"F","size":-1}`), "y", projection.ErrSchema, "size"},
		{"array without items", x(`{"type":"array"}`), "y", projection.ErrSchema, "items"},
		{"record in itself", `{"type":"record","name":"A","fields":[{"name":"a","type":"A"}]}`, "", projection.ErrSchema, "itself"},
		{"records in each other", `{"type":"record","name":"A","fields":[{"name":"b","type":{"type":"record","name":"B","fields":[{"name":"a","type":["A"]}]}}]}`, "", projection.ErrSchema, "itself"},

		{"array", shop, "after.tags", projection.ErrWanted, "after.tags"},
		{"below an array", shop, "after.tags.x", projection.ErrWanted, "not supported"},
		{"map in a union", x(`["null",{"type":"map","values":"int"}]`), "x", projection.ErrWanted, "map"},
		{"below a scalar", shop, "op.x", projection.ErrWanted, "op"},
		{"below an optional scalar", shop, "after.name.first", projection.ErrWanted, "after.name"},
		{"empty part", shop, "after..id", projection.ErrWanted, "after..id"},
		{"too many parts", shop, strings.Repeat("a.", 32) + "a", projection.ErrWanted, "32"},
		{"record without end in a union", x(`["null",{"type":"record","name":"A","fields":[{"name":"a","type":"A"}]}]`), "x.a.a", projection.ErrWanted, "itself"},
		{"connect.name on the wrong type", x(`{"type":"int","connect.name":"io.debezium.time.MicroTimestamp"}`), "x", projection.ErrWanted, "MicroTimestamp"},
		{"contradiction of units", x(`{"type":"long","logicalType":"timestamp-millis","connect.name":"io.debezium.time.MicroTimestamp"}`), "x", projection.ErrWanted, "contradict"},
		{"contradiction of scales", x(`{"type":"bytes","logicalType":"decimal","precision":9,"scale":2,"connect.name":"org.apache.kafka.connect.data.Decimal","connect.parameters":{"scale":"3"}}`), "x", projection.ErrWanted, "scale"},
		{"decimal without precision", x(`{"type":"bytes","logicalType":"decimal","scale":2}`), "x", projection.ErrWanted, "precision"},
		{"decimal of Connect without scale", x(`{"type":"bytes","connect.name":"org.apache.kafka.connect.data.Decimal"}`), "x", projection.ErrWanted, "scale"},
		{"variable decimal of other shape", x(`{"type":"record","name":"V","connect.name":"io.debezium.data.VariableScaleDecimal","fields":[{"name":"scale","type":"int"}]}`), "x", projection.ErrWanted, "VariableScaleDecimal"},
	} {
		_, err := projection.Compile(c.schema, wantAll([]string{c.path}), projection.Limits{})
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// What is not wanted may be strange, as long as it can be stepped over.
	for _, typ := range []string{
		`{"type":"int","connect.name":"io.debezium.time.MicroTimestamp"}`,
		`{"type":"bytes","logicalType":"decimal"}`,
		`["null",{"type":"record","name":"A","fields":[{"name":"a","type":"A"}]}]`,
	} {
		mustCompile(t, record(typ), projection.Limits{}, "y")
	}
	// A path may go round as often as it says.
	list := `{"type":"record","name":"N","fields":[{"name":"v","type":"int"},{"name":"next","type":["null","N"]}]}`
	plan := mustCompile(t, list, projection.Limits{}, "next.next.v", "v")
	var out [2]change.Value
	if err := plan.Decode(zigzag(1, 1, 2, 1, 3, 1, 4, 0), out[:]); err != nil || out[0].Int != 3 || out[1].Int != 1 {
		t.Error(err, out)
	}
	_, err := projection.Compile(shop, wantAll([]string{"after.price", "after.price.scale"}), projection.Limits{})
	if !errors.Is(err, projection.ErrWanted) || !strings.Contains(err.Error(), "parts") {
		t.Errorf("a decimal and its scale: %v", err)
	}
	plan = mustCompile(t, shop, projection.Limits{}, "before.price.scale")
	if err := plan.Decode(slices.Concat(zigzag(1, 7, 1, 0, 0, 2), counted("\x01"), zigzag(0), counted("l"), zigzag(0, 0, 0), counted("d"), zigzag(0)), out[:1]); err != nil || out[0].Int != 2 {
		t.Error(err, out[0])
	}
	// A union of many records, each holding the union again, multiplies.
	var wider strings.Builder
	wider.WriteString(`{"type":"record","name":"R0","fields":[{"name":"n","type":["null","R0"`)
	for i := range 40 {
		fmt.Fprintf(&wider, `,{"type":"record","name":"S%d","fields":[{"name":"n","type":["null","R0"]}]}`, i)
	}
	wider.WriteString(`]}]}`)
	_, err = projection.Compile(wider.String(), wantAll([]string{strings.TrimSuffix(strings.Repeat("n.", 30), ".")}), projection.Limits{})
	if !errors.Is(err, projection.ErrWanted) || !strings.Contains(err.Error(), "too many") {
		t.Errorf("multiplying unions: %v", err)
	}
}
