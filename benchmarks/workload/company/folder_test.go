package company

import (
	"bytes"
	"context"
	"encoding/binary"
	"maps"
	"strings"
	"testing"

	"syncline/benchmarks/oracle"
	"syncline/benchmarks/workload"
)

type collector struct{ records []workload.Record }

func (c *collector) CreateTopics(context.Context, []string, int32) error { return nil }
func (c *collector) Flush(context.Context) error                         { return nil }
func (c *collector) Produce(_ context.Context, r workload.Record) error {
	c.records = append(c.records, r)
	return nil
}

// TestFolderLoadsAsARecording holds that what was written to a folder comes out
// of it again, poison and all, with another registry's ids.
func TestFolderLoadsAsARecording(t *testing.T) {
	c := Config{Seed: 12, Accounts: 150, Transport: &Transport{Redelivered: 0.1, RewindLength: 20, Poison: 0.05, Oversized: 0.001, UnknownSchema: 0.001}}
	dir := t.TempDir()
	if err := generate(t, c).WriteFolder(t.Context(), dir, nil); err != nil {
		t.Fatal(err)
	}
	again := generate(t, c)
	want := drain(again)
	rec, err := workload.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got collector
	if n, err := rec.Load(t.Context(), &offsetIDs{}, &got, workload.LoadOptions{}); err != nil || n != len(want) {
		t.Fatalf("loaded %d, %v; want %d", n, err, len(want))
	}
	shifted := func(b []byte) []byte {
		if len(b) < 5 || b[0] != 0 {
			return b
		}
		b = bytes.Clone(b)
		if id := binary.BigEndian.Uint32(b[1:]); id < 1<<20 {
			binary.BigEndian.PutUint32(b[1:], id+5000)
		}
		return b
	}
	for i, w := range want {
		g := got.records[i]
		if g.Topic != w.Topic || g.Partition != w.Partition || g.Timestamp != w.Timestamp || (g.Key == nil) != (w.Key == nil) || (g.Value == nil) != (w.Value == nil) ||
			!bytes.Equal(g.Key, shifted(w.Key)) || !bytes.Equal(g.Value, shifted(w.Value)) {
			t.Fatalf("record %d of %s differs:\n%.80x\n%.80x", i, w.Topic, g.Value, w.Value)
		}
	}
	truth, err := again.Truth()
	if err != nil {
		t.Fatal(err)
	}
	read, err := ReadTruthFile(dir)
	if err != nil {
		t.Fatal(err)
	}
	for view := range truth {
		differs(t, view, truth[view], read[view])
	}
}

func TestReadTruthNamesTheLine(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "empty"},
		{`{"view":"accounts"}` + "\n{", "line 2"},
		{`{"view":"nothing"}`, `line 1: no view "nothing"`},
		{`{"view":"accounts","rows":{}}`, "line 1"},
	} {
		if _, err := ReadTruth(strings.NewReader(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.text, err, c.want)
		}
	}
}

// TestOracleAgreesOnKPIs holds the KPIs of the model against those that the
// oracle makes of the rows of deals.
func TestOracleAgreesOnKPIs(t *testing.T) {
	g := generate(t, Config{Seed: 6, Accounts: 800})
	drain(g)
	truth, err := g.Truth()
	if err != nil {
		t.Fatal(err)
	}
	without := maps.Clone(truth)
	delete(without, "kpi_daily")
	expected, err := oracle.ExpectWorkload(without)
	if err != nil {
		t.Fatal(err)
	}
	v, _ := oracle.ViewNamed("kpi_daily")
	theirs := map[string]oracle.Row{}
	for _, r := range expected["kpi_daily"] {
		theirs[v.KeyText(r)] = r
	}
	if len(theirs) != len(truth["kpi_daily"]) || len(theirs) < 50 {
		t.Fatalf("%d days, the oracle has %d", len(truth["kpi_daily"]), len(theirs))
	}
	for _, r := range truth["kpi_daily"] {
		if o := theirs[v.KeyText(r)]; !maps.Equal(o, r) {
			t.Errorf("%v, the oracle has %v", r, o)
		}
	}
}

func TestNoTruthMakesTheSameRecords(t *testing.T) {
	c := Config{Seed: 13, Accounts: 200, Deals: 600}
	with := digest(generate(t, c))
	c.NoTruth = true
	g := generate(t, c)
	if without := digest(g); without != with {
		t.Error("NoTruth changes the records")
	}
	if _, err := g.Truth(); err == nil {
		t.Error("a truth was told that was not kept")
	}
}
