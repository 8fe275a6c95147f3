package projection_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"syncline/schemas/change"
	"syncline/schemas/projection"
)

func counted(s string) []byte { return append(binary.AppendVarint(nil, int64(len(s))), s...) }

func decodeOne(tb testing.TB, typ string, data []byte) (change.Value, error) {
	tb.Helper()
	plan := mustCompile(tb, record(typ), projection.Limits{}, "x")
	var out [1]change.Value
	err := plan.Decode(append(bytes.Clone(data), 0), out[:])
	if out[0].Kind == change.Unreadable {
		err = projection.Fault(out[0]) // of the value alone
	}
	return out[0], err
}

func TestMeanings(t *testing.T) {
	logical := func(base, name string) string { return fmt.Sprintf(`{"type":%q,"logicalType":%q}`, base, name) }
	connect := func(base, name string) string {
		return fmt.Sprintf(`{"type":%q,"connect.version":1,"connect.name":%q}`, base, name)
	}
	double := func(f float64) change.Value {
		return change.Value{Kind: change.Double, Int: int64(math.Float64bits(f))}
	}
	float := func(f float32) []byte { return binary.LittleEndian.AppendUint32(nil, math.Float32bits(f)) }
	const debezium, kafka = "io.debezium.", "org.apache.kafka.connect.data."
	ts := change.OfTimestamp
	dur := func(micros int64) change.Value { return change.Value{Kind: change.Duration, Int: micros} }
	amount := func(unscaled int64, scale int32) change.Value {
		return change.Value{Kind: change.Decimal, Int: unscaled, Scale: scale}
	}
	vsd := `{"type":"record","name":"VariableScaleDecimal","namespace":"io.debezium.data","fields":[{"name":"scale","type":"int"},{"name":"value","type":"bytes"}],"connect.name":"io.debezium.data.VariableScaleDecimal"}`
	vsdTurned := `{"type":"record","name":"V","fields":[{"name":"value","type":"bytes"},{"name":"scale","type":"int"}],"connect.name":"io.debezium.data.VariableScaleDecimal"}`
	unavailable := change.Value{Kind: change.Unavailable, Bytes: []byte("__debezium_unavailable_value")}
	placeholder := counted("__debezium_unavailable_value")
	decimal9 := `{"type":"bytes","logicalType":"decimal","precision":38,"scale":9}`
	for _, c := range []struct {
		name, typ string
		data      []byte
		want      change.Value
		err       error
	}{
		{"null", `"null"`, nil, change.Value{}, nil},
		{"boolean", `"boolean"`, []byte{1}, change.OfBool(true), nil},
		{"int, smallest", `"int"`, zigzag(math.MinInt32), change.OfInt(math.MinInt32), nil},
		{"long, smallest", `"long"`, zigzag(math.MinInt64), change.OfInt(math.MinInt64), nil},
		{"long, padded", `"long"`, []byte{0x82, 0x80, 0}, change.OfInt(1), nil},
		{"optional, index padded", `["null","long"]`, []byte{0x82, 0, 6}, change.OfInt(3), nil},
		{"optional, null padded", `["null","long"]`, []byte{0x80, 0x80, 0}, change.Value{}, nil},
		{"null second", `["long","null"]`, zigzag(1), change.Value{}, nil},
		{"float", `"float"`, []byte{0, 0, 0xc0, 0x3f}, change.Value{Kind: change.Double, Int: int64(math.Float64bits(1.5))}, nil},
		{"string", `"string"`, counted("añ"), change.OfString("añ"), nil},
		{"float by its shortest decimal", `"float"`, float(0.1), double(0.1), nil},
		{"float, smallest", `"float"`, float(math.SmallestNonzeroFloat32), double(1e-45), nil},
		{"float, greatest", `"float"`, float(math.MaxFloat32), double(math.MaxFloat32), nil},
		{"float, negative", `"float"`, float(-19.99), double(-19.99), nil},
		{"text that is not UTF-8", `"string"`, []byte{4, 0xc3, 0x28}, change.Value{}, projection.ErrUTF8},
		{"string that Java names", `{"type":"string","avro.java.string":"String"}`, counted("a"), change.OfString("a"), nil},
		{"bytes", `"bytes"`, counted("\xff\x00"), change.Value{Kind: change.Bytes, Bytes: []byte{0xff, 0}}, nil},
		{"enum", `{"type":"enum","name":"E","symbols":["A","B"]}`, zigzag(1), change.OfString("B"), nil},
		{"union of scalars", `["null","string","long"]`, zigzag(2, 5), change.OfInt(5), nil},
		{"union of one", `["string"]`, append([]byte{0}, counted("a")...), change.OfString("a"), nil},
		{"wrapped type", `{"type":{"type":"int","logicalType":"date"}}`, zigzag(3), change.OfDate(3), nil},

		{"date", logical("int", "date"), zigzag(-1), change.OfDate(-1), nil},
		{"date on long is a long", logical("long", "date"), zigzag(-1), change.OfInt(-1), nil},
		{"unknown logical type", logical("int", "fortnight"), zigzag(5), change.OfInt(5), nil},
		{"timestamp-millis", logical("long", "timestamp-millis"), zigzag(-1), ts(-1000), nil},
		{"timestamp-millis over", logical("long", "timestamp-millis"), zigzag(math.MaxInt64 / 999), change.Value{}, projection.ErrRange},
		{"timestamp-millis under", logical("long", "timestamp-millis"), zigzag(math.MinInt64), change.Value{}, projection.ErrRange},
		{"timestamp-nanos rounds down", logical("long", "timestamp-nanos"), zigzag(-1), ts(-1), nil},
		{"timestamp-nanos, smallest", logical("long", "timestamp-nanos"), zigzag(math.MinInt64), ts(-9223372036854776), nil},
		{"local-timestamp-micros", logical("long", "local-timestamp-micros"), zigzag(12), ts(12), nil},
		{"time-millis", logical("int", "time-millis"), zigzag(12), dur(12000), nil},
		{"uuid", logical("string", "uuid"), counted("u"), change.OfString("u"), nil},

		{"debezium Date", connect("int", debezium+"time.Date"), zigzag(20000), change.OfDate(20000), nil},
		{"debezium Timestamp", connect("long", debezium+"time.Timestamp"), zigzag(5), ts(5000), nil},
		{"debezium MicroTimestamp", connect("long", debezium+"time.MicroTimestamp"), zigzag(5), ts(5), nil},
		{"debezium NanoTimestamp", connect("long", debezium+"time.NanoTimestamp"), zigzag(5999), ts(5), nil},
		{"debezium Time", connect("int", debezium+"time.Time"), zigzag(5), dur(5000), nil},
		{"debezium MicroTime", connect("long", debezium+"time.MicroTime"), zigzag(5), dur(5), nil},
		{"debezium NanoTime", connect("long", debezium+"time.NanoTime"), zigzag(5000), dur(5), nil},
		{"debezium MicroDuration", connect("long", debezium+"time.MicroDuration"), zigzag(-5), dur(-5), nil},
		{"debezium Enum", connect("string", debezium+"data.Enum"), counted("open"), change.OfString("open"), nil},
		{"debezium Uuid", connect("string", debezium+"data.Uuid"), counted("u"), change.OfString("u"), nil},
		{"debezium Json", connect("string", debezium+"data.Json"), counted("{}"), change.OfString("{}"), nil},
		{"debezium ZonedTimestamp", connect("string", debezium+"time.ZonedTimestamp"), counted("1970-01-02T00:00:00.5Z"), ts(86400_500000), nil},
		{"debezium ZonedTimestamp, malformed", connect("string", debezium+"time.ZonedTimestamp"), counted("yesterday"), change.Value{}, projection.ErrBadTime},
		{"kafka Date", connect("int", kafka+"Date"), zigzag(1), change.OfDate(1), nil},
		{"kafka Timestamp", connect("long", kafka+"Timestamp"), zigzag(1), ts(1000), nil},
		{"kafka Time", connect("int", kafka+"Time"), zigzag(1), dur(1000), nil},
		{"kafka Timestamp with logical type", `{"type":"long","connect.name":"org.apache.kafka.connect.data.Timestamp","logicalType":"timestamp-millis"}`, zigzag(1), ts(1000), nil},
		{"kafka Decimal", `{"type":"bytes","connect.name":"org.apache.kafka.connect.data.Decimal","connect.parameters":{"scale":"2"}}`, counted("\x01\x00"), amount(256, 2), nil},
		{"kafka Decimal with logical type", `{"type":"bytes","scale":2,"precision":64,"connect.version":1,"connect.parameters":{"scale":"2","connect.decimal.precision":"64"},"connect.name":"org.apache.kafka.connect.data.Decimal","logicalType":"decimal"}`, counted("\xff"), amount(-1, 2), nil},

		{"decimal", decimal9, counted("\xff\x38"), amount(-200, 9), nil},
		{"decimal, sign repeated", decimal9, counted(strings.Repeat("\x00", 20) + "\x80"), amount(128, 9), nil},
		{"decimal, 8 bytes, smallest", decimal9, counted("\x80\x00\x00\x00\x00\x00\x00\x00"), amount(math.MinInt64, 9), nil},
		{"decimal, 9 bytes", decimal9, counted("\x00\x80\x00\x00\x00\x00\x00\x00\x00"), change.Value{Kind: change.Decimal, Scale: 9, Bytes: []byte("\x00\x80\x00\x00\x00\x00\x00\x00\x00")}, nil},
		{"decimal, 9 bytes, sign repeated", decimal9, counted("\xff\xff\x7f\x00\x00\x00\x00\x00\x00\x00"), change.Value{Kind: change.Decimal, Scale: 9, Bytes: []byte("\xff\x7f\x00\x00\x00\x00\x00\x00\x00")}, nil},
		{"decimal, empty", decimal9, counted(""), change.Value{}, projection.ErrDecimal},
		{"decimal, 33 bytes", decimal9, counted(strings.Repeat("\x00", 33)), change.Value{}, projection.ErrDecimal},
		{"decimal, 17 bytes", decimal9, counted("\x01" + strings.Repeat("\x00", 16)), change.Value{}, projection.ErrDecimal},
		{"decimal, placeholder", decimal9, placeholder, unavailable, nil},
		{"decimal, fixed", `{"type":"fixed","name":"F","size":3,"logicalType":"decimal","precision":6,"scale":1}`, []byte{0xff, 0xff, 0xfe}, amount(-2, 1), nil},
		{"decimal of variable scale", vsd, append(zigzag(3), counted("\x01")...), amount(1, 3), nil},
		{"decimal of variable scale, negative", vsd, append(zigzag(-3), counted("\x01")...), amount(1, -3), nil},
		{"decimal of variable scale, optional", `["null",` + vsd + `]`, append(zigzag(1, 3), counted("\x01")...), amount(1, 3), nil},
		{"decimal of variable scale, null", `[` + vsd + `,"null"]`, zigzag(1), change.Value{}, nil},
		{"decimal of variable scale, value first", vsdTurned, append(counted("\x01"), zigzag(3)...), amount(1, 3), nil},
		{"decimal of variable scale, scale huge", vsd, append(zigzag(math.MaxInt32), counted("\x01")...), change.Value{}, projection.ErrDecimal},

		{"placeholder as string", `["null","string"]`, append(zigzag(1), placeholder...), unavailable, nil},
		{"placeholder as bytes", `"bytes"`, placeholder, unavailable, nil},
		{"placeholder as time", connect("string", debezium+"time.ZonedTimestamp"), placeholder, unavailable, nil},
		{"placeholder and more", `"string"`, counted("__debezium_unavailable_value!"), change.OfString("__debezium_unavailable_value!"), nil},
	} {
		got, err := decodeOne(t, c.typ, c.data)
		if !errors.Is(err, c.err) || err == nil && !equal(got, c.want) {
			t.Errorf("%s: got %v, %v; want %v, %v", c.name, got, err, c.want, c.err)
		}
	}
}

