package projection_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"syncline/schemas/change"
	"syncline/schemas/projection"
)

// generator makes a random schema, a random datum of it in Avro binary, and
// what each path that can be wanted has to give. It shares no code with the
// package: it knows a value because it has chosen it.
type generator struct {
	r     *rand.Rand
	count int
	named []*gtype
	open  []*gtype // records around the type that is being made

	wanted   []string
	expected map[string]change.Value
}

type gtype struct {
	kind     string // of Avro
	meaning  string // logical type or connect.name
	full     string
	space    string
	names    []string
	fields   []*gtype
	items    *gtype
	branches []*gtype
	scale    int
	size     int
	again    *gtype // a reference to a record around it: recursion
}

func newGenerator(seed uint64) *generator {
	return &generator{r: rand.New(rand.NewPCG(seed, 7)), expected: map[string]change.Value{}}
}

func (g *generator) one(of ...string) string { return of[g.r.IntN(len(of))] }

func (g *generator) name(prefix string) string {
	g.count++
	return fmt.Sprintf("%s%d", prefix, g.count)
}

// reference is how the type t, defined before, is written inside a record of
// namespace space.
func (g *generator) reference(t *gtype, space string) any {
	if short, ok := strings.CutPrefix(t.full, space+"."); ok && space != "" && !strings.Contains(short, ".") && g.r.IntN(2) == 0 {
		return short
	}
	return t.full
}

func (g *generator) record(space string, depth int) (*gtype, any) {
	t := &gtype{kind: "record"}
	name := g.name("R")
	obj := map[string]any{"type": "record"}
	switch g.r.IntN(3) {
	case 0:
		t.space = space
		obj["name"] = name
	case 1:
		t.space = g.one("a.b", "a", "z.y")
		obj["name"], obj["namespace"] = name, t.space
	default:
		t.space = g.one("a.b", "q")
		obj["name"], obj["namespace"] = t.space+"."+name, "ignored.here"
	}
	t.full = strings.TrimPrefix(t.space+"."+name, ".")
	g.open = append(g.open, t)
	fields := []any{}
	for range g.r.IntN(6) + g.r.IntN(2) + 1 {
		ft, fj := g.typ(t.space, depth+1, true)
		fname := g.name("f")
		t.names, t.fields = append(t.names, fname), append(t.fields, ft)
		fields = append(fields, map[string]any{"name": fname, "type": fj})
	}
	obj["fields"] = fields
	g.open = g.open[:len(g.open)-1]
	g.named = append(g.named, t)
	return t, obj
}

var scalars = []gtype{
	{kind: "boolean"},
	{kind: "int"},
	{kind: "long"},
	{kind: "float"},
	{kind: "double"},
	{kind: "string"},
	{kind: "bytes"},
	{kind: "int"},
	{kind: "long"},
	{kind: "string"},
	{kind: "int", meaning: "date"},
	{kind: "int", meaning: "time-millis"},
	{kind: "long", meaning: "time-micros"},
	{kind: "long", meaning: "timestamp-millis"},
	{kind: "long", meaning: "timestamp-micros"},
	{kind: "long", meaning: "timestamp-nanos"},
	{kind: "long", meaning: "local-timestamp-millis"},
	{kind: "long", meaning: "local-timestamp-micros"},
	{kind: "long", meaning: "local-timestamp-nanos"},
	{kind: "bytes", meaning: "decimal", scale: 4},
	{kind: "int", meaning: "io.debezium.time.Date"},
	{kind: "int", meaning: "io.debezium.time.Time"},
	{kind: "long", meaning: "io.debezium.time.MicroTime"},
	{kind: "long", meaning: "io.debezium.time.NanoTime"},
	{kind: "long", meaning: "io.debezium.time.Timestamp"},
	{kind: "long", meaning: "io.debezium.time.MicroTimestamp"},
	{kind: "long", meaning: "io.debezium.time.NanoTimestamp"},
	{kind: "long", meaning: "io.debezium.time.MicroDuration"},
	{kind: "string", meaning: "io.debezium.data.Enum"},
	{kind: "string", meaning: "io.debezium.data.Json"},
	{kind: "int", meaning: "org.apache.kafka.connect.data.Date"},
	{kind: "int", meaning: "org.apache.kafka.connect.data.Time"},
	{kind: "long", meaning: "org.apache.kafka.connect.data.Timestamp"},
	{kind: "bytes", meaning: "org.apache.kafka.connect.data.Decimal", scale: 2},
}

