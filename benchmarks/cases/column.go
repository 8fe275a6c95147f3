package main

import (
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// column is one column of a captured table: a word of a case (README.md) and
// how a connector writes it in Avro.
type column struct {
	name             string
	word             string // without its exclamation mark
	required         bool   // NOT NULL
	precision, scale int    // of decimal(P,S)
	fallback         any    // the default in the schema; nil: none
}

// A plain Avro type by the word, or one with a name of the connector's.
var (
	plainTypes = map[string]string{
		"int": "int", "long": "long", "bool": "boolean", "double": "double", "float": "float", "text": "string", "bytes": "bytes",
	}
	namedTypes = map[string][2]string{
		"date":   {"int", "io.debezium.time.Date"},
		"millis": {"long", "io.debezium.time.Timestamp"},
		"micros": {"long", "io.debezium.time.MicroTimestamp"},
		"zoned":  {"string", "io.debezium.time.ZonedTimestamp"},
	}
	// What a PostgreSQL connector sends for dates without an end.
	infinities = map[[2]string]int64{
		{"micros", "infinity"}: 9223372036825200000, {"micros", "-infinity"}: -9223372036832400000,
		{"date", "infinity"}: 2147483647, {"date", "-infinity"}: -2147483648,
	}
	decimalWord = regexp.MustCompile(`^decimal\(\s*(\d+)\s*,\s*(\d+)\s*\)$`)
)

// unavailable stands where a connector was not told a long value that an update
// has not touched.
const unavailable = "__debezium_unavailable_value"

func newColumn(name string, spec any) (*column, error) {
	c := &column{name: name}
	if m, ok := spec.(map[string]any); ok {
		c.fallback, spec = m["default"], m["type"]
	}
	word, ok := spec.(string)
	if !ok {
		return nil, fmt.Errorf("column %s: its type is not a word: %v", name, spec)
	}
	c.word, c.required = strings.CutSuffix(word, "!")
	if m := decimalWord.FindStringSubmatch(c.word); m != nil {
		c.precision, _ = strconv.Atoi(m[1])
		c.scale, _ = strconv.Atoi(m[2])
		return c, nil
	}
	if plainTypes[c.word] == "" && namedTypes[c.word][0] == "" && c.word != "vdecimal" {
		return nil, fmt.Errorf("column %s: no type %q", name, c.word)
	}
	return c, nil
}

type object = map[string]any

// avro is the column's type without null. A type with a name is told once in a
// schema and only named from then on: told has those that were.
func (c *column) avro(told map[string]bool) any {
	switch {
	case c.precision > 0:
		return object{
			"type": "bytes", "logicalType": "decimal", "precision": c.precision, "scale": c.scale,
			"connect.name": "org.apache.kafka.connect.data.Decimal", "connect.version": 1,
			"connect.parameters": object{"scale": strconv.Itoa(c.scale), "connect.decimal.precision": strconv.Itoa(c.precision)},
		}
	case c.word == "vdecimal":
		const name = "io.debezium.data.VariableScaleDecimal"
		if told[name] {
			return name
		}
		told[name] = true
		return object{
			"type": "record", "name": "VariableScaleDecimal", "namespace": "io.debezium.data",
			"fields":       []object{{"name": "scale", "type": "int"}, {"name": "value", "type": "bytes"}},
			"connect.name": name, "connect.version": 1,
		}
	case namedTypes[c.word][0] != "":
		return object{"type": namedTypes[c.word][0], "connect.name": namedTypes[c.word][1], "connect.version": 1}
	default:
		return plainTypes[c.word]
	}
}

// field is the column in the schema of a row.
func (c *column) field(told map[string]bool) (object, error) {
	t := c.avro(told)
	switch {
	case c.fallback != nil:
		v, err := c.encode(c.fallback)
		if err != nil {
			return nil, err
		}
		if b, ok := v.([]byte); ok {
			v = latin1(b)
		}
		if !c.required {
			t = []any{t, "null"}
		}
		return object{"name": c.name, "type": t, "default": v}, nil
	case c.required:
		return object{"name": c.name, "type": t}, nil
	default:
		return object{"name": c.name, "type": []any{"null", t}, "default": nil}, nil
	}
}

// latin1 is how bytes stand in the text of a schema: a character for each.
func latin1(b []byte) string {
	runes := make([]rune, len(b))
	for i, x := range b {
		runes[i] = rune(x)
	}
	return string(runes)
}

// encode turns a value of a case into what goes into Avro.
func (c *column) encode(v any) (any, error) {
	text, isText := v.(string)
	if !isText {
		text = plainText(v)
	}
	switch {
	case v == nil:
		return nil, nil
	case text == unavailable && (c.precision > 0 || c.word == "bytes"):
		return []byte(text), nil
	case text == unavailable:
		return text, nil
	case c.precision > 0:
		return unscaled(text, c.scale)
	case c.word == "vdecimal":
		_, fraction, _ := strings.Cut(text, ".")
		value, err := unscaled(text, len(fraction))
		return object{"scale": int32(len(fraction)), "value": value}, err //nolint:gosec // digits of a number in a case
	}
	if n, ok := infinities[[2]string{c.word, text}]; ok {
		return c.whole(n), nil
	}
	switch c.word {
	case "text", "zoned":
		return text, nil
	case "bytes":
		return []byte(text), nil
	case "bool":
		return strconv.ParseBool(text)
	case "double":
		return strconv.ParseFloat(text, 64)
	case "float":
		f, err := strconv.ParseFloat(text, 32)
		return float32(f), err
	}
	if isText && (c.word == "date" || c.word == "millis" || c.word == "micros") {
		at, err := parseTime(text)
		if err != nil {
			return nil, err
		}
		switch c.word {
		case "date":
			return c.whole(at.Unix() / 86400), nil
		case "millis":
			return at.UnixMilli(), nil
		}
		return at.UnixMicro(), nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return c.whole(n), err
}

// whole gives a whole number the size that Avro's type has.
func (c *column) whole(n int64) any {
	if c.word == "int" || c.word == "date" {
		return int32(n) //nolint:gosec // the case's own number
	}
	return n
}

// zero is what stands in a before image for a column that the source did not
// log: all but the key's.
func (c *column) zero() (any, error) {
	switch {
	case !c.required:
		return nil, nil
	case c.precision > 0 || c.word == "vdecimal":
		return c.encode("0")
	case c.word == "text" || c.word == "bytes":
		return c.encode("")
	case c.word == "zoned":
		return "1970-01-01T00:00:00Z", nil
	case c.word == "bool":
		return false, nil
	default:
		return c.encode(0)
	}
}

// unscaled is a decimal as its digits with the point moved behind the last, in
// two's complement, as short as can be.
func unscaled(text string, scale int) ([]byte, error) {
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return nil, fmt.Errorf("%q is no decimal", text)
	}
	r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)))
	if !r.IsInt() {
		return nil, fmt.Errorf("%s has more than %d digits behind the point", text, scale)
	}
	n := r.Num()
	if n.Sign() >= 0 {
		return n.FillBytes(make([]byte, n.BitLen()/8+1)), nil
	}
	size := new(big.Int).Not(n).BitLen()/8 + 1
	return new(big.Int).Add(n, new(big.Int).Lsh(big.NewInt(1), uint(8*size))).FillBytes(make([]byte, size)), nil //nolint:gosec // a few bytes
}

// plainText is a value as people write it: a float without an exponent.
func plainText(v any) string {
	if f, ok := v.(float64); ok {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

// parseTime reads ISO 8601; without an offset it is UTC.
func parseTime(text string) (time.Time, error) {
	for _, form := range []string{"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if at, err := time.Parse(form, strings.Replace(text, " ", "T", 1)); err == nil {
			return at.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time", text)
}