// The edge of 38 digits, from both sides and with both signs.
func TestDecimalDigits(t *testing.T) {
	top := new(big.Int).Exp(big.NewInt(10), big.NewInt(38), nil)
	for _, sign := range []int64{1, -1} {
		for d := int64(-2); d <= 2; d++ {
			x := new(big.Int).Add(top, big.NewInt(d))
			x.Mul(x, big.NewInt(sign))
			raw := twosComplement(x)
			got, err := decodeOne(t, `{"type":"bytes","logicalType":"decimal","precision":38}`, counted(string(raw)))
			if fits := d < 0; fits != (err == nil) || fits && !equal(got, decimalOracle(raw, 0)) {
				t.Errorf("%v: got %v, %v", x, got, err)
			}
		}
	}
}

func zoned(tb testing.TB, text string) (int64, bool) {
	tb.Helper()
	v, err := decodeOne(tb, `{"type":"string","connect.name":"io.debezium.time.ZonedTimestamp"}`, counted(text))
	if err != nil && !errors.Is(err, projection.ErrBadTime) && !errors.Is(err, projection.ErrRange) {
		tb.Fatal(err)
	}
	return v.Int, err == nil && v.Kind == change.Timestamp
}

func TestZonedTimestamp(t *testing.T) {
	for text, want := range map[string]string{
		"2026-11-22T10:15:30.123456Z":             "2026-11-22T10:15:30.123456Z",
		"2026-11-22T10:15:30.1234567+02:00":       "2026-11-22T08:15:30.123456Z",
		"2024-02-29T23:59:59-18:00":               "2024-03-01T17:59:59Z",
		"1969-12-31T23:59:59.999999999Z":          "1969-12-31T23:59:59.999999Z",
		"2026-11-22T10:15Z":                       "2026-11-22T10:15:00Z",
		"0001-01-01T00:00:00Z":                    "0001-01-01T00:00:00Z",
		"1900-03-01T00:00:00+00:19:32":            "1900-02-28T23:40:28Z",
		"+10000-01-01T00:00:00Z":                  "10000-01-01T00:00:00Z",
		"+294247-01-10T04:00:25.200Z":             "infinity of PostgreSQL",
		"-0001-12-31T00:00:00Z":                   "before the year 0",
		"2026-11-22 10:15:30.5+00":                "2026-11-22T10:15:30.5Z",
		"2026-11-22t10:15:30-0130":                "2026-11-22T11:45:30Z",
		"2026-11-22 10:15:30z":                    "2026-11-22T10:15:30Z",
		"+292278994-08-16T23:00:00Z":              "",
		"2026-11-22 10:15:30":                     "",
		"2026-11-22T10:15:30+":                    "",
		"2026-11-22T10:15:30+02:":                 "",
		"2026-11-22T10:15:30+020":                 "",
		"2026-11-22T10:15:30":                     "",
		"2026-11-22T10:15:30.Z":                   "",
		"2026-11-22T10:15:30.1234567890Z":         "",
		"2026-02-29T10:15:30Z":                    "",
		"1900-02-29T10:15:30Z":                    "",
		"2026-13-01T10:15:30Z":                    "",
		"2026-00-01T10:15:30Z":                    "",
		"2026-11-00T10:15:30Z":                    "",
		"2026-11-31T10:15:30Z":                    "",
		"2026-11-22T24:00:00Z":                    "",
		"2026-11-22T10:60:00Z":                    "",
		"2026-11-22T10:15:60Z":                    "",
		"2026-11-22T10:15:30+18:01":               "",
		"2026-11-22T10:15:30+2:00":                "",
		"2026-11-22T10:15:30ZZ":                   "",
		"2026-11-22T10:15:30Z[Europe/Berlin]":     "",
		"10000-01-01T00:00:00Z":                   "",
		"+999999-01-01T00:00:00Z":                 "",
		"+9999999-01-01T00:00:00Z":                "",
		"2026-1a-22T10:15:30Z":                    "",
		"":                                        "",
		"-":                                       "",
		strings.Repeat("2026-11-22T10:15:30", 10): "",
	} {
		got, ok := zoned(t, text)
		switch want {
		case "":
			if ok {
				t.Errorf("%q was read as %d", text, got)
			}
		case "infinity of PostgreSQL":
			if !ok || got != 9223372036825200000 {
				t.Errorf("%q: %d, %v", text, got, ok)
			}
		case "before the year 0":
			if !ok || got != time.Date(-1, 12, 31, 0, 0, 0, 0, time.UTC).UnixMicro() {
				t.Errorf("%q: %d, %v", text, got, ok)
			}
		default:
			if at := time.UnixMicro(got).UTC().Format(time.RFC3339Nano); !ok || at != want {
				t.Errorf("%q: %s, %v; want %s", text, at, ok, want)
			}
		}
	}
}