func (g *generator) scalar() (*gtype, any) {
	t := scalars[g.r.IntN(len(scalars))]
	switch {
	case t.meaning == "":
		return &t, t.kind
	case t.meaning == "decimal":
		return &t, map[string]any{"type": t.kind, "logicalType": t.meaning, "precision": 38, "scale": t.scale}
	case strings.HasSuffix(t.meaning, ".Decimal"):
		return &t, map[string]any{"type": t.kind, "connect.name": t.meaning, "connect.parameters": map[string]any{"scale": fmt.Sprint(t.scale)}}
	case strings.Contains(t.meaning, "."):
		return &t, map[string]any{"type": t.kind, "connect.name": t.meaning, "connect.version": 1}
	default:
		return &t, map[string]any{"type": t.kind, "logicalType": t.meaning}
	}
}

// typ makes a type and the way it is written here.
func (g *generator) typ(space string, depth int, unions bool) (*gtype, any) {
	n := g.r.IntN(20)
	switch {
	case n == 0 && len(g.named) > 0:
		t := g.named[g.r.IntN(len(g.named))]
		return t, g.reference(t, space)
	case n == 1:
		t := &gtype{kind: "enum", full: "e." + g.name("E"), size: g.r.IntN(70) + 1}
		symbols := make([]string, t.size)
		for i := range symbols {
			symbols[i] = fmt.Sprintf("S%d", i)
		}
		g.named = append(g.named, t)
		return t, map[string]any{"type": "enum", "name": t.full, "symbols": symbols}
	case n == 2:
		t := &gtype{kind: "fixed", full: "x." + g.name("X"), size: g.r.IntN(20)}
		obj := map[string]any{"type": "fixed", "name": t.full, "size": t.size}
		if t.size > 0 && t.size <= 15 && g.r.IntN(2) == 0 {
			t.meaning, t.scale = "decimal", 3
			digits := int(math.Floor(float64(8*t.size-1) * math.Log10(2)))
			if digits >= 3 {
				obj["logicalType"], obj["precision"], obj["scale"] = "decimal", digits, 3
			} else {
				t.meaning = ""
			}
		}
		g.named = append(g.named, t)
		return t, obj
	case n == 3 && depth < 6:
		items, ij := g.typ(space, depth+1, true)
		if g.r.IntN(2) == 0 {
			return &gtype{kind: "array", items: items}, map[string]any{"type": "array", "items": ij}
		}
		return &gtype{kind: "map", items: items}, map[string]any{"type": "map", "values": ij}
	case n <= 6 && depth < 6:
		return g.record(space, depth)
	case n == 7:
		return &gtype{kind: "null"}, "null"
	case n <= 12 && unions:
		return g.union(space, depth)
	default:
		return g.scalar()
	}
}

func (g *generator) union(space string, depth int) (*gtype, any) {
	t := &gtype{kind: "union"}
	if len(g.open) > 0 && g.r.IntN(6) == 0 { // recursion
		around := g.open[g.r.IntN(len(g.open))]
		t.branches = []*gtype{{kind: "null"}, {kind: "again", again: around}}
		return t, []any{"null", g.reference(around, space)}
	}
	var written []any
	seen := map[string]bool{}
	n := 2
	if g.r.IntN(3) == 0 {
		n = 1 + g.r.IntN(5)
	}
	if g.r.IntN(4) > 0 {
		t.branches, written, seen["null"] = []*gtype{{kind: "null"}}, []any{"null"}, true
	}
	for range n * 2 {
		if len(t.branches) >= n {
			break
		}
		defined := len(g.named)
		b, bj := g.typ(space, depth+1, false)
		key := b.kind + b.full
		if seen[key] {
			g.named = g.named[:defined] // with it goes what it defined
			continue
		}
		seen[key] = true
		t.branches, written = append(t.branches, b), append(written, bj)
	}
	if len(t.branches) == 0 {
		t.branches, written = []*gtype{{kind: "null"}}, []any{"null"}
	}
	return t, written
}

