package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// pendingOffset is what a transaction commits of one task's input.
type pendingOffset struct {
	id    partitionID
	next  int64
	epoch int32
	stamp string
}

// activate puts a task among those of the transaction under way.
func (h *hop) activate(t *task) {
	if !slices.Contains(h.active, t) {
		h.active = append(h.active, t)
	}
}

// floor is the least time between the end of a transaction and that of the
// next: three times what ending one takes, so that it takes a quarter at most.
func (h *hop) floor() time.Duration {
	return min(max(h.cfg.CommitFloor, 3*h.endEWMA), h.cfg.CommitCeiling)
}

// gather runs input through the operators into the tasks' buffers: fetches, and
// what else comes until the input is drained (but not before the floor), the
// ceiling is reached, the transaction is large enough or a rebalance waits.
// Nothing is produced yet: the time that the broker needs to finish the last
// transaction is spent on this work.
func (h *hop) gather(ctx context.Context, fetches kgo.Fetches) error {
	var first time.Time
	input := 0
	for {
		now := time.Now()
		n, err := h.take(fetches, now)
		if err != nil {
			return err
		}
		if n > 0 {
			if err := h.crash(CrashAfterPoll); err != nil {
				return err
			}
			if first.IsZero() {
				first = now
			}
			input += n
		}
		if first.IsZero() {
			return nil
		}
		now = time.Now()
		age := now.Sub(first)
		if ctx.Err() != nil || h.blocked.Load() || age >= h.cfg.CommitCeiling || input+h.output() >= h.limit {
			return nil //nolint:nilerr // a drain ends the gathering, not the transaction
		}
		rest := h.lastEnd.Add(h.floor()).Sub(now)
		if h.consumer.BufferedFetchRecords() > 0 {
			rest = 0
		} else if rest <= 0 {
			return nil
		}
		fetches = h.poll(ctx, min(rest, h.cfg.CommitCeiling-age))
	}
}

// output is the size of what the transaction under way will write.
func (h *hop) output() int {
	n := 0
	for _, t := range h.active {
		n += t.out.bytes + t.table.OverlayBytes()
	}
	return n
}

// take gives fetched records to their tasks and returns their size. It runs
// with rebalances blocked.
func (h *hop) take(fetches kgo.Fetches, now time.Time) (bytes int, err error) {
	for i := range fetches {
		for j := range fetches[i].Topics {
			topic := &fetches[i].Topics[j]
			for k := range topic.Partitions {
				p := &topic.Partitions[k]
				if p.Err != nil {
					if err := h.fetchError(topic.Topic, p.Partition, p.Err); err != nil {
						return bytes, err
					}
				}
				if len(p.Records) > 0 {
					bytes += h.takePartition(topic.Topic, p, now)
				}
			}
		}
	}
	return bytes, nil
}

func (h *hop) takePartition(topic string, p *kgo.FetchPartition, now time.Time) (bytes int) {
	id := partitionID{topic, p.Partition}
	h.mu.Lock()
	t := h.tasks[id]
	h.mu.Unlock()
	if t == nil {
		// Paused until restored, so this should not be; were it, going on would
		// skip these records.
		h.log.Warn("records for a partition without task, rewinding", "task", id, "offset", p.Records[0].Offset)
		h.rewind(id, p.Records[0].Offset)
		return 0
	}
	if p.LastStableOffset >= 0 {
		t.stats.end.Store(p.LastStableOffset)
	}
	if t.stopped != nil || t.halt != nil || t.paused {
		return 0 // the place to go on from is set when the pause ends
	}
	before := t.tally.bytes
	goOn := t.process(p.Records, now)
	switch {
	case t.touched || t.halt != nil:
		h.activate(t)
	default:
		// Only control records: the place moves on without a transaction.
		t.base = t.next
		t.stats.next.Store(t.next)
	}
	if !goOn && t.halt == nil {
		// A waiting record: no more of this partition until it is asked again.
		t.paused = true
		h.hold(t.id)
		h.rewind(t.id, t.next)
	}
	if !goOn && t.halt != nil {
		h.hold(t.id)
	}
	return max(t.tally.bytes-before, 1)
}

func (h *hop) hold(id partitionID) {
	h.consumer.PauseFetchPartitions(map[string][]int32{id.topic: {id.partition}})
}

