package endtoend

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/twmb/avro"

	"syncline/benchmarks/workload"
	"syncline/benchmarks/workload/company"
	"syncline/schemas/registry"
)

// BenchmarkLatency plays the company at 3,000 changes a second with everything
// on this machine, and measures how long a change takes from its source topic to
// a row in ClickHouse, through all four hops: twenty times a second a product is
// updated whose commit time is now, and ClickHouse is asked in a loop which of
// these times it shows. The figure includes the asking.
//
//	go test ./benchmarks/endtoend -run xxx -bench Latency -benchtime 1x -v
func BenchmarkLatency(b *testing.B) {
	const rate, seconds = 3000, 20
	for b.Loop() {
		w := newWorld(b, "company")
		g, err := company.New(company.Config{Seed: 2, Accounts: 4000, NoTruth: true})
		if err != nil {
			b.Fatal(err)
		}
		if err := g.Register(b.Context(), w.registry()); err != nil {
			b.Fatal(err)
		}
		to := w.producer(0)
		if err := to.CreateTopics(b.Context(), g.Topics(), workload.Partitions); err != nil {
			b.Fatal(err)
		}
		// The beginning, with the products, before the clock starts.
		for range 3000 {
			r, ok := g.Next()
			if !ok {
				b.Fatal("the company is too small")
			}
			if err := to.Produce(b.Context(), r); err != nil {
				b.Fatal(err)
			}
		}
		if err := to.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
		p := w.start()
		p.settle()
		m := newMarker(w)
		stop := make(chan struct{})
		done := make(chan struct{})
		go m.watch(stop, done)
		paced := w.producer(rate)
		n, next := 0, time.Now()
		for begun := time.Now(); time.Since(begun) < seconds*time.Second; {
			r, ok := g.Next()
			if !ok {
				b.Fatal("the company is too small")
			}
			if err := paced.Produce(b.Context(), r); err != nil {
				b.Fatal(err)
			}
			if n++; time.Now().After(next) {
				next = next.Add(50 * time.Millisecond)
				if err := to.Produce(b.Context(), m.next()); err != nil {
					b.Fatal(err)
				}
			}
		}
		p.settle()
		close(stop)
		<-done
		took := m.latencies()
		if len(took) < seconds*10 {
			b.Fatalf("%d markers were seen", len(took))
		}
		p50, p99 := took[len(took)/2], took[len(took)*99/100]
		b.Logf("%d changes in %d s, %d markers: p50 %s, p99 %s, max %s", n, seconds, len(took), p50, p99, took[len(took)-1])
		b.ReportMetric(float64(p50.Milliseconds()), "p50-ms")
		b.ReportMetric(float64(p99.Milliseconds()), "p99-ms")
		p.term()
	}
}

// marker updates one product again and again.
type marker struct {
	w      *world
	base   workload.Record
	id     int
	schema *avro.Schema
	image  map[string]any
	lsn    int64
	sent   []int64 // commit times, microseconds
	seen   map[int64]time.Duration
}

func newMarker(w *world) *marker {
	w.t.Helper()
	m := &marker{w: w, base: w.lastRecord("cdc.crm.sales.catalog_items"), seen: map[int64]time.Duration{}}
	id, payload, err := registry.Unframe(m.base.Value)
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := w.registry().SchemaByID(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	if m.schema, err = avro.Parse(text); err != nil {
		w.t.Fatal(err)
	}
	if _, err := m.schema.Decode(payload, &m.image); err != nil {
		w.t.Fatal(err)
	}
	m.id, m.lsn = id, 1<<50
	return m
}

func (m *marker) next() workload.Record {
	now := time.Now()
	m.lsn++
	source := maps.Clone(m.image["source"].(map[string]any)) //nolint:forcetypeassert // Debezium's envelope
	source["lsn"], source["ts_us"], source["ts_ms"], source["snapshot"] = m.lsn, now.UnixMicro(), now.UnixMilli(), "false"
	image := maps.Clone(m.image)
	image["source"], image["op"] = source, "u"
	r := m.base
	r.Timestamp = now.UnixMilli()
	var err error
	if r.Value, err = m.schema.AppendEncode(registry.AppendFrame(nil, m.id), image); err != nil {
		m.w.t.Fatal(err)
	}
	m.sent = append(m.sent, now.UnixMicro())
	return r
}

// watch asks which commit time ClickHouse shows, as fast as it answers.
func (m *marker) watch(stop, done chan struct{}) {
	defer close(done)
	conn := m.w.clickhouse()
	for {
		select {
		case <-stop:
			return
		default:
		}
		var last time.Time
		if err := conn.QueryRow(m.w.t.Context(), "SELECT coalesce(max(updated_at), toDateTime64(0, 6)) FROM syncline.canonical_product WHERE updated_at > now() - 3600").Scan(&last); err != nil {
			m.w.t.Error(err)
			return
		}
		at := last.UnixMicro()
		if _, ok := m.seen[at]; !ok {
			m.seen[at] = time.Since(last)
		}
	}
}

// latencies of all markers: one that a newer one has overtaken was visible no
// later than that.
func (m *marker) latencies() []time.Duration {
	shown := slices.Sorted(maps.Keys(m.seen))
	var took []time.Duration
	for _, at := range m.sent {
		i, _ := slices.BinarySearch(shown, at)
		if i < len(shown) {
			took = append(took, m.seen[shown[i]]+time.Duration(shown[i]-at)*time.Microsecond)
		}
	}
	slices.Sort(took)
	return took
}
