package oracle

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// canonicalWorld writes canonical topics as the pipelines would: transactions,
// framed Avro of the project's schemas, a registry.
type canonicalWorld struct {
	brokers  []string
	registry string
	schemas  []*avro.Schema // of entityTopics, the id is the index + 1
	client   *kgo.Client
}

func testTopic(entity string) string { return "canonical." + entity }

func newCanonicalWorld(t *testing.T) *canonicalWorld {
	t.Helper()
	w := &canonicalWorld{}
	texts := map[string]string{}
	var topics []string
	for i, et := range entityTopics(testTopic) {
		entity := strings.TrimPrefix(et.topic, "canonical.")
		text, err := os.ReadFile(filepath.Join("..", "..", "schemas", "avsc", entity+".avsc"))
		if err != nil {
			t.Fatal(err)
		}
		s, err := avro.Parse(string(text))
		if err != nil {
			t.Fatal(err)
		}
		w.schemas = append(w.schemas, s)
		texts[fmt.Sprintf("/schemas/ids/%d", i+1)] = string(text)
		topics = append(topics, et.topic)
	}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		text, ok := texts[r.URL.Path]
		if !ok {
			http.Error(rw, `{"error_code":40403}`, http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(rw).Encode(map[string]string{"schema": text})
	}))
	t.Cleanup(server.Close)
	w.registry = server.URL
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, topics...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	w.brokers = cluster.ListenAddrs()
	w.client, err = kgo.NewClient(kgo.SeedBrokers(w.brokers...), kgo.TransactionalID("world"), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.client.Close)
	return w
}

// record makes the record of a row in topic number n.
func (w *canonicalWorld) record(t *testing.T, n int, row Row, version int64, lines []any, change func(map[string]any)) *kgo.Record {
	t.Helper()
	et := entityTopics(testTopic)[n]
	rec := map[string]any{"version": version, "deleted": false, "lines": lines, "addresses": []any{}, "contacts": []any{}, "ignored_references": []any{}, "rule": "", "kind": "", "stage": "", "approximate": false, "system": "", "native_id": ""}
	view, _ := ViewNamed(et.view)
	for column, text := range row {
		c, _ := view.Column(column)
		rec[column] = avroValue(t, c.Kind, text)
	}
	for _, c := range view.Columns {
		if c.Kind == List || c.Kind == Set {
			rec[c.Name] = []any{}
			for part := range strings.FieldsFuncSeq(row[c.Name], func(r rune) bool { return r == ',' }) {
				rec[c.Name] = append(rec[c.Name].([]any), part)
			}
		}
	}
	switch et.view {
	case "accounts":
		rec["entity_id"] = row["account_id"]
	case "deals":
		rec["entity_id"] = row["deal_id"]
	default:
		rec["entity_id"] = testEntity(t, row["system"]+"/"+et.topic[len("canonical."):]+"/"+row["native_id"])
	}
	if change != nil {
		change(rec)
	}
	account, _ := rec["account_id"].(string)
	body, err := w.schemas[n].Encode(rec)
	if err != nil {
		t.Fatalf("%s: %v", et.topic, err)
	}
	value := binary.BigEndian.AppendUint32([]byte{0}, uint32(n+1))
	return &kgo.Record{Topic: et.topic, Key: []byte(rec["entity_id"].(string) + "/" + account), Value: append(value, body...)}
}

