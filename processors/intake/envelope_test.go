package intake

import (
	"strings"
	"testing"

	"syncline/processors/state"
	"syncline/schemas/change"
	"syncline/schemas/projection"
)

// sourceBlock makes an envelope's schema around a source block.
func sourceBlock(after, fields string) string {
	return `{"type":"record","name":"Envelope","namespace":"cdc.x","fields":[{"name":"before","type":["null",` + after + `]},{"name":"after","type":["null",` + strings.ReplaceAll(after, `"record","name":"V"`, `"record","name":"W"`) +
		`]},{"name":"source","type":{"type":"record","name":"Source","fields":[` + fields + `]}},{"name":"op","type":"string"}]}`
}

// Every kind of schema that can come in a table's topic: what its records are,
// and what the letter says is to be changed.
func TestJudge(t *testing.T) {
	const row = `{"type":"record","name":"V","fields":[{"name":"id","type":"int"}]}`
	s := keyed(t, "", nil, "id")
	for _, c := range []struct {
		name, schema string
		kind         change.VerdictKind
		says         []string
	}{
		{"PostgreSQL", sourceBlock(row, `{"name":"lsn","type":["null","long"]}`), change.Pass, nil},
		{"MySQL", sourceBlock(row, `{"name":"server_id","type":"long"},{"name":"file","type":"string"}`), change.Park, []string{"MySQL", "connector.class"}},
		{"SQL Server", sourceBlock(row, `{"name":"change_lsn","type":"string"},{"name":"commit_lsn","type":"string"}`), change.Park, []string{"SQL Server", "connector.class"}},
		{"Oracle", sourceBlock(row, `{"name":"scn","type":"string"}`), change.Park, []string{"Oracle", "connector.class"}},
		{"MongoDB", sourceBlock(`"string"`, `{"name":"collection","type":"string"},{"name":"ord","type":"int"}`), change.Park, []string{"MongoDB", "connector.class"}},
		{"another connector", sourceBlock(row, `{"name":"shard","type":"string"}`), change.Park, []string{"source.lsn", "connector.class"}},
		{"no source", `{"type":"record","name":"E","fields":[{"name":"op","type":"string"},{"name":"after","type":["null",` + row + `]}]}`, change.Park, []string{"source block", "transforms"}},
		{"flattened", `{"type":"record","name":"V","fields":[{"name":"id","type":"int"},{"name":"code","type":"string"}]}`, change.Park, []string{"ExtractNewRecordState", "transforms"}},
		{"flattened, marked", `{"type":"record","name":"V","fields":[{"name":"x","type":"int"},{"name":"__deleted","type":"string"}]}`, change.Park, []string{"ExtractNewRecordState"}},
		{"flattened, with an event's words", `{"type":"record","name":"V","fields":[{"name":"id","type":"int"},{"name":"status","type":"string"},{"name":"event_count","type":"int"},{"name":"ddl","type":"string"},{"name":"source","type":"string"}]}`, change.Park, []string{"ExtractNewRecordState"}},
		{"something else", `{"type":"record","name":"V","fields":[{"name":"x","type":"int"}]}`, change.Park, []string{"no op, source and after"}},
		{"text", `"string"`, change.Park, []string{"no op, source and after"}},
		{"heartbeat", `{"type":"record","name":"Heartbeat","namespace":"io.debezium.connector.common","fields":[{"name":"ts_ms","type":"long"}]}`, change.Drop, nil},
		{"transaction", `{"type":"record","name":"TransactionMetadataValue","namespace":"io.debezium.connector.common","fields":[{"name":"status","type":"string"}]}`, change.Drop, nil},
		{"transaction, renamed", `{"type":"record","name":"T","fields":[{"name":"status","type":"string"},{"name":"event_count","type":"long"},{"name":"data_collections","type":{"type":"array","items":"string"}}]}`, change.Drop, nil},
		{"change of a schema", `{"type":"record","name":"SchemaChangeValue","namespace":"io.debezium.connector.postgresql","fields":[{"name":"ddl","type":"string"}]}`, change.Drop, nil},
		{"message", `{"type":"record","name":"M","fields":[{"name":"op","type":"string"},{"name":"message","type":{"type":"record","name":"B","fields":[{"name":"prefix","type":"string"}]}}]}`, change.Drop, nil},
	} {
		schema, err := projection.Parse(c.schema)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		v := s.Judge(schema)
		if v.Kind != c.kind {
			t.Errorf("%s: %+v, want verdict %d", c.name, v, c.kind)
			continue
		}
		for _, word := range c.says {
			if !strings.Contains(v.Err.Error(), word) {
				t.Errorf("%s: %q does not name %q", c.name, v.Err, word)
			}
		}
	}
}

