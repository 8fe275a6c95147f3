package run

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"syncline/processors/state"
)

// restored is a task's state as the changelog has it.
type restored struct {
	id       partitionID
	lease    *lease
	table    *state.Table
	meta     topicMeta
	check    *selfCheck
	position position
	records  int
	took     time.Duration
	start    int64 // of the input partition
	goOn     int64 // where the task goes on instead of its position; -1 at its position
	mark     mark  // instructions obeyed
	err      error // the self-check failed, or the input is not what it was: the task stops
}

// lease is one assignment of a partition. A partition that goes and comes back
// has a new one, so that a restore for the old one is not taken.
type lease struct{ id partitionID }

// restoreTries is how often a restore is read again whose self-check fails.
// The checks are ordered so that one reading is enough; a second one tells a
// broker's hiccup from damage before a task is stopped for it.
const restoreTries = 3

// restore reads the state of newly assigned tasks and checks it. It is given up
// when ctx ends; every other trouble with the broker is retried for ever.
func (h *hop) restore(ctx context.Context, leases []*lease) {
	for try := 1; len(leases) > 0; try++ {
		start := time.Now()
		results, err := h.restoreOnce(ctx, leases)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			if errors.Is(err, errCrash) {
				h.fail(err)
				return
			}
			h.log.Warn("restore failed, trying again", "tasks", len(leases), "error", err)
			if !pause(ctx, min(time.Duration(try)*200*time.Millisecond, 5*time.Second)) {
				return
			}
			continue
		}
		leases = leases[:0:0]
		for _, r := range results {
			if r.err != nil && try < restoreTries {
				h.log.Warn("self-check failed, reading the changelog again", "error", r.err)
				leases = append(leases, r.lease)
				continue
			}
			r.took = time.Since(start)
			h.mu.Lock()
			h.ready = append(h.ready, r)
			h.mu.Unlock()
		}
		h.wake()
		if len(leases) > 0 && !pause(ctx, 200*time.Millisecond) {
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// restoreOnce reads once. The order is what makes it right: first the group's
// offsets, stable, so that no transaction with them is open; then the end of
// the changelog, uncommitted, which includes that transaction's records even if
// its marker has not reached this partition yet; then committed records until
// that end, control records counted. Last the bounds of the inputs, which a
// position that was committed before must lie in.
func (h *hop) restoreOnce(ctx context.Context, leases []*lease) ([]*restored, error) {
	offsets, err := h.stableOffsets(ctx)
	if err != nil {
		return nil, err
	}
	results := make([]*restored, 0, len(leases))
	byName := make(map[string]*restored, len(leases))
	parts := map[int32]bool{}
	h.mu.Lock()
	for _, l := range leases {
		r := &restored{id: l.id, lease: l, table: state.New(), meta: h.topics[l.id.topic], goOn: -1}
		results = append(results, r)
		byName[l.id.String()] = r
		parts[h.changelogPartition(l.id)] = true
	}
	h.mu.Unlock()
	if err := h.readChangelog(ctx, parts, byName); err != nil {
		return nil, err
	}
	for _, r := range results {
		group := position{next: -1}
		if o, ok := offsets.Lookup(r.id.topic, r.id.partition); ok && o.At >= 0 {
			group = position{next: o.At, stamp: o.Metadata}
		}
		r.position, r.err = checkRestored(r.id, group, r.check, r.meta)
		if r.check != nil {
			r.mark = r.check.Mark
		}
	}
	if h.orders != nil {
		if err := h.orders.caughtUp(ctx, h.admin); err != nil {
			return nil, err
		}
	}
	if err := h.checkInputs(ctx, results); err != nil {
		return nil, err
	}
	return results, nil
}

func (h *hop) changelogPartition(id partitionID) int32 {
	if h.ownChangelog {
		return id.partition
	}
	return TaskPartition(id.topic, id.partition, h.def.Changelog.Partitions)
}

// stableOffsets fetches the group's offsets; it waits until no transaction with
// offsets is open, and for a broker that cannot be reached.
func (h *hop) stableOffsets(ctx context.Context) (kadm.OffsetResponses, error) {
	told := time.Now()
	for try := 0; ; try++ {
		offsets, err := h.admin.FetchOffsets(kadm.RequireStable(ctx), h.group)
		if errors.Is(err, kerr.GroupIDNotFound) {
			return kadm.OffsetResponses{}, nil
		}
		if err == nil {
			err = offsets.Error()
		}
		if err == nil {
			return offsets, nil
		}
		var refused *kerr.Error
		if errors.As(err, &refused) && !refused.Retriable && try > 3 {
			return nil, fmt.Errorf("fetching offsets of group %s: %w", h.group, err)
		}
		if now := time.Now(); now.Sub(told) > undecidedPatience {
			told = now
			h.log.Warn("the group's offsets are undecided: a transaction is open, or the broker cannot be reached", "group", h.group, "error", err)
			h.completeOthers(ctx)
		}
		if !pause(ctx, min(time.Duration(10+10*try)*time.Millisecond, time.Second)) {
			return nil, errors.Join(ctx.Err(), err)
		}
	}
}

// undecidedPatience is how long a restore waits for the end of a transaction
// before it says so and looks after it.
const undecidedPatience = 5 * time.Second

// readChangelog reads the given changelog partitions to their present end and
// puts the records of the wanted tasks into their tables.
func (h *hop) readChangelog(ctx context.Context, parts map[int32]bool, byName map[string]*restored) error {
	name := h.def.Changelog.Name
	ends, err := h.admin.ListEndOffsets(ctx, name)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("listing ends of %s: %w", name, err)
	}
	starts, err := h.admin.ListStartOffsets(ctx, name)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return fmt.Errorf("listing starts of %s: %w", name, err)
	}
	until := map[int32]int64{}
	at := map[int32]int64{}
	from := map[int32]kgo.Offset{}
	for p := range parts {
		end, ok := ends.Lookup(name, p)
		start, ok2 := starts.Lookup(name, p)
		if !ok || !ok2 {
			return fmt.Errorf("changelog %s has no partition %d", name, p)
		}
		if end.Offset > start.Offset {
			until[p] = end.Offset
			at[p] = start.Offset
			from[p] = kgo.NewOffset().At(start.Offset)
		}
	}
	if len(until) == 0 {
		return nil
	}
	cl, err := kgo.NewClient(append(append(h.cfg.connectOpts(h.clientID+".restore"), fetchOpts(h.share/4, len(until))...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxWait(100*time.Millisecond),
	)...)
	if err != nil {
		return fmt.Errorf("making the restore client: %w", err)
	}
	defer cl.Close()
	began := time.Now()
	told := began
	for len(until) > 0 {
		pollCtx, cancel := context.WithTimeout(ctx, time.Second)
		fetches := cl.PollFetches(pollCtx)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := h.crash(CrashMidRestore); err != nil {
			return err
		}
		if fetches.Err0() != nil && errors.Is(fetches.Err0(), context.DeadlineExceeded) {
			// Nothing for a while: a slow broker, a transaction still open below the
			// end (the broker ends it), or a tail that was compacted away.
			for p, end := range until {
				empty, err := nothingBetween(ctx, cl, name, p, at[p], end)
				if err != nil {
					return err
				}
				if empty {
					delete(until, p)
					continue
				}
				if now := time.Now(); now.Sub(told) > undecidedPatience {
					told = now
					h.log.Warn("restore waits: the changelog is undecided, because a transaction is open or the broker is slow; "+
						"the broker ends a dead process's transaction within the transaction time-out and 10 s; if this goes on, `syncline doctor` tells which one it is",
						"changelog", name, "partition", p, "at", at[p], "end", end, "waiting", now.Sub(began))
					h.completeOthers(ctx)
				}
			}
			continue
		}
		for _, fe := range fetches.Errors() {
			return fmt.Errorf("reading changelog %s/%d: %w", fe.Topic, fe.Partition, fe.Err)
		}
		var failed error
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			for _, r := range p.Records {
				if !r.Attrs.IsControl() && failed == nil {
					failed = restoreRecord(r, byName)
				}
				at[p.Partition] = r.Offset + 1
				if end, ok := until[p.Partition]; ok && r.Offset+1 >= end {
					delete(until, p.Partition)
				}
			}
		})
		if failed != nil {
			return failed
		}
	}
	return nil
}

