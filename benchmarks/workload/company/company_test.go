package company

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"testing"

	"syncline/benchmarks/workload"
)

func generate(t testing.TB, c Config) *Generator {
	t.Helper()
	g, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func drain(g *Generator) []workload.Record {
	var out []workload.Record
	for {
		r, ok := g.Next()
		if !ok {
			return out
		}
		out = append(out, r)
	}
}

func digest(g *Generator) string {
	h := sha256.New()
	var n [28]byte
	for {
		r, ok := g.Next()
		if !ok {
			return hex.EncodeToString(h.Sum(nil))
		}
		binary.BigEndian.PutUint32(n[:], uint32(r.Partition))
		binary.BigEndian.PutUint64(n[4:], uint64(r.Timestamp))
		binary.BigEndian.PutUint64(n[12:], uint64(len(r.Key)))
		binary.BigEndian.PutUint64(n[20:], uint64(len(r.Value)))
		h.Write([]byte(r.Topic))
		h.Write(n[:])
		h.Write(r.Key)
		h.Write(r.Value)
	}
}

func TestSameSeedSameBytes(t *testing.T) {
	c := Config{Seed: 7, Accounts: 300}
	first := digest(generate(t, c))
	if again := digest(generate(t, c)); again != first {
		t.Errorf("seed 7 gave %s, then %s", first, again)
	}
	c.Seed = 8
	if other := digest(generate(t, c)); other == first {
		t.Error("seeds 7 and 8 gave the same bytes")
	}
}

// TestTransportLeavesTruthAlone holds that what happens on the way changes no
// row but those of feed_health.
func TestTransportLeavesTruthAlone(t *testing.T) {
	bad := generate(t, Config{Seed: 3, Accounts: 200})
	good := generate(t, Config{Seed: 3, Accounts: 200, Transport: &Transport{}})
	drain(bad)
	drain(good)
	a, errA := bad.Truth()
	b, errB := good.Truth()
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	for view := range a {
		if view == "feed_health" {
			continue
		}
		if len(a[view]) == 0 {
			t.Errorf("%s has no rows", view)
		}
		differs(t, view, a[view], b[view])
	}
}

func TestTruthIsWellFormed(t *testing.T) {
	for _, accounts := range []int{2, 50, 1000} {
		g := generate(t, Config{Seed: 11, Accounts: accounts})
		drain(g)
		truth, err := g.Truth()
		if err != nil {
			t.Fatal(err)
		}
		if err := truth.Check(); err != nil {
			t.Errorf("%d accounts: %v", accounts, err)
		}
	}
}

func TestEveryCaseHappens(t *testing.T) {
	g := generate(t, Config{Seed: 1, Accounts: 4000, OversizedBytes: 2048})
	n := len(drain(g))
	for name, count := range g.Cases() {
		switch {
		case name == CaseUnknownSchema.String():
			if count != 0 {
				t.Errorf("%s happened %d times by default", name, count)
			}
		case count == 0:
			t.Errorf("%s never happened in %d records", name, n)
		default:
			t.Logf("%-20s %7d", name, count)
		}
	}
	stages := map[string]int{}
	truth, err := g.Truth()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range truth["deals"] {
		stages[d["stage"]]++
	}
	for _, s := range []string{"opened", "won", "activated", "invoiced", "partly_paid", "paid", "credited", "lost"} {
		if stages[s] == 0 {
			t.Errorf("no deal is %s", s)
		}
	}
	rows := map[string]int{}
	for view, r := range truth {
		rows[view] = len(r)
	}
	t.Logf("%d records, %v, %v", n, stages, rows)
}

func TestRatesHold(t *testing.T) {
	g := generate(t, Config{Seed: 5, Accounts: 2000, OversizedBytes: 2048})
	n := float64(len(drain(g)))
	for _, c := range []struct {
		kind     Case
		from, to float64
	}{
		{CaseRedelivered, 0.07, 0.12}, {CasePoison, 0.0004, 0.002}, {CaseDeleted, 0.005, 0.02}, {CaseOversized, 0.00001, 0.0004},
	} {
		if share := float64(g.cases[c.kind]) / n; share < c.from || share > c.to {
			t.Errorf("%s: %.5f of %.0f records, want %v to %v", c.kind, share, n, c.from, c.to)
		}
	}
}

func TestStopEndsEarlyAndTellsTheTruthOfThat(t *testing.T) {
	g := generate(t, Config{Seed: 9, Accounts: 500})
	var records []workload.Record
	for range 4000 {
		r, ok := g.Next()
		if !ok {
			t.Fatal("ended before it was stopped")
		}
		records = append(records, r)
	}
	g.Stop()
	records = append(records, drain(g)...)
	if len(records) < 4000 || len(records) > 9000 {
		t.Errorf("%d records after a stop at 4,000", len(records))
	}
	f := fold(t, g, records)
	f.compare(t, g)
	truth, err := g.Truth()
	if err != nil {
		t.Fatal(err)
	}
	if err := truth.Check(); err != nil {
		t.Error(err)
	}
}

type offsetIDs struct{ n int }

func (o *offsetIDs) Register(context.Context, string, string) (int, error) {
	o.n++
	return 5000 + o.n, nil
}

func TestRegisteredIDsAreInTheFrames(t *testing.T) {
	plain, registered := generate(t, Config{Seed: 4, Accounts: 20}), generate(t, Config{Seed: 4, Accounts: 20})
	if err := registered.Register(t.Context(), &offsetIDs{}); err != nil {
		t.Fatal(err)
	}
	a, b := drain(plain), drain(registered)
	if len(a) != len(b) {
		t.Fatalf("%d records with ids of its own, %d with those of a registry", len(a), len(b))
	}
	for i := range a {
		if len(a[i].Value) < 6 || a[i].Value[0] != 0 {
			continue
		}
		was, is := binary.BigEndian.Uint32(a[i].Value[1:]), binary.BigEndian.Uint32(b[i].Value[1:])
		if is != was+5000 || a[i].Partition != b[i].Partition || string(a[i].Value[5:]) != string(b[i].Value[5:]) {
			t.Fatalf("record %d: id %d became %d in partition %d, then %d", i, was, is, a[i].Partition, b[i].Partition)
		}
	}
	if err := registered.Register(t.Context(), &offsetIDs{}); err == nil {
		t.Error("registering after the first record was accepted")
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []Config{{Accounts: 1}, {Accounts: 10, Deals: -1}, {Accounts: 10, CRM: "Sales Force"}, {Accounts: 10, History: 1}, {Accounts: 10, Transport: &Transport{Redelivered: 2}}} {
		if _, err := New(c); err == nil {
			t.Errorf("accepted %+v", c)
		}
	}
}

func BenchmarkGenerate(b *testing.B) {
	g := generate(b, Config{Seed: 1, Accounts: 100_000, Transport: func() *Transport { t := DefaultTransport(); t.Oversized = 0; return t }()})
	var bytes int64
	b.ReportAllocs()
	for b.Loop() {
		r, ok := g.Next()
		if !ok {
			b.Fatal("the stream is too short for the benchmark")
		}
		bytes += int64(len(r.Key) + len(r.Value))
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(bytes)/float64(b.N), "bytes/record")
}