// paths collects what can be wanted below t.
func (g *generator) paths(t *gtype, path string, depth int) {
	if depth > 12 {
		return
	}
	scalar := true // or a record: the path itself can be wanted
	switch t.kind {
	case "array", "map":
		scalar = false
	case "record":
		for i, f := range t.fields {
			g.paths(f, strings.TrimPrefix(path+"."+t.names[i], "."), depth+1)
		}
	case "union":
		for _, b := range t.branches {
			if b.kind == "array" || b.kind == "map" {
				scalar = false
			}
			if b.kind == "record" {
				for i, f := range b.fields {
					g.paths(f, strings.TrimPrefix(path+"."+b.names[i], "."), depth+1)
				}
			}
		}
	}
	if scalar && path != "" {
		g.wanted = append(g.wanted, path)
	}
}

// value appends a random value of t and notes what it means at path.
func (g *generator) value(dst []byte, t *gtype, path string, depth int) []byte {
	note := func(v change.Value) {
		if path != "-" {
			g.expected[path] = v
		}
	}
	below := func(name string) string {
		if path == "-" {
			return path
		}
		return strings.TrimPrefix(path+"."+name, ".")
	}
	switch t.kind {
	case "null":
		if path != "-" {
			for _, p := range g.wanted {
				if p == path || strings.HasPrefix(p, path+".") {
					g.expected[p] = change.Value{}
				}
			}
		}
	case "again":
		note(change.Value{Kind: change.Nested})
		return g.value(dst, t.again, "-", depth+1)
	case "record":
		note(change.Value{Kind: change.Nested})
		for i, f := range t.fields {
			dst = g.value(dst, f, below(t.names[i]), depth+1)
		}
	case "union":
		i := g.r.IntN(len(t.branches))
		if depth > 10 {
			for j, b := range t.branches {
				if b.kind == "null" {
					i = j
				}
			}
		}
		return g.value(g.long(dst, int64(i)), t.branches[i], path, depth+1)
	case "array", "map":
		return g.blocks(dst, t, depth)
	default:
		var v change.Value
		dst, v = g.scalarValue(dst, t)
		note(v)
	}
	return dst
}

// long appends a number, now and then padded with a zero group.
func (g *generator) long(dst []byte, x int64) []byte {
	dst = binary.AppendVarint(dst, x)
	if x > -1000 && x < 1000 && g.r.IntN(50) == 0 {
		dst[len(dst)-1] |= 0x80
		dst = append(dst, 0)
	}
	return dst
}

func (g *generator) blocks(dst []byte, t *gtype, depth int) []byte {
	for range g.r.IntN(3) {
		if depth > 10 {
			break
		}
		n := 1 + g.r.IntN(3)
		var body []byte
		for range n {
			if t.kind == "map" {
				key := g.text()
				body = append(g.long(body, int64(len(key))), key...)
			}
			body = g.value(body, t.items, "-", depth+1)
		}
		// twmb/avro refuses a block size of zero, which is of no use anyway.
		if g.r.IntN(2) == 0 && len(body) > 0 {
			dst = g.long(g.long(dst, -int64(n)), int64(len(body)))
		} else {
			dst = g.long(dst, int64(n))
		}
		dst = append(dst, body...)
	}
	return g.long(dst, 0)
}

func (g *generator) text() string {
	return g.one("", "x", "Grüße", "日本語", strings.Repeat("long ", 40), "__debezium_unavailable_value", "__debezium_unavailable_valuE", fmt.Sprint(g.r.Uint64()))
}

func (g *generator) number(bits int) int64 {
	x := int64(g.r.Uint64()) >> (64 - bits)
	return x >> g.r.IntN(bits)
}