// nothingBetween proves by a fetch of its own that a partition has no record,
// not even a control record, from at on, and that nothing below end is still
// undecided. Compaction can leave a tail like that; the client passes over it
// in silence.
func nothingBetween(ctx context.Context, cl *kgo.Client, topic string, partition int32, at, end int64) (bool, error) {
	details, err := kadm.NewClient(cl).ListTopics(ctx, topic)
	if err == nil {
		err = details[topic].Err
	}
	if err != nil {
		return false, fmt.Errorf("describing %s: %w", topic, err)
	}
	leader := details[topic].Partitions[partition].Leader
	if leader < 0 {
		return false, nil // asked again
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 100, 1, 1<<20
	req.IsolationLevel = 1
	req.SessionEpoch = -1
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = partition, at, 1<<20
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = topic, details[topic].ID
	t.Partitions = append(t.Partitions, part)
	req.Topics = append(req.Topics, t)
	raw, err := cl.Broker(int(leader)).RetriableRequest(ctx, req)
	if err != nil {
		return false, fmt.Errorf("fetching %s/%d at %d: %w", topic, partition, at, err)
	}
	resp := raw.(*kmsg.FetchResponse) //nolint:forcetypeassert // kgo answers in kind
	for _, rt := range resp.Topics {
		for _, rp := range rt.Partitions {
			if rp.Partition != partition {
				continue
			}
			if err := kerr.ErrorForCode(rp.ErrorCode); err != nil {
				return false, fmt.Errorf("fetching %s/%d at %d: %w", topic, partition, at, err)
			}
			return rp.LastStableOffset >= end && !hasRecords(rp.RecordBatches), nil
		}
	}
	return false, nil
}

// hasRecords says whether record batches (magic 2) hold any record. What it
// cannot read counts as one.
func hasRecords(b []byte) bool {
	const header, lengthAt, magicAt, countAt = 61, 8, 16, 57
	for len(b) > 0 {
		if len(b) < header || b[magicAt] != 2 || binary.BigEndian.Uint32(b[countAt:]) > 0 {
			return true
		}
		size := int(binary.BigEndian.Uint32(b[lengthAt:])) + lengthAt + 4
		if size < header || size > len(b) {
			return true
		}
		b = b[size:]
	}
	return false
}

func restoreRecord(r *kgo.Record, byName map[string]*restored) error {
	name, key, check, err := splitKey(r.Key)
	if err != nil {
		return fmt.Errorf("%s/%d at offset %d: %w", r.Topic, r.Partition, r.Offset, err)
	}
	into := byName[string(name)]
	if into == nil {
		return nil // another task of the same partition
	}
	into.records++
	if !check {
		into.table.Restore(string(key), r.Value)
		return nil
	}
	parsed, err := parseSelfCheck(r.Value)
	if err != nil {
		return fmt.Errorf("%s/%d at offset %d: %w", r.Topic, r.Partition, r.Offset, err)
	}
	into.check = &parsed
	return nil
}
