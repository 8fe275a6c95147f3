package pipelines_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/avro"

	"syncline/benchmarks/workload"
	"syncline/schemas/registry"
)

// storyStart is 10:00 of the stories' day.
var storyStart = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// teller turns a story's words into Debezium records with the real schemas of
// the recorded feed.
type teller struct {
	t       *testing.T
	w       *world
	tables  map[string]*tableForm // "erp.account_invoice"
	told    []workload.Record
	clock   float64
	lsn     int64
	outer   int64
	stopped string
}

type tableForm struct {
	topic        string
	key, value   *avro.Schema
	keyID, valID int
	fields       []columnForm
}

type columnForm struct {
	name     string
	nullable bool
	kind     string // Avro type, or the end of its connect.name
}

func newTeller(t *testing.T, w *world) *teller {
	t.Helper()
	rec, err := workload.Open("../benchmarks/workload/recorded/debezium-tryton")
	if err != nil {
		t.Fatal(err)
	}
	tl := &teller{t: t, w: w, tables: map[string]*tableForm{}}
	for _, s := range rec.Schemas() {
		topic, isKey := strings.CutSuffix(s.Subject, "-key")
		if !isKey {
			topic = strings.TrimSuffix(s.Subject, "-value")
		}
		parts := strings.SplitN(topic, ".", 4)
		if len(parts) != 4 {
			continue // transaction topics
		}
		name := parts[1] + "." + parts[3]
		form := tl.tables[name]
		if form == nil {
			form = &tableForm{topic: topic}
			tl.tables[name] = form
		}
		// Each subject has an id of its own, so that one can be hidden.
		id, err := w.schemas.Register(t.Context(), s.Subject, s.Text)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := avro.Parse(s.Text)
		if err != nil {
			t.Fatal(err)
		}
		if isKey {
			form.key, form.keyID = parsed, id
			continue
		}
		form.value, form.valID = parsed, id
		form.fields = columnsOf(t, s.Text)
	}
	return tl
}

func columnsOf(t *testing.T, schema string) []columnForm {
	t.Helper()
	var envelope struct {
		Fields []struct {
			Name string
			Type json.RawMessage
		}
	}
	if err := json.Unmarshal([]byte(schema), &envelope); err != nil {
		t.Fatal(err)
	}
	var before []json.RawMessage
	if err := json.Unmarshal(envelope.Fields[0].Type, &before); err != nil {
		t.Fatal(err)
	}
	var value struct {
		Fields []struct {
			Name string
			Type any
		}
	}
	if err := json.Unmarshal(before[1], &value); err != nil {
		t.Fatal(err)
	}
	var out []columnForm
	for _, f := range value.Fields {
		c := columnForm{name: f.Name}
		typ := f.Type
		if union, ok := typ.([]any); ok {
			c.nullable = true
			for _, branch := range union {
				if branch != "null" {
					typ = branch
				}
			}
		}
		switch x := typ.(type) {
		case string:
			c.kind = x
		case map[string]any:
			c.kind, _ = x["type"].(string)
			if name, ok := x["connect.name"].(string); ok {
				c.kind = name
			}
		}
		c.kind = c.kind[strings.LastIndexByte(c.kind, '.')+1:]
		out = append(out, c)
	}
	return out
}

func (tl *teller) do(words []string) error {
	switch words[0] {
	case "rewind":
		return tl.rewind(words[1:])
	case "hide", "show":
		form := tl.tables[words[1]]
		tl.w.schemas.mu.Lock()
		tl.w.schemas.hide[form.valID] = words[0] == "hide"
		tl.w.schemas.mu.Unlock()
		return nil
	case "bad":
		return tl.spoil(words[1], words[2], words[3:])
	}
	form := tl.tables[words[0]]
	if form == nil {
		return fmt.Errorf("no table %q", words[0])
	}
	r, err := tl.change(form, words[1], words[2:])
	if err != nil {
		return err
	}
	return tl.tell(r)
}

