package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// producer is the transactional producer of a hop. It has a client of its own,
// so that it can be thrown away and made anew without leaving the group.
type producer struct {
	cl     *kgo.Client
	opts   []kgo.Opt
	txnID  string
	serial uint64
	owed   bool     // a new client has not taken the id over yet
	topics []string // all that a transaction may touch
	log    *slog.Logger

	markers markerWriter

	failures atomic.Int64
	failure  atomic.Pointer[error]
	promise  func(*kgo.Record, error)
}

// newProducer makes the client; topics are those that it writes, admin serves
// for questions. Until life ends, a lost connection is not taken up again before
// the last transaction is decided.
func newProducer(life context.Context, cfg Config, txnID string, share int, topics []string, admin *kadm.Client) (*producer, error) {
	codec, err := compression(cfg.Compression)
	if err != nil {
		return nil, err
	}
	// TxnOffsetCommit 5 adds the offsets' partition by itself, as of
	// transaction.version 2; 6 names topics by id, which this code does not.
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.TxnOffsetCommit), 5)
	log := cfg.Log.With("transactional_id", txnID)
	p := &producer{
		txnID: txnID, topics: append(slices.Clone(topics), offsetsTopic), log: log,
		markers: markerWriter{admin: admin, opts: cfg.connectOpts(txnID + ".log"), log: log},
	}
	p.opts = append(cfg.connectOpts(txnID),
		kgo.MaxVersions(versions),
		kgo.TransactionalID(txnID),
		kgo.TransactionTimeout(cfg.TransactionTimeout),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(codec),
		kgo.ProducerBatchMaxBytes(int32(cfg.MaxRecordBytes+letterRoom)), //nolint:gosec // validated
		kgo.MaxBufferedRecords(1<<20),
		kgo.MaxBufferedBytes(max(share/4, cfg.MaxRecordBytes+letterRoom)),
		// All of a transaction is produced at once and then flushed; the linger
		// only keeps a batch from leaving with its first record.
		kgo.ProducerLinger(20*time.Millisecond),
		kgo.WithHooks(&gate{decide: func() { _ = p.insist(life) }}),
	)
	p.promise = func(_ *kgo.Record, err error) {
		if err != nil {
			p.failures.Add(1)
			p.failure.CompareAndSwap(nil, &err)
		}
	}
	p.cl, err = kgo.NewClient(p.opts...)
	if err != nil {
		return nil, fmt.Errorf("making the producer %s: %w", txnID, err)
	}
	return p, nil
}

// fence takes the transactional id over: when it returns, no older transaction
// of this id is under way at the broker or undecided in a partition, and its
// earlier owners are fenced.
func (p *producer) fence(ctx context.Context) error {
	if _, _, err := p.cl.ProducerID(ctx); err != nil {
		return fmt.Errorf("taking over transactional id %s: %w", p.txnID, err)
	}
	p.owed = false
	// A broker may not know yet of a topic that was made just now, or of the
	// partitions that it leads since another one went.
	for try := 1; ; try++ {
		err := p.completed(ctx)
		if err == nil || !kerr.IsRetriable(err) || try == fenceTries || !pause(ctx, min(time.Duration(try)*50*time.Millisecond, time.Second)) {
			return err
		}
	}
}

// fenceTries is how often a broker is asked that is about to know: half a minute.
const fenceTries = 40

// completed makes sure that transactions which are over have their markers. It
// is called where the broker may have had an accident, with nothing under way.
func (p *producer) completed(ctx context.Context) error {
	if err := p.markers.complete(ctx, []string{p.txnID}, p.topics, true); err != nil {
		return fmt.Errorf("transactional id %s: %w", p.txnID, err)
	}
	return nil
}

// insist is completed until it succeeds or ctx ends.
func (p *producer) insist(ctx context.Context) error {
	for try := 1; ; try++ {
		err := p.completed(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			p.log.Warn("cannot make sure that the last transaction is decided everywhere, trying again", "error", err)
		}
		if !pause(ctx, min(time.Duration(try)*200*time.Millisecond, 5*time.Second)) {
			return fmt.Errorf("making sure that the last transaction is decided: %w", err)
		}
	}
}

// renew replaces the client and fences the old one.
func (p *producer) renew(ctx context.Context) error {
	cl, err := kgo.NewClient(p.opts...)
	if err != nil {
		return fmt.Errorf("making the producer %s: %w", p.txnID, err)
	}
	p.cl.Close()
	p.cl, p.owed = cl, true
	return p.fence(ctx)
}

// begin opens a transaction and returns its stamp, a name that no other
// transaction of the group ever has: the producer's id and epoch rise with every
// owner, the serial with every transaction of this one.
func (p *producer) begin(ctx context.Context) (stamp string, err error) {
	p.failures.Store(0)
	p.failure.Store(nil)
	id, epoch, err := p.cl.ProducerID(ctx)
	if err != nil {
		return "", fmt.Errorf("beginning a transaction of %s: %w", p.txnID, err)
	}
	if err := p.cl.BeginTransaction(); err != nil {
		return "", fmt.Errorf("beginning a transaction of %s: %w", p.txnID, err)
	}
	p.serial++
	b := strconv.AppendInt(nil, id, 36)
	b = strconv.AppendInt(append(b, '.'), int64(epoch), 36)
	b = strconv.AppendUint(append(b, '.'), p.serial, 36)
	return string(b), nil
}

