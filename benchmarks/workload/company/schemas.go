package company

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"syncline/benchmarks/workload"
)

type obj = map[string]any

func connect(base, name string) obj {
	return obj{"type": base, "connect.version": 1, "connect.name": name}
}

// avro is the column's type without null.
func (c *column) avro() any {
	switch c.kind {
	case colLong:
		return "long"
	case colInt:
		return "int"
	case colEnum:
		t := connect("string", "io.debezium.data.Enum")
		t["connect.parameters"] = obj{"allowed": strings.Join(c.words, ",")}
		return t
	case colBool:
		return "boolean"
	case colDecimal:
		return obj{"type": "bytes", "logicalType": "decimal", "precision": c.precision, "scale": c.scale}
	case colConnectDecimal:
		t := connect("bytes", "org.apache.kafka.connect.data.Decimal")
		t["logicalType"], t["precision"], t["scale"] = "decimal", c.precision, c.scale
		t["connect.parameters"] = obj{"scale": strconv.Itoa(c.scale), "connect.decimal.precision": strconv.Itoa(c.precision)}
		return t
	case colDouble:
		return "double"
	case colDate:
		return obj{"type": "int", "logicalType": "date"}
	case colEpochDate:
		return connect("int", "io.debezium.time.Date")
	case colZoned:
		return connect("string", "io.debezium.time.ZonedTimestamp")
	case colMicros:
		return obj{"type": "long", "logicalType": "timestamp-micros"}
	case colMicroTimestamp:
		return connect("long", "io.debezium.time.MicroTimestamp")
	case colUUID:
		return connect("string", "io.debezium.data.Uuid")
	case colJSON:
		return connect("string", "io.debezium.data.Json")
	default:
		return "string"
	}
}

func (c *column) field() obj {
	switch {
	case c.later:
		var d any = c.dflt.s
		t := c.avro()
		if c.kind == colDouble {
			d = json.Number(strconv.FormatFloat(float64(c.dflt.i)/1000, 'f', 1, 64))
		}
		if s, ok := t.(string); ok {
			t = obj{"type": s, "connect.default": d}
		}
		return obj{"name": c.name, "type": []any{t, "null"}, "default": d}
	case c.null:
		return obj{"name": c.name, "type": []any{"null", c.avro()}, "default": nil}
	default:
		return obj{"name": c.name, "type": c.avro()}
	}
}

func field(name string, t any) obj { return obj{"name": name, "type": t} }

func optional(name string, t any) obj {
	return obj{"name": name, "type": []any{"null", t}, "default": nil}
}

func (t *table) keyText() (string, error) {
	var fields []any
	for _, k := range t.keys {
		fields = append(fields, t.cols[k].field())
	}
	return marshal(obj{"type": "record", "name": "Key", "namespace": t.topic, "fields": fields, "connect.name": t.topic + ".Key"})
}

func (t *table) valueText(added bool) (string, error) {
	var cols []any
	for i := range t.cols {
		if c := &t.cols[i]; added || !c.later {
			cols = append(cols, c.field())
		}
	}
	value := obj{"type": "record", "name": "Value", "fields": cols, "connect.name": t.topic + ".Value"}
	snapshot := connect("string", "io.debezium.data.Enum")
	snapshot["connect.parameters"] = obj{"allowed": "true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"}
	snapshot["connect.default"] = "false"
	src := []any{
		field("version", "string"), field("connector", "string"), field("name", "string"), field("ts_ms", "long"),
		obj{"name": "snapshot", "type": []any{snapshot, "null"}, "default": "false"},
		field("db", "string"), optional("sequence", "string"),
	}
	if !t.sys.millis {
		src = append(src, optional("ts_us", "long"), optional("ts_ns", "long"))
	}
	src = append(src, field("schema", "string"), field("table", "string"), optional("txId", "long"), optional("lsn", "long"), optional("xmin", "long"))
	if !t.sys.millis {
		src = append(src, optional("origin", "string"), optional("origin_lsn", "long"))
	}
	block := obj{
		"type": "record", "name": "block", "namespace": "event", "connect.version": 1, "connect.name": "event.block",
		"fields": []any{field("id", "string"), field("total_order", "long"), field("data_collection_order", "long")},
	}
	fields := []any{
		optional("before", value), optional("after", "Value"),
		field("source", obj{
			"type": "record", "name": "Source", "namespace": "io.debezium.connector.postgresql", "fields": src,
			"connect.name": "io.debezium.connector.postgresql.Source",
		}),
		optional("transaction", block), field("op", "string"), optional("ts_ms", "long"),
	}
	if !t.sys.millis {
		fields = append(fields, optional("ts_us", "long"), optional("ts_ns", "long"))
	}
	return marshal(obj{"type": "record", "name": "Envelope", "namespace": t.topic, "fields": fields, "connect.version": 2, "connect.name": t.topic + ".Envelope"})
}

func marshal(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("writing schema: %w", err)
	}
	return string(b), nil
}

// buildSchemas lists what has to be registered: first all that is there from
// the start, then the later versions.
func (g *Generator) buildSchemas() error {
	add := func(t *table, place int, suffix string, write func() (string, error)) error {
		s, err := write()
		if err != nil {
			return fmt.Errorf("schema of %s: %w", t.topic, err)
		}
		t.schemas[place] = len(g.schemas)
		g.schemas = append(g.schemas, workload.Schema{Subject: t.topic + suffix, Text: s})
		return nil
	}
	for _, t := range g.tables {
		if err := add(t, keySchema, "-key", t.keyText); err != nil {
			return err
		}
		if err := add(t, valueSchema, "-value", func() (string, error) { return t.valueText(false) }); err != nil {
			return err
		}
	}
	for _, t := range g.tables {
		if !t.hasLater() {
			continue
		}
		if err := add(t, laterSchema, "-value", func() (string, error) { return t.valueText(true) }); err != nil {
			return err
		}
	}
	return nil
}

func (t *table) hasLater() bool {
	for i := range t.cols {
		if t.cols[i].later {
			return true
		}
	}
	return false
}