func (g *generator) scalarValue(dst []byte, t *gtype) ([]byte, change.Value) {
	switch t.kind {
	case "boolean":
		b := g.r.IntN(2) == 1
		if b {
			return append(dst, 1), change.OfBool(b)
		}
		return append(dst, 0), change.OfBool(b)
	case "int", "long":
		bits := 32
		if t.kind == "long" {
			bits = 64
			if t.meaning != "" {
				bits = 50 // what time.Duration and time.Time of the other decoders bear
			}
		}
		x := g.number(bits)
		return g.long(dst, x), meantOracle(x, t.meaning)
	case "float":
		x := float32(g.r.NormFloat64())
		return binary.LittleEndian.AppendUint32(dst, math.Float32bits(x)), shortest(x)
	case "double":
		x := g.r.NormFloat64()
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(x)), change.Value{Kind: change.Double, Int: int64(math.Float64bits(x))}
	case "string":
		s := g.text()
		return append(g.long(dst, int64(len(s))), s...), textOracle(s, change.String)
	case "bytes":
		if t.meaning != "" {
			raw := g.unscaled(1 + g.r.IntN(15))
			return append(g.long(dst, int64(len(raw))), raw...), decimalOracle(raw, int32(t.scale))
		}
		s := g.text()
		return append(g.long(dst, int64(len(s))), s...), textOracle(s, change.Bytes)
	case "fixed":
		if t.meaning != "" {
			// Half of the width, so that the precision holds it.
			raw := g.unscaled((t.size + 1) / 2)
			full := make([]byte, t.size)
			if raw[0] >= 0x80 {
				for i := range full {
					full[i] = 0xff
				}
			}
			copy(full[t.size-len(raw):], raw)
			return append(dst, full...), decimalOracle(full, int32(t.scale))
		}
		raw := make([]byte, t.size)
		for i := range raw {
			raw[i] = byte(g.r.Uint32())
		}
		return append(dst, raw...), change.Value{Kind: change.Bytes, Bytes: raw}
	case "enum":
		i := g.r.IntN(t.size)
		return g.long(dst, int64(i)), change.OfString(fmt.Sprintf("S%d", i))
	}
	panic("generator: " + t.kind)
}

func (g *generator) unscaled(n int) []byte {
	raw := make([]byte, n)
	for i := range raw {
		raw[i] = byte(g.r.Uint32())
	}
	return raw
}

func textOracle(s string, kind change.Kind) change.Value {
	if s == "__debezium_unavailable_value" {
		kind = change.Unavailable
	}
	return change.Value{Kind: kind, Bytes: []byte(s)}
}

// meantOracle knows units by the ends of names.
func meantOracle(x int64, meaning string) change.Value {
	var kind change.Kind
	name := strings.ToLower(meaning[strings.LastIndexByte(meaning, '.')+1:])
	switch {
	case name == "date":
		return change.OfDate(x)
	case strings.Contains(name, "timestamp"):
		kind = change.Timestamp
	case strings.Contains(name, "time"), strings.Contains(name, "duration"):
		kind = change.Duration
	default:
		return change.OfInt(x)
	}
	unit := new(big.Rat).SetInt64(1)
	switch {
	case strings.Contains(name, "nano"):
		unit.SetFrac64(1, 1000)
	case !strings.Contains(name, "micro"): // the plain names are milliseconds
		unit.SetInt64(1000)
	}
	v := unit.Mul(unit, new(big.Rat).SetInt64(x))
	return change.Value{Kind: kind, Int: new(big.Int).Div(v.Num(), v.Denom()).Int64()} // Div rounds down
}

// story is one generated case.
type story struct {
	schema string
	data   []byte
	fields []projection.Field
	want   []change.Value
}

func generate(tb testing.TB, seed uint64) story {
	tb.Helper()
	g := newGenerator(seed)
	root, written := g.record("", 0)
	g.paths(root, "", 0)
	text, err := json.Marshal(written)
	if err != nil {
		tb.Fatal(err)
	}
	s := story{schema: string(text)}
	s.data = g.value(nil, root, "", 0)
	g.wanted = append(g.wanted, "absent", root.names[0]+"absent.below")
	for _, p := range g.wanted {
		if g.r.IntN(4) == 0 {
			continue
		}
		f := projection.Field{Path: p}
		want := change.Value{Kind: change.Missing}
		if g.r.IntN(2) == 0 {
			want = change.OfString("default of " + p)
			f.Default = &want
		}
		if v, ok := g.expected[p]; ok {
			want = v
		}
		s.fields, s.want = append(s.fields, f), append(s.want, want.Clone())
	}
	g.r.Shuffle(len(s.fields), func(i, j int) {
		s.fields[i], s.fields[j] = s.fields[j], s.fields[i]
		s.want[i], s.want[j] = s.want[j], s.want[i]
	})
	return s
}
