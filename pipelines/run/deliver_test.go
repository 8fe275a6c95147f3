package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"syncline/schemas/change"
)

// ledger is a target that remembers ranges and rows, as a sink's table does,
// and can be told to misbehave.
type ledger struct {
	mu      sync.Mutex
	rows    map[string]int             // topic/partition/offset -> how often stored under different tokens
	next    map[string]map[int32]int64 // by topic: Last+1
	tokens  map[string]bool
	ids     map[string][16]byte // of the topics' last batches
	repeats int
	largest int
	fail    func(b change.Batch, try int) (store bool, err error)
	absent  string // a topic whose table is gone
	tries   int
	wrong   []string
}

func newLedger() *ledger {
	return &ledger{rows: map[string]int{}, next: map[string]map[int32]int64{}, tokens: map[string]bool{}, ids: map[string][16]byte{}}
}

func token(topic string, p change.Part) string {
	return fmt.Sprintf("%s:%d:%d-%d", topic, p.Partition, p.First, p.Last)
}

func (l *ledger) Write(_ context.Context, b change.Batch) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tries++
	store, err := true, error(nil)
	if b.Topic == l.absent {
		return fmt.Errorf("no table: %w", change.ErrTargetLost)
	}
	if l.fail != nil {
		store, err = l.fail(b, l.tries)
	}
	if !store {
		return err
	}
	l.ids[b.Topic] = b.TopicID
	for _, p := range b.Parts {
		if len(p.Records) == 0 || p.Records[0].Offset < p.First || p.Records[len(p.Records)-1].Offset > p.Last {
			l.wrong = append(l.wrong, "range does not cover its records: "+token(b.Topic, p))
		}
		if l.tokens[token(b.Topic, p)] {
			l.repeats++
			continue
		}
		l.tokens[token(b.Topic, p)] = true
		if l.next[b.Topic] == nil {
			l.next[b.Topic] = map[int32]int64{}
		}
		if next, ok := l.next[b.Topic][p.Partition]; ok && next != p.First {
			l.wrong = append(l.wrong, fmt.Sprintf("part %s begins at %d, the one before ended at %d", token(b.Topic, p), p.First, next))
		}
		l.next[b.Topic][p.Partition] = p.Last + 1
		for _, r := range p.Records {
			l.rows[b.Topic+"/"+strconv.Itoa(int(p.Partition))+"/"+strconv.FormatInt(r.Offset, 10)]++
		}
		l.largest = max(l.largest, len(p.Records))
	}
	return err
}

func (l *ledger) Resume(_ context.Context, topic string, partitions []int32) (map[int32]change.Settled, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if topic == l.absent {
		return nil, errors.New("no table")
	}
	out := map[int32]change.Settled{}
	for _, p := range partitions {
		if next, ok := l.next[topic][p]; ok {
			out[p] = change.Settled{Next: next, TopicID: l.ids[topic]}
		}
	}
	return out, nil
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.rows)
}

// check verifies that n rows are stored, each under one token.
func (l *ledger) check(t *testing.T, n int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rows) != n {
		t.Errorf("%d rows stored, want %d", len(l.rows), n)
	}
	for row, times := range l.rows {
		if times != 1 {
			t.Errorf("row %s was stored under %d tokens", row, times)
			break
		}
	}
	for _, w := range l.wrong {
		t.Error(w)
	}
}

type delivering struct {
	w      *world
	d      *Deliver
	cancel context.CancelFunc
	done   chan error
}

func (w *world) deliver(l Writer, change func(*DeliverConfig), topics ...string) *delivering {
	w.t.Helper()
	cfg := DeliverConfig{Config: w.config(), Sink: "sink", Topics: topics, BackoffMin: time.Millisecond, BackoffMax: 20 * time.Millisecond, FlushAfter: 50 * time.Millisecond}
	if change != nil {
		change(&cfg)
	}
	d, err := NewDeliver(cfg, l)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	r := &delivering{w: w, d: d, cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- d.Run(ctx); close(r.done) }()
	w.t.Cleanup(func() {
		cancel()
		<-r.done
	})
	return r
}

