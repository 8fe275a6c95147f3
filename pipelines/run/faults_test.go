package run

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"syncline/deploy/local/kafkatest"
)

// newFake is a broker whose answers a test can falsify.
func newFake(t testing.TB) (*world, *kfake.Cluster) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return newWorldAt(t, c.ListenAddrs()[0]), c
}

func (r *running) waitUp() *running {
	r.w.t.Helper()
	r.w.wait("the transform runs", 20*time.Second, func() bool { return len(r.tr.Status().Hops) > 0 })
	return r
}

// totals of n records over keys.
func totals(n, keys int) map[int]int {
	m := map[int]int{}
	for i := range n {
		m[i%keys]++
	}
	return m
}

// The hash of the state before Begin and after the abort is compared by the
// engine itself in debug mode; a difference ends the hop.
func TestRefusedEndRollsBackAndTriesAgain(t *testing.T) {
	for _, key := range []kmsg.Key{kmsg.EndTxn, kmsg.TxnOffsetCommit, kmsg.Produce} {
		t.Run(key.Name(), func(t *testing.T) {
			w, c := newFake(t)
			in := w.create("in", toyPartitions)
			r := w.start(w.config(), w.countHop(in, nil)).waitUp()
			w.produce(in, toyPartitions, 400, 40, "a")
			r.waitIdle(20 * time.Second)
			want := kfake.Fault{Keys: []kmsg.Key{key}, TxnID: w.name + ".count.0", TopLevel: key == kmsg.EndTxn, Err: kerr.UnknownServerError, Count: 3}
			if key == kmsg.Produce {
				want.TxnID, want.Topic, want.Err = "", w.topic("counts"), kerr.InvalidRecord
			}
			fault := c.Fault(want)
			w.produce(in, toyPartitions, 400, 40, "b")
			r.waitIdle(30 * time.Second)
			if fault.Hits() == 0 {
				t.Fatal("no request was refused, so the test shows nothing")
			}
			if got := r.tr.Status().Hops[0].Aborted; got == 0 {
				t.Error("no transaction was aborted")
			}
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			w.checkTotals(w.topic("counts"), totals(800, 40))
		})
	}
}