// rowImage is an image of a product's row with what a test says of it.
func rowImage(s *Source, op string, values map[int]change.Value) Image {
	img := make(Image, len(s.Want()))
	img[wantOp], img[wantSnapshot] = change.OfString(op), change.OfString("false")
	img[wantLSN], img[wantMicros] = change.OfInt(10), change.OfInt(firstCommit)
	if op == opDelete {
		img[wantBefore] = change.Value{Kind: change.Nested}
		img[s.before[0]] = change.OfString("7")
	} else {
		img[wantAfter] = change.Value{Kind: change.Nested}
		img[s.after[0]] = change.OfString("7")
	}
	for i, v := range values {
		img[i] = v
	}
	return img
}

// Which row an image is of, where key, before and after image do not all say it.
func TestRowOfAnImage(t *testing.T) {
	s := keyed(t, "", nil, "id")
	null := change.Value{}
	for _, c := range []struct {
		name, op, key string
		values        map[int]change.Value
		want, err     string
	}{
		{"created", opCreate, "7", nil, "7", ""},
		{"deleted", opDelete, "7", nil, "7", ""},
		{"no before", opDelete, "7", map[int]change.Value{wantBefore: null, s.before[0]: null}, "7", ""},
		{"a before of nothing", opDelete, "7", map[int]change.Value{s.before[0]: null}, "7", ""},
		{"neither", opDelete, "", map[int]change.Value{wantBefore: null, s.before[0]: null}, "", "which row is gone"},
		{"a long key, left out", opUpdate, "7", map[int]change.Value{s.after[0]: {Kind: change.Unavailable}}, "7", ""},
		{"left out, no key", opUpdate, "", map[int]change.Value{s.after[0]: {Kind: change.Unavailable}}, "", "key column id"},
		{"NULL", opUpdate, "7", map[int]change.Value{s.after[0]: null}, "", "key column id is missing or NULL"},
		{"no position", opUpdate, "7", map[int]change.Value{wantLSN: null}, "", "source.lsn is missing"},
		{"no after", opUpdate, "7", map[int]change.Value{wantAfter: null}, "", "no after image"},
		{"unknown op", "x", "7", nil, "", `op is "x"`},
	} {
		h, err := s.header(rowImage(s, c.op, c.values), c.key)
		if c.err == "" && (err != nil || h.id != c.want) || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: row %q, %v; want %q, %q", c.name, h.id, err, c.want, c.err)
		}
	}
}

// A record without a key is a letter that says how to give it one, keyed by the
// row that its image names.
func TestNoKey(t *testing.T) {
	s := keyed(t, "", nil, "id")
	fault := change.Parked(ReasonKey, ErrNoKey)
	out := &told{t: t}
	k := New(s, 0, state.New())
	v := k.Apply(Place{Fault: fault}, rowImage(s, opCreate, nil), out)
	if v.Kind != change.Park || v.Reason != ReasonKey || !strings.Contains(v.Err.Error(), "message.key.columns") || !strings.Contains(v.Err.Error(), "row 7") {
		t.Errorf("%+v", v)
	}
	if v := k.Apply(Place{Fault: fault}, rowImage(s, opTruncate, nil), out); v.Kind != change.Pass || len(out.notices) != 1 {
		t.Errorf("a truncate, which has no key: %+v", v)
	}
	if v := k.Apply(Place{Fault: fault}, rowImage(s, opMessage, nil), out); v.Kind != change.Drop {
		t.Errorf("a message, which has no key: %+v", v)
	}
	if v := k.Tombstone(Place{Fault: fault}, out); v.Kind != change.Drop {
		t.Errorf("nothing at all: %+v", v)
	}
	s.Tombstones = true
	if v := k.Tombstone(Place{Fault: fault}, out); v.Kind != change.Park {
		t.Errorf("nothing at all where it means a delete: %+v", v)
	}
	if v := k.Apply(Place{Key: "7"}, rowImage(s, opCreate, map[int]change.Value{wantLSN: change.OfInt(11)}), out); v.Kind != change.Pass || out.healed != 1 {
		t.Errorf("%+v, %d healed", v, out.healed)
	}
}

// A child whose parent was not sent stays where it is; of one that is not known
// nobody can say where it belongs.
func TestParentLeftOut(t *testing.T) {
	w := tell(t, lines())
	leftOut := change.Value{Kind: change.Unavailable, Bytes: []byte("__debezium_unavailable_value")}
	if v := w.apply(opUpdate, map[string]change.Value{"invoice": leftOut}); v.Kind != change.Park || len(w.rows) != 0 {
		t.Errorf("unknown: %+v, rows %+v", v, w.rows)
	}
	w.apply(opCreate, map[string]change.Value{"invoice": change.OfInt(34)})
	if v := w.apply(opUpdate, map[string]change.Value{"invoice": leftOut}); v.Kind != change.Pass || w.last().Doc != "34" {
		t.Errorf("known: %+v, document %q", v, w.last().Doc)
	}
}
