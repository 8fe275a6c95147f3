package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A transaction ends in two steps: its coordinator writes the decision into its
// log, then a marker into every partition, and calls it complete once all have
// theirs. A coordinator that comes back after a crash before it knows the
// partitions' leaders takes them for deleted, skips their markers, and calls the
// transaction complete: a committed transaction whose records stay undecided for
// ever, in front of which every reader waits (seen on Apache Kafka 4.4 after
// kill -9). Aborting such a transaction, as the usual tool does, would undo part
// of what is committed. What is written here is the marker that the
// coordinator's own log says is missing.

const (
	offsetsTopic     = "__consumer_offsets"
	transactionTopic = "__transaction_state"
)

// lostMarker is a partition that waits for the end of a transaction which the
// coordinator calls complete.
type lostMarker struct {
	id          string // transactional id
	topic       string
	partition   int32
	producer    int64
	epoch       int16 // of the records
	coordinator int32 // epoch of the coordinator that wrote to the partition last
	start       int64 // first undecided offset
}

func (l lostMarker) String() string {
	return fmt.Sprintf("%s/%d from offset %d (transactional id %s, producer %d, epoch %d)", l.topic, l.partition, l.start, l.id, l.producer, l.epoch)
}

// lostMarkers looks for them in topics, among the transactions of the given ids.
// They are certain: the coordinator says before and after the look that nothing
// of the producer is under way, and calls a transaction complete only behind its
// last marker.
func lostMarkers(ctx context.Context, admin *kadm.Client, ids, topics []string) ([]lostMarker, kadm.DescribedTransactions, error) {
	before, err := settledTransactions(ctx, admin, ids)
	if err != nil || len(before) == 0 {
		return nil, nil, err
	}
	owner := map[int64]string{}
	for id, t := range before {
		owner[t.ProducerID] = id
	}
	set := kadm.TopicsSet{}
	for _, t := range topics {
		set[t] = nil // all partitions
	}
	producers, err := admin.DescribeProducers(ctx, set)
	if err != nil {
		return nil, nil, fmt.Errorf("asking for open transactions: %w", err)
	}
	producers.EachPartition(func(p kadm.DescribedProducersPartition) {
		if p.Err != nil && err == nil {
			err = fmt.Errorf("asking for open transactions in %s/%d: %w", p.Topic, p.Partition, p.Err)
		}
	})
	if err != nil {
		return nil, nil, err
	}
	var open []lostMarker
	for _, p := range producers.SortedProducers() {
		id, ours := owner[p.ProducerID]
		if p.CurrentTxnStartOffset >= 0 && ours && p.ProducerEpoch <= before[id].ProducerEpoch {
			open = append(open, lostMarker{id, p.Topic, p.Partition, p.ProducerID, p.ProducerEpoch, p.CoordinatorEpoch, p.CurrentTxnStartOffset})
		}
	}
	if len(open) == 0 {
		return nil, before, nil
	}
	after, err := settledTransactions(ctx, admin, ids)
	if err != nil {
		return nil, nil, err
	}
	lost := open[:0]
	for _, l := range open {
		a, b := after[l.id], before[l.id]
		if a.ProducerID == b.ProducerID && a.ProducerEpoch == b.ProducerEpoch {
			lost = append(lost, l) // nothing was begun between the looks
		}
	}
	return lost, after, nil
}

// settledTransactions describes those of the ids of which nothing is under way.
// It waits a little for one that is just ending.
func settledTransactions(ctx context.Context, admin *kadm.Client, ids []string) (kadm.DescribedTransactions, error) {
	for try := 0; ; try++ {
		all, err := admin.DescribeTransactions(ctx, ids...)
		if err != nil {
			return nil, fmt.Errorf("asking for the state of transactions: %w", err)
		}
		ending := false
		for id, t := range all {
			switch {
			case strings.HasPrefix(t.State, "Prepare"):
				ending = true
				delete(all, id)
			case t.Err != nil, t.State != "Empty" && !strings.HasPrefix(t.State, "Complete"):
				delete(all, id)
			}
		}
		if !ending || try == 20 {
			return all, nil
		}
		if !pause(ctx, 50*time.Millisecond) {
			return nil, ctx.Err()
		}
	}
}

