package run

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"syncline/processors/state"
	"syncline/schemas/change"
)

// task is one input partition of a hop: its operator, its state and what the
// transaction under way has of it. Only the hop's loop touches it, but for
// stats.
type task struct {
	id    partitionID
	hop   *hop
	log   *slog.Logger
	impl  Task
	table *state.Table
	meta  topicMeta

	changelog int32 // partition
	prefix    []byte
	checkKey  []byte

	committed position // the group's, as last known; next -1 where there is none
	start     int64    // where the partition began when the task was restored
	base      int64    // where the input goes on if the transaction is thrown away; -1 unknown
	next      int64    // behind the last record seen; -1 unknown
	epoch     int32    // leader epoch of the last record seen
	touched   bool     // has something in the transaction under way
	more      bool     // Advance has work left
	paused    bool
	owes      bool      // its position is to be committed, whatever else there is
	drifted   time.Time // since when the position is ahead of the committed one, by transaction markers alone
	sought    bool      // the input has been at the position, so that nothing below it may come

	obedience  obedience
	reread     *reread // what is read again for it; nil for nothing
	out        outbox
	changes    slab
	hash       uint64
	tally      tally // of the transaction under way
	halt       error // stop when the transaction has ended
	haltReason string

	waitOffset int64 // the waiting record, -1 for none
	waitSince  time.Time
	waitUntil  time.Time

	stopped error
	nagged  time.Time
	stats   taskStats
}

// outbox is the Emitter of one task. The topics of a hop are few, so a look
// through a slice beats a map.
type outbox struct {
	topics []Topic
	limit  int
	recs   slab
	bytes  int
	err    error
}

// Emit implements Emitter.
func (o *outbox) Emit(topic string, partitionKey, key, value []byte) {
	for i := range o.topics {
		t := &o.topics[i]
		if t.Name != topic {
			continue
		}
		n := len(key) + len(value)
		if n > o.limit && o.err == nil {
			o.err = fmt.Errorf("output record of %d bytes for topic %s exceeds the limit of %d bytes: the operator must emit smaller records, or raise max record bytes", n, topic, o.limit)
		}
		o.recs.add(kgo.Record{Topic: t.Name, Partition: PartitionOf(partitionKey, t.Partitions), Key: key, Value: value})
		o.bytes += n
		return
	}
	if o.err == nil {
		o.err = fmt.Errorf("output for topic %q, which is not among the hop's outputs", topic)
	}
}

func (o *outbox) reset() {
	o.recs.reset()
	o.bytes, o.err = 0, nil
}

func newTask(h *hop, r *restored) *task {
	t := &task{
		id: r.id, hop: h, log: h.log.With("topic", r.id.topic, "partition", r.id.partition),
		table: r.table, meta: r.meta,
		changelog: TaskPartition(r.id.topic, r.id.partition, h.def.Changelog.Partitions),
		prefix:    keyPrefix(r.id), checkKey: checkKey(r.id),
		committed: r.position, base: r.position.next, next: r.position.next, epoch: -1,
		start: r.start, obedience: newObedience(r.mark),
		waitOffset: -1,
		out:        outbox{topics: h.outputs, limit: h.cfg.MaxRecordBytes},
		// The state may hold a cursor of deferred work, so Advance is asked once.
		more: r.position.next >= 0,
	}
	if h.ownChangelog {
		t.changelog = r.id.partition
	}
	if r.check != nil {
		t.epoch = r.check.Epoch
	}
	if r.goOn >= 0 {
		// Committed at once: once a queue that was reset fills, nobody could tell
		// this from a loss.
		t.base, t.next, t.epoch, t.owes = r.goOn, r.goOn, -1, true
	}
	t.stats.name = r.id
	t.stats.committed.Store(r.position.next)
	t.stats.next.Store(r.position.next)
	t.stats.deferred.Store(t.more)
	t.stats.end.Store(-1)
	t.stats.restoredRecords.Store(int64(r.records))
	t.stats.restoreNanos.Store(int64(r.took))
	return t
}

// process feeds one fetched partition to the task. It returns false where the
// rest of the fetch must be thrown away (a wait or a stop).
func (t *task) process(recs []*kgo.Record, now time.Time) bool {
	if t.hop.cfg.Debug && !t.touched {
		t.hash = t.table.Hash()
	}
	var m Message
	m.Topic, m.Partition = t.id.topic, t.id.partition
	for _, r := range recs {
		if r.Offset < t.next {
			// Once this may be a group's offset that came after ours was set.
			if t.sought {
				lost := t.hop.lost(t, lossBackwards)
				t.halt, t.haltReason = lost, restoreReason(lost)
			}
			t.sought = true
			return false
		}
		t.sought = true
		if r.Offset >= t.obedience.due && !t.obeyDue(r.Offset) {
			return false
		}
		if t.base < 0 {
			t.base, t.next = r.Offset, r.Offset
		}
		if r.Attrs.IsControl() {
			t.pass(r)
			continue
		}
		m.Offset, m.Timestamp, m.Key, m.Value, m.Waited = r.Offset, r.Timestamp.UnixMilli(), r.Key, r.Value, 0
		if t.waitOffset == r.Offset {
			m.Waited = max(now.Sub(t.waitSince), 1)
		}
		t.touched = true
		v := t.impl.Process(&m, &t.out)
		if t.out.err != nil {
			t.halt, t.haltReason = t.out.err, "output"
			return false
		}
		switch v.Kind {
		case change.Pass:
		case change.Drop:
			t.tally.drop(v.Reason)
		case change.Park:
			if err := t.park(&m, v); err != nil {
				t.halt, t.haltReason = err, "letter"
				return false
			}
		case change.Wait:
			t.wait(r, v, now)
			return false
		case change.Stop:
			t.halt, t.haltReason = describeStop(v, t.id, r.Offset), v.Reason
			return false
		}
		t.pass(r)
		t.tally.records++
		t.tally.bytes += len(r.Key) + len(r.Value)
		if t.waitOffset >= 0 {
			t.waitOffset = -1
			t.stats.setWaiting("", "", time.Time{})
		}
	}
	return true
}