func (r *delivering) stop() {
	r.w.t.Helper()
	r.cancel()
	if err := <-r.done; err != nil {
		r.w.t.Fatal(err)
	}
}

func (r *delivering) waitIdle(d time.Duration) {
	r.w.t.Helper()
	r.w.wait("all is delivered", d, func() bool {
		n, err := r.d.Behind(r.w.t.Context(), nil)
		return err == nil && n == 0
	})
}

func TestDeliverSurvivesLostRepliesAndRestarts(t *testing.T) {
	w := newWorld(t)
	in := w.create("canon", toyPartitions)
	other := w.create("other", 1)
	l := newLedger()
	l.fail = func(_ change.Batch, try int) (bool, error) {
		switch try % 4 {
		case 0:
			return true, errors.New("the reply was lost")
		case 1:
			return false, errors.New("refused")
		}
		return true, nil
	}
	for i := range 4 {
		r := w.deliver(l, nil, in, other)
		w.produce(in, toyPartitions, 200, 20, fmt.Sprint(i))
		w.produce(other, 1, 50, 5, fmt.Sprint(i))
		if i%2 == 0 {
			r.waitIdle(20 * time.Second)
		}
		r.stop() // at any point: what is only buffered is read again
	}
	r := w.deliver(l, nil, in, other)
	r.waitIdle(20 * time.Second)
	r.stop()
	l.check(t, 1000)
	if l.repeats == 0 {
		t.Error("no batch was repeated, so the lost replies show nothing")
	}
}

func TestDeliverRangesCoverMarkers(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", 1)
	hop := w.countHop(in, nil)
	tr := w.start(w.config(), hop).waitUp()
	l := newLedger()
	r := w.deliver(l, nil, w.topic("counts"))
	for i := range 5 {
		w.produce(in, 1, 20, 20, fmt.Sprint(i))
		tr.waitIdle(20 * time.Second)
		// A transaction is committed a moment before its markers let a reader see
		// it, so an idle sink may have more to come.
		w.wait("the records are written", 20*time.Second, func() bool { return l.count() == 20*(i+1) })
	}
	r.waitIdle(20 * time.Second)
	r.stop()
	if err := tr.stop(); err != nil {
		t.Fatal(err)
	}
	l.check(t, 100) // parts join without gaps although markers lie between them
	s := r.d.Status()
	if s.Lines[0].Rows != 100 || s.Lines[0].Lag != 0 || s.HeldBytes != 0 {
		t.Errorf("status: %+v", s)
	}
}

func TestDeliverFlushesASlowTopicInTime(t *testing.T) {
	w := newWorld(t)
	in := w.create("slow", 1)
	l := newLedger()
	r := w.deliver(l, func(c *DeliverConfig) { c.FlushAfter = 300 * time.Millisecond }, in)
	w.produce(in, 1, 1, 1, "first")
	r.waitIdle(20 * time.Second) // joined and assigned
	start := time.Now()
	w.produce(in, 1, 1, 1, "lonely")
	w.wait("the record is written", 10*time.Second, func() bool { return l.count() == 2 })
	if took := time.Since(start); took > 1500*time.Millisecond {
		t.Errorf("a lonely record took %s", took)
	}
	r.stop()
}

func TestDeliverHoldsABoundedAmountWhileTheTargetIsDown(t *testing.T) {
	w := newWorld(t)
	in := w.create("big", toyPartitions)
	l := newLedger()
	var mu sync.Mutex
	down := true
	l.fail = func(change.Batch, int) (bool, error) {
		mu.Lock()
		defer mu.Unlock()
		if down {
			return false, errors.New("connection refused")
		}
		return true, nil
	}
	const n, size, budget = 6000, 2000, 4 << 20
	recs := make([]*kgo.Record, n)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range recs {
		value := make([]byte, size)
		for j := range value {
			value[j] = byte(rng.Uint32()) // incompressible: fetch limits count compressed bytes
		}
		recs[i] = &kgo.Record{Topic: in, Partition: int32(i % toyPartitions), Key: []byte("k"), Value: value}
	}
	w.produceRecords(recs...)
	r := w.deliver(l, func(c *DeliverConfig) { c.MaxBufferedBytes = budget }, in)
	largest, steady := 0, 0
	w.wait("the buffers are full and stay so", 20*time.Second, func() bool {
		held := r.d.Status().HeldBytes
		largest = max(largest, held)
		if held > 0 {
			steady++
		}
		return steady > 100
	})
	if largest > budget {
		t.Errorf("%d bytes held, budget %d", largest, budget)
	}
	if s := r.d.Status().Lines[0]; s.State != "failing" || !strings.Contains(s.Message, "connection refused") {
		t.Errorf("status: %+v", s)
	}
	mu.Lock()
	down = false
	mu.Unlock()
	r.waitIdle(30 * time.Second)
	r.stop()
	l.check(t, n)
}