func (h *hop) rewind(id partitionID, next int64) {
	h.consumer.SetOffsets(map[string]map[int32]kgo.EpochOffset{id.topic: {id.partition: {Epoch: -1, Offset: next}}})
}

// transact commits what the active tasks have, or undoes it.
func (h *hop) transact(ctx context.Context) error {
	h.mu.Lock()
	for _, t := range h.tasks {
		if (t.more || t.owes || t.due() || t.reread != nil && len(t.reread.chunks) > 0) && !t.touched && t.stopped == nil && t.halt == nil {
			t.touched = true
			if h.cfg.Debug {
				t.hash = t.table.Hash()
			}
			h.active = append(h.active, t)
		}
	}
	h.mu.Unlock()
	if len(h.active) == 0 {
		return nil
	}
	defer func() { h.active = h.active[:0] }()
	slices.SortFunc(h.active, func(a, b *task) int {
		if c := strings.Compare(a.id.topic, b.id.topic); c != 0 {
			return c
		}
		return int(a.id.partition - b.id.partition)
	})
	send := make([]*task, 0, len(h.active))
	for _, t := range h.active {
		if t.out.err == nil && t.touched && t.halt == nil {
			_ = t.obeyDue(t.place()) // what it thinks of it is in t.halt
		}
		if t.out.err == nil && t.touched && t.halt == nil {
			t.takeAgain()
		}
		if t.out.err == nil && t.touched {
			if err := t.finish(); err != nil {
				t.halt, t.haltReason = fmt.Errorf("task %s: %w", t.id, err), "operator"
				t.out.err = err
			}
		}
		switch {
		case t.out.err != nil:
			// Nothing of this task goes out; the others are not to blame.
			if err := h.expel(t); err != nil {
				return err
			}
		case t.next == t.base && !t.owing() && t.out.recs.empty() && t.changes.empty():
			if t.halt != nil {
				h.halt(t)
			}
			t.clear()
			t.stats.deferred.Store(t.more)
		default:
			send = append(send, t)
		}
	}
	if len(send) == 0 {
		return nil
	}
	return h.commit(ctx, send)
}

// expel takes a task out of the transaction with all it has in it, and stops it.
func (h *hop) expel(t *task) error {
	halt, reason := t.halt, t.haltReason
	if err := t.discard(); err != nil {
		return err
	}
	t.halt, t.haltReason = halt, reason
	h.halt(t)
	return nil
}

// halt stops a task before the record that it stopped at.
func (h *hop) halt(t *task) {
	err, reason := t.halt, t.haltReason
	t.halt, t.haltReason, t.more = nil, "", false
	h.hold(t.id)
	if t.next >= 0 {
		h.rewind(t.id, t.next)
	}
	t.stop(reason, err)
}

func (h *hop) commit(ctx context.Context, send []*task) error {
	if err := h.crash(CrashBeforeBegin); err != nil {
		return err
	}
	start := time.Now()
	stamp, err := h.tryCommit(ctx, send, start)
	if errors.Is(err, errCrash) {
		return err
	}
	if err == nil {
		if err := h.crash(CrashAfterEnd); err != nil {
			return err
		}
	} else {
		done, err := h.resolve(ctx, send, stamp, err)
		if err != nil {
			return err
		}
		if !done {
			h.aborted.Add(1)
			h.setbacks++
			return h.undo()
		}
		h.resolved.Add(1)
	}
	h.setbacks = 0
	h.committed.Add(1)
	h.lastEnd = time.Now()
	took := h.lastEnd.Sub(start)
	h.endTimes.add(took)
	h.endEWMA += (took - h.endEWMA) / 8
	for _, t := range send {
		halt, reason := t.halt, t.haltReason
		t.applied(stamp)
		if halt != nil {
			t.halt, t.haltReason = halt, reason
			h.halt(t)
		}
	}
	return nil
}

