package run

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"syncline/deploy/local/kafkatest"
	"syncline/processors/state"
	"syncline/schemas/change"
)

// world is one broker with topics of a name of its own, and what the tests
// need to write to and read from it.
type world struct {
	t       testing.TB
	brokers []string
	name    string
	cl      *kgo.Client
	admin   *kadm.Client
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldAt(t, kafkatest.Shared(t))
}

func newWorldAt(t testing.TB, brokers string) *world {
	t.Helper()
	w := &world{t: t, brokers: strings.Split(brokers, ",")}
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, t.Name())
	w.name = fmt.Sprintf("%.40s-%06x", name, rand.Uint32()&0xffffff)
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	w.cl, w.admin = cl, kadm.NewClient(cl)
	return w
}

// real says whether the broker is Apache Kafka.
func (w *world) real() bool { return kafkatest.Real(w.t) }

func (w *world) topic(name string) string { return w.name + "." + name }

func (w *world) create(name string, partitions int32) string {
	w.t.Helper()
	full := w.topic(name)
	r, err := w.admin.CreateTopic(w.t.Context(), partitions, 1, nil, full)
	if err == nil {
		err = r.Err
	}
	if err != nil {
		w.t.Fatalf("creating %s: %v", full, err)
	}
	return full
}

// produce writes n records with keys k0..k(keys-1) to topic, by our partitioner.
func (w *world) produce(topic string, partitions int32, n, keys int, mark string) {
	w.t.Helper()
	recs := make([]*kgo.Record, n)
	for i := range recs {
		key := []byte("k" + strconv.Itoa(i%keys))
		recs[i] = &kgo.Record{Topic: topic, Partition: PartitionOf(key, partitions), Key: key, Value: []byte(mark + strconv.Itoa(i))}
	}
	w.produceRecords(recs...)
}

func (w *world) produceRecords(recs ...*kgo.Record) {
	w.t.Helper()
	if err := w.cl.ProduceSync(w.t.Context(), recs...).FirstErr(); err != nil {
		w.t.Fatalf("producing: %v", err)
	}
}

// readAll reads what is committed in a topic now.
func (w *world) readAll(topic string) []*kgo.Record {
	w.t.Helper()
	return w.read(topic, kgo.ReadCommitted())
}

func (w *world) read(topic string, level kgo.IsolationLevel) []*kgo.Record {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 60*time.Second)
	defer cancel()
	ends, err := w.admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	starts, err2 := w.admin.ListStartOffsets(ctx, topic)
	if err != nil || err2 != nil {
		w.t.Fatalf("listing %s: %v %v", topic, err, err2)
	}
	until, from := map[int32]int64{}, map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) {
		s, _ := starts.Lookup(topic, o.Partition)
		if o.Offset > s.Offset {
			until[o.Partition] = o.Offset
			from[o.Partition] = kgo.NewOffset().At(s.Offset)
		}
	})
	if len(until) == 0 {
		return nil
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.brokers...), kgo.FetchIsolationLevel(level), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	if err != nil {
		w.t.Fatal(err)
	}
	defer cl.Close()
	var all []*kgo.Record
	for len(until) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			w.t.Fatalf("reading %s until %v: %v", topic, until, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if end, ok := until[r.Partition]; ok && r.Offset+1 >= end {
				delete(until, r.Partition)
			}
			if !r.Attrs.IsControl() {
				all = append(all, r)
			}
		})
	}
	return all
}

// counter is the toy hop: it counts the records of each key and emits the
// count. Its output shows every loss and every repeat: the counts of a key must
// rise by exactly one.
type counter struct {
	store state.Store
	out   string
	hook  func(m *Message) change.Verdict
}

func (c *counter) Process(m *Message, out Emitter) change.Verdict {
	if c.hook != nil {
		if v := c.hook(m); v.Kind != change.Pass {
			return v
		}
	}
	n := uint64(1)
	if old := c.store.Get(m.Key); old != nil {
		n = binary.BigEndian.Uint64(old) + 1
	}
	c.store.Put(m.Key, binary.BigEndian.AppendUint64(nil, n))
	key := slices.Clone(m.Key)
	out.Emit(c.out, key, key, binary.BigEndian.AppendUint64(nil, n))
	return change.Verdict{}
}

func (c *counter) Flush(Emitter) error                { return nil }
func (c *counter) Advance(int, Emitter) (bool, error) { return false, nil }
func (c *counter) Reset()                             {}

// relay passes records on to an internal queue.
type relay struct{ out string }

