package pipelines_test

import (
	"context"
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"syncline/benchmarks/oracle"
	"syncline/benchmarks/workload"
	"syncline/benchmarks/workload/company"
	"syncline/deploy/embedded/chtest"
	"syncline/pipelines"
	"syncline/schemas/change"
	sink "syncline/sinks/clickhouse"
)

// The oracle and the operators are written apart from each other against the
// definitions in ARCHITECTURE.md; here they have to come to the same rows.

var (
	companySeed  = flag.Uint64("company.seed", 1, "seed of the first simulated company")
	companies    = flag.Int("company.count", 25, "simulated companies, each with a seed one higher")
	companyTries = flag.Int("company.tries", 4, "random interleavings of each simulated company")
)

// engine is ClickHouse, started by the first test that needs it.
var engine struct { //nolint:gochecknoglobals // a process holds one; TestMain ends it
	sync.Once
	addr string
	stop func()
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if engine.stop != nil {
		engine.stop()
	}
	os.Exit(code)
}

func clickHouse(t *testing.T) driver.Conn {
	t.Helper()
	engine.Do(func() { engine.stop, engine.err = chtest.Start(&engine.addr) })
	if engine.err != nil {
		t.Fatalf("starting ClickHouse: %v", engine.err)
	}
	conn, err := clickhouse.Open(&clickhouse.Options{Addr: []string{engine.addr}, Protocol: clickhouse.HTTP})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// delivered are the records that the sink would read, in order of each partition.
func (w *world) delivered() iter.Seq[oracle.TopicRecord] {
	return func(yield func(oracle.TopicRecord) bool) {
		for _, topic := range w.spine.Delivered {
			for p, log := range w.driver.Log(topic) {
				for _, m := range log {
					if !yield(oracle.TopicRecord{Topic: topic, Partition: int32(p), Offset: m.Offset, Key: m.Key, Value: m.Value}) { //nolint:gosec // a partition
						return
					}
				}
			}
		}
	}
}

// holdAgainst compares the canonical topics with what the views must show.
func (w *world) holdAgainst(t *testing.T, want oracle.Expected) {
	t.Helper()
	schema := func(ctx context.Context, id uint32) (string, error) { return w.schemas.SchemaByID(ctx, int(id)) }
	report, err := oracle.CompareRecords(t.Context(), w.delivered(), schema, pipelines.DefaultNames().Record, want)
	if err != nil {
		t.Fatal(err)
	}
	demand(t, report)
}

// demand fails the test unless the report is without differences and is about
// something in every line.
func demand(t *testing.T, report oracle.Report) {
	t.Helper()
	for _, l := range report.Tallies {
		if l.Expected == 0 {
			t.Errorf("%s: nothing was compared", l.View)
		}
	}
	if !report.OK() {
		var b strings.Builder
		if err := report.Print(&b, 20); err != nil {
			t.Fatal(err)
		}
		t.Errorf("pipelines and oracle differ:\n%s", b.String())
	}
}

// sinkAll writes everything delivered into a database of its own, each
// partition cut into random batches, one in four of them sent twice, and
// compares the views.
func (w *world) sinkAll(t *testing.T, conn driver.Conn, database string, random *rand.Rand, want oracle.Expected) {
	t.Helper()
	s, err := sink.Open(sink.Options{Topic: pipelines.DefaultNames().Record, Addresses: []string{engine.addr}, Database: database, Compression: sink.None}, w.schemas)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, topic := range w.spine.Delivered {
		for p, log := range w.driver.Log(topic) {
			for first := 0; first < len(log); {
				last := min(first+random.IntN(2*len(log)), len(log)-1)
				part := change.Part{Partition: int32(p), First: int64(first), Last: int64(last)} //nolint:gosec // a partition
				for _, m := range log[first : last+1] {
					part.Records = append(part.Records, change.Record{Offset: m.Offset, Timestamp: m.Timestamp, Key: m.Key, Value: m.Value})
				}
				times := 1
				if random.IntN(4) == 0 {
					times = 2
				}
				for range times {
					if err := s.Write(t.Context(), change.Batch{Topic: topic, Parts: []change.Part{part}}); err != nil {
						t.Fatal(err)
					}
				}
				first = last + 1
			}
		}
	}
	report, err := oracle.CompareViews(t.Context(), conn, database, want)
	if err != nil {
		t.Fatal(err)
	}
	demand(t, report)
}

func TestRecordedTruth(t *testing.T) {
	for i, name := range []string{"debezium-tryton", "debezium-tryton-2"} {
		t.Run(name, func(t *testing.T) {
			conn := clickHouse(t)
			want, err := oracle.ExpectRecorded(t.Context(), conn, recordedDir+name, 1)
			if err != nil {
				t.Fatal(err)
			}
			var w *world
			for seed := range uint64(3) {
				w = newWorld(t, "catalog/tryton.yaml", 100+seed)
				w.driver.Aborts, w.driver.Crashes = 0.2, 0.05
				w.driver.Poll = []int{500, 5, 60}[seed]
				w.load(t, recordedDir+name)
				w.run(t)
				w.holdAgainst(t, want)
			}
			w.sinkAll(t, conn, fmt.Sprintf("recorded_%d", i), rand.New(rand.NewPCG(1, 1)), want) //nolint:gosec // a reproducible order
		})
	}
}

// companyOf draws what kind of company a seed gives: most as it comes, some in
// which hardly anything goes as it should, some behind a bad connection.
func companyOf(seed uint64) company.Config {
	random := rand.New(rand.NewPCG(seed, 0xc0)) //nolint:gosec // a reproducible company
	c := company.Config{Seed: seed, Accounts: 30 + random.IntN(71), OversizedBytes: 1<<20 + 1}
	switch seed % 5 {
	case 1:
		c.Business = unruly()
		c.History = 0.3
	case 2: // few customers with much each
		c.Accounts = 10 + random.IntN(20)
		c.Deals = 4 * c.Accounts
		c.Business = unruly()
	case 3: // a connector that is killed again and again
		c.Transport = &company.Transport{
			Redelivered: 0.4, RewindLength: 1 + random.IntN(200), Stalled: 0.3, StallFor: time.Hour, StalledLong: 0.1, Poison: 0.02,
		}
	}
	return c
}

// unruly is a business in which every hard case is common.
func unruly() *company.Business {
	b := company.DefaultBusiness()
	for _, rate := range []*float64{
		&b.LinkChanged, &b.WrongLink, &b.LinkRemoved, &b.TwoLinks, &b.DanglingLink, &b.LateLink, &b.Void, &b.CreditNote, &b.PaymentUndone,
	} {
		*rate = 0.2
	}
	b.SecondDebtor, b.MovedDebtor, b.LineMoved, b.DraftDeleted, b.StrayLines = 0.5, 0.3, 0.4, 0.3, 0.1
	b.CustomerDeleted, b.LostDeleted, b.Overtaken, b.Recreated, b.PaidInParts = 0.1, 0.8, 0.5, 0.7, 0.4
	return b
}

// madeCompany is what a company's systems send and what must come of it.
type madeCompany struct {
	schemas *memorySchemas
	records []workload.Record
	truth   oracle.Expected
	cases   map[string]int64
}

func makeCompany(t *testing.T, c company.Config) *madeCompany {
	t.Helper()
	m := &madeCompany{schemas: &memorySchemas{hide: map[int]bool{}}}
	g, err := company.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Register(t.Context(), m.schemas); err != nil {
		t.Fatal(err)
	}
	for {
		r, ok := g.Next()
		if !ok {
			break
		}
		m.records = append(m.records, r)
	}
	told, err := g.Truth()
	if err != nil {
		t.Fatal(err)
	}
	if m.truth, err = oracle.ExpectWorkload(told); err != nil {
		t.Fatal(err)
	}
	m.cases = g.Cases()
	return m
}

// play runs the company's records through the hops in one random order: some
// lie in the topics before the hops begin, the others come while they work.
func (m *madeCompany) play(t *testing.T, seed uint64) *world {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0xfeed)) //nolint:gosec // a reproducible order
	w := newWorldOn(t, "catalog/company.yaml", m.schemas, seed)
	w.driver.Poll = []int{1, 8, 64, 1000}[random.IntN(4)]
	w.driver.Aborts, w.driver.Crashes = 0.3*random.Float64(), 0.1*random.Float64()
	backlog := []int{0, len(m.records) / 2, len(m.records)}[random.IntN(3)]
	for i, r := range m.records {
		if !w.driver.Knows(r.Topic) {
			t.Fatalf("the catalog does not map %s", r.Topic)
		}
		if err := w.driver.Feed(r.Topic, r.Partition, r.Key, r.Value, r.Timestamp); err != nil {
			t.Fatal(err)
		}
		if i >= backlog && random.IntN(10) == 0 {
			if err := w.driver.Steps(random.IntN(20)); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.run(t)
	return w
}

func TestCompanyTruth(t *testing.T) {
	for i := range *companies {
		seed := *companySeed + uint64(i) //nolint:gosec // a small count
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			m := makeCompany(t, companyOf(seed))
			for try := range *companyTries {
				w := m.play(t, seed*1000+uint64(try)) //nolint:gosec // a small count
				w.holdAgainst(t, m.truth)
				if t.Failed() {
					t.Fatalf("interleaving %d of %d records; again: go test ./pipelines -run TestCompanyTruth -company.seed %d -company.count 1", try, len(m.records), seed)
				}
			}
		})
	}
}

// One company goes through the sink as well, where feed_health and the KPIs
// are made.
func TestCompanyViews(t *testing.T) {
	conn := clickHouse(t)
	m := makeCompany(t, companyOf(*companySeed+2))
	w := m.play(t, *companySeed)
	w.holdAgainst(t, m.truth)
	w.sinkAll(t, conn, "company", rand.New(rand.NewPCG(*companySeed, 2)), m.truth) //nolint:gosec // a reproducible order
	if t.Failed() {
		t.Logf("again: go test ./pipelines -run TestCompanyViews -company.seed %d", *companySeed)
	}
	t.Logf("%d records, cases %v", len(m.records), m.cases)
}
