package run

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"syncline/processors/state"
	"syncline/schemas/change"
)

// spreader fans one record out to many in bounded steps, with its cursor in
// state.
type spreader struct {
	store   state.Store
	out     string
	advance func() // called at each step
}

const spread = 1000

func (s *spreader) Process(m *Message, _ Emitter) change.Verdict {
	s.store.Put(append([]byte("todo/"), m.Key...), binary.BigEndian.AppendUint32(nil, 0))
	return change.Verdict{}
}
func (s *spreader) Flush(Emitter) error { return nil }
func (s *spreader) Reset()              {}
func (s *spreader) Advance(budget int, out Emitter) (bool, error) {
	s.advance()
	type todo struct {
		key []byte
		n   uint32
	}
	var work []todo
	s.store.Scan([]byte("todo/"), func(k, v []byte) bool {
		work = append(work, todo{slices.Clone(k), binary.BigEndian.Uint32(v)})
		return true
	})
	for _, w := range work {
		key := w.key[len("todo/"):]
		for w.n < spread && budget > 0 {
			w.n++
			budget--
			out.Emit(s.out, key, key, binary.BigEndian.AppendUint64(nil, uint64(w.n)))
		}
		if w.n < spread {
			s.store.Put(w.key, binary.BigEndian.AppendUint32(nil, w.n))
			return true, nil
		}
		s.store.Delete(w.key)
	}
	return false, nil
}

func (w *world) spreadHop(in string, advance func()) Hop {
	hop := w.countHop(in, nil)
	hop.NewTask = func(i TaskInfo) (Task, error) {
		return &spreader{store: i.Store, out: hop.Outputs[0].Name, advance: advance}, nil
	}
	return hop
}

func spreadTotals(keys int) map[int]int {
	m := map[int]int{}
	for i := range keys {
		m[i] = spread
	}
	return m
}

// Deferred work moves no offset, so an unclear end of its transactions can only
// be resolved by the stamp.
func TestDeferredWorkAcrossAbortsAndRestarts(t *testing.T) {
	w, c := newFake(t)
	in := w.create("in", toyPartitions)
	cfg := w.config()
	cfg.AdvanceBudget = 50
	const steps = 8 * spread / 50
	var taken atomic.Int64
	half := make(chan struct{})
	r := w.start(cfg, w.spreadHop(in, func() {
		// The hop waits here until it is asked to stop.
		if taken.Add(1) == steps/2 {
			<-half
		}
	})).waitUp()
	r.waitIdle(10 * time.Second)
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, TxnID: w.name + ".count.0", TopLevel: true, Err: kerr.UnknownServerError, Count: 3})
	w.produce(in, toyPartitions, 8, 8, "a")
	w.wait("some work is done", 20*time.Second, func() bool { return taken.Load() >= steps/2 && r.tr.Status().Hops[0].Committed > 4 })
	r.cancel()
	close(half)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if n := len(w.readAll(w.topic("counts"))); n == 0 || n == 8*spread {
		t.Fatalf("stopped with %d records done, want some and not all", n)
	}
	r = w.start(cfg, w.spreadHop(in, func() {})).waitUp()
	r.waitIdle(30 * time.Second)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	w.checkTotals(w.topic("counts"), spreadTotals(8))
}