// decision is what the coordinator's log says of one transaction.
type decision struct {
	commit     bool
	partitions map[string]map[int32]bool
}

// decided names a decision: with transaction.version 2 the epoch rises when the
// end is prepared, so that the decision over records of epoch e has epoch e+1.
type decided struct {
	producer int64
	epoch    int16
}

// decisions reads the coordinators' log of the given ids.
func (w markerWriter) decisions(ctx context.Context, ids map[string]bool) (map[decided]decision, error) {
	ends, err := listed(w.admin.ListEndOffsets(ctx, transactionTopic))
	if err != nil {
		return nil, fmt.Errorf("reading the transaction log: %w", err)
	}
	until := map[int32]int64{}
	from := map[int32]kgo.Offset{}
	for id := range ids {
		p := coordinatorPartition(id, len(ends[transactionTopic]))
		if end := ends[transactionTopic][p]; end.Offset > 0 {
			until[p], from[p] = end.Offset, kgo.NewOffset().AtStart()
		}
	}
	out := map[decided]decision{}
	if len(until) == 0 {
		return out, nil
	}
	reader, err := kgo.NewClient(append(slices.Clone(w.opts), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{transactionTopic: from}))...)
	if err != nil {
		return nil, fmt.Errorf("reading the transaction log: %w", err)
	}
	defer reader.Close()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for len(until) > 0 {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("reading the transaction log: %w", err)
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			for _, r := range p.Records {
				if r.Offset+1 >= until[p.Partition] {
					delete(until, p.Partition)
				}
				noteDecision(r, ids, out)
			}
		})
	}
	return out, nil
}

func noteDecision(r *kgo.Record, ids map[string]bool, out map[decided]decision) {
	var k kmsg.TxnMetadataKey
	var v kmsg.TxnMetadataValue
	if k.ReadFrom(r.Key) != nil || !ids[k.TransactionalID] || r.Value == nil || v.ReadFrom(r.Value) != nil {
		return
	}
	if v.State != kmsg.TransactionStatePrepareCommit && v.State != kmsg.TransactionStatePrepareAbort {
		return
	}
	d := decision{commit: v.State == kmsg.TransactionStatePrepareCommit, partitions: map[string]map[int32]bool{}}
	for _, t := range v.Topics {
		d.partitions[t.Topic] = map[int32]bool{}
		for _, p := range t.Partitions {
			d.partitions[t.Topic][p] = true
		}
	}
	out[decided{v.ProducerID, v.ProducerEpoch}] = d
}

// coordinatorPartition is where a transactional id's log is: Java's hash of the
// string over the number of partitions.
func coordinatorPartition(id string, partitions int) int32 {
	var hash int32
	for _, unit := range []byte(id) { // ids are ASCII, see Config
		hash = 31*hash + int32(unit)
	}
	if hash < 0 {
		hash = max(-hash, 0) // the least number has no opposite
	}
	return hash % int32(max(partitions, 1)) //nolint:gosec // a broker has fewer partitions than that
}

// markerWriter writes lost markers.
type markerWriter struct {
	admin *kadm.Client
	opts  []kgo.Opt // of clients that read the transaction log
	log   *slog.Logger
}

