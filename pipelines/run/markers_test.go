package run

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Where Apache Kafka 4.4 with four partitions of its transaction log keeps these
// ids.
func TestCoordinatorPartition(t *testing.T) {
	for id, want := range map[string]int32{"syncline.intake.0": 3, "syncline.document.0": 0, "syncline.party.0": 1, "syncline.account.0": 0} {
		if got := coordinatorPartition(id, 4); got != want {
			t.Errorf("%s: partition %d, want %d", id, got, want)
		}
	}
	if got := coordinatorPartition("polygenelubricants", 50); got != 0 { // its hash is the least number
		t.Errorf("partition %d", got)
	}
}

// accident is a topic with three records of an open transaction of which the
// coordinator says that it is complete, and four partitions of its log.
type accident struct {
	*world
	c     *kfake.Cluster
	p     *producer
	topic string
	id    int64
	epoch int16
}

func newAccident(ctx context.Context, t *testing.T, state string, ahead int16) *accident {
	t.Helper()
	w, c := newFake(t)
	a := &accident{world: w, c: c, topic: w.create("out", 1)}
	if _, err := w.admin.CreateTopic(ctx, 4, 1, nil, transactionTopic); err != nil {
		t.Fatal(err)
	}
	var err error
	if a.p, err = newProducer(ctx, w.config().withDefaults(), "syncline.party.0", 4<<20, []string{a.topic}, w.admin); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.p.cl.Close() })
	if _, err := a.p.begin(ctx); err != nil {
		t.Fatal(err)
	}
	var recs slab
	for range 3 {
		recs.add(kgo.Record{Topic: a.topic, Value: []byte("v")})
	}
	a.p.produce(ctx, &recs, time.Now())
	if err := a.p.flush(ctx); err != nil {
		t.Fatal(err)
	}
	if a.id, a.epoch, err = a.p.cl.ProducerID(ctx); err != nil {
		t.Fatal(err)
	}
	c.ControlKey(int16(kmsg.DescribeTransactions), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := r.ResponseKind().(*kmsg.DescribeTransactionsResponse)
		s := kmsg.NewDescribeTransactionsResponseTransactionState()
		s.TransactionalID, s.State, s.ProducerID, s.ProducerEpoch = a.p.txnID, state, a.id, a.epoch+ahead
		resp.TransactionStates = append(resp.TransactionStates, s)
		return resp, nil, true
	})
	return a
}

// decide writes what the coordinator's log says.
func (a *accident) decide(state kmsg.TransactionState, epoch int16, partition int32) {
	a.t.Helper()
	k := kmsg.NewTxnMetadataKey()
	k.TransactionalID = a.p.txnID
	v := kmsg.NewTxnMetadataValue()
	v.ProducerID, v.ProducerEpoch, v.State = a.id, epoch, state
	v.Topics = []kmsg.TxnMetadataValueTopic{{Topic: a.topic, Partitions: []int32{partition}}}
	a.produceRecords(&kgo.Record{Topic: transactionTopic, Partition: coordinatorPartition(a.p.txnID, 4), Key: k.AppendTo(nil), Value: v.AppendTo(nil)})
}

// stable says how many of the topic's offsets are decided.
func (a *accident) stable() int64 {
	a.t.Helper()
	ends, err := a.admin.ListCommittedOffsets(a.t.Context(), a.topic)
	if err != nil {
		a.t.Fatal(err)
	}
	return ends[a.topic][0].Offset
}

