package projection

import (
	"encoding/json"
	"fmt"
	"strconv"

	"syncline/schemas/change"
)

// meaning tells what a value stands for beyond its Avro type.
type meaning uint8

const (
	plain meaning = iota
	date
	timestampMicros
	durationMicros
	timestampMillis // the first whose numbers are not taken as they are
	timestampNanos
	durationMillis
	durationNanos
	decimal
	zonedTimestamp  // text, ISO-8601
	variableDecimal // a record of scale and value
)

// kindOf is the kind that a number of this meaning becomes.
func (m meaning) kindOf() change.Kind {
	switch m {
	case date:
		return change.Date
	case timestampMillis, timestampMicros, timestampNanos, zonedTimestamp:
		return change.Timestamp
	case durationMillis, durationMicros, durationNanos:
		return change.Duration
	case decimal, variableDecimal:
		return change.Decimal
	default:
		return change.Int
	}
}

type based struct {
	base    typeKind
	meaning meaning
}

// Avro specification 1.12, "Logical Types". Decimal is handled apart.
var logicalTypes = map[string]based{
	"date":                   {tInt, date},
	"time-millis":            {tInt, durationMillis},
	"time-micros":            {tLong, durationMicros},
	"timestamp-millis":       {tLong, timestampMillis},
	"timestamp-micros":       {tLong, timestampMicros},
	"timestamp-nanos":        {tLong, timestampNanos},
	"local-timestamp-millis": {tLong, timestampMillis},
	"local-timestamp-micros": {tLong, timestampMicros},
	"local-timestamp-nanos":  {tLong, timestampNanos},
}

// The names that Kafka Connect's converters write into connect.name. Debezium
// documents its own under "Data type mappings" of each connector. Names that
// are not here (Enum, Uuid, Json, Xml, Year, …) are read as their base type.
var connectNames = map[string]based{
	"io.debezium.time.Date":                   {tInt, date},
	"io.debezium.time.Time":                   {tInt, durationMillis},
	"io.debezium.time.MicroTime":              {tLong, durationMicros},
	"io.debezium.time.NanoTime":               {tLong, durationNanos},
	"io.debezium.time.Timestamp":              {tLong, timestampMillis},
	"io.debezium.time.MicroTimestamp":         {tLong, timestampMicros},
	"io.debezium.time.NanoTimestamp":          {tLong, timestampNanos},
	"io.debezium.time.MicroDuration":          {tLong, durationMicros},
	"io.debezium.time.NanoDuration":           {tLong, durationNanos},
	"io.debezium.time.ZonedTimestamp":         {tString, zonedTimestamp},
	"io.debezium.data.VariableScaleDecimal":   {tRecord, variableDecimal},
	"org.apache.kafka.connect.data.Date":      {tInt, date},
	"org.apache.kafka.connect.data.Time":      {tInt, durationMillis},
	"org.apache.kafka.connect.data.Timestamp": {tLong, timestampMillis},
}

const connectDecimal = "org.apache.kafka.connect.data.Decimal"

// setMeaning reads logicalType and connect.name from the type's own object.
func (t *node) setMeaning(obj map[string]any) {
	if logical, _ := obj["logicalType"].(string); logical == "decimal" {
		t.setDecimal(obj)
	} else if l, ok := logicalTypes[logical]; ok && l.base == t.kind {
		t.meaning = l.meaning
	}
	name, _ := obj["connect.name"].(string)
	if name == "" && t.kind == tRecord {
		name = t.name
	}
	if name == connectDecimal {
		t.setConnectDecimal(obj)
		return
	}
	c, ok := connectNames[name]
	switch {
	case !ok:
	case c.base != t.kind:
		t.misfit = fmt.Sprintf("connect.name %s does not go with %v", name, t)
	case t.meaning != plain && t.meaning != c.meaning:
		t.misfit = fmt.Sprintf("logicalType %v and connect.name %s contradict each other", obj["logicalType"], name)
	case c.meaning == variableDecimal && !t.isVariableDecimal():
		t.misfit = name + " is not a record of scale (int) and value (bytes)"
	default:
		t.meaning = c.meaning
	}
}

func (t *node) isVariableDecimal() bool {
	scale, value := t.field("scale"), t.field("value")
	return len(t.fields) == 2 && scale != nil && value != nil && scale.typ.kind == tInt && value.typ.kind == tBytes
}

// setDecimal reads Avro's own decimal. A bad one is an error if it is wanted:
// the specification would have it read as bytes, which would lose an amount.
func (t *node) setDecimal(obj map[string]any) {
	if t.kind != tBytes && t.kind != tFixed {
		return
	}
	scale, ok := smallNumber(obj["scale"], 0)
	precision, okPrecision := smallNumber(obj["precision"], -1)
	if !ok || !okPrecision || precision < 1 || scale < 0 || scale > precision || scale > maxScale {
		t.misfit = fmt.Sprintf("decimal with precision %v and scale %v", obj["precision"], obj["scale"])
		return
	}
	t.meaning, t.scale = decimal, scale
}

func (t *node) setConnectDecimal(obj map[string]any) {
	params, _ := obj["connect.parameters"].(map[string]any)
	text, _ := params["scale"].(string)
	scale, err := strconv.ParseInt(text, 10, 32)
	switch {
	case t.kind != tBytes && t.kind != tFixed:
		t.misfit = fmt.Sprintf("connect.name %s does not go with %v", connectDecimal, t)
	case err != nil && t.meaning == decimal:
		// The logical type has said it all.
	case err != nil || scale < -maxScale || scale > maxScale:
		t.misfit = fmt.Sprintf("connect.name %s needs connect.parameters with a scale up to %d, not %q", connectDecimal, maxScale, text)
	case t.meaning == decimal && int64(t.scale) != scale:
		t.misfit = fmt.Sprintf("logicalType decimal says scale %d, connect.parameters say %d", t.scale, scale)
	default:
		t.meaning, t.scale, t.misfit = decimal, int32(scale), ""
	}
}

// smallNumber reads a JSON number as int32; what is absent is absent.
func smallNumber(v any, absent int32) (int32, bool) {
	if v == nil {
		return absent, true
	}
	num, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(num.String(), 10, 32)
	return int32(n), err == nil
}