func TestFloatsCostNoMemory(t *testing.T) {
	plan := mustCompile(t, record(`"float"`), projection.Limits{}, "x")
	var out [1]change.Value
	data := append(binary.LittleEndian.AppendUint32(nil, math.Float32bits(0.1)), 0)
	if n := testing.AllocsPerRun(100, func() { _ = plan.Decode(data, out[:]) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestParseDate(t *testing.T) {
	for text, want := range map[string]string{
		"2026-11-22": "2026-11-22", "2026-11-22Z": "2026-11-22", "1969-12-31T22:00:00-01:00": "1969-12-31", "1969-12-31T23:00:00-01:00": "1970-01-01",
		"0001-01-01": "0001-01-01", "2026-02-30": "", "2026-11-22T10:00:00": "", "22.11.2026": "", "20261122": "", "": "", "infinity": "",
	} {
		day, ok := projection.ParseDate([]byte(text))
		if got := time.Unix(day*86400, 0).UTC().Format(time.DateOnly); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %s, %v", text, got, ok)
		}
	}
}

// What the standard library reads as RFC 3339 is read the same.
func FuzzZonedTimestamp(f *testing.F) {
	f.Add("2026-11-22T10:15:30.123456Z")
	f.Add("1969-12-31T23:59:59.9999999+02:00")
	f.Add("+294247-01-10T04:00:25.200Z")
	f.Add("0000-01-01T0:00:00Z")
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := zoned(t, text)
		want, err := time.Parse(time.RFC3339Nano, text)
		if err != nil || strings.Contains(text, ",") {
			return
		}
		_, offset := want.Zone()
		fraction := 0
		if _, after, ok0 := strings.Cut(text, "."); ok0 {
			fraction = len(strings.TrimRight(after, "Zz")) // or more, with an offset
		}
		if ok && got != want.UnixMicro() {
			t.Errorf("%q: %d, want %d", text, got, want.UnixMicro())
		}
		// The standard library also reads an hour of one digit.
		if !ok && fraction <= 9 && text[len(text)-1] == 'Z' && offset == 0 && text[13] == ':' {
			t.Errorf("%q is not read", text)
		}
	})
}