func TestLostMarkersAreWritten(t *testing.T) {
	for _, c := range []struct {
		name    string
		state   string // the coordinator's
		ahead   int16  // its epoch before that of the records
		decide  func(*accident)
		others  bool
		visible int
		stable  int64
		want    string // of the error
	}{
		{"commit", "CompleteCommit", 1, func(a *accident) { a.decide(kmsg.TransactionStatePrepareCommit, a.epoch+1, 0) }, false, 3, 4, ""},
		{"commit, fenced since", "Empty", 2, func(a *accident) {
			a.decide(kmsg.TransactionStatePrepareAbort, a.epoch, 0) // of the transaction before
			a.decide(kmsg.TransactionStatePrepareCommit, a.epoch+1, 0)
			a.decide(kmsg.TransactionStateCompleteCommit, a.epoch+1, 0)
		}, false, 3, 4, ""},
		{"abort", "CompleteAbort", 1, func(a *accident) { a.decide(kmsg.TransactionStatePrepareAbort, a.epoch+1, 0) }, false, 0, 4, ""},
		{"another's, fenced since", "Empty", 2, func(a *accident) { a.decide(kmsg.TransactionStatePrepareCommit, a.epoch+1, 0) }, true, 3, 4, ""},
		{"another's, which may go on", "CompleteCommit", 1, func(a *accident) { a.decide(kmsg.TransactionStatePrepareCommit, a.epoch+1, 0) }, true, 0, 0, ""},
		{"under way", "Ongoing", 0, func(a *accident) { a.decide(kmsg.TransactionStatePrepareCommit, a.epoch+1, 0) }, false, 0, 0, ""},
		{"no decision", "CompleteCommit", 1, func(*accident) {}, false, 0, 0, "does not tell the decision"},
		{"a decision about other partitions", "CompleteCommit", 1, func(a *accident) { a.decide(kmsg.TransactionStatePrepareCommit, a.epoch+1, 1) }, false, 0, 0, "does not tell the decision"},
		{"no right to write it", "CompleteCommit", 1, func(a *accident) {
			a.decide(kmsg.TransactionStatePrepareCommit, a.epoch+1, 0)
			a.c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.WriteTxnMarkers}, Topic: a.topic, Err: kerr.ClusterAuthorizationFailed, Count: -1})
		}, false, 0, 0, "ALTER on the cluster"},
		{"no right to look", "CompleteCommit", 1, func(a *accident) {
			a.c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeProducers}, Topic: a.topic, Err: kerr.TopicAuthorizationFailed, Count: -1})
		}, false, 0, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			a := newAccident(ctx, t, c.state, c.ahead)
			c.decide(a)
			err := a.p.markers.complete(ctx, []string{a.p.txnID}, []string{a.topic}, !c.others)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if n := a.stable(); n != c.stable {
				t.Errorf("decided until %d, want %d", n, c.stable)
			}
			if c.stable == 0 {
				return // a reader would wait until the broker ends it
			}
			if n := len(a.readAll(a.topic)); n != c.visible {
				t.Errorf("%d records are visible, want %d", n, c.visible)
			}
		})
	}
}

// A transaction that begins between the two looks is nobody's accident.
func TestATransactionThatBeginsIsNotLost(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	a := newAccident(ctx, t, "CompleteCommit", 0)
	looks := 0
	a.c.ControlKey(int16(kmsg.DescribeProducers), func(kmsg.Request) (kmsg.Response, error, bool) {
		a.c.KeepControl()
		looks++
		a.epoch++ // what the coordinator says from now on
		return nil, nil, false
	})
	lost, _, err := lostMarkers(ctx, a.admin, []string{a.p.txnID}, []string{a.topic})
	if err != nil || len(lost) > 0 || looks == 0 {
		t.Errorf("lost %v, %v, after %d looks", lost, err, looks)
	}
}

func TestExamineFindsLostMarkers(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	a := newAccident(ctx, t, "CompleteCommit", 1)
	for _, e := range Examine(ctx, a.config(), nil) {
		if e.Check != "open transactions" {
			continue
		}
		if !e.Warning || !strings.Contains(e.Found, "partitions that wait for a marker which the broker has lost: 1, first "+a.topic+"/0 from offset 0") || e.Fix == "" {
			t.Errorf("got %+v", e)
		}
		return
	}
	t.Error("open transactions are not looked at")
}

// A producer that has lost its broker sends nothing before the gate opens.
func TestGateHoldsTheProducer(t *testing.T) {
	w, _ := newFake(t)
	topic := w.create("out", 1)
	looked, open := make(chan struct{}), make(chan struct{})
	g := &gate{decide: func() {
		close(looked)
		<-open
	}}
	g.OnBrokerDisconnect(kgo.BrokerMetadata{}, nil)
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.brokers...), kgo.WithHooks(g), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	sent := make(chan error, 1)
	cl.Produce(t.Context(), &kgo.Record{Topic: topic, Value: []byte("v")}, func(_ *kgo.Record, err error) { sent <- err })
	<-looked
	select {
	case err := <-sent:
		t.Fatalf("sent through a closed gate: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	close(open)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}
