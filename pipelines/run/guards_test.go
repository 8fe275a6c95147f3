package run

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"syncline/schemas/change"
)

// A queue is emptied behind what its reader has committed, however far the
// reader has read, and however far the queue goes.
func TestPurgeLeavesWhatIsNotCommitted(t *testing.T) {
	w, c := newFake(t)
	in := w.create("in", toyPartitions)
	cfg := w.config()
	cfg.PurgeInterval = 50 * time.Millisecond
	r := w.start(cfg, w.relayHop(in), w.countHop(w.topic("relayed"), nil)).waitUp()
	w.produce(in, toyPartitions, 400, 40, "a")
	r.waitIdle(20 * time.Second)
	refused := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Group: w.name + ".count", Err: kerr.UnknownMemberID, Count: -1})
	w.produce(in, toyPartitions, 400, 40, "b")
	w.wait("the second hop has tried to commit", 20*time.Second, func() bool { return r.tr.Status().Hops[1].Aborted > 0 })
	<-time.After(20 * cfg.PurgeInterval)
	committed, err := w.admin.FetchOffsets(t.Context(), w.name+".count")
	if err != nil {
		t.Fatal(err)
	}
	starts, err := w.admin.ListStartOffsets(t.Context(), w.topic("relayed"))
	if err != nil {
		t.Fatal(err)
	}
	for p, start := range starts[w.topic("relayed")] {
		if at, ok := committed.Lookup(w.topic("relayed"), p); !ok || start.Offset > at.At {
			t.Errorf("partition %d begins at %d, the reader has committed %d", p, start.Offset, at.At)
		}
	}
	refused.Remove()
	r.waitIdle(30 * time.Second)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	w.checkTotals(w.topic("counts"), totals(800, 40))
}

// forgetter counts records by key, and forgets a key at the word gone.
type forgetter struct{ counter }

func (f *forgetter) Process(m *Message, out Emitter) change.Verdict {
	if string(m.Value) == "gone" {
		f.store.Delete(m.Key)
		return change.Verdict{}
	}
	return f.counter.Process(m, out)
}

// What an operator has deleted is not there again after a restart.
func TestDeletedStateStaysDeletedAfterARestart(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", 1)
	hop := w.countHop(in, nil)
	hop.NewTask = func(i TaskInfo) (Task, error) {
		return &forgetter{counter{store: i.Store, out: w.topic("counts")}}, nil
	}
	for _, value := range []string{"a", "a", "gone", "a"} {
		w.produceRecords(&kgo.Record{Topic: in, Key: []byte("k"), Value: []byte(value)})
		r := w.start(w.config(), hop).waitUp()
		r.waitIdle(20 * time.Second)
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	}
	var counts []uint64
	for _, r := range w.readAll(w.topic("counts")) {
		counts = append(counts, binary.BigEndian.Uint64(r.Value))
	}
	if want := []uint64{1, 2, 1}; !slices.Equal(counts, want) {
		t.Errorf("counted %v, want %v", counts, want)
	}
}

// cacher counts records by key, in a memory of its own that it fills from its
// state once.
type cacher struct {
	counter
	known map[string]uint64
}

func (c *cacher) Process(m *Message, out Emitter) change.Verdict {
	n, ok := c.known[string(m.Key)]
	if !ok {
		if old := c.store.Get(m.Key); old != nil {
			n = binary.BigEndian.Uint64(old)
		}
	}
	n++
	c.known[string(m.Key)] = n
	key, value := slices.Clone(m.Key), binary.BigEndian.AppendUint64(nil, n)
	c.store.Put(key, value)
	out.Emit(c.out, key, key, value)
	return change.Verdict{}
}

func (c *cacher) Reset() { clear(c.known) }

// What an operator keeps beside its state goes with the transaction.
func TestOperatorForgetsWithTheTransaction(t *testing.T) {
	w, c := newFake(t)
	in := w.create("in", toyPartitions)
	hop := w.countHop(in, nil)
	hop.NewTask = func(i TaskInfo) (Task, error) {
		return &cacher{counter{store: i.Store, out: w.topic("counts")}, map[string]uint64{}}, nil
	}
	r := w.start(w.config(), hop).waitUp()
	w.produce(in, toyPartitions, 400, 40, "a")
	r.waitIdle(20 * time.Second)
	refused := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, TxnID: w.name + ".count.0", TopLevel: true, Err: kerr.UnknownServerError, Count: 3})
	w.produce(in, toyPartitions, 400, 40, "b")
	r.waitIdle(30 * time.Second)
	if refused.Hits() == 0 || r.tr.Status().Hops[0].Aborted == 0 {
		t.Fatal("no transaction was thrown away, so the test shows nothing")
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	w.checkTotals(w.topic("counts"), totals(800, 40))
}