func (r *relay) Process(m *Message, out Emitter) change.Verdict {
	key := slices.Clone(m.Key)
	out.Emit(r.out, key, key, slices.Clone(m.Value))
	return change.Verdict{}
}

func (r *relay) Flush(Emitter) error                { return nil }
func (r *relay) Advance(int, Emitter) (bool, error) { return false, nil }
func (r *relay) Reset()                             {}

const toyPartitions = 4

func (w *world) countHop(input string, hook func(*Message) change.Verdict) Hop {
	out := Topic{Name: w.topic("counts"), Partitions: toyPartitions, Cleanup: Queue}
	return Hop{
		Name: "count", Inputs: []string{input}, Outputs: []Topic{out},
		Changelog: Topic{Name: w.topic("count-changelog"), Partitions: toyPartitions, Cleanup: Compact},
		NewTask: func(i TaskInfo) (Task, error) {
			return &counter{store: i.Store, out: out.Name, hook: hook}, nil
		},
	}
}

func (w *world) relayHop(input string) Hop {
	out := Topic{Name: w.topic("relayed"), Partitions: toyPartitions, Cleanup: Queue}
	return Hop{
		Name: "relay", Inputs: []string{input}, Outputs: []Topic{out},
		Changelog: Topic{Name: w.topic("relay-changelog"), Partitions: 2, Cleanup: Compact},
		NewTask:   func(TaskInfo) (Task, error) { return &relay{out: out.Name}, nil },
	}
}

func (w *world) config() Config {
	cfg := Config{
		Brokers: w.brokers, Prefix: w.name, Replication: 1, Debug: true,
		TopicRefresh: 200 * time.Millisecond, RetryDelay: 20 * time.Millisecond,
		SessionTimeout: 6 * time.Second, Heartbeat: 200 * time.Millisecond,
	}
	if os.Getenv("RUN_TEST_LOG") != "" {
		cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return cfg
}

// running is a Transform under test.
type running struct {
	w      *world
	tr     *Transform
	cancel context.CancelFunc
	done   chan error
	ended  atomic.Bool
}

func (w *world) start(cfg Config, hops ...Hop) *running {
	w.t.Helper()
	tr, err := NewTransform(cfg, hops)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	r := &running{w: w, tr: tr, cancel: cancel, done: make(chan error, 1)}
	go func() {
		err := tr.Run(ctx)
		r.ended.Store(true)
		r.done <- err
	}()
	w.t.Cleanup(func() {
		cancel()
		for !r.ended.Load() {
			<-r.done
		}
	})
	return r
}

// stop drains and returns Run's error.
func (r *running) stop() error {
	r.cancel()
	return <-r.done
}

// wait polls until cond holds; the engine has no events to subscribe to, and
// inventing them for tests would change what is tested.
func (w *world) wait(what string, d time.Duration, cond func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(d)
	for !cond() {
		if time.Now().After(deadline) {
			w.t.Fatalf("timed out after %s waiting until %s", d, what)
		}
		select {
		case <-w.t.Context().Done():
			w.t.Fatal("test ended")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (r *running) waitIdle(d time.Duration) {
	r.w.t.Helper()
	deadline := time.Now().Add(d)
	var last int64 = -1
	for time.Now().Before(deadline) {
		select {
		case err := <-r.done:
			r.done <- err
			r.w.t.Fatalf("the transform ended: %v", err)
		default:
		}
		n, err := r.tr.Behind(r.w.t.Context(), nil)
		if err == nil && n == 0 {
			return
		}
		last = n
		<-time.After(5 * time.Millisecond)
	}
	r.w.t.Fatalf("not idle after %s: %d records behind\n%+v", d, last, r.tr.Status())
}

// checkTotals verifies exactly-once at the sink: each key ki has counts 1, 2, 3
// up to total[i].
func (w *world) checkTotals(topic string, total map[int]int) {
	w.t.Helper()
	seen := map[string]uint64{}
	for _, r := range w.readAll(topic) {
		got := binary.BigEndian.Uint64(r.Value)
		if want := seen[string(r.Key)] + 1; got != want {
			w.t.Fatalf("key %s at %s/%d offset %d: count %d, want %d (a lower one is a repeat, a higher one a loss)", r.Key, topic, r.Partition, r.Offset, got, want)
		}
		seen[string(r.Key)] = got
	}
	for i, want := range total {
		if got := seen["k"+strconv.Itoa(i)]; got != uint64(want) { //nolint:gosec // small
			w.t.Errorf("key k%d: counted %d, want %d", i, got, want)
		}
	}
	if len(seen) != len(total) {
		w.t.Errorf("%d keys counted, want %d", len(seen), len(total))
	}
}
