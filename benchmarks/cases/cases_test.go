package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOwnCases: every case of the project reads, names a kind, and each kind has
// a case.
func TestOwnCases(t *testing.T) {
	paths, err := find([]string{"testdata"}, "")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[int]int{}
	for _, path := range paths {
		c, err := loadCase(path)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if c.Title == "" || c.Why == "" {
			t.Errorf("%s: no title, or no why", path)
		}
		kinds[c.Kind]++
	}
	for kind := 1; kind <= 16; kind++ {
		if kinds[kind] == 0 {
			t.Errorf("no case of kind %d", kind)
		}
		delete(kinds, kind)
	}
	if len(kinds) > 0 {
		t.Errorf("unknown kinds: %v", kinds)
	}
}

// TestNoCaseIsRed: a run that finds nothing to run, or not what was asked for,
// must not look like success.
func TestNoCaseIsRed(t *testing.T) {
	for _, args := range [][]string{nil, {t.TempDir()}, {"testdata", t.TempDir()}, {"-only", "nothing_of_this_name", "testdata"}} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, &out, &errs); code != 1 || !strings.Contains(errs.String(), "no case") {
			t.Errorf("%v: exit code %d, %s", args, code, errs.String())
		}
	}
}

// TestFaultyCases: a case that is not understood is refused, and never passes.
func TestFaultyCases(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		"title: a\ncatalog: {tables: []}\nexpects: []\n":                                                               "expects",
		"title: a\ncatalog: {tables: []}\nsteps: [{settle: true}]\n":                                                   "expects nothing",
		"title: a\ncatalog: none.yaml\nexpect: [{log: [x]}]\n":                                                         "none.yaml",
		"catalog: {tables: []}\ntables: {a: {topic: cdc.a.b, key: [k], columns: {k: longer}}}\nexpect: [{log: [x]}]\n": "longer",
		"catalog: {tables: []}\ntables: {a: {topic: cdc.a.b, key: [z], columns: {k: long}}}\nexpect: [{log: [x]}]\n":   "no column",
		"catalog: {tables: []}\nexpect: [{logs: [x]}]\n":                                                               "logs",
	} {
		path := filepath.Join(dir, "faulty.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadCase(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// TestColumns holds encoded values against bytes that were worked out by hand
// from Avro's specification.
func TestColumns(t *testing.T) {
	for _, c := range []struct {
		word  any
		value any
		want  string // hex of the field, its union's branch included
	}{
		{"int", -1, "0201"},
		{"long!", 64, "8001"},
		{"text", nil, "00"},
		{"text!", "ab", "046162"},
		{"bool", true, "0201"},
		{"double!", 0.5, "000000000000e03f"},
		{"float!", 0.5, "0000003f"},
		{"date", "1970-01-03", "0204"},
		{"millis!", "1970-01-01T00:00:01", "d00f"},
		{"micros!", "1970-01-01T00:00:00.000001+00:00", "02"},
		{"micros!", "-infinity", "ffc9d4eaffffffffff01"},
		{"zoned!", "x", "0278"},
		{"decimal(9,2)", "1.28", "02040080"},
		{"decimal(9,2)!", -1.28, "0280"},
		{"decimal(9,2)!", "0", "0200"},
		{"decimal(9,2)!", -2.56, "04ff00"},
		{"vdecimal", "-1.5", "020202f1"},
		{map[string]any{"type": "text", "default": "EUR"}, nil, "02"},
		{map[string]any{"type": "decimal(5,1)", "default": "25.5"}, "25.5", "000400ff"},
	} {
		table, err := newTable("t", map[string]any{"topic": "cdc.a.b", "key": []any{"v"}, "columns": map[string]any{"v": c.word}})
		if err != nil {
			t.Errorf("%v: %v", c.word, err)
			continue
		}
		v, err := table.columns["v"].encode(c.value)
		if err != nil {
			t.Errorf("%v %v: %v", c.word, c.value, err)
			continue
		}
		got, err := table.rowSchema.avro.Encode(object{"v": v})
		if err != nil || hex.EncodeToString(got) != c.want {
			t.Errorf("%v %v: %x, %v, want %s", c.word, c.value, got, err, c.want)
		}
	}
}

func TestComparison(t *testing.T) {
	e := expectation{Query: "q", Rows: &[]map[string]any{{"n": 1.5, "at": "2026-11-02", "no": nil, "yes": true, "list": []any{1, "a"}}}}
	same := []map[string]any{{"n": json.Number("1.500"), "at": "2026-11-02 00:00:00.000000", "yes": "true", "list": []any{"1.0", "a"}}}
	if err := e.judge(same); err != nil {
		t.Error(err)
	}
	for _, other := range [][]map[string]any{nil, {{"n": "1.51"}}, append(same, same...)} {
		if e.judge(other) == nil {
			t.Errorf("%v passed", other)
		}
	}
	unsure := expectation{Query: "q", Unsure: []string{"net"}}
	for row, want := range map[*map[string]any]bool{
		{"a": "b"}:                             true,
		{"net": "0"}:                           false,
		{"net": "5", "complete": "false"}:      true,
		{"net": "5", "complete": "true"}:       false,
		{"net": "5", "incomplete_reason": ""}:  false,
		{"net": "5", "incomplete_reason": "x"}: true,
		{"net": nil, "complete": "true"}:       true,
	} {
		if err := unsure.judge([]map[string]any{*row}); (err == nil) != want {
			t.Errorf("%v: %v", *row, err)
		}
	}
	if unsure.judge(nil) == nil {
		t.Error("no row at all passed as unsure")
	}
}

func TestMerge(t *testing.T) {
	a := map[string]any{"a": map[string]any{"x": 1, "y": 2}, "b": 3, "c": 4}
	b := map[string]any{"a": map[string]any{"y": nil, "z": 5}, "b": map[string]any{"q": 6}, "c": nil}
	want := map[string]any{"a": map[string]any{"x": 1, "z": 5}, "b": map[string]any{"q": 6}}
	if d := cmp.Diff(want, merge(a, b)); d != "" {
		t.Error(d)
	}
}

func TestAddresses(t *testing.T) {
	for said, want := range map[string][2]string{
		"Syncline is up\n  Kafka            127.0.0.1:1\n  schema registry  http://127.0.0.1:2\n":     {"127.0.0.1:1", "http://127.0.0.1:2"},
		`{"ok":true,"result":{"brokers":["127.0.0.1:1"],"registry_url":"http://127.0.0.1:2"}}` + "\n": {"127.0.0.1:1", "http://127.0.0.1:2"},
		"fetching\n  Kafka            127.0.0.1:1\n":                                                  {},
	} {
		if broker, url := addresses(said); broker != want[0] || url != want[1] {
			t.Errorf("%q: %s, %s", said, broker, url)
		}
	}
}
