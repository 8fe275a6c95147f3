package pipelines_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/avro"

	"syncline/schemas/registry"
)

// canonical folds the canonical topics: the live records by topic and key, as
// JSON without their version. It checks that versions of a key rise.
func (w *world) canonical(t testing.TB) map[string]string {
	t.Helper()
	live := map[string]string{}
	versions := map[string]int64{}
	schemas := map[int]*avro.Schema{}
	for _, topic := range w.spine.Delivered {
		if !strings.HasPrefix(topic, "canonical.") {
			continue
		}
		for _, partition := range w.driver.Log(topic) {
			for _, m := range partition {
				rec := decodeRecord(t, w, schemas, m.Value)
				key := topic + " " + string(m.Key)
				v, _ := rec["version"].(int64)
				if v <= versions[key] {
					t.Fatalf("%s: version %d after %d", key, v, versions[key])
				}
				versions[key] = v
				delete(rec, "version")
				if rec["deleted"] == true {
					delete(live, key)
					continue
				}
				b, err := json.Marshal(rec)
				if err != nil {
					t.Fatal(err)
				}
				live[key] = string(b)
			}
		}
	}
	return live
}

func decodeRecord(t testing.TB, w *world, schemas map[int]*avro.Schema, value []byte) map[string]any {
	t.Helper()
	id, payload, err := registry.Unframe(value)
	if err != nil {
		t.Fatal(err)
	}
	s := schemas[id]
	if s == nil {
		text, err := w.schemas.SchemaByID(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if s, err = avro.Parse(text); err != nil {
			t.Fatal(err)
		}
		schemas[id] = s
	}
	var rec map[string]any
	rest, err := s.Decode(payload, &rec)
	if err != nil || len(rest) > 0 {
		t.Fatal(fmt.Errorf("decoding a canonical record: %w, %d bytes left", err, len(rest)))
	}
	return rec
}