func TestCommitWhoseReplyIsWrongIsFoundOut(t *testing.T) {
	w, c := newFake(t)
	in := w.create("in", toyPartitions)
	r := w.start(w.config(), w.countHop(in, nil)).waitUp()
	w.produce(in, toyPartitions, 100, 10, "a")
	r.waitIdle(20 * time.Second)

	inner, err := kgo.NewClient(kgo.SeedBrokers(w.brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	var nested atomic.Bool
	var lies atomic.Int64
	c.ControlKey(int16(kmsg.EndTxn), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		end := req.(*kmsg.EndTxnRequest)
		if !end.Commit || nested.Load() || lies.Load() >= 3 {
			return nil, nil, false
		}
		lies.Add(1)
		nested.Store(true)
		defer nested.Store(false)
		apply := *end
		var applied error
		c.SleepControl(func() {
			resp, err := apply.RequestWith(context.Background(), inner) //nolint:usetesting // the broker goes on when the test has ended
			applied = err
			if err == nil {
				applied = kerr.ErrorForCode(resp.ErrorCode)
			}
		})
		if applied != nil {
			t.Errorf("applying the commit: %v", applied)
		}
		resp := end.ResponseKind().(*kmsg.EndTxnResponse)
		resp.ErrorCode = kerr.UnknownServerError.Code
		return resp, nil, true
	})
	for i := range 4 {
		w.produce(in, toyPartitions, 100, 10, fmt.Sprint("b", i))
		r.waitIdle(20 * time.Second)
	}
	status := r.tr.Status().Hops[0]
	if lies.Load() == 0 || status.Resolved != lies.Load() {
		t.Errorf("%d commits with a wrong reply, %d found out", lies.Load(), status.Resolved)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	w.checkTotals(w.topic("counts"), totals(500, 10))
}

func TestSecondProcessWithTheSameSlotFencesTheFirst(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	first := w.start(w.config(), w.countHop(in, nil)).waitUp()
	w.produce(in, toyPartitions, 300, 30, "a")
	first.waitIdle(20 * time.Second)
	second := w.start(w.config(), w.countHop(in, nil)).waitUp()
	w.produce(in, toyPartitions, 300, 30, "b")
	select {
	case err := <-first.done:
		if !errors.Is(err, ErrFenced) {
			t.Fatalf("the first process ended with %v, want ErrFenced", err)
		}
	case err := <-second.done:
		t.Fatalf("the second process ended: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("the first process was not fenced")
	}
	w.produce(in, toyPartitions, 300, 30, "c")
	second.waitIdle(30 * time.Second)
	if err := second.stop(); err != nil {
		t.Fatal(err)
	}
	w.checkTotals(w.topic("counts"), totals(900, 30))
}

// feed produces in rounds until stopped, and returns the totals.
func (w *world) feed(topic string, keys int) (stop func() map[int]int) {
	return w.feedEvery(topic, keys, 8*time.Millisecond)
}

func (w *world) feedEvery(topic string, keys int, every time.Duration) (stop func() map[int]int) {
	quit := make(chan struct{})
	var wg sync.WaitGroup
	n := 0
	wg.Go(func() {
		for {
			select {
			case <-quit:
				return
			case <-time.After(every):
			}
			recs := make([]*kgo.Record, 0, keys)
			for i := range keys {
				key := fmt.Appendf(nil, "k%d", i)
				recs = append(recs, &kgo.Record{Topic: topic, Partition: PartitionOf(key, toyPartitions), Key: key, Value: fmt.Appendf(nil, "%d", n)})
			}
			if err := w.cl.ProduceSync(context.Background(), recs...).FirstErr(); err != nil {
				w.t.Errorf("feeding: %v", err)
				return
			}
			n++
		}
	})
	return func() map[int]int {
		close(quit)
		wg.Wait()
		return totals(n*keys, keys)
	}
}

func TestMembersComeAndGoUnderLoad(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	hops := []Hop{w.relayHop(in), w.countHop(w.topic("relayed"), nil)}
	stop := w.feed(in, 40)
	first := w.start(w.config(), hops...).waitUp()
	for i := range 6 {
		cfg := w.config()
		cfg.Slot = 1 + i%2
		cfg.LeaveOnDrain = true
		other := w.start(cfg, hops...).waitUp()
		w.wait("the other has tasks", 30*time.Second, func() bool {
			for _, h := range other.tr.Status().Hops {
				for _, task := range h.Tasks {
					if task.State == "running" && task.Records > 0 {
						return true
					}
				}
			}
			return false
		})
		if err := other.stop(); err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
	}
	total := stop()
	first.waitIdle(60 * time.Second)
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	w.checkTotals(w.topic("counts"), total)
}

func TestKilledAtRandomPoints(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	hops := []Hop{w.relayHop(in), w.countHop(w.topic("relayed"), nil)}
	stop := w.feed(in, 40)
	points := []string{CrashAfterPoll, CrashBeforeBegin, CrashAfterProduce, CrashBeforeEnd, CrashAfterEnd, CrashMidRestore}
	hit := map[string]int{}
	rounds := 24
	if w.real() {
		rounds = 12
	}
	if testing.Short() {
		rounds = len(points)
	}
	for i := range rounds {
		point := points[i%len(points)]
		var left atomic.Int64
		left.Store(int64(rng.IntN(20)))
		if point == CrashMidRestore {
			left.Store(int64(rng.IntN(2)))
		}
		cfg := w.config()
		cfg.Crash = func(at string) error {
			if at == point && left.Add(-1) < 0 {
				return errors.New("killed by the test")
			}
			return nil
		}
		r := w.start(cfg, hops...)
		select {
		case err := <-r.done:
			if !errors.Is(err, errCrash) {
				t.Fatalf("seed %d, round %d at %s: ended with %v", seed, i, point, err)
			}
			hit[point]++
		case <-time.After(30 * time.Second):
			t.Fatalf("seed %d, round %d: point %s was not reached\n%+v", seed, i, point, r.tr.Status())
		}
	}
	total := stop()
	last := w.start(w.config(), hops...).waitUp()
	last.waitIdle(60 * time.Second)
	if err := last.stop(); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	w.checkTotals(w.topic("counts"), total)
	// Either hop may have been the one that was hit.
	all, committed := 0, 0
	for _, name := range []string{"relayed", "counts"} {
		all += len(w.read(w.topic(name), kgo.ReadUncommitted()))
		committed += len(w.readAll(w.topic(name)))
	}
	if all == committed {
		t.Errorf("seed %d: no aborted record in the outputs: the kills hit nothing", seed)
	}
	t.Logf("kills %v, %d output records, %d of them aborted", hit, all, all-committed)
}

// A process that dies for good leaves its open transaction and its membership
// to the time-outs; another slot takes over then.
func TestAnotherSlotTakesOverFromTheDead(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	w.produce(in, toyPartitions, 400, 40, "a")
	cfg := w.config()
	cfg.TransactionTimeout = 2 * time.Second
	dead := cfg
	dead.Crash = func(at string) error {
		if at == CrashBeforeEnd {
			return errors.New("killed by the test")
		}
		return nil
	}
	r := w.start(dead, w.countHop(in, nil))
	if err := <-r.done; !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	cfg.Slot = 1
	next := w.start(cfg, w.countHop(in, nil)).waitUp()
	w.produce(in, toyPartitions, 400, 40, "b")
	next.waitIdle(60 * time.Second)
	if err := next.stop(); err != nil {
		t.Fatal(err)
	}
	w.checkTotals(w.topic("counts"), totals(800, 40))
}

// Connections that die at any request. Here the broker has not acted on it, but
// the client cannot know that.
func TestConnectionsAreCut(t *testing.T) {
	w, c := newFake(t)
	in := w.create("in", toyPartitions)
	hops := []Hop{w.relayHop(in), w.countHop(w.topic("relayed"), nil)}
	r := w.start(w.config(), hops...).waitUp()
	stop := w.feedEvery(in, 40, 20*time.Millisecond)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	cut := map[int16]int{}
	var mu sync.Mutex
	for _, key := range []kmsg.Key{kmsg.EndTxn, kmsg.TxnOffsetCommit, kmsg.Produce, kmsg.Heartbeat, kmsg.Fetch} {
		c.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			mu.Lock()
			defer mu.Unlock()
			if p, ok := req.(*kmsg.ProduceRequest); ok && p.TransactionID == nil {
				return nil, nil, false // the feed of the test itself
			}
			if cut[req.Key()] >= 10 || rng.IntN(5) > 0 {
				return nil, nil, false
			}
			cut[req.Key()]++
			return nil, errors.New("cut"), true
		})
	}
	w.wait("enough connections are cut", 60*time.Second, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return cut[int16(kmsg.EndTxn)] >= 5 && cut[int16(kmsg.TxnOffsetCommit)] >= 5 && cut[int16(kmsg.Produce)] >= 5
	})
	total := stop()
	r.waitIdle(60 * time.Second)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	t.Logf("cut by request key: %v", cut)
	w.checkTotals(w.topic("counts"), total)
}