func (t *task) pass(r *kgo.Record) {
	t.next = r.Offset + 1
	t.epoch = r.LeaderEpoch
}

func (t *task) wait(r *kgo.Record, v change.Verdict, now time.Time) {
	if t.waitOffset != r.Offset {
		t.waitOffset, t.waitSince = r.Offset, now
		t.log.Warn("record waits", "offset", r.Offset, "reason", v.Reason, "error", v.Err)
	}
	t.waitUntil = now.Add(t.hop.cfg.RetryDelay)
	message := ""
	if v.Err != nil {
		message = v.Err.Error()
	}
	t.stats.setWaiting(v.Reason, message, t.waitSince)
}

func describeStop(v change.Verdict, id partitionID, offset int64) error {
	if v.Err != nil {
		return fmt.Errorf("task %s at offset %d: %s: %w", id, offset, v.Reason, v.Err)
	}
	return fmt.Errorf("task %s at offset %d: %s", id, offset, v.Reason)
}

// finish asks the operator for its coalesced results and for deferred work, and
// turns the overlay into changelog records. An error stops this task alone: the
// caller discards what it had in the transaction.
func (t *task) finish() error {
	if err := t.impl.Flush(&t.out); err != nil {
		return fmt.Errorf("flushing: %w", err)
	}
	more, err := t.impl.Advance(t.hop.cfg.AdvanceBudget, &t.out)
	if err != nil {
		return fmt.Errorf("advancing deferred work: %w", err)
	}
	if t.out.err != nil {
		return t.out.err
	}
	t.more = more
	var over error
	t.table.Changes(func(key, value []byte) {
		k := make([]byte, 0, len(t.prefix)+len(key))
		k = append(append(k, t.prefix...), key...)
		if n := len(k) + len(value); n > t.out.limit {
			over = fmt.Errorf("state of %d bytes under key %.64x exceeds the limit of %d bytes", n, key, t.out.limit)
		}
		t.changes.add(kgo.Record{Topic: t.hop.def.Changelog.Name, Partition: t.changelog, Key: k, Value: value})
	})
	return over
}

// deferredMark ends the stamp of a task that has work of its own left, so that
// all who read the group's offsets can tell.
const deferredMark = "*"

// stamp is a transaction's stamp as the task commits it.
func (t *task) stamp(transaction string) string {
	if t.more {
		return transaction + deferredMark
	}
	return transaction
}

// owing says that there is something to commit besides records and state.
func (t *task) owing() bool {
	return t.owes || t.obedience.busy() || (!t.more && strings.HasSuffix(t.committed.stamp, deferredMark))
}

// checkRecord is the task's self-check of the transaction.
func (t *task) checkRecord(stamp string) kgo.Record {
	check := selfCheck{Next: t.next, Epoch: t.epoch, Count: t.meta.count, TopicID: t.meta.id, Mark: t.obedience.mark(), Stamp: t.stamp(stamp)}
	return kgo.Record{
		Topic: t.hop.def.Changelog.Name, Partition: t.changelog,
		Key: t.checkKey, Value: check.append(make([]byte, 0, 48)),
	}
}

// applied makes the transaction's effects the committed image.
func (t *task) applied(stamp string) {
	t.table.Commit()
	t.obedience.commit()
	if d := t.obedience.nextAgain(); t.reread != nil && (d == nil || d.offset != t.reread.of) {
		t.endReread()
	}
	t.committed = position{next: t.next, stamp: t.stamp(stamp)}
	t.base = t.next
	t.owes, t.drifted = false, time.Time{}
	t.stats.add(&t.tally)
	t.clear()
	t.stats.deferred.Store(t.more)
	t.stats.committed.Store(t.next)
	t.stats.next.Store(t.next)
	t.stats.keys.Store(int64(t.table.Len()))
	t.stats.bytes.Store(int64(t.table.Bytes()))
}

// discard throws the transaction's effects away. The caller rewinds the input
// to base.
func (t *task) discard() error {
	t.endReread() // what was taken of it is lost
	t.table.Rollback()
	t.obedience.rollback()
	t.impl.Reset()
	t.next = t.base
	t.more = t.more || t.base >= 0
	t.stats.deferred.Store(t.more)
	touched := t.touched
	// A client that was thrown away may still look at these records.
	t.out.recs, t.changes = slab{}, slab{}
	t.clear()
	if t.hop.cfg.Debug && touched && t.hash != 0 && t.table.Hash() != t.hash {
		return fmt.Errorf("task %s: state after an abort differs from that before the transaction; an operator has written into a stored value", t.id)
	}
	return nil
}

func (t *task) clear() {
	t.out.reset()
	t.changes.reset()
	t.tally.clear()
	t.touched = false
	t.halt, t.haltReason = nil, ""
}
