package pipelines_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"syncline/benchmarks/workload"
	"syncline/pipelines"
	"syncline/pipelines/catalog"
	"syncline/pipelines/run"
	"syncline/schemas/registry"
)

// memorySchemas is a registry in memory: ids in order of first registration.
type memorySchemas struct {
	mu       sync.Mutex
	texts    []string
	subjects map[string][]int // ids of each, by version
	hide     map[int]bool     // ids that are not known yet
}

func (m *memorySchemas) Register(_ context.Context, subject, schema string) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := slices.Index(m.texts, schema) + 1
	if id == 0 {
		m.texts = append(m.texts, schema)
		id = len(m.texts)
	}
	if m.subjects == nil {
		m.subjects = map[string][]int{}
	}
	if !slices.Contains(m.subjects[subject], id) {
		m.subjects[subject] = append(m.subjects[subject], id)
	}
	return id, nil
}

func (m *memorySchemas) Latest(_ context.Context, subject string) (registry.Version, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ids := m.subjects[subject]
	if len(ids) == 0 {
		return registry.Version{}, registry.ErrRejected
	}
	id := ids[len(ids)-1]
	return registry.Version{Subject: subject, Version: len(ids), ID: id, Schema: m.texts[id-1]}, nil
}

func (m *memorySchemas) Later(_ context.Context, subject string, id int) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var later []string
	for _, other := range slices.Backward(m.subjects[subject]) {
		if other == id {
			return later, nil
		}
		later = append(later, m.texts[other-1])
	}
	return nil, nil
}

func (m *memorySchemas) SchemaByID(_ context.Context, id int) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if id < 1 || id > len(m.texts) || m.hide[id] {
		return "", registry.ErrUnknownID
	}
	return m.texts[id-1], nil
}

// feeder puts a recording's records into a driver; transaction topics, which no
// hop reads, are left out.
type feeder struct {
	driver *run.Driver
	fed    int
}

func (f *feeder) CreateTopics(context.Context, []string, int32) error { return nil }
func (f *feeder) Flush(context.Context) error                         { return nil }
func (f *feeder) Produce(_ context.Context, r workload.Record) error {
	if !f.driver.Knows(r.Topic) {
		return nil
	}
	f.fed++
	return f.driver.Feed(r.Topic, r.Partition, r.Key, r.Value, r.Timestamp)
}

// world is a topology in memory with its schemas.
type world struct {
	stopped string // why the driver stopped, in stories
	driver  *run.Driver
	schemas *memorySchemas
	spine   *pipelines.Spine
}

func newWorld(t testing.TB, catalogFile string, seed uint64) *world {
	t.Helper()
	return newWorldOn(t, catalogFile, &memorySchemas{hide: map[int]bool{}}, seed)
}

func newWorldOn(t testing.TB, catalogFile string, schemas *memorySchemas, seed uint64) *world {
	t.Helper()
	c, err := catalog.Open(catalogFile)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{schemas: schemas}
	w.spine, err = pipelines.Build(t.Context(), pipelines.Config{Catalog: c, Schemas: w.schemas})
	if err != nil {
		t.Fatal(err)
	}
	w.driver = run.NewDriver(w.spine.Hops, workload.Partitions, seed)
	w.driver.Encode = w.spine.Letters.Encode
	w.takeInstructions()
	return w
}

func (w *world) load(t testing.TB, dir string) {
	t.Helper()
	rec, err := workload.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rec.Load(t.Context(), w.schemas, &feeder{driver: w.driver}, workload.LoadOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (w *world) run(t testing.TB) {
	t.Helper()
	if err := w.rest(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// takeInstructions has the driver pass on what tasks tell each other.
func (w *world) takeInstructions() {
	w.driver.Instructions, w.driver.Codec = pipelines.DefaultNames().Instructions, pipelines.Instructions{}
}

// rest runs until nothing is left to do, following up the snapshots that have
// ended.
func (w *world) rest(ctx context.Context) error {
	sweeps := pipelines.Sweeps{
		Said: w.driver.Said, Log: slog.New(slog.DiscardHandler),
		Ends: func(_ context.Context, topic string) (map[int32]int64, error) {
			ends := map[int32]int64{}
			for p, log := range w.driver.Log(topic) {
				ends[int32(p)] = int64(len(log)) //nolint:gosec // few
			}
			return ends, nil
		},
		Instruct: func(_ context.Context, i run.Instruction) error { w.driver.Instruct(&i); return nil },
	}
	for {
		if err := w.driver.Run(); err != nil {
			return err
		}
		said := len(w.driver.Said())
		if err := sweeps.Look(ctx, time.Now()); err != nil || len(w.driver.Said()) == said {
			return err
		}
	}
}

// TestRecordedAnyOrder runs each recorded feed in random interleavings, with
// transactions thrown away and tasks made anew: the canonical state must be the
// same in all.
func TestRecordedAnyOrder(t *testing.T) {
	for _, name := range []string{"debezium-tryton", "debezium-tryton-2"} {
		t.Run(name, func(t *testing.T) {
			var want map[string]string
			for seed := range uint64(4) {
				w := newWorld(t, "catalog/tryton.yaml", seed)
				w.driver.Aborts, w.driver.Crashes = 0.2, 0.05
				w.driver.Poll = []int{1000, 64, 7, 200}[seed%4]
				w.load(t, "../benchmarks/workload/recorded/"+name)
				w.run(t)
				got := w.canonical(t)
				if seed == 0 {
					want = got
					t.Logf("%d live entities: %v; verdicts %v", len(got), countByTopic(got), w.driver.Verdicts)
					continue
				}
				if d := differences(want, got); len(d) > 0 {
					t.Fatalf("seed %d differs from seed 0 in %d entities:\n%s", seed, len(d), strings.Join(d[:min(len(d), 10)], "\n"))
				}
			}
		})
	}
}

func countByTopic(m map[string]string) map[string]int {
	n := map[string]int{}
	for k := range m {
		topic, _, _ := strings.Cut(k, " ")
		n[topic]++
	}
	return n
}

func differences(want, got map[string]string) []string {
	var d []string
	keys := slices.Sorted(maps.Keys(want))
	for _, k := range keys {
		if got[k] != want[k] {
			d = append(d, fmt.Sprintf("%s\n  want %s\n  got  %s", k, want[k], got[k]))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[k]; !ok {
			d = append(d, fmt.Sprintf("%s\n  unexpected %s", k, got[k]))
		}
	}
	return d
}

func (*memorySchemas) AskAnew() {}
