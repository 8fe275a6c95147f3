package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/twmb/avro"
)

// table is a captured table: what its connector makes of it in Avro. Later
// forms of it are its versions by name.
type table struct {
	name, topic, connector string
	key                    []string
	columns                map[string]*column
	partitions             int32 // 0: as many as the case says
	versions               map[string]*table

	keySchema, rowSchema, envelope *schema
}

// schema is what is registered, and the same as what encodes: there without
// logical types, for a case gives bytes and numbers as they stand on the wire.
type schema struct {
	text string
	avro *avro.Schema
}

var outsideOfNames = regexp.MustCompile(`[^A-Za-z0-9_.]`)

func newTable(name string, spec map[string]any) (*table, error) {
	t := &table{name: name, connector: "postgresql", columns: map[string]*column{}, versions: map[string]*table{}}
	for k, v := range spec {
		switch k {
		case "topic":
			t.topic, _ = v.(string)
		case "connector":
			t.connector, _ = v.(string)
		case "partitions":
			n, _ := v.(uint64)
			t.partitions = int32(n) //nolint:gosec // the broker refuses what is too much
		case "key":
			list, _ := v.([]any)
			for _, k := range list {
				t.key = append(t.key, fmt.Sprint(k))
			}
		case "columns":
			columns, _ := v.(map[string]any)
			for column, word := range columns {
				if word == nil { // taken away from a table that has none of it
					continue
				}
				var err error
				if t.columns[column], err = newColumn(column, word); err != nil {
					return nil, err
				}
			}
		case "versions":
			later, _ := v.(map[string]any)
			base := maps.Clone(spec)
			delete(base, "versions")
			for version, columns := range later {
				var err error
				if t.versions[version], err = newTable(name, merge(base, map[string]any{"columns": columns})); err != nil {
					return nil, fmt.Errorf("version %s: %w", version, err)
				}
			}
		default:
			return nil, fmt.Errorf("knows no %s", k)
		}
	}
	if len(strings.Split(t.topic, ".")) < 3 || len(t.columns) == 0 || len(t.key) == 0 {
		return nil, errors.New("needs a topic of three parts, a key and columns")
	}
	for _, k := range t.key {
		if t.columns[k] == nil {
			return nil, fmt.Errorf("its key names %s, which is no column", k)
		}
	}
	return t, t.describe()
}

// describe makes the schemas of the table.
func (t *table) describe() (err error) {
	space := outsideOfNames.ReplaceAllString(t.topic, "_")
	var keys []object
	for _, k := range t.key {
		keys = append(keys, object{"name": k, "type": t.columns[k].avro(map[string]bool{})})
	}
	var fields []object
	told := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(t.columns)) {
		f, err := t.columns[name].field(told)
		if err != nil {
			return err
		}
		fields = append(fields, f)
	}
	row := record(space, "Value", fields...)
	source, err := t.sourceSchema()
	if err != nil {
		return err
	}
	block := record("event", "block", typed("id", "string"), typed("total_order", "long"), typed("data_collection_order", "long"))
	envelope := record(space, "Envelope",
		optional("before", row), optional("after", space+".Value"), typed("source", source), optional("transaction", block),
		typed("op", "string"), optional("ts_ms", "long"), optional("ts_us", "long"), optional("ts_ns", "long"))
	for into, from := range map[**schema]object{&t.keySchema: record(space, "Key", keys...), &t.rowSchema: row, &t.envelope: envelope} {
		if *into, err = newSchema(from); err != nil {
			return err
		}
	}
	return nil
}

func newSchema(from object) (*schema, error) {
	text, err := json.Marshal(from)
	if err != nil {
		return nil, err
	}
	parsed, err := avro.Parse(strings.ReplaceAll(string(text), `"logicalType":"decimal",`, ""))
	return &schema{text: string(text), avro: parsed}, err
}

func record(space, name string, fields ...object) object {
	return object{"type": "record", "namespace": space, "name": name, "fields": fields, "connect.name": space + "." + name}
}

func typed(name string, t any) object { return object{"name": name, "type": t} }

func optional(name string, t any) object {
	return object{"name": name, "type": []any{"null", t}, "default": nil}
}

// sourceSchema is the block that says where in the source a change was.
func (t *table) sourceSchema() (object, error) {
	snapshot := object{
		"type": "string", "connect.version": 1, "connect.name": "io.debezium.data.Enum", "connect.default": "false",
		"connect.parameters": object{"allowed": "true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"},
	}
	fields := []object{
		typed("version", "string"), typed("connector", "string"), typed("name", "string"), typed("ts_ms", "long"),
		{"name": "snapshot", "type": []any{snapshot, "null"}, "default": "false"},
		typed("db", "string"), optional("sequence", "string"), optional("ts_us", "long"), optional("ts_ns", "long"),
	}
	switch t.connector {
	case "postgresql":
		fields = append(fields, typed("schema", "string"), typed("table", "string"), optional("txId", "long"), optional("lsn", "long"), optional("xmin", "long"))
	case "mysql":
		fields = append(fields, optional("table", "string"), typed("server_id", "long"), optional("gtid", "string"), typed("file", "string"),
			typed("pos", "long"), typed("row", "int"), optional("thread", "long"), optional("query", "string"))
	case "sqlserver":
		fields = append(fields, typed("schema", "string"), typed("table", "string"), optional("change_lsn", "string"),
			optional("commit_lsn", "string"), optional("event_serial_no", "long"))
	default:
		return nil, fmt.Errorf("no connector %q", t.connector)
	}
	return record("io.debezium.connector."+t.connector, "Source", fields...), nil
}