// tryCommit runs one transaction. An error leaves its outcome open.
func (h *hop) tryCommit(ctx context.Context, send []*task, at time.Time) (stamp string, err error) {
	p := h.producer
	if stamp, err = p.begin(ctx); err != nil {
		return "", err
	}
	offsets := make([]pendingOffset, 0, len(send))
	for _, t := range send {
		t.changes.add(t.checkRecord(stamp))
		p.produce(ctx, &t.out.recs, at)
		p.produce(ctx, &t.changes, at)
		offsets = append(offsets, pendingOffset{id: t.id, next: t.next, epoch: t.epoch, stamp: t.stamp(stamp)})
	}
	if err := h.crash(CrashAfterProduce); err != nil {
		return stamp, err
	}
	if err := p.flush(ctx); err != nil {
		return stamp, err
	}
	if err := p.sendOffsets(ctx, h.member, offsets); err != nil {
		return stamp, err
	}
	if err := h.crash(CrashBeforeEnd); err != nil {
		return stamp, err
	}
	return stamp, p.commit(ctx)
}

func (h *hop) member() member {
	id, generation := h.consumer.GroupMetadata()
	return member{group: h.group, id: id, instance: h.clientID, generation: generation}
}

// alive asks the group whether this member still has its place; ErrFenced says
// that another process has it.
func (h *hop) alive(ctx context.Context) error {
	m := h.member()
	if m.id == "" {
		return nil
	}
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.Generation, req.MemberID, req.InstanceID = m.group, m.generation, m.id, &m.instance
	resp, err := req.RequestWith(ctx, h.consumer)
	if err != nil {
		return nil //nolint:nilerr // not reachable is not fenced
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); errors.Is(err, kerr.FencedInstanceID) {
		return fmt.Errorf("hop %s: %w: %w", h.def.Name, ErrFenced, err)
	}
	return nil
}

// resolve finds out what became of a transaction that did not answer
// 'committed'. First it makes sure that the transaction is over, then it asks
// for the group's offsets: if those of this transaction are there, all of it is.
//
// A task whose offset is neither this transaction's nor the last one it knew has
// had another owner meanwhile; it is restored anew.
func (h *hop) resolve(ctx context.Context, send []*task, stamp string, cause error) (committed bool, err error) {
	h.log.Warn("transaction not committed, asking the broker", "transaction", stamp, "error", cause)
	if errors.Is(cause, kerr.FencedInstanceID) {
		return false, fmt.Errorf("hop %s: %w: %w", h.def.Name, ErrFenced, cause)
	}
	for try := 0; ; try++ {
		err := h.producer.settle(ctx, cause, h.alive)
		if err == nil {
			break
		}
		if errors.Is(err, ErrFenced) {
			return false, err
		}
		h.log.Warn("cannot settle the transaction, trying again", "transaction", stamp, "error", err)
		if !pause(ctx, min(time.Duration(try+1)*100*time.Millisecond, 2*time.Second)) {
			return false, fmt.Errorf("hop %s: drain deadline passed with transaction %s open; the broker aborts it: %w", h.def.Name, stamp, err)
		}
	}
	offsets, err := h.stableOffsets(ctx)
	if err != nil {
		return false, fmt.Errorf("hop %s: asking what became of transaction %s: %w", h.def.Name, stamp, err)
	}
	for _, t := range send {
		if o, ok := offsets.Lookup(t.id.topic, t.id.partition); ok && o.At == t.next && o.Metadata == t.stamp(stamp) {
			h.log.Info("transaction was committed after all", "transaction", stamp)
			return true, nil
		}
	}
	for _, t := range send {
		o, ok := offsets.Lookup(t.id.topic, t.id.partition)
		if ok && o.At >= 0 && (position{o.At, o.Metadata}) != t.committed {
			t.log.Warn("another process has moved this task on; restoring", "committed", o.At, "known", t.committed)
			h.reassign(t.id)
		}
	}
	return false, nil
}

// reassign treats a task as newly assigned.
func (h *hop) reassign(id partitionID) {
	h.hold(id)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.owned[id] == nil {
		return
	}
	l := &lease{id: id}
	h.owned[id] = l
	delete(h.tasks, id)
	h.assigned = append(h.assigned, l)
	h.awake = true
}

// undo throws the transaction away and sets the input back to where it began.
func (h *hop) undo() error {
	h.lastEnd = time.Now()
	for _, t := range h.active {
		if t.stopped != nil {
			continue
		}
		halted := t.halt != nil
		if err := t.discard(); err != nil {
			return err
		}
		if t.base >= 0 {
			h.rewind(t.id, t.base)
		}
		if halted {
			// It will come to the same record again.
			h.consumer.ResumeFetchPartitions(map[string][]int32{t.id.topic: {t.id.partition}})
		}
	}
	return nil
}