func (tl *teller) tell(r workload.Record) error {
	tl.told = append(tl.told, r)
	return tl.w.driver.Feed(r.Topic, r.Partition, r.Key, r.Value, r.Timestamp)
}

// rewind repeats the last records as a connector does that was killed: the same
// changes, another time outside.
func (tl *teller) rewind(words []string) error {
	topic := ""
	if len(words) == 2 {
		topic = tl.tables[words[0]].topic
		words = words[1:]
	}
	n, err := strconv.Atoi(words[0])
	if err != nil {
		return err
	}
	told := tl.told
	for i := max(len(told)-n, 0); i < len(told); i++ {
		if topic == "" || told[i].Topic == topic {
			if err := tl.w.driver.Feed(told[i].Topic, told[i].Partition, told[i].Key, told[i].Value, told[i].Timestamp+60_000); err != nil {
				return err
			}
		}
	}
	return nil
}

func (tl *teller) change(form *tableForm, op string, words []string) (workload.Record, error) {
	cells := map[string]string{}
	tl.clock++
	tl.lsn += 100
	lsn, at := any(tl.lsn), tl.clock
	how := map[string]string{}
	for _, w := range words {
		k, v, ok := strings.Cut(w, "=")
		if !ok {
			return workload.Record{}, fmt.Errorf("%q is not column=value", w)
		}
		var err error
		switch k {
		case "@lsn":
			if lsn = nil; v != "null" {
				var n int64
				n, err = strconv.ParseInt(v, 10, 64)
				lsn, tl.lsn = n, max(tl.lsn, n)
			}
		case "@t":
			at, err = strconv.ParseFloat(v, 64)
			tl.clock = max(tl.clock, at)
		case "@snapshot", "@before", "@key":
			how[k] = v
		default:
			cells[k] = v
		}
		if err != nil {
			return workload.Record{}, err
		}
	}
	commit := storyStart.Add(time.Duration(at * float64(time.Second)))
	r := workload.Record{Topic: form.topic, Timestamp: commit.UnixMilli()}
	if rowless := op == "truncate" || op == "m"; rowless {
		op = op[:1]
	} else {
		id, err := strconv.Atoi(cells["id"])
		if err != nil {
			return workload.Record{}, fmt.Errorf("id: %w", err)
		}
		r.Partition = partitionOf(cells["id"])
		if r.Key, err = form.key.AppendEncode(registry.AppendFrame(nil, form.keyID), map[string]any{"id": id}); err != nil || op == "t" {
			return r, err
		}
		if how["@key"] == "none" {
			r.Key = nil
		}
	}
	var err error
	image := map[string]any{}
	known := map[string]bool{}
	for _, c := range form.fields {
		text, told := cells[c.name]
		known[c.name] = true
		if op == "d" && c.name != "id" {
			told = false
		}
		if image[c.name], err = c.value(text, told, op == "d"); err != nil {
			return r, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	for k := range cells {
		if !known[k] {
			return r, fmt.Errorf("%s has no column %q", form.topic, k)
		}
	}
	parts := strings.SplitN(form.topic, ".", 4)
	snapshot := "false"
	if op == "r" {
		snapshot = cmp.Or(how["@snapshot"], "true")
	}
	tl.outer++
	envelope := map[string]any{
		"before": nil, "after": nil, "op": op, "transaction": nil,
		"ts_ms": commit.UnixMilli() + tl.outer, "ts_us": nil, "ts_ns": nil,
		"source": map[string]any{
			"version": "3", "connector": "postgresql", "name": "cdc." + parts[1], "ts_ms": commit.UnixMilli(), "snapshot": snapshot,
			"db": parts[1], "sequence": nil, "ts_us": commit.UnixMicro(), "ts_ns": nil, "schema": parts[2], "table": parts[3],
			"txId": nil, "lsn": lsn, "xmin": nil, "origin": nil, "origin_lsn": nil,
		},
	}
	switch {
	case r.Key == nil && op != "c" && op != "u" && op != "r", how["@before"] == "none":
	case op == "d":
		envelope["before"] = image
	default:
		envelope["after"] = image
	}
	r.Value, err = form.value.AppendEncode(registry.AppendFrame(nil, form.valID), envelope)
	return r, err
}

// value is a column's value from its text; without a text NULL, or what default
// replica identity leaves of it.
func (c columnForm) value(text string, told, zero bool) (any, error) {
	if told && text == "null" || !told && c.nullable && !zero {
		return nil, nil //nolint:nilnil // NULL
	}
	if !told {
		text = ""
	}
	switch c.kind {
	case "string":
		if text == "unavailable" {
			text = "__debezium_unavailable_value"
		}
		return text, nil
	case "boolean":
		return text == "true", nil
	case "double":
		if text == "" {
			return 0.0, nil
		}
		return strconv.ParseFloat(text, 64)
	case "bytes":
		return []byte(text), nil
	case "VariableScaleDecimal":
		unscaled, scale := new(big.Int), 0
		if text != "" {
			whole, fraction, _ := strings.Cut(text, ".")
			unscaled.SetString(whole+fraction, 10)
			scale = len(fraction)
		}
		return map[string]any{"scale": scale, "value": twos(unscaled)}, nil
	case "Date":
		if text == "" {
			return 0, nil
		}
		d, err := time.Parse(time.DateOnly, text)
		return int(d.Unix() / 86400), err
	case "MicroTimestamp":
		if text == "" {
			return int64(0), nil
		}
		at, err := strconv.ParseFloat(text, 64) // seconds after 10:00
		return storyStart.Add(time.Duration(at * float64(time.Second))).UnixMicro(), err
	default:
		if text == "" {
			return 0, nil
		}
		return strconv.Atoi(text)
	}
}

func twos(n *big.Int) []byte {
	if n.Sign() < 0 {
		size := uint(n.BitLen()/8 + 1)
		return new(big.Int).Add(n, new(big.Int).Lsh(big.NewInt(1), size*8)).Bytes()
	}
	return append([]byte{0}, n.Bytes()...)
}

// spoil tells a record that cannot be taken as it is.
func (tl *teller) spoil(table, how string, words []string) error {
	form := tl.tables[table]
	if len(words) == 0 {
		words = []string{"id=900"}
	}
	r, err := tl.change(form, "c", words)
	if err != nil {
		return err
	}
	switch how {
	case "truncated":
		r.Value = r.Value[:len(r.Value)/2]
	case "nameless":
		r.Key, r.Value = []byte{7}, []byte{7}
	case "poison":
		r.Value = []byte{7, 7, 7, 7, 7, 7, 7, 7}
	case "oversized":
		r.Value = append(r.Value, bytes.Repeat([]byte{0}, 1<<20)...)
	case "shape", "flat", "mysql", "heartbeat":
		schema := map[string]string{
			"shape": `{"type":"record","name":"Other","fields":[{"name":"a","type":"string"}]}`,
			"flat":  `{"type":"record","name":"Row","fields":[{"name":"id","type":"int"},{"name":"state","type":"string"}]}`,
			"mysql": `{"type":"record","name":"Envelope","fields":[{"name":"op","type":"string"},{"name":"after","type":["null","string"]},` +
				`{"name":"source","type":{"type":"record","name":"Source","fields":[{"name":"server_id","type":"long"},{"name":"file","type":"string"}]}}]}`,
			"heartbeat": `{"type":"record","name":"Heartbeat","namespace":"io.debezium.connector.common","fields":[{"name":"ts_ms","type":"long"}]}`,
		}[how]
		id, err := tl.w.schemas.Register(tl.t.Context(), "other-"+how, schema)
		if err != nil {
			return err
		}
		r.Value = registry.Frame(id, []byte{2, 'x'}) // nobody gets as far as that
	case "key":
		if r.Key, err = form.key.AppendEncode(registry.AppendFrame(nil, form.keyID), map[string]any{"id": 901}); err != nil {
			return err
		}
	default:
		return fmt.Errorf("no way %q of spoiling a record", how)
	}
	return tl.tell(r)
}