// change is one event of a table.
type change struct {
	op       string
	values   map[string]any
	at       time.Time // commit
	lsn      *int64
	sequence any
	snapshot string
	number   int64 // of the transaction
	before   bool  // whether a delete has its key in a before image
}

// encode is the value of the change without its frame.
func (t *table) encode(c *change) ([]byte, error) {
	var before, after any
	var err error
	switch {
	case c.op == "flat":
		row, err := t.image(c.values)
		if err != nil {
			return nil, err
		}
		return t.rowSchema.avro.Encode(row)
	case c.op == "d" && c.before:
		before, err = t.keyImage(c.values)
	case c.op == "c" || c.op == "u" || c.op == "r":
		after, err = t.image(c.values)
	case c.op != "d" && c.op != "t":
		return nil, fmt.Errorf("no such operation: %q", c.op)
	}
	if err != nil {
		return nil, err
	}
	seen := c.at.Add(40 * time.Millisecond) // by the connector
	return t.envelope.avro.Encode(object{
		"before": before, "after": after, "source": t.source(c), "transaction": nil, "op": c.op,
		"ts_ms": seen.UnixMilli(), "ts_us": seen.UnixMicro(), "ts_ns": seen.UnixNano(),
	})
}

func (t *table) source(c *change) object {
	parts := strings.Split(t.topic, ".")
	s := object{
		"version": "3.6.0.Final", "connector": t.connector, "name": strings.Join(parts[:len(parts)-2], "."), "snapshot": c.snapshot,
		"ts_ms": c.at.UnixMilli(), "ts_us": c.at.UnixMicro(), "ts_ns": c.at.UnixNano(), "db": parts[1], "sequence": c.sequence,
		"schema": "public", "table": parts[len(parts)-1],
	}
	var lsn any
	var place int64
	if c.lsn != nil {
		lsn, place = *c.lsn, *c.lsn
	}
	switch t.connector {
	case "postgresql":
		maps.Copy(s, object{"txId": c.number, "lsn": lsn, "xmin": nil})
	case "mysql":
		delete(s, "schema")
		maps.Copy(s, object{"server_id": int64(1), "gtid": nil, "file": "binlog.000003", "pos": place, "row": int32(0), "thread": nil, "query": nil})
	case "sqlserver":
		maps.Copy(s, object{
			"change_lsn": fmt.Sprintf("0000001f:%08x:0002", place), "commit_lsn": fmt.Sprintf("0000001f:%08x:0004", place), "event_serial_no": int64(1),
		})
	}
	return s
}

// image is a whole row; a column that is not given is NULL, or its default.
func (t *table) image(values map[string]any) (object, error) {
	for name := range values {
		if t.columns[name] == nil {
			return nil, fmt.Errorf("table %s has no column %s", t.name, name)
		}
	}
	row := object{}
	for name, c := range t.columns {
		v, given := values[name]
		if !given {
			v = c.fallback
		}
		var err error
		if v == nil {
			row[name], err = c.zero()
		} else {
			row[name], err = c.encode(v)
		}
		if err != nil {
			return nil, fmt.Errorf("table %s, column %s: %w", t.name, name, err)
		}
	}
	return row, nil
}

// keyImage is what a delete shows of a row whose table logs its key only.
func (t *table) keyImage(values map[string]any) (object, error) {
	row := object{}
	for name, c := range t.columns {
		var err error
		if slices.Contains(t.key, name) {
			row[name], err = c.encode(values[name])
		} else {
			row[name], err = c.zero()
		}
		if err != nil {
			return nil, fmt.Errorf("table %s, column %s: %w", t.name, name, err)
		}
	}
	return row, nil
}

// encodeKey is the record's key without its frame.
func (t *table) encodeKey(values map[string]any) ([]byte, error) {
	key := object{}
	for _, name := range t.key {
		v, err := t.columns[name].encode(values[name])
		if err == nil && v == nil {
			err = errors.New("a key needs it")
		}
		if err != nil {
			return nil, fmt.Errorf("table %s, column %s: %w", t.name, name, err)
		}
		key[name] = v
	}
	return t.keySchema.avro.Encode(key)
}

// frame puts the serializer's five bytes before a value.
func frame(magic byte, id int, value []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{magic}, uint32(id)), value...) //nolint:gosec // an id
}