func TestDeliverStopsATopicOnAPermanentError(t *testing.T) {
	w := newWorld(t)
	bad, good := w.create("bad", 1), w.create("good", 1)
	l := newLedger()
	l.fail = func(b change.Batch, _ int) (bool, error) {
		if b.Topic == bad {
			return false, fmt.Errorf("no such column: %w", ErrPermanent)
		}
		return true, nil
	}
	r := w.deliver(l, nil, bad, good)
	w.produce(bad, 1, 10, 10, "a")
	w.produce(good, 1, 10, 10, "a")
	w.wait("the good topic is written and the bad one stopped", 20*time.Second, func() bool {
		for _, s := range r.d.Status().Lines {
			if s.Topic == bad && (s.State != "stopped" || !strings.Contains(s.Message, "no such column")) {
				return false
			}
		}
		return l.count() == 10
	})
	r.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	if topics := slices.Collect(maps.Keys(l.next)); len(topics) != 1 || topics[0] != good {
		t.Errorf("written topics: %v", topics)
	}
}

// The target, not the group, says where to go on.
func TestDeliverResumesWhereTheTargetEnds(t *testing.T) {
	w := newWorld(t)
	in := w.create("canon", 1)
	w.produce(in, 1, 100, 10, "a")
	l := newLedger()
	r := w.deliver(l, nil, in)
	r.waitIdle(20 * time.Second)
	r.stop()
	// The target lost its tail (a restored backup); the group's offset is at 100.
	l.mu.Lock()
	l.next[in][0] = 60
	for i := 60; i < 100; i++ {
		delete(l.rows, in+"/0/"+strconv.Itoa(i))
	}
	l.mu.Unlock()
	w.produce(in, 1, 10, 10, "b")
	r = w.deliver(l, nil, in)
	r.waitIdle(20 * time.Second)
	r.stop()
	l.check(t, 110)
	// A target that has nothing, an emptied table or a new database, is filled
	// from the beginning, whatever the group's offset says.
	empty := newLedger()
	r = w.deliver(empty, nil, in)
	r.waitIdle(20 * time.Second)
	r.stop()
	empty.check(t, 110)
}

func TestDeliverAcrossRebalances(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	stop := w.feed(in, 40)
	l := newLedger()
	first := w.deliver(l, nil, in)
	for i := range 4 {
		second := w.deliver(l, func(c *DeliverConfig) { c.Slot = 1 + i; c.LeaveOnDrain = true }, in)
		w.wait("the second writes", 20*time.Second, func() bool { return second.d.Status().Lines[0].Rows > 0 })
		second.stop()
	}
	n := 0
	for _, k := range stop() {
		n += k
	}
	first.waitIdle(60 * time.Second)
	first.stop()
	l.check(t, n)
}