// complete looks for lost markers of the ids in topics and writes them. own says
// that the ids are this process's and that it sends nothing meanwhile; of others
// it leaves alone those whose producer may go on at any moment. It is an error
// if one is left that is ours to write and cannot be.
func (w markerWriter) complete(ctx context.Context, ids, topics []string, own bool) error {
	lost, now, err := lostMarkers(ctx, w.admin, ids, topics)
	if _, denied := errors.AsType[*kadm.AuthError](err); denied {
		// It can only be said; most clusters never lose one.
		w.log.Warn("cannot look for lost transaction markers: give this account READ on its topics and on "+offsetsTopic+", and DESCRIBE on its transactional ids", "error", err)
		return nil
	}
	if err != nil || len(lost) == 0 {
		return err
	}
	of := map[string]bool{}
	for _, l := range lost {
		of[l.id] = true
	}
	known, err := w.decisions(ctx, of)
	if err != nil {
		return fmt.Errorf("%s has no marker, and what was decided cannot be read: %w; give this account READ on the topic %s", lost[0], err, transactionTopic)
	}
	var failed error
	for _, l := range lost {
		if !own && now[l.id].ProducerEpoch <= l.epoch+1 {
			continue // its owner, should it live, looks for itself
		}
		d, ok := known[decided{l.producer, l.epoch + 1}]
		if !ok || !d.partitions[l.topic][l.partition] {
			failed = errors.Join(failed, fmt.Errorf("%s has no marker, and the coordinator's log does not tell the decision: "+
				"look at it with kafka-transactions.sh describe-producers, then end it with kafka-transactions.sh abort", l))
			continue
		}
		if err := w.write(ctx, l, d.commit); err != nil {
			failed = errors.Join(failed, fmt.Errorf("writing the marker of %s (commit: %v): %w; give this account ALTER on the cluster", l, d.commit, err))
			continue
		}
		w.log.Warn("the broker had lost the marker of a transaction that it calls complete; wrote what its log says", "partition", l, "commit", d.commit)
	}
	return failed
}

func (w markerWriter) write(ctx context.Context, l lostMarker, commit bool) error {
	topics := kadm.TopicsSet{}
	topics.Add(l.topic, l.partition)
	written, err := w.admin.WriteTxnMarkers(ctx, kadm.TxnMarkers{
		ProducerID: l.producer, ProducerEpoch: l.epoch + 1, Commit: commit, CoordinatorEpoch: l.coordinator, Topics: topics,
	})
	if err != nil {
		return err
	}
	for _, p := range written.SortedPartitions() {
		if p.Err != nil && !errors.Is(p.Err, kerr.InvalidProducerEpoch) { // another process was first
			return p.Err
		}
	}
	return nil
}

// completeOthers looks after other processes' transactions in front of which
// this hop waits, for their owner may never come back, and has the loop look
// after its own.
func (h *hop) completeOthers(ctx context.Context) {
	h.doubt.Store(true)
	h.wake()
	listed, err := h.admin.ListTransactions(ctx, nil, nil)
	if err == nil {
		var ids []string
		for _, id := range listed.TransactionalIDs() {
			if strings.HasPrefix(id, h.cfg.Prefix+".") {
				ids = append(ids, id)
			}
		}
		if len(ids) > 0 {
			err = h.producer.markers.complete(ctx, ids, []string{h.def.Changelog.Name, offsetsTopic}, false)
		}
	}
	if err != nil && ctx.Err() == nil {
		h.log.Warn("cannot look after undecided transactions", "error", err)
	}
}

// gate stands between a producer and a broker that it has lost: nothing is sent
// over a new connection before the last transaction is known to be decided
// everywhere. Otherwise a client that repeats its requests by itself could put
// the next transaction on top of undecided records of a committed one, and its
// abort would undo both.
type gate struct {
	doubt  atomic.Bool
	mu     sync.Mutex // held while looking: nobody passes
	decide func()     // returns when there is no doubt, or the producer's time is over
}

var (
	_ kgo.HookBrokerConnect    = (*gate)(nil)
	_ kgo.HookBrokerDisconnect = (*gate)(nil)
)

// OnBrokerDisconnect implements kgo.HookBrokerDisconnect.
func (g *gate) OnBrokerDisconnect(kgo.BrokerMetadata, net.Conn) { g.doubt.Store(true) }

// OnBrokerConnect implements kgo.HookBrokerConnect. The client sends nothing
// over the connection before it returns.
func (g *gate) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil && g.doubt.Swap(false) {
		g.decide()
	}
}
