package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A generation is everything that hops keep between sources and outputs: their
// groups, transactional ids, queues and changelogs. A rebuild makes the next one
// from the first offsets of the sources. All processes learn of it from the
// instructions: those of an earlier generation end.

// KindRebuild begins a generation, whose number is the instruction's body.
const KindRebuild = "rebuild"

// KindForgotten says that all that a generation, its body, has kept and published
// is deleted, so that it begins anew.
const KindForgotten = "forgotten"

// ErrGeneration is the end of a Transform whose generation is over.
var ErrGeneration = errors.New("a rebuild has begun: this generation of the pipelines is over")

// GenerationOf is the number in the body of an instruction about a generation, 0
// where there is none.
func GenerationOf(i *Instruction) int {
	n, err := strconv.Atoi(string(i.Body))
	if err != nil {
		return 0
	}
	return n
}

// Marks are offsets by topic and partition.
type Marks map[string]map[int32]int64

// Bounds lists where topics begin, and where what is decided in them ends. An
// absent topic is absent from both.
func Bounds(ctx context.Context, cfg Config, topics []string) (starts, ends Marks, err error) {
	cl, err := cfg.asking()
	if err != nil {
		return nil, nil, fmt.Errorf("making the client: %w", err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	marks := func(offsets kadm.ListedOffsets) Marks {
		m := Marks{}
		offsets.Each(func(o kadm.ListedOffset) {
			if o.Err == nil {
				if m[o.Topic] == nil {
					m[o.Topic] = map[int32]int64{}
				}
				m[o.Topic][o.Partition] = o.Offset
			}
		})
		return m
	}
	first, err := listed(admin.ListStartOffsets(ctx, topics...))
	if err != nil {
		return nil, nil, fmt.Errorf("listing starts: %w", err)
	}
	last, err := listed(admin.ListCommittedOffsets(ctx, topics...))
	if err != nil {
		return nil, nil, fmt.Errorf("listing ends: %w", err)
	}
	return marks(first), marks(last), nil
}

// Progress is how far a hop is, over all processes.
type Progress struct {
	Members  int   // processes that work on it
	Left     int64 // records below the marks that are not taken
	Deferred int   // tasks with work of their own left
}

// ProgressTo tells how far a hop is on its way to marks in its inputs.
func ProgressTo(ctx context.Context, cfg Config, hop string, to Marks) (p Progress, err error) {
	cl, err := cfg.asking()
	if err != nil {
		return p, fmt.Errorf("making the client: %w", err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	group := cfg.withDefaults().Prefix + "." + hop
	described, err := admin.DescribeGroups(ctx, group)
	if err != nil && !noGroup(err) {
		return p, fmt.Errorf("asking for the group %s: %w", group, err)
	}
	p.Members = len(described[group].Members)
	if len(to) == 0 {
		return p, nil
	}
	taken, err := admin.FetchOffsets(ctx, group)
	if err != nil && !noGroup(err) {
		return p, fmt.Errorf("asking for the offsets of %s: %w", group, err)
	}
	starts, err := listed(admin.ListStartOffsets(ctx, slices.Collect(maps.Keys(to))...))
	if err != nil {
		return p, fmt.Errorf("listing starts: %w", err)
	}
	for topic, parts := range to {
		for partition, end := range parts {
			at := int64(0)
			if start, ok := starts.Lookup(topic, partition); ok {
				at = start.Offset
			}
			if o, ok := taken.Lookup(topic, partition); ok {
				at = max(at, o.At)
				if strings.HasSuffix(o.Metadata, deferredMark) {
					p.Deferred++
				}
			}
			p.Left += max(end-at, 0)
		}
	}
	return p, nil
}

// Fence takes over the transactional ids of hops whose processes have ended, so
// that nothing which they left open, or send late, can still be committed.
func Fence(ctx context.Context, cfg Config, hops []string) error {
	cl, err := cfg.asking()
	if err != nil {
		return fmt.Errorf("making the client: %w", err)
	}
	defer cl.Close()
	all, err := kadm.NewClient(cl).ListTransactions(ctx, nil, nil)
	if err != nil {
		return fmt.Errorf("listing transactional ids: %w", err)
	}
	for _, id := range all.TransactionalIDs() {
		if !slices.ContainsFunc(hops, func(hop string) bool {
			slot, ours := strings.CutPrefix(id, cfg.withDefaults().Prefix+"."+hop+".")
			_, err := strconv.Atoi(slot)
			return ours && err == nil
		}) {
			continue
		}
		if err := fenceOne(ctx, cfg, id); err != nil {
			return err
		}
	}
	return nil
}

func fenceOne(ctx context.Context, cfg Config, id string) error {
	cl, err := kgo.NewClient(append(cfg.withDefaults().connectOpts(id), kgo.TransactionalID(id))...)
	if err != nil {
		return fmt.Errorf("making the client: %w", err)
	}
	defer cl.Close()
	if _, _, err := cl.ProducerID(ctx); err != nil {
		return fmt.Errorf("taking over transactional id %s: %w", id, err)
	}
	return nil
}

// ReadAll gives what is committed in topics now to each, partition by partition
// in order.
func ReadAll(ctx context.Context, cfg Config, topics []string, each func(*Message) error) error {
	starts, ends, err := Bounds(ctx, cfg, topics)
	if err != nil {
		return err
	}
	return readBetween(ctx, cfg, starts, ends, each)
}

func readBetween(ctx context.Context, cfg Config, starts, ends Marks, each func(*Message) error) error {
	from := map[string]map[int32]kgo.Offset{}
	left := map[partitionID]int64{}
	for topic, parts := range ends {
		for p, end := range parts {
			if start := starts[topic][p]; end > start {
				if from[topic] == nil {
					from[topic] = map[int32]kgo.Offset{}
				}
				from[topic][p] = kgo.NewOffset().At(start)
				left[partitionID{topic, p}] = end
			}
		}
	}
	if len(left) == 0 {
		return nil
	}
	c := cfg.withDefaults()
	cl, err := kgo.NewClient(append(append(c.connectOpts(c.Prefix+".read"), fetchOpts(c.share(1)/4, len(left))...),
		kgo.ConsumePartitions(from), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.ConsumeResetOffset(kgo.NoResetOffset()))...)
	if err != nil {
		return fmt.Errorf("making the client: %w", err)
	}
	defer cl.Close()
	var failed error
	for len(left) > 0 && failed == nil {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("reading: %w", err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			id := partitionID{r.Topic, r.Partition}
			if end, ok := left[id]; !ok || failed != nil {
				return
			} else if r.Offset+1 >= end {
				delete(left, id)
			}
			if !r.Attrs.IsControl() {
				failed = each(&Message{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value})
			}
		})
	}
	return failed
}

// Append writes records to the partitions that they name.
func Append(ctx context.Context, cfg Config, records []Message) error {
	c := cfg.withDefaults()
	cl, err := kgo.NewClient(append(c.connectOpts(c.Prefix+".append"), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(int32(c.MaxRecordBytes+letterRoom)))...) //nolint:gosec // validated
	if err != nil {
		return fmt.Errorf("making the client: %w", err)
	}
	defer cl.Close()
	recs := make([]*kgo.Record, len(records))
	for i := range records {
		r := &records[i]
		recs[i] = &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value}
	}
	if err := cl.ProduceSync(ctx, recs...).FirstErr(); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

// Seeder writes state for tasks that have never run: they restore it and begin
// with it. All of it and the instruction that says so are one transaction, under
// a transactional id that a second one takes over: of two that seed the same
// tasks, one fails. The hop must have one input, of as many partitions as its
// changelog.
type Seeder struct {
	cl  *kgo.Client
	hop Hop
	cfg Config

	mu    sync.Mutex
	first error
}

// seedTimeout is how long a broker lets seeding take; 15 minutes is the most that
// a broker allows by default.
const seedTimeout = 10 * time.Minute

// NewSeeder makes the changelog, if it is absent, and takes the id over.
func NewSeeder(ctx context.Context, cfg Config, hop Hop) (*Seeder, error) {
	c := cfg.withDefaults()
	id := c.Prefix + ".seed"
	cl, err := kgo.NewClient(append(c.connectOpts(id), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.TransactionalID(id), kgo.TransactionTimeout(seedTimeout),
		kgo.ProducerBatchMaxBytes(int32(c.MaxRecordBytes+letterRoom)))...) //nolint:gosec // validated
	if err != nil {
		return nil, fmt.Errorf("making the client: %w", err)
	}
	s := &Seeder{cl: cl, hop: hop, cfg: c}
	err = ensureTopics(ctx, kadm.NewClient(cl), c, []Topic{hop.Changelog})
	if err == nil {
		_, _, err = cl.ProducerID(ctx)
	}
	if err == nil {
		err = cl.BeginTransaction()
	}
	if err != nil {
		cl.Close()
		return nil, fmt.Errorf("beginning to write state: %w", err)
	}
	return s, nil
}

// Put writes one entry of the state of the task of an input partition. It keeps
// the slices. What goes wrong is told by Commit.
func (s *Seeder) Put(ctx context.Context, partition int32, key, value []byte) {
	k := append(keyPrefix(partitionID{s.hop.Inputs[0], partition}), key...)
	s.produce(ctx, &kgo.Record{Topic: s.hop.Changelog.Name, Partition: partition, Key: k, Value: value})
}

func (s *Seeder) produce(ctx context.Context, r *kgo.Record) {
	s.cl.Produce(ctx, r, func(_ *kgo.Record, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.first == nil {
			s.first = err
		}
	})
}

// Commit says by an instruction that the state is there, and ends the seeder.
func (s *Seeder) Commit(ctx context.Context, i Instruction) error {
	defer s.cl.Close()
	value, err := stamped(s.cfg, &i)
	if err != nil {
		return err
	}
	s.produce(ctx, &kgo.Record{Topic: s.cfg.Instructions.Name, Key: []byte(i.ID), Value: value})
	err = s.cl.Flush(ctx)
	s.mu.Lock()
	err = errors.Join(err, s.first)
	s.mu.Unlock()
	if err == nil {
		err = s.cl.EndTransaction(ctx, kgo.TryCommit)
	}
	if err != nil {
		return fmt.Errorf("writing state: %w", err)
	}
	return nil
}

// Abandon leaves everything as it was, and ends the seeder.
func (s *Seeder) Abandon(ctx context.Context) error {
	defer s.cl.Close()
	if err := s.cl.AbortBufferedRecords(ctx); err != nil {
		return fmt.Errorf("abandoning state: %w", err)
	}
	if err := s.cl.EndTransaction(ctx, kgo.TryAbort); err != nil {
		return fmt.Errorf("abandoning state: %w", err)
	}
	return nil
}

// Discard deletes topics and the groups of hops; what is not there is no error.
func Discard(ctx context.Context, cfg Config, topics, hops []string) error {
	cl, err := cfg.asking()
	if err != nil {
		return fmt.Errorf("making the client: %w", err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	deleted, err := admin.DeleteTopics(ctx, topics...)
	if err != nil {
		return fmt.Errorf("deleting topics: %w", err)
	}
	for _, d := range deleted {
		if d.Err != nil && !errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
			return fmt.Errorf("deleting topic %s: %w", d.Topic, d.Err)
		}
	}
	for _, hop := range hops {
		group := cfg.withDefaults().Prefix + "." + hop
		if _, err := admin.DeleteGroup(ctx, group); err != nil && !noGroup(err) {
			return fmt.Errorf("deleting group %s: %w", group, err)
		}
	}
	return nil
}