// produce queues records; it blocks at the byte budget.
func (p *producer) produce(ctx context.Context, recs *slab, at time.Time) {
	for _, chunk := range recs.chunks {
		for i := range chunk {
			chunk[i].Timestamp = at
			p.cl.Produce(ctx, &chunk[i], p.promise)
		}
	}
}

// flush waits for all records and tells whether all were written.
func (p *producer) flush(ctx context.Context) error {
	if err := p.cl.Flush(ctx); err != nil {
		return fmt.Errorf("flushing: %w", err)
	}
	if n := p.failures.Load(); n > 0 {
		return fmt.Errorf("producing: %d records failed, first: %w", n, *p.failure.Load())
	}
	return nil
}

// member is what fences an offset commit: who the group thinks we are.
type member struct {
	group, id, instance string
	generation          int32
}

// sendOffsets puts the offsets of the group into the transaction. who is asked
// again before each try: a cooperative rebalance raises the generation while the
// partitions stay ours (they cannot be taken as long as the poll's block holds).
func (p *producer) sendOffsets(ctx context.Context, who func() member, offsets []pendingOffset) error {
	var last error
	for try := range 20 {
		if try > 0 {
			select {
			case <-ctx.Done():
				return errors.Join(last, ctx.Err())
			case <-time.After(time.Duration(5*try) * time.Millisecond):
			}
		}
		m := who()
		if m.id == "" {
			last = fmt.Errorf("sending offsets: not a member of group %s", m.group)
			continue
		}
		var retry bool
		retry, last = p.sendOffsetsOnce(ctx, m, offsets)
		if last == nil {
			return nil
		}
		if !retry && who().generation == m.generation {
			return last
		}
	}
	return last
}

func (p *producer) sendOffsetsOnce(ctx context.Context, m member, offsets []pendingOffset) (retry bool, err error) {
	id, epoch, err := p.cl.ProducerID(ctx)
	if err != nil {
		return false, fmt.Errorf("sending offsets: %w", err)
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group = p.txnID, m.group
	req.ProducerID, req.ProducerEpoch = id, epoch
	req.Generation, req.MemberID = m.generation, m.id
	req.InstanceID = &m.instance
	for i := range offsets {
		o := &offsets[i]
		part := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		part.Partition, part.Offset, part.LeaderEpoch = o.id.partition, o.next, o.epoch
		part.Metadata = &o.stamp
		if n := len(req.Topics); n > 0 && req.Topics[n-1].Topic == o.id.topic {
			req.Topics[n-1].Partitions = append(req.Topics[n-1].Partitions, part)
			continue
		}
		topic := kmsg.NewTxnOffsetCommitRequestTopic()
		topic.Topic = o.id.topic
		topic.Partitions = append(topic.Partitions, part)
		req.Topics = append(req.Topics, topic)
	}
	resp, err := req.RequestWith(ctx, p.cl)
	if err != nil {
		return retriableOffsets(err), fmt.Errorf("sending offsets: %w", err)
	}
	for _, t := range resp.Topics {
		for _, part := range t.Partitions {
			if err := kerr.ErrorForCode(part.ErrorCode); err != nil {
				return retriableOffsets(err), fmt.Errorf("sending offset of %s/%d: %w", t.Topic, part.Partition, err)
			}
		}
	}
	return false, nil
}

func retriableOffsets(err error) bool {
	return errors.Is(err, kerr.ConcurrentTransactions) || errors.Is(err, kerr.RebalanceInProgress) ||
		errors.Is(err, kerr.CoordinatorNotAvailable) || errors.Is(err, kerr.CoordinatorLoadInProgress) ||
		errors.Is(err, kerr.NotCoordinator)
}

// commit ends the transaction as a commit. Any error leaves the outcome open.
func (p *producer) commit(ctx context.Context) error {
	if err := p.cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return fmt.Errorf("ending the transaction: %w", err)
	}
	return nil
}

// settle makes sure that the transaction is over, one way or the other: after
// it no request under way can still end it. It aborts what is open; where the
// client cannot tell, it takes the id over anew, which the broker answers only
// when the old transaction is complete. alive is asked before that, so that a
// process whose slot was taken does not fence its successor.
func (p *producer) settle(ctx context.Context, cause error, alive func(context.Context) error) error {
	var err error
	if p.owed {
		// Only the old client knew of the transaction; this one would call it over.
		return p.fence(ctx)
	}
	if !isFenced(cause) {
		if err = p.cl.AbortBufferedRecords(ctx); err == nil {
			err = p.cl.EndTransaction(ctx, kgo.TryAbort)
		}
		if err == nil {
			// After an end of unknown outcome the client says nil when it has merely
			// marked its id for reloading. The reload is the fence.
			if err = p.fence(ctx); err == nil {
				return nil
			}
		}
	}
	if lost := alive(ctx); lost != nil {
		return errors.Join(cause, err, lost)
	}
	return p.renew(ctx)
}

func isFenced(err error) bool {
	return errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch) ||
		errors.Is(err, kerr.FencedInstanceID)
}