func testEntity(t *testing.T, name string) string {
	t.Helper()
	id, err := entityID(name)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func avroValue(t *testing.T, kind Kind, text string) any {
	t.Helper()
	switch kind {
	case Decimal:
		r, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatalf("%q is no number", text)
		}
		return r
	case Time:
		at, err := time.Parse(timeForm, text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	case Date:
		at, err := time.Parse(dateForm, text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	case Bool:
		return text == "true"
	default:
		return text
	}
}

// commit writes records in one transaction, or takes them back.
func (w *canonicalWorld) commit(t *testing.T, end kgo.TransactionEndTry, records ...*kgo.Record) {
	t.Helper()
	if err := w.client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := w.client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := w.client.EndTransaction(t.Context(), end); err != nil {
		t.Fatal(err)
	}
}

// all returns records of everything expected, as version 2.
func (w *canonicalWorld) all(t *testing.T, e Expected) []*kgo.Record {
	t.Helper()
	var out []*kgo.Record
	for n, et := range entityTopics(testTopic) {
		lines := map[string][]any{}
		for _, r := range e[et.lines] {
			line := map[string]any{"native_id": r["native_id"], "product_id": productID(t, e, r)}
			for _, column := range []string{"quantity", "unit_price"} {
				if text, ok := r[column]; ok {
					line[column] = avroValue(t, Decimal, text)
				}
			}
			key := r["system"] + "/" + r["parent_native_id"]
			lines[key] = append(lines[key], line)
		}
		for _, r := range e[et.view] {
			list := lines[r["system"]+"/"+r["native_id"]]
			if list == nil {
				list = []any{}
			}
			out = append(out, w.record(t, n, r, 2, list, nil))
		}
	}
	return out
}

func productID(t *testing.T, e Expected, line Row) string {
	t.Helper()
	for _, p := range e["products"] {
		if p["system"] == line["system"] && p["code"] == line["product_code"] && p["kind"] == "product" {
			return testEntity(t, p["system"]+"/product/"+p["native_id"])
		}
	}
	t.Fatalf("no product for line %v", line)
	return ""
}

func TestTopicsThatAreRightHaveNoDifference(t *testing.T) {
	e := expectRecorded(t, "debezium-tryton-2")
	w := newCanonicalWorld(t)
	// An earlier version of something else, then taken back work, then the truth.
	first := e["orders"][0]
	w.commit(t, kgo.TryCommit, w.record(t, 4, first, 1, []any{}, func(r map[string]any) { r["state"] = "draft" }))
	w.commit(t, kgo.TryAbort, w.record(t, 4, first, 7, []any{}, func(r map[string]any) { r["state"] = "done twice" }))
	w.commit(t, kgo.TryCommit, w.all(t, e)...)
	// A document that moved: gone under its former account.
	w.commit(t, kgo.TryCommit, w.record(t, 4, first, 3, []any{}, func(r map[string]any) {
		r["account_id"], r["deleted"] = "10c6a1d9-54d1-5c57-bb52-d2ffbc3f1d0b", true
	}))
	report, err := CompareTopics(t.Context(), w.brokers, w.registry, testTopic, e)
	if err != nil {
		t.Fatal(err)
	}
	if !report.OK() {
		t.Errorf("%d differences, the first: %v", len(report.Differences), report.Differences[0])
	}
	for _, tally := range report.Tallies {
		if tally.Found == 0 || tally.Found != tally.Expected {
			t.Errorf("%+v", tally)
		}
	}
}

func TestPlantedDifferencesInTopicsAreFound(t *testing.T) {
	e := expectRecorded(t, "debezium-tryton")
	for name, c := range map[string]struct {
		spoil func(t *testing.T, w *canonicalWorld, records []*kgo.Record) []*kgo.Record
		want  []string // topic|kind, all that is found
	}{
		"a record missing": {
			func(t *testing.T, w *canonicalWorld, records []*kgo.Record) []*kgo.Record {
				return slices.DeleteFunc(records, func(r *kgo.Record) bool {
					return r.Topic == "canonical.payment" && strings.HasPrefix(string(r.Key), testEntity(t, "erp/payment/"+e["payments"][0]["native_id"]))
				})
			}, []string{"canonical.payment|missing", "canonical.payment|sum"},
		},
		"seen under two accounts": {
			func(t *testing.T, w *canonicalWorld, records []*kgo.Record) []*kgo.Record {
				return append(records, w.record(t, 6, e["invoices"][0], 1, []any{}, func(r map[string]any) { r["account_id"] = e["accounts"][0]["account_id"] }))
			}, []string{"canonical.invoice|sum", "canonical.invoice|unexpected"},
		},
		"deleted": {
			func(t *testing.T, w *canonicalWorld, records []*kgo.Record) []*kgo.Record {
				return append(records, w.record(t, 8, e["deals"][0], 3, nil, func(r map[string]any) { r["deleted"] = true }))
			}, []string{"canonical.deal|missing", "canonical.deal|sum"},
		},
		"a version again": {
			func(t *testing.T, w *canonicalWorld, records []*kgo.Record) []*kgo.Record {
				return append(records, w.record(t, 0, e["accounts"][0], 2, nil, nil))
			}, []string{"canonical.account|version"},
		},
		"a version too low": {
			func(t *testing.T, w *canonicalWorld, records []*kgo.Record) []*kgo.Record {
				return append(records, w.record(t, 1, e["identity_links"][0], 1, nil, nil))
			}, []string{"canonical.identity_link|version"},
		},
		"a value": {
			func(t *testing.T, w *canonicalWorld, records []*kgo.Record) []*kgo.Record {
				return append(records, w.record(t, 8, e["deals"][3], 3, nil, func(r map[string]any) { r["opened_at"] = time.UnixMicro(1) }))
			}, []string{"canonical.deal|cell"},
		},
		"a line": {
			func(t *testing.T, w *canonicalWorld, records []*kgo.Record) []*kgo.Record {
				return append(records, w.record(t, 4, e["orders"][0], 3, []any{map[string]any{"native_id": "99999"}}, nil))
			}, []string{"canonical.order lines|missing", "canonical.order lines|unexpected"},
		},
		"a tombstone": {
			func(t *testing.T, w *canonicalWorld, records []*kgo.Record) []*kgo.Record {
				return append(records, &kgo.Record{Topic: "canonical.product", Key: []byte(testEntity(t, "crm/product/1000") + "/")})
			}, []string{"canonical.product|unexpected"},
		},
		"a key of another record": {
			func(t *testing.T, w *canonicalWorld, records []*kgo.Record) []*kgo.Record {
				for _, r := range records {
					if r.Topic == "canonical.subscription" {
						r.Key = []byte("x/y")
						break
					}
				}
				return records
			}, []string{"canonical.subscription|cell"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newCanonicalWorld(t)
			w.commit(t, kgo.TryCommit, c.spoil(t, w, w.all(t, e))...)
			report, err := CompareTopics(t.Context(), w.brokers, w.registry, testTopic, e)
			if err != nil {
				t.Fatal(err)
			}
			found := map[string]bool{}
			for _, d := range report.Differences {
				found[d.View+"|"+string(d.Kind)] = true
			}
			if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, c.want) {
				t.Errorf("found %v, want %v: %v", got, c.want, report.Differences)
			}
		})
	}
}

func TestAbsentTopicsAreDifferences(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	report, err := CompareTopics(t.Context(), cluster.ListenAddrs(), "http://127.0.0.1:1", testTopic, expectRecorded(t, "debezium-tryton"))
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Differences) != len(entityTopics(testTopic)) {
		t.Errorf("%v", report.Differences)
	}
}