// A broker that stops and comes back loses nothing. It is stopped in order:
// after a kill -9, Kafka 4.4.0 at times does not write the commit markers of the
// last transaction to all partitions, although its coordinator calls it
// complete (kafka-transactions.sh find-hanging shows it), and then no reader of
// those partitions gets on. kfake cannot come back, so this is real Kafka's.
func TestBrokerRestarts(t *testing.T) {
	if !kafkatest.Real(t) {
		t.Skip("a broker that can come back needs SYNCLINE_KAFKA=real")
	}
	brokers, k := kafkatest.Start(t)
	w := newWorldAt(t, brokers)
	in := w.create("in", toyPartitions)
	hops := []Hop{w.relayHop(in), w.countHop(w.topic("relayed"), nil)}
	r := w.start(w.config(), hops...).waitUp()
	stop := w.feedEvery(in, 40, 20*time.Millisecond)
	for range 2 {
		before := r.tr.Status().Hops[1].Committed
		w.wait("it works", 60*time.Second, func() bool { return r.tr.Status().Hops[1].Committed > before+5 })
		k.Restart(t)
	}
	before := r.tr.Status().Hops[1].Committed
	w.wait("it works again", 60*time.Second, func() bool { return r.tr.Status().Hops[1].Committed > before+5 })
	total := stop()
	r.waitIdle(90 * time.Second)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	w.checkTotals(w.topic("counts"), total)
}