// A process whose slot was taken while it was away must end, and not take the
// transactional id back from its successor.
func TestOustedProcessLeavesItsSuccessorAlone(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	var away atomic.Bool
	back := make(chan struct{})
	first := w.start(w.config(), w.countHop(in, func(*Message) change.Verdict {
		if away.Load() {
			<-back
		}
		return change.Verdict{}
	})).waitUp()
	w.produce(in, toyPartitions, 40, 40, "a")
	first.waitIdle(20 * time.Second)
	away.Store(true)
	w.produce(in, toyPartitions, 40, 40, "b")
	second := w.start(w.config(), w.countHop(in, nil)).waitUp()
	second.waitIdle(30 * time.Second)
	before := second.tr.Status().Hops[0]
	close(back)
	select {
	case err := <-first.done:
		if !errors.Is(err, ErrFenced) {
			t.Errorf("the ousted process ended with %v, want ErrFenced", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the ousted process goes on")
	}
	w.produce(in, toyPartitions, 40, 40, "c")
	second.waitIdle(30 * time.Second)
	if after := second.tr.Status().Hops[0]; after.Aborted != before.Aborted {
		t.Errorf("the successor lost %d transactions to the process that it replaced", after.Aborted-before.Aborted)
	}
	if err := second.stop(); err != nil {
		t.Fatal(err)
	}
	w.checkTotals(w.topic("counts"), totals(120, 40))
}

// Only who is a member of the group now commits offsets for it.
func TestOffsetsOfAnOustedMemberAreRefused(t *testing.T) {
	w, _ := newFake(t)
	in := w.create("in", toyPartitions)
	w.produce(in, toyPartitions, 40, 40, "a")
	r := w.start(w.config(), w.countHop(in, nil)).waitUp()
	r.waitIdle(20 * time.Second)
	p, err := newProducer(t.Context(), w.config().withDefaults(), w.name+".other", 4<<20, nil, w.admin)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { p.cl.Close() }()
	stamp, err := p.begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ousted := member{group: w.name + ".count", id: "ousted", instance: "ousted", generation: 1}
	if _, err := p.sendOffsetsOnce(t.Context(), ousted, []pendingOffset{{id: partitionID{in, 0}, next: 1, epoch: -1, stamp: stamp}}); err == nil {
		t.Error("offsets of an ousted member were taken")
	}
	if err := p.cl.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

// A restore begins with offsets that are decided: those of a transaction under
// way may still be the task's.
func TestRestoreWaitsForOffsetsUnderWay(t *testing.T) {
	w, _ := newFake(t)
	in := w.create("in", 1)
	w.produce(in, 1, 3, 1, "a")
	before := w.start(w.config(), w.countHop(in, nil)).waitUp()
	before.waitIdle(20 * time.Second)
	if err := before.stop(); err != nil {
		t.Fatal(err)
	}
	w.leave("count")
	w.produce(in, 1, 3, 1, "b")
	p, err := newProducer(t.Context(), w.config().withDefaults(), w.name+".other", 4<<20, nil, w.admin)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { p.cl.Close() }()
	stamp, err := p.begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	nobody := member{group: w.name + ".count", generation: -1}
	if _, err := p.sendOffsetsOnce(t.Context(), nobody, []pendingOffset{{id: partitionID{in, 0}, next: 6, epoch: -1, stamp: stamp}}); err != nil {
		t.Fatal(err)
	}
	r := w.start(w.config(), w.countHop(in, nil)).waitUp()
	r.waitState(in, 0, "restoring")
	<-time.After(2 * time.Second) // longer than a restore that does not wait
	if s, _ := r.task(in, 0); s.State != "restoring" {
		t.Errorf("the task did not wait: %+v", s)
	}
	if err := p.cl.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	r.waitState(in, 0, "running")
	r.waitIdle(20 * time.Second)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	w.checkTotals(w.topic("counts"), totals(6, 1))
}

// A producer that has lost its broker asks what became of its last transaction
// before it sends another record.
func TestProducerAsksBeforeItGoesOn(t *testing.T) {
	w, c := newFake(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	topic := w.create("out", 1)
	p, err := newProducer(ctx, w.config().withDefaults(), w.name+".p", 4<<20, []string{topic}, w.admin)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { p.cl.Close() }()
	if err := p.fence(ctx); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var order []string
	cut := false
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		if !cut {
			cut = true
			return nil, errors.New("cut"), true // the connection ends
		}
		order = append(order, "produce")
		return nil, nil, false
	})
	c.ControlKey(int16(kmsg.DescribeTransactions), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		if cut {
			order = append(order, "ask")
		}
		return nil, nil, false
	})
	if _, err := p.begin(ctx); err != nil {
		t.Fatal(err)
	}
	var recs slab
	recs.add(kgo.Record{Topic: topic, Value: []byte("v")})
	p.produce(ctx, &recs, time.Now())
	if err := p.flush(ctx); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(order) == 0 || order[0] != "ask" {
		t.Errorf("after the connection was cut: %v, want to ask first", order)
	}
}

// In a cluster that has just made the topics, not every broker knows them yet:
// that is to be waited for, and no reason to end.
func TestFenceWaitsForTopicsThatAreNew(t *testing.T) {
	w, c := newFake(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	topic := w.create("out", 1)
	p, err := newProducer(ctx, w.config().withDefaults(), w.name+".p", 4<<20, []string{topic}, w.admin)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { p.cl.Close() }()
	if err := p.fence(ctx); err != nil { // so that there is a transactional id to look after
		t.Fatal(err)
	}
	unknown := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeProducers}, Topic: topic, Err: kerr.UnknownTopicOrPartition, Count: 3})
	if err := p.fence(ctx); err != nil {
		t.Error(err)
	}
	if unknown.Hits() == 0 {
		t.Error("the topic was never unknown, so the test shows nothing")
	}
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeProducers}, Topic: topic, Err: kerr.InvalidRequest, Count: -1})
	if err := p.fence(ctx); err == nil {
		t.Error("what does not pass was waited for")
	}
}