// A target that is not what it was, a table that was dropped, is asked anew, and
// filled as far as it is empty; the other topics go on meanwhile.
func TestDeliverBeginsAnewWhereTheTargetWasLost(t *testing.T) {
	w := newWorld(t)
	canon, other := w.create("canon", toyPartitions), w.create("other", 1)
	w.produce(canon, toyPartitions, 100, 10, "a")
	l := newLedger()
	r := w.deliver(l, nil, canon, other)
	r.waitIdle(20 * time.Second)
	l.mu.Lock()
	l.absent = canon
	l.mu.Unlock()
	w.produce(canon, toyPartitions, 10, 10, "b")
	w.wait("the topic fails", 20*time.Second, func() bool {
		for _, s := range r.d.Status().Lines {
			if s.Topic == canon && s.Failures > 3 {
				return true
			}
		}
		return false
	})
	w.produce(other, 1, 10, 10, "c")
	w.wait("the other topic is delivered", 20*time.Second, func() bool { return l.count() == 110 })
	l.mu.Lock()
	l.absent = ""
	maps.DeleteFunc(l.rows, func(row string, _ int) bool { return strings.HasPrefix(row, canon+"/") }) // made anew, empty
	l.next[canon], l.tokens = nil, map[string]bool{}
	l.mu.Unlock()
	w.wait("all is written again", 20*time.Second, func() bool { return l.count() == 120 })
	w.produce(canon, toyPartitions, 10, 10, "d")
	w.wait("what comes later too", 20*time.Second, func() bool { return l.count() == 130 })
	r.waitIdle(20 * time.Second)
	r.stop()
	l.check(t, 130)
	for _, s := range r.d.Status().Lines {
		if s.State != "running" {
			t.Errorf("%+v", s)
		}
	}
}

// A scan hands over every record once, in parts that join, also what comes between
// its calls.
func TestScan(t *testing.T) {
	w := newWorld(t)
	if _, err := NewScan(t.Context(), w.config(), w.topic("counts")); !errors.Is(err, ErrNoTopic) {
		t.Errorf("an absent topic: %v", err)
	}
	in := w.create("in", toyPartitions)
	tr := w.start(w.config(), w.countHop(in, nil)).waitUp()
	w.produce(in, toyPartitions, 20, 20, "a")
	tr.waitIdle(20 * time.Second)
	s, err := NewScan(t.Context(), w.config(), w.topic("counts"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l := newLedger()
	total := int64(0)
	for i := range 4 {
		read, err := s.Read(t.Context(), func(b change.Batch) error { return l.Write(t.Context(), b) })
		if err != nil {
			t.Fatal(err)
		}
		total += read
		if want := len(w.read(w.topic("counts"), kgo.ReadCommitted())); i == 3 && (int(total) != want || want < 80) {
			t.Errorf("%d records, want %d", total, want)
		}
		if i < 3 {
			w.produce(in, toyPartitions, 20, 20, fmt.Sprint(i))
			tr.waitIdle(20 * time.Second)
			w.wait("they can be read", 20*time.Second, func() bool { return len(w.read(w.topic("counts"), kgo.ReadCommitted())) == 20*(i+2) })
		}
	}
	if err := tr.stop(); err != nil {
		t.Fatal(err)
	}
	l.check(t, int(total))
	w.remake("counts", toyPartitions)
	w.wait("a topic made anew is refused", 20*time.Second, func() bool {
		_, err := s.Read(t.Context(), func(change.Batch) error { return nil })
		return err != nil && strings.Contains(err.Error(), "made anew")
	})
}

// A sample is of what the reader has taken, from both ends.
func TestSampleKeys(t *testing.T) {
	w := newWorld(t)
	in, unread := w.create("canon", 1), w.create("unread", 1)
	w.produce(in, 1, 50, 50, "a")
	w.produce(unread, 1, 5, 5, "a")
	r := w.deliver(newLedger(), nil, in)
	r.waitIdle(20 * time.Second)
	r.stop()
	w.produce(in, 1, 50, 50, "b")
	recs := w.readAll(in)
	var keys map[string][]string
	w.wait("the group knows what was taken", 20*time.Second, func() (ok bool) {
		var err error
		if keys, err = SampleKeys(t.Context(), w.config(), "sink", []string{in, unread}, 3); err != nil {
			t.Fatal(err)
		}
		return len(keys) > 0
	})
	want := map[string]bool{}
	for _, i := range []int{0, 1, 2, 47, 48, 49} {
		want[string(recs[i].Key)] = true
	}
	if got := keys[in]; !slices.Equal(got, slices.Sorted(maps.Keys(want))) || len(keys) != 1 {
		t.Errorf("%v, want %v", keys, want)
	}
}