func TestInternalQueueIsEmptiedBehindItsReader(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	cfg := w.config()
	cfg.PurgeInterval = 100 * time.Millisecond
	hops := []Hop{w.relayHop(in), w.countHop(w.topic("relayed"), nil)}
	r := w.start(cfg, hops...).waitUp()
	w.produce(in, toyPartitions, 200, 20, "a")
	r.waitIdle(20 * time.Second)
	w.wait("the queue is emptied", 20*time.Second, func() bool {
		starts, err := w.admin.ListStartOffsets(t.Context(), w.topic("relayed"))
		if err != nil {
			t.Fatal(err)
		}
		n := int64(0)
		for _, o := range starts[w.topic("relayed")] {
			n += o.Offset
		}
		return n >= 200
	})
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	// An emptied queue is no loss to its reader after a restart; the sources are
	// left alone.
	r = w.start(cfg, hops...).waitUp()
	w.produce(in, toyPartitions, 200, 20, "b")
	r.waitIdle(20 * time.Second)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	w.checkTotals(w.topic("counts"), totals(400, 20))
	starts, err := w.admin.ListStartOffsets(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range starts[in] {
		if o.Offset != 0 {
			t.Errorf("a source topic was emptied: %+v", o)
		}
	}
}

func TestCreatedTopicsKeepTheirRecords(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	r := w.start(w.config(), w.countHop(in, nil)).waitUp()
	defer func() {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	}()
	var configs kadm.ResourceConfigs
	w.wait("the broker's metadata has both topics", 20*time.Second, func() bool {
		var err error
		if configs, err = w.admin.DescribeTopicConfigs(t.Context(), w.topic("counts"), w.topic("count-changelog")); err != nil {
			t.Fatal(err)
		}
		return len(configs) == 2 && configs[0].Err == nil && configs[1].Err == nil
	})
	want := map[string]map[string]string{
		w.topic("counts"):          {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"},
		w.topic("count-changelog"): {"cleanup.policy": "compact"},
	}
	for _, topic := range configs {
		for _, c := range topic.Configs {
			if v, ok := want[topic.Name][c.Key]; ok {
				if c.MaybeValue() != v {
					t.Errorf("%s of %s is %s, want %s", c.Key, topic.Name, c.MaybeValue(), v)
				}
				delete(want[topic.Name], c.Key)
			}
		}
		if len(want[topic.Name]) > 0 {
			t.Errorf("%s: not found: %v", topic.Name, want[topic.Name])
		}
	}
}

func TestDrainUnderLoadLeavesNothingOpen(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	hops := []Hop{w.relayHop(in), w.countHop(w.topic("relayed"), nil)}
	stop := w.feed(in, 40)
	rounds := 8
	for i := range rounds {
		r := w.start(w.config(), hops...).waitUp()
		w.wait("it works", 20*time.Second, func() bool {
			h := r.tr.Status().Hops
			return h[1].Committed > int64(i)
		})
		start := time.Now()
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("drain took %s", took)
		}
		for _, level := range []string{"relayed", "counts"} {
			all, committed := w.read(w.topic(level), kgo.ReadUncommitted()), w.readAll(w.topic(level))
			if len(all) != len(committed) {
				t.Errorf("round %d: %d records of %s, %d committed: a drain aborted something", i, len(all), level, len(committed))
			}
		}
	}
	total := stop()
	r := w.start(w.config(), hops...).waitUp()
	r.waitIdle(60 * time.Second)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	w.checkTotals(w.topic("counts"), total)
}

func TestConfigSaysWhatIsWrong(t *testing.T) {
	good := Config{Brokers: []string{"localhost:9092"}}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for want, spoil := range map[string]func(*Config){
		"brokers":      func(c *Config) { c.Brokers = nil },
		"prefix":       func(c *Config) { c.Prefix = "a b" },
		"slot":         func(c *Config) { c.Slot = -1 },
		"compression":  func(c *Config) { c.Compression = "gzip9" },
		"heartbeat":    func(c *Config) { c.Heartbeat = time.Minute },
		"max record":   func(c *Config) { c.MaxRecordBytes = 10 },
		"letter topic": func(c *Config) { c.LetterTopic.Name = "letters" },
	} {
		bad := good
		spoil(&bad)
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// A cluster whose transactions a delayed request can end is refused at start.
func TestOldTransactionsAreRefused(t *testing.T) {
	w, _ := newFake(t)
	in := w.create("in", toyPartitions)
	req := kmsg.NewPtrUpdateFeaturesRequest()
	f := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
	f.Feature, f.MaxVersionLevel, f.UpgradeType = "transaction.version", 0, 2
	req.FeatureUpdates = append(req.FeatureUpdates, f)
	if resp, err := req.RequestWith(t.Context(), w.cl); err != nil || resp.ErrorCode != 0 {
		t.Fatal(resp, err)
	}
	tr, err := NewTransform(w.config(), []Hop{w.countHop(in, nil)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // it would run for ever if it did not refuse
	defer cancel()
	if err := tr.Run(ctx); err == nil || !strings.Contains(err.Error(), "transaction.version is 0, 2 is needed") {
		t.Errorf("got %v", err)
	}
	if topics, err := w.admin.ListTopics(t.Context(), w.topic("counts")); err != nil || topics.Has(w.topic("counts")) {
		t.Errorf("topics were created all the same: %v", err)
	}
}
