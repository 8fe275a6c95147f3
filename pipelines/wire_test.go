package pipelines_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/avro"

	"syncline/schemas/registry"
)

// wire is one captured table with column types of a test's own choice, written
// as Debezium writes it.
type wire struct {
	w          *world
	topic      string
	keys       []string
	columns    map[string]string // Avro type of each, as JSON, without the null
	keyID      int
	valueID    int
	key, value *avro.Schema
	lsn        int64
	// What the next change's envelope says, where it is not as usual.
	micros, timestamp int64
}

func newWire(t *testing.T, w *world, topic string, keys []string, columns map[string]string) *wire {
	t.Helper()
	tb := &wire{w: w, topic: topic, keys: keys, columns: columns}
	var list []string
	for _, k := range keys {
		list = append(list, fmt.Sprintf(`{"name":%q,"type":%s}`, k, columns[k]))
	}
	tb.keyID, tb.key = tb.register(t, topic+"-key", fmt.Sprintf(`{"type":"record","name":"Key","fields":[%s]}`, strings.Join(list, ",")))
	tb.reshape(t, columns)
	return tb
}

// reshape registers another version of the table.
func (tb *wire) reshape(t *testing.T, columns map[string]string) {
	t.Helper()
	tb.columns = columns
	tb.valueID, tb.value = tb.register(t, tb.topic+"-value", envelopeOf(columns))
}

func (tb *wire) register(t *testing.T, subject, text string) (int, *avro.Schema) {
	t.Helper()
	id, err := tb.w.schemas.Register(t.Context(), subject, text)
	if err != nil {
		t.Fatal(err)
	}
	return id, mustAvro(t, text)
}

func mustAvro(t *testing.T, text string) *avro.Schema {
	t.Helper()
	s, err := avro.Parse(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return s
}

func envelopeOf(columns map[string]string) string {
	var list []string
	for _, c := range slices.Sorted(maps.Keys(columns)) {
		list = append(list, fmt.Sprintf(`{"name":%q,"type":["null",%s],"default":null}`, c, columns[c]))
	}
	return fmt.Sprintf(`{"type":"record","name":"Envelope","fields":[
		{"name":"before","type":["null",{"type":"record","name":"Value","fields":[%s]}],"default":null},{"name":"after","type":["null","Value"],"default":null},
		{"name":"source","type":{"type":"record","name":"Source","fields":[{"name":"ts_ms","type":"long"},{"name":"ts_us","type":"long"},{"name":"snapshot","type":"string"},{"name":"lsn","type":"long"}]}},
		{"name":"op","type":"string"}]}`, strings.Join(list, ","))
}

// tell feeds one change. Columns without a value are NULL.
func (tb *wire) tell(t *testing.T, op string, values map[string]any) {
	t.Helper()
	tb.lsn += 10
	key := map[string]any{}
	var id strings.Builder
	for _, k := range tb.keys {
		key[k] = values[k]
		fmt.Fprint(&id, values[k], "/")
	}
	image := map[string]any{}
	for c := range tb.columns {
		image[c] = values[c]
	}
	commit := storyStart.UnixMicro() + tb.lsn*1_000_000
	if tb.micros != 0 {
		commit, tb.micros = tb.micros, 0
	}
	timestamp := storyStart.UnixMilli() + tb.lsn
	if tb.timestamp != 0 {
		timestamp, tb.timestamp = tb.timestamp, 0
	}
	change := map[string]any{
		"before": nil, "after": image, "op": op,
		"source": map[string]any{"ts_ms": commit / 1000, "ts_us": commit, "snapshot": strconv.FormatBool(op == "r"), "lsn": tb.lsn},
	}
	if op == "d" {
		change["before"], change["after"] = image, nil
	}
	k, err := tb.key.AppendEncode(registry.AppendFrame(nil, tb.keyID), key)
	if err != nil {
		t.Fatalf("key %v of %s: %v", key, tb.topic, err)
	}
	v, err := tb.value.AppendEncode(registry.AppendFrame(nil, tb.valueID), change)
	if err != nil {
		t.Fatalf("%v of %s: %v", image, tb.topic, err)
	}
	if err := tb.w.driver.Feed(tb.topic, partitionOf(id.String()), k, v, timestamp); err != nil {
		t.Fatal(err)
	}
}