// Until the id is taken over anew, an end under way may still land: settle must
// not call the transaction over before that, however often it is asked.
func TestSettleInsistsOnTheFence(t *testing.T) {
	w, c := newFake(t)
	topic := w.create("out", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	p, err := newProducer(ctx, w.config().withDefaults(), w.name+".p", 4<<20, nil, w.admin)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { p.cl.Close() }()
	if _, err := p.begin(ctx); err != nil {
		t.Fatal(err)
	}
	var recs slab
	recs.add(kgo.Record{Topic: topic, Value: []byte("v")})
	p.produce(ctx, &recs, time.Now())
	if err := p.flush(ctx); err != nil {
		t.Fatal(err)
	}
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, TopLevel: true, Err: kerr.UnknownServerError, Count: -1})
	noFence := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, TopLevel: true, Err: kerr.ClusterAuthorizationFailed, Count: -1})
	cause := p.commit(ctx)
	if cause == nil {
		t.Fatal("the commit was not refused")
	}
	alive := func(context.Context) error { return nil }
	for try := range 3 {
		if err := p.settle(ctx, cause, alive); err == nil {
			t.Fatalf("try %d: settled without a fence", try)
		}
	}
	noFence.Remove()
	if err := p.settle(ctx, cause, alive); err != nil {
		// A client that was refused for good stays so; the next one is new.
		if err := p.renew(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(w.readAll(topic)); n != 0 {
		t.Errorf("%d records of the aborted transaction are visible", n)
	}
}

// What was aborted is never read, however much of it there is at once: the
// embedded broker forgets to say what is aborted in an answer that reaches the
// fetch's limit over all partitions, so none may.
func TestMuchThatWasAbortedStaysHidden(t *testing.T) {
	w := newWorld(t)
	in := w.create("in", toyPartitions)
	ghosts, err := kgo.NewClient(kgo.SeedBrokers(w.brokers...), kgo.TransactionalID(w.name+".ghosts"), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		t.Fatal(err)
	}
	defer ghosts.Close()
	for range 30 {
		if err := ghosts.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for p := range int32(toyPartitions) {
			for range 4 {
				ghosts.Produce(t.Context(), &kgo.Record{Topic: in, Partition: p, Key: []byte("ghost"), Value: make([]byte, 50_000)}, nil)
			}
		}
		if err := ghosts.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := ghosts.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
			t.Fatal(err)
		}
	}
	w.produce(in, toyPartitions, 400, 20, "a")
	cfg := w.config()
	cfg.MaxBufferedBytes = 16 << 20
	r := w.start(cfg, w.countHop(in, nil)).waitUp()
	r.waitIdle(30 * time.Second)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	w.checkTotals(w.topic("counts"), totals(400, 20))
}

// Where nothing can be committed, the hop waits longer and longer instead of
// filling its topics with what is aborted.
func TestRefusedCommitsAreNotRepeatedAtOnce(t *testing.T) {
	w, c := newFake(t)
	in := w.create("in", toyPartitions)
	r := w.start(w.config(), w.countHop(in, nil)).waitUp()
	r.waitIdle(20 * time.Second)
	refused := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Group: w.name + ".count", Err: kerr.UnknownMemberID, Count: -1})
	w.produce(in, toyPartitions, 100, 10, "a")
	begun := time.Now()
	w.wait("some time passes", 10*time.Second, func() bool { return time.Since(begun) > 3*time.Second })
	refused.Remove()
	if n := r.tr.Status().Hops[0].Aborted; n == 0 || n > 20 {
		t.Errorf("%d transactions were aborted within three seconds", n)
	}
	r.waitIdle(20 * time.Second)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	w.checkTotals(w.topic("counts"), totals(100, 10))
}
