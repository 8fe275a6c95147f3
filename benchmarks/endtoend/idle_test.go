package endtoend

import (
	"context"
	"math"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"syncline/benchmarks/oracle"
	"syncline/benchmarks/workload"
	"syncline/benchmarks/workload/company"
	"syncline/deploy/embedded"
	topology "syncline/pipelines"
)

// rounds is a source that is quiet between rounds of records.
type rounds struct {
	workload.Producer
	left  int
	next  chan int      // size of the next round
	quiet chan struct{} // told when a round is written
}

func (r *rounds) Produce(ctx context.Context, rec workload.Record) error {
	if r.left == 0 {
		if err := r.Flush(ctx); err != nil {
			return err
		}
		select {
		case r.quiet <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case r.left = <-r.next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.left--
	return r.Producer.Produce(ctx, rec)
}

// TestRestartAfterIdle restarts the pipelines, by a signal that chance picks, and
// the broker, in order, when all is quiet and the queues are emptied, again and
// again: nothing that comes later is lost.
func TestRestartAfterIdle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "company")
	source := &rounds{Producer: w.producer(0), left: 300, next: make(chan int), quiet: make(chan struct{})}
	truth := w.playLater(company.Config{Seed: w.random.Uint64(), Accounts: often(150, 1500), History: -1}, source)
	p := w.start()
	for range often(3, 20) {
		select {
		case <-source.quiet:
		case expected, ok := <-truth:
			t.Fatalf("the company has ended before the rounds have: %t, %v", ok, expected)
		}
		p.settle()
		w.awaitEmptied()
		switch how := []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGKILL}[w.random.IntN(4)]; how {
		case syscall.SIGKILL:
			p.kill()
		default:
			p.end(how)
		}
		w.restartBroker()
		source.next <- 300
		p = w.start()
	}
	<-source.quiet
	source.next <- math.MaxInt
	expected, ok := <-truth
	if !ok {
		t.Fatal("the company was not written")
	}
	p.settle()
	w.check(expected)
	p.term()
}

// playLater writes the company beside the test, and gives its truth in the end;
// the channel is closed where that failed.
func (w *world) playLater(c company.Config, to workload.Producer) <-chan oracle.Expected {
	truth := make(chan oracle.Expected, 1)
	go func() {
		defer close(truth)
		truth <- w.playTo(c, to, nil)
	}()
	return truth
}

func (w *world) restartBroker() {
	w.t.Helper()
	if w.kafka != nil {
		w.kafka.Restart(w.t)
		return
	}
	if err := w.p.Restart(w.t.Context(), embedded.BrokerName); err != nil {
		w.t.Fatal(err)
	}
}

// awaitEmptied waits until the pipelines have deleted what they have read of
// their queues.
func (w *world) awaitEmptied() {
	w.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); ; <-tick.C {
		left := w.queued()
		if left == 0 {
			return
		}
		if time.Since(begun) > time.Minute {
			w.t.Fatalf("the queues still hold %d records after a minute", left)
		}
	}
}

// queued is how many records, with transaction markers, the queues between the
// hops hold; the last one of each partition stays for ever and does not count.
func (w *world) queued() (n int64) {
	w.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.p.Brokers()...))
	if err != nil {
		w.t.Fatal(err)
	}
	defer cl.Close()
	admin, names := kadm.NewClient(cl), topology.DefaultNames()
	queues := []string{names.Rows, names.Documents, names.Accounts}
	starts, err := admin.ListStartOffsets(w.t.Context(), queues...)
	ends, err2 := admin.ListEndOffsets(w.t.Context(), queues...)
	if err != nil || err2 != nil {
		w.t.Fatal(err, err2)
	}
	ends.Each(func(end kadm.ListedOffset) {
		if start, ok := starts.Lookup(end.Topic, end.Partition); ok {
			n += max(end.Offset-start.Offset-1, 0)
		}
	})
	return n
}