// watched is a target that knows when it is asked where it ends although a write
// of the same partition is under way; its writes end when they may.
type watched struct {
	*ledger
	mu      sync.Mutex
	flying  map[int32]int
	hold    chan struct{} // writes wait for it
	started chan struct{} // closed at the first write
	asked   chan struct{} // closed when it was asked too early
	early   []string
}

func newWatched() *watched {
	return &watched{ledger: newLedger(), flying: map[int32]int{}, hold: make(chan struct{}), started: make(chan struct{}), asked: make(chan struct{})}
}

func (w *watched) Write(ctx context.Context, b change.Batch) error {
	w.mu.Lock()
	for _, p := range b.Parts {
		w.flying[p.Partition]++
	}
	select {
	case <-w.started:
	default:
		close(w.started)
	}
	w.mu.Unlock()
	<-w.hold
	err := w.ledger.Write(ctx, b)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range b.Parts {
		w.flying[p.Partition]--
	}
	return err
}

func (w *watched) Resume(ctx context.Context, topic string, partitions []int32) (map[int32]change.Settled, error) {
	w.mu.Lock()
	for _, p := range partitions {
		if w.flying[p] > 0 {
			w.early = append(w.early, fmt.Sprintf("asked where partition %d ends while a write of it was under way", p))
		}
	}
	if len(w.early) > 0 {
		select {
		case <-w.asked:
		default:
			close(w.asked)
		}
	}
	w.mu.Unlock()
	return w.ledger.Resume(ctx, topic, partitions)
}

// A partition that goes to another member while a write of it is under way is
// not given away before that has ended: the other would ask the target too early
// and write the same again. Versions would make good for it; here it is not done.
func TestDeliverWaitsForItsWriteWhenAPartitionGoes(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	w.produce(in, toyPartitions, 400, 40, "a")
	l := newWatched()
	r := w.deliver(l, nil, in)
	<-l.started
	given := make(chan struct{})
	go func() {
		defer close(given)
		r.d.onRevoked(t.Context(), nil, map[string][]int32{in: {0, 1, 2, 3}})
	}()
	select {
	case <-given:
		t.Error("the partitions were given away during the write")
	case <-time.After(500 * time.Millisecond):
	}
	close(l.hold)
	<-given
	r.stop()
}

// A partition that comes back to the member that still writes it: the target is
// asked when that has ended.
func TestDeliverWaitsForItsWriteWhenAPartitionComesBack(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	w.produce(in, toyPartitions, 400, 40, "a")
	l, other := newWatched(), newWatched()
	close(other.hold)
	first := w.deliver(l, nil, in)
	<-l.started
	second := w.deliver(other, func(c *DeliverConfig) { c.Slot, c.LeaveOnDrain = 1, true }, in)
	w.wait("the other has partitions", 30*time.Second, func() bool { return other.count() > 0 })
	second.stop()
	select {
	case <-l.asked:
	case <-time.After(3 * time.Second):
	}
	close(l.hold)
	first.waitIdle(30 * time.Second)
	first.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.early {
		t.Error(e)
	}
	if n := l.count(); n != 400 {
		t.Errorf("%d rows stored, want 400", n)
	}
}
